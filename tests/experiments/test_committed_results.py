"""The results that lie in the repository: tables and figures are those of their numbers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments.report import figures, tables
from experiments.variants import VARIANTS
from pgi.evaluation import results

TINY = Path(__file__).parents[2] / "experiments" / "results" / "tiny"


@pytest.mark.parametrize("folder", ["ablation", "evaluation"])
def test_the_tables_are_made_of_the_numbers(folder):
    found = results.read(TINY / folder / "results.json")
    assert (TINY / folder / "tables.md").read_text() == tables.report(found)


def test_the_figures_are_those_that_the_numbers_give(tmp_path):
    found = results.read(TINY / "evaluation" / "results.json")
    drawn = {path.name for path in figures.draw(found, tmp_path, "paper")}
    assert drawn == {path.name for path in (TINY / "evaluation").glob("figure_*")}


def test_the_ablation_has_every_variant_with_three_seeds():
    found = results.read(TINY / "ablation" / "results.json")
    assert {(x.method, x.seed) for x in found.evaluations} == {
        (name, seed) for name in VARIANTS for seed in range(3)
    }


@pytest.mark.parametrize("folder", ["ablation", "evaluation"])
def test_every_number_has_a_mean_an_interval_and_n_and_says_where_it_is_from(folder):
    described = json.loads((TINY / folder / "results.json").read_text())
    lists = {x["sha256"]: set(x["photographs"]) for x in described["crop_lists"]}
    for evaluation in described["evaluations"]:
        assert evaluation["made"]["git_commit"] and evaluation["scores"]
        if evaluation["kind"] == "trained":
            assert {"sha256", "checkpoint", "config", "git_commit"} <= set(evaluation["run"])
        for score in evaluation["scores"]:
            for numbers in score["values"].values():
                low, high = numbers["interval"]
                assert low <= numbers["mean"] <= high
                assert numbers["n"] == len(lists[score["crops"]])
