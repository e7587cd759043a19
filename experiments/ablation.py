"""Trains and compares the variants of the paper's model: its Tables 3, 4 and 5, and more.

    python -m experiments.ablation --scale=tiny                    all variants
    python -m experiments.ablation --scale=small fusion dilation   of some tables
    python -m experiments.ablation --scale=paper --variant=pg      one of them

Every variant has the same seeds, data, masks and steps. The same command goes on where it stopped;
variants that other processes trained into the same folder are taken as they are. A variant that
diverges is recorded so, and stops no other.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from absl import app, flags
from tensorflow import keras

import data
from experiments import program
from experiments.variants import GROUPS, SCALES, VARIANTS, title, variant_config
from pgi import training
from pgi.callbacks import NonFiniteLossError
from pgi.config import ExperimentConfig
from pgi.reading import ImageSource
from pgi.run_folder import write_atomically

_SCALE = flags.DEFINE_enum("scale", "tiny", list(SCALES), "Sizes, width and steps together.")
_VARIANT = flags.DEFINE_multi_enum(
    "variant", None, list(VARIANTS), "Only this variant; may be given several times."
)
_SEEDS = flags.DEFINE_integer("seeds", 1, "How many times each is trained.", lower_bound=1)
_DATASET = flags.DEFINE_string("dataset", None, "To train on; default: the scale's.")
_STEPS = flags.DEFINE_integer("steps", None, "Of training; default: the scale's.", lower_bound=1)
_WORKDIR = flags.DEFINE_string("workdir", None, "Default: runs/ablation/SCALE.")


def train(
    config: ExperimentConfig, sources: tuple[ImageSource, ImageSource], folder: Path
) -> dict[str, Any] | None:
    """Trains a variant to its end, unless it diverges.

    Args:
        config: of the variant.
        sources: photographs to learn from, and held out.
        folder: its run folder, which may hold a part of the run, or all.

    Returns:
        None, or the step and the reason of its divergence, which the folder keeps.
    """
    record = folder / "diverged.json"
    if not record.exists():
        try:
            keras.backend.clear_session()
            training.train(config, *sources, folder)
            return None
        except NonFiniteLossError as error:
            diverged = {"step": error.step, "reason": error.reason}
            write_atomically(record, json.dumps(diverged, indent=2).encode() + b"\n")
    return json.loads(record.read_bytes())


def main(argv: list[str]) -> None:
    """Trains what the flags name."""
    groups = argv[1:]
    if unknown := sorted(set(groups) - set(GROUPS)):
        raise app.UsageError(f"unknown group {unknown[0]}; there are: {', '.join(GROUPS)}")
    names = _VARIANT.value or dict.fromkeys(x for group in groups or GROUPS for x in GROUPS[group])
    root = Path(_WORKDIR.value or f"runs/ablation/{_SCALE.value}")
    configs = {
        (name, seed): _override(variant_config(name, _SCALE.value, seed))
        for seed in range(_SEEDS.value)
        for name in names
    }
    sources = data.load(next(iter(configs.values())).data.dataset)
    for number, ((name, seed), config) in enumerate(configs.items(), start=1):
        print(f"{number} of {len(configs)}: {title(name, config)}, seed {seed}", flush=True)
        diverged = train(config, sources, root / name / f"seed_{seed}")
        if diverged:
            print(f"diverged at step {diverged['step']}: {diverged['reason']}", flush=True)


def _override(config: ExperimentConfig) -> ExperimentConfig:
    return replace(
        config,
        data=replace(config.data, dataset=_DATASET.value or config.data.dataset),
        train=replace(config.train, steps=_STEPS.value or config.train.steps),
    )


if __name__ == "__main__":
    program.run(main, "the same command goes on where this stopped")
