"""Programs import this first: it keeps the start-up noise of TensorFlow and its Addons away."""

import os
import warnings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# The stack is pinned on purpose, to the last release that TensorFlow Addons works with.
warnings.filterwarnings("ignore", message=r"\s*TensorFlow Addons \(TFA\) has ended development")
