"""Results files: what goes in comes out, with mean, interval and n beside it."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from pgi.errors import RuleError
from pgi.evaluation import results
from pgi.evaluation.results import CropList, Evaluation, Results, Score

CROPS = CropList(
    "div2k",
    512,
    "random",
    ["a [1].png", "b\n.png", "a [1].png"],
    [[0, 1, 2, 3]] * 3,
    "c" * 64,
    "p" * 64,
)
WHERE = {"dataset": "div2k", "size": 512, "masks": "center"}
SCORE = Score(
    CROPS.sha256,
    "center",
    "m" * 64,
    "paper",
    {"psnr": [20.123456789, math.inf, 30.0], "l1": [0.1, 0.2, 0.3]},
    seconds=0.5,
)
RUN = {"folder": "runs/x", "sha256": "1" * 64}
ONE = Evaluation("pg", "PG †", "trained", 0, RUN, {"git_commit": "abc"}, None, (SCORE,))
RESULTS = Results({CROPS.sha256: CROPS}, (ONE,))


def test_what_is_written_is_read_again(tmp_path):
    results.write(tmp_path / "r.json", RESULTS)
    read = results.read(tmp_path / "r.json")
    assert read.crop_lists == RESULTS.crop_lists
    again = read.evaluations[0]
    assert replace(again, scores=()) == replace(ONE, scores=())
    assert again.scores[0].values["psnr"] == pytest.approx([20.123456789, math.inf, 30.0])
    assert replace(again.scores[0], values={}) == replace(SCORE, values={})
    assert read.titles() == {"pg": "PG †"} and read.diverged("pg") == []


def test_every_list_of_numbers_stands_beside_its_mean_interval_and_n(tmp_path):
    results.write(tmp_path / "r.json", RESULTS)
    plain = json.loads((tmp_path / "r.json").read_text(), parse_constant=pytest.fail)
    described = plain["evaluations"][0]["scores"][0]["values"]["l1"]
    # Of two photographs: (0.1 + 0.3) / 2 and 0.2.
    assert described["mean"] == pytest.approx(0.2) and described["n"] == 2
    assert described["interval"] == pytest.approx([0.2, 0.2])
    assert described["values"] == [0.1, 0.2, 0.3]


def test_numbers_are_by_photograph_and_seed():
    second = replace(ONE, seed=1, scores=(replace(SCORE, values={"l1": [1.0, 2.0, 5.0]}),))
    both = replace(RESULTS, evaluations=(ONE, second))
    np.testing.assert_allclose(both.values("pg", "l1", **WHERE), [[0.2, 0.2], [3, 2]])
    assert both.values("pg", "psnr", **WHERE).tolist() == [[pytest.approx(25.0617, 1e-4), math.inf]]
    assert both.values("pg", "l1", **{**WHERE, "size": 1024}) is None
    assert both.values("pg", "l1", **WHERE, protocol="raw") is None
    assert both.values("telea", "l1", **WHERE) is None
    assert both.seconds("pg", **WHERE) == 0.5


def test_parts_join_and_what_was_measured_twice_counts_once():
    other = replace(ONE, method="telea", kind="classical", run=None)
    joined = results.join([RESULTS, RESULTS, replace(RESULTS, evaluations=(other,))])
    assert list(joined.titles()) == ["pg", "telea"]
    assert joined.values("pg", "l1", **WHERE).shape == (1, 2)


@pytest.mark.parametrize(
    ("crops", "evaluation", "message"),
    [
        (replace(CROPS, sha256="d" * 64), replace(ONE, scores=()), "the same crops"),
        (replace(CROPS, pixels_sha256="d" * 64), ONE, "the same pixels"),
        (CROPS, replace(ONE, scores=(replace(SCORE, masks_sha256="d" * 64),)), "the same masks"),
        (CROPS, replace(ONE, run={"sha256": "2" * 64}), "the same method .* of pg, seed 0"),
        (
            CROPS,
            replace(ONE, scores=(replace(SCORE, values={"l1": [9.0, 9.0, 9.0]}),)),
            "the same numbers .* of pg, 0",
        ),
    ],
)
def test_what_cannot_be_compared_does_not_join(crops, evaluation, message):
    with pytest.raises(RuleError, match=f"results must be of {message}"):
        results.join([RESULTS, Results({crops.sha256: crops}, (evaluation,))])


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"crop_lists": [], "evaluations": [{}]}'])
def test_another_file_is_refused(content, tmp_path):
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(RuleError, match=r"x\.json is no results file of this version"):
        results.read(tmp_path / "x.json")


def test_a_file_without_a_crop_list_that_it_refers_to_is_refused(tmp_path):
    results.write(tmp_path / "r.json", RESULTS)
    content = json.loads((tmp_path / "r.json").read_text())
    content["crop_lists"] = []
    (tmp_path / "r.json").write_text(json.dumps(content))
    with pytest.raises(RuleError, match="lacks the crop lists ccc"):
        results.read(tmp_path / "r.json")
