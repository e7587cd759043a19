"""Signals: the first is noted, the second ends the process, everything else stays as it was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from pgi.training.interruption import SIGNALS, Interruption

ROOT = Path(__file__).parents[2]
# Waits in C, as a step of TensorFlow does, so that no handler in Python runs.
PROGRAM = """
import threading
from pgi.training.interruption import Interruption
with Interruption():
    print("ready", flush=True)
    lock = threading.Lock()
    lock.acquire()
    while not lock.acquire(timeout=100):
        pass
"""


def wait_for(interruption: Interruption) -> None:
    deadline = time.monotonic() + 10
    while interruption.signal is None and time.monotonic() < deadline:
        time.sleep(0.01)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_noted_and_the_handlers_are_restored(number: int) -> None:
    before = [signal.getsignal(x) for x in SIGNALS]
    with Interruption() as interruption:
        assert interruption.signal is None
        os.kill(os.getpid(), number)
        wait_for(interruption)
        assert interruption.signal == number
    assert [signal.getsignal(x) for x in SIGNALS] == before
    assert signal.set_wakeup_fd(-1) == -1


@pytest.mark.parametrize("first", SIGNALS)
@pytest.mark.parametrize("second", SIGNALS)
def test_a_second_signal_ends_the_process_unless_it_is_an_echo_of_the_first(
    first: int, second: int
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stderr is not None
    with process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(first)
        assert process.stderr.readline() == "\n"
        name = signal.Signals(first).name
        assert process.stderr.readline().startswith(f"{name}: saving after this step; a second")
        process.send_signal(second)  # An echo: `timeout` signals the process and its group.
        time.sleep(1)
        assert process.poll() is None
        process.send_signal(second)
        assert process.wait(timeout=20) == 128 + second


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interruption() as interruption:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.2)
            assert interruption.signal is None
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_signals_and_their_handlers_are_left_alone() -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGUSR2, lambda number, _: seen.append(number))
    try:
        with Interruption() as interruption:
            os.kill(os.getpid(), signal.SIGUSR2)
            time.sleep(0.2)
            assert interruption.signal is None and seen == [signal.SIGUSR2]
    finally:
        signal.signal(signal.SIGUSR2, before)


def test_in_another_thread_no_handler_is_installed() -> None:
    before = [signal.getsignal(x) for x in SIGNALS]
    found: list[Any] = []

    def enter() -> None:
        with Interruption():
            found.extend(signal.getsignal(x) for x in SIGNALS)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert found == before
