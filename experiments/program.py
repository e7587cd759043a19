"""How every program here ends: what its user can mend is one line, not a traceback."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable

from absl import app, logging

from pgi.errors import UserError


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
        except (UserError, OSError) as error:
            message = f"error: {error}"
        except KeyboardInterrupt:
            message = f"interrupted; {on_interrupt}"
        # Not inside `except`: the error would keep the data pipeline alive, whose threads then wait
        # for a Python that is going away.
        sys.exit(message)

    app.run(guarded, flags_parser=_parse_flags)


def _parse_flags(argv: list[str]) -> list[str]:
    try:
        return app.parse_flags_with_usage(argv)
    except (AttributeError, KeyError, TypeError, ValueError, OSError) as error:
        sys.exit(f"cannot read the flags: {error}")
