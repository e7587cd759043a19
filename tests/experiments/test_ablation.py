"""The ablation as its user meets it: trained, measured, continued, and diverged."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from experiments import ablation, evaluate
from experiments.variants import SCALES, VARIANTS
from pgi.arrays import FloatArray
from pgi.config import ModelConfig
from pgi.evaluation import results
from pgi.evaluation.methods import Trained
from pgi.evaluation.results import Results, matrix, select
from pgi.evaluation.tasks import Task
from pgi.training.run_folder import RunFolder
from tests.experiments.made_results import parse

ROOT = Path(__file__).parents[2]
BASE = SCALES["tiny"].base
BASE = replace(
    BASE,
    model=ModelConfig((8, 16, 32), width=4, kernel_initializer="gated_he", discriminator_width=2),
    data=replace(BASE.data, validation_images=1),
    train=replace(BASE.train, batch_size=1, steps=2, snapshot_steps=1),
)


def l1(found: Results) -> FloatArray:
    """`[seeds, photographs]`."""
    numbers = select(found.by_photograph(), method="deepfillv2", metric="l1", protocol="paper")
    return matrix(numbers)


def tasks() -> list[Task]:
    return evaluate.choose_tasks("samples", ["table_1"], 64, "random_resized")[:1]


def touched(root: Path) -> dict[Path, int]:
    kept = [*root.glob("*/*/*.json*"), *root.glob("*/*/checkpoints/*")]
    return {path: path.stat().st_mtime_ns for path in kept}


@pytest.mark.slow
@pytest.mark.usefixtures("eagerly")
def test_variants_and_seeds_are_trained_measured_and_tabled_once(tmp_path, capsys, monkeypatch):
    names = ["deepfillv2_dagger", "deepfillv2"]
    ablation.run(names, BASE, 1, tasks(), tmp_path)
    ablation.run(names[1:], BASE, 2, tasks(), tmp_path)
    ablation.run(["layerwise_longer"], BASE, 1, tasks(), tmp_path)
    ablation.collect(tmp_path)
    printed = capsys.readouterr().out
    assert "1 of 2: DeepFillv2†, 32, seed 0" in printed and "| DeepFillv2, 16, 2 seeds " in printed
    assert (tmp_path / "tables.md").read_text().strip() in printed
    found = results.read(tmp_path / results.FILE)
    assert [(x.method, x.seed) for x in found.evaluations] == [
        ("layerwise_longer", 0),
        ("deepfillv2", 0),
        ("deepfillv2", 1),
        ("deepfillv2_dagger", 0),
    ]
    (longer,) = (x for x in found.evaluations if x.method == "layerwise_longer")
    assert longer.run["checkpoint"] == "step-6"  # Two steps for each of three levels.
    seeds = l1(found)
    assert seeds.shape == (2, 2) and not (seeds[0] == seeds[1]).any()
    assert (tmp_path / "sheet_samples_64_center.png").exists()

    before = touched(tmp_path)
    monkeypatch.setattr(Trained, "fill", pytest.fail)
    ablation.run(names, BASE, 1, tasks(), tmp_path)
    assert touched(tmp_path) == before


@pytest.mark.slow
@pytest.mark.usefixtures("eagerly")
def test_a_variant_goes_on_where_it_stopped_and_is_measured_anew(tmp_path, capsys):
    ablation.run(
        ["deepfillv2"], replace(BASE, train=replace(BASE.train, steps=1)), 1, tasks(), tmp_path
    )
    first = results.read(tmp_path / "deepfillv2" / "seed_0" / "ablation" / results.FILE)
    ablation.run(["deepfillv2"], BASE, 1, tasks(), tmp_path)
    second = results.read(tmp_path / "deepfillv2" / "seed_0" / "ablation" / results.FILE)
    assert [x["step"] for x in RunFolder(tmp_path / "deepfillv2" / "seed_0").read_metrics()] == [
        1,
        2,
    ]
    assert [x.evaluations[0].run["checkpoint"] for x in (first, second)] == ["step-1", "step-2"]
    assert (l1(first) != l1(second)).all()

    fewer = replace(BASE, train=replace(BASE.train, steps=1))
    (refused,) = ablation.run(["deepfillv2"], fewer, 1, tasks(), tmp_path)
    assert "must hold at most the 1 steps that are compared, got 2" in refused
    ablation.run(["deepfillv2_dagger"], fewer, 1, tasks(), tmp_path)
    ablation.collect(tmp_path)
    printed = capsys.readouterr().out
    assert "left out of the tables: DeepFillv2†, 32, seed 0 has 1 steps, not 2" in printed
    assert list(results.read(tmp_path / results.FILE).titles()) == ["deepfillv2"]


@pytest.mark.slow
@pytest.mark.usefixtures("eagerly")
def test_a_variant_that_diverges_is_recorded_and_stops_no_other(tmp_path, monkeypatch, capsys):
    wild = replace(VARIANTS["feature_refine"], train={"learning_rate": 1e30})
    monkeypatch.setitem(VARIANTS, "feature_refine", wild)
    ablation.run(["feature_refine", "pg"], BASE, 1, tasks(), tmp_path)
    record = RunFolder(tmp_path / "feature_refine" / "seed_0").read_divergence() or {}
    assert record["step"] in (1, 2) and ("finite" in record["reason"] or "nan" in record["reason"])
    ablation.collect(tmp_path)
    table = (tmp_path / "tables.md").read_text()
    assert f", seed 0, step {record['step']}: {record['reason']}" in table
    (group,) = (x for x in parse(table) if x[1][0] == "feature-level, refine")
    assert group[1][1::2] == ["-"] * 3 and group[2][1].startswith("0.")

    before = touched(tmp_path)
    ablation.run(["feature_refine"], BASE, 1, tasks(), tmp_path)
    assert touched(tmp_path) == before
    assert capsys.readouterr().out.count("diverged at step") >= 2


@pytest.mark.slow
def test_the_program_at_the_tiny_scale(tmp_path):
    command = [sys.executable, "-m", "experiments.ablation", "--scale=tiny", "--steps=1"]
    command += ["--variant=deepfillv2", f"--workdir={tmp_path / 'it'}"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    assert "DeepFillv2, 64" in result.stdout and (tmp_path / "it" / "tables.md").exists()
    assert len(results.read(tmp_path / "it" / results.FILE).evaluations) == 1

    wrong = subprocess.run(
        [*command[:3], "fusions"], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert wrong.returncode == 2 and "Traceback" not in wrong.stderr
    assert "group must be one of layers, fusion, dilation, further, got 'fusions'" in wrong.stderr
