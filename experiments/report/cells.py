"""Numbers as the cells of Markdown tables."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from pgi.evaluation.intervals import Estimate

# The least number of photographs for a star: an interval over fewer is not reliable.
STARRED = 10
# A narrow cell may only break between a mean and its interval.
_SPACE = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True)
class Metric:
    """How a metric's numbers are printed.

    Attributes:
        title: with an arrow to the better side.
        digits: of a mean, after the point.
        difference_digits: of a difference, which may be far smaller.
        best: `max` or `min`.
    """

    title: str
    digits: int
    difference_digits: int
    best: Callable[..., float]


METRICS = {
    "ssim": Metric("SSIM ↑", 3, 4, max),
    "psnr": Metric("PSNR ↑", 2, 2, max),
    "l1": Metric("L1 ↓", 3, 4, min),
}


def table(frame: pd.DataFrame, texts: int = 1) -> str:
    """A frame of strings as a Markdown table; the first columns are text, the rest numbers."""
    sides = ["left" if n < texts else "right" for n in range(frame.shape[1])]
    return str(frame.to_markdown(index=False, disable_numparse=True, colalign=sides))


def escape(text: object) -> str:
    """A text in one line, without a meaning in Markdown."""
    return re.sub(r"([\\|<`*])", r"\\\1", " ".join(str(text).split()))


def mean(x: Estimate, digits: int, bold: bool = False) -> str:
    """A mean, its spread over seeds if there are several, and its interval."""
    text = fixed(x.mean, digits)
    text = f"**{text}**" if bold else text
    if x.spread is not None and math.isfinite(x.spread):
        text += f"{_SPACE}±{_SPACE}{fixed(x.spread, digits)}"
    return text + _interval(x, digits)


def difference(x: Estimate, digits: int) -> str:
    """A difference and its interval; a star if the interval, as printed, excludes zero."""
    low, high = (round(end, digits) for end in x.interval or (0.0, 0.0))
    star = "*" if (low > 0 or high < 0) and x.n >= STARRED else ""
    return fixed(x.mean, digits, "+") + _interval(x, digits) + star


def fixed(number: float | None, digits: int, sign: str = "") -> str:
    """A number with that many digits after the point, never "-0.0"; "-" for None."""
    return "-" if number is None else f"{round(number, digits) + 0.0:{sign}.{digits}f}"


def _interval(x: Estimate, digits: int) -> str:
    if x.interval is None:
        return ""
    low, high = (fixed(end, digits) for end in x.interval)
    return f" [{low},{_SPACE}{high}]"
