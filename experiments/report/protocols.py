"""Which formulas and which free-form masks the paper may have used.

The paper says neither. This compares what fills of known quality measure under each candidate, a
protocol or a mask set, with the numbers that the paper publishes. docs/REPRODUCTION.md draws the
conclusions.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from experiments.report.cells import escape, fixed, table
from experiments.report.tables import published
from pgi.evaluation.results import Results, select
from pgi.metrics import METRICS, PROTOCOLS
from pgi.rules import check

# "hole" has no SSIM, which the paper reports.
CANDIDATES = tuple(name for name in PROTOCOLS if name != "hole")
MASKS = ("freeform", "union")
# The PSNR of rows that are compared differs by at most this, in dB.
NEAR = 1.0

# Titles, digits after the point, signs.
_SCORES = {
    "ssim": ("SSIM", 3, ""),
    "psnr": ("PSNR", 2, ""),
    "l1": ("L1", 3, ""),
    "ratio": ("L1 / RMSE", 3, ""),
}
_CHANGES = {
    "ssim": ("SSIM, difference", 3, "+"),
    "psnr": ("PSNR, difference", 2, "+"),
    "l1": ("L1, ratio", 2, ""),
    "ratio": ("L1 / RMSE, ratio", 2, ""),
}
_UNKNOWN = "not stated"
_READING = f"""\
# Candidates for the paper's formulas and masks

The paper gives no formulas of its metrics and does not say how its free-form masks are made. Here
is what the methods of these results measure under each candidate, beside the paper's Tables 1 and
2. Numbers are means over photographs; ranges go from the lowest method to the highest. RMSE is
10^(-PSNR / 20) of the mean PSNR, since the paper publishes only means. The paper's crops are of 512
and 1024 px, of other photographs than most results. `raw` differs from `standard` only for methods
that change known pixels.

"Rows near" counts the paper's rows whose PSNR differs from the method's by at most {NEAR:g} dB."""


def report(found: Results) -> str:
    """The comparison of all candidates as Markdown.

    Args:
        found: joined, so that all of it can be compared.

    Raises:
        RuleError: no candidate was measured under the square mask.
    """
    ours, paper, titles = measured_means(found), published_means(), found.titles()
    square, paper_square = (select(means, masks="center") for means in (ours, paper))
    rule = f"of the masks center, by one of {', '.join(CANDIDATES)}"
    check("results", rule, len(square) > 0, "none of them")
    changed = changes(ours)
    blocks = [
        _READING,
        "## Metrics under the square mask",
        table(_ranges(square, paper_square), texts=2),
        table(_near(square, paper_square, titles), texts=3),
    ]
    if len(changed):
        blocks += [
            "## Free-form masks against the square mask",
            "Numbers under free-form masks minus those under the square mask, or divided by them.",
            table(_changes(changed, changes(paper), titles), texts=4),
        ]
    return "\n\n".join([*blocks, *_not_measured(ours, titles)]) + "\n"


def measured_means(found: Results) -> pd.DataFrame:
    """Means with a row per place ("photos, 512 px"), protocol, masks and method.

    Columns: these four, the metrics, and "ratio", that of L1 to RMSE.
    """
    numbers = found.by_photograph()
    numbers = numbers[numbers.protocol.isin(CANDIDATES) & numbers.masks.isin(["center", *MASKS])]
    numbers = numbers.sort_values(["dataset", "size"])
    place = numbers.dataset + numbers["size"].map(", {} px".format)
    # In their own order, not the alphabet's.
    numbers = numbers.assign(
        place=pd.Categorical(place, place.unique()),
        protocol=pd.Categorical(numbers.protocol, CANDIDATES),
        method=pd.Categorical(numbers.method, list(found.titles())),
    )
    keys = ["place", "protocol", "masks", "method", "metric"]
    means = numbers.groupby(keys, observed=True).value.mean().unstack("metric")
    return _with_ratio(means.reindex(columns=METRICS).reset_index())


def published_means() -> pd.DataFrame:
    """The rows of the paper's Tables 1 and 2 that have numbers, as in `measured_means`."""
    rows = [
        {"place": f"Table {number}, {paper['names'][dataset]}", "protocol": _UNKNOWN}
        | {"masks": masks, "method": method, **scores}
        for number, paper in published()["comparisons"].items()
        for dataset, methods in paper["rows"].items()
        for method, by_masks in methods.items()
        for masks, scores in by_masks.items()
    ]
    return _with_ratio(pd.DataFrame(rows).dropna())


def changes(means: pd.DataFrame) -> pd.DataFrame:
    """Free-form masks against the square: ratios of L1 and "ratio", differences of the others."""
    square, others = means[means.masks == "center"], means[means.masks != "center"]
    keys = ["place", "protocol", "method"]
    both = others.merge(square, on=keys, suffixes=("", "_square"))
    return both.assign(
        ssim=both.ssim - both.ssim_square,
        psnr=both.psnr - both.psnr_square,
        l1=both.l1 / both.l1_square,
        ratio=both.ratio / both.ratio_square,
    )


def _with_ratio(means: pd.DataFrame) -> pd.DataFrame:
    return means.assign(ratio=means.l1 / 10 ** (-means.psnr / 20))


def _ranges(ours: pd.DataFrame, paper: pd.DataFrame) -> pd.DataFrame:
    """Of all methods together."""
    groups = [
        group
        for means in (paper, ours)
        for group in means.groupby(["place", "protocol"], observed=True)
    ]
    return pd.DataFrame(
        {"numbers of": escape(place), "protocol": protocol, "methods": str(len(rows))}
        | {title: _range(rows[x], digits, sign) for x, (title, digits, sign) in _SCORES.items()}
        for (place, protocol), rows in groups
    )


def _near(ours: pd.DataFrame, paper: pd.DataFrame, titles: Mapping[str, str]) -> pd.DataFrame:
    """Of each method, beside the published rows of like PSNR."""
    lines = []
    for own in ours.sort_values(["place", "method", "protocol"]).itertuples():
        near = paper[(paper.psnr - own.psnr).abs() <= NEAR]
        line = {"numbers of": escape(own.place), "method": escape(titles[own.method])}
        line |= {"protocol": own.protocol, "PSNR": fixed(own.psnr, 2), "rows near": str(len(near))}
        for name in ("ssim", "l1", "ratio"):
            title, digits, sign = _SCORES[name]
            line[title] = fixed(getattr(own, name), digits, sign)
            line[f"{title}, published near"] = _range(near[name], digits, sign)
        lines.append(line)
    return pd.DataFrame(lines)


def _changes(ours: pd.DataFrame, paper: pd.DataFrame, titles: Mapping[str, str]) -> pd.DataFrame:
    """Of the published rows together, then of each method."""
    lines = [
        {"numbers of": place, "method": f"{len(rows)} rows", "protocol": _UNKNOWN}
        | {"masks": _UNKNOWN}
        | {title: _range(rows[x], digits, sign) for x, (title, digits, sign) in _CHANGES.items()}
        for place, rows in [*paper.groupby("place"), ("Tables 1 and 2", paper)]
    ]
    for own in ours.sort_values(["place", "masks", "method", "protocol"]).itertuples():
        line = {"numbers of": escape(own.place), "method": escape(titles[own.method])}
        line |= {"protocol": own.protocol, "masks": own.masks}
        for name, (title, digits, sign) in _CHANGES.items():
            line[title] = fixed(getattr(own, name), digits, sign)
        lines.append(line)
    return pd.DataFrame(lines)


def _not_measured(ours: pd.DataFrame, titles: Mapping[str, str]) -> list[str]:
    """A note of the candidates that have no numbers, of which the tables have no rows."""
    lines: dict[tuple[str, str], list[str]] = {}
    for (place, method), rows in ours.groupby(["place", "method"], observed=True):
        measured = {*zip(rows.protocol, rows.masks)}
        parts = []
        for protocol in CANDIDATES:
            missing = [x for x in ("center", *MASKS) if (protocol, x) not in measured]
            if missing:
                parts.append(f"{protocol} ({', '.join(missing)})")
        if parts:
            lines.setdefault((place, ", ".join(parts)), []).append(escape(titles[method]))
    notes = [
        f"- {escape(place)}, {', '.join(methods)}: {parts}"
        for (place, parts), methods in lines.items()
    ]
    return ["## Not in the results", "\n".join(notes)] if notes else []


def _range(numbers: pd.Series, digits: int, sign: str) -> str:
    """The least and the greatest of numbers, or the only one; "-" without any."""
    ends = (fixed(x, digits, sign) for x in (numbers.min(), numbers.max()))
    return " to ".join(dict.fromkeys(ends)) if len(numbers) else "-"
