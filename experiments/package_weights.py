r"""Puts the weights of a training into the package: `pgi/weights/NAME/`, with its model card.

    python -m experiments.package_weights --run=runs/wide/best/step-20500 --dataset=photos/wide \
      --hours=10

The same command after `make evaluate` leaves the weights as they are and adds the results to the
model card. A wheel that is built from the tree contains what it wrote; git must be told.
"""

from __future__ import annotations

import runpy
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from absl import flags

from data.licences import recorded_licence
from data.names import KNOWN
from experiments import program
from pgi import deepfillv2, weights
from pgi.config import ExperimentConfig, to_dict
from pgi.export.weights_folder import Origin, export_weights
from pgi.rules import check
from pgi.training.run_folder import Checkpoint
from pgi.training.weights_file import find

_CONFIGS = Path(__file__).parent / "configs"
_LICENCE = (
    "Apache-2.0, as pgi itself. The weights were computed from the photographs below, which keep "
    "their own licences."
)


def training_command(config: ExperimentConfig) -> str:
    """The command of `experiments.train` that trains with a config.

    Raises:
        RuleError: no config file has the config's name.
    """
    files = {
        runpy.run_path(str(path))["get_config"]().name: path
        for path in sorted(_CONFIGS.glob("[!_]*.py"))
    }
    rule = f"one of those in experiments/configs ({', '.join(files)})"
    check("the config's name", rule, config.name in files, config.name)
    file = files[config.name]
    default = runpy.run_path(str(file))["get_config"]()
    changed = _changes(to_dict(default), to_dict(config), "--config.")
    command = ["python", "-m", "experiments.train", f"--config=experiments/configs/{file.name}"]
    return shlex.join([*command, *changed])


def _changes(ours: Mapping[str, Any], theirs: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for key, value in theirs.items():
        if isinstance(value, Mapping):
            yield from _changes(ours[key], value, f"{prefix}{key}.")
        elif value != ours[key]:
            yield f"{prefix}{key}={value}"


def _place(path: str | Path) -> str:
    """A path's run folder, and checkpoint if it names one, without where that lies."""
    parts = Path(path).parts
    count = 3 if parts[-2:-1] and parts[-2] in ("best", "checkpoints", "milestones") else 1
    return "/".join(("runs", *parts[-count:]))


def _foreign(checkpoint: Checkpoint) -> bool:
    """Whether it, or a training that it started from, has weights of DeepFillv2's own program.

    Raises:
        RunFolderError: a training that it started from is not there.
    """
    if checkpoint.run.imported():
        return True
    start = checkpoint.run.read_config().train.initial_weights
    return bool(start) and (bool(deepfillv2.split_source(start)) or _foreign(find(start)))


def main(argv: list[str]) -> None:
    """Packages the run that the flags name."""
    program.no_arguments(argv)
    values = flags.FLAGS
    check("--run", "a run folder or one of its checkpoints", bool(values.run), values.run)
    check("--hours", "positive", (values.hours or 0) > 0, values.hours)
    checkpoint = Checkpoint.find(Path(values.run).expanduser())
    config = checkpoint.run.read_config()
    config.data.dataset = values.dataset or config.data.dataset
    start = config.train.initial_weights
    rule = "trained here from the start: other weights have a licence of their own"
    check("--run", rule, not _foreign(checkpoint), values.run)
    if start:
        config.train.initial_weights = start if start in weights.names() else _place(start)
    terms = recorded_licence(config.data.dataset)
    rule = "a dataset whose images' licence is recorded in data/"
    check("--dataset", rule, terms is not None, config.data.dataset)
    command = ["python", "-m", "experiments.package_weights"]
    command += [f"--run={_place(checkpoint.prefix.resolve())}", f"--name={values.name}"]
    command += [f"--dataset={config.data.dataset}", f"--hours={values.hours:g}"]
    evaluations = [checkpoint.run.path / "evaluation", *values.evaluation]
    origin = Origin(
        config,
        terms or "",
        _LICENCE,
        [training_command(config), shlex.join(command)],
        values.hours,
        values.limit,
        [Path(x).expanduser() for x in evaluations],
    )
    made = export_weights(checkpoint, weights.FOLDER / values.name, origin)
    print(f"{made.prefix}: {made.prefix.stat().st_size:,} bytes, SHA-256 {made.sha256}")
    print(
        f"Results differ from {checkpoint}'s by at most {made.origin['largest_difference']:.2g} of "
        f"255 in the holes of photographs; numbers of evaluations: {len(made.origin['measured'])}"
    )


def _define_flags() -> None:
    flags.DEFINE_string("run", None, "Run folder, or one of its checkpoints; required.")
    flags.DEFINE_string("name", weights.DEFAULT, "Of the weights.")
    flags.DEFINE_string("dataset", None, f"Name of the data: {KNOWN}; default: the run's.")
    flags.DEFINE_float("hours", None, "Hours that the training took, in all; required.")
    flags.DEFINE_multi_string("limit", [], "A sentence for the model card's known limits.")
    flags.DEFINE_list(
        "evaluation", "runs/evaluation", "Folders of `make evaluate`, beside the run's own."
    )


if __name__ == "__main__":
    program.run(main, _define_flags, "the weights may be half written; start again")
