"""CelebA-HQ's images are parted by index, whatever their archive and names."""

from __future__ import annotations

import random
import zipfile
from pathlib import Path

import pytest

from data import prepared
from data.celeba_hq.celeba_hq_dataset_builder import split_by_index
from pgi.errors import NoUsableImageError
from tests.data.dummy_archives import install
from tests.data.test_prepared import png, stored

COUNT = 30_000


@pytest.mark.parametrize(
    ("pattern", "first"),
    [("CelebA-HQ-img/{}.jpg", 0), ("imgHQ{:05}.png", 0), ("data1024x1024/{:05}.jpg", 1)],
)
def test_the_first_28000_are_for_training_in_the_order_of_their_numbers(
    pattern: str, first: int
) -> None:
    expected = [pattern.format(number) for number in range(first, first + COUNT)]
    names = sorted(expected)
    random.Random(0).shuffle(names)
    splits = split_by_index(names, COUNT, "place")
    assert splits == {"train": expected[:28_000], "validation": expected[28_000:]}


def test_masks_and_other_folders_are_left_aside() -> None:
    images = [f"img/{number}.jpg" for number in range(COUNT)]
    others = [f"anno/{n % 15}/{n:05}_{part}.png" for n in range(900) for part in ("hair", "skin")]
    others += [f"thumbnails/{number}.png" for number in range(100)]
    splits = split_by_index(others + images, COUNT, "place")
    assert splits["train"] + splits["validation"] == images


@pytest.mark.parametrize(
    "names",
    [
        [f"{number}.jpg" for number in range(COUNT - 1)],
        [f"{number}.jpg" for number in range(COUNT - 1)] + ["00000.png"],
        [f"{number % 2}/{number}.jpg" for number in range(COUNT)],
        [f"face_{'x' * number}.jpg" for number in range(9)],
        [],
    ],
    ids=["one is missing", "one comes twice", "two folders", "no numbers", "nothing"],
)
def test_what_has_not_30000_numbered_images_is_refused(names: list[str]) -> None:
    with pytest.raises(NoUsableImageError, match="place must hold a folder of 30,000 images"):
        split_by_index(names, COUNT, "place")


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_a_folder_or_a_zip_named_celeba_hq_will_do(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manual = install("celeba_hq", tmp_path, monkeypatch)
    (manual / "CelebAMask-HQ.zip").unlink()
    images = {f"imgHQ{n:05}.png": png(n % 256) for n in (0, 1, 2, 3, 28_000, 28_001)}
    if kind == "folder":
        (manual / "celeba_hq").mkdir()
        for name, content in images.items():
            (manual / "celeba_hq" / name).write_bytes(content)
    else:
        with zipfile.ZipFile(manual / "celeba_hq.zip", "w") as archive:
            for name, content in images.items():
                archive.writestr(name, content)
                archive.writestr(f"__MACOSX/._{name}", b"what macOS puts beside it")
    assert {**stored("celeba_hq", "train"), **stored("celeba_hq", "validation")} == images


def test_a_zip_that_is_cut_off_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manual = install("celeba_hq", tmp_path, monkeypatch)
    whole = (manual / "CelebAMask-HQ.zip").read_bytes()
    (manual / "CelebAMask-HQ.zip").unlink()
    (manual / "CelebAMask-HQ.zip").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(NoUsableImageError, match="must be a whole zip archive"):
        prepared.prepare("celeba_hq")
