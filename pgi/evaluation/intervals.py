"""Means with their uncertainty: over photographs by bootstrap, over seeds by their spread."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from scipy import stats

_RESAMPLES = 9999


@dataclass(frozen=True)
class Estimate:
    """A mean and how far it can be trusted.

    Attributes:
        mean: over seeds and photographs.
        interval: 95 %, by bootstrap over photographs; None for a single one, or where a number is
            infinite.
        n: number of photographs.
        spread: standard deviation over seeds of their means; None for a single one.
    """

    mean: float
    interval: tuple[float, float] | None
    n: int
    spread: float | None = None


def estimate(values: np.ndarray) -> Estimate:
    """The mean of `[seeds, photographs]` numbers.

    Crops of one photograph are no independent samples: average them before.

    Source: ours; the paper gives means alone. Departs from it: nothing.
    """
    photographs, seeds = values.mean(axis=0), values.mean(axis=1)
    interval = None
    if len(photographs) > 1 and np.isfinite(photographs).all():
        interval = _interval(tuple(photographs))
    spread = float(seeds.std(ddof=1)) if len(seeds) > 1 else None
    return Estimate(float(photographs.mean()), interval, len(photographs), spread)


@functools.cache  # A results file is written again with every method that is added to it.
def _interval(values: tuple[float, ...]) -> tuple[float, float]:
    low, high = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=_RESAMPLES,
        confidence_level=0.95,
        method="percentile",
        random_state=np.random.default_rng(0),
    ).confidence_interval
    return float(low), float(high)


def difference(ours: np.ndarray, theirs: np.ndarray) -> Estimate:
    """The paired difference, ours - theirs, photograph by photograph, seeds averaged.

    Args:
        ours: `[seeds, photographs]`.
        theirs: the same photographs, of any number of seeds.

    Source: ours. Departs from it: nothing.
    """
    return estimate((ours.mean(axis=0) - theirs.mean(axis=0))[np.newaxis])
