"""Many files: what is said and counted, what ends a batch, several processes at once."""

from __future__ import annotations

import errno
import multiprocessing
import os
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from pgi.errors import RuleError
from pgi.files.claims import claimed
from pgi.files.inpaint import Settings, inpaint_files
from pgi.files.jobs import Job
from pgi.rules import mask_warning
from tests.files.picture_files import (
    ALPHA,
    FILLED,
    HEIGHT,
    HOLE,
    MASK,
    OPAQUE,
    WIDTH,
    decoded,
    encoded,
    fill,
    rgba,
)

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")

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

    failures = inpaint_files(jobs[:3], fill, Settings()).failures
    failures.update(inpaint_files(jobs[3:5], raising, Settings()).failures)
    failures.update(inpaint_files(jobs[5:], fill, Settings()).failures)
    assert list(failures) == jobs[:5]
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
    assert not inpaint_files(jobs, fill, Settings()).failures
    lines = [line for line in capsys.readouterr().err.splitlines() if "warn" in line.lower()]
    warning = mask_warning(mostly)
    assert lines == [f"warning: {job.image}: {warning} (see --mask-polarity)" for job in jobs]


def test_a_log_file_is_not_flooded_with_progress(tmp_path, capsys):
    assert not inpaint_files(many(tmp_path, 100), fill, Settings()).failures
    written = capsys.readouterr().err
    assert "100/100" in written and "file/s" in written
    assert len(written.replace("\r", "\n").split("\n")) < 6


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_ends_the_batch_and_leaves_no_part_of_a_file(tmp_path, monkeypatch, number):
    jobs, filled = many(tmp_path, 4), []
    really_sync = os.fsync

    def sync(descriptor):
        if ".1.png" in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise OSError(number, "No space left on device")
        really_sync(descriptor)

    def counted(image, mask):
        filled.append(image)
        return fill(image, mask)

    monkeypatch.setattr(os, "fsync", sync)
    outcome = inpaint_files(jobs, counted, Settings())
    reason = f"{jobs[1].output} cannot be written: No space left on device"
    assert outcome.failures == {jobs[1]: reason} and (outcome.done, outcome.left) == (1, 2)
    assert "1 failed, 2 not done (the disk is full)" in str(outcome) and len(filled) == 2
    assert os.listdir(tmp_path / "out") == ["0.png"]


def test_a_disk_error_of_one_file_does_not_end_the_batch(tmp_path, monkeypatch):
    jobs = many(tmp_path, 3)
    jobs[1].output.mkdir(parents=True)
    outcome = inpaint_files(jobs, fill, Settings())
    assert (outcome.done, list(outcome.failures), outcome.left) == (2, [jobs[1]], 0)


class ResourceExhaustedError(Exception):
    """Named as TensorFlow's."""


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        ResourceExhaustedError("Graph execution error:\nOOM when allocating tensor"),
        cv2.error("(-4:Insufficient memory) Failed to allocate 9 bytes"),
    ],
)
def test_too_little_memory_is_said_with_the_pictures_size(tmp_path, error):
    jobs = many(tmp_path, 2)
    raised = iter([error])

    def exhausted(image, mask):
        for error in raised:
            raise error
        return fill(image, mask)

    outcome = inpaint_files(jobs, exhausted, Settings())
    message = "there is not enough memory for its 34 x 24 pixels: make it smaller"
    assert outcome.failures == {jobs[0]: message} and outcome.done == 1


def test_too_little_memory_to_read_a_picture_is_said_with_its_size(tmp_path, monkeypatch):
    jobs = many(tmp_path, 1)

    def exhausted(image):
        raise MemoryError

    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", exhausted)
    outcome = inpaint_files(jobs, fill, Settings())
    message = "there is not enough memory for its 34 x 24 pixels: make it smaller"
    assert list(outcome.failures.values()) == [message]


# What there is to say about a filled file

RED = np.where(HOLE[..., None], (255, 0, 0), 0).astype(np.uint8)


def test_a_mask_without_a_hole_is_said_for_each_file_and_counted(tmp_path, capsys):
    jobs = many(tmp_path, 4)
    empty = tmp_path / "empty.png"
    empty.write_bytes(encoded(Image.new("L", (WIDTH, HEIGHT), 127)))
    jobs[1:3] = [replace(job, mask=empty) for job in jobs[1:3]]
    jobs[3].image.write_bytes(encoded(rgba(np.full_like(ALPHA, 128))))
    jobs[3] = replace(jobs[3], mask=None)
    outcome = inpaint_files(jobs, fill, Settings())
    assert (outcome.done, outcome.unchanged, outcome.failures) == (1, 3, {})
    assert "1 done, 3 unchanged (their masks have no hole), 0 skipped" in str(outcome)
    lines = [line for line in capsys.readouterr().err.splitlines() if "unchanged" in line]
    reason = f"unchanged: its mask {empty} has no hole (no pixel above 127)"
    assert lines == [
        f"warning: {jobs[1].image}: {reason}",
        f"warning: {jobs[2].image}: {reason}",
        f"warning: {jobs[3].image}: unchanged: its alpha has no hole (no pixel of at most 127)",
    ]


def test_how_masks_of_one_colour_are_read_is_said_once(tmp_path, capsys):
    jobs = many(tmp_path, 3)
    (tmp_path / "mask.png").write_bytes(encoded(Image.fromarray(RED)))
    assert inpaint_files(jobs, fill, Settings()).done == 3
    lines = [line for line in capsys.readouterr().err.splitlines() if "colour" in line]
    assert lines == [
        f"mask {tmp_path}/mask.png, and others like it: one colour on black: the hole is what has "
        "the colour"
    ]
    for job in jobs:
        np.testing.assert_array_equal(np.asarray(decoded(job.output.read_bytes())), FILLED)


def test_a_mask_of_0_and_1_is_that_files_failure(tmp_path):
    jobs = many(tmp_path, 1)
    (tmp_path / "mask.png").write_bytes(encoded(Image.fromarray(HOLE.astype(np.uint8))))
    (reason,) = inpaint_files(jobs, fill, Settings()).failures.values()
    assert reason == (
        f"mask {tmp_path}/mask.png: mask must be of 0 to 255, where above 127 is hole (or bool), "
        "got a maximum of 1"
    )


# Several processes


def test_what_another_process_finished_meanwhile_is_not_filled_again(tmp_path):
    jobs, filled = many(tmp_path, 3), []

    def meanwhile(image, mask):
        jobs[2].output.write_bytes(b"of another process")
        filled.append(image)
        return fill(image, mask)

    outcome = inpaint_files(jobs, meanwhile, Settings())
    assert (outcome.done, outcome.skipped, len(filled)) == (2, 1, 2)
    assert jobs[2].output.read_bytes() == b"of another process"
    outcome = inpaint_files(jobs, fill, Settings(overwrite=True))
    assert outcome.done == 3 and decoded(jobs[2].output.read_bytes()).size == (WIDTH, HEIGHT)


def test_two_processes_share_the_work(tmp_path):
    jobs = many(tmp_path, 12)
    context = multiprocessing.get_context("fork")
    filled, start = context.Queue(), context.Barrier(2)

    def work() -> None:
        start.wait()

        def slow(image, mask):
            time.sleep(0.02)
            filled.put(1)
            return fill(image, mask)

        inpaint_files(jobs, slow, Settings())

    workers = [context.Process(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert sum(filled.get(timeout=5) for _ in jobs) == len(jobs) and filled.empty()
    assert sorted(os.listdir(tmp_path / "out")) == sorted(job.output.name for job in jobs)


def test_what_another_process_is_filling_does_not_count_as_existing(tmp_path):
    jobs = many(tmp_path, 3)
    jobs[1].output.parent.mkdir()
    jobs[1].output.write_bytes(b"finished")
    with claimed(jobs[0].output):
        outcome = inpaint_files(jobs, fill, Settings())
    assert (outcome.done, outcome.skipped, outcome.elsewhere) == (1, 1, 1)
    assert ", 1 left to another process, which is filling them, 0 failed" in str(outcome)


def test_a_claim_that_a_kill_left_behind_claims_nothing(tmp_path):
    (job,) = many(tmp_path, 1)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".0.png.claim").touch()
    assert inpaint_files([job], fill, Settings()).done == 1
    assert os.listdir(tmp_path / "out") == ["0.png"]


def test_an_output_folder_that_cannot_be_made_is_a_failure(tmp_path):
    (job,) = many(tmp_path, 1)
    (tmp_path / "out").touch()
    (reason,) = inpaint_files([job], fill, Settings()).failures.values()
    assert reason.startswith(f"{job.output} cannot be written: ")
    (tmp_path / "out").unlink()
    job.output.mkdir(parents=True)
    (reason,) = inpaint_files([job], fill, Settings()).failures.values()
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


def test_what_a_kill_left_behind_is_cleared_away_an_hour_later(tmp_path):
    (job,) = many(tmp_path, 1)
    (tmp_path / "out").mkdir()
    old, new = (tmp_path / "out" / f".0.png.{x}.part" for x in ("0123abcd", "4567cdef"))
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 4000,) * 2)
    assert not inpaint_files([job], fill, Settings()).failures
    assert sorted(os.listdir(tmp_path / "out")) == [new.name, "0.png"]
