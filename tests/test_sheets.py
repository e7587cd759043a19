"""Images come back pixel for pixel, and all text is there, inside, and beside them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage
from skimage import io as skimage_io

from experiments.variants import SCALES, VARIANTS, title, variant_config
from pgi import sheets
from pgi.errors import RuleError
from pgi.training import snapshot

TITLES = [title(name, variant_config(name, SCALES["paper"].base)) for name in VARIANTS]


def noise(count: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """Images without a grey pixel, which text and margins are made of."""
    drawn = np.random.default_rng(seed).integers(0, 100, [count, height, width, 3])
    drawn[..., 0] += 150
    return drawn.astype(np.uint8)


def places(drawn: np.ndarray) -> list[tuple[slice, slice]]:
    """Where images are, in reading order; there must be no colour elsewhere."""
    return ndimage.find_objects(ndimage.label(np.ptp(drawn, axis=-1) > 0)[0])


def text(drawn: np.ndarray) -> np.ndarray:
    """What is drawn beside the images: 0 is white, 255 black."""
    ink = 255 - drawn[..., 0].astype(int)
    for place in places(drawn):
        ink[place] = 0
    return ink


@pytest.mark.parametrize("rows", [None, ["0801", "a photograph in a/folder_of_long_names.png"]])
@pytest.mark.parametrize(("height", "width"), [(128, 128), (32, 32), (8, 40), (256, 320)])
def test_images_come_back_pixel_for_pixel(rows, height, width):
    columns = {name: noise(2, height, width, n) for n, name in enumerate(TITLES)}
    drawn = sheets.sheet(columns, rows)
    assert drawn.dtype == np.uint8
    found = places(drawn)
    assert len(found) == 2 * len(columns)
    for n, place in enumerate(found):
        row, column = divmod(n, len(columns))
        np.testing.assert_array_equal(drawn[place], columns[TITLES[column]][row])


@pytest.mark.parametrize("side", [16, 32, 100, 128, 256, 512])
def test_no_caption_touches_an_image_another_caption_or_the_border(side):
    drawn = sheets.sheet({name: noise(1, side, side) for name in TITLES})
    found, ink = places(drawn), text(drawn)
    top = found[0][0].start
    assert not ink[top:].any()
    assert not ink[top - 2 : top].any()
    for edge in (ink[:2], ink[:, :2], ink[:, -2:]):
        assert not edge.any()
    if side >= 100:  # Columns are as wide as their images, or a little wider.
        for left, right in zip(found[:-1], found[1:]):
            middle = (left[1].stop + right[1].start) // 2
            assert not ink[:, middle - 1 : middle + 1].any()
    for place in found:
        assert ink[:top, place[1]].any()


@pytest.mark.parametrize("side", [32, 128])
@pytest.mark.parametrize("name", [*TITLES, "averylongnameofamethod" * 5, "W" * 40])
def test_the_ink_of_every_letter_is_there(name, side):
    def ink(caption: str) -> int:
        return text(sheets.sheet({caption: noise(1, side, side)})).sum()

    assert ink(name) == pytest.approx(sum(map(ink, name.replace(" ", ""))), rel=0.02)


def test_a_long_caption_makes_the_strip_higher_and_the_column_no_wider():
    image = noise(1, 128, 128)
    short, long = sheets.sheet({"ours": image}), sheets.sheet({" ".join(["ours"] * 30): image})
    assert long.shape[0] > short.shape[0] + 40
    assert long.shape[1] == short.shape[1]
    assert places(long)[0][1] == places(short)[0][1]


def test_a_line_is_broken_between_words_if_it_can_be():
    image = noise(1, 128, 128)
    lines = ["image-level,", "non-attention path"]
    upper, lower = (text(sheets.sheet({line: image})) for line in lines)
    both = text(sheets.sheet({" ".join(lines): image}))
    added = len(both) - len(lower)
    for line, alone in ((both[: added + 3], upper), (both[added + 3 :], lower)):
        assert line.sum() == pytest.approx(alone.sum(), rel=0.01)


@pytest.mark.parametrize("sign", sorted({sign for name in TITLES for sign in name} - {" "}))
def test_every_sign_of_the_titles_has_a_shape_of_its_own(sign):
    def drawn(caption: str) -> bytes:
        return sheets.sheet({caption: noise(1, 32, 32)}).tobytes()

    missing = drawn("\uffff")
    assert missing == drawn("\ue000")
    assert drawn(sign) != missing


def test_labels_stand_left_of_their_row():
    images = noise(3, 32, 32)
    columns = {"masked": images, "ours": images}
    drawn = sheets.sheet(columns, ["first", "", "a label that is broken into lines, very many"])
    found, ink = places(drawn), text(drawn)
    left = found[0][1].start
    ink = ink[found[0][0].start :, :left]
    rows = [place[0] for place in found[::2]]
    inside = [slice(*(x - found[0][0].start for x in (row.start, row.stop))) for row in rows]
    assert ink[inside[0]].any()
    assert not ink[inside[1]].any()
    assert ink[inside[2]].any()
    # These lines are higher than their row's images.
    assert ink[inside[2].stop :].any()
    assert not ink[:, :2].any() and not ink[-2:].any() and not ink[:, -2:].any()


@pytest.mark.parametrize(
    ("columns", "rows", "message"),
    [
        ({}, None, r"columns must be uint8 \[N, h, w, 3\] and not empty, got \{\}"),
        ({"a": noise(0, 8, 8)}, None, "columns must be uint8"),
        ({"a": noise(1, 8, 8) / 255.0}, None, "columns must be uint8"),
        ({"a": noise(1, 8, 8)[0]}, None, "columns must be uint8"),
        ({"a": noise(1, 8, 8)[..., :1]}, None, "columns must be uint8"),
        ({"a": noise(1, 8, 8), "b": noise(1, 8, 16)}, None, "columns must be of one shape"),
        ({"a": noise(1, 8, 8), "b": noise(2, 8, 8)}, None, "columns must be of one shape"),
        ({"a": noise(2, 8, 8)}, ["one"], r"rows must be 2 labels, got \['one'\]"),
    ],
)
def test_what_fits_no_sheet_is_refused(columns, rows, message):
    with pytest.raises(RuleError, match=message):
        sheets.sheet(columns, rows)


def test_a_png_holds_every_pixel(tmp_path):
    image = noise(1, 20, 30)[0]
    (tmp_path / "sheet.png").write_bytes(sheets.png(image))
    np.testing.assert_array_equal(skimage_io.imread(tmp_path / "sheet.png"), image)


@pytest.mark.parametrize("width, suffix", [(1024, ".png"), (1025, ".jpg")])
def test_up_to_a_megapixel_a_picture_is_a_png_and_else_a_jpeg(tmp_path, width, suffix):
    ramp = np.linspace(0, 255, 1024 * width * 3).reshape(1024, width, 3).astype(np.uint8)
    content, found = sheets.encode(ramp)
    assert found == suffix
    (tmp_path / f"x{suffix}").write_bytes(content)
    read = skimage_io.imread(tmp_path / f"x{suffix}").astype(int)
    assert content.startswith(b"\x89PNG" if suffix == ".png" else b"\xff\xd8")
    difference = np.abs(read - ramp)
    assert difference.max() <= (0 if suffix == ".png" else 12)


def test_the_sheet_of_a_training_shows_hole_levels_and_truth():
    truth, coarse, fine = (noise(2, side, side, seed) for seed, side in enumerate((32, 16, 32)))
    mask = np.zeros([2, 32, 32, 1], np.float32)
    mask[:, 8:24, 8:24] = 1

    def as_floats(image: np.ndarray) -> tf.Tensor:
        return tf.constant(image / 127.5 - 1, tf.float32)

    outputs: Any = [SimpleNamespace(completed=as_floats(image)) for image in (coarse, fine)]
    pyramid = [as_floats(truth[:, ::2, ::2]), as_floats(truth)]
    drawn = snapshot.sample_sheet(outputs, pyramid, [mask[:, ::2, ::2], mask])

    whole = [coarse.repeat(2, axis=1).repeat(2, axis=2), fine, truth]
    # Holes are white, as is what is beside the images.
    masked = np.where(mask > 0, 255, truth).astype(np.uint8)
    captions = ["masked", "level 0: 16 px", "level 1: 32 px", "truth"]
    expected = sheets.sheet(dict(zip(captions, [masked, *whole])))
    np.testing.assert_array_equal(drawn, expected)
    found = places(drawn)
    for row in range(2):
        for column, images in enumerate(whole, start=1):
            np.testing.assert_array_equal(drawn[found[4 * row + column]], images[row])

    # A level that is not trained yet is not shown.
    drawn = snapshot.sample_sheet(outputs[:1], pyramid, [mask[:, ::2, ::2], mask])
    columns = dict(zip(["masked", "level 0: 16 px", "truth"], [masked, whole[0], truth]))
    np.testing.assert_array_equal(drawn, sheets.sheet(columns))
