"""What `pgi demo` does while its page is open, and how it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from pgi.demo.serving import Settings, serve
from pgi.inference import Inpainter

# Ctrl-C, the end of a service or container, a closed terminal.
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def serve_until_interrupted(
    inpainter: Inpainter, samples: Sequence[Path], settings: Settings
) -> NoReturn:
    """Serves the page until a signal, deletes its files, and ends the process.

    The process's status is 128 plus the signal's number. A photograph that is being filled does not
    hold up the end.
    """
    for number in _SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _interrupt)
    try:
        with serve(inpainter, samples, settings) as address:
            if settings.public:
                print(_warning(settings), file=sys.stderr)
            print(f"The page is at {address} until you press Ctrl-C.", flush=True)
            threading.Event().wait()
    except KeyboardInterrupt as interrupt:
        number = interrupt.args[0]
    with contextlib.suppress(OSError):  # The terminal may be closed.
        print(
            "interrupted; the page is closed, its uploads and results are deleted", file=sys.stderr
        )
        sys.stderr.flush()
    # Not by an exception: Python would wait for the thread that fills a photograph.
    os._exit(128 + number)


def _interrupt(number: int, frame: FrameType | None) -> None:
    for other in _SIGNALS:  # The files are deleted without another interruption.
        signal.signal(other, signal.SIG_IGN)
    raise KeyboardInterrupt(number)


def _warning(settings: Settings) -> str:
    login = "" if settings.accounts else "; --auth=FILE makes it ask for names and passwords"
    return (
        "warning: everyone who can reach this machine can use the page, and with it this machine's "
        f"computing time, memory and disk{login}. Passwords and photographs are sent unencrypted "
        "unless a proxy with TLS is put in front of the page (docs/INPAINTING.md)"
    )
