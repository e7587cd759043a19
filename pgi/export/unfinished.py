"""Folders of exports that are being written; the next export deletes what a killed one has left."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn

from pgi.atomic import refuse_link

PREFIX = ".export-"
# Locked (flock) while its export runs, and free as soon as that ends, however it ends.
_LOCK = "lock"


@contextlib.contextmanager
def unfinished_folder(base: Path) -> Iterator[Path]:
    """A new folder `.export-*` in `base`, which is deleted at the end.

    At the start, those of exports that no longer run are deleted. Where a file system has no locks,
    it is unknown which these are, and they stay.
    """
    for folder in base.glob(f"{PREFIX}*"):
        _delete_if_abandoned(folder)
    folder, lock = _new_folder(base)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Within it, SIGINT raises KeyboardInterrupt and SIGTERM SystemExit, with status 143.

    So temporary files are deleted. It also holds where TensorFlow, in whose callbacks either may be
    raised, turns it into another error. Signals that are ignored stay so, and in another thread
    than the main one nothing changes, because Python does not allow handlers there.
    """
    came: list[int] = []

    def end(number: int, frame: FrameType | None) -> NoReturn:
        came.append(number)
        raise _ended(number)

    main = threading.current_thread() is threading.main_thread()
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    handlers = {x: y for x, y in usual.items() if main and signal.getsignal(x) == y}
    for number in handlers:
        signal.signal(number, end)
    try:
        yield
    except Exception as error:
        if came:
            raise _ended(came[0]) from error
        raise
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _ended(number: int) -> BaseException:
    return KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)


def _new_folder(base: Path) -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(dir=base, prefix=PREFIX))
        # Another export may take the folder for an abandoned one until it is locked.
        with contextlib.suppress(FileNotFoundError):
            lock = _open_lock(folder)
            with contextlib.suppress(OSError):  # No locks in this file system.
                fcntl.flock(lock, fcntl.LOCK_EX)
            if folder.exists():
                return folder, lock
            os.close(lock)


def _delete_if_abandoned(folder: Path) -> None:
    # OSError: locked, without locks, a link, of another user, or just deleted.
    with contextlib.suppress(OSError):
        if folder.is_symlink():
            return
        lock = _open_lock(folder)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)


def _open_lock(folder: Path) -> int:
    return refuse_link(os.fspath(folder / _LOCK), os.O_RDWR | os.O_CREAT)
