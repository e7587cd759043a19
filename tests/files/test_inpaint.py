"""Files are filled without loss, one bad file harms no other, and no half of one is left."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pgi.errors import PictureError, RuleError
from pgi.files.inpaint import Settings, inpaint_file, inpaint_files
from pgi.files.jobs import Job
from pgi.rules import mask_warning
from tests.files.picture_files import (
    ALPHA,
    FILL,
    HEIGHT,
    HOLE,
    NOISE,
    OPAQUE,
    WIDTH,
    decoded,
    encoded,
    rgba,
)

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")

MASK = encoded(Image.fromarray(HOLE))
FILLED = np.where(HOLE[..., None], FILL, NOISE)


def fill(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """An inpainter that ignores the hole, and spoils what it should leave alone."""
    assert image.dtype == np.uint8 and mask.dtype == bool and mask.shape == image.shape[:2]
    return np.where(mask[..., None], FILL[: len(mask), : mask.shape[1]], 255 - image)


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
    for format, same in (("PNG", True), ("WEBP", False)):
        pixels = run(Job(job.image, job.mask, job.output, format), inpainter=None)
        np.testing.assert_array_equal(pixels, NOISE)
        assert (job.output.read_bytes() == content) == same


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


# Many files


def many(tmp_path: Path, count: int) -> list[Job]:
    (tmp_path / "mask.png").write_bytes(MASK)
    jobs = [
        Job(tmp_path / f"{n}.png", tmp_path / "mask.png", tmp_path / "out" / f"{n}.png")
        for n in range(count)
    ]
    for job in jobs:
        job.image.write_bytes(OPAQUE["RGB"])
    return jobs


def test_every_bad_file_is_one_line_and_the_others_are_filled(tmp_path):
    jobs = many(tmp_path, 6)
    jobs[0].image.write_bytes(OPAQUE["RGB"][:200])
    jobs[1].image.unlink()
    jobs[2] = Job(jobs[2].image, tmp_path / "no mask.png", jobs[2].output)
    raised = iter([RuleError("hole must be small, got 9"), ValueError("of the network\nand more")])

    def raising(image, mask):
        raise next(raised)

    failures = inpaint_files(jobs[:3], fill, Settings())
    failures.update(inpaint_files(jobs[3:5], raising, Settings()))
    failures.update(inpaint_files(jobs[5:], fill, Settings()))
    assert list(failures) == [job.image for job in jobs[:5]]
    reasons = list(failures.values())
    assert reasons[0].startswith("damaged: ")
    assert reasons[1] == "cannot be read: No such file or directory"
    assert reasons[2] == f"mask {tmp_path}/no mask.png: cannot be read: No such file or directory"
    assert reasons[3:] == ["hole must be small, got 9", "ValueError: of the network"]
    assert [job.output.exists() for job in jobs] == [False] * 5 + [True]


def test_warnings_are_lines_that_name_the_file_and_pillows_are_not_shown(tmp_path, capsys):
    jobs = many(tmp_path, 2)
    mostly = np.ones_like(HOLE)
    mostly[: len(HOLE) // 5] = False
    assert jobs[0].mask is not None
    jobs[0].mask.write_bytes(encoded(Image.fromarray(mostly)))  # They share it.
    palette = decoded(OPAQUE["P"])
    jobs[1].image.write_bytes(encoded(palette, transparency=bytes(range(256))))
    assert not inpaint_files(jobs, fill, Settings())
    lines = [line for line in capsys.readouterr().err.splitlines() if "warn" in line.lower()]
    warning = mask_warning(mostly)
    assert lines == [f"warning: {job.image}: {warning} (see --mask-polarity)" for job in jobs]


def test_a_log_file_is_not_flooded_with_progress(tmp_path, capsys):
    assert not inpaint_files(many(tmp_path, 100), fill, Settings())
    written = capsys.readouterr().err
    assert "100/100" in written and "file/s" in written
    assert len(written.replace("\r", "\n").split("\n")) < 6


def test_a_full_disk_is_that_files_failure_and_leaves_no_part_of_it(tmp_path, monkeypatch):
    jobs = many(tmp_path, 3)
    really_sync = os.fsync

    def sync(descriptor):
        if ".1.png" in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.ENOSPC, "No space left on device")
        really_sync(descriptor)

    monkeypatch.setattr(os, "fsync", sync)
    failures = inpaint_files(jobs, fill, Settings())
    reason = f"{jobs[1].output} cannot be written: No space left on device"
    assert failures == {jobs[1].image: reason}
    assert sorted(os.listdir(tmp_path / "out")) == ["0.png", "2.png"]


def test_an_output_folder_that_cannot_be_made_is_a_failure(tmp_path):
    (job,) = many(tmp_path, 1)
    (tmp_path / "out").touch()
    (reason,) = inpaint_files([job], fill, Settings()).values()
    assert reason.startswith(f"{job.output} cannot be written: ")
    (tmp_path / "out").unlink()
    job.output.mkdir(parents=True)
    (reason,) = inpaint_files([job], fill, Settings()).values()
    assert reason.startswith(f"{job.output} cannot be written: ")
    assert os.listdir(tmp_path / "out") == ["0.png"]


def test_an_interrupted_write_leaves_nothing_and_ends_the_run(tmp_path, monkeypatch):
    jobs = many(tmp_path, 2)

    def interrupt(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        inpaint_files(jobs, fill, Settings())
    assert os.listdir(tmp_path / "out") == []


def test_what_a_kill_left_behind_is_cleared_away(tmp_path):
    (job,) = many(tmp_path, 1)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".0.png.part").write_bytes(b"half")
    assert not inpaint_files([job], fill, Settings())
    assert os.listdir(tmp_path / "out") == ["0.png"]
