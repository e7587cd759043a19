"""A SavedModel is a program and a run folder is data, whatever someone has put into it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

import pgi
from pgi.errors import RunFolderError
from pgi.inference import PyramidInpainter
from pgi.training.run_folder import RunFolder
from tests.tiny_run import CONFIG, write_run


class _WritesWhenLoaded(tf.saved_model.experimental.TrackableResource):
    """A resource whose initialisation, which is a part of every loading, writes a file."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = str(file)

    @tf.function
    def _create_resource(self) -> tf.Tensor:
        return tf.raw_ops.VarHandleOp(dtype=tf.float32, shape=[])

    @tf.function
    def _initialize(self) -> None:
        tf.io.write_file(self._file, "it ran")


@pytest.fixture(scope="module")
def harmful(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A SavedModel, and the file that loading it writes."""
    folder = tmp_path_factory.mktemp("harmful")
    module = tf.Module()
    module.resource = _WritesWhenLoaded(folder / "written")
    tf.saved_model.save(module, str(folder / "model"))
    (folder / "written").unlink(missing_ok=True)
    return folder / "model", folder / "written"


def test_a_saved_model_can_do_anything_when_it_is_loaded(harmful: tuple[Path, Path]) -> None:
    model, written = harmful
    with pytest.raises(RunFolderError, match="is not a SavedModel of pgi"):
        pgi.load(model)
    assert written.read_text() == "it ran"
    written.unlink()


def _link(target: str) -> Callable[[Path, Path], None]:
    """Puts the SavedModel below the run, and a link in the place of a folder."""

    def plant(model: Path, run: Path) -> None:
        shutil.copytree(model, run / "elsewhere")
        shutil.rmtree(run / target, ignore_errors=True)
        (run / target).symlink_to("elsewhere")

    return plant


def _copy(place: str) -> Callable[[Path, Path], object]:
    return lambda model, run: shutil.copytree(model, run / place, dirs_exist_ok=True)


@pytest.mark.parametrize(
    ("plant", "named"),
    [
        (_copy("."), "."),
        (_copy("1"), "."),
        (_copy("checkpoints"), "checkpoints/step-2"),
        (_copy("."), "checkpoints/step-1.index"),
    ],
)
def test_a_run_folder_with_a_saved_model_in_it_is_loaded_as_data(
    tmp_path: Path, harmful: tuple[Path, Path], plant: Callable[[Path, Path], object], named: str
) -> None:
    write_run(tmp_path / "run")
    plant(harmful[0], tmp_path / "run")
    assert isinstance(pgi.load(tmp_path / "run" / named), PyramidInpainter)
    assert not harmful[1].exists()


@pytest.mark.parametrize(
    ("plant", "named"),
    [
        (_copy("checkpoints"), "checkpoints"),
        (_copy("best"), "best"),
        (_copy("milestones/1"), "milestones"),
        (_copy("best"), "checkpoints/../best"),
        (_link("best"), "best"),
        (_copy("best/step-2"), "best/step-2"),
        (_copy("checkpoints/step-2/1"), "checkpoints/step-2"),
        (_copy("checkpoints/damaged/step-9"), "checkpoints/damaged/step-9"),
    ],
)
def test_a_saved_model_in_a_folder_of_checkpoints_is_not_loaded(
    tmp_path: Path, harmful: tuple[Path, Path], plant: Callable[[Path, Path], object], named: str
) -> None:
    run = tmp_path / "run"
    write_run(run)
    plant(harmful[0], run)
    with pytest.raises(RunFolderError, match="is not a run folder"):
        pgi.load(run / named)
    assert not harmful[1].exists()


def test_a_run_whose_config_is_a_link_to_nowhere_is_not_loaded(
    tmp_path: Path, harmful: tuple[Path, Path]
) -> None:
    shutil.copytree(harmful[0], tmp_path / "run")
    os.symlink("nowhere", tmp_path / "run" / "config.json")
    with pytest.raises(RunFolderError, match="is not a run folder"):
        pgi.load(tmp_path / "run")
    assert not harmful[1].exists()


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"width": 10**6}, "width must be at most 256, got 1000000"),
        ({"levels": [2**20, 2**21]}, r"at most 6 levels of at most 8192 px, got \(1048576, 2097"),
    ],
)
def test_a_config_that_would_fill_the_memory_is_refused(
    tmp_path: Path, values: dict[str, Any], rule: str
) -> None:
    write_run(tmp_path / "run")
    file = tmp_path / "run" / "config.json"
    description = json.loads(file.read_bytes())
    description["config"]["model"].update(values)
    file.write_text(json.dumps(description))
    with pytest.raises(RunFolderError, match=rule):
        pgi.load(tmp_path / "run")


def test_a_new_run_folder_is_found_around_its_checkpoints_only(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    assert RunFolder.around(run.path) is None
    run.begin(CONFIG)
    for place in (run.path, run.checkpoints, run.milestones, run.best, run.best / "step-1"):
        found = RunFolder.around(place)
        assert found is not None and found.path == run.path.resolve()
    for place in (run.samples, run.path / "export", run.path / "export" / "1", tmp_path):
        assert RunFolder.around(place) is None
