"""Draws training curves of several runs side by side, from their metrics.jsonl.

    python -m experiments.curves --run=runs/small_samples --output=curves.png

TensorBoard shows the same values; this writes a picture, without a server.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.typing import LineStyleType

from experiments import program
from pgi.rules import check
from pgi.training.run_folder import RunFolder

Lines = Sequence[Mapping[str, Any]]

# For each panel: label, whether it is logarithmic, and names of the values.
_PANELS = (
    ("hole L1 (validation)", False, ("hole_l1", "mean_colour_hole_l1")),
    ("L1 (training)", False, ("l1", "coarse_l1")),
    ("discriminator loss", False, ("discriminator_loss",)),
    ("gradient norm", True, ("gradient_norm",)),
    ("update / weights", True, ("update_ratio",)),
)
# Line style of each network. Values that name no network are of the level's result, which the
# refine network makes.
_STYLES: dict[str, LineStyleType] = {"coarse": "-", "refine": "--", "discriminator": ":"}


def draw(runs: Mapping[str, Lines]) -> Figure:
    """A column for each run, a row for each kind of value, a colour for each level.

    Args:
        runs: lines of metrics.jsonl by title.
    """
    figure = Figure(figsize=(5.5 * len(runs), 12), layout="constrained")
    axes = figure.subplots(len(_PANELS), len(runs), squeeze=False, sharex="col", sharey="row")
    levels: set[int] = set()
    for column, (title, lines) in zip(axes.T, runs.items()):
        column[0].set_title(title)
        names = dict.fromkeys(name for line in lines for name in line)
        for axis, (label, log, kinds) in zip(column, _PANELS):
            for name in names:
                if name.split("/")[-1] in kinds:
                    levels |= _plot(axis, lines, name)
            axis.set(ylabel=label, yscale="log" if log else "linear")
            axis.grid(alpha=0.3)
        column[-1].set_xlabel("step")
    handles = [Line2D([], [], color=f"C{n}", label=f"level {n}") for n in sorted(levels)]
    for network, style in _STYLES.items():
        handles.append(Line2D([], [], color="grey", linestyle=style, label=network))
    handles.append(Line2D([], [], color="black", linestyle=":", label="mean colour"))
    figure.legend(handles=handles, loc="outside lower center", ncols=4 * len(runs))
    return figure


def _plot(axes: Axes, lines: Lines, name: str) -> set[int]:
    """Draws the values of a level or of the mean colour; returns the level, if any."""
    points = [(line["step"], line[name]) for line in lines if name in line]
    if match := re.search(r"/level_(\d+)/", name):
        level = int(match[1])
        style = next((_STYLES[network] for network in _STYLES if f"/{network}" in name), "--")
        axes.plot(*zip(*points), linestyle=style, color=f"C{level}", linewidth=1.2)
        return {level}
    if name.endswith("/mean_colour_hole_l1"):
        axes.plot(*zip(*points), ":", color="black", linewidth=1.2)
    return set()


def main(argv: list[str]) -> None:
    """Draws the runs that the flags name."""
    program.no_arguments(argv)
    values = flags.FLAGS
    check("run", "one run folder or more", bool(values.run), values.run)
    runs = {}
    for path in map(Path, values.run):
        lines = RunFolder(path).read_metrics()
        check("run", "a run folder with metrics", bool(lines), str(path))
        runs["/".join(path.parts[-2:])] = lines
    draw(runs).savefig(values.output, dpi=90)
    print(values.output)


def _define_flags() -> None:
    flags.DEFINE_list("run", [], "Run folders, separated by commas.")
    flags.DEFINE_string("output", "curves.png", "Picture to write.")


if __name__ == "__main__":
    program.run(main, _define_flags, "nothing was written")
