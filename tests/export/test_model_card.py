"""A card says what its run folder says, and nothing of another checkpoint's."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from data.licences import licence
from data.names import PREPARED
from pgi.config import DataConfig
from pgi.evaluation import results
from pgi.evaluation.methods import Trained
from pgi.export.limits import MAX_BATCH
from pgi.export.model_card import model_card
from pgi.training.run_folder import Checkpoint, RunFolder
from tests.tiny_run import CONFIG, write_run

L1 = (0.25, 0.5, 0.125)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "tiny"
    write_run(path)
    RunFolder(path).append_metrics(
        1, {"validation/hole_l1": 0.111, "validation/mean_colour_hole_l1": 0.222}
    )
    evaluation = results.Evaluation("tiny", "tiny", "trained", run=Trained(path).run)
    lines = [f"{name} 0 0 8 8" for name in "abc"]
    crops = results.CropList("photos", 128, "random", lines, "crops", "pixels")
    scores = results.rows("tiny", 0, crops, "center", "standard", "l1", L1)
    masks = {("photos", 128, "center"): "masks"}
    folder = path / "evaluation"
    folder.mkdir()
    found = results.Results(scores, [evaluation], [crops], masks)
    results.write(folder / results.FILE, found)
    return path


def test_metrics_are_those_of_the_checkpoint_with_their_protocol(run):
    newest = model_card(Checkpoint(run / "checkpoints" / "step-2"), "tiny", 64.0)
    row = next(line for line in newest.splitlines() if line.startswith("| standard"))
    assert row.startswith(f"| standard | photos, 128 px | center | l1 | {np.mean(L1):.4g} |")
    assert row.endswith("| 3 |") and "no validation of this step" in newest
    older = model_card(Checkpoint(run / "checkpoints" / "step-1"), "tiny", 64.0)
    assert "| standard" not in older and "has not measured this checkpoint" in older
    assert "0.111 (filling with the mean colour: 0.222)" in older


def test_it_names_masks_steps_and_limits(run):
    card = model_card(Checkpoint(run / "checkpoints" / "step-2"), "served", 12.0)
    assert card.startswith("# served\n") and "Levels of 8, 16 px, width 4" in card
    assert "Steps: 2, of 4 images each" in card and "trained for 2 steps only" in card
    assert "12 to 40 px wide at 256 px, scaled with the side" in card
    assert f"At most {MAX_BATCH} images in a request, each of at most 12 megapixels" in card


def test_every_dataset_that_can_be_trained_on_by_name_has_its_licence():
    unknown = licence("folder:/photos")
    assert "Unknown" in unknown
    known = [licence(name) for name in ("samples", *PREPARED)]
    assert len({unknown, *known}) == len(known) + 1
    assert licence("places2/256") == licence("tfds:places2") == licence("places2")
    for own in ("flist:photos", "folder:photos", "tfds:beans", "folder:photos/places2"):
        assert licence(own) == unknown


@pytest.mark.parametrize("terms", ["Ask the photographers.", None])
def test_the_run_s_own_dataset_and_its_licence_are_named(tmp_path, terms):
    other = dataclasses.replace(CONFIG, data=DataConfig(dataset="folder:/holidays"))
    images = {"train": [1234, "x"], "validation": [5, "y"]}
    RunFolder(tmp_path / "run").begin(other, images, terms)
    card = model_card(Checkpoint(tmp_path / "run" / "checkpoints" / "step-3"), "a", 64.0)
    assert "`folder:/holidays`, 1,234 images, 5 held out" in card
    assert (terms or "Not recorded in the run folder") in card
