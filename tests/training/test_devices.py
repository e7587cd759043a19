"""The strategy of each name, and training on more devices than there are pictures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import tensorflow as tf

from pgi.errors import RuleError
from pgi.training import cluster, devices
from pgi.training.cluster import Cluster
from tests.training import worker

FOUR_DEVICES = """
import json, sys
import tensorflow as tf
from pgi.training import devices
from tests.training import worker

(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 4)
strategies = {x: devices.choose(x, worker.config()) for x in ("one", "mirrored")}
results = [
    worker.train(f"{sys.argv[1]}/{name}", strategy, levels=(8,), steps=2)
    for name, strategy in strategies.items()
]
print(json.dumps(results))
"""


def test_one_and_mirrored_are_what_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "from_environment", lambda: None)
    assert devices.choose("one", worker.config()) is tf.distribute.get_strategy()
    # There is no GPU here.
    assert devices.choose("auto", worker.config()) is tf.distribute.get_strategy()
    # The CPU is two devices, by tests/conftest.py.
    assert devices.choose("mirrored", worker.config()).num_replicas_in_sync == 2


@pytest.mark.parametrize(
    ("batch", "parts", "gpus", "count"),
    [(4, 1, 8, 4), (4, 1, 3, 2), (6, 1, 4, 3), (4, 2, 8, 2), (4, 4, 8, 1), (5, 1, 0, 1)],
)
def test_auto_takes_as_many_gpus_as_divide_the_batch(
    batch: int, parts: int, gpus: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "from_environment", lambda: None)
    made_up = [SimpleNamespace(name=f"GPU:{n}") for n in range(gpus)]
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: made_up)
    monkeypatch.setattr(devices, "mirrored", list)
    config = worker.config(batch_size=batch, accumulation_steps=parts)
    found: Any = devices.choose("auto", config)
    assert found == [gpu.name for gpu in made_up[:count]]
    compiled = worker.config(batch_size=batch, jit_compile=True)
    assert len(cast(list, devices.choose("auto", compiled))) <= 1


def test_one_device_needs_no_mirroring() -> None:
    # A dataset on a GPU, as one device has it, cannot be distributed.
    assert devices.mirrored(["GPU:0"]) is tf.distribute.get_strategy()


@pytest.mark.parametrize("name", ["auto", "multiworker"])
def test_several_processes_make_a_strategy_of_all(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Cluster(("a:1", "b:2"), 1)
    monkeypatch.setattr(cluster, "from_environment", lambda: found)
    monkeypatch.setattr(devices, "multi_worker", lambda cluster: cluster)
    assert devices.choose(name, worker.config()) is found


@pytest.mark.parametrize(
    ("name", "addresses", "message"),
    [
        ("one", ("a:1", "b:2"), '--strategy must be "auto" or "multiworker"'),
        ("mirrored", ("a:1", "b:2"), '--strategy must be "auto" or "multiworker"'),
        ("multiworker", (), "--strategy=multiworker must be in an environment with TF_CONFIG"),
        ("both", (), "--strategy must be one of auto, one, mirrored, multiworker, got 'both'"),
    ],
)
def test_a_strategy_that_does_not_fit_the_environment_is_refused(
    name: str, addresses: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Cluster(addresses, 0) if addresses else None
    monkeypatch.setattr(cluster, "from_environment", lambda: found)
    with pytest.raises(RuleError) as error:
        devices.choose(name, worker.config())
    assert str(error.value).startswith(message)


@pytest.mark.slow
def test_four_devices_train_like_one_with_three_validation_images(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FOUR_DEVICES, str(tmp_path)]
    root = Path(worker.__file__).parents[2]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=400)
    assert result.returncode == 0, result.stderr
    one, four = (x["metrics"] for x in json.loads(result.stdout.splitlines()[-1]))
    assert one.keys() == four.keys() and one["step"] == 2
    for name in one:
        np.testing.assert_allclose(four[name], one[name], 1e-3, 1e-5, err_msg=name)
