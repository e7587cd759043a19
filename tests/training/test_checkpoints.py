"""Which checkpoints are kept: the latest, milestones, and the best by validation."""

from __future__ import annotations

import os
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import pgi
from pgi import inference
from pgi.config import ExperimentConfig, ModelConfig, TrainConfig
from pgi.errors import RunFolderError
from pgi.training import checkpoints, loop
from pgi.training.checkpoints import BEST_BY, Checkpoints
from pgi.training.run_folder import Checkpoint, RunFolder
from pgi.training.stages import stages
from tests.tiny_run import CONFIG, write_run


def kept(folder: Path) -> list[int]:
    return sorted(int(path.stem.partition("-")[2]) for path in folder.glob("*.index"))


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path / "run")
    run.begin(CONFIG)
    return run


@pytest.fixture(scope="module")
def model():
    model = loop.make_model(CONFIG)
    (stage,) = stages(CONFIG)
    loop.compile_model(model, CONFIG, stage)
    return model


def save(run: RunFolder, model, train: TrainConfig, validation: dict[int, float]) -> None:
    """As a process that takes some steps does."""
    written = Checkpoints(run, model, train)
    for step, value in validation.items():
        run.append_metrics(step, {BEST_BY: value})
        written.save(step, value)


def test_the_latest_the_best_and_milestones_are_kept(run, model):
    train = TrainConfig(keep_checkpoints=2, milestone_steps=20)
    save(run, model, train, {10: 0.5, 20: 0.4, 30: 0.3, 40: 0.35, 50: 0.6})
    assert kept(run.checkpoints) == [40, 50]
    assert kept(run.best) == [30]
    assert kept(run.milestones) == run.milestone_steps() == [20, 40]


def test_a_run_that_is_continued_remembers_its_best_and_its_milestones(run, model):
    train = TrainConfig(keep_checkpoints=2, milestone_steps=30)
    save(run, model, train, {10: 0.2, 30: 0.5})
    save(run, model, train, {50: 0.3, 60: 0.1})
    assert kept(run.checkpoints) == [50, 60]
    assert kept(run.best) == [60]
    assert kept(run.milestones) == [30, 60]


def test_milestones_by_the_hour_are_counted_over_all_processes(run, model, monkeypatch):
    now = [1e9]
    monkeypatch.setattr(checkpoints.time, "time", lambda: now[0])
    os.utime(run.milestones, times=(1e9, 1e9))
    for step, hours in enumerate((1.0, 1.4, 1.6, 2.0, 3.2), start=1):
        now[0] = 1e9 + 3600 * hours
        before = run.milestone_steps()
        Checkpoints(run, model, TrainConfig(milestone_hours=1.5)).save(step, 1.0)
        if run.milestone_steps() != before:
            os.utime(run.milestones, times=(now[0], now[0]))
    assert kept(run.milestones) == [3, 5]


def test_best_and_milestones_can_be_loaded_like_the_latest_and_say_what_they_are(run, model):
    bias = model.sub_generators[0].refine.decoder.conv17.bias
    written = Checkpoints(run, model, TrainConfig(milestone_steps=2))
    for step, value in {1: 0.5, 2: 0.9, 3: 0.7}.items():
        bias.assign([float(step)] * 3)
        written.save(step, value)
    expected = {
        run.path: (3, "checkpoints/step-3"),
        run.best / "step-1": (1, "best/step-1"),
        run.milestones / "step-2.index": (2, "milestones/step-2"),
    }
    for path, (step, place) in expected.items():
        loaded = inference.load_checkpoint(Checkpoint.find(path))
        assert loaded.origin == str(run.path / place) and loaded.warning is None
        assert loaded.model.sub_generators[0].refine.decoder.conv17.bias.numpy()[0] == step


def test_a_run_that_stopped_in_an_early_stage_is_loaded_with_a_warning(tmp_path, model):
    run = RunFolder(tmp_path)
    train = TrainConfig(schedule="bottom_up", steps=10)
    run.begin(replace(CONFIG, train=train))
    for step in (5, 6):
        Checkpoints(run, model, train).save(step, None)
    assert not kept(run.best)
    message = "step-5: level 1 of the pyramid is not trained yet"
    with pytest.warns(UserWarning, match=message):
        assert message in str(pgi.load(run.checkpoints / "step-5").warning)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert pgi.load(run.checkpoints / "step-6").warning is None
        assert message in str(inference.load(run.checkpoints / "step-5").warning)


def test_a_run_of_an_earlier_version_cannot_be_continued_and_is_told_what_can(tmp_path, model):
    old = tf.train.Checkpoint(
        sub_generators=model.sub_generators, discriminators=model.discriminators
    )
    checkpoint = Checkpoint(Path(old.write(str(tmp_path / "step-9"))))
    with pytest.raises(RunFolderError, match="but not continued"):
        checkpoints.restore(checkpoints.networks(model), checkpoint)


def test_a_checkpoint_of_other_networks_is_refused_by_name(tmp_path):
    write_run(tmp_path / "run")
    checkpoint = Checkpoint.find(tmp_path / "run")
    wider = loop.make_model(
        ExperimentConfig(model=ModelConfig(levels=(8, 16, 32), width=8, discriminator_width=2))
    )
    with pytest.raises(RunFolderError, match="step-2 is damaged or does not fit"):
        checkpoints.restore(checkpoints.networks(wider), checkpoint)


def test_a_checkpoint_without_the_moving_average_is_refused_where_one_is_kept(tmp_path):
    write_run(tmp_path / "run")
    averaging = loop.make_model(CONFIG)
    averaging.keep_averages()
    checkpoint = Checkpoint.find(tmp_path / "run")
    with pytest.raises(RunFolderError, match="does not fit"):
        checkpoints.restore(checkpoints.networks(averaging), checkpoint)


def test_a_checkpoint_knows_its_run_step_and_files(tmp_path):
    write_run(tmp_path / "run")
    newest = RunFolder(tmp_path / "run").newest_checkpoint()
    assert newest is not None and newest == Checkpoint.find(tmp_path / "run")
    assert str(newest) == tf.train.latest_checkpoint(str(tmp_path / "run" / "checkpoints"))
    assert (newest.name, newest.step, newest.run.path) == ("step-2", 2, tmp_path / "run")
    assert [x.name for x in newest.files] == ["step-2.data-00000-of-00001", "step-2.index"]
    older = Checkpoint.find(tmp_path / "run" / "checkpoints" / "step-1.index")
    assert older == Checkpoint.find(tmp_path / "run" / "checkpoints" / "step-1")
    assert older.step == 1 and older.sha256 != newest.sha256
    assert Checkpoint(Path("elsewhere/last")).step is None


def test_only_weights_that_are_used_are_loaded(tmp_path):
    write_run(tmp_path / "run")
    checkpoint = Checkpoint.find(tmp_path / "run")
    alone, _ = checkpoints.load_model(checkpoint)
    whole, _ = checkpoints.load_model(checkpoint, discriminators=True)
    assert not alone.discriminators and len(whole.discriminators) == 2
    ours, theirs = (x.sub_generators for x in (alone, whole))
    weights = sum(network.count_params() for network in theirs)
    assert alone.count_params() == weights + 1  # The step.
    for one, other in zip(ours, theirs):
        for x, y in zip(one.get_weights(), other.get_weights()):
            np.testing.assert_array_equal(x, y)
