"""Pillow for files from anywhere: bounded sizes, directories in bounded memory, no warnings.

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

# In pixels; what a JPEG can have. Pillow fills up to 255 rows at once of a compressed BMP.
MAX_SIDE = 65_535
_TILE_SIZE = (322, 323)  # TIFF's tags of a tile's width and length.


def size_problem(image: Image.Image, max_megapixels: float) -> str:
    """Why an image whose pixels are not loaded yet is too large to load; empty if it is not."""
    sizes = {"": image.size}
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        # A tile may be larger than its image, and is decoded as a whole.
        width, length = (image.tag_v2.get(tag, 0) for tag in _TILE_SIZE)
        if not (isinstance(width, int) and isinstance(length, int)):  # A text could be multiplied.
            return "must have tiles whose sides are whole numbers"
        sizes["a tile of "] = (width, length)
    for part, (width, height) in sizes.items():
        megapixels, shown = width * height / 1e6, f"{width} x {height}"
        if megapixels > max_megapixels:
            rule = f"at most {max_megapixels:g} megapixels"
            return f"must have {part}{rule}, got {megapixels:g} ({shown})"
        if max(width, height) > MAX_SIDE:
            return f"must have sides of at most {MAX_SIDE} px, got {shown}"
    return ""


__all__ = ["MAX_SIDE", "Image", "size_problem"]
