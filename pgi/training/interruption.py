"""Signals that stop a training: Ctrl-C, the end of a pod or job, Slurm's warning before that."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from types import TracebackType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
# `timeout` and some schedulers signal a process and then its group, so that it gets two at once.
_SECONDS_OF_ONE_SIGNAL = 0.5


class Interruption:
    """Context in which the first signal is only noted, and a second one ends the process at once.

    A thread reads the signals, since Python runs handlers only between two steps of TensorFlow, and
    a second signal of the same kind would be lost until then. The status is then 128 + the signal.

    Signals within half a second of the first one count as the same.

    Signals that are ignored stay so. In another thread than the main one nothing is noted, because
    Python does not allow handlers there.

    Attributes:
        signal: the first signal; None before it came.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._handlers: dict[int, Any] = {}
        self._active = False

    def __enter__(self) -> Interruption:
        if threading.current_thread() is not threading.main_thread():
            return self
        self._active = True
        reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        self._wakeup_before = signal.set_wakeup_fd(self._writer)
        for number in SIGNALS:
            # None: a handler that was not installed from Python, and cannot be restored.
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                self._handlers[number] = signal.signal(number, lambda *_: None)
        threading.Thread(target=self._watch, args=(reader,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._active:
            for number, handler in self._handlers.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(self._wakeup_before)
            os.close(self._writer)  # Ends the thread.

    def _watch(self, reader: int) -> None:
        first = -math.inf
        while number := os.read(reader, 1):
            if number[0] not in self._handlers:
                continue  # Every signal that has a handler is written here.
            if self.signal is not None:
                if time.monotonic() - first < _SECONDS_OF_ONE_SIGNAL:
                    continue
                os._exit(128 + number[0])
            first = time.monotonic()
            self.signal = signal.Signals(number[0])
            message = (
                f"\n{self.signal.name}: saving after this step; a second signal ends at once\n"
            )
            os.write(2, message.encode())
        os.close(reader)
