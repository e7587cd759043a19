"""Means, their bootstrap intervals and paired differences."""

from __future__ import annotations

import numpy as np
import pytest

from pgi.evaluation import intervals
from pgi.evaluation.intervals import difference, estimate

NUMBERS = np.random.default_rng(0).normal(25, 6, [3, 100])


def test_of_many_numbers_the_interval_is_that_of_a_normal_mean():
    one = estimate(NUMBERS[:1])
    error = NUMBERS[0].std(ddof=1) / 10
    assert one.n == 100 and one.mean == pytest.approx(NUMBERS[0].mean())
    assert one.interval == pytest.approx(one.mean + 1.96 * error * np.array([-1, 1]), abs=0.1)
    assert one.spread is None


def test_the_interval_holds_the_true_mean_about_nineteen_times_in_twenty():
    samples = np.random.default_rng(1).normal(0, 1, [200, 1, 40])
    intervals = [estimate(sample).interval for sample in samples]
    held = np.mean([x is not None and x[0] < 0 < x[1] for x in intervals])
    assert 0.89 < held < 0.99


def test_seeds_are_averaged_and_their_spread_is_of_their_means():
    several = estimate(NUMBERS)
    assert several.mean == pytest.approx(NUMBERS.mean())
    assert several.spread == pytest.approx(np.std(NUMBERS.mean(axis=1), ddof=1))
    assert several.interval == estimate(NUMBERS.mean(axis=0, keepdims=True)).interval


def test_a_difference_is_paired_by_photograph_whatever_the_numbers_of_seeds():
    assert difference(NUMBERS[:1] + 1, NUMBERS[:1]).interval == pytest.approx((1, 1))
    one = difference(NUMBERS, NUMBERS[:1])
    paired = NUMBERS.mean(axis=0) - NUMBERS[0]
    assert (one.mean, one.n) == (pytest.approx(paired.mean()), 100)
    assert one.interval == estimate(paired[np.newaxis]).interval


def test_resamples_drawn_in_parts_are_those_drawn_at_once(monkeypatch):
    at_once = estimate(NUMBERS[:, :99])
    monkeypatch.setattr(intervals, "_DRAWN_AT_ONCE", 700)
    assert estimate(NUMBERS[:, :99]) == at_once


def test_one_photograph_or_an_infinite_number_has_no_interval():
    assert estimate(np.array([[3.0], [5.0]])).interval is None
    assert estimate(np.array([[1.0, np.inf]])).interval is None
    assert estimate(np.array([[1.0, np.inf]])).mean == np.inf
