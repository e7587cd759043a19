"""Every image meets its own mask and output, and nothing that is read is ever written."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from pgi.errors import PlanError
from pgi.files.jobs import Job, plan
from pgi.files.tree import find
from tests.closed_folder import forbid


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
    assert job == Job(image, Path("masks/a.png"), Path("out/a.jpg")) and job.format == "JPEG"
    (job,) = plan(image, Path("masks/b.PNG"), Path("new/x.WebP"))
    assert job == Job(image, Path("masks/b.PNG"), Path("new/x.WebP")) and job.format == "WEBP"
    make(places, "folder.png/x")
    (job,) = plan(image, masks, Path("folder.png"))
    assert (job.output, job.format) == (Path("folder.png/a.jpg"), "JPEG")


def test_a_file_that_is_named_needs_no_suffix_and_may_be_hidden(places):
    make(places, "photograph", ".hidden.png")
    for name in ("photograph", ".hidden.png"):
        (job,) = plan(Path(name), None, Path("out"))
        assert (job.image, job.output) == (Path(name), Path("out", name))
        assert job.format == ("PNG" if name.endswith("png") else None)


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
        "Thumbs.db",
        "desktop.ini",
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
    assert jobs[0].problem == (
        "no mask masks/a with one of .png, .jpg, .jpeg, .jpe, .jfif, .webp, .tif, .tiff, .bmp, "
        ".dib, .gif"
    )
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
        ("empty", "masks", "out", None, "empty must hold a file of .png, .jpg, .*, got none"),
        ("images", "empty", "out", None, "empty must hold a file of .png, .jpg, .*, got none"),
        ("images/a.jpg", "images/a.jpg", "out", None, "masks and images must be two places"),
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


def test_a_subfolder_that_cannot_be_listed_is_a_problem_and_the_rest_is_filled(places, monkeypatch):
    forbid(monkeypatch, "deep")
    jobs = plan(Path("images"), None, Path("out"))
    assert [(str(job.image), job.problem) for job in jobs] == [
        ("images/a.jpg", ""),
        ("images/b.png", ""),
        ("images/deep", "cannot be listed: Permission denied"),
    ]


def test_files_of_a_folder_that_cannot_be_entered_are_problems(places, monkeypatch):
    really_stat = os.stat

    def stat_others(path, **options):
        if not isinstance(path, int) and Path(path).parent.name == "deep":
            raise PermissionError(13, "Permission denied", str(path))
        return really_stat(path, **options)

    make(places / "images/deep", "x.png")
    with monkeypatch.context() as patched:
        patched.setattr(os, "stat", stat_others)
        tree = find(Path("images"), [".jpg", ".png"], [])
    assert [str(path) for path in tree.files] == ["a.jpg", "b.png"]
    assert tree.problems[Path("deep/x.png")] == "cannot be read: Permission denied"


def test_a_folder_that_cannot_be_listed_is_named(places, monkeypatch):
    forbid(monkeypatch, "images")
    with pytest.raises(PlanError, match="images cannot be listed: Permission denied"):
        plan(Path("images"), None, Path("out"))


def test_linked_folders_are_searched_and_a_link_to_a_folder_above_ends(places):
    make(places / "elsewhere", "x.png", "below/y.png")
    os.symlink(places / "elsewhere", "images/link")
    os.symlink(places / "images", "elsewhere/back")
    os.symlink(places / "elsewhere", "elsewhere/below/loop")
    os.symlink(places, "images/deep/up")
    os.symlink("nowhere.png", "images/dangling.png")
    os.symlink(places / "elsewhere/x.png", "images/linked.png")
    jobs = plan(Path("images"), None, Path("out"))
    assert [(str(job.image), job.problem) for job in jobs] == [
        ("images/a.jpg", ""),
        ("images/b.png", ""),
        ("images/dangling.png", "a link to nothing"),
        ("images/deep/er/a.webp", ""),
        ("images/link/below/y.png", ""),
        ("images/link/x.png", ""),
        ("images/linked.png", ""),
    ]


# Pictures of other kinds


def problems(jobs: tuple[Job, ...]) -> dict[str, str]:
    return {job.image.name: job.problem for job in jobs if job.problem}


@pytest.mark.parametrize(
    "name, content, reason",
    [
        ("c.gif", b"", "GIF is read as a mask only: convert it to PNG"),
        ("c.AVIF", b"", "AVIF is not read: convert it to PNG"),
        ("c.heic", b"", "HEIC is not read: convert it to PNG"),
        ("c.jp2", b"", "JPEG 2000 is not read: convert it to PNG"),
        ("c.dng", b"", "camera raw is not read: convert it to PNG"),
        ("c.svg", b"<svg/>", "SVG is not read: convert it to PNG"),
        ("c", b"\0\0\0\x20ftypheic", "HEIC is not read: convert it to PNG"),
        ("c.dat", b"8BPS\0\1", "Photoshop is not read: convert it to PNG"),
        ("c", b"\x89PNG\r\n\x1a\n", "PNG under a name that does not end in .png: rename it"),
        ("c.old", b"BM\1\2\3\4\0\0\0\0", "BMP under a name that does not end in .bmp: rename it"),
    ],
)
def test_every_other_picture_of_a_folder_is_listed_with_the_reason(places, name, content, reason):
    (places / "images" / name).write_bytes(content)
    ((found, problem),) = problems(plan(Path("images"), None, Path("out"))).items()
    assert found == name and problem.startswith(reason)


@pytest.mark.parametrize(
    "name, content",
    [
        ("notes.txt", b"BM is how a bitmap begins"),
        ("film.mp4", b"\0\0\0\x20ftypisom"),
        ("Thumbs.db", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
        ("desktop.ini", b"[.ShellClassInfo]"),
        (".DS_Store", b"\0\0\0\1Bud1"),
        ("._a.jpg", b"\0\5\x16\7"),
        (".hidden.gif", b"GIF89a"),
        ("paper.pdf", b"%PDF-1.4"),
    ],
)
def test_what_is_no_picture_is_passed_over(places, name, content):
    (places / "images" / name).write_bytes(content)
    assert not problems(plan(Path("images"), None, Path("out")))


def test_a_mask_of_another_kind_is_named_as_the_reason(places):
    (places / "masks" / "a.png").rename("masks/a.avif")
    found = problems(plan(Path("images"), Path("masks"), Path("out")))
    assert found == {
        "a.jpg": "no mask masks/a that can be read: masks/a.avif: AVIF is not read: "
        "convert it to PNG"
    }


def test_a_gif_is_a_mask(places):
    (places / "masks" / "a.png").rename("masks/a.gif")
    jobs = plan(Path("images"), Path("masks"), Path("out"))
    assert jobs[0].mask == Path("masks/a.gif") and not problems(jobs)


def test_an_outputs_format_is_that_of_its_name(places):
    make(places / "all", "a.jfif", "b.tiff", "c.BMP", "d.tif")
    jobs = plan(Path("all"), None, Path("out"))
    assert [job.format for job in jobs] == ["JPEG", "TIFF", "BMP", "TIFF"]
    jobs = plan(Path("all"), None, Path("out"), "TIFF")
    assert [job.output.name for job in jobs] == ["a.tif", "b.tiff", "c.tif", "d.tif"]


# Masks beside their images


def test_masks_beside_their_images_are_found_by_their_names(tmp_path):
    make(
        tmp_path, "a.jpg", "a_mask.png", "b.c.png", "b.c_mask.bmp", "deep/a.png", "deep/a_mask.png"
    )
    jobs = plan(tmp_path, tmp_path, tmp_path / "out")
    assert [(job.image.name, job.mask and job.mask.name, job.output) for job in jobs] == [
        ("a.jpg", "a_mask.png", tmp_path / "out/a.jpg"),
        ("b.c.png", "b.c_mask.bmp", tmp_path / "out/b.c.png"),
        ("a.png", "a_mask.png", tmp_path / "out/deep/a.png"),
    ]
    assert jobs[2].mask == tmp_path / "deep/a_mask.png" and not problems(jobs)


def test_several_masks_of_one_image_give_several_outputs_named_after_them(tmp_path):
    make(tmp_path, "a.jpg", "a_mask001.png", "a_mask002.png", "b.png", "b_mask.png", "ab.png")
    make(tmp_path, "ab_mask7.png")
    jobs = plan(tmp_path, tmp_path, tmp_path / "out")
    assert [(job.image.name, job.mask and job.mask.name, job.output.name) for job in jobs] == [
        ("a.jpg", "a_mask001.png", "a_mask001.jpg"),
        ("a.jpg", "a_mask002.png", "a_mask002.jpg"),
        ("ab.png", "ab_mask7.png", "ab.png"),
        ("b.png", "b_mask.png", "b.png"),
    ]
    (first, _) = plan(tmp_path / "a.jpg", tmp_path, tmp_path / "out")
    assert first == jobs[0]
    with pytest.raises(PlanError, match=r"output must be a folder, since .* has several masks"):
        plan(tmp_path / "a.jpg", tmp_path, tmp_path / "x.png")


def test_an_image_or_a_mask_alone_is_a_problem(tmp_path):
    make(tmp_path, "a.png", "b_mask.png", "c.png", "c_mask.png", "c_mask.jpg", "d_mask.gif")
    found = problems(plan(tmp_path, tmp_path, tmp_path / "out"))
    assert found.pop("a.png").startswith(f"no mask {tmp_path}/a_mask* with one of .png")
    assert found.pop("c.png").startswith("several masks: ")
    assert found == dict.fromkeys(("b_mask.png", "d_mask.gif"), "a mask without its image")


def test_masks_of_another_kind_beside_their_images_are_named_as_the_reason(tmp_path):
    make(tmp_path, "a.png", "a_mask.avif", "b.png", "b_mask.png")
    jobs = plan(tmp_path, tmp_path, tmp_path / "out")
    assert [job.image.name for job in jobs] == ["a.png", "b.png"]
    reason = f"{tmp_path}/a_mask.avif: AVIF is not read: convert it to PNG"
    assert jobs[0].problem == f"no mask {tmp_path}/a_mask* that can be read: {reason}"


def test_many_masks_beside_their_images_are_paired_in_seconds(tmp_path):
    for number in range(4000):
        (tmp_path / f"photograph{number}.png").touch()
        (tmp_path / f"photograph{number}_mask.png").touch()
    start = time.process_time()
    jobs = plan(tmp_path, tmp_path, tmp_path / "out")
    assert time.process_time() - start < 5  # Each with each would be 16 million pairs.
    assert len(jobs) == 4000 and not problems(jobs)


def test_a_mask_suffix_is_a_pattern_and_holds_in_a_folder_of_masks_too(places):
    make(places / "other", "a-hole.png", "a-hole2.png", "b_hole.png", "deep/er/a-holes.png")
    jobs = plan(Path("images"), Path("other"), Path("out"), mask_suffix="[-_]hole?")
    assert [job.output.name for job in jobs if not job.problem] == ["a.jpg", "a.webp"]
    assert problems(jobs)["b.png"].startswith("no mask other/b[-_]hole? with one of")
    make(places / "images", "a-m.png", "b-m.png", "deep/er/a-m.png")
    jobs = plan(Path("images"), Path("images"), Path("out"), mask_suffix="-m")
    assert [job.mask and job.mask.name for job in jobs] == ["a-m.png", "b-m.png", "a-m.png"]
    with pytest.raises(PlanError, match="masks must be a folder under a mask suffix"):
        plan(Path("images"), Path("masks/a.png"), Path("out"), mask_suffix="-m")
