"""What the check prints and draws is what training would read, see and skip."""

from __future__ import annotations

import os
import re
import signal
import statistics
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from absl import logging
from PIL import Image
from skimage.morphology import erosion

import data
from data import check
from pgi.config import (
    DataConfig,
    ExperimentConfig,
    LossConfig,
    MaskConfig,
    ModelConfig,
    TrainConfig,
)
from pgi.errors import RuleError
from pgi.training import examples, pipeline
from pgi.training.reading import FileSource, ImageSource

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
TURQUOISE = (0, 255, 200)
# What takes the place of TensorFlow where only the rest is of interest.
FLAT = [(np.full([8, 8, 3], 90, np.uint8), np.zeros([8, 8], bool))] * 24


@pytest.fixture(autouse=True)
def verbosity():
    """The check turns warnings off, for its own process."""
    before = logging.get_verbosity()
    yield
    logging.set_verbosity(before)


class Pictures(ImageSource):
    """So many pictures that need no disk; some are damaged."""

    def __init__(self, count: int, damaged: Sequence[int] = ()) -> None:
        super().__init__()
        self.count, self.damaged = count, damaged
        self.loaded: list[int] = []
        self.picture = np.zeros([40, 50, 3], np.uint8)

    def __len__(self) -> int:
        return self.count

    def identity(self) -> str:
        return "pictures"

    def key(self, number: int) -> str:
        return f"picture {number}"

    def name(self, number: int) -> str:
        return self.key(number)

    def decode(self, number: int) -> np.ndarray:
        self.loaded.append(number)
        if number in self.damaged:
            raise OSError(f"damage {number}")
        return self.picture


def noise(path: Path, width: int, height: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([width, height])
    Image.fromarray(rng.integers(0, 256, [height, width, 3], dtype=np.uint8)).save(path)
    return path


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flist(path: Path, images: Sequence[Path]) -> Path:
    path.write_text("".join(f"{image}\n" for image in images))
    return path


def table(text: str) -> dict[str, list[str]]:
    """The cells of the lines of the two parts."""
    lines = [re.split(r"\s{2,}", line.strip()) for line in text.splitlines()]
    return {cells[0]: cells[1:] for cells in lines if cells[0] in ("train", "validation")}


def row(sizes: Sequence[tuple[int, int]], unreadable: int, training_size: int) -> list[str]:
    """What the table should say."""
    sides = [f"{min(side)} / {statistics.median(side):g} / {max(side)}" for side in zip(*sizes)]
    small = sum(min(size) < training_size for size in sizes)
    return [str(len(sizes)), str(unreadable), *sides, str(small)]


def config(side: int = 192, **options) -> ExperimentConfig:
    return ExperimentConfig(
        model=ModelConfig(levels=(side // 2, side)),
        loss=LossConfig(level_weights=(1.0, 1.0)),
        mask=MaskConfig(square="center", min_stroke_width=6, max_stroke_width=9),
        train=TrainConfig(seed=5),
        data=DataConfig(**options),
    )


def checked(
    monkeypatch, sources: tuple[ImageSource, ImageSource], output: Path, most=0, experiment=None
) -> int:
    """The check of these sources, without a sheet worth drawing."""
    monkeypatch.setattr(data, "load", lambda name: sources)
    monkeypatch.setattr(check, "training_samples", lambda *_: FLAT)
    return check.check_dataset("any", experiment or config(), output, most)


def cells(sheet: np.ndarray) -> list[np.ndarray]:
    """The samples of a sheet, in reading order; what is between them must be white."""
    assert sheet.shape == (2 + 4 * 194, 2 + 6 * 194, 3)
    between = np.ones(sheet.shape[:2], bool)
    tops_and_lefts = [(y, x) for y in range(2, 778, 194) for x in range(2, 1166, 194)]
    for y, x in tops_and_lefts:
        between[y : y + 192, x : x + 192] = False
    assert (sheet[between] == 255).all()
    return [sheet[y : y + 192, x : x + 192] for y, x in tops_and_lefts]


@pytest.mark.slow
def test_the_program_tells_sizes_and_what_is_unreadable(tmp_path):
    folder = tmp_path / "my photos" / "2024"
    sizes = {"a": (300, 90), "b": (64, 80), "c": (127, 400), "e": (128, 129), "f": (700, 500)}
    for name, size in sizes.items():
        noise(folder / f"{name}.png", *size)
    damaged = noise(folder / "d.jpg", 200, 200)
    truncate(damaged)
    (folder / "notes.txt").write_text("no image")
    result = subprocess.run(
        [sys.executable, "-m", "data.check", "--dataset=folder:my photos/2024"],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 1 and "Traceback" not in result.stderr
    held_out = sizes.pop("b")
    assert table(result.stdout) == {
        "train": row([*sizes.values()], unreadable=1, training_size=128),
        "validation": row([held_out], unreadable=0, training_size=128),
    }
    listed = [line for line in result.stdout.splitlines() if line.startswith("my photos/2024/")]
    (line,) = listed
    assert line.startswith("my photos/2024/d.jpg: ") and "trunc" in line
    # Only data.load warns, and of what it leaves out.
    assert "notes.txt" in result.stderr and "d.jpg" not in result.stderr
    sheet = result.stdout.splitlines()[-1].split(": ")[-1]
    assert sheet == "runs/check/folder_my_photos_2024.png"
    assert [path.name for path in (tmp_path / sheet).parent.iterdir()] == [Path(sheet).name]
    cells(np.asarray(Image.open(tmp_path / sheet)))


def test_texts_and_what_systems_leave_in_folders_are_no_failure(monkeypatch, tmp_path):
    paths = [noise(tmp_path / f"{n}.png", 40, 40) for n in range(3)]
    for name in ("notes.txt", ".DS_Store", "Thumbs.db", "desktop.ini"):
        (tmp_path / name).write_bytes(b"no image")
    monkeypatch.setattr(check, "training_samples", lambda *_: FLAT)
    arguments = f"folder:{tmp_path}", config(), tmp_path / "sheets" / "s.png"
    assert check.check_dataset(*arguments) == 0
    paths[1].with_suffix(".jpg").symlink_to("gone.jpg")
    assert check.check_dataset(*arguments) == 1


@pytest.mark.parametrize(
    "crop, flip, rotate",
    [("random", True, False), ("random_resized", False, True), ("resize", True, True)],
)
def test_the_sheet_shows_the_first_samples_of_the_training(tmp_path, crop, flip, rotate, caplog):
    paths = [noise(tmp_path / f"{n}.png", 200 + 30 * n, 280) for n in range(7)]
    truncate(paths[3])
    lists = flist(tmp_path / "a", paths), flist(tmp_path / "b", paths[:1])
    experiment = config(crop=crop, flip=flip, rotate=rotate, colour_jitter=0.3 * rotate)
    output = tmp_path / "sheets" / "sheet.png"
    assert check.check_dataset(f"flist:{lists[0]},{lists[1]}", experiment, output) == 1
    assert not [record for record in caplog.records if record.levelname == "WARNING"]

    # As training calls them, in its own batches.
    batches = examples.training_crops(experiment, FileSource(paths), batch_size=4)
    build = pipeline.pyramid_builder(2, experiment.mask, experiment.train.seed)
    crops, holes = [], []
    for images, numbers in batches.take(6):
        crops += [*images.numpy()]
        holes += [*(build(images, numbers)[1][-1].numpy()[..., 0] == 1)]
    for cell, image, hole in zip(cells(np.asarray(Image.open(output))), crops, holes):
        np.testing.assert_array_equal(cell[~hole], image[~hole])
        inner = erosion(hole, np.ones([5, 5]))
        assert inner.any() and (cell[hole & ~inner] == TURQUOISE).all()
        tinted = 0.6 * image[inner] + 0.4 * np.array(TURQUOISE)
        assert np.abs(cell[inner] - tinted).max() <= 1


@pytest.mark.parametrize("side", [64, 128, 256, 512])
def test_crops_of_any_size_are_scaled_with_their_holes(side):
    hole = np.zeros([side, side], bool)
    hole[: side // 2, side // 4 :] = True
    samples = [(np.full([side, side, 3], 10 * n, np.uint8), hole) for n in range(24)]
    expected = np.zeros([192, 192], bool)
    expected[:96, 48:] = True
    for n, cell in enumerate(cells(check.contact_sheet(samples))):
        np.testing.assert_array_equal((cell != 10 * n).any(axis=-1), expected)


@pytest.mark.parametrize("count, most", [(50, 7), (50, 1), (50, 49), (7, 7), (7, 8), (7, 0)])
def test_at_most_so_many_are_read_evenly_spaced(monkeypatch, tmp_path, capsys, count, most):
    sources = Pictures(count), Pictures(3)
    assert checked(monkeypatch, sources, tmp_path / "s.png", most) == 0
    loaded = sorted(sources[0].loaded)
    assert len(loaded) == len(set(loaded)) == min(most or count, count)
    gaps = np.diff([*loaded, loaded[0] + count])  # Round and round.
    assert loaded[0] >= 0 and loaded[-1] < count and np.ptp(gaps) <= 1
    text = capsys.readouterr().out
    assert (f"Read {most} of {count} train images" in text) == (0 < most < count)
    assert ("validation images" in text) == (most == 1)
    assert table(text)["train"][0] == str(len(loaded))


@pytest.mark.parametrize("damaged", [0, 1, 20, 21, 30])
def test_of_many_unreadable_images_twenty_are_listed(monkeypatch, tmp_path, capsys, damaged):
    sources = Pictures(40, range(10, 10 + damaged)), Pictures(1)
    assert checked(monkeypatch, sources, tmp_path / "s.png") == (damaged > 0)
    text = capsys.readouterr().out
    listed = [f"picture {n}: damage {n}" for n in range(10, 10 + min(damaged, 20))]
    assert [line for line in text.splitlines() if line.startswith("picture")] == listed
    assert re.findall(r"^and (\d+) more$", text, re.M) == ([str(damaged - 20)] * (damaged > 20))
    assert table(text)["train"][:2] == [str(40 - damaged), str(damaged)]


def test_a_part_of_which_nothing_was_readable_has_no_sizes(monkeypatch, tmp_path, capsys):
    assert checked(monkeypatch, (Pictures(3), Pictures(4, range(4))), tmp_path / "s.png") == 1
    assert table(capsys.readouterr().out)["validation"] == ["0", "4", "-", "-", "0"]


@pytest.mark.parametrize("side, downsample", [(64, 1), (32, 2)])
@pytest.mark.parametrize("crop", ["random", "random_resized", "resize"])
def test_that_small_images_will_be_enlarged_is_said(
    monkeypatch, tmp_path, capsys, crop, side, downsample
):
    sources, experiment = (Pictures(1), Pictures(1)), config(side, crop=crop, downsample=downsample)
    assert checked(monkeypatch, sources, tmp_path / "s.png", experiment=experiment) == 0
    text = capsys.readouterr().out
    assert f'images with a short side < 64 are enlarged (crop "{crop}")' in text
    assert [cells[-1] for cells in table(text).values()] == ["1", "1"]


def test_millions_of_images_do_not_wait_in_memory():
    tracemalloc.start()
    try:
        part = check.read("train", Pictures(20_000))
        assert len(part.sizes) == 20_000 and (part.sizes == [50, 40]).all()
        assert tracemalloc.get_traced_memory()[1] < 200 * 20_000
    finally:
        tracemalloc.stop()


def test_an_output_that_cannot_be_is_refused_before_anything_is_read(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    for output, error in [("s.jpg", RuleError), ("s", RuleError), ("file/s.png", OSError)]:
        sources = Pictures(1), Pictures(1)
        with pytest.raises(error):
            checked(monkeypatch, sources, tmp_path / output)
        assert not sources[0].loaded and not sources[1].loaded


def test_an_interrupted_drawing_leaves_no_sheet(monkeypatch, tmp_path):
    def interrupted(*_):
        yield from FLAT[:10]
        raise KeyboardInterrupt

    monkeypatch.setattr(data, "load", lambda name: (Pictures(1), Pictures(1)))
    monkeypatch.setattr(check, "training_samples", interrupted)
    with pytest.raises(KeyboardInterrupt):
        check.check_dataset("any", config(), tmp_path / "s.png")
    assert not [*tmp_path.iterdir()]


SLOW = """
import time
import numpy as np
import data
from data import check
from experiments import program
from pgi.training.reading import FileSource

class Slow(FileSource):
    def decode(self, number):
        time.sleep(0.1)
        return np.zeros([40, 50, 3], np.uint8)

data.load = lambda name: (Slow(["x"] * 10_000), Slow(["x"] * 10_000))
check.training_samples = lambda *_: [(np.zeros([8, 8, 3], np.uint8), np.ones([8, 8], bool))] * 24
program.run(check.main, check.define_flags, "not all images were read")
"""


@pytest.mark.slow
def test_control_c_ends_it_at_once_without_a_traceback(tmp_path):
    sheet = tmp_path / "s.png"
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, "--dataset=any", f"--output={sheet}"],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Where the tests run in the background, a shell may have set it to be ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 60
    while not sheet.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)  # Now it reads.
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    out, err = process.communicate(timeout=60)
    assert time.monotonic() - began < 2  # What waits in the queue would take 4 s on two cores.
    assert process.returncode == 130 and not out
    assert (
        err.splitlines()[-1] == "interrupted; not all images were read" and "Traceback" not in err
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "--dataset must have a value"),
        (["--dataset=nonsense"], 'folder:PATH, flist:FILE, tfds:NAME, got "nonsense"'),
        (["--dataset=folder:nowhere"], "no such folder: nowhere"),
        (["--dataset=samples", "--config=no/such.py"], "no/such.py"),
        (["--dataset=samples", "--config.data.crop=middle"], "crop must be one of random"),
        (["--dataset=samples", "more"], "arguments must be flags only, got 'more'"),
    ],
)
def test_bad_usage_is_one_line_and_status_2(tmp_path, arguments, message):
    command = [sys.executable, "-m", "data.check", *arguments]
    result = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True)
    assert result.returncode == 2 and not result.stdout
    (line,) = result.stderr.splitlines()
    assert message in line
    assert not [*tmp_path.iterdir()]
