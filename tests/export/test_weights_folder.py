"""A folder of weights fills as its run does, and its card says what it is."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import skimage.data

import pgi
from pgi.config import DataConfig
from pgi.errors import ExportError
from pgi.evaluation import results
from pgi.export import weights_folder
from pgi.export.model_card import model_card
from pgi.export.weights_folder import Origin, export_weights
from pgi.training import checkpoints
from pgi.training.run_folder import Checkpoint
from tests.tiny_run import CONFIG, write_run

ORIGIN = Origin(
    dataclasses.replace(CONFIG, data=DataConfig(dataset="photos")),
    "Ask the photographers.",
    "Take them.",
    ["train it", "package it"],
    hours=3.5,
    limits=["No clouds."],
)
IMAGE = skimage.data.chelsea()[:48, 100:161]
HOLE = np.zeros(IMAGE.shape[:2], bool)
HOLE[11:30, 20:41] = True


@pytest.fixture
def run(tmp_path: Path) -> Checkpoint:
    """A checkpoint of a network that does not enlarge rounding; that of step 2 does."""
    write_run(tmp_path / "run")
    return Checkpoint(tmp_path / "run" / "checkpoints" / "step-1")


def test_it_fills_as_the_run_up_to_a_grey_level(run: Checkpoint, tmp_path: Path) -> None:
    made = export_weights(run, tmp_path / "made", ORIGIN)
    assert 0 < made.origin["largest_difference"] < 1
    assert made.sha256 == hashlib.sha256(made.prefix.read_bytes()).hexdigest()
    found, expected = pgi.load(tmp_path / "made"), pgi.load(run.prefix)
    assert found.origin == f"{made.prefix}: step 1"
    for ours, theirs in zip(
        found.completed_levels(IMAGE, HOLE), expected.completed_levels(IMAGE, HOLE)
    ):
        assert abs(ours.astype(int) - theirs).max() <= 1
    names = sorted(x.name for x in (tmp_path / "made").iterdir())
    assert names == ["MODEL_CARD.md", "config.json", "weights.npz"]


def test_the_moving_average_is_taken(run: Checkpoint, tmp_path: Path) -> None:
    model, _ = checkpoints.load_model(run)
    model.keep_averages()
    for variable in model.generator_variables:  # The average alone is still step 1's.
        variable.assign(variable * 2)
    averaged = Checkpoint(run.prefix.with_name("step-3"))
    checkpoints.networks(model).write(str(averaged))
    made = export_weights(averaged, tmp_path / "averaged", ORIGIN)
    assert made.origin["averaged"] and made.describe().endswith("step 3, moving average")
    assert made.sha256 == export_weights(run, tmp_path / "made", ORIGIN).sha256
    assert "the moving average of their weights" in (made.run.path / "MODEL_CARD.md").read_text()


def test_a_network_that_float16_changes_visibly_is_refused(run: Checkpoint, tmp_path: Path) -> None:
    enlarging = Checkpoint(run.prefix.with_name("step-2"))
    with pytest.raises(ExportError, match=r"would differ by \d+ of 255, of which less than 1 is"):
        export_weights(enlarging, tmp_path / "made", ORIGIN)
    assert not (tmp_path / "made").exists()


def test_weights_that_float16_cannot_hold_are_refused(run: Checkpoint, tmp_path: Path) -> None:
    model, _ = checkpoints.load_model(run)
    model.generator_variables[0].assign(model.generator_variables[0] * 1e9)
    large = Checkpoint(run.prefix.with_name("step-3"))
    checkpoints.networks(model).write(str(large))
    with pytest.raises(ExportError, match="cannot be stored as float16"):
        export_weights(large, tmp_path / "made", ORIGIN)
    assert not (tmp_path / "made").exists()


def test_a_large_file_and_an_untrained_level_are_refused(
    run: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights_folder, "MAX_BYTES", 1000)
    with pytest.raises(
        ExportError, match=r"weights.npz must have at most 1,000 bytes, got \d+,\d{3};"
    ):
        export_weights(run, tmp_path / "made", ORIGIN)
    train = dataclasses.replace(CONFIG.train, schedule="bottom_up", steps=10)
    file = run.run.path / "config.json"
    described = json.loads(file.read_bytes())
    described["config"]["train"] = dataclasses.asdict(train)
    file.write_text(json.dumps(described))
    with pytest.raises(ExportError, match="level 1 of the pyramid is not trained yet"):
        export_weights(run, tmp_path / "made", ORIGIN)
    assert not (tmp_path / "made").exists()


def test_the_card_says_what_is_asked_of_it(run: Checkpoint, tmp_path: Path) -> None:
    other = run.run.path / "config.json"
    other.write_text(other.read_text().replace('"samples"', '"flist:/root/private.txt"'))
    run.run.append_metrics(
        1, {"validation/hole_l1": 0.111, "validation/mean_colour_hole_l1": 0.222}
    )
    made = export_weights(run, tmp_path / "made", ORIGIN)
    card = (tmp_path / "made" / "MODEL_CARD.md").read_text()
    for text in (
        *("# made\n", "`photos`", "Ask the photographers.", "Take them.", "- No clouds."),
        *("Steps: 1, of 4", "3.5 hours on", "train it\npackage it", made.sha256, run.sha256),
        *("0.111", "0.222", "`make evaluate` has not measured", "in float16: on photographs"),
    ):
        assert text in card, text
    described = (tmp_path / "made" / "config.json").read_text()
    assert "private" not in described + card and str(tmp_path) not in described + card
    exported = model_card(made, "served", 64.0)
    assert "rounded to float16, in float32" in exported and made.sha256 in exported
    assert "Take them." in exported and "0.111" in exported


@pytest.mark.parametrize("measured", ["run", "weights"])
def test_results_come_into_the_card_and_leave_the_weights(
    run: Checkpoint, tmp_path: Path, measured: str
) -> None:
    made = export_weights(run, tmp_path / "made", ORIGIN)
    before = made.prefix.read_bytes()
    sha256 = {"run": run.sha256, "weights": made.sha256}[measured]
    evaluations = [
        results.Evaluation(name, name, "trained", run={"sha256": x})
        for name, x in (("mine", sha256), ("other", "ab" * 32))
    ]
    lines = [f"{name} 0 0 8 8" for name in "abc"]
    crops = results.CropList("photos", 128, "random", lines, "crops", "pixels")
    scores = [
        results.rows(name, 0, crops, "center", "standard", "psnr", values)
        for name, values in (("mine", [20.0, 21.0, 25.0]), ("other", [30.0, 31.0, 32.0]))
    ]
    masks = {("photos", 128, "center"): "masks"}
    found = results.Results(pd.concat(scores), evaluations, [crops], masks)
    (tmp_path / "evaluation").mkdir()
    results.write(tmp_path / "evaluation" / results.FILE, found)
    origin = ORIGIN._replace(evaluations=[tmp_path / "evaluation", tmp_path / "none"])
    again = export_weights(run, tmp_path / "made", origin)
    assert again.prefix.read_bytes() == before
    card = (tmp_path / "made" / "MODEL_CARD.md").read_text()
    (row,) = [line for line in card.splitlines() if line.startswith("| standard")]
    # Of three photographs, the means of resamples lie between the least and the greatest.
    assert row == "| standard | photos, 128 px | center | psnr | 22 | 20 to 25 | 3 |"
    assert row in model_card(again, "served", 64.0)
