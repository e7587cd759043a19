"""The Slurm script and the Kubernetes manifest of docs/TRAINING.md."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from pgi.training import cluster

DOCS = Path(__file__).parents[2] / "docs"
MANIFEST = DOCS / "kubernetes" / "train.yaml"
SCRIPT = DOCS / "slurm" / "train.sbatch"
# Those of experiments/program.py after which a training goes on.
CONTINUED = [os.EX_TEMPFAIL, 138, 143]


def manifest() -> tuple[dict[str, Any], dict[str, Any]]:
    service, job = yaml.safe_load_all(MANIFEST.read_text())
    return service, job


@pytest.mark.parametrize("part", range(2))
def test_kubernetes_schema_accepts_the_manifest(part: int) -> None:
    version = kubernetes_validate.latest_version()
    kubernetes_validate.validate(manifest()[part], version, strict=True)


def test_kubernetes_schema_would_refuse_a_misspelt_field() -> None:
    _, job = manifest()
    job["spec"]["completion"] = job["spec"].pop("completions")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job, kubernetes_validate.latest_version(), strict=True)


def test_every_pod_gets_the_cluster_of_all_pods() -> None:
    service, job = manifest()
    spec, (container,) = job["spec"], job["spec"]["template"]["spec"]["containers"]
    variables = {variable["name"]: variable for variable in container["env"]}
    # $(INDEX) is replaced only by a variable that stands before it.
    assert [*variables] == ["INDEX", "TF_CONFIG"]
    source = variables["INDEX"]["valueFrom"]["fieldRef"]["fieldPath"]
    assert source == "metadata.annotations['batch.kubernetes.io/job-completion-index']"
    assert spec["completionMode"] == "Indexed" and spec["completions"] == spec["parallelism"]
    # A pod of an Indexed Job is called JOB-INDEX, and found as HOST.SUBDOMAIN.
    domain = spec["template"]["spec"]["subdomain"]
    assert service["metadata"]["name"] == domain and service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"]["batch.kubernetes.io/job-name"] == job["metadata"]["name"]
    port = container["ports"][0]["containerPort"]
    for index in range(spec["completions"]):
        text = variables["TF_CONFIG"]["value"].replace("$(INDEX)", str(index))
        found = cluster.from_environment({"TF_CONFIG": text})
        assert found is not None and found.index == index
        assert [*found.addresses] == [
            f"{job['metadata']['name']}-{n}.{domain}:{port}" for n in range(spec["completions"])
        ]


def test_kubernetes_replaces_workers_that_shall_go_on_and_gives_up_on_errors() -> None:
    rules = manifest()[1]["spec"]["podFailurePolicy"]["rules"]
    by_code = {
        rule["action"]: rule["onExitCodes"]["values"]
        for rule in rules
        if len(rule) == 2 and "onExitCodes" in rule
    }
    assert by_code == {"FailJob": [2], "Ignore": CONTINUED}


def test_the_slurm_script_is_valid() -> None:
    subprocess.run(["bash", "-n", SCRIPT], check=True)


@pytest.mark.parametrize(
    ("status", "restarts", "requeued", "ended"),
    [
        (0, 0, False, 0),
        (2, 0, False, 2),
        (1, 0, False, 1),
        (137, 0, True, 0),
        (137, 100, False, 137),
        *((status, 3, True, 0) for status in CONTINUED),
    ],
)
def test_the_slurm_job_queues_again_after_what_can_go_on(
    tmp_path: Path, status: int, restarts: int, requeued: bool, ended: int
) -> None:
    commands = (("srun", f'echo "$@" > arguments; exit {status}'), ("scontrol", "touch requeued"))
    for name, line in commands:
        (tmp_path / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / name).chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "SLURM_JOB_ID": "7",
        "SLURM_CPUS_PER_TASK": "8",
        "SLURM_RESTART_COUNT": str(restarts),
    }
    result = subprocess.run(["bash", SCRIPT, "--config=x"], cwd=tmp_path, env=environment)
    assert result.returncode == ended
    assert (tmp_path / "requeued").exists() == requeued
    arguments = (tmp_path / "arguments").read_text().split()
    assert {"--kill-on-bad-exit=0", "--cpus-per-task=8", "--config=x"} <= set(arguments)
