"""Sheets of images side by side under captions, and encoding of image files."""

from __future__ import annotations

import functools
import math
import textwrap
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pgi.arrays import UInt8Array
from pgi.opencv import cv2
from pgi.rules import check

_LEAST_FONT_SIZE = 12
_CELL_TO_FONT = 16  # Sheets of large images are viewed scaled down, so their text is larger.
# Widths in font sizes: minimum of a caption, of a row's label, average of a letter.
_CAPTION, _LABEL, _LETTER = 7, 10, 0.55
_PNG_PIXELS = 2**20


def sheet(columns: Mapping[str, UInt8Array], rows: Sequence[str] | None = None) -> UInt8Array:
    """Images side by side: one column for each method, one row for each photograph.

    As in Figures 3, 4, 5 and 8, but with the captions above the images.

    Args:
        columns: images by the caption above them, uint8 `[N, h, w, 3]`, all of one shape.
        rows: N labels at the left.

    Returns:
        `[H, W, 3]`: black text on white, and the images pixel for pixel.

    Raises:
        RuleError: there is no image, columns differ in shape, or the number of labels is not N.
    """
    shapes = {name: (*images.shape, str(images.dtype)) for name, images in columns.items()}
    fits = [len(x) == 5 and x[3:] == (3, "uint8") and 0 not in x for x in shapes.values()]
    check("columns", "uint8 [N, h, w, 3] and not empty", bool(fits) and all(fits), shapes)
    check("columns", "of one shape", len(set(shapes.values())) == 1, shapes)
    count, _, width = next(iter(columns.values())).shape[:3]

    size = max(_LEAST_FONT_SIZE, width // _CELL_TO_FONT)
    captions = [_text(name, max(width, _CAPTION * size), size) for name in columns]
    grid = [captions, *map(list, zip(*columns.values()))]
    if rows is not None:
        check("rows", f"{count} labels", len(rows) == count, list(rows))
        labels = [_text(label, _LABEL * size, size) for label in ("", *rows)]
        grid = [[label, *row] for label, row in zip(labels, grid)]
    widths = [max(block.shape[1] for block in column) for column in zip(*grid)]
    strips = []
    for row in grid:
        height = max(map(len, row))
        above = 1.0 if row is grid[0] else 0.5  # Short captions stand near their images.
        frames = [_frame(block, height, w, above, size // 4) for block, w in zip(row, widths)]
        strips.append(np.hstack(frames))
    return np.vstack(strips)


def png(picture: UInt8Array) -> bytes:
    """The content of a PNG file.

    Args:
        picture: RGB `[H, W, 3]` or grey `[H, W]`.
    """
    bgr = picture[..., ::-1] if picture.ndim == 3 else picture
    return bytes(cv2.imencode(".png", bgr)[1])


def encode(picture: UInt8Array) -> tuple[bytes, str]:
    """The content and the suffix of a file: PNG up to a megapixel, else JPEG, to save space.

    Args:
        picture: RGB `[H, W, 3]`.
    """
    if picture.shape[0] * picture.shape[1] <= _PNG_PIXELS:
        return png(picture), ".png"
    quality = [cv2.IMWRITE_JPEG_QUALITY, 90]
    return bytes(cv2.imencode(".jpg", picture[..., ::-1], quality)[1]), ".jpg"


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    # The fonts of OpenCV and Pillow lack the paper's dagger; this one comes with Matplotlib.
    return ImageFont.truetype(f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf", size)


def _text(text: str, width: int, size: int) -> UInt8Array:
    """Text wrapped to the width, centred: `[h, w, 3]`, as wide as its longest line."""
    font, lines, longest = _font(size), [""], 0.0
    for letters in range(int(width / (_LETTER * size)), 0, -1):
        lines = textwrap.wrap(text, letters, break_on_hyphens=False)
        longest = max(map(font.getlength, lines), default=0.0)
        if longest <= width:
            break
    line_height = sum(font.getmetrics())
    block = Image.new("RGB", (math.ceil(longest) + 2, len(lines) * line_height), "white")
    draw = ImageDraw.Draw(block)
    for number, line in enumerate(lines):
        draw.text((block.width / 2, number * line_height), line, "black", font, anchor="ma")
    return np.array(block).reshape(block.height, block.width, 3)


def _frame(block: UInt8Array, height: int, width: int, above: float, margin: int) -> UInt8Array:
    """Pads a block to a size, with the share `above` of the free height above it, and a margin."""
    top = margin + int(above * (height - block.shape[0]))
    left = margin + (width - block.shape[1]) // 2
    framed = np.full([height + 2 * margin, width + 2 * margin, 3], 255, np.uint8)
    framed[top : top + block.shape[0], left : left + block.shape[1]] = block
    return framed
