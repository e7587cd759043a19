"""Tables and numbers as GitHub's Markdown."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from pgi.evaluation.intervals import Estimate
from pgi.rules import check

# A narrow cell may break between a mean and its interval, and at no other place.
_SPACE = "\N{NO-BREAK SPACE}"

# The fewest photographs whose interval is taken to say something of zero.
STARRED = 10


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
    best: Callable[..., float | None]


METRICS = {
    "ssim": Metric(f"SSIM{_SPACE}↑", 3, 4, max),
    "psnr": Metric(f"PSNR{_SPACE}↑", 2, 2, max),
    "l1": Metric(f"L1{_SPACE}↓", 3, 4, min),
}


def table(header: Sequence[str], rows: Iterable[Sequence[str]], texts: int = 1) -> str:
    """A table whose first columns, as many as `texts`, are aligned as text, the rest as numbers.

    Raises:
        RuleError: a row has more cells than the header, or fewer.
    """
    rule = ["---"] * texts + ["---:"] * (len(header) - texts)
    lines = [header, rule, *rows]
    for line in lines:
        check("row", f"of {len(header)} cells", len(line) == len(header), line)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def escape(text: object) -> str:
    """A text as a cell or a part of a line, which then means nothing else in Markdown."""
    return re.sub(r"([\\|<`*])", r"\\\1", " ".join(str(text).split()))


def mean(x: Estimate, digits: int, bold: bool = False) -> str:
    """A mean, its spread over seeds if there are several, and its interval."""
    text = fixed(x.mean, digits)
    text = f"**{text}**" if bold else text
    if x.spread is not None and math.isfinite(x.spread):
        text += f"{_SPACE}±{_SPACE}{fixed(x.spread, digits)}"
    return text + _interval(x, digits)


def difference(x: Estimate, digits: int) -> str:
    """A difference and its interval, with a star if that, as it is printed, excludes zero.

    Not if it is of fewer photographs than `STARRED`: of two, an interval is what lies between them.
    """
    low, high = (round(end, digits) for end in x.interval or (0.0, 0.0))
    excludes_zero = (low > 0 or high < 0) and x.n >= STARRED
    return fixed(x.mean, digits, "+") + _interval(x, digits) + ("*" if excludes_zero else "")


def fixed(number: float | None, digits: int, sign: str = "") -> str:
    """So many digits after the point; "-" for None, as in the paper; zero is never negative."""
    if number is None:
        return "-"
    return f"{round(number, digits) + 0.0:{sign}.{digits}f}"


def duration(seconds: float | None) -> str:
    """A time with two digits or more: "85 ms", "1.2 s", "3 min"; nothing for None."""
    if seconds is None:
        return ""
    if seconds < 0.9995:
        number, unit = 1000 * seconds, "ms"
    elif seconds < 59.5:
        number, unit = seconds, "s"
    else:
        number, unit = seconds / 60, "min"
    return f"{number:.{2 if number < 9.95 else 3}g}{_SPACE}{unit}"


def _interval(x: Estimate, digits: int) -> str:
    if x.interval is None:
        return ""
    low, high = (fixed(end, digits) for end in x.interval)
    return f" [{low},{_SPACE}{high}]"
