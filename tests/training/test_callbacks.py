"""Callbacks: the warning of growing gradients, and how often losses are fetched."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pgi.training import callbacks, stopping
from pgi.training.callbacks import OnceASecond, WarnOfGrowth
from pgi.training.run_folder import RunFolder

WHOLE = "generator/gradient_norm"
COARSE = "level_2/coarse/gradient_norm"


def snapshots(run: RunFolder, logs: list[dict[str, float]]) -> WarnOfGrowth:
    """As training calls it: the metrics of a snapshot are written after it."""
    watch = WarnOfGrowth(run)
    watch.set_model(SimpleNamespace(step=0))
    watch.on_train_begin()
    for values in logs:
        watch.model.step += 50
        watch.on_epoch_end(0, values)
        run.append_metrics(watch.model.step, {f"train/{k}": v for k, v in values.items()})
    return watch


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [x.getMessage() for x in caplog.records if x.levelno == logging.WARNING]


def test_a_network_whose_gradient_grows_a_hundredfold_is_named_once(tmp_path, caplog):
    norms = [(3.0, 1.0), (2.0, 0.5), (60.0, 49.0), (70.0, 51.0), (900.0, 9000.0)]
    snapshots(RunFolder(tmp_path), [{WHOLE: whole, COARSE: part} for whole, part in norms])
    (message,) = warnings_of(caplog)
    assert message.startswith("step 200:") and "level_2's coarse network" in message
    assert "from a mean norm of 0.5 to 51" in message


def test_a_snapshot_of_skipped_steps_alone_is_no_norm_to_grow_from(tmp_path, caplog):
    norms = [(0.0, 0.0), (3.0, 1.0), (4.0, 2.0), (0.0, 0.0), (4.0, 2.0)]
    snapshots(RunFolder(tmp_path), [{WHOLE: whole, COARSE: part} for whole, part in norms])
    assert warnings_of(caplog) == []


def test_growth_before_the_first_snapshot_is_seen_too(tmp_path, caplog, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(callbacks.time, "monotonic", lambda: now[0])
    watch = snapshots(RunFolder(tmp_path), [])
    for norm in (0.4, 30.0, 39.0, 41.0):
        watch.on_train_batch_end(0, {WHOLE: 2.0 + norm, COARSE: norm})
        now[0] += 1.0
    assert "from a mean norm of 0.4 to 41" in warnings_of(caplog)[0]


def test_a_run_that_is_continued_remembers_how_it_began(tmp_path, caplog):
    RunFolder(tmp_path).append_metrics(50, {f"train/{WHOLE}": 1.0, f"train/{COARSE}": 0.5})
    snapshots(RunFolder(tmp_path), [{WHOLE: 500.0, COARSE: 400.0}])
    assert len(warnings_of(caplog)) == 1


def test_discriminators_may_learn_from_a_gradient_that_grows(tmp_path, caplog):
    own, network = "discriminator/gradient_norm", "level_0/discriminator/gradient_norm"
    snapshots(RunFolder(tmp_path), [{WHOLE: 1.0, own: x, network: x} for x in (0.01, 1.0, 20.0)])
    assert not warnings_of(caplog)


def test_a_network_that_wakes_up_from_nearly_no_gradient_is_not_sick(tmp_path, caplog):
    """Under Glorot a coarse network's first gradients are tiny."""
    snapshots(RunFolder(tmp_path), [{WHOLE: 3.0, COARSE: x} for x in (1e-6, 1e-3, 1.0, 3.0)])
    assert not warnings_of(caplog)


def test_losses_are_fetched_from_the_device_once_a_second(tmp_path, monkeypatch):
    now, fetched = [100.0], []

    class Loss:
        """Counts how often its value is asked for, as a tensor's would be fetched."""

        def __float__(self) -> float:
            fetched.append(now[0])
            return 1.0

    monkeypatch.setattr(callbacks.time, "monotonic", lambda: now[0])
    watch = stopping.StopOnNonFinite(RunFolder(tmp_path))
    watch.set_model(SimpleNamespace(step=0))
    watch.on_train_begin()
    for _ in range(100):
        watch.on_train_batch_end(0, cast(Any, {"loss": Loss()}))
        now[0] += 0.1
    assert 9 <= len(fetched) <= 11


def test_keras_converts_no_logs_for_these_callbacks(tmp_path: Path):
    kinds: list[Any] = [
        stopping.StopOnNonFinite(RunFolder(tmp_path)),
        WarnOfGrowth(RunFolder(tmp_path)),
        stopping.TotalSteps(1),
        callbacks.ContinueMeans(None),
        callbacks.ProgressBar(0, 1, 1.0),
    ]
    assert all(callback._supports_tf_logs for callback in kinds)


def test_once_a_second_is_true_at_first_and_then_a_second_later(monkeypatch):
    now = [5.0]
    monkeypatch.setattr(callbacks.time, "monotonic", lambda: now[0])
    due, seen = OnceASecond(), []
    for now[0] in (5.0, 5.5, 5.99, 6.0, 6.1, 9.0, 9.5):
        seen.append(due())
    assert seen == [True, False, False, True, False, True, False]
