"""A disk that can be full or read-only."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


class SmallDisk:
    """A mounted tmpfs of 4 MB; skips the test where mounting is not allowed."""

    def __init__(self, path: Path) -> None:
        self.path, self._filler = path, path / "filler"
        path.mkdir()
        self._mount("-t", "tmpfs", "-o", "size=4m", "tmpfs", str(path))

    def _mount(self, *arguments: str) -> None:
        try:
            subprocess.run(["mount", *arguments], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("needs the right to mount a tmpfs")

    def fill(self, free: int) -> None:
        """Leaves about that many bytes free."""
        self.empty()
        self._filler.write_bytes(bytes(shutil.disk_usage(self.path).free - free))

    def empty(self) -> None:
        """Undoes `fill`."""
        self._filler.unlink(missing_ok=True)

    def allow_writing(self, allowed: bool) -> None:
        """Makes the disk read-only, or undoes that."""
        self._mount("-o", f"remount,{'rw' if allowed else 'ro'}", str(self.path))

    def unmount(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.path)], check=True)


@contextlib.contextmanager
def small_disk(path: Path) -> Iterator[SmallDisk]:
    """Mounts a small disk at a new folder, for a while."""
    disk = SmallDisk(path)
    try:
        yield disk
    finally:
        disk.unmount()
