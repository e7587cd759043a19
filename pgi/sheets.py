"""Images side by side under captions, for whoever compares them by eye."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pgi.opencv import cv2
from pgi.rules import check

_LEAST_FONT_SIZE = 12
_CELL_TO_FONT = 16  # A sheet of large images is made smaller to be looked at, with its text.
# In font sizes: where a caption is broken above narrow images, and a row's label.
_CAPTION, _LABEL = 7, 10
_SIGNS = "-_+/."
_PNG_PIXELS = 2**20


def sheet(columns: Mapping[str, np.ndarray], rows: Sequence[str] | None = None) -> np.ndarray:
    """Images side by side: a column a method, a row a photograph.

    Args:
        columns: each column's images, uint8 `[N, h, w, 3]`, by the caption above them; all of one
            shape.
        rows: labels at the left, one for each of the N rows.

    Returns:
        `[H, W, 3]` uint8: black text on white, and the images pixel for pixel.

    Raises:
        RuleError: there is no image, columns differ in shape, or the labels are more or fewer.

    Source: Figures 3, 4, 5 and 8. Departs from it: the captions are above.
    """
    shapes = {name: (*images.shape, str(images.dtype)) for name, images in columns.items()}
    fits = [len(x) == 5 and x[3:] == (3, "uint8") and 0 not in x for x in shapes.values()]
    check("columns", "uint8 [N, h, w, 3] and not empty", bool(fits) and all(fits), shapes)
    check("columns", "of one shape", len(set(shapes.values())) == 1, shapes)
    count, _, width = next(iter(columns.values())).shape[:3]
    labels = [""] * count if rows is None else list(rows)
    check("rows", f"{count} labels", len(labels) == count, labels)

    size = max(_LEAST_FONT_SIZE, width // _CELL_TO_FONT)
    captions = [_text(name, max(width, _CAPTION * size), size) for name in columns]
    grid = [[_text("", 0, size), *captions]]
    for number, label in enumerate(labels):
        cells = [images[number] for images in columns.values()]
        grid.append([_text(label, _LABEL * size, size), *cells])
    if rows is None:
        grid = [row[1:] for row in grid]
    widths = [max(block.shape[1] for block in column) for column in zip(*grid)]
    strips = []
    for row in grid:
        height = max(map(len, row))
        above = 1.0 if row is grid[0] else 0.5  # A caption of fewer lines is near its images too.
        frames = (_frame(block, height, w, above, size // 4) for block, w in zip(row, widths))
        strips.append(np.hstack(list(frames)))
    return np.vstack(strips)


def png(picture: np.ndarray) -> bytes:
    """The content of a PNG file.

    Args:
        picture: `[H, W, 3]` uint8, RGB, or `[H, W]`, grey.
    """
    return cv2.imencode(".png", picture[..., ::-1] if picture.ndim == 3 else picture)[1].tobytes()


def encode(picture: np.ndarray) -> tuple[bytes, str]:
    """The content and suffix of a file: PNG up to a megapixel, else JPEG, a tenth the size.

    Args:
        picture: `[H, W, 3]` uint8, RGB.
    """
    if picture.shape[0] * picture.shape[1] <= _PNG_PIXELS:
        return png(picture), ".png"
    quality = [cv2.IMWRITE_JPEG_QUALITY, 90]
    return cv2.imencode(".jpg", picture[..., ::-1], quality)[1].tobytes(), ".jpg"


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    # OpenCV's and Pillow's own fonts lack the paper's dagger; this one comes with Matplotlib.
    return ImageFont.truetype(f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf", size)


def _text(text: str, width: int, size: int) -> np.ndarray:
    """Centred lines, `[h, w, 3]`, no larger than they need."""
    font = _font(size)
    lines = _wrap(text, width, font)
    longest = max(map(font.getlength, lines), default=0)
    line_height = sum(font.getmetrics())
    block = Image.new("RGB", (math.ceil(longest) + 2, len(lines) * line_height), "white")
    draw = ImageDraw.Draw(block)
    for number, line in enumerate(lines):
        draw.text((block.width / 2, number * line_height), line, "black", font, anchor="ma")
    return np.array(block).reshape(block.height, block.width, 3)


def _wrap(text: str, width: int, font: ImageFont.FreeTypeFont) -> list[str]:
    """Lines no longer than the width; a longer word is broken after a sign, or anywhere."""
    lines, rest = [], " ".join(text.split())
    while rest:
        ends = range(1, len(rest) + 1)
        fitting = [end for end in ends if end == 1 or font.getlength(rest[:end]) <= width]
        after_words = [end for end in fitting if rest[end : end + 1] in ("", " ")]
        after_signs = [end for end in fitting if rest[end - 1] in _SIGNS]
        end = max(after_words or after_signs or fitting)
        lines.append(rest[:end])
        rest = rest[end:].lstrip()
    return lines


def _frame(block: np.ndarray, height: int, width: int, above: float, margin: int) -> np.ndarray:
    """The block in white of a size, with so much of the free height above it, and a margin."""
    free_height, free_width = height - block.shape[0], width - block.shape[1]
    top, left = int(above * free_height), free_width // 2
    margins = [(top, free_height - top), (left, free_width - left), (0, 0)]
    margins = [(before + margin, after + margin) for before, after in margins[:2]] + margins[2:]
    return np.pad(block, margins, constant_values=255)
