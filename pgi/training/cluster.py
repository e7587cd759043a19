"""The processes ("workers") that train together, as TF_CONFIG or Slurm describe them."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass

from pgi.errors import WorkersError
from pgi.rules import check

_EXAMPLE = (
    'JSON such as {"cluster": {"worker": ["host1:12345", "host2:12345"]}, '
    '"task": {"type": "worker", "index": 0}}'
)

_GO = b"go"


@dataclass(frozen=True)
class Cluster:
    """All workers of a training.

    Attributes:
        addresses: "host:port" of each worker; the first is the chief, which writes the run folder.
        index: number of this process among them.
    """

    addresses: tuple[str, ...]
    index: int


def from_environment(environment: Mapping[str, str] = os.environ) -> Cluster | None:
    """The cluster in TF_CONFIG, or else of a Slurm job step of several tasks; None without one.

    Raises:
        RuleError: TF_CONFIG does not describe a cluster of workers.
    """
    if environment.get("TF_CONFIG"):
        return _from_tf_config(environment["TF_CONFIG"])
    if int(environment.get("SLURM_STEP_NUM_TASKS", 1)) > 1:
        return _from_slurm(environment)
    return None


def refuse(environment: Mapping[str, str] = os.environ) -> None:
    """Raises RuleError if TF_CONFIG has several workers, for programs that run in one process."""
    cluster = from_environment({"TF_CONFIG": environment.get("TF_CONFIG", "")})
    count = len(cluster.addresses) if cluster else 1
    rule = "unset or of one worker, as only experiments.train divides its work among several"
    check("TF_CONFIG", rule, count == 1, f"{count} workers")


def meet(cluster: Cluster) -> None:
    """Waits until all workers of the cluster have called this.

    Here and not in TensorFlow, where neither Ctrl-C nor SIGTERM would end the wait.

    Raises:
        WorkersError: the chief's port is in use.
    """
    host, _, port = cluster.addresses[0].rpartition(":")
    if cluster.index:
        while not _is_let_go((host.strip("[]"), int(port)), cluster.index):
            time.sleep(0.5)
        return
    dual = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual else socket.AF_INET
    try:
        server = socket.create_server(("", int(port)), family=family, dualstack_ipv6=dual)
    except OSError as error:
        raise WorkersError(f"worker 0 cannot listen at {cluster.addresses[0]}: {error}") from error
    waiting: dict[int, socket.socket] = {}
    with server, contextlib.ExitStack() as connections:
        while len(waiting) < len(cluster.addresses) - 1:
            connection = connections.enter_context(server.accept()[0])
            connection.settimeout(5)
            with contextlib.suppress(OSError, ValueError):  # Others may try the port too.
                index = int(connection.recv(16))
                if 0 < index < len(cluster.addresses):
                    connection.setblocking(False)
                    waiting[index] = connection
            waiting = {n: each for n, each in waiting.items() if _is_open(each)}
        for each in waiting.values():
            with contextlib.suppress(OSError):  # It is lost, which the strategy will notice.
                each.sendall(_GO)


def _is_let_go(chief: tuple[str, int], index: int) -> bool:
    """Whether the chief, if it is there, says that all are there."""
    try:
        with socket.create_connection(chief, timeout=5) as connection:
            connection.sendall(str(index).encode())
            connection.settimeout(None)
            # Notices within a minute that the chief's machine is gone.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in (("TCP_KEEPIDLE", 20), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 4)):
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
            return connection.recv(len(_GO), socket.MSG_WAITALL) == _GO
    except OSError:
        return False


def _is_open(connection: socket.socket) -> bool:
    try:
        return bool(connection.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return True
    except OSError:
        return False


def _from_tf_config(text: str) -> Cluster | None:
    """A chief, if there is one, counts as the first worker. None if there is no cluster in it."""
    rule = f"{_EXAMPLE}; a cluster may have a chief too, and no other jobs"
    try:
        values = json.loads(text)
        jobs, task = values.get("cluster", {}), values.get("task", {})
        if not jobs:
            return None
        addresses = {job: list(jobs.get(job, [])) for job in ("chief", "worker")}
        before = len(addresses["chief"]) if task["type"] == "worker" else 0
        index = int(task["index"])
        fits = set(jobs) <= set(addresses) and 0 <= index < len(addresses[task["type"]])
        listed = [*addresses["chief"], *addresses["worker"]]
        fits &= len(set(listed)) == len(listed) and len(addresses["chief"]) <= 1
        fits &= all(x.rpartition(":")[2].isdecimal() and ":" in x for x in listed)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        fits = False
    check("TF_CONFIG", rule, fits, text)
    return Cluster(tuple(listed), before + index)


def _from_slurm(environment: Mapping[str, str]) -> Cluster:
    """One worker for each task of the job step, in Slurm's order.

    `tf.distribute.cluster_resolver.SlurmClusterResolver` sorts the nodes by their names, so that
    node10 comes before node9 and a worker is looked for on the wrong node. Only its parsing is
    used.
    """
    from tensorflow.python.distribute.cluster_resolver import slurm_cluster_resolver as slurm

    names = ("SLURM_STEP_NODELIST", "SLURM_STEP_TASKS_PER_NODE", "SLURM_PROCID", "SLURM_JOB_ID")
    try:
        nodes, tasks, index, job = (environment[name] for name in names)
        hosts = zip(slurm.expand_hostlist(nodes), slurm.expand_tasks_per_node(tasks))
        # Two jobs that share a node need other ports.
        port = 10_000 + int(job) % 2_000 * 10
        listed = [f"{host}:{port + n}" for host, count in hosts for n in range(count)]
        fits = len(listed) == int(environment["SLURM_STEP_NUM_TASKS"])
        fits &= 0 <= int(index) < len(listed)
    except (KeyError, ValueError, AssertionError):
        fits = False
    found = {name: environment.get(name) for name in names}
    rule = 'those of a job step whose tasks are numbered node by node ("srun -m block")'
    check("Slurm's variables", rule, fits, found)
    return Cluster(tuple(listed), int(index))
