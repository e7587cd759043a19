"""Which checkpoints are kept: the latest, milestones, and the best by validation."""

from __future__ import annotations

import os
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import pgi
from pgi import inference
from pgi.config import ExperimentConfig, ModelConfig, TrainConfig
from pgi.errors import RunFolderError, WriteError
from pgi.training import assembly, checkpoints
from pgi.training.checkpoints import BEST_BY, Checkpoints
from pgi.training.run_folder import Checkpoint, RunFolder, checkpoints_in
from pgi.training.stages import stages
from tests.small_disk import small_disk
from tests.tiny_run import CONFIG, write_run


def kept(folder: Path) -> list[int]:
    return sorted(int(path.stem.partition("-")[2]) for path in folder.glob("*.index"))


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path / "run")
    run.begin(CONFIG)
    return run


@pytest.fixture(scope="module")
def model():
    model = assembly.make_model(CONFIG)
    (stage,) = stages(CONFIG)
    assembly.compile_model(model, CONFIG, stage)
    return model


def save(run: RunFolder, model, train: TrainConfig, validation: dict[int, float]) -> None:
    """As a process that takes some steps does."""
    written = Checkpoints(run, model, train)
    for step, value in validation.items():
        run.append_metrics(step, {BEST_BY: value})
        written.save(step, value)


def test_the_latest_the_best_and_milestones_are_kept(run, model):
    train = TrainConfig(keep_checkpoints=2, milestone_steps=20)
    save(run, model, train, {10: 0.5, 20: 0.4, 30: 0.3, 40: 0.35, 50: 0.6})
    assert kept(run.checkpoints) == [40, 50]
    assert kept(run.best) == [30]
    assert kept(run.milestones) == run.milestone_steps() == [20, 40]


@pytest.mark.parametrize("note", ["lost", "stale", "foreign", "garbage"])
def test_checkpoints_are_found_and_rotated_whatever_tensorflows_note_says(run, model, note):
    train = TrainConfig(keep_checkpoints=2, milestone_steps=20)
    save(run, model, train, {10: 0.5, 20: 0.4})
    for folder in (run.checkpoints, run.milestones, run.best):
        match note:
            case "lost":
                (folder / "checkpoint").unlink()
            case "stale":
                tf.compat.v1.train.update_checkpoint_state(str(folder), "step-10")
            case "foreign":
                tf.compat.v1.train.update_checkpoint_state(str(folder), "/elsewhere/step-900")
            case "garbage":
                (folder / "checkpoint").write_bytes(b"\xff\x00{")
    newest = run.newest_checkpoint()
    assert newest == Checkpoint.find(run.path) and newest.step == 20
    save(run, model, train, {30: 0.6, 40: 0.7})
    assert kept(run.checkpoints) == [30, 40]
    assert kept(run.best) == [20]
    assert kept(run.milestones) == [20, 40]


def test_other_programs_find_the_newest_checkpoint_by_tensorflows_note(run, model):
    save(run, model, TrainConfig(keep_checkpoints=2), {10: 0.5, 9: 0.6, 30: 0.7})
    state = tf.train.get_checkpoint_state(str(run.checkpoints))
    folder = str(run.checkpoints)
    assert state is not None and state.model_checkpoint_path == f"{folder}/step-30"
    assert list(state.all_model_checkpoint_paths) == [f"{folder}/step-{n}" for n in (10, 30)]


def test_the_best_is_the_one_just_written_also_after_a_later_one_was_forgotten(run, model):
    train = TrainConfig()
    save(run, model, train, {10: 0.5, 40: 0.2})
    run.forget_after(10)
    save(run, model, train, {30: 0.3})
    assert kept(run.best) == [30]


def test_a_run_folder_that_was_moved_or_copied_has_its_checkpoints(run, model, tmp_path):
    save(run, model, TrainConfig(keep_checkpoints=2), {10: 0.5, 20: 0.4})
    shutil.copytree(run.path, tmp_path / "copied")
    run.path.rename(tmp_path / "moved")
    for name in ("copied", "moved"):
        there = RunFolder(tmp_path / name)
        assert Checkpoint.find(there.path).prefix == there.checkpoints / "step-20"
        save(there, model, TrainConfig(keep_checkpoints=2), {30: 0.3})
        assert kept(there.checkpoints) == [20, 30]


def test_only_complete_checkpoints_are_seen_and_leftovers_are_removed(run, model):
    """As a kill leaves them: in the middle of a saving, between two renamings, in a deletion."""
    save(run, model, TrainConfig(), {10: 0.5})
    complete = {path.name for path in run.checkpoints.iterdir()}
    (run.checkpoints / "step-30_temp").mkdir()
    for name in ("step-30_temp/part-00000-of-00001.data-00000-of-00001", "checkpoint.tmp7a"):
        (run.checkpoints / name).write_bytes(b"half")
    for step in (5, 20):
        (run.checkpoints / f"step-{step}.data-00000-of-00001").write_bytes(b"no index")
    (run.best / "step-20_temp").mkdir()
    found = run.newest_checkpoint()
    assert found and found.step == 10
    assert run.checkpoint_to_continue() == found
    assert {path.name for path in run.checkpoints.iterdir()} == complete
    assert not [*run.best.glob("*_temp")] and kept(run.best) == [10]


DATA = "data-00000-of-00001"


def harm(checkpoint: Checkpoint, how: str) -> None:
    index, data = (checkpoint.prefix.with_name(f"{checkpoint.name}.{x}") for x in ("index", DATA))
    match how:
        case "cut data":
            data.write_bytes(data.read_bytes()[:-1])
        case "cut index":
            index.write_bytes(index.read_bytes()[: index.stat().st_size // 2])
        case "empty data":
            data.write_bytes(b"")
        case "empty index":
            index.write_bytes(b"")
        case "flipped bit":
            content = bytearray(data.read_bytes())
            content[len(content) // 3] ^= 4
            data.write_bytes(content)
        case "no data":
            data.unlink()
        case "missing shard":
            data.rename(data.with_name(f"{checkpoint.name}.data-00001-of-00002"))


HARMS = (
    "cut data",
    "cut index",
    "empty data",
    "empty index",
    "flipped bit",
    "no data",
    "missing shard",
)


@pytest.mark.parametrize("how", HARMS)
def test_a_damaged_newest_checkpoint_is_skipped_and_set_aside(tmp_path, how, caplog):
    write_run(tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    whole = Checkpoint(run.checkpoints / "step-1")
    harm(Checkpoint(run.checkpoints / "step-2"), how)
    before = {path.name: path.read_bytes() for path in run.checkpoints.iterdir()}

    assert Checkpoint.find(run.path) == whole
    loaded = pgi.load(run.path)
    assert isinstance(loaded, inference.PyramidInpainter) and loaded.origin == str(whole)
    assert {path.name: path.read_bytes() for path in run.checkpoints.iterdir()} == before
    message = caplog.records[0].getMessage()
    assert message.startswith(f"skipped {run.checkpoints / 'step-2'}, which is damaged: ")

    assert run.checkpoint_to_continue() == whole
    assert "was moved to" in caplog.records[-1].getMessage()
    aside = {path.name: path.read_bytes() for path in (run.checkpoints / "damaged").iterdir()}
    assert aside == {name: x for name, x in before.items() if name.startswith("step-2.")}
    assert kept(run.checkpoints) == [1]


def test_no_damaged_byte_is_read_as_another_value(tmp_path):
    """A flipped bit anywhere is noticed, or lies where it changes nothing."""
    write_run(tmp_path / "run")
    checkpoint = Checkpoint(tmp_path / "run/checkpoints/step-1")

    def values() -> dict[str, bytes]:
        reader = tf.train.load_checkpoint(str(checkpoint))
        names = reader.get_variable_to_shape_map()
        return {n: np.asarray(reader.get_tensor(n)).tobytes() for n in names}

    expected, noticed = values(), []
    for path in checkpoint.files:
        content = path.read_bytes()
        for place in np.random.default_rng(0).integers(len(content), size=60):
            flipped = bytearray(content)
            flipped[place] ^= 1 << place % 8
            path.write_bytes(flipped)
            noticed.append(checkpoint.damage() is not None)
            assert noticed[-1] or values() == expected, (path.suffix, place)
        path.write_bytes(content)
    assert np.mean(noticed) > 0.9


def test_a_damaged_block_of_a_long_index_is_noticed(tmp_path):
    """TensorFlow drops the variables that such a block lists, without an error."""
    variables = [tf.Variable(0.0) for _ in range(6000)]
    many = tf.train.Checkpoint(a_name_that_makes_the_index_long=variables)
    checkpoint = Checkpoint(Path(many.write(str(tmp_path / "step-1"))))
    assert checkpoint.damage() is None
    index = tmp_path / "step-1.index"
    whole = index.read_bytes()
    reasons = []
    for place in (len(whole) // 2, len(whole) * 23 // 24):  # In the first and in the second.
        index.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert len(tf.train.list_variables(str(checkpoint))) < len(variables)
        reasons.append(checkpoint.damage() or "")
    assert all(reasons) and any("variables are missing, such as a_name" in x for x in reasons)


def test_a_run_whose_checkpoints_are_all_damaged_is_an_error_and_stays_as_it_is(tmp_path):
    write_run(tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    for step, how in ((1, "flipped bit"), (2, "no data")):
        harm(Checkpoint(run.checkpoints / f"step-{step}"), how)
    before = sorted(path.name for path in run.checkpoints.iterdir())
    for function in (run.newest_checkpoint, run.checkpoint_to_continue):
        with pytest.raises(RunFolderError, match="no checkpoint that can be read") as error:
            function()
        assert "step-2: 0 of 1 data files are there" in str(error.value)
        assert "step-1: " in str(error.value)
    assert sorted(path.name for path in run.checkpoints.iterdir()) == before


def test_a_run_that_lost_its_checkpoints_does_not_start_again(run, model):
    assert run.checkpoint_to_continue() is None
    run.append_metrics(10, {})  # Killed before its first checkpoint.
    assert run.checkpoint_to_continue() is None
    run.append_metrics(20, {})
    with pytest.raises(RunFolderError, match=r"no checkpoint, although .* 2 snapshots"):
        run.checkpoint_to_continue()
    run.forget_after(0)
    save(run, model, TrainConfig(milestone_steps=10), {10: 0.5})
    run.newest_checkpoint().delete()  # Killed in its first snapshot, after the milestone.
    assert run.checkpoint_to_continue() is None
    run.forget_after(0)
    with pytest.raises(RunFolderError, match=r"Put one back, for example from .*/milestones"):
        run.checkpoint_to_continue()


def test_a_damaged_checkpoint_is_neither_counted_nor_deleted(run, model):
    train = TrainConfig(keep_checkpoints=2)
    save(run, model, train, {10: 0.5, 20: 0.4})
    harm(Checkpoint(run.checkpoints / "step-20"), "cut data")
    assert run.checkpoint_to_continue().step == 10
    save(run, model, train, {30: 0.6, 40: 0.7})
    assert kept(run.checkpoints) == [30, 40] and kept(run.checkpoints / "damaged") == [20]


def test_a_checkpoint_is_on_the_disk_before_an_older_one_is_deleted(run, model, monkeypatch):
    train = TrainConfig(keep_checkpoints=1)
    save(run, model, train, {10: 0.5})
    synced: list[Path] = []

    def sync(*paths: Path) -> None:
        assert 10 in kept(run.checkpoints)
        synced.extend(paths)

    monkeypatch.setattr(checkpoints, "sync", sync)
    save(run, model, train, {20: 0.6})
    newest = run.newest_checkpoint()
    assert synced == [*newest.files, run.checkpoints] and kept(run.checkpoints) == [20]


@pytest.mark.parametrize(
    "share", [0.0, 0.3, 0.9, None], ids=lambda x: "read-only" if x is None else x
)
def test_a_disk_that_cannot_be_written_leaves_the_checkpoints_before(tmp_path, model, share):
    with small_disk(tmp_path / "disk") as disk:
        run = RunFolder(disk.path / "run")
        run.begin(CONFIG)
        written = Checkpoints(run, model, TrainConfig(keep_checkpoints=1))
        written.save(10, None)
        before = {path.name: path.read_bytes() for path in run.checkpoints.iterdir()}
        if share is None:
            disk.allow_writing(False)
        else:
            disk.fill(free=int(share * sum(map(len, before.values()))))
        problem = "Read-only file system" if share is None else "No space left on device"
        with pytest.raises(WriteError, match=f"{run.checkpoints / 'step-20'}: .*{problem}"):
            written.save(20, None)
        assert {path.name: path.read_bytes() for path in run.checkpoints.iterdir()} == before
        if share is None:
            disk.allow_writing(True)
        disk.empty()
        written.save(20, None)
        assert kept(run.checkpoints) == [20] and run.newest_checkpoint() is not None


def test_a_checkpoint_that_cannot_be_written_again_leaves_the_one_of_its_step(
    run, model, monkeypatch
):
    save(run, model, TrainConfig(), {10: 0.5})
    before = {path.name: path.read_bytes() for path in run.checkpoints.iterdir()}

    def fail(*_) -> None:
        (run.checkpoints / "step-10_temp").mkdir()
        message = "{{node x}} /x; No space left on device\n\tFailed to flush"
        raise tf.errors.ResourceExhaustedError(None, None, message)

    monkeypatch.setattr(tf.train.Checkpoint, "write", fail)
    with pytest.raises(WriteError, match=r"step-10: /x; No space left on device$"):
        save(run, model, TrainConfig(), {10: 0.5})
    assert {path.name: path.read_bytes() for path in run.checkpoints.iterdir()} == before


def test_other_files_are_no_checkpoints(tmp_path):
    for name in ("step-7", "step-007", "step-8-copy", "step-", "step-x-9", "model-10"):
        (tmp_path / f"{name}.index").touch()
    assert [x.name for x in checkpoints_in(tmp_path)] == ["step-7"]


def test_a_run_that_is_continued_remembers_its_best_and_its_milestones(run, model):
    train = TrainConfig(keep_checkpoints=2, milestone_steps=30)
    save(run, model, train, {10: 0.2, 30: 0.5})
    save(run, model, train, {50: 0.3, 60: 0.1})
    assert kept(run.checkpoints) == [50, 60]
    assert kept(run.best) == [60]
    assert kept(run.milestones) == [30, 60]


def test_milestones_by_the_hour_are_counted_over_all_processes(run, model, monkeypatch):
    now = [1e9]
    monkeypatch.setattr(checkpoints.time, "time", lambda: now[0])
    os.utime(run.milestones, times=(1e9, 1e9))
    for step, hours in enumerate((1.0, 1.4, 1.6, 2.0, 3.2), start=1):
        now[0] = 1e9 + 3600 * hours
        before = run.milestone_steps()
        Checkpoints(run, model, TrainConfig(milestone_hours=1.5)).save(step, 1.0)
        if run.milestone_steps() != before:
            os.utime(run.milestones, times=(now[0], now[0]))
    assert kept(run.milestones) == [3, 5]


def test_best_and_milestones_can_be_loaded_like_the_latest_and_say_what_they_are(run, model):
    bias = model.sub_generators[0].refine.decoder.conv17.bias
    written = Checkpoints(run, model, TrainConfig(milestone_steps=2))
    for step, value in {1: 0.5, 2: 0.9, 3: 0.7}.items():
        bias.assign([float(step)] * 3)
        written.save(step, value)
    expected = {
        run.path: (3, "checkpoints/step-3"),
        run.best / "step-1": (1, "best/step-1"),
        run.milestones / "step-2.index": (2, "milestones/step-2"),
    }
    for path, (step, place) in expected.items():
        loaded = inference.load_checkpoint(Checkpoint.find(path))
        assert loaded.origin == str(run.path / place) and loaded.warning is None
        assert loaded.model.sub_generators[0].refine.decoder.conv17.bias.numpy()[0] == step


def test_a_run_that_stopped_in_an_early_stage_is_loaded_with_a_warning(tmp_path, model):
    run = RunFolder(tmp_path)
    train = TrainConfig(schedule="bottom_up", steps=10)
    run.begin(replace(CONFIG, train=train))
    for step in (5, 6):
        Checkpoints(run, model, train).save(step, None)
    assert not kept(run.best)
    message = "step-5: level 1 of the pyramid is not trained yet"
    with pytest.warns(UserWarning, match=message):
        assert message in str(pgi.load(run.checkpoints / "step-5").warning)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert pgi.load(run.checkpoints / "step-6").warning is None
        assert message in str(inference.load(run.checkpoints / "step-5").warning)


def test_a_run_of_an_earlier_version_cannot_be_continued_and_is_told_what_can(tmp_path, model):
    old = tf.train.Checkpoint(
        sub_generators=model.sub_generators, discriminators=model.discriminators
    )
    checkpoint = Checkpoint(Path(old.write(str(tmp_path / "step-9"))))
    with pytest.raises(RunFolderError, match="but not continued"):
        checkpoints.restore(checkpoints.networks(model), checkpoint)


def test_a_checkpoint_of_other_networks_is_refused_by_name(tmp_path):
    write_run(tmp_path / "run")
    checkpoint = Checkpoint.find(tmp_path / "run")
    wider = assembly.make_model(
        ExperimentConfig(model=ModelConfig(levels=(8, 16, 32), width=8, discriminator_width=2))
    )
    with pytest.raises(RunFolderError, match="step-2 is damaged or does not fit"):
        checkpoints.restore(checkpoints.networks(wider), checkpoint)


def test_a_checkpoint_without_the_moving_average_is_refused_where_one_is_kept(tmp_path):
    write_run(tmp_path / "run")
    averaging = assembly.make_model(CONFIG)
    averaging.keep_averages()
    checkpoint = Checkpoint.find(tmp_path / "run")
    with pytest.raises(RunFolderError, match="does not fit"):
        checkpoints.restore(checkpoints.networks(averaging), checkpoint)


def test_a_checkpoint_knows_its_run_step_and_files(tmp_path):
    write_run(tmp_path / "run")
    newest = RunFolder(tmp_path / "run").newest_checkpoint()
    assert newest is not None and newest == Checkpoint.find(tmp_path / "run")
    assert str(newest) == tf.train.latest_checkpoint(str(tmp_path / "run" / "checkpoints"))
    assert (newest.name, newest.step, newest.run.path) == ("step-2", 2, tmp_path / "run")
    assert [x.name for x in newest.files] == ["step-2.data-00000-of-00001", "step-2.index"]
    older = Checkpoint.find(tmp_path / "run" / "checkpoints" / "step-1.index")
    assert older == Checkpoint.find(tmp_path / "run" / "checkpoints" / "step-1")
    assert older.step == 1 and older.sha256 != newest.sha256
    assert Checkpoint(Path("elsewhere/last")).step is None


def test_only_weights_that_are_used_are_loaded(tmp_path):
    write_run(tmp_path / "run")
    checkpoint = Checkpoint.find(tmp_path / "run")
    alone, _ = checkpoints.load_model(checkpoint)
    whole, _ = checkpoints.load_model(checkpoint, discriminators=True)
    assert not alone.discriminators and len(whole.discriminators) == 2
    ours, theirs = (x.sub_generators for x in (alone, whole))
    weights = sum(network.count_params() for network in theirs)
    assert alone.count_params() == weights + 1  # The step.
    for one, other in zip(ours, theirs):
        for x, y in zip(one.get_weights(), other.get_weights()):
            np.testing.assert_array_equal(x, y)
