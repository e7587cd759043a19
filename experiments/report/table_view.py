"""What was measured, as the tables see it: numbers by method and column."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from experiments.report.markdown import METRICS, escape
from pgi.evaluation.results import Results


class Column(NamedTuple):
    """A metric under a mask set, on crops of one side in pixels."""

    size: int
    masks: str
    metric: str


@dataclass(frozen=True)
class View:
    """What was measured on one dataset by one protocol."""

    results: Results
    dataset: str
    protocol: str

    def values(self, method: str, column: Column) -> np.ndarray | None:
        """Numbers, `[seeds, photographs]`; None if there is none."""
        return self.results.values(
            method,
            column.metric,
            dataset=self.dataset,
            size=column.size,
            masks=column.masks,
            protocol=self.protocol,
        )

    def columns(
        self, sizes: Sequence[int], masks: Sequence[str], methods: Sequence[str] | None = None
    ) -> list[Column]:
        """Those in which any of the methods, or any at all, has numbers."""
        names = list(self.results.titles()) if methods is None else methods
        every = [Column(size, name, x) for size in sizes for name in masks for x in METRICS]
        return [x for x in every if any(self.values(name, x) is not None for name in names)]

    def measured(self, columns: Sequence[Column]) -> list[str]:
        """The methods that have numbers in any of the columns, in order."""
        names = self.results.titles()
        return [name for name in names if any(self.values(name, x) is not None for x in columns)]

    def masks(self, size: int) -> dict[str, str]:
        """The mask sets that were measured on crops of this size, with their hashes."""
        lists = self.results.crop_lists.values()
        here = {x.sha256 for x in lists if (x.dataset, x.size) == (self.dataset, size)}
        return {
            score.masks: score.masks_sha256
            for evaluation in self.results.evaluations
            for score in evaluation.scores
            if score.crops in here and score.protocol == self.protocol
        }

    def seconds(self, method: str, size: int) -> float | None:
        """Median time an image with the central square, as in the paper's Table 1."""
        return self.results.seconds(method, dataset=self.dataset, size=size, masks="center")

    def title(self, method: str, columns: Sequence[Column]) -> str:
        """As a cell, with the number of seeds behind the columns' numbers if there are several."""
        values = [self.values(method, column) for column in columns]
        counts = sorted({len(x) for x in values if x is not None})
        title = self.results.titles()[method]
        if counts and counts[-1] > 1:
            title += f", {' to '.join(map(str, dict.fromkeys((counts[0], counts[-1]))))} seeds"
        return escape(title)

    def all_diverged(self, method: str) -> bool:
        seeds = [x for x in self.results.evaluations if x.method == method]
        return bool(seeds) and all(x.diverged for x in seeds)


def trained_side(results: Results) -> int | None:
    """The largest side in pixels that a model was trained at; None if none tells its levels."""
    sides = []
    for evaluation in results.evaluations:
        if evaluation.kind == "trained":
            with contextlib.suppress(KeyError, IndexError, TypeError):  # It has no such config.
                sides.append((evaluation.run or {})["config"]["model"]["levels"][-1])
    return max(sides, default=None)
