"""Which workers TF_CONFIG and Slurm describe, and what is refused."""

from __future__ import annotations

import json
import socket
import threading
import time

import pytest

from pgi import __main__ as pgi_program
from pgi.errors import RuleError, WorkersError
from pgi.training import cluster
from pgi.training.cluster import Cluster

ADDRESSES = ["a:1", "b:2", "c:3"]


def tf_config(jobs: dict, kind: str = "worker", index: object = 0) -> dict[str, str]:
    return {"TF_CONFIG": json.dumps({"cluster": jobs, "task": {"type": kind, "index": index}})}


def slurm(nodes: str, tasks: str, count: int, index: int, job: int = 0) -> dict[str, str]:
    return {
        "SLURM_STEP_NODELIST": nodes,
        "SLURM_STEP_TASKS_PER_NODE": tasks,
        "SLURM_STEP_NUM_TASKS": str(count),
        "SLURM_PROCID": str(index),
        "SLURM_JOB_ID": str(job),
    }


def test_workers_are_those_of_tf_config() -> None:
    found = cluster.from_environment(tf_config({"worker": ADDRESSES}, index=2))
    assert found == Cluster(("a:1", "b:2", "c:3"), 2)


@pytest.mark.parametrize(("kind", "index", "own"), [("chief", 0, 0), ("worker", 1, 2)])
def test_a_chief_is_the_first_worker(kind: str, index: int, own: int) -> None:
    jobs = {"worker": ADDRESSES[1:], "chief": ADDRESSES[:1]}
    assert cluster.from_environment(tf_config(jobs, kind, index)) == Cluster(tuple(ADDRESSES), own)


@pytest.mark.parametrize("environment", [{}, {"TF_CONFIG": ""}, {"TF_CONFIG": '{"task": {}}'}])
def test_without_a_cluster_there_is_one_process(environment: dict[str, str]) -> None:
    assert cluster.from_environment(environment) is None
    cluster.refuse(environment)


@pytest.mark.parametrize(
    "text",
    [
        "worker 0",
        "[]",
        "7",
        "[" * 100_000,
        '{"cluster": {"worker": ["a:1"]}}',
        '{"cluster": 3, "task": {"type": "worker", "index": 0}}',
        *(
            tf_config(jobs, kind, index)["TF_CONFIG"]
            for jobs, kind, index in (
                ({"worker": ADDRESSES}, "worker", 3),
                ({"worker": ADDRESSES}, "worker", -1),
                ({"worker": ADDRESSES}, "worker", "first"),
                ({"worker": ADDRESSES}, "chief", 0),
                ({"worker": ADDRESSES, "ps": ["d:4"]}, "worker", 0),
                ({"worker": ADDRESSES, "chief": ["d:4", "e:5"]}, "worker", 0),
                ({"worker": ["a:1", "a:1"]}, "worker", 0),
                ({"worker": ["a", "b:2"]}, "worker", 0),
                ({"worker": "a:1"}, "worker", 0),
            )
        ),
    ],
)
def test_a_malformed_tf_config_is_refused_in_one_message(text: str) -> None:
    with pytest.raises(RuleError, match=r"TF_CONFIG must be JSON such as .* got "):
        cluster.from_environment({"TF_CONFIG": text})


@pytest.mark.parametrize(
    ("nodes", "tasks", "hosts"),
    [
        ("gpu7", "3", ["gpu7", "gpu7", "gpu7"]),
        # Not in the order of names, in which n10 comes before n9.
        ("n[9-11]", "1(x3)", ["n9", "n10", "n11"]),
        ("n[08-09],m2", "2(x2),1", ["n08", "n08", "n09", "n09", "m2"]),
    ],
)
def test_workers_are_the_tasks_of_a_slurm_job_step(nodes: str, tasks: str, hosts: list) -> None:
    for index in range(len(hosts)):
        found = cluster.from_environment(slurm(nodes, tasks, len(hosts), index, job=5_003))
        assert found is not None and found.index == index
        assert [address.rpartition(":")[0] for address in found.addresses] == hosts
        assert len(set(found.addresses)) == len(hosts)
        ports = {int(address.rpartition(":")[2]) for address in found.addresses}
        assert min(ports) == 20_030 and max(ports) < 32_768


def test_two_slurm_jobs_on_a_node_have_different_ports() -> None:
    first, second = (cluster.from_environment(slurm("n1", "8", 8, 0, job)) for job in (41, 42))
    assert first is not None and second is not None
    assert not set(first.addresses) & set(second.addresses)


def test_a_single_slurm_task_and_a_script_outside_a_step_are_one_process() -> None:
    assert cluster.from_environment(slurm("n1", "1", 1, 0)) is None
    assert cluster.from_environment({"SLURM_JOB_ID": "7", "SLURM_PROCID": "0"}) is None


@pytest.mark.parametrize(
    "change",
    [
        {"SLURM_STEP_NODELIST": "n[1-"},
        {"SLURM_STEP_TASKS_PER_NODE": "two"},
        {"SLURM_STEP_NUM_TASKS": "4"},
        {"SLURM_PROCID": "3"},
    ],
)
def test_slurm_variables_that_do_not_fit_are_refused(change: dict[str, str]) -> None:
    with pytest.raises(RuleError, match=r"Slurm's variables must be .*SLURM_PROCID"):
        cluster.from_environment({**slurm("n[1-2]", "1(x2)", 2, 0), **change})


def test_programs_of_one_process_refuse_several_workers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("TF_CONFIG", tf_config({"worker": ADDRESSES})["TF_CONFIG"])
    assert pgi_program.main(["inpaint", "--model=x", "--images=x", "--masks=x", "--output=y"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("pgi inpaint: error: TF_CONFIG must be unset or of one worker")
    monkeypatch.setenv("TF_CONFIG", tf_config({"worker": ADDRESSES[:1]})["TF_CONFIG"])
    cluster.refuse()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return int(probe.getsockname()[1])


def test_workers_meet_when_the_last_one_is_there() -> None:
    addresses = (f"localhost:{free_port()}", "localhost:1", "localhost:2")
    met: list[int] = []

    def meet(index: int) -> None:
        cluster.meet(Cluster(addresses, index))
        met.append(index)

    threads = [threading.Thread(target=meet, args=(index,), daemon=True) for index in (1, 0, 2)]
    threads[0].start()  # The chief is not there yet.
    time.sleep(0.2)
    threads[1].start()
    time.sleep(1.5)
    for text in (b"GET / HTTP/1.1", b"7"):  # Something else, and no worker of this cluster.
        with socket.create_connection(("localhost", int(addresses[0].rpartition(":")[2]))) as other:
            other.sendall(text)
    time.sleep(0.2)
    assert not met
    threads[2].start()
    for thread in threads:
        thread.join(timeout=20)
    assert sorted(met) == [0, 1, 2]


def test_a_worker_that_went_away_is_waited_for_again() -> None:
    addresses = (f"localhost:{free_port()}", "localhost:1", "localhost:2")
    chief = threading.Thread(target=cluster.meet, args=(Cluster(addresses, 0),), daemon=True)
    chief.start()
    time.sleep(0.2)
    with socket.create_connection(("localhost", int(addresses[0].rpartition(":")[2]))) as gone:
        gone.sendall(b"2")
        time.sleep(0.2)
    others = [
        threading.Thread(target=cluster.meet, args=(Cluster(addresses, index),), daemon=True)
        for index in (1, 2)
    ]
    others[0].start()
    time.sleep(0.5)
    assert chief.is_alive()
    others[1].start()
    for thread in (chief, *others):
        thread.join(timeout=20)
        assert not thread.is_alive()


def test_a_chief_whose_port_is_in_use_says_so() -> None:
    with socket.create_server(("", 0)) as server:
        address = f"localhost:{server.getsockname()[1]}"
        with pytest.raises(WorkersError, match=f"worker 0 cannot listen at {address}"):
            cluster.meet(Cluster((address, "localhost:1"), 0))
