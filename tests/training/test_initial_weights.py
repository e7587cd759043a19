"""Weights to start from land where they belong, and the report says what the source lacks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from pgi import deepfillv2, images
from pgi.config import DataConfig, ExperimentConfig, LossConfig
from pgi.errors import RuleError, RunFolderError
from pgi.models import PyramidGenerator
from pgi.training import assembly, checkpoints, initial_weights, loop
from pgi.training.run_folder import RunFolder
from pgi.training.stages import stages
from tests.reference import write_tf1_checkpoint
from tests.tiny_run import CONFIG, MODEL, write_run
from tests.training.test_loop import sources


def model_of(levels: tuple[int, ...], seed: int = 1, **model: Any) -> PyramidGenerator:
    config = ExperimentConfig(
        model=replace(MODEL, levels=levels, **model),
        loss=LossConfig(level_weights=(1.0,) * len(levels)),
    )
    return assembly.make_model(replace(config, train=replace(config.train, seed=seed)))


def equal(one: tf.Module, other: tf.Module) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one.variables, other.variables))


def test_levels_of_the_same_side_take_each_others_weights(tmp_path: Path) -> None:
    theirs = write_run(tmp_path / "run")
    model = model_of((16, 32))
    fresh = model_of((16, 32))
    report = initial_weights.load(model, str(tmp_path / "run"))
    assert equal(model.sub_generators[0].refine.decoder, theirs.sub_generators[1].refine.decoder)
    assert equal(model.discriminators[0], theirs.discriminators[1])
    assert equal(model.sub_generators[1], fresh.sub_generators[1])
    first, second = report.splitlines()[1:]
    # Theirs is an upper level, with one dilated layer less.
    assert "level 0 (16 px): weights" in first
    assert "missing in the source: conv10_atrous, xconv10_atrous" in first
    assert "level 1 (32 px): missing in the source; keeps its initial weights" in second


def test_the_moving_average_is_taken_where_there_is_one(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.begin(CONFIG)
    theirs = assembly.make_model(CONFIG)
    theirs.keep_averages()
    for variable in theirs.sub_generators[0].variables:
        variable.assign_add(tf.ones_like(variable))
    (stage,) = stages(CONFIG)
    assembly.compile_model(theirs, CONFIG, stage)
    checkpoints.everything(theirs).write(str(run.checkpoints / "step-1"))
    model = model_of((8, 16))
    model.keep_averages()
    report = initial_weights.load(model, str(run.checkpoints / "step-1"))
    assert equal(model.sub_generators[0], theirs.averaged_sub_generators[0])
    assert equal(model.averaged_sub_generators[0], theirs.averaged_sub_generators[0])
    assert "moving average" in report


def test_networks_of_another_width_are_refused_with_the_level(tmp_path: Path) -> None:
    write_run(tmp_path / "run")
    with pytest.raises(RuleError, match=r"initial_weights .*level 0 \(8 px\) does not fit"):
        initial_weights.load(model_of((8, 16), width=8), str(tmp_path / "run"))


def test_a_run_without_a_common_level_is_refused(tmp_path: Path) -> None:
    write_run(tmp_path / "run")
    with pytest.raises(RuleError, match=r"must have a level of \[32, 64\] px"):
        initial_weights.load(model_of((32, 64)), str(tmp_path / "run"))


@pytest.mark.parametrize("source", ["nowhere", "deepfillv2:nowhere"])
def test_what_is_not_there_is_named(tmp_path: Path, source: str) -> None:
    with pytest.raises(RunFolderError, match="nowhere"):
        initial_weights.load(model_of((8,)), source)


def write_reference(path: Path, width: int, discriminator: bool) -> dict[str, np.ndarray]:
    """A TensorFlow 1 checkpoint of DeepFillv2 with other weights than any network here."""
    source = PyramidGenerator((8,), width, "standard", "none", discriminator_width=2)
    source.build_networks()
    variables = deepfillv2.generator_variables(source.sub_generators[0])
    if discriminator:
        variables |= deepfillv2.discriminator_variables(source.discriminators[0])
    rng = np.random.default_rng(0)
    arrays = {k: rng.standard_normal(v.shape).astype(np.float32) for k, v in variables.items()}
    write_tf1_checkpoint(path, arrays)
    return arrays


@pytest.mark.parametrize("discriminator", [True, False])
def test_every_level_takes_a_deepfillv2_checkpoint_less_its_last_dilated_layer(
    tmp_path: Path, discriminator: bool
) -> None:
    arrays = write_reference(tmp_path / "snap-1", 4, discriminator)
    model, fresh = model_of((8, 16)), model_of((8, 16))
    report = initial_weights.load(model, f"deepfillv2:{tmp_path / 'snap-1'}")
    for level, network in enumerate(model.sub_generators):
        ours = deepfillv2.generator_variables(network)
        assert ("inpaint_net/conv10_atrous/kernel" in ours) == (level == 0)
        for name in ours:
            if "conv1/" not in name and "conv17" not in name:  # These swap red and blue.
                np.testing.assert_array_equal(ours[name], arrays[name])
        first, last = "inpaint_net/conv1/kernel", "inpaint_net/conv17/kernel"
        np.testing.assert_array_equal(ours[first], arrays[first][:, :, [2, 1, 0, 3, 4]])
        np.testing.assert_array_equal(ours[last], arrays[last][..., ::-1])
        taken = equal(network, fresh.sub_generators[level])
        assert not taken
        assert equal(model.discriminators[level], fresh.discriminators[level]) != discriminator
        if discriminator:
            first = "discriminator/sn_patch_gan/conv1/kernel"
            kernel = deepfillv2.discriminator_variables(model.discriminators[level])[first]
            np.testing.assert_array_equal(kernel, arrays[first][:, :, [2, 1, 0, 3]])
    kept = "its discriminator keeps its initial weights" in report
    assert kept != discriminator and report.count("generator;") == 2
    assert report.count("left out: conv10_atrous, xconv10_atrous") == 1


def test_a_deepfillv2_checkpoint_of_another_width_is_refused_with_the_level(tmp_path: Path) -> None:
    write_reference(tmp_path / "snap-1", 8, discriminator=False)
    with pytest.raises(RuleError, match=r"must fit level 0 \(8 px\): .*must have shape"):
        initial_weights.load(model_of((8, 16)), f"deepfillv2:{tmp_path / 'snap-1'}")


def test_a_damaged_checkpoint_is_refused_by_name(tmp_path: Path) -> None:
    write_run(tmp_path / "run")
    (data,) = (tmp_path / "run" / "checkpoints").glob("step-2.data*")
    data.write_bytes(data.read_bytes()[:100])
    with pytest.raises(RunFolderError, match="step-2 is damaged"):
        initial_weights.load(model_of((8, 16)), str(data.with_suffix("")))


def test_a_level_that_starts_from_below_begins_with_the_upsampled_result_of_the_level_below() -> (
    None
):
    model = model_of((8, 16), width=8)
    initial_weights.start_from_below(model, 1)
    lower, upper = model.sub_generators
    assert equal(lower.refine.decoder, upper.refine.decoder)
    assert equal(model.discriminators[0], model.discriminators[1])
    image = tf.random.stateless_uniform([2, 16, 16, 3], [0, 1], -1, 1)
    mask = np.zeros([2, 16, 16, 1], np.float32)
    mask[:, 4:12, 5:11] = 1
    outputs = model(images.pyramids(image, tf.constant(mask), 2))
    np.testing.assert_array_equal(outputs[1].coarse, 0 * image)
    # So the refine network sees the upsampled lower result in the hole.
    expected = tf.image.resize(outputs[0].completed, [16, 16])
    refined, _ = upper.refine(*[images.complete(image, expected, mask)] * 2, tf.constant(mask))
    np.testing.assert_allclose(outputs[1].refined, refined, atol=1e-5)


@pytest.mark.slow
def test_a_training_starts_from_them_and_says_so(tmp_path: Path, capsys) -> None:
    """On two replicas, with a moving average; and a path that is wrong leaves no folder behind."""
    write_run(tmp_path / "first")
    values: dict[str, Any] = {"steps": 1, "learning_rate": 1e-30, "ema_momentum": 0.9}

    def begin(source: Path) -> None:
        train = replace(CONFIG.train, initial_weights=str(source), **values)
        reduction = tf.distribute.ReductionToOneDevice()
        two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], cross_device_ops=reduction)
        config = replace(CONFIG, train=train, data=DataConfig(validation_images=2))
        loop.train(config, *sources(), tmp_path / "second", two)

    with pytest.raises(RunFolderError, match="frist"):
        begin(tmp_path / "frist")
    begin(tmp_path / "first")
    assert f"Initial weights from {tmp_path / 'first'}" in capsys.readouterr().out
    name = "averaged_sub_generators/1/refine/decoder/conv17/kernel/.ATTRIBUTES/VARIABLE_VALUE"
    paths = [str(RunFolder(tmp_path / x).newest_checkpoint()) for x in ("first", "second")]
    names = (name.removeprefix("averaged_"), name)
    found = [tf.train.load_variable(path, name) for path, name in zip(paths, names)]
    np.testing.assert_array_equal(*found)
