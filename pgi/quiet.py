"""Silences the start-up messages of TensorFlow and TensorFlow Addons. Programs import it first."""

import os
import warnings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# TensorFlow is pinned on purpose to the last release that TensorFlow Addons works with.
warnings.filterwarnings("ignore", message=r"\s*TensorFlow Addons \(TFA\) has ended development")
