"""The command line of the programs that read results tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from absl import app, flags

from pgi.evaluation import results
from pgi.metrics import PROTOCOLS


def define_flags() -> None:
    """Defines --protocol and --output.

    Call it before `run`, not on import: tests import several programs into one process.
    """
    flags.DEFINE_enum("protocol", "paper", list(PROTOCOLS), "Of the numbers.")
    define_output()


def define_output() -> None:
    """Defines --output alone."""
    flags.DEFINE_string("output", None, "Folder to write to; default: that of the first file.")


def read(argv: Sequence[str]) -> tuple[results.Results, Path]:
    """The results tables that a command line names, joined, and the folder to write to.

    Raises:
        UsageError: it names none.
        RuleError: a file is no results table, or they cannot be compared.
        OSError: a file cannot be read.
    """
    paths = [Path(name) for name in argv[1:]]
    if not paths:
        raise app.UsageError("name one results table or more: results.csv.gz")
    output = flags.FLAGS.output
    return results.join(map(results.read, paths)), Path(output or paths[0].parent)
