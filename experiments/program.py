"""What all programs share: flags, error messages and exit statuses.

Exit status: 0 done, 1 something failed, 2 it could not start, 75 another worker of the training is
lost (to be started again), 128 + N interrupted by signal N: 130 by Ctrl-C, and in a training also
143 by SIGTERM, 138 by SIGUSR1.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path

from absl import app, flags, logging
from ml_collections import config_flags

from pgi.config import ExperimentConfig, from_dict, to_dict
from pgi.errors import Interrupted, LostWorkerError, UserError
from pgi.rules import check
from pgi.training import cluster


def run(
    main: Callable[[list[str]], int | None],
    define_flags: Callable[[], None],
    on_interrupt: str,
    workers: bool = False,
) -> None:
    """Runs a program and ends the process.

    Errors that a user can fix are printed as one line, without a traceback.

    Args:
        main: takes the command line without its flags; returns the exit status, None for 0.
        define_flags: called before the flags are parsed, and not on import, since tests import
            several programs that have flags of the same name.
        on_interrupt: what remains after Ctrl-C, for the message.
        workers: whether several processes may run it together, as TF_CONFIG describes them.
    """

    def guarded(argv: list[str]) -> int | None:
        logging.set_verbosity(logging.WARNING)  # TFDS logs much at level INFO.
        if isinstance(sys.stdout, io.TextIOWrapper):
            # File names may not be valid text, and a terminal may lack arrows.
            sys.stdout.reconfigure(errors="backslashreplace")
        try:
            if not workers:
                cluster.refuse()
            return main(argv)
        except Interrupted as error:
            status, message = 128 + error.signal, f"{error}; {on_interrupt}"
        except LostWorkerError as error:
            status, message = os.EX_TEMPFAIL, f"error: {error}; {on_interrupt}"
        except (UserError, app.UsageError, OSError) as error:
            status, message = 2, f"error: {error}"
        except KeyboardInterrupt:
            status, message = 130, f"interrupted; {on_interrupt}"
        # Not inside `except`: there the exception would keep the data pipeline alive, and its
        # threads would wait forever for the interpreter that is shutting down.
        print(message, file=sys.stderr)
        return status

    def parse_flags(argv: list[str]) -> list[str]:
        try:
            define_flags()
            return flags.FLAGS(argv)
        except Exception as error:  # A config file is a program and may raise anything.
            print(f"cannot read the flags: {error}", file=sys.stderr)
            sys.exit(2)

    app.run(guarded, flags_parser=parse_flags)


def no_arguments(argv: list[str]) -> None:
    """Raises RuleError if the command line has anything besides flags."""
    check("arguments", "flags only", len(argv) == 1, " ".join(argv[1:]))


def define_config(default: Path | None = None) -> None:
    """Defines `--config`, a Python file, and `--config.FIELD` for every field of its config."""
    config_flags.DEFINE_config_file(
        "config",
        default and str(default),
        f"File whose get_config() is the experiment; {'required' if default is None else default}. "
        "It is a program: run none from a stranger.",
    )


def read_config() -> ExperimentConfig:
    """The config that the flags describe.

    Raises:
        RuleError: no config file was given, it has no config, or a field breaks its rule.
    """
    config = flags.FLAGS.config
    file = config_flags.get_config_filename(flags.FLAGS["config"]) if config else None
    rule = "a file whose get_config() gives a config"
    check("--config", rule, isinstance(config, ExperimentConfig), file)
    return from_dict(to_dict(config))  # Checks the fields, which flags set without checks.
