"""The weights that ship: what a built package contains, and whether they are what they say."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import skimage.data

import pgi
from pgi import weights
from pgi.errors import RunFolderError
from pgi.export.weights_folder import MAX_BYTES
from pgi.training.weights_file import WeightsFile, find

ROOT = Path(__file__).parents[1]
FILES = ("weights.npz", "config.json", "MODEL_CARD.md")
PACKAGE = Path(pgi.__file__).parent / "weights"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in place of the package's, with weights "a" in it, and a working folder."""
    (tmp_path / "package" / "a").mkdir(parents=True)
    (tmp_path / "package" / "a" / "weights.npz").touch()
    (tmp_path / "package" / "unfinished").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(weights, "FOLDER", tmp_path / "package")
    return tmp_path / "package"


def test_a_model_is_a_path_a_name_or_nothing(package: Path, monkeypatch) -> None:
    assert weights.names() == ["a"]
    assert weights.located("a") == package / "a"
    for path in ("b", "./a", "unfinished", Path("/runs/a")):
        assert weights.located(path) == Path(path)
    monkeypatch.setattr(weights, "DEFAULT", "a")
    assert weights.located(None) == package / "a"
    Path("a").touch()
    assert weights.located("a") == Path("a")


def test_a_package_without_weights_says_so(package: Path) -> None:
    with pytest.raises(
        RunFolderError, match=r"no model was named.*weights.npz is missing"
    ) as error:
        pgi.load()
    assert "runs/small_samples" in str(error.value)


def test_git_does_not_ignore_them() -> None:
    paths = [f"pgi/weights/{weights.DEFAULT}/{name}" for name in FILES]
    result = subprocess.run(["git", "check-ignore", *paths], cwd=ROOT, capture_output=True)
    assert result.returncode != 0, result.stdout


@pytest.mark.slow
def test_a_wheel_contains_them(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(ROOT / "pgi", tree / "pgi", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    (tree / "pgi" / "weights" / "another").mkdir()
    for name in (*FILES, "notes.txt"):
        (tree / "pgi" / "weights" / "another" / name).write_text(name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index"]
    command += ["--no-build-isolation", "--wheel-dir", str(tmp_path), str(tree)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        found = {x: archive.read(x) for x in archive.namelist() if x.startswith("pgi/weights/")}
    expected = {
        f"pgi/weights/{name}/{file}": (tree / "pgi" / "weights" / name / file).read_bytes()
        for name in ("another", *weights.names())
        for file in FILES
    }
    code = (ROOT / "pgi" / "weights" / "__init__.py").read_bytes()
    assert found == expected | {"pgi/weights/__init__.py": code}


# What is there; without weights these are skipped.


@pytest.fixture(params=weights.names())
def shipped(request: pytest.FixtureRequest) -> WeightsFile:
    found = find(PACKAGE / request.param)
    assert isinstance(found, WeightsFile)
    return found


def test_shipped_weights_are_small_and_described(shipped: WeightsFile) -> None:
    folder = shipped.run.path
    assert shipped.prefix.stat().st_size <= MAX_BYTES == 12_000_000
    assert sorted(x.name for x in folder.iterdir()) == sorted(FILES)
    assert shipped.origin["sha256"] == shipped.sha256
    assert shipped.origin["largest_difference"] < 1
    card, config = ((folder / x).read_text() for x in ("MODEL_CARD.md", "config.json"))
    assert card.startswith(f"# {folder.name}\n") and shipped.sha256 in card
    for heading in ("Licence of the weights", "Licence of the training data", "Known limits"):
        assert f"\n## {heading}\n" in card
    # Of a machine, such as /home/someone or flist:/data.
    assert not re.findall(r"(?<![\w.:/])/(?:home|root|tmp|mnt|data|Users)/|flist:|folder:", card)
    assert not re.findall(r'[":]/\w+/', config)
    assert json.loads(config)["config"]["name"] == folder.name


@pytest.mark.slow
def test_shipped_weights_fill_better_than_the_mean_colour(shipped: WeightsFile) -> None:
    image = skimage.data.coffee()[100:356, 180:436]
    hole = np.zeros(image.shape[:2], bool)
    hole[96:160, 96:160] = True
    inpainter = pgi.load(shipped.run.path)
    assert "which ships with pgi" in inpainter.origin
    filled = inpainter(image, hole)
    np.testing.assert_array_equal(filled[~hole], image[~hole])
    mean = np.where(hole[:, :, None], image[~hole].mean(axis=0).round().astype(np.uint8), image)
    errors = [np.mean((x[hole].astype(float) - image[hole]) ** 2) for x in (filled, mean)]
    assert errors[0] < errors[1]


@pytest.mark.skipif(not weights.names(), reason="no weights ship yet")
def test_the_default_is_among_those_that_ship() -> None:
    assert weights.DEFAULT in weights.names()
