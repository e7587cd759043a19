"""What the processes of one training ("workers") agree on, and how they notice a lost one.

Every worker must come to each agreement, and in the same order, since each is a collective
operation that waits for all.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import socket
import time
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.python.eager import context

from pgi.errors import LostWorkerError, WorkersError

# Of collectives whose peer is gone. Not InternalError, which mistakes in a program cause too.
_LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.DeadlineExceededError,
    tf.errors.CancelledError,
)
# Numbers in one agreement, the same in all, so that TensorFlow traces it once.
_MOST = 1000
_SECONDS_TO_NOTICE = 5


class Workers:
    """The workers of a strategy, of which this process is one.

    Args:
        strategy: of the training; any but `MultiWorkerMirroredStrategy` has one worker.

    Attributes:
        addresses: "host:port" of each; empty for one worker.
        count: number of workers.
        index: of this one.
        chief: whether this is the first, which alone writes the run folder and prints.
    """

    def __init__(self, strategy: tf.distribute.Strategy) -> None:
        resolver = strategy.cluster_resolver
        self.addresses: list[str] = []
        self.index = 0
        if resolver is not None:
            self.addresses = resolver.cluster_spec().job_tasks(resolver.task_type)
            self.index = resolver.task_id
        self.count = max(len(self.addresses), 1)
        self.chief = self.index == 0

        def gather(values: tf.Tensor) -> tf.Tensor:
            """The sum of matrices that have the worker's values in its row, and else zeros."""
            own = tf.one_hot(self.index, self.count, dtype=tf.int64)[:, tf.newaxis] * values
            everywhere = strategy.run(lambda: tf.identity(own))
            # Each device of a worker has its values.
            replicas = strategy.num_replicas_in_sync // self.count
            return strategy.reduce("SUM", everywhere, axis=None) // replicas

        self._gather = tf.function(gather)

    def gather(self, values: Sequence[int]) -> list[list[int]]:
        """The values of every worker, by its index; waits for all workers.

        Args:
            values: at most 1000 integers of 64 bits, of the same number on each worker.
        """
        if self.count == 1:
            return [list(values)]
        padded = [*values, *[0] * (_MOST - len(values))]
        found = self._gather(tf.constant(padded, tf.int64)).numpy()
        rows: list[list[int]] = found[:, : len(values)].tolist()
        return rows

    def chiefs(self, value: int) -> int:
        """The chief's value; waits for all workers."""
        return self.gather([value])[0][0]

    def name(self, index: int) -> str:
        """Such as "worker 1 (host2:12345)"."""
        return f"worker {index} ({self.addresses[index]})"

    def say(self, text: str) -> None:
        """Prints a line, once for all workers."""
        if self.chief:
            print(text, flush=True)

    @contextlib.contextmanager
    def sharing_errors(self) -> Iterator[None]:
        """Context without collectives, at whose end all workers raise if one raised anything.

        Raises:
            WorkersError: another worker raised; the message has its name and its message.
        """
        if self.count == 1:
            yield
            return
        own: Exception | None = None
        try:
            yield
        except Exception as error:  # Whatever it is, the others wait for this worker.
            own = error
        message = "" if own is None else str(own) or type(own).__name__
        text = message.encode(errors="backslashreplace")[:_MOST]
        messages = self.gather([*text, *[0] * (_MOST - len(text))])
        if own is not None:
            raise own
        for index, characters in enumerate(messages):
            if message := bytes(characters).rstrip(b"\0").decode(errors="replace"):
                raise WorkersError(f"{self.name(index)} stopped: {message}")

    def agree(self, what: str, value: Any) -> None:
        """Raises WorkersError, on all workers, unless the value, fit for JSON, is the chief's."""
        digest = hashlib.sha256(json.dumps(value, sort_keys=True).encode()).digest()
        first, *others = self.gather(list(digest))
        for index, theirs in enumerate(others, start=1):
            if theirs != first:
                raise WorkersError(f"{self.name(index)} has {what} than {self.name(0)}")

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Context in which the errors that a lost worker causes become a LostWorkerError."""
        try:
            yield
        except _LOST as error:
            if self.count == 1:
                raise
            lost = self._lost(str(error))
            self._tell(lost)
        else:
            return
        names = " and ".join(map(self.name, lost)) or "another worker"
        raise LostWorkerError(f"{self.name(self.index)} stops, because {names} was lost")

    def _lost(self, message: str) -> list[int]:
        """The workers that do not answer, or else those in TensorFlow's message.

        A message alone may name a worker that itself stopped because of another.
        """
        others = [n for n in range(self.count) if n != self.index]
        lost = [n for n in others if not _answers(self.addresses[n])]
        if not lost:  # A frozen process answers.
            named = re.findall(r"/job:worker/(?:replica:0/)?task:(\d+)", message)
            lost = [n for n in others if str(n) in named]
        return lost

    def _tell(self, lost: list[int]) -> None:
        """Makes the collectives of the others fail too, and waits until they have noticed.

        A worker that does not exchange data with a lost one would wait for it longer, and would
        take this one for lost if it were gone by then.
        """
        if 0 not in lost:  # The first worker passes it on.
            with contextlib.suppress(tf.errors.OpError):
                context.context().report_error_to_cluster(tf.errors.UNAVAILABLE, "a lost worker")
        time.sleep(_SECONDS_TO_NOTICE)


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=5):
            return True
    except OSError:
        return False
