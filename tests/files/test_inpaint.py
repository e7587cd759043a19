"""Files are filled without loss, one bad file harms no other, and no half of one is left."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from pgi.errors import PictureError
from pgi.files.inpaint import Settings, inpaint_file, inpaint_files
from pgi.files.jobs import Job, plan
from tests.files.picture_files import (
    ALPHA,
    FILL,
    FILLED,
    HEIGHT,
    HOLE,
    MASK,
    NOISE,
    OPAQUE,
    WIDTH,
    decoded,
    encoded,
    fill,
    rgba,
)

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")


@pytest.fixture
def job(tmp_path: Path) -> Job:
    (tmp_path / "a.png").write_bytes(OPAQUE["RGB"])
    (tmp_path / "mask.png").write_bytes(MASK)
    return Job(tmp_path / "a.png", tmp_path / "mask.png", tmp_path / "out" / "deep" / "a.png")


def run(job: Job, inpainter=fill, **settings) -> np.ndarray:
    inpaint_file(job, inpainter, Settings(**settings))
    return np.asarray(decoded(job.output.read_bytes()))


def test_known_pixels_come_back_bit_identical_even_if_the_inpainter_alters_them(job):
    np.testing.assert_array_equal(run(job), FILLED)
    assert os.listdir(job.output.parent) == ["a.png"]


def test_what_lies_under_the_mask_changes_nothing(job):
    run(job)
    expected = job.output.read_bytes()
    job.image.write_bytes(encoded(Image.fromarray(np.where(HOLE[..., None], 7, NOISE))))
    run(job)
    assert job.output.read_bytes() == expected


def test_an_empty_mask_copies_the_file(job):
    content = OPAQUE["RGB"] + b"and what follows"
    job.image.write_bytes(content)
    job.mask.write_bytes(encoded(Image.new("L", (WIDTH, HEIGHT), 127)))
    run(job, inpainter=None)
    assert job.output.read_bytes() == content
    for name, same in (("a", True), ("a.png", True), ("a.webp", False)):
        renamed = replace(job, output=job.output.with_name(name))
        np.testing.assert_array_equal(run(renamed, inpainter=None), NOISE)
        assert (renamed.output.read_bytes() == content) == same


def test_a_mask_of_everything_is_refused(job):
    job.mask.write_bytes(encoded(Image.new("L", (WIDTH, HEIGHT), 255)))
    with pytest.raises(
        PictureError, match=r"outside the hole.* covers it all \(see --mask-polarity\)"
    ):
        run(job)
    assert not job.output.exists()
    run(job, polarity="black")
    assert job.output.read_bytes() == OPAQUE["RGB"]


def test_polarity_turns_the_mask_over(job):
    np.testing.assert_array_equal(
        run(job, polarity="black"), np.where(HOLE[..., None], NOISE, FILL)
    )


def test_a_mask_of_another_size_is_refused_or_resized(job):
    double = HOLE.repeat(2, axis=0).repeat(2, axis=1)
    job.mask.write_bytes(encoded(Image.fromarray(double)))
    message = "mask.png must have the image's 34 x 24 pixels, got 68 x 48 .see --resize-masks"
    with pytest.raises(PictureError, match=message):
        run(job)
    np.testing.assert_array_equal(run(job, resize_masks=True), FILLED)


def test_a_mask_has_the_size_of_the_upright_picture(job):
    exif = Image.Exif()
    exif[274] = 6
    job.image.write_bytes(encoded(Image.fromarray(NOISE), exif=exif))
    with pytest.raises(PictureError, match="must have the image's 24 x 34 pixels, got 34 x 24"):
        run(job)
    upright = np.zeros([WIDTH, HEIGHT], bool)
    upright[20:, :5] = True
    job.mask.write_bytes(encoded(Image.fromarray(upright)))
    pixels = run(job, inpainter=lambda image, mask: np.full_like(image, 9))
    # What is shown at the bottom and on the left is stored below on the right.
    expected = NOISE.copy()
    expected[-5:, 20:] = 9
    np.testing.assert_array_equal(pixels, expected)


def test_alpha_can_be_the_mask_and_then_the_hole_becomes_opaque(job):
    job = Job(job.image, None, job.output)
    with pytest.raises(PictureError, match="must have alpha"):
        run(job)
    job.image.write_bytes(encoded(rgba()))
    pixels, hole = run(job), ALPHA <= 127
    np.testing.assert_array_equal(pixels[..., :3], np.where(hole[..., None], FILL, NOISE))
    np.testing.assert_array_equal(pixels[..., 3], np.where(hole, 255, ALPHA))
    job.image.write_bytes(encoded(rgba(np.zeros_like(ALPHA))))
    with pytest.raises(PictureError, match=r"covers it all$"):
        run(job)


@pytest.mark.parametrize("height, width", [(1, 1), (1, 9), (5, 1), (2, 3)])
def test_small_pictures_are_filled(job, height, width):
    job.image.write_bytes(encoded(Image.fromarray(NOISE[:height, :width])))
    hole = np.arange(height * width).reshape(height, width) % 2 == 1
    job.mask.write_bytes(encoded(Image.fromarray(hole)))
    expected = np.where(hole[..., None], FILL[:height, :width], NOISE[:height, :width])
    np.testing.assert_array_equal(run(job), expected)


def test_too_large_images_and_masks_are_refused(job):
    job.mask.write_bytes(encoded(Image.new("1", (1000, 1000))))
    with pytest.raises(PictureError, match=r"mask .*mask.png: must have at most 0.9 mega"):
        run(job, max_megapixels=0.9)
    job.image.write_bytes(encoded(Image.new("RGB", (1000, 1000))))
    with pytest.raises(PictureError, match=r"^must have at most 0.9 mega"):
        run(job, max_megapixels=0.9)


SMOOTH = np.add.outer(np.arange(HEIGHT), np.arange(WIDTH)).astype(np.uint8)[..., None].repeat(3, 2)


@pytest.mark.parametrize("own", ["PNG", "JPEG", "WEBP", "TIFF", "BMP"])
@pytest.mark.parametrize("name", ["a.png", "a.jpeg", "a.webp", "a.tif", "a.bmp"])
@pytest.mark.parametrize("empty", [False, True])
def test_the_outputs_content_follows_its_name(tmp_path, name, own, empty):
    options = {"lossless": True} if own == "WEBP" else {}
    (tmp_path / name).write_bytes(encoded(Image.fromarray(SMOOTH), own, **options))
    (tmp_path / "mask.png").write_bytes(encoded(Image.fromarray(HOLE & (not empty))))
    (job,) = plan(tmp_path / name, tmp_path / "mask.png", tmp_path / "out")
    filled = inpaint_file(job, lambda image, mask: np.full_like(image, 99), Settings())
    after = decoded(job.output.read_bytes())
    named = {"jpeg": "JPEG", "tif": "TIFF"}.get(name[2:], name[2:].upper())
    assert after.format == named
    before = np.asarray(decoded((tmp_path / name).read_bytes()).convert("RGB")).astype(int)
    difference = np.abs(np.asarray(after.convert("RGB")) - before)[~HOLE].max()
    said = [x for x in filled.warnings if "written as JPEG, in which known pixels are not" in x]
    assert len(said) == (named == "JPEG" != own)
    if named != "JPEG":
        assert difference == 0
    elif own != "JPEG" and empty:
        assert difference <= 3  # Quality 95.


def test_holes_grow(job):
    outcome = inpaint_files([job], fill, Settings(grow_mask=3))
    assert outcome.done == 1
    grown = ndimage.distance_transform_edt(~HOLE) <= 3
    pixels = np.asarray(decoded(job.output.read_bytes()))
    np.testing.assert_array_equal(pixels, np.where(grown[..., None], FILL, NOISE))
    with pytest.raises(PictureError, match=r"covers it all once it has grown \(see --grow-mask\)$"):
        inpaint_file(job, fill, Settings(grow_mask=99))
