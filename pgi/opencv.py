"""Imports OpenCV; if system libraries are missing, the error names the packages to install."""

try:
    import cv2
except ImportError as error:
    raise ImportError(
        f"OpenCV cannot be loaded ({error}); on Debian: apt-get install libgl1 libglib2.0-0"
    ) from None

__all__ = ["cv2"]
