"""A model's weights as a folder to be passed on: weights.npz, config.json, MODEL_CARD.md.

Every command takes such a folder as it takes a run folder, except that training cannot continue in
it. Those in `pgi/weights/` ship with the package.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pgi.atomic import write_atomically
from pgi.config import ExperimentConfig, to_dict
from pgi.errors import ExportError
from pgi.export.agreement import PHOTOGRAPHS, example, reference
from pgi.export.model_card import model_card
from pgi.export.run_metrics import measured, validation
from pgi.export.unfinished import unfinished_folder
from pgi.inference import load_checkpoint
from pgi.models import PyramidGenerator
from pgi.training import description
from pgi.training.checkpoints import parts_of
from pgi.training.run_folder import Checkpoint
from pgi.training.weights_file import WeightsFile, to_bytes
from pgi.weights import FILE

MAX_BYTES = 12_000_000


class Origin(NamedTuple):
    """What the run folder does not tell of its weights.

    Attributes:
        config: the run's, with names instead of places on the machine of the training.
        licence_of_images: of the data, as Markdown.
        licence: of the weights.
        commands: that made them.
        hours: of the training.
        limits: sentences for the model card's "Known limits".
        evaluations: folders of results of the run's checkpoint or of these weights.
    """

    config: ExperimentConfig
    licence_of_images: str
    licence: str
    commands: Sequence[str]
    hours: float
    limits: Sequence[str] = ()
    evaluations: Sequence[Path] = ()


def export_weights(checkpoint: Checkpoint, folder: Path, origin: Origin) -> WeightsFile:
    """Writes the folder, or its three files anew. The same weights give the same file.

    Args:
        checkpoint: of a run; its moving average is taken if it has one.
        folder: its name is the model's.
        origin: what the model card says beside what the run folder tells.

    Raises:
        RunFolderError: the checkpoint cannot be loaded.
        ExportError: a level is not trained; or rounding the weights to float16 changes a result by
            a grey level or more, or the file is too large. Nothing is written then.
        RuleError: an evaluation cannot be read.
    """
    inpainter = load_checkpoint(checkpoint)
    if inpainter.warning:
        raise ExportError(f"{inpainter.warning}; nothing was written")
    difference = _round(inpainter.model)
    if not difference < 1:  # Also if it is NaN.
        raise ExportError(
            "the weights cannot be stored as float16: the holes of photographs would differ by "
            f"{difference:.3g} of 255, of which less than 1 is allowed; nothing was written"
        )
    content = to_bytes(inpainter.model, checkpoint.run.read_config().model)
    if len(content) > MAX_BYTES:
        size = f"at most {MAX_BYTES:,} bytes, got {len(content):,}"
        raise ExportError(f"{FILE} must have {size}; nothing was written")
    sha256 = hashlib.sha256(content).hexdigest()
    weights = {
        "sha256": sha256,
        "run": checkpoint.run.path.resolve().name,
        "checkpoint": checkpoint.name,
        "checkpoint_sha256": checkpoint.sha256,
        "step": checkpoint.step,
        "averaged": "averaged_sub_generators" in parts_of(checkpoint),
        "largest_difference": difference,
        "hours": origin.hours,
        "commands": list(origin.commands),
        "licence": origin.licence,
        "limits": list(origin.limits),
        "validation": validation(checkpoint.run, checkpoint.step),
        "measured": [
            row for x in origin.evaluations for row in measured(x, sha256, checkpoint.sha256)
        ],
    }
    folder.mkdir(parents=True, exist_ok=True)
    with unfinished_folder(folder) as parts:
        made = WeightsFile(parts / FILE)
        made.prefix.write_bytes(content)
        described = _description(checkpoint, folder.name, origin, weights)
        (parts / "config.json").write_text(described, encoding="utf-8")
        card = model_card(made, folder.name)
    # config.json is last: until it has the file's hash, what a killed export has left is refused.
    write_atomically(folder / FILE, content)
    write_atomically(folder / "MODEL_CARD.md", card.encode())
    write_atomically(folder / "config.json", described.encode())
    return WeightsFile(folder / FILE)


def _round(model: PyramidGenerator) -> float:
    """Rounds the generators' weights to float16.

    Returns:
        The largest difference that this makes in the holes of photographs, in grey levels of 255.
    """
    complete, side = reference(model), model.levels[-1]
    pictures = [example(x, n * side, n * side) for n in (1, 2) for x in PHOTOGRAPHS]
    holes = [(image[0], mask[0, :, :, 0] > 127) for image, mask in pictures]
    before = [complete(image, hole)[hole] for image, hole in holes]
    with np.errstate(over="ignore"):  # What becomes infinite is seen in the results.
        for network in model.sub_generators:
            network.set_weights([x.astype(np.float16) for x in network.get_weights()])
    after = [complete(image, hole)[hole] for image, hole in holes]
    return float(127.5 * np.max([np.max(abs(a - b)) for a, b in zip(after, before)]))


def _description(
    checkpoint: Checkpoint, name: str, origin: Origin, weights: Mapping[str, Any]
) -> str:
    """The content of config.json: the run's, apart from what `origin` tells better."""
    content = checkpoint.run.read_description() | {
        "format": description.FORMAT,
        "config": to_dict(dataclasses.replace(origin.config, name=name)),
        "licence_of_images": origin.licence_of_images,
        "weights": weights,
    }
    return json.dumps(content, indent=2) + "\n"
