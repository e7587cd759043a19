"""Trains and compares the variants of the paper's model: its Tables 3, 4 and 5, and more.

    python -m experiments.ablation --scale=tiny                    all variants
    python -m experiments.ablation --scale=small fusion dilation   of some tables
    python -m experiments.ablation --scale=paper --variant=pg      one of them

Every variant has the same seeds, photographs, masks and steps, apart from what it is named after.
The same command continues an interrupted run, and takes variants that other processes trained into
the same folder. A variant that diverges is recorded, and the others go on.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from absl import flags
from tensorflow import keras

import data
from data.licences import licence
from data.names import KNOWN
from experiments import evaluate, program
from experiments.variants import GROUPS, SCALES, VARIANTS, title, variant_config
from pgi.config import ExperimentConfig
from pgi.errors import NonFiniteLossError, RunFolderError
from pgi.evaluation import results
from pgi.evaluation.comparing import compare
from pgi.evaluation.methods import Trained
from pgi.evaluation.results import Evaluation
from pgi.evaluation.tasks import MASKED, TRUTH, Task
from pgi.metrics import PROTOCOLS
from pgi.rules import check, check_choice
from pgi.training import loop
from pgi.training.reading import ImageSource
from pgi.training.run_folder import RunFolder, step_of

# In a run folder, apart from the results of experiments.evaluate.
FOLDER = "ablation"


def train(config: ExperimentConfig, sources: tuple[ImageSource, ImageSource], folder: Path) -> None:
    """Trains a variant to its last step; if it diverges, its folder records that.

    Args:
        config: of the variant.
        sources: photographs to learn from, and held out.
        folder: its run folder, where an earlier run is continued.

    Raises:
        RunFolderError: the folder holds another run, or more steps than the config has.
    """
    held = RunFolder(folder)
    newest = held.newest_checkpoint()
    taken = (newest and newest.step) or 0
    if taken > config.train.steps:
        raise RunFolderError(
            f"{folder} must hold at most the {config.train.steps:,} steps that are compared, got "
            f"{taken:,}; more --steps, or another --workdir"
        )
    unchanged = (folder / "config.json").exists() and held.read_config() == config
    if not (unchanged and (taken == config.train.steps or held.read_divergence())):
        keras.backend.clear_session()
        try:
            loop.train(config, *sources, folder, licence=licence(config.data.dataset))
        except NonFiniteLossError as error:
            held.record_divergence(error.step, error.reason)


def run(
    names: Sequence[str], base: ExperimentConfig, seeds: int, tasks: Sequence[Task], root: Path
) -> list[str]:
    """Trains and measures variants, one after another; returns why some were left out.

    Args:
        names: of `VARIANTS`.
        base: the paper's model at some scale, with the dataset.
        seeds: number of trainings of each variant.
        tasks: crops and masks to measure all variants on.
        root: folder of the run folders, `VARIANT/seed_N`, which hold the results too.
    """
    sources = data.load(base.data.dataset)
    wanted = [(name, seed) for seed in range(seeds) for name in names]
    refused = []
    for number, (name, seed) in enumerate(wanted, start=1):
        config, folder = variant_config(name, base, seed), root / name / f"seed_{seed}"
        print(f"{number} of {len(wanted)}: {title(name, config)}, seed {seed}", flush=True)
        try:
            train(config, sources, folder)
        except RunFolderError as error:
            refused.append(str(error))
            print(f"left out: {error}", flush=True)
            continue
        method = Trained(folder, title=title(name, config))
        if method.diverged:
            how = "diverged at step {step}: {reason}".format(**method.diverged)
            print(f"{how}. To try again, remove {folder}", flush=True)
        compare([method], tasks, PROTOCOLS, folder / FOLDER)
    return refused


def collect(root: Path) -> None:
    """Joins the variants' results, and writes tables, figures and sheets of them.

    Variants that were trained for fewer steps than others are left out, with a message.

    Args:
        root: as for `run`; other processes may have filled it.

    Raises:
        RuleError: nothing was measured yet.
    """
    pattern = f"seed_*/{FOLDER}/{results.FILE}"
    files = [path for name in VARIANTS for path in sorted((root / name).glob(pattern))]
    check("root", "a folder with variants that were measured", bool(files), str(root))
    parts = [results.read(path) for path in files]
    steps = [_steps(part.evaluations[0]) for part in parts]
    kept = []
    for part, taken in zip(parts, steps):
        evaluation = part.evaluations[0]
        if taken == max(steps) or evaluation.diverged:
            kept.append(part)
        else:
            which = f"{evaluation.title}, seed {evaluation.seed}"
            print(f"left out of the tables: {which} has {taken:,} steps, not {max(steps):,}")
    results.write(root / results.FILE, results.join(kept))
    folders = [path.parent for path in files]
    pictures = {name: folders[0] / "pictures" / name for name in (TRUTH, MASKED)}
    for folder in folders:
        name = folder.parent.parent.name
        pictures.setdefault(name, folder / "pictures" / name)  # Those of the first seed.
    evaluate.report(root, "paper", pictures)


def _steps(evaluation: Evaluation) -> int:
    """The steps of the training, as if every variant took as many as the paper's model."""
    taken = step_of(evaluation.run.get("checkpoint")) or 0
    return taken // VARIANTS[evaluation.method].steps


def main(argv: list[str]) -> int:
    """Trains and compares the variants that the flags name; returns the exit status."""
    values, groups = flags.FLAGS, argv[1:]
    check("arguments", "groups, or --variant", not (groups and values.variant), groups)
    for group in groups:
        check_choice("group", tuple(GROUPS), group)
    names = values.variant or dict.fromkeys(x for g in groups or GROUPS for x in GROUPS[g])
    scale = SCALES[values.scale]
    scales_own = scale.base.data.dataset
    dataset = values.dataset or scales_own
    base = replace(
        scale.base,
        data=replace(scale.base.data, dataset=dataset),
        train=replace(scale.base.train, steps=values.steps or scale.base.train.steps),
    )
    tasks = evaluate.choose_tasks(
        values.get_flag_value("evaluated-on", None)
        or (scale.evaluated_on if dataset == scales_own else dataset),
        ["table_1"],
        base.model.levels[-1],
        base.data.crop,
        each=values.get_flag_value("crops-each", None) or scale.crops,
    )
    trained_on = results.file_name(dataset)
    root = Path(values.workdir or f"runs/ablation/{values.scale}_{trained_on}")
    refused = run(list(names), base, values.seeds, tasks, root)
    collect(root)
    if refused:
        print(f"{len(refused)} left out, for the reasons above", file=sys.stderr)
    return int(bool(refused))


def _define_flags() -> None:
    flags.DEFINE_enum("scale", "tiny", list(SCALES), "Levels, width and steps.")
    flags.DEFINE_multi_enum("variant", [], list(VARIANTS), "Only this one; may be repeated.")
    flags.DEFINE_integer("seeds", 1, "Number of trainings per variant.", lower_bound=1)
    flags.DEFINE_string("dataset", None, f"For training: {KNOWN}; default: the scale's.")
    flags.DEFINE_string(
        "evaluated-on", None, "Dataset to measure on; default: the scale's or --dataset."
    )
    flags.DEFINE_integer(
        "crops-each", None, "Crops per photograph; default: the scale's.", lower_bound=1
    )
    flags.DEFINE_integer("steps", None, "Training steps; default: the scale's.", lower_bound=1)
    flags.DEFINE_string("workdir", None, "Default: runs/ablation/SCALE_DATASET.")


if __name__ == "__main__":
    program.run(main, _define_flags, "the same command continues this run")
