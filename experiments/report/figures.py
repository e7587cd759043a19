"""Draws the paper's Figures 6 and 7 from results files.

    python -m experiments.report.figures runs/small/results.json

Figure 6 is drawn for every dataset and size that has several of the masks ratio_15 to ratio_55,
Figure 7 for every dataset of which the same photographs were measured at several sizes under the
masks "center".
"""

from __future__ import annotations

import io
import itertools
import math
import textwrap
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator
from PIL import Image

from experiments.variants import OURS, VARIANTS
from pgi.atomic import write_atomically
from pgi.evaluation.intervals import Estimate, estimate
from pgi.evaluation.results import Results, file_name

SHARES = (15, 25, 35, 45, 55)

_METRICS = {"l1": "L1", "psnr": "PSNR"}
# Colour, marker and line. The paper's figures have red, green and blue; the shades of these and of
# the others are such that the colour-blind can tell them apart.
_STYLES = {
    "deepfillv2": ("#cc3311", "s", "--"),
    "deepfillv2_dagger": ("#009944", "^", "-."),
    OURS: ("#0077bb", "o", "-"),
}
_COLOURS = ("#ee7733", "#33bbee", "#ee3377", "#888888", "#000000")
_MARKERS = ("D", "v", "P", "X", "*", "<", ">")
_LINES = (":", (0, (6, 2)), (0, (3, 1, 1, 1)))
# Letters a line.
_TITLE, _LEGEND = 130, 32

# A method's means and intervals by place on the x axis.
Curve = dict[int, Estimate]


def figure_6(results: Results, dataset: str, size: int, protocol: str, path: Path) -> bool:
    """L1 and PSNR against the hole's share of the image, as a PNG.

    Lines are means over photographs, bands their 95 % bootstrap intervals. Of the ablations'
    variants only ours and the baselines are drawn; the others have their tables.

    Args:
        results: what was measured.
        dataset: whose crops.
        size: their side in pixels.
        protocol: of `pgi.metrics.PROTOCOLS`.
        path: of the file; its folder is made.

    Returns:
        Whether there was anything to draw, at two shares or more; if not, no file is written.

    Raises:
        OSError: the file cannot be written.

    Source: Figure 6. Departs from it: the bands; every method that was measured.
    """
    return _write(_figure_6(results, dataset, size, protocol), path)


def figure_7(results: Results, dataset: str, protocol: str, path: Path) -> bool:
    """L1 and PSNR against the image's side, under the masks "center"; else as `figure_6`.

    Every size is of the same photographs, those that all sizes have; without any, nothing is drawn.

    Source: Figure 7. Departs from it: as `figure_6`.
    """
    return _write(_figure_7(results, dataset, protocol), path)


def draw(results: Results, output: Path, protocol: str) -> list[Path]:
    """Writes all figures that the results have the numbers for; returns their paths.

    Args:
        results: what was measured.
        output: folder of the files, `figure_6_DATASET_SIZE.png` and `figure_7_DATASET.png`.
        protocol: of `pgi.metrics.PROTOCOLS`.

    Raises:
        OSError: a file cannot be written.
    """
    written = []
    for dataset, sizes in _sizes(results).items():
        stem = file_name(dataset)
        for size in sizes:
            path = output / f"figure_6_{stem}_{size}.png"
            written += [path] * figure_6(results, dataset, size, protocol, path)
        path = output / f"figure_7_{stem}.png"
        written += [path] * figure_7(results, dataset, protocol, path)
    return written


def _figure_6(results: Results, dataset: str, size: int, protocol: str) -> Figure | None:
    places = {share: {"size": size, "masks": f"ratio_{share}"} for share in SHARES}
    figure = _plot(results, dataset, protocol, places, f"{size} px, central square hole")
    for axes in figure.axes if figure else ():
        axes.set_xlabel("hole, % of the image")
    return figure


def _figure_7(results: Results, dataset: str, protocol: str) -> Figure | None:
    sizes = _sizes(results).get(dataset, [])
    places: dict[int, dict[str, Any]] = {
        size: {"size": size, "masks": "center"}
        for size in sizes
        if _measured(results, dataset=dataset, size=size, masks="center", protocol=protocol)
    }
    # Others at another size would bend the curves: small photographs have no large crops.
    names = [set(results.photographs(dataset, size)) for size in places]
    common = set.intersection(*names) if names else set()
    subject = "central square hole of half the side"
    figure = _plot(results, dataset, protocol, places, subject, common)
    for axes in figure.axes if figure else ():
        ticks = axes.get_xticks()
        axes.set_xscale("log", base=2)
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.set_xlabel("side of the image, px")
    return figure


def _plot(
    results: Results,
    dataset: str,
    protocol: str,
    places: Mapping[int, Mapping[str, Any]],
    subject: str,
    only: Collection[str] | None = None,
) -> Figure | None:
    """A panel a metric.

    Args:
        results, dataset, protocol: as for `figure_6`.
        places: arguments of `Results.values` by place on the x axis.
        subject: for the title.
        only: names of photographs to which the numbers are restricted.
    """
    panels = {
        metric: _curves(results, metric, places, only, dataset=dataset, protocol=protocol)
        for metric in _METRICS
    }
    curves = [curve for panel in panels.values() for curve in panel.values()]
    if len({x for curve in curves for x in curve}) < 2:
        return None
    figure = Figure(figsize=(12, 5), dpi=100, layout="constrained")
    panels = {metric: panel for metric, panel in panels.items() if panel}
    lines: dict[str, Line2D] = {}
    subplots = figure.subplots(1, len(panels), squeeze=False)[0]
    for letter, axes, (metric, panel) in zip("ab", subplots, panels.items()):
        axes.set_title(f"({letter}) {_METRICS[metric]}")
        axes.set_ylabel(_axis_label(metric, protocol))
        lines |= _draw_curves(axes, panel, results.titles())
    counts = sorted({point.n for curve in curves for point in curve.values()})
    photographs = " to ".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
    title = (
        f'{dataset}, {subject}, protocol "{protocol}": '
        f"means over {'the same ' * (only is not None)}{photographs} photographs, 95 % intervals"
    )
    figure.suptitle(_text(title, _TITLE), fontsize="medium")
    # Below the panels, where it hides nothing.
    figure.legend(handles=lines.values(), loc="outside lower center", ncols=min(4, len(lines)))
    return figure


def _drawn(results: Results) -> list[str]:
    """The methods that get a line."""
    return [x for x in results.titles() if x not in VARIANTS or x in _STYLES]


def _measured(results: Results, **place: Any) -> bool:
    """Whether any of these has numbers; of what, as for `Results.values`."""
    wanted = [(method, metric) for method in _drawn(results) for metric in _METRICS]
    return any(results.values(*names, **place) is not None for names in wanted)


def _curves(
    results: Results,
    metric: str,
    places: Mapping[int, Mapping[str, Any]],
    only: Collection[str] | None,
    **wanted: Any,
) -> dict[str, Curve]:
    """By method; without what was not measured, and infinite PSNR."""
    curves: dict[str, Curve] = {}
    for method in _drawn(results):
        for x, place in places.items():
            values = results.values(method, metric, **place, **wanted)
            if values is not None and only is not None:
                names = results.photographs(wanted["dataset"], place["size"])
                values = values[:, [name in only for name in names]]
            if values is not None and values.size and np.isfinite(values).all():
                curves.setdefault(method, {})[x] = estimate(values)
    return curves


def _draw_curves(
    axes: Axes, curves: Mapping[str, Curve], titles: Mapping[str, str]
) -> dict[str, Line2D]:
    """Lines and bands; returns the lines by method."""
    # The same for a method in every figure, whatever else is drawn.
    others = [method for method in titles if method not in VARIANTS]
    cycles = (itertools.cycle(x) for x in (_COLOURS, _MARKERS, _LINES))
    styles = {**_STYLES, **dict(zip(others, zip(*cycles)))}
    lines = {}
    for method, curve in curves.items():
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
    """Broken into lines of so many letters; a dollar, which would begin a formula, is one."""
    return textwrap.fill(text, width).replace("$", r"\$")


def _sizes(results: Results) -> dict[str, list[int]]:
    """Each dataset's sizes, ascending."""
    sizes: dict[str, list[int]] = {}
    for size, dataset in sorted({(x.size, x.dataset) for x in results.crop_lists.values()}):
        sizes.setdefault(dataset, []).append(size)
    return sizes


def _write(figure: Figure | None, path: Path) -> bool:
    if figure is None:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png")
    # Bands over bands have thousands of shades; 256 look the same and take a quarter of the bytes.
    Image.open(drawn).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(small, "PNG")
    write_atomically(path, small.getvalue())
    return True
