"""The served functions against the Python model, Pillow and the rules they share with both."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from pgi.__main__ import main
from pgi.errors import RuleError
from pgi.export import served_model
from pgi.export.limits import MAX_BATCH
from pgi.export.saved_model import save
from pgi.export.served_model import ServedModel
from pgi.inference import PyramidInpainter, SavedModelInpainter
from pgi.training import assembly
from tests.tiny_run import CONFIG

Signatures = tuple[Callable[..., tf.Tensor], Callable[..., tf.Tensor]]


@pytest.fixture(scope="module")
def inpainter() -> PyramidInpainter:
    return PyramidInpainter(assembly.make_model(CONFIG))


@pytest.fixture(scope="module")
def served(inpainter) -> ServedModel:
    return ServedModel(inpainter.model, max_megapixels=0.01)


@pytest.fixture(scope="module")
def saved(served, tmp_path_factory) -> Path:
    """The same on disk."""
    folder = tmp_path_factory.mktemp("saved") / "1"
    save(served, folder)
    return folder


@pytest.fixture(scope="module")
def signatures(saved) -> Signatures:
    loaded = tf.saved_model.load(str(saved))
    of_files, of_pixels = (loaded.signatures[x] for x in ("serving_default", "predict"))

    def fill_files(images: list[bytes], masks: list[bytes]) -> tf.Tensor:
        assert loaded  # Alone, a signature would lose its variables.
        inputs = {"image_bytes": tf.constant(images), "mask_bytes": tf.constant(masks)}
        return of_files(**inputs)["image_bytes"]

    def fill_pixels(images: np.ndarray, masks: np.ndarray) -> tf.Tensor:
        return of_pixels(image=tf.constant(images), mask=tf.constant(masks))["image"]

    return fill_files, fill_pixels


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


def test_one_graph_serves_holes_of_every_depth(inpainter):
    """Holes that need the pyramid's levels alone, and two and three more."""
    deep = PyramidInpainter(inpainter.model, depth="auto")
    served, image = ServedModel(inpainter.model, depth="auto"), pixels(144, 200)
    depths = []
    for side in (6, 24, 60):
        mask = np.zeros([144, 200], np.uint8)
        mask[3 : 3 + side, 100 : 100 + side] = 255
        depths.append(len(deep.completed_levels(image, mask)))
        result = served.predict(tf.constant(image[None]), tf.constant(mask[None, ..., None]))
        np.testing.assert_array_equal(result["image"][0], deep(image, mask))
    assert depths == [2, 4, 5]


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
        (
            IMAGE[:16] + b"\xff" * 4 + IMAGE[20:],
            MASK,
            "image_bytes[1] must be undamaged, got a header that cannot be read",
        ),
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
        "wider than any PNG",
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


def test_an_empty_batch_is_refused(served, signatures):
    empty, rule = tf.zeros([0], tf.string), f"must be a batch of 1 to {MAX_BATCH} images, got 0"
    images, masks = np.zeros([0, 8, 9, 3], np.uint8), np.zeros([0, 8, 9, 1], np.uint8)
    for fill_files in (served.serving_default, signatures[0]):
        with pytest.raises(tf.errors.InvalidArgumentError, match=f"image_bytes {rule}"):
            fill_files(empty, empty)
    for fill_pixels in (served.predict, signatures[1]):
        with pytest.raises(tf.errors.InvalidArgumentError, match=f"image {rule}"):
            fill_pixels(images, masks)


@pytest.mark.parametrize("size", [(0, 9), (9, 0), (0, 0)])
def test_images_without_pixels_are_refused(signatures, size):
    message = f"image must be of at least one pixel, got {size[1]} x {size[0]}"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        signatures[1](np.zeros([2, *size, 3], np.uint8), np.zeros([2, *size, 1], np.uint8))


# The limits, in the SavedModel: 0.01 megapixels are 100 x 100 or 80 x 125 pixels.


@pytest.mark.parametrize(("height", "width"), [(100, 100), (80, 125)])
def test_an_image_at_the_limit_passes_and_a_row_more_is_refused(signatures, height, width):
    fill_files, fill_pixels = signatures
    image, mask = pixels(height, width), hole(height, width)
    (content,) = fill_files([encoded(image)], [encoded(mask)]).numpy()
    (result,) = fill_pixels(image[None], mask[None, ..., None]).numpy()
    np.testing.assert_array_equal(np.asarray(decoded(content)), result)
    assert (result != image).any()
    image, mask = pixels(height + 1, width), hole(height + 1, width)
    got = rf"{width * (height + 1) / 1e6:g} \({width} x {height + 1}\)"
    rule = f"must be of at most 0.01 megapixels, got {got}"
    with pytest.raises(tf.errors.InvalidArgumentError, match=rf"image_bytes.0. {rule}"):
        fill_files([encoded(image)], [encoded(mask)])
    with pytest.raises(tf.errors.InvalidArgumentError, match=rf"image {rule}"):
        fill_pixels(image[None], mask[None, ..., None])


def test_a_mask_is_held_to_the_limit_too(signatures):
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"mask_bytes.0. must be of at most"):
        signatures[0]([IMAGE], [encoded(hole(101, 100))])


def test_a_batch_at_the_limit_passes_and_an_image_more_is_refused(signatures):
    fill_files, fill_pixels = signatures
    images = np.stack([pixels(24, 32, seed=seed) for seed in range(MAX_BATCH + 1)])
    masks = np.stack([hole(24, 32)] * len(images))[..., None]
    files = [encoded(image) for image in images], [MASK] * len(images)
    contents = fill_files(*(x[:-1] for x in files)).numpy()
    results = fill_pixels(images[:-1], masks[:-1]).numpy()
    assert len(contents) == MAX_BATCH
    for content, result in zip(contents, results):
        np.testing.assert_array_equal(np.asarray(decoded(content)), result)
    rule = f"must be a batch of 1 to {MAX_BATCH} images, got {MAX_BATCH + 1}"
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"image_bytes {rule}"):
        fill_files(*files)
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"image {rule}"):
        fill_pixels(images, masks)


def test_the_limits_come_before_all_other_work(inpainter, monkeypatch):
    """With a network that fails if it is run, and masks that another rule refuses."""

    def fails(pyramid, extra_levels, image, hole):
        with tf.control_dependencies([tf.debugging.Assert(False, ["it was run"])]):
            return [tf.identity(image)]

    monkeypatch.setattr(served_model, "complete_image", fails)
    broken = ServedModel(inpainter.model, max_megapixels=0.01)
    for last, message in ((LARGE, "image_bytes.1. must be of at most"), (b"", "image_bytes.1. ")):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            broken.serving_default(tf.constant([IMAGE, last]), tf.constant([MASK, MASK]))
    for shape in ((1, 101, 100), (MAX_BATCH + 1, 8, 8)):
        with pytest.raises(
            tf.errors.InvalidArgumentError, match=r"image must be (of at most|a batch of 1 to 8)"
        ):
            broken.predict(np.zeros([*shape, 3], np.uint8), np.full([*shape, 1], 255, np.uint8))


def test_an_inpainter_names_the_limit_and_how_to_raise_it(saved):
    image, mask = pixels(101, 100), hole(101, 100)
    message = (
        r"^image must be of at most 0\.01 megapixels, got 0\.0101 \(100 x 101\): the limit of this "
        "SavedModel, see --max-megapixels of pgi export$"
    )
    loaded = SavedModelInpainter(saved)
    for call in (loaded, loaded.completed_levels):
        with pytest.raises(RuleError, match=message):
            call(image, mask)
    assert loaded(image[1:], mask[1:]).shape == (100, 100, 3)


def test_pgi_inpaint_names_a_picture_beyond_the_limit_and_fills_the_others(saved, tmp_path, capsys):
    folders = images, masks, filled = [tmp_path / x for x in ("images", "masks", "filled")]
    for folder in folders[:2]:
        folder.mkdir()
    for name, height in (("a.png", 101), ("b.png", 100)):
        (images / name).write_bytes(encoded(pixels(height, 100)))
        (masks / name).write_bytes(encoded(hole(height, 100)))
    places = "--images", str(images), "--masks", str(masks), "--output", str(filled)
    assert main(["inpaint", "--model", str(saved), *places]) == 1
    message = (
        f"{images / 'a.png'}: image must be of at most 0.01 megapixels, got 0.0101 (100 x 101)"
    )
    assert message in capsys.readouterr().err
    assert [x.name for x in filled.iterdir()] == ["b.png"]
