"""The results that lie in the repository: tables and figures are those of their numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from experiments.report import figures, tables
from experiments.variants import VARIANTS
from pgi.evaluation import results
from pgi.metrics import METRICS, PROTOCOLS
from tests.experiments.made_results import parse

RESULTS = Path(__file__).parents[2] / "experiments" / "results"
TINY = RESULTS / "tiny"


@pytest.mark.parametrize("folder", ["tiny/ablation", "tiny/evaluation", "small"])
def test_the_tables_are_made_of_the_numbers(folder):
    found = results.read(RESULTS / folder / results.FILE)
    committed = parse((RESULTS / folder / "tables.md").read_text())
    assert committed == parse(tables.report(found)) and len(committed) > 5


def test_the_figures_are_those_that_the_numbers_give(tmp_path):
    found = results.read(TINY / "evaluation" / results.FILE)
    drawn = {path.name for path in figures.draw(found, tmp_path, "paper")}
    assert drawn == {path.name for path in (TINY / "evaluation").glob("figure_*")}


def test_the_ablation_has_every_variant_with_three_seeds():
    found = results.read(TINY / "ablation" / results.FILE)
    assert {(x.method, x.seed) for x in found.evaluations} == {
        (name, seed) for name in VARIANTS for seed in range(3)
    }


@pytest.mark.parametrize("folder", ["ablation", "evaluation"])
def test_every_crop_has_its_number_and_says_where_it_is_from(folder):
    found = results.read(TINY / folder / results.FILE)
    photographs = {(x.dataset, x.size): x.photographs for x in found.crop_lists}
    keys = ["method", "seed", "dataset", "size", "masks", "protocol", "metric"]
    for (*_, dataset, size, masks, protocol, metric), rows in found.scores.groupby(keys):
        assert list(rows.photograph) == photographs[dataset, size]
        assert list(rows.crop) == list(range(len(rows))) and np.isfinite(rows.value).all()
        assert len(found.masks[dataset, size, masks]) == 64
        assert (protocol in PROTOCOLS and metric in METRICS) or metric == results.SECONDS
    measured = set(found.scores.groupby(["method", "seed"]).groups)
    assert measured == {(x.method, x.seed) for x in found.evaluations}
    for evaluation in found.evaluations:
        assert evaluation.made["git_commit"]
        if evaluation.kind == "trained":
            assert {"sha256", "checkpoint", "config", "git_commit"} <= set(evaluation.run)
