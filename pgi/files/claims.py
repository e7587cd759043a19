"""Which process fills which picture, if several share an output folder."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from pgi.atomic import refuse_link


@contextlib.contextmanager
def claimed(output: Path) -> Iterator[bool]:
    """Whether a file does not exist yet and no other process is making it.

    While the context lasts, the same question of another process, also on another machine if the
    file system has locks, is answered with False. A killed process leaves an empty hidden file that
    claims nothing. Where files cannot be locked, nothing is claimed.
    """
    if output.is_file():
        yield False
        return
    claim = output.with_name(f".{output.name}.claim")
    with contextlib.ExitStack() as stack:
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(open(claim, "ab", opener=refuse_link))
            # Deleted while it is locked: who opened it before finds the output instead.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            stack.callback(claim.unlink, missing_ok=True)
        except BlockingIOError:
            yield False
            return
        except OSError:  # A folder that cannot be written: writing the picture will say so.
            yield True
            return
        # Perhaps the other has just finished.
        yield not output.is_file()
