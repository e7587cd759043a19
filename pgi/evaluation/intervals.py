"""Means with their uncertainty: over photographs by bootstrap, over seeds by their spread."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from pgi.arrays import FloatArray

_RESAMPLES = 9999
_DRAWN_AT_ONCE = 2**22


@dataclass(frozen=True)
class Estimate:
    """A mean and its uncertainty.

    Attributes:
        mean: over seeds and photographs.
        interval: 95 % bootstrap interval over photographs; None for one photograph, or where a
            number is infinite.
        n: number of photographs.
        spread: standard deviation of the seeds' means; None for one seed.
    """

    mean: float
    interval: tuple[float, float] | None
    n: int
    spread: float | None = None


def estimate(values: FloatArray) -> Estimate:
    """The mean of `[seeds, photographs]` numbers.

    Crops of one photograph are not independent samples: average them before.
    """
    photographs, seeds = values.mean(axis=0), values.mean(axis=1)
    interval = None
    if len(photographs) > 1 and np.isfinite(photographs).all():
        low, high = stats.bootstrap(
            (photographs,),
            np.mean,
            n_resamples=_RESAMPLES,
            # Else all resamples are in memory at once. It changes none of them.
            batch=max(1, _DRAWN_AT_ONCE // len(photographs)),
            confidence_level=0.95,
            method="percentile",
            random_state=np.random.default_rng(0),
        ).confidence_interval
        interval = float(low), float(high)
    with np.errstate(invalid="ignore"):  # Infinite numbers have no spread.
        spread = float(seeds.std(ddof=1)) if len(seeds) > 1 else None
    return Estimate(float(photographs.mean()), interval, len(photographs), spread)


def difference(ours: FloatArray, theirs: FloatArray) -> Estimate:
    """The paired difference ours - theirs, photograph by photograph, seeds averaged.

    Args:
        ours: `[seeds, photographs]`.
        theirs: the same photographs, of any number of seeds.
    """
    with np.errstate(invalid="ignore"):  # Two perfect results: inf - inf.
        pairs = ours.mean(axis=0) - theirs.mean(axis=0)
    return estimate(pairs[np.newaxis])
