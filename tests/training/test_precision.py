"""Checkpoints of runs in different precisions, and what devices can train."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import pgi
from pgi.config import ExperimentConfig, TrainConfig
from pgi.errors import RuleError
from pgi.models import PyramidGenerator
from pgi.training import assembly, checkpoints
from pgi.training.run_folder import Checkpoint, RunFolder
from pgi.training.stages import stages
from tests.tiny_run import CONFIG


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretends that there is a GPU, without which float16 is refused."""
    device = tf.config.LogicalDevice("/device:GPU:0", "GPU")
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind=None: [device])


def config(**train: Any) -> ExperimentConfig:
    return dataclasses.replace(CONFIG, train=TrainConfig(**train))


def compiled(**train: Any) -> PyramidGenerator:
    made = config(**train)
    model = assembly.make_model(made)
    assembly.compile_model(model, made, stages(made)[0])
    return model


def state(model: PyramidGenerator) -> list[np.ndarray]:
    optimizers = model.generator_optimizer, model.discriminator_optimizer
    return model.get_weights() + [v.numpy() for x in optimizers for v in x.variables]


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(
    ("saved", "continued"),
    [
        ("float32", "mixed_float16"),
        ("mixed_float16", "float32"),
        ("mixed_bfloat16", "mixed_float16"),
        ("mixed_float16", "mixed_bfloat16"),
        ("float32", "mixed_bfloat16"),
        ("mixed_float16", "mixed_float16"),
    ],
)
def test_a_run_continues_in_another_precision_with_all_its_state(
    tmp_path: Path, saved: str, continued: str
) -> None:
    model = compiled(precision=saved, seed=1)
    for number, variable in enumerate(model.generator_optimizer.variables):
        variable.assign(tf.cast(tf.fill(variable.shape, number), variable.dtype))
    if saved == "mixed_float16":
        model.generator_optimizer._loss_scale.current_loss_scale.assign(64.0)
    RunFolder(tmp_path).begin(config(precision=saved, seed=1))
    checkpoint = Checkpoint(tmp_path / "checkpoints" / "step-1")
    checkpoints.everything(model).write(str(checkpoint))

    other = compiled(precision=continued, seed=2)
    assert any(not np.array_equal(a, b) for a, b in zip(state(other), state(model)))
    checkpoints.restore(checkpoints.networks(other), checkpoint)
    checkpoints.restore(checkpoints.optimizers(other, checkpoint), checkpoint)
    for a, b in zip(state(other), state(model), strict=True):
        np.testing.assert_array_equal(a, b)
    if continued == "mixed_float16":
        expected = 64.0 if saved == "mixed_float16" else 2.0**15
        assert float(other.generator_optimizer.loss_scale) == expected


@pytest.mark.parametrize(
    "train",
    [
        {"precision": "mixed_bfloat16"},
        {"convolution_dtype": "bfloat16"},
        {"jit_compile": True, "accumulation_steps": 2, "recompute": True},
    ],
    ids=str,
)
def test_a_continued_run_may_be_computed_in_another_way(tmp_path: Path, train: dict) -> None:
    RunFolder(tmp_path).begin(config())
    RunFolder(tmp_path).begin(config(**train))
    assert RunFolder(tmp_path).read_config() == config(**train)


def test_inference_from_a_run_in_bfloat16_is_in_float32(tmp_path: Path) -> None:
    results = []
    for precision in ("float32", "mixed_bfloat16"):
        model = compiled(precision=precision)
        run = RunFolder(tmp_path / precision)
        run.begin(config(precision=precision))
        checkpoints.everything(model).write(str(run.checkpoints / "step-1"))
        image = np.random.default_rng(0).integers(0, 256, [16, 16, 3], np.uint8)
        mask = np.zeros([16, 16], bool)
        mask[4:12, 4:12] = True
        results.append(pgi.load(run.path)(image, mask))
    np.testing.assert_array_equal(results[0], results[1])


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ({"jit_compile": True}, "train.jit_compile must be False with 2 replicas, got True"),
        (
            {"batch_size": 6, "accumulation_steps": 2},
            "batch_size must be a multiple of 2 replicas times accumulation_steps=2, got 6",
        ),
    ],
)
def test_what_two_replicas_cannot_train_is_refused(train: dict, message: str) -> None:
    with (
        tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope(),
        pytest.raises(RuleError, match=message),
    ):
        assembly.make_model(config(**train))


def test_float16_is_refused_without_a_gpu() -> None:
    with pytest.raises(RuleError, match=r"train.precision must be .* without a GPU .*_float16'"):
        assembly.make_model(config(precision="mixed_float16"))
