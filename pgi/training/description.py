"""config.json of a run folder: format number, config, images, git commit, package versions.

Of imported weights it also says where they are from ("imported"), and so it does of a weights file
("weights").

Formats:
    0  before there was a number; fields of the config have changed within it
    1  the present one
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pgi.atomic import write_atomically
from pgi.config import ExperimentConfig, differences, from_dict, to_dict
from pgi.errors import RunFolderError
from pgi.provenance import provenance

FORMAT = 1

# Fields of `train` that a continued run may change: a step computes the same, up to rounding, which
# may be that of a shorter float type.
_FREE_TO_CHANGE = (
    "steps",
    "minutes",
    "snapshot_steps",
    "keep_checkpoints",
    "milestone_steps",
    "milestone_hours",
    "precision",
    "convolution_dtype",
    "jit_compile",
    "accumulation_steps",
    "recompute",
    "attention_megabytes",
)


def write(
    path: Path,
    config: ExperimentConfig,
    images: Mapping[str, Any],
    licence: str | None,
    imported: Mapping[str, Any] | None = None,
) -> None:
    """Writes the file, with the present git commit and versions.

    `imported`, of a run that no training of this project made, says where its weights are from.
    """
    description = {
        "format": FORMAT,
        "config": to_dict(config),
        **({"imported": dict(imported)} if imported else {}),
        "images": dict(images),
        "licence_of_images": licence,
        **provenance(),
    }
    write_atomically(path, json.dumps(description, indent=2).encode() + b"\n")


def read(path: Path) -> dict[str, Any]:
    """The file's contents.

    Raises:
        RunFolderError: the file is missing, no JSON object, or of a later format.
    """
    try:
        description: dict[str, Any] = json.loads(path.read_bytes())
        number = description.get("format", 0)
        later = number > FORMAT
    except Exception as error:  # The file may hold anything.
        raise RunFolderError(f"{path.parent} is not a run folder: {error}") from error
    if later:
        raise RunFolderError(
            f"{path.parent} was written by a later version of pgi: it has format {number}, and "
            f"this version reads formats up to {FORMAT}"
        )
    return description


def read_config(path: Path) -> ExperimentConfig:
    """The config in the file, with this version's fields; errors as of `read`."""
    description = read(path)
    try:
        values = description["config"]
        if description.get("format", 0) == 0:
            values = _upgraded(values)
        config: ExperimentConfig = from_dict(values)
        return config
    except Exception as error:  # As above.
        raise RunFolderError(f"{path.parent} is not a run folder: {error}") from error


def imported(path: Path) -> dict[str, Any] | None:
    """Where a run's weights are from, None if from a training; errors as of `read`."""
    found = read(path).get("imported")
    return found if isinstance(found, dict) else None


def refuse_other(path: Path, config: ExperimentConfig, images: Mapping[str, Any]) -> None:
    """Raises RunFolderError unless a run can go on with this config and these images.

    Images are the same if their identity is, wherever they are stored. Only a run that has none
    noted is compared by the text of its dataset. Weights without optimisers cannot go on.
    """
    if (imported_weights := bool(imported(path))) or "weights" in read(path):
        kind = "imported weights" if imported_weights else "weights"
        raise RunFolderError(
            f"{path.parent} holds {kind} without optimisers, which cannot be trained on; "
            f"start a new run from them: --config.train.initial_weights={path.parent} and another "
            "--workdir"
        )
    theirs, ours = to_dict(read_config(path)), to_dict(config)
    noted = read(path).get("images")
    different = _differences_in_words(noted, images) if noted else []
    if noted and not different:
        place = theirs["data"].pop("dataset"), ours["data"].pop("dataset")
        if place[0] != place[1]:
            print(f"The same images, by number, names and order: {place[1]}, before {place[0]}")
    for key in _FREE_TO_CHANGE:
        if key != "steps" or not _follows_steps(config):
            del theirs["train"][key], ours["train"][key]
    different = differences(theirs, ours) + different
    if different:
        raise RunFolderError(
            f"{path.parent} holds another run (its values first):\n  "
            + "\n  ".join(different)
            + "\nUse the run's values to continue it, or choose another folder: --workdir=... "
            "(make train ARGS=--workdir=...)"
        )


def _differences_in_words(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> list[str]:
    """One line for each part, "train" or "validation", whose number or identity differs."""
    lines = []
    for part in sorted(set(theirs) | set(ours)):
        (count, identity), (our_count, our_identity) = (
            x.get(part, (0, "none")) for x in (theirs, ours)
        )
        if count != our_count:
            lines.append(f"{part} images: {count:,}, not {our_count:,}")
        elif identity != our_identity and identity.startswith("files "):
            lines.append(f"{part} images: {count:,} too, but other file names or another order")
        elif identity != our_identity:
            lines.append(f"{part} images: {identity}, not {our_identity}")
    return lines


def _upgraded(config: dict[str, Any]) -> dict[str, Any]:
    """A config of format 0 with the fields of format 1."""
    loss, train = dict(config.get("loss", {})), dict(config.get("train", {}))
    if "adversarial_warmup_steps" in loss:
        share = loss.pop("adversarial_warmup_steps") / train["steps"]
        loss["adversarial_warmup"] = min(share, 1.0)
    train.setdefault("epsilon", 1e-7)  # Keras's default.
    # In that version the average replaced the weights; it was not kept separately.
    if train.pop("ema_overwrite_frequency", None) is not None:
        train["ema_momentum"] = 0.0
    return {**config, "loss": loss, "train": train}


def _follows_steps(config: ExperimentConfig) -> bool:
    """Whether what a step computes depends on the total number of steps."""
    train = config.train
    return (
        train.schedule != "joint"
        or train.learning_rate_schedule != "constant"
        or config.loss.adversarial_warmup > 0
    )
