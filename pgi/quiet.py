"""Silences messages of TensorFlow, TensorFlow Addons and OpenCV. Programs import it first."""

import os
import warnings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# On damaged pictures, which the program names itself.
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
# TensorFlow is pinned on purpose to the last release that TensorFlow Addons works with.
warnings.filterwarnings("ignore", message=r"\s*TensorFlow Addons \(TFA\) has ended development")
