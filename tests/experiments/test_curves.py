"""The curves show each level's values of each network, at their steps."""

from __future__ import annotations

import numpy as np

from experiments import curves

LINES = [
    {
        "step": step,
        "validation/level_0/hole_l1": 0.5 / step,
        "validation/hole_l1": 0.5 / step,
        "validation/mean_colour_hole_l1": 0.3,
        "train/level_0/coarse/gradient_norm": 10.0 * step,
        "train/level_0/refine/gradient_norm": 1.0 * step,
        "train/generator/gradient_norm": 11.0 * step,
        "train/loss": 7.0,
    }
    for step in (1, 2, 3)
]
# A level that starts later.
LINES[2]["train/level_1/coarse/gradient_norm"] = 5.0


def drawn(column: int, row: int, runs: dict) -> list[tuple[float, ...]]:
    axes = curves.draw(runs).axes[row * len(runs) + column]
    return sorted(tuple(np.asarray(line.get_ydata()).tolist()) for line in axes.get_lines())


def test_a_panel_has_the_levels_values_and_no_totals():
    runs = {"a": LINES, "b": LINES[:1]}
    assert drawn(0, 0, runs) == [(0.3, 0.3, 0.3), (0.5, 0.25, 0.5 / 3)]
    assert drawn(0, 3, runs) == [(1.0, 2.0, 3.0), (5.0,), (10.0, 20.0, 30.0)]
    assert drawn(1, 3, runs) == [(1.0,), (10.0,)]


def test_the_legend_names_the_levels_that_are_drawn():
    (legend,) = curves.draw({"a": LINES}).legends
    words = [text.get_text() for text in legend.get_texts()]
    assert words[:2] == ["level 0", "level 1"] and words[-1] == "mean colour"
