"""Trains one experiment, or goes on with it.

    python -m experiments.train --config=experiments/configs/small.py --config.train.minutes=5

Any field of the config can be overridden by such a flag. `--dry-run` shows what would be trained.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import tensorflow as tf
from absl import app, flags
from ml_collections import config_flags

import data
from experiments import program
from pgi import images
from pgi.config import ExperimentConfig, from_dict, to_dict
from pgi.errors import RuleError
from pgi.evaluation.methods import Case, classical
from pgi.losses import hole_l1
from pgi.training import loop, summary
from pgi.training.reading import ImageSource
from pgi.training.run_folder import RunFolder

_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "File whose get_config() is the experiment; required."
)
_WORKDIR = flags.DEFINE_string("workdir", None, "Run folder; default runs/CONFIG_DATASET.")
_DRY_RUN = flags.DEFINE_bool(
    "dry-run", False, "Print config, output shapes and parameters, and train nothing."
)


def main(argv: list[str]) -> None:
    """Trains what the flags describe, or shows it."""
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {' '.join(argv[1:])}")
    config = _checked_config()
    if _DRY_RUN.value:
        print(json.dumps(to_dict(config), indent=2))
        print(summary.summarize(loop.make_model(config), config.train.batch_size))
        return
    workdir = Path(_WORKDIR.value or default_workdir(config))
    sources = data.load(config.data.dataset)
    gpus = len(tf.config.list_logical_devices("GPU"))
    device = f"{gpus} GPU{'s' * (gpus > 1)}" if gpus else "the CPU"
    photographs = f"{len(sources[0])} photographs, {len(sources[1])} held out"
    print(f"Training on {device} with {photographs}; run folder {workdir}")
    last = loop.train(config, *sources, workdir)
    _report(config, workdir, last, sources)


def _checked_config() -> ExperimentConfig:
    if not isinstance(_CONFIG.value, ExperimentConfig):
        file = config_flags.get_config_filename(flags.FLAGS["config"]) if _CONFIG.value else None
        raise RuleError(f"--config must be a file whose get_config() gives a config, got {file}")
    return from_dict(to_dict(_CONFIG.value))  # Anew: flags set fields without checking them.


def default_workdir(config: ExperimentConfig) -> str:
    """`runs/small_samples`, `runs/places2`, `runs/paper_512_holidays` for `folder:/my/holidays`."""
    kind, _, place = config.data.dataset.partition(":")
    first = place.partition(",")[0] if kind == "flist" else place
    named = Path(first).name if kind in ("folder", "flist") else config.data.dataset
    dataset = re.sub(r"\W+", "_", named)
    return f"runs/{config.name}" + (f"_{dataset}" if dataset != config.name else "")


def _report(
    config: ExperimentConfig,
    workdir: Path,
    last: dict[str, float],
    sources: tuple[ImageSource, ImageSource],
) -> None:
    skipped = sum(len(source.skipped) for source in sources)
    if skipped:
        print(f"Files skipped as no usable image, see the warnings above: {skipped}")
    print(f"\nStep {last['step']}. L1 in the hole, validation, values in [-1, 1]:")
    for level, side in enumerate(config.model.levels):
        value = last.get(f"validation/level_{level}/hole_l1")
        shown = "not trained yet" if value is None else f"{value:.3f}"
        print(f"  {f'level {level} ({side} px)':<17} {shown}")
    print(f"  {'mean colour':<17} {last['validation/mean_colour_hole_l1']:.3f}")
    for title, value in classical_hole_l1(config, sources[1]).items():
        print(f"  {title:<17} {value:.3f}")
    picture = RunFolder(workdir).picture(int(last["step"]))
    print(f"Run folder: {workdir}; newest picture: {picture}")


def classical_hole_l1(config: ExperimentConfig, source: ImageSource) -> dict[str, float]:
    """Validation's hole L1 of the methods that need no training, at the highest level."""
    pyramid, masks = loop.validation_examples(config, source)
    pixels, holes = images.to_uint8(pyramid[-1]).numpy(), masks[-1].numpy()[..., 0] > 0.5
    found = {}
    for method in classical():
        if method.name != "mean_colour":  # Validation has its own.
            filled = np.stack([method.fill(Case("", "", *x)) for x in zip(pixels, holes)])
            errors = hole_l1(pyramid[-1], images.to_float(filled), masks[-1])
            found[method.title] = float(tf.reduce_mean(errors))
    return found


if __name__ == "__main__":
    program.run(main, "the same command goes on from the last checkpoint")
