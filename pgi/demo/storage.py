"""The page's temporary folder: uploads and results, private, bounded, gone when the page is."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from pgi.errors import StorageError

# A small file counts as one of this size, so that the number of files is bounded too.
_LEAST = 2**16
# Files that may be deleted to make room are at least so old, in seconds.
_SAFE = 600
_VARIABLE = "GRADIO_TEMP_DIR"


class Upload(NamedTuple):
    """Time, visitor and size in bytes of an upload."""

    time: float
    visitor: str
    size: int


class Storage:
    """Context with a temporary folder for the page's files, which is deleted at its end.

    Only this user can read the folder. Gradio keeps its files there too. What is older than
    `seconds` is deleted when something is added; if there is no room, so is everything older than
    ten minutes, the oldest first.

    Args:
        limit: of the folder's size, in bytes. A file counts as at least 64 KiB.
        seconds: age at which files are deleted.

    Attributes:
        path: of the folder.
        seconds: as above.
    """

    def __init__(self, limit: int, seconds: int) -> None:
        self.seconds = seconds
        self._limit = limit
        self._arriving = 0
        self._uploads: list[Upload] = []  # Of the last ten minutes.
        self._samples: list[Path] = []
        self._lock = threading.Lock()
        self._closed = False

    def __enter__(self) -> Storage:
        self._folder = tempfile.TemporaryDirectory(prefix="pgi-demo-")  # Of mode 0700.
        self.path = Path(self._folder.name).resolve()
        self._variable = os.environ.get(_VARIABLE)
        os.environ[_VARIABLE] = str(self.path)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._lock:  # A photograph may still be computed; its result is not written any more.
            self._closed = True
        self._folder.cleanup()
        os.environ.pop(_VARIABLE)
        if self._variable is not None:
            os.environ[_VARIABLE] = self._variable

    def add_samples(self, paths: Sequence[Path]) -> list[Path]:
        """Copies of files that are never deleted and do not count."""
        self._samples += [Path(shutil.copyfile(path, self.path / path.name)) for path in paths]
        return self._samples

    def reserve(self, size: int, visitor: str) -> Upload:
        """Keeps room for an upload of so many bytes until `release`.

        Raises:
            StorageError: there is none, or the visitor's uploads of the last ten minutes would take
                more than a quarter of the folder.
        """
        with self._lock:
            now = time.time()
            self._uploads = [x for x in self._uploads if now - x.time < _SAFE]
            mine = sum(max(x.size, _LEAST) for x in self._uploads if x.visitor == visitor)
            if mine and mine + size > self._limit // 4:
                raise StorageError(
                    f"your uploads of the last {_SAFE // 60} minutes may have at most "
                    f"{self._limit / 2**22:g} megabytes together: try again later"
                )
            self._make_room(size)
            self._arriving += size
            self._uploads.append(upload := Upload(now, visitor, size))
            return upload

    def release(self, upload: Upload, arrived: bool) -> None:
        """Ends a reservation; what has not arrived does not count as an upload."""
        with self._lock:
            self._arriving -= upload.size
            if not arrived and upload in self._uploads:
                self._uploads.remove(upload)

    def save(self, contents: Mapping[str, bytes]) -> list[str]:
        """Writes files, by name, into a new folder whose name cannot be guessed.

        Returns:
            Their paths.

        Raises:
            StorageError: there is no room, or the page is closed.
        """
        with self._lock:
            if self._closed:
                raise StorageError("the page is closed")
            self._make_room(sum(max(len(content), _LEAST) for content in contents.values()))
            folder = self.path / uuid.uuid4().hex
            folder.mkdir()
            for name, content in contents.items():
                (folder / name).write_bytes(content)
            return [str(folder / name) for name in contents]

    def _make_room(self, size: int) -> None:
        """Deletes old files; what arrives now counts as if it were complete."""
        now, total = time.time(), size + self._arriving
        files = []
        for folder, _, names in os.walk(self.path, topdown=False):
            for path in (Path(folder, name) for name in names):
                # Renamed when its upload was complete.
                with contextlib.suppress(FileNotFoundError):
                    status = path.stat()
                    if path not in self._samples:
                        # Not the time of the content, which a copy of a file may keep.
                        files.append((status.st_ctime, max(status.st_size, _LEAST), path))
                        total += files[-1][1]
            with contextlib.suppress(OSError):  # Not empty.
                if now - os.stat(folder).st_mtime > _SAFE and Path(folder) != self.path:
                    os.rmdir(folder)
        for changed, counted, path in sorted(files):
            if now - changed > (_SAFE if total > self._limit else self.seconds):
                path.unlink(missing_ok=True)
                total -= counted
        if total > self._limit:
            megabytes = self._limit // 2**20
            raise StorageError(
                f"the page keeps at most {megabytes} megabytes of photographs and results, and "
                f"they are full: try again in {_SAFE // 60} minutes"
            )
