"""The program of perceptual metrics: which pictures it pairs, and what it writes. No torch."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from experiments import perceptual
from pgi.errors import PerceptualError, RuleError
from pgi.evaluation.intervals import Estimate, estimate
from pgi.evaluation.perceptual import discriminative_scores, frechet_distance
from pgi.evaluation.perceptual_networks import Networks

PLACE = "photos_32_1a2b3c4d/center"
COUNT = 20  # More than a batch.
RANDOM = np.random.default_rng(0)
TRUTHS = RANDOM.integers(0, 256, [COUNT, 32, 40, 3], np.uint8)
FILLS = {"good": TRUTHS // 16 * 16, "poor": TRUTHS // 128 * 128}


class Averages:
    """Stands for the networks: the colour's mean as features, the mean difference as distance."""

    def features(self, images: np.ndarray) -> np.ndarray:
        return images.mean(axis=(1, 2))

    def distances(self, real: np.ndarray, fake: np.ndarray) -> np.ndarray:
        return np.abs(real / 255 - fake / 255).mean(axis=(1, 2, 3))


def write(folder: Path, images: np.ndarray) -> None:
    folder.mkdir(parents=True)
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number:04}.png")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, images in {"truth": TRUTHS, **FILLS}.items():
        write(tmp_path / name / PLACE, images)
    return tmp_path


def test_every_methods_numbers_are_of_its_pictures_and_their_truths(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    other = PLACE.replace("center", "union")
    write(folder / "truth" / other, TRUTHS[:3])
    write(folder / "good" / other, TRUTHS[:3])
    (folder / "good" / PLACE / ".DS_Store").touch()
    (folder / ".trash").mkdir()
    monkeypatch.setattr(perceptual, "Networks", Averages)
    perceptual.main(["", str(folder)])
    numbers = pd.read_csv(folder / "perceptual.csv").set_index(["place", "method", "metric"])
    assert list(numbers.columns) == ["value", "low", "high", "n"]
    assert len(numbers) == 4 * 3  # `poor` has no pictures under the other masks.
    networks = Averages()
    real = networks.features(TRUTHS)
    for method, images in FILLS.items():
        fake = networks.features(images)
        of = numbers.loc[PLACE, method]
        assert of.value["fid"] == pytest.approx(frechet_distance(real, fake))
        scores = discriminative_scores(real, fake)
        assert (of.value["p_ids"], of.value["u_ids"]) == pytest.approx(scores)
        lpips = estimate(networks.distances(TRUTHS, images)[np.newaxis])
        assert of.value["lpips"] == pytest.approx(lpips.mean)
        assert (of.low["lpips"], of.high["lpips"]) == pytest.approx(lpips.interval)
        assert of.low.isna().sum() == 3 and (of.n == COUNT).all()
    equal = numbers.loc[other, "good"].value
    assert equal["fid"] < 1e-9 and equal["lpips"] == 0 and equal["p_ids"] == 0.5
    text = (folder / "perceptual.md").read_text()
    assert text in capsys.readouterr().out
    assert text.index(PLACE) < text.index("| good") < text.index("| poor") < text.index(other)


def test_the_table_says_from_how_many_images_on_its_numbers_mean_something() -> None:
    def table(n: int) -> str:
        numbers = dict.fromkeys(("fid", "p_ids", "u_ids"), Estimate(0.25, None, n))
        return perceptual.table(PLACE, {"a|b": numbers | {"lpips": Estimate(0.5, (0.4, 0.6), n)}})

    row = next(line for line in table(12_345).splitlines() if "a\\|b" in line)
    assert [cell.strip().replace("\xa0", " ") for cell in row.split(" | ")][1:] == [
        "0.25",
        "0.500 [0.400, 0.600]",
        "25.00 %",
        "25.00 %",
        "12,345 |",
    ]
    assert "**9,999 images are too few" in table(9_999)
    assert "too few" not in table(10_000)


@pytest.mark.parametrize("method", ["truth", "good"])
def test_a_file_without_counterpart_is_named(folder: Path, method: str) -> None:
    (folder / method / PLACE / "0007.png").unlink()
    present = folder / ("good" if method == "truth" else "truth") / PLACE / "0007.png"
    missing = folder / method / PLACE / "0007.png"
    with pytest.raises(RuleError, match=f"^{missing} is missing: {present} has no counterpart"):
        perceptual.find_pictures(folder)


def test_a_place_that_the_truth_does_not_have_is_named(folder: Path) -> None:
    shutil.move(folder / "poor" / PLACE, folder / "poor" / "photos_32_00000000" / "center")
    with pytest.raises(RuleError, match=r"truth/photos_32_00000000/center/0000.png is missing"):
        perceptual.find_pictures(folder)


def test_a_picture_of_another_size_is_named(folder: Path) -> None:
    path = folder / "poor" / PLACE / "0019.png"
    Image.fromarray(TRUTHS[0, :, :32]).save(path)
    with pytest.raises(
        RuleError, match=rf"{path} must be of the size of .*\(40, 32\), got \(32, 3"
    ):
        perceptual.find_pictures(folder)


def test_a_damaged_picture_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "good" / PLACE / "0019.png"
    path.write_bytes(path.read_bytes()[:-100])
    monkeypatch.setattr(perceptual, "Networks", Averages)
    with pytest.raises(RuleError, match=f"{path} must be readable"):
        perceptual.main(["", str(folder)])
    assert not list(folder.glob("perceptual.*"))


def test_a_folder_without_truth_methods_or_pictures_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(RuleError, match="must be a folder with a folder 'truth'"):
        perceptual.find_pictures(tmp_path)
    write(tmp_path / "truth" / PLACE, TRUTHS[:1])
    with pytest.raises(RuleError, match="must be a folder with methods beside 'truth'"):
        perceptual.find_pictures(tmp_path)
    (tmp_path / "pg").mkdir()
    with pytest.raises(RuleError, match="pg must be a folder of pictures"):
        perceptual.find_pictures(tmp_path)
    write(tmp_path / "pg" / PLACE, TRUTHS[:1])
    with pytest.raises(RuleError, match="center must be of at least 2 pictures, got 1"):
        perceptual.find_pictures(tmp_path)


@pytest.mark.parametrize(
    "package", ["lpips", "sklearn.svm", "torch", "torch_fidelity", "torchvision.models"]
)
def test_without_a_package_the_command_to_install_it_is_named(
    monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(PerceptualError, match=r'pip install -c constraints.txt -e "\.\[perceptual'):
        Networks()
