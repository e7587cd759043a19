"""Prepares a dataset, so that training can start at once.

    python -m data.prepare --dataset=places2 --manual_dir=/archives

On a cluster: see data/places2/README.md.
"""

from __future__ import annotations

from absl import flags

from data import prepared
from data.names import PREPARED, name_in_tfds
from experiments import program
from pgi.rules import check

_CHOICES = f"one of {', '.join(PREPARED)}, tfds:NAME"


def main(argv: list[str]) -> None:
    """Prepares the dataset that the flags name."""
    program.no_arguments(argv)
    values = flags.FLAGS
    name = name_in_tfds(values.dataset) or ""
    check("dataset to prepare", _CHOICES, bool(name), values.dataset)
    info = prepared.prepare(name, values.manual_dir, values.beam_pipeline_options).info
    counts = ", ".join(f"{x.num_examples:,} in {name}" for name, x in info.splits.items())
    print(f"{info.full_name} is ready in {info.data_dir}: {counts}")


def _define_flags() -> None:
    flags.DEFINE_string("dataset", None, f"Required: {_CHOICES}.", required=True)
    flags.DEFINE_string("manual_dir", None, "Folder of the official archives; default: TFDS's.")
    flags.DEFINE_list(
        "beam_pipeline_options",
        [],
        "Prepare it on Apache Beam with these options, such as "
        "runner=FlinkRunner,flink_master=localhost:8081.",
    )


if __name__ == "__main__":
    program.run(main, _define_flags, "nothing was kept")
