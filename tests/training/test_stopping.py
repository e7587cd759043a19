"""When workers agree to stop: by the chief's clock, for the reason of any of them."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from pgi.training import stopping
from pgi.training.stopping import Agreement


class Worker:
    """One of two workers, of which the other answers what it is told to."""

    count = 2

    def __init__(self, index: int, others: Sequence[int] = (0, 1)) -> None:
        self.index, self.others, self.asked = index, list(others), 0

    def gather(self, values: Sequence[int]) -> list[list[int]]:
        self.asked += 1
        both = [list(values), self.others]
        return both if self.index == 0 else both[::-1]


def steps_of_agreements(agreement: Agreement, steps: int, clock: list[float], each: float) -> list:
    found = []
    for step in range(1, steps + 1):
        clock[0] += each
        agreement.on_train_batch_end(step)
        if agreement.due:
            found.append(step)
    return found


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [50.0]
    monkeypatch.setattr(stopping, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def test_workers_agree_about_once_a_second(clock: list[float]) -> None:
    worker: Any = Worker(0)
    # At most twice as many steps as before, then eight of an eighth of a second each.
    steps = steps_of_agreements(Agreement(worker, lambda: 0), 39, clock, each=0.125)
    assert steps == [1, 3, 7, 15, 23, 31, 39]
    assert worker.asked == len(steps)


def test_workers_agree_after_every_step_that_is_longer_than_a_second(clock: list[float]) -> None:
    worker: Any = Worker(0)
    assert steps_of_agreements(Agreement(worker, lambda: 0), 4, clock, each=30.0) == [1, 2, 3, 4]


def test_the_chief_sets_the_next_step_for_all(clock: list[float]) -> None:
    worker: Any = Worker(1, others=(0, 5))
    steps = steps_of_agreements(Agreement(worker, lambda: 0), 12, clock, each=30.0)
    assert steps == [1, 6, 11]


@pytest.mark.parametrize(("index", "own", "others"), [(0, 15, 0), (1, 15, 0), (0, 0, 15)])
def test_a_reason_of_any_worker_is_found_with_its_number(
    index: int, own: int, others: int, clock: list[float]
) -> None:
    worker: Any = Worker(index, others=(others, 1))
    agreement = Agreement(worker, lambda: own)
    assert agreement.agree()
    assert agreement.found == ((index if own else 1 - index), 15)


def test_a_single_worker_stops_within_the_step(clock: list[float]) -> None:
    reasons = [0, 0, -1]
    worker: Any = SimpleNamespace(count=1, gather=lambda values: [list(values)])
    agreement = Agreement(worker, lambda: reasons.pop(0))
    for step, found in ((1, None), (2, None), (3, (0, -1))):
        agreement.on_train_batch_end(step)
        assert agreement.found == found
