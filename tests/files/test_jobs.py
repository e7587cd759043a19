"""Every image meets its own mask and output, and nothing that is read is ever written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pgi.errors import PlanError
from pgi.files.jobs import Job, plan


def make(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with images of two suffixes and their masks, named by relative paths."""
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "images", "b.png", "a.jpg", "deep/er/a.webp")
    make(tmp_path / "masks", "a.png", "b.PNG", "deep/er/a.jpeg")
    return tmp_path


def pairs(jobs: tuple[Job, ...]) -> list[tuple[str, str, str]]:
    return [(str(job.image), str(job.mask), str(job.output)) for job in jobs]


def test_images_masks_and_outputs_go_by_their_relative_paths(places):
    assert pairs(plan(Path("images"), Path("masks"), Path("out"))) == [
        ("images/a.jpg", "masks/a.png", "out/a.jpg"),
        ("images/b.png", "masks/b.PNG", "out/b.png"),
        ("images/deep/er/a.webp", "masks/deep/er/a.jpeg", "out/deep/er/a.webp"),
    ]


def test_one_mask_serves_all_images(places):
    make(places, "mask.webp")
    jobs = plan(Path("images"), Path("mask.webp"), Path("out"))
    assert {job.mask for job in jobs} == {Path("mask.webp")} and len(jobs) == 3


def test_without_masks_no_job_has_one_and_none_has_a_problem(places):
    assert [(job.mask, job.problem) for job in plan(Path("images"), None, Path("out"))] == [
        (None, "")
    ] * 3


def test_one_image_goes_into_a_folder_or_becomes_a_file_whose_suffix_is_its_format(places):
    image, masks = Path("images/a.jpg"), Path("masks")
    (job,) = plan(image, masks, Path("out"))
    assert job == Job(image, Path("masks/a.png"), Path("out/a.jpg"))
    (job,) = plan(image, Path("masks/b.PNG"), Path("new/x.WebP"))
    assert job == Job(image, Path("masks/b.PNG"), Path("new/x.WebP"), "WEBP")
    make(places, "folder.png/x")
    (job,) = plan(image, masks, Path("folder.png"))
    assert (job.output, job.format) == (Path("folder.png/a.jpg"), None)


def test_a_file_that_is_named_needs_no_suffix_and_may_be_hidden(places):
    make(places, "photograph", ".hidden.png")
    for name in ("photograph", ".hidden.png"):
        (job,) = plan(Path(name), None, Path("out"))
        assert (job.image, job.output) == (Path(name), Path("out", name))


def test_a_format_renames_what_has_another_suffix(places):
    make(places / "images", "c.JPEG", "d.e.png")
    names = [job.output.name for job in plan(Path("images"), None, Path("out"), "JPEG")]
    assert names == ["a.jpg", "b.jpg", "c.JPEG", "d.e.jpg", "a.jpg"]
    assert {job.format for job in plan(Path("images"), None, Path("out"), "JPEG")} == {"JPEG"}


def test_hidden_ones_other_files_and_folders_are_left_out(places):
    make(
        places / "images",
        ".c.png",
        ".hidden/c.png",
        "notes.txt",
        "c.gif",
        "d.png/e.PNG",
        "x.png.part",
    )
    os.mkfifo(places / "images" / "pipe.png")
    found = [str(job.image) for job in plan(Path("images"), None, Path("out"))]
    assert found == ["images/a.jpg", "images/b.png", "images/d.png/e.PNG", "images/deep/er/a.webp"]


def test_a_folder_in_a_hidden_one_is_the_users_wish(tmp_path):
    images = make(tmp_path / ".cache" / "images", "a.png")
    assert [job.image for job in plan(images, None, tmp_path / "out")] == [images / "a.png"]


@pytest.mark.parametrize("output", ["images/out", "images/deep/out"])
def test_masks_and_outputs_inside_the_images_folder_are_no_images(places, output):
    make(places / "images/masks", "a.png", "b.png", "deep/er/a.png")
    make(places / output, "old.png")
    jobs = plan(Path("images"), Path("images/masks"), Path(output))
    assert [str(job.image) for job in jobs] == [
        "images/a.jpg",
        "images/b.png",
        "images/deep/er/a.webp",
    ]
    assert not any(job.problem for job in jobs)
    make(places / "images", "mask.png")
    jobs = plan(places / "images", Path("images/mask.png"), Path(output))
    assert not any(job.image.name == "mask.png" for job in jobs)


def test_images_and_outputs_inside_the_masks_folder_are_no_masks(places):
    make(places / "all", "a.png", "out/a.png")
    make(places / "all/images", "a.jpg", "images/a.jpg", "out/a.jpg")
    jobs = plan(Path("all/images"), Path("all"), Path("all/out"))
    assert [job.mask for job in jobs] == [Path("all/a.png"), None, None]


def test_no_mask_and_several_are_that_images_problem(places):
    make(places / "masks", "b.jpg")
    (places / "masks" / "a.png").unlink()
    jobs = plan(Path("images"), Path("masks"), Path("out"))
    assert jobs[0].problem == "no mask masks/a with one of .png, .jpg, .jpeg, .webp"
    assert set(jobs[1].problem.removeprefix("several masks: ").split(", ")) == {
        "masks/b.PNG",
        "masks/b.jpg",
    }
    assert not jobs[2].problem and jobs[2].mask


@pytest.mark.parametrize(
    "images, masks, output, format, message",
    [
        ("nowhere", "masks", "out", None, "images must be a file or a folder, got nowhere"),
        ("images", "nowhere", "out", None, "masks must be a file or a folder, got nowhere"),
        ("empty", "masks", "out", None, "empty must hold a file of .png, .jpg, .jpeg, .webp, got"),
        ("images", "empty", "out", None, "empty must hold a file of .png, .jpg, .jpeg, .webp, got"),
        ("images", "images", "out", None, "masks and images must be two places"),
        ("images", "masks", "images", None, "output and images must be two places"),
        ("images", "masks", "images/../images", None, "output and images must be two places"),
        ("images", "masks", "link", "PNG", "output and images must be two places"),
        ("images", "masks", "masks", None, "output and masks must be two places"),
        ("images/a.jpg", "masks/a.png", "images", None, "overwrite .*, got images/a.jpg"),
        ("images/a.jpg", "masks/a.png", "link/a.jpg", None, "overwrite .*, got link/a.jpg"),
        ("images/b.png", "masks/a.png", "masks/a.png", None, "overwrite .*, got masks/a.png"),
        ("images", "masks", "out.png", None, "output must be a folder, since images is one"),
        ("images", "masks", "file", None, "output must be a folder or have a picture's suffix"),
        ("images/a.jpg", "masks", "x.png", "WEBP", "must have a suffix of WEBP, got x.png"),
        ("twice", "masks/a.png", "out", "PNG", "twice/a.jpg and twice/a.png must have outputs of"),
        ("nested/in", "masks/a.png", "nested", None, "overwrite .*, got nested/in/a.png"),
    ],
)
def test_what_cannot_be_meant_is_refused(places, images, masks, output, format, message):
    make(places, "empty/notes.txt", "file", "twice/a.png", "twice/a.jpg")
    make(places, "nested/in/a.png", "nested/in/in/a.png")
    os.symlink("images", "link")
    with pytest.raises(PlanError, match=message) as error:
        plan(Path(images), Path(masks), Path(output), format)
    assert "\n" not in str(error.value)


def test_a_folder_that_cannot_be_listed_is_named(places, monkeypatch):
    really_list = os.scandir

    def forbid(path):
        if Path(path).name == "deep":
            raise PermissionError(13, "Permission denied", str(path))
        return really_list(path)

    monkeypatch.setattr(os, "scandir", forbid)
    with pytest.raises(PlanError, match="images/deep cannot be listed: Permission denied"):
        plan(Path("images"), None, Path("out"))
