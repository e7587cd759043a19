"""`pgi import-deepfillv2`: weights of DeepFillv2's own program as a run folder.

    config.json                 as of a training, and "imported": where the weights are from
    checkpoints/step-0.*        the networks, without optimisers
    MODEL_CARD.md

The folder appears when it is complete.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from pgi import deepfillv2
from pgi.atomic import sync, write_atomically, writing
from pgi.config import ExperimentConfig, LossConfig, ModelConfig
from pgi.deepfillv2 import Variables
from pgi.errors import RuleError, RunFolderError
from pgi.export.model_card import model_card
from pgi.models import Discriminator, PyramidGenerator
from pgi.rules import MAX_WIDTH
from pgi.training import checkpoints
from pgi.training.run_folder import Checkpoint, RunFolder

LICENCE = (
    "DeepFillv2's authors released their weights under CC BY-NC 4.0 "
    "(https://creativecommons.org/licenses/by-nc/4.0/): credit them, and make no commercial use of "
    "the weights. That holds for this copy and for every export of it, and is the user's to mind. "
    "The Apache-2.0 licence of pgi covers its code only. Weights that someone else trained with "
    "DeepFillv2's program have the terms that were given to them."
)


def import_run(source: str | Path, output: str | Path, channel_order: str = "bgr") -> list[str]:
    """Makes a run folder, a pyramid of one level, from weights of DeepFillv2's own program.

    Args:
        source: a TensorFlow 1 checkpoint or a frozen graph, see `pgi.deepfillv2.find_variables`.
        output: the run folder, which must not exist.
        channel_order: of the images that the weights were trained with; "bgr" is converted.

    Returns:
        What was found, in lines for people.

    Raises:
        RuleError: a weight of the generator is missing, has another shape, has no place in it, or
            is not finite.
        RunFolderError: there are no such weights, or they are damaged; or the output exists.
        WriteError: the run folder cannot be written; nothing of it is left behind.
    """
    output = Path(os.path.abspath(Path(output).expanduser()))
    _refuse_existing(output)
    variables = deepfillv2.find_variables(source)
    width, judged = _discriminator(variables)
    networks = deepfillv2.model_config(variables)
    networks = dataclasses.replace(networks, discriminator_width=width or 64)
    model = _model(variables, networks, channel_order, width is not None)
    imported = {
        "from": "DeepFillv2",
        "files": {x.name: hashlib.sha256(x.read_bytes()).hexdigest() for x in variables.files},
        "channel_order": channel_order,
        "discriminator": width is not None,
        "licence_of_weights": LICENCE,
    }
    config = ExperimentConfig(output.name, networks, LossConfig((1.0,), coarse_l1_weight=1.0))
    _write(output, model, config, imported)
    trained = f"trained on {channel_order.upper()} images"
    trained += ", converted to RGB" if channel_order == "bgr" else ""
    lines = [f"generator: imported, width {networks.width}, {trained}", f"discriminator: {judged}"]
    if unused := _unused(variables, model):
        lines.append(f"not used: {deepfillv2.listed(unused)}")
    return lines


def _refuse_existing(output: Path) -> None:
    if os.path.lexists(output):
        raise RunFolderError(f"{output} exists already; an import makes a new run folder")


def _discriminator(variables: Variables) -> tuple[int | None, str]:
    """Width of the discriminator, None unless there is one that fits, and what to say of it.

    One that does not fit is no error, since filling holes does not need it.
    """
    if not any(name.startswith("discriminator/") for name in variables.shapes):
        return None, "none found"
    first = variables.shapes.get("discriminator/sn_patch_gan/conv1/kernel", ())
    width = first[-1] if len(first) == 4 and 0 < first[-1] <= MAX_WIDTH else 64
    targets = deepfillv2.discriminator_variables(Discriminator(width))
    faults, _ = deepfillv2.misfits(variables, targets, strict=True)
    if faults:
        return None, f"left out, since it does not fit; {'; '.join(faults)}"
    return width, f"imported, width {width}"


def _model(
    variables: Variables, networks: ModelConfig, channel_order: str, judged: bool
) -> PyramidGenerator:
    """The networks with their weights; without a discriminator unless `judged`."""
    arguments = dataclasses.asdict(networks)
    model = PyramidGenerator(**arguments if judged else arguments | {"discriminator_width": None})
    model.build_networks()
    (generator,) = model.sub_generators
    deepfillv2.assign_generator(generator, variables, channel_order=channel_order, strict=True)
    for discriminator in model.discriminators:
        deepfillv2.assign_discriminator(discriminator, variables, channel_order=channel_order)
    wrong = [name for name, x in _targets(model).items() if not np.isfinite(x.numpy()).all()]
    if wrong:
        raise RuleError(
            f"{variables.origin} must hold finite weights, got NaN or infinity in "
            f"{deepfillv2.listed(wrong)}"
        )
    return model


def _targets(model: PyramidGenerator) -> dict[str, tf.Variable]:
    (generator,) = model.sub_generators
    (discriminator,) = model.discriminators or [Discriminator()]
    ours = deepfillv2.generator_variables(generator)
    return ours | deepfillv2.discriminator_variables(discriminator)


def _unused(variables: Variables, model: PyramidGenerator) -> list[str]:
    """Names of what is neither a network's nor an optimiser's value of a network's weight."""
    weights = tuple(f"/{name}" for name in _targets(model))

    def of_optimiser(name: str) -> bool:
        weight, _, kind = name.rpartition("/")
        return kind != "ExponentialMovingAverage" and f"/{weight}".endswith(weights)

    names = set(variables.shapes) - {name[1:] for name in weights}
    return sorted(name for name in names if not of_optimiser(name))


def _write(
    output: Path, model: PyramidGenerator, config: ExperimentConfig, imported: dict[str, Any]
) -> None:
    with _unwound_by_sigterm(), writing(output, tf.errors.OpError):
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=output.parent, prefix=".import-") as parts:
            run = RunFolder(Path(parts) / output.name)
            run.begin(config, imported=imported)
            run.checkpoints.mkdir()
            checkpoint = Checkpoint(run.checkpoints / "step-0")
            checkpoints.networks(model).write(str(checkpoint))
            sync(*checkpoint.files, run.checkpoints)
            card = model_card(checkpoint, output.name)
            write_atomically(run.path / "MODEL_CARD.md", card.encode())
            _refuse_existing(output)
            run.path.rename(output)
        sync(output.parent)


@contextlib.contextmanager
def _unwound_by_sigterm() -> Iterator[None]:
    """Lets SIGTERM end the process by an exception, so that the temporary folder is removed."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Where Python allows no handlers.
        return
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
