"""The code, package versions and machine that made a result."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

_PACKAGES = (
    "tensorflow",
    "keras",
    "tensorflow-addons",
    "numpy",
    "opencv-python",
    "pillow",
    "scikit-image",
    "scipy",
)


def provenance() -> dict[str, Any]:
    """Git commit (with "-dirty" if files differ from it), package versions, and machine."""
    import tensorflow as tf  # Not above: it takes seconds.

    gpus = tf.config.list_physical_devices("GPU")
    names = [tf.config.experimental.get_device_details(x).get("device_name", "GPU") for x in gpus]
    return {
        "git_commit": _git_commit(),
        "versions": {"python": platform.python_version(), **_versions()},
        "machine": ", ".join([f"{os.cpu_count()} CPU cores ({platform.machine()})", *names]),
    }


def _git_commit() -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), "describe"]
    command += ["--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _versions() -> dict[str, str]:
    return {package: metadata.version(package) for package in _PACKAGES}
