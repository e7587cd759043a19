"""Programs, one an experiment's step; importing this package quiets TensorFlow's start-up."""

import sys

from pgi import quiet  # noqa: F401  (before anything else imports TensorFlow)

try:
    from pgi import opencv  # noqa: F401  (only to see whether it loads)
except ImportError as error:
    sys.exit(str(error))
