"""The paper's Figures 6 and 7, drawn from results.

Figure 6 is drawn for every dataset and size measured under several of the masks ratio_15 to
ratio_55, Figure 7 for every dataset of which the same photographs were measured at several sizes
under the masks "center". Of the ablations' variants only ours and the baselines are drawn; the
others have their tables.
"""

from __future__ import annotations

import io
import itertools
import math
import textwrap
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from experiments.variants import OURS, VARIANTS
from pgi.atomic import write_atomically
from pgi.evaluation.intervals import Estimate, estimate
from pgi.evaluation.results import Results, file_name, matrix, select

SHARES = (15, 25, 35, 45, 55)

_METRICS = {"l1": "L1", "psnr": "PSNR"}
# Colour, marker and line: the paper's red, green and blue, in shades that the colour-blind can
# tell apart.
_STYLES = {
    "deepfillv2": ("#cc3311", "s", "--"),
    "deepfillv2_dagger": ("#009944", "^", "-."),
    OURS: ("#0077bb", "o", "-"),
}
_COLOURS = ("#ee7733", "#33bbee", "#ee3377", "#888888", "#000000")
_MARKERS = ("D", "v", "P", "X", "*", "<", ">")
_LINES = (":", (0, (6, 2)), (0, (3, 1, 1, 1)))
# Letters per line.
_TITLE, _LEGEND = 130, 32

# A method's means and intervals by place on the x axis.
Curve = dict[int, Estimate]


def draw(found: Results, output: Path, protocol: str) -> list[Path]:
    """Writes all figures that the results have the numbers for; returns their paths.

    Args:
        found: the results.
        output: folder of the files, `figure_6_DATASET_SIZE.png` and `figure_7_DATASET.png`.
        protocol: of `pgi.metrics.PROTOCOLS`.

    Raises:
        OSError: a file cannot be written.
    """
    figures: dict[Path, Figure | None] = {}
    sizes = sorted({(x.dataset, x.size) for x in found.crop_lists})
    for dataset, of_dataset in itertools.groupby(sizes, key=lambda x: x[0]):
        stem = file_name(dataset)
        for _, size in of_dataset:
            path = output / f"figure_6_{stem}_{size}.png"
            figures[path] = figure_6(found, dataset, size, protocol)
        figures[output / f"figure_7_{stem}.png"] = figure_7(found, dataset, protocol)
    drawn = {path: figure for path, figure in figures.items() if figure}
    for path, figure in drawn.items():
        picture = io.BytesIO()
        figure.savefig(picture, format="png", pil_kwargs={"optimize": True})
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, picture.getvalue())
    return list(drawn)


def figure_6(found: Results, dataset: str, size: int, protocol: str) -> Figure | None:
    """L1 and PSNR against the hole's share of the image, under central squares.

    Lines are means over photographs, bands their 95 % bootstrap intervals (the paper's Figure 6 has
    none). None if there are numbers of fewer than two shares.

    Args:
        found: the results.
        dataset: of the crops.
        size: side of the crops in pixels.
        protocol: of `pgi.metrics.PROTOCOLS`.
    """
    numbers = select(found.by_photograph(), dataset=dataset, size=size, protocol=protocol)
    shares = {f"ratio_{share}": share for share in SHARES}
    numbers = numbers[numbers.masks.isin(shares)]
    numbers = numbers.assign(x=numbers.masks.map(shares))
    figure = _plot(found, numbers, f"{dataset}, {size} px, central square hole", protocol)
    for axes in figure.axes if figure else ():
        axes.set_xlabel("hole, % of the image")
    return figure


def figure_7(found: Results, dataset: str, protocol: str) -> Figure | None:
    """L1 and PSNR against the image's side, under the masks "center"; else as `figure_6`.

    All sizes show the same photographs, those that every size has: small photographs have no large
    crops, and others in their place would bend the curves. None if there is no such photograph.
    """
    numbers = select(found.by_photograph(), dataset=dataset, masks="center", protocol=protocol)
    numbers = _drawn(numbers.assign(x=numbers["size"]))
    sizes = numbers.groupby("photograph")["size"].transform("nunique")
    numbers = numbers[sizes == numbers["size"].nunique()]
    subject = f"{dataset}, central square hole of half the side"
    figure = _plot(found, numbers, subject, protocol, "the same ")
    for axes in figure.axes if figure else ():
        ticks = axes.get_xticks()
        axes.set_xscale("log", base=2)
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.set_xlabel("side of the image, px")
    return figure


def _drawn(numbers: pd.DataFrame) -> pd.DataFrame:
    """The numbers of the methods that get a line, in the metrics that get a panel."""
    variants = numbers.method.isin(VARIANTS) & ~numbers.method.isin(_STYLES)
    return numbers[~variants & numbers.metric.isin(_METRICS)]


def _plot(
    found: Results, numbers: pd.DataFrame, subject: str, protocol: str, same: str = ""
) -> Figure | None:
    """A panel per metric; `numbers` have their place on the x axis in the column "x"."""
    panels: dict[str, dict[str, Curve]] = {}
    for (metric, method, x), rows in _drawn(numbers).groupby(["metric", "method", "x"]):
        if np.isfinite(rows.value).all():  # PSNR is infinite where a result is the truth.
            panels.setdefault(metric, {}).setdefault(method, {})[x] = estimate(matrix(rows))
    points = [(x, y.n) for panel in panels.values() for c in panel.values() for x, y in c.items()]
    if len({x for x, _ in points}) < 2:
        return None
    figure = Figure(figsize=(12, 5), dpi=100, layout="constrained")
    lines: dict[str, Line2D] = {}
    shown = [metric for metric in _METRICS if metric in panels]
    for letter, axes, metric in zip("ab", figure.subplots(1, len(shown), squeeze=False)[0], shown):
        axes.set_title(f"({letter}) {_METRICS[metric]}")
        axes.set_ylabel(_axis_label(metric, protocol))
        lines |= _draw_curves(axes, panels[metric], found.titles())
    counts = sorted({n for _, n in points})
    photographs = " to ".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
    title = (
        f'{subject}, protocol "{protocol}": means over {same}{photographs} photographs, '
        "95 % intervals"
    )
    figure.suptitle(_text(title, _TITLE), fontsize="medium")
    # Below the panels, where it hides nothing.
    figure.legend(handles=lines.values(), loc="outside lower center", ncols=min(4, len(lines)))
    return figure


def _draw_curves(
    axes: Axes, curves: Mapping[str, Curve], titles: Mapping[str, str]
) -> dict[str, Line2D]:
    """Draws lines and bands; returns the lines by method."""
    # A method looks the same in every figure, so those without numbers count too.
    others = [method for method in titles if method not in VARIANTS]
    cycles = (itertools.cycle(x) for x in (_COLOURS, _MARKERS, _LINES))
    styles = {**_STYLES, **dict(zip(others, zip(*cycles)))}
    lines = {}
    for method in (x for x in titles if x in curves):
        curve = curves[method]
        colour, marker, line_style = styles[method]
        means = [point.mean for point in curve.values()]
        (lines[method],) = axes.plot(
            list(curve),
            means,
            color=colour,
            marker=marker,
            linestyle=line_style,
            label=_text(titles[method], _LEGEND),
        )
        bounds = [point.interval or (math.nan, math.nan) for point in curve.values()]
        low, high = zip(*bounds)
        axes.fill_between(list(curve), low, high, color=colour, alpha=0.12, linewidth=0)
    axes.set_xticks(sorted({x for curve in curves.values() for x in curve}))
    axes.grid(alpha=0.3)
    return lines


def _axis_label(metric: str, protocol: str) -> str:
    if metric == "psnr":
        return "PSNR, dB"
    return "L1 (relative)" if protocol == "paper" else "L1, values in [0, 1]"


def _text(text: str, width: int) -> str:
    """Lines of at most `width` letters, with dollars escaped, which would begin a formula."""
    return textwrap.fill(text, width).replace("$", r"\$")
