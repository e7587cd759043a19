"""What the page's button does, without the page."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pgi.errors import PictureError
from pgi.files.painting import fill_painted
from pgi.files.pictures import read_picture
from pgi.inference import Inpainter, PyramidInpainter
from pgi.training import assembly
from tests.tiny_run import CONFIG


@pytest.fixture(scope="module")
def inpainter() -> Inpainter:
    return PyramidInpainter(assembly.make_model(CONFIG))


def noise(height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, [height, width, channels], np.uint8)


def encoded(pixels: np.ndarray, format: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels.squeeze()).save(file, format, **options)
    return file.getvalue()


def decoded(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


def paint(height: int, width: int, part: tuple[slice, slice]) -> np.ndarray:
    layer = np.zeros([height, width, 4], np.uint8)
    layer[part] = (255, 0, 0, 255)
    return layer


PART = (slice(8, 20), slice(10, 30))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_only_what_is_painted_changes_and_the_mode_stays(
    inpainter: Inpainter, channels: int
) -> None:
    pixels = noise(33, 50, channels).squeeze()
    filled = fill_painted(inpainter, encoded(pixels), [paint(33, 50, PART)])
    result = decoded(filled.content)
    assert result.shape == pixels.shape
    hole = np.zeros([33, 50], bool)
    hole[PART] = True
    np.testing.assert_array_equal(filled.hole, hole)
    np.testing.assert_array_equal(result[~hole], pixels[~hole])
    assert (result[hole] != pixels[hole]).any()
    assert [x.shape for x in filled.levels] == [(17, 25, 3), (33, 50, 3)]
    if channels in (2, 4):
        np.testing.assert_array_equal(result[..., -1], pixels[..., -1])


def test_a_download_is_what_a_call_gives(inpainter: Inpainter) -> None:
    pixels = noise(33, 50)
    filled = fill_painted(inpainter, encoded(pixels), [paint(33, 50, PART)])
    hole = np.zeros([33, 50], bool)
    hole[PART] = True
    np.testing.assert_array_equal(decoded(filled.content), inpainter(pixels, hole))


def test_paint_on_a_smaller_copy_is_scaled_up(inpainter: Inpainter) -> None:
    small = [paint(20, 30, (slice(5, 10), slice(6, 12))), paint(20, 30, (slice(0, 1), slice(0, 1)))]
    hole = fill_painted(inpainter, encoded(noise(80, 120)), small).hole
    expected = np.zeros([80, 120], bool)
    expected[20:40, 24:48] = expected[:4, :4] = True
    np.testing.assert_array_equal(hole, expected)


def test_paint_is_upright_where_the_file_is_not(inpainter: Inpainter) -> None:
    pixels, exif = noise(40, 64), Image.Exif()
    exif[0x0112] = 6  # Upright after a quarter turn clockwise.
    content = encoded(pixels, exif=exif)
    filled = fill_painted(inpainter, content, [paint(64, 40, PART)])
    assert filled.before.shape == (64, 40, 3)
    changed = np.rot90((decoded(filled.content) != pixels).any(axis=-1), -1)
    assert changed[PART].mean() > 0.9
    changed[PART] = False
    assert not changed.any()
    assert read_picture(filled.content, 1).orientation == 6


@pytest.mark.parametrize(
    ("content", "layers", "message"),
    [
        (encoded(noise(33, 50)), [], "nothing is painted"),
        (encoded(noise(33, 50)), [np.zeros([33, 50, 4], np.uint8)], "nothing is painted"),
        (encoded(noise(33, 50)), [np.full([33, 50, 4], 127, np.uint8)], "nothing is painted"),
        (encoded(noise(33, 50)), [np.full([33, 50, 4], 255, np.uint8)], "everything is painted"),
        (encoded(noise(33, 50))[:2000], [paint(33, 50, PART)], "damaged"),
        (b"text", [paint(33, 50, PART)], "no PNG, JPEG or WebP"),
        (encoded(noise(200, 60)), [paint(200, 60, PART)], "at most 0.01 megapixels, got 0.012"),
    ],
)
def test_says_what_cannot_be_filled(
    inpainter: Inpainter, content: bytes, layers: list, message: str
) -> None:
    with pytest.raises(PictureError, match=message):
        fill_painted(inpainter, content, layers, max_megapixels=0.01)


def test_cmyk_is_refused_before_it_is_filled(inpainter: Inpainter) -> None:
    file = io.BytesIO()
    Image.new("CMYK", (50, 33)).save(file, "JPEG")
    with pytest.raises(PictureError, match="got CMYK"):
        fill_painted(inpainter, file.getvalue(), [paint(33, 50, PART)])


def test_warns_of_a_mask_that_is_mostly_hole(inpainter: Inpainter) -> None:
    layer = paint(33, 50, (slice(0, 30), slice(0, 50)))
    filled = fill_painted(inpainter, encoded(noise(33, 50)), [layer])
    assert filled.warning is not None and "91% hole" in filled.warning
