"""Programs, one an experiment's step; importing this package quiets TensorFlow's start-up."""

import os
import sys
import warnings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# The stack is pinned on purpose, to the last release that TensorFlow Addons works with.
warnings.filterwarnings("ignore", message=r"\s*TensorFlow Addons \(TFA\) has ended development")

try:
    from pgi import opencv  # noqa: F401  (only to see whether it loads)
except ImportError as error:
    sys.exit(str(error))
