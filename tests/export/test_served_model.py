"""The served functions against the Python model, Pillow and the rules they share with both."""

from __future__ import annotations

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from pgi.export.served_model import ServedModel
from pgi.inference import PyramidInpainter
from pgi.training import assembly
from tests.tiny_run import CONFIG


@pytest.fixture(scope="module")
def inpainter() -> PyramidInpainter:
    return PyramidInpainter(assembly.make_model(CONFIG))


@pytest.fixture(scope="module")
def served(inpainter) -> ServedModel:
    return ServedModel(inpainter.model, max_megapixels=0.01)


def pixels(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).integers(0, 256, [height, width, channels], np.uint8)
    return values[..., 0] if channels == 1 else values


def hole(height: int, width: int) -> np.ndarray:
    mask = np.zeros([height, width], np.uint8)
    mask[height // 4 : height // 2 + 1, width // 3 : width // 2 + 1] = 255
    return mask


def encoded(array: np.ndarray, format: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, format, **options)
    return file.getvalue()


def decoded(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    assert image.format == "PNG"
    return image


def fill_files(served: ServedModel, images: list[bytes], masks: list[bytes]) -> list[Image.Image]:
    result = served.serving_default(tf.constant(images), tf.constant(masks))
    assert list(result) == ["image_bytes"]
    return [decoded(content) for content in result["image_bytes"].numpy()]


@pytest.mark.parametrize(("height", "width"), [(48, 64), (33, 51), (7, 90)])
def test_predict_gives_what_the_inpainter_gives_to_the_bit(inpainter, served, height, width):
    images = np.stack([pixels(height, width, seed=seed) for seed in range(2)])
    masks = np.stack([hole(height, width), hole(height, width)[::-1, ::-1]])
    result = served.predict(images, masks[..., None])
    assert list(result) == ["image"]
    np.testing.assert_array_equal(result["image"], inpainter(images, masks))


def test_files_of_different_sizes_go_in_one_batch(inpainter, served):
    sizes = (48, 64), (33, 51), (20, 20)
    images, masks = [pixels(*size) for size in sizes], [hole(*size) for size in sizes]
    masks[2][:] = 0
    results = fill_files(served, [encoded(x) for x in images], [encoded(x) for x in masks])
    for result, image, mask in zip(results, images, masks):
        np.testing.assert_array_equal(np.asarray(result), inpainter(image, mask))


def test_a_jpeg_has_the_pixels_that_other_decoders_give_it(inpainter, served):
    content, mask = encoded(pixels(40, 56), "JPEG", quality=80), hole(40, 56)
    (result,) = fill_files(served, [content], [encoded(mask, "JPEG", quality=95)])
    image = np.asarray(Image.open(io.BytesIO(content)))
    np.testing.assert_array_equal(np.asarray(result)[mask == 0], image[mask == 0])


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (2, "LA"), (3, "RGB"), (4, "RGBA")])
def test_channels_and_what_is_known_are_kept(served, channels, mode):
    image, mask = pixels(24, 32, channels), hole(24, 32)
    (result,) = fill_files(served, [encoded(image)], [encoded(mask)])
    assert result.mode == mode
    values = np.asarray(result)
    np.testing.assert_array_equal(values[mask == 0], image[mask == 0])
    if "A" in mode:
        np.testing.assert_array_equal(values[..., -1], image[..., -1])
    assert (values != image).any()


def test_what_is_grey_wherever_it_is_known_stays_grey(served):
    image, mask = np.repeat(pixels(24, 32, 2)[..., :1], 3, axis=-1), hole(24, 32)
    image[mask > 0] = (255, 0, 0)
    (result,) = fill_files(served, [encoded(image)], [encoded(mask)])
    values = np.asarray(result)
    assert (values == values[..., :1]).all() and (values != image).any()


def test_a_palette_becomes_the_colours_it_stands_for(served):
    palette = Image.fromarray(pixels(24, 32)).quantize(16)
    file, mask = io.BytesIO(), hole(24, 32)
    palette.save(file, "PNG")
    (result,) = fill_files(served, [file.getvalue()], [encoded(mask)])
    expected = np.asarray(palette.convert("RGB"))
    np.testing.assert_array_equal(np.asarray(result)[mask == 0], expected[mask == 0])


@pytest.mark.parametrize(
    "mask",
    [
        np.where(hole(24, 32) > 0, np.uint8(128), np.uint8(127)),
        hole(24, 32) > 0,
        np.repeat(hole(24, 32)[..., None], 3, axis=-1),
        hole(24, 32).astype(np.uint16) * 257,
    ],
    ids=["grey", "bilevel", "RGB", "16 bits"],
)
def test_masks_of_every_kind_mean_the_same(served, inpainter, mask):
    image = pixels(24, 32)
    (result,) = fill_files(served, [encoded(image)], [encoded(mask)])
    np.testing.assert_array_equal(np.asarray(result), inpainter(image, hole(24, 32)))


IMAGE, MASK = encoded(pixels(24, 32)), encoded(hole(24, 32))
JPEG, LARGE = encoded(pixels(24, 32), "JPEG"), encoded(pixels(200, 300))


@pytest.mark.parametrize(
    ("image", "mask", "message"),
    [
        (b"", MASK, "image_bytes[1] must be a PNG or JPEG file, got 0 bytes of something else"),
        (encoded(pixels(9, 9), "GIF"), MASK, "image_bytes[1] must be a PNG or JPEG file, got "),
        (IMAGE, b"\xff\xd8\xff", "mask_bytes[1] must be undamaged, got a header that cannot"),
        (IMAGE[:20], MASK, "image_bytes[1] must be undamaged, got a header that cannot be read"),
        (IMAGE[:900], MASK, "image_bytes[1] must be undamaged, got pixels that cannot be decoded"),
        (JPEG[:700], MASK, "image_bytes[1] must be undamaged, got pixels that cannot be decoded"),
        (
            encoded(np.zeros([9, 9], np.uint16)),
            MASK,
            "image_bytes[1] must be of at most 8 bits per channel, got 16",
        ),
        (
            # A chunk that decoders skip, in the place of the header: it says 1 x 1.
            LARGE[:8] + b"\0\0\0\x0dabCd" + b"\0\0\0\1" * 2 + b"\x08\2\0\0\0????" + LARGE[8:],
            MASK,
            "image_bytes[1] must be a PNG or JPEG file, got ",
        ),
        (
            LARGE,
            MASK,
            "image_bytes[1] must be of at most 0.01 megapixels, got 0.06 (300 x 200)",
        ),
        (
            IMAGE,
            encoded(hole(24, 31)),
            "mask_bytes[1] must be of the image's size, got 31 x 24 where the image has 32 x 24",
        ),
        (IMAGE, encoded(hole(24, 32) // 255), "mask_bytes[1] must be of 0 to 255, where above 127"),
        (IMAGE, encoded(hole(24, 32) | 255), "mask_bytes[1] must be less than all hole: it is"),
    ],
    ids=[
        "empty",
        "GIF",
        "JPEG of a magic number",
        "cut header",
        "cut PNG",
        "cut JPEG",
        "16 bits",
        "too large, and says otherwise",
        "too large",
        "sizes differ",
        "0 and 1",
        "all hole",
    ],
)
def test_a_bad_file_is_named_with_its_index_and_the_rule(served, image, mask, message):
    with pytest.raises(tf.errors.InvalidArgumentError) as error:
        served.serving_default(tf.constant([IMAGE, image]), tf.constant([MASK, mask]))
    assert message in str(error.value).replace("\\'", "'")


def test_no_cut_of_a_file_passes_or_kills(served):
    for content in (IMAGE, JPEG):
        for length in np.linspace(0, len(content) - 20, 40, dtype=int):
            with pytest.raises(tf.errors.InvalidArgumentError, match=r"image_bytes.0. must be"):
                served.serving_default(tf.constant([content[:length]]), tf.constant([MASK]))


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.zeros([2, 8, 9, 1], np.uint8), "mask must be of the image's [N, H, W], got [2 8 9]"),
        (np.full([2, 8, 8, 1], 255, np.uint8), "mask[0] must be less than all hole"),
        (np.eye(8, dtype=np.uint8)[None, ..., None] * [[[[0]]], [[[1]]]], "mask[1] must be of 0"),
    ],
)
def test_predict_refuses_what_the_inpainter_refuses(served, mask, message):
    with pytest.raises(tf.errors.InvalidArgumentError) as error:
        served.predict(np.zeros([2, 8, 8, 3], np.uint8), mask.astype(np.uint8))
    assert message in str(error.value).replace("\\'", "'")


def test_as_many_masks_as_images(served):
    with pytest.raises(tf.errors.InvalidArgumentError, match="as many as image_bytes, got 1 for 2"):
        served.serving_default(tf.constant([IMAGE, IMAGE]), tf.constant([MASK]))


def test_an_empty_batch_is_an_empty_batch(served):
    empty = tf.zeros([0], tf.string)
    assert served.serving_default(empty, empty)["image_bytes"].shape == [0]
