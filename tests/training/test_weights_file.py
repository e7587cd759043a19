"""A weights file gives the float16 weights that went in, or says which file is wrong."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pgi import weights
from pgi.config import ModelConfig
from pgi.errors import RunFolderError
from pgi.models import PyramidGenerator
from pgi.rules import DILATIONS, FUSIONS
from pgi.training import initial_weights
from pgi.training.checkpoints import load_model
from pgi.training.run_folder import RunFolder
from pgi.training.weights_file import WeightsFile, find, to_bytes
from tests.tiny_run import CONFIG, MODEL, write_run


def network(config: ModelConfig) -> PyramidGenerator:
    model = PyramidGenerator(**dataclasses.asdict(config) | {"discriminator_width": None})
    model.build_networks()
    return model


def write_folder(folder: Path, content: bytes, config: ModelConfig = MODEL) -> WeightsFile:
    """A weights file with the hash that belongs to it."""
    RunFolder(folder).begin(dataclasses.replace(CONFIG, model=config))
    (folder / weights.FILE).write_bytes(content)
    change(folder, weights={"sha256": hashlib.sha256(content).hexdigest(), "step": 7})
    return WeightsFile(folder / weights.FILE)


def change(folder: Path, **values: Any) -> None:
    """Changes entries of config.json."""
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_bytes()) | values))


@pytest.fixture(scope="module")
def model() -> PyramidGenerator:
    return network(MODEL)


@pytest.mark.parametrize(
    "config",
    [
        *(dataclasses.replace(MODEL, fusion=x) for x in FUSIONS),
        *(dataclasses.replace(MODEL, dilation=x, drop_coarse=True) for x in DILATIONS),
    ],
    ids=lambda x: f"{x.fusion}-{x.dilation}",
)
def test_all_weights_come_back_rounded_to_float16(tmp_path: Path, config: ModelConfig) -> None:
    rng, model = np.random.default_rng(0), network(config)
    for variable in (x for network in model.sub_generators for x in network.weights):
        variable.assign(
            rng.normal(size=variable.shape)
        )  # Biases too, which are 0 in a new network.
    written = write_folder(tmp_path / "a", to_bytes(model, config), config)
    loaded, averaged = load_model(written)
    assert not averaged
    for theirs, ours in zip(loaded.sub_generators, model.sub_generators):
        for found, array in zip(theirs.get_weights(), ours.get_weights()):
            assert found.dtype == np.float32
            np.testing.assert_array_equal(found, array.astype(np.float16))


def test_the_file_is_of_plain_arrays_and_the_same_every_day(model: PyramidGenerator) -> None:
    content = to_bytes(model, MODEL)
    count = sum(network.count_params() for network in model.sub_generators)
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        assert json.loads(str(arrays["model_config"]))["levels"] == [8, 16]
        floats = [arrays[x] for x in arrays.files if x != "model_config"]
    assert {x.dtype for x in floats} == {np.dtype(np.float16)}
    assert sum(x.size for x in floats) == count
    # The time of writing would make another file of the same weights.
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert {x.date_time[0] for x in archive.infolist()} == {1980}


def _flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize(
    "damage",
    [_flipped, lambda x: x[:-100], lambda x: b"", lambda x: b"version https://git-lfs.github.com/"],
    ids=["a bit", "cut", "empty", "LFS pointer"],
)
def test_a_damaged_file_is_named_before_anything_is_loaded(
    tmp_path: Path, model: PyramidGenerator, damage: Callable[[bytes], bytes]
) -> None:
    content = to_bytes(model, MODEL)
    written = write_folder(tmp_path / "a", content)
    written.prefix.write_bytes(damage(content))
    fresh = network(MODEL)
    before = fresh.get_weights()
    message = f"a/weights.npz is damaged or .* its SHA-256 is {written.sha256}, not "
    with pytest.raises(RunFolderError, match=message):
        written.assign_to(fresh)
    for array, old in zip(fresh.get_weights(), before):
        np.testing.assert_array_equal(array, old)


@pytest.mark.parametrize(
    ("config", "fault"),
    [
        ({"fusion": "none"}, "model.fusion: 'image', not 'none'"),
        (
            {"width": 8},
            r"model.width: 4, not 8, level_0/conv1/kernel: \(5, 5, 5, 4\), not \(5, 5, 5",
        ),
        (
            {"levels": (8, 16, 32)},
            r"model.levels: .*, level_2/conv1/kernel: missing, not \(5, 5, 5",
        ),
    ],
)
def test_a_config_that_it_does_not_fit_is_named(
    tmp_path: Path, model: PyramidGenerator, config: dict[str, Any], fault: str
) -> None:
    other = dataclasses.replace(MODEL, **config)
    loss = dataclasses.replace(CONFIG.loss, level_weights=(1.0,) * len(other.levels))
    written = write_folder(tmp_path / "a", to_bytes(model, MODEL))
    changed = dataclasses.asdict(dataclasses.replace(CONFIG, model=other, loss=loss))
    change(tmp_path / "a", config=changed)
    with pytest.raises(RunFolderError, match=f"a/weights.npz does not fit config.json.*{fault}"):
        load_model(written)


class _Harmful:
    """An object whose unpickling writes a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.file,)


def test_objects_compression_and_other_types_are_refused(
    tmp_path: Path, model: PyramidGenerator
) -> None:
    with np.load(io.BytesIO(to_bytes(model, MODEL))) as stored:
        arrays = dict(stored)
    name = "level_1/conv2_downsample/kernel"
    harmful = np.empty((), object)
    harmful[()] = _Harmful(tmp_path / "written")
    cases: tuple[tuple[Any, dict[str, Any], str], ...] = (
        (np.savez, {name: harmful}, "Object arrays cannot be loaded"),
        (np.savez, {"model_config": harmful}, "Object arrays cannot be loaded"),
        (np.savez, {name: arrays[name].astype(int)}, f"no floating-point numbers: {name}"),
        (np.savez_compressed, {}, "it is compressed"),
    )
    for number, (save, changed, reason) in enumerate(cases):
        file = io.BytesIO()
        save(file, **arrays | changed)
        written = write_folder(tmp_path / str(number), file.getvalue())
        with pytest.raises(RunFolderError, match=rf"weights.npz cannot be read: .*{reason}"):
            load_model(written)
    assert not (tmp_path / "written").exists()


def test_a_config_without_its_hash_is_named(tmp_path: Path, model: PyramidGenerator) -> None:
    written = write_folder(tmp_path / "a", to_bytes(model, MODEL))
    change(tmp_path / "a", weights=None)
    with pytest.raises(RunFolderError, match=r"a/config.json must describe .*a/weights.npz"):
        load_model(written)


def test_it_is_found_by_its_folder_by_itself_and_by_its_name(
    tmp_path: Path, model: PyramidGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = write_folder(tmp_path / "package" / "tiny", to_bytes(model, MODEL))
    assert find(tmp_path / "package" / "tiny") == find(written.prefix) == written
    write_run(tmp_path / "run")
    assert find(tmp_path / "run").name == "step-2"
    monkeypatch.setattr(weights, "FOLDER", tmp_path / "package")
    monkeypatch.setattr(weights, "DEFAULT", "tiny")
    monkeypatch.chdir(tmp_path)
    assert find("tiny") == find(None) == written
    assert written.describe() == "tiny, which ships with pgi: step 7"
    write_run(tmp_path / "tiny")  # What the user has comes first.
    assert find("tiny").name == "step-2"


def test_training_starts_from_it_and_does_not_continue_in_it(
    tmp_path: Path, model: PyramidGenerator
) -> None:
    write_folder(tmp_path / "a", to_bytes(model, MODEL))
    with pytest.raises(
        RunFolderError, match=r"a holds weights without optimisers.*initial_weights"
    ):
        RunFolder(tmp_path / "a").begin(CONFIG)
    fresh = PyramidGenerator(**dataclasses.asdict(MODEL))
    fresh.build_networks()
    report = initial_weights.load(fresh, str(tmp_path / "a"))
    assert report.count("its discriminator keeps its initial weights") == 2
    for found, array in zip(fresh.sub_generators[1].weights, model.sub_generators[1].weights):
        np.testing.assert_array_equal(found, array.numpy().astype(np.float16))
