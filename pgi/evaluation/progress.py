"""Progress bars on stderr."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm

_DELAY = 3.0


def progress(title: str, total: int, done: int = 0, unit: str = "photograph") -> tqdm[Any]:
    """A bar that appears if the work takes more than some seconds.

    Args:
        title: at the bar's left.
        total: number of units of work.
        done: number of them that an earlier call did.
        unit: what is counted.
    """
    interval = 0.1 if sys.stderr.isatty() else 60  # A log file gets one line a minute.
    return tqdm(
        desc=title,
        total=total,
        initial=done,
        unit=unit,
        delay=_DELAY,
        leave=False,
        mininterval=interval,
        maxinterval=max(interval, 10),
    )
