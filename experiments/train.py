"""Trains one experiment, or continues it.

    python -m experiments.train --config=experiments/configs/small.py --config.train.minutes=5

Any field of the config can be overridden by such a flag. `--dry-run` shows what would be trained.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import tensorflow as tf
from absl import flags
from tabulate import tabulate

import data
from data.licences import licence
from experiments import program
from pgi import images
from pgi.config import ExperimentConfig, to_dict
from pgi.evaluation.methods import Case, classical
from pgi.losses import hole_l1
from pgi.training import assembly, devices, examples, loop, summary
from pgi.training.reading import ImageSource
from pgi.training.run_folder import RunFolder
from pgi.training.workers import Workers


def main(argv: list[str]) -> None:
    """Trains what the flags describe, or shows it."""
    program.no_arguments(argv)
    config = program.read_config()
    if flags.FLAGS["dry-run"].value:
        print(json.dumps(to_dict(config), indent=2))
        print(summary.summarize(assembly.make_model(config), config.train.batch_size))
        return
    # First of all: TensorFlow must know of other workers before it lists devices.
    strategy = devices.choose(flags.FLAGS.strategy, config)
    workers = Workers(strategy)
    workdir = Path(flags.FLAGS.workdir or default_workdir(config))
    with workers.watched(), workers.sharing_errors():
        sources = data.load(config.data.dataset)
    photographs = f"{len(sources[0])} photographs, {len(sources[1])} held out"
    where = devices.describe(strategy)
    workers.say(f"Training on {where} with {photographs}; run folder {workdir}")
    terms = licence(config.data.dataset)
    last = loop.train(config, *sources, workdir, strategy, licence=terms)
    if workers.chief:
        _report(config, workdir, last, sources)


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
        print(f"Skipped images and folders, see the warnings above: {skipped}")
    if not last:
        print("There is no snapshot yet: no validation and no picture")
        return
    print(f"\nStep {last['step']}. L1 in the hole, validation, values in [-1, 1]:")
    rows = [
        (f"level {level} ({side} px)", last.get(f"validation/level_{level}/hole_l1"))
        for level, side in enumerate(config.model.levels)
    ]
    rows.append(("mean colour", last["validation/mean_colour_hole_l1"]))
    rows += classical_hole_l1(config, sources[1]).items()
    print(tabulate(rows, tablefmt="plain", floatfmt=".3f", missingval="not trained yet"))
    picture = RunFolder(workdir).picture(int(last["step"]))
    print(f"Run folder: {workdir}; newest picture: {picture}")


def classical_hole_l1(config: ExperimentConfig, source: ImageSource) -> dict[str, float]:
    """Hole L1 of the methods without training, on the validation examples of the highest level."""
    pyramid, masks = examples.validation_examples(config, source)
    pixels, holes = images.to_uint8(pyramid[-1]).numpy(), masks[-1].numpy()[..., 0] > 0.5
    found = {}
    for method in classical():
        if method.name != "mean_colour":  # Training measures it itself.
            filled = np.stack([method.fill(Case("", "", *x)) for x in zip(pixels, holes)])
            errors = hole_l1(pyramid[-1], images.to_float(filled), masks[-1])
            found[method.title] = float(tf.reduce_mean(errors))
    return found


def _define_flags() -> None:
    program.define_config()
    flags.DEFINE_string("workdir", None, "Run folder; default runs/CONFIG_DATASET.")
    text = "Devices: one, all local ones, or those of all workers in TF_CONFIG or Slurm."
    flags.DEFINE_enum("strategy", "auto", devices.STRATEGIES, text)
    flags.DEFINE_bool("dry-run", False, "Print config, output shapes and parameters; do not train.")


if __name__ == "__main__":
    remains = "the same command continues from the last checkpoint"
    program.run(main, _define_flags, remains, workers=True)
