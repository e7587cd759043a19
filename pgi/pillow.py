"""Pillow for files from anywhere: directories of EXIF and TIFF in bounded memory, no warnings.

A directory's entries name places in the file, and Pillow copies what each names. Entries that all
name the whole file would make many gigabytes of a small one.
"""

import io
import warnings
from typing import IO, cast

from PIL import Image, TiffImagePlugin

# Of odd metadata. Not by `catch_warnings` around each file, which changes the filters of the whole
# program, while several threads read at once.
warnings.filterwarnings("ignore", module=r"PIL\.")


class _ReadOnce:
    """A file of which at most twice its size can be read; then OSError."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, place = file, file.tell()
        self._left = 2 * file.seek(0, io.SEEK_END)
        file.seek(place)

    def read(self, size: int = -1) -> bytes:
        content = self._file.read(size)
        self._left -= len(content)
        if self._left < 0:
            raise OSError("the values of a directory are larger than the file")
        return content

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


class _Directory(TiffImagePlugin.ImageFileDirectory_v2):
    def load(self, fp: IO[bytes]) -> None:
        # Pillow keeps what was read before an OSError.
        super().load(cast(IO[bytes], _ReadOnce(fp)))


TiffImagePlugin.ImageFileDirectory_v2 = _Directory  # type: ignore[misc]

__all__ = ["Image"]
