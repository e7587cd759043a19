"""Prepares a dataset, so that training can begin at once.

    python -m data.prepare --dataset=places2 --manual_dir=/archives

On a cluster: see data/places2/README.md.
"""

from __future__ import annotations

import sys

from absl import app, flags, logging

from data import prepared
from data.datasets import PREPARED, name_in_tfds
from pgi.errors import NoUsableImageError, RuleError
from pgi.rules import check

_DATASET = flags.DEFINE_string(
    "dataset", None, f"One of {', '.join(PREPARED)}, tfds:NAME.", required=True
)
_MANUAL_DIR = flags.DEFINE_string(
    "manual_dir", None, "Folder with the official archives; default: TFDS's."
)
_BEAM = flags.DEFINE_list(
    "beam_pipeline_options",
    [],
    "Prepare it on Apache Beam with these options, such as "
    "runner=FlinkRunner,flink_master=localhost:8081.",
)


def main(argv: list[str]) -> None:
    """Prepares what the flags name."""
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {' '.join(argv[1:])}")
    logging.set_verbosity(logging.WARNING)  # TFDS tells much else, at length.
    try:
        name = name_in_tfds(_DATASET.value) or ""
        known = f"one of {', '.join(PREPARED)}, tfds:NAME"
        check("dataset to prepare", known, bool(name), _DATASET.value)
        info = prepared.prepare(name, _MANUAL_DIR.value, _BEAM.value).info
    except (RuleError, NoUsableImageError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted; nothing was kept")
    counts = ", ".join(f"{x.num_examples:,} in {name}" for name, x in info.splits.items())
    print(f"{info.full_name} is ready in {info.data_dir}: {counts}")


if __name__ == "__main__":
    app.run(main)
