"""A run folder as training makes it, of a tiny network with untrained weights."""

from __future__ import annotations

import functools
import shutil
import tempfile
from pathlib import Path

import tensorflow as tf

from pgi.config import ExperimentConfig, LossConfig, ModelConfig
from pgi.models import PyramidGenerator
from pgi.training import assembly, checkpoints
from pgi.training.run_folder import RunFolder
from pgi.training.stages import stages

MODEL = ModelConfig(levels=(8, 16), width=4, kernel_initializer="gated_he", discriminator_width=2)
CONFIG = ExperimentConfig(name="tiny", model=MODEL, loss=LossConfig(level_weights=(10.0, 1.0)))


def write_run(path: Path) -> PyramidGenerator:
    """Makes a run folder with checkpoints of steps 1 and 2; returns the model as of step 2.

    In between, every weight of the sub-generators grows by 30 %. The run is made once in a process
    and then copied; the model is shared, so tests must not change it.
    """
    made, model = _run()
    shutil.copytree(made.name, path)
    return model


@functools.cache
def _run() -> tuple[tempfile.TemporaryDirectory[str], PyramidGenerator]:
    made = tempfile.TemporaryDirectory()
    folder = RunFolder(Path(made.name))
    folder.begin(CONFIG)
    model = assembly.make_model(CONFIG)
    (stage,) = stages(CONFIG)
    assembly.compile_model(model, CONFIG, stage)
    manager = tf.train.CheckpointManager(
        checkpoints.everything(model), str(folder.checkpoints), 2, checkpoint_name="step"
    )
    manager.save(1)
    for variable in model.generator_variables:
        variable.assign(variable * 1.3)
    manager.save(2)
    return made, model
