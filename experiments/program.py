"""How every program here ends: what its user can mend is one line, not a traceback.

And how those begin that make something of results files.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from absl import app, flags, logging

from pgi.callbacks import NonFiniteLossError
from pgi.evaluation import results
from pgi.metrics import PROTOCOLS
from pgi.reading import NoUsableImageError
from pgi.rules import RuleError
from pgi.run_folder import RunFolderError


def run(main: Callable[[list[str]], None], on_interrupt: str) -> None:
    """Runs a program, with its flags parsed; ends the process.

    Args:
        main: takes what is left of the command line.
        on_interrupt: what Ctrl-C leaves the user with.
    """

    def guarded(argv: list[str]) -> None:
        logging.set_verbosity(logging.WARNING)  # TFDS tells much else, at length.
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="replace")  # Arrows, on a terminal that has none.
        try:
            main(argv)
            message = None
        except (
            RuleError,
            NoUsableImageError,
            RunFolderError,
            NonFiniteLossError,
            OSError,
        ) as error:
            message = f"error: {error}"
        except KeyboardInterrupt:
            message = f"interrupted; {on_interrupt}"
        # Not inside `except`: the error would keep the data pipeline alive, whose threads then wait
        # for a Python that is going away.
        sys.exit(message)

    app.run(guarded, flags_parser=_parse_flags)


def define_results_flags() -> None:
    """Defines --protocol and --output, for a program that calls `read_results`.

    To be called before `run`, not on import: tests import several programs into one process.
    """
    flags.DEFINE_enum("protocol", "paper", list(PROTOCOLS), "Whose numbers are taken.")
    flags.DEFINE_string("output", None, "Folder to write to; default: that of the first file.")


def read_results(argv: Sequence[str]) -> tuple[results.Results, Path]:
    """The results files that a command line names, joined, and the folder to write to.

    Raises:
        UsageError: it names none.
        RuleError: a file holds something else, or they cannot be compared.
        OSError: a file cannot be read.
    """
    paths = [Path(name) for name in argv[1:]]
    if not paths:
        raise app.UsageError("name one results file or more")
    output = flags.FLAGS.output
    return results.join(map(results.read, paths)), Path(output or paths[0].parent)


def _parse_flags(argv: list[str]) -> list[str]:
    try:
        return app.parse_flags_with_usage(argv)
    except (AttributeError, KeyError, TypeError, ValueError, OSError) as error:
        sys.exit(f"cannot read the flags: {error}")
