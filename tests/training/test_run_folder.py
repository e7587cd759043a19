"""Held: a run folder takes up its own run only, and no reader ever sees half a file."""

from __future__ import annotations

import dataclasses
import errno
import json
import multiprocessing
import os
import platform
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from pgi import atomic
from pgi.atomic import write_atomically
from pgi.config import DataConfig, ExperimentConfig, LossConfig, TrainConfig, differences, to_dict
from pgi.errors import RunFolderError
from pgi.training import description, lock
from pgi.training.run_folder import RunFolder

CONFIG = ExperimentConfig(name="a")


def changed_train(**values) -> ExperimentConfig:
    return ExperimentConfig(train=TrainConfig(**values))


LAYERWISE = ExperimentConfig(train=TrainConfig(schedule="layerwise", steps=300))
FOLLOWS_STEPS = {
    "layerwise": LAYERWISE,
    "bottom_up": changed_train(schedule="bottom_up"),
    "cosine": changed_train(learning_rate_schedule="cosine"),
    "adversarial warm-up": ExperimentConfig(loss=LossConfig(adversarial_warmup=0.5)),
}


def changed(config: ExperimentConfig, **values) -> ExperimentConfig:
    """The config with other values of `train`."""
    return dataclasses.replace(config, train=dataclasses.replace(config.train, **values))


def contents(folder: Path) -> dict[str, bytes]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


# Beginning


def test_a_new_folder_is_made_and_described(tmp_path):
    run = RunFolder(tmp_path / "runs" / "deep" / "a")
    assert not run.path.exists()
    run.begin(CONFIG)
    assert run.samples.is_dir()
    assert run.read_config() == CONFIG
    found = json.loads((run.path / "config.json").read_bytes())
    assert differences(found["config"], to_dict(CONFIG)) == []
    assert found["versions"]["python"] == platform.python_version()
    assert found["versions"]["tensorflow"] == tf.__version__
    assert found["versions"]["numpy"] == np.__version__


def test_an_empty_folder_is_as_good_as_a_new_one(tmp_path):
    RunFolder(str(tmp_path)).begin(CONFIG)
    assert RunFolder(tmp_path).read_config() == CONFIG


def test_the_same_config_takes_the_run_up_again_and_keeps_its_files(tmp_path):
    RunFolder(tmp_path).begin(CONFIG)
    run = RunFolder(tmp_path)
    run.append_metrics(5, {"loss": 1.0})
    (run.samples / "step_5.png").write_bytes(b"x")
    before = contents(tmp_path)
    RunFolder(tmp_path).begin(ExperimentConfig(name="a"))
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", ["notes.txt", ".hidden", "checkpoints/step-5.index"])
def test_a_folder_of_other_files_is_refused_and_left_as_it_was(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    with pytest.raises(RunFolderError) as error:
        RunFolder(tmp_path).begin(CONFIG)
    assert str(tmp_path) in str(error.value) and "no config.json" in str(error.value)
    assert contents(tmp_path) == {name: b"mine"}


def test_a_file_in_the_folders_place_is_refused(tmp_path):
    path = tmp_path / "run"
    path.write_text("mine")
    with pytest.raises(RunFolderError, match=str(path)):
        RunFolder(path).begin(CONFIG)
    assert path.read_text() == "mine"


def test_a_run_of_another_config_is_refused_with_every_difference_and_both_values(tmp_path):
    RunFolder(tmp_path).begin(CONFIG)
    before = contents(tmp_path)
    other = changed(
        dataclasses.replace(CONFIG, loss=LossConfig(level_weights=(10.0, 1.0, 2.0))),
        batch_size=8,
        steps=3,  # Free to change, so no reason to refuse.
    )
    with pytest.raises(RunFolderError) as error:
        RunFolder(tmp_path).begin(other)
    message = str(error.value)
    assert str(tmp_path) in message
    lines = [line.strip() for line in message.splitlines() if ", not " in line]
    assert lines == [
        "loss.level_weights: (10.0, 1.0, 1.0), not (10.0, 1.0, 2.0)",
        "train.batch_size: 4, not 8",
    ]
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    "values",
    [
        {"steps": 7},
        {"minutes": 2.5},
        {"snapshot_steps": 3},
        {"keep_checkpoints": 1},
        {"milestone_steps": 100},
        {"milestone_hours": 0.5},
        {"attention_megabytes": 64},
    ],
    ids=lambda values: next(iter(values)),
)
def test_how_long_a_run_goes_on_may_change(tmp_path, values):
    RunFolder(tmp_path).begin(CONFIG)
    other = changed(CONFIG, **values)
    RunFolder(tmp_path).begin(other)
    assert RunFolder(tmp_path).read_config() == other
    RunFolder(tmp_path).begin(CONFIG)  # And back.


@pytest.mark.parametrize(
    "values",
    [{"seed": 1}, {"learning_rate": 1e-3}, {"beta_1": 0.9}, {"schedule": "layerwise"}],
    ids=lambda values: next(iter(values)),
)
def test_what_a_step_computes_may_not_change(tmp_path, values):
    RunFolder(tmp_path).begin(CONFIG)
    with pytest.raises(RunFolderError, match=f"train.{next(iter(values))}: "):
        RunFolder(tmp_path).begin(changed(CONFIG, **values))


@pytest.mark.parametrize("name", FOLLOWS_STEPS)
def test_where_what_a_step_computes_follows_from_the_steps_they_may_not_change(tmp_path, name):
    config = changed(FOLLOWS_STEPS[name], steps=300)
    RunFolder(tmp_path).begin(config)
    RunFolder(tmp_path).begin(config)
    with pytest.raises(RunFolderError, match=r"train\.steps: 300, not 600"):
        RunFolder(tmp_path).begin(changed(config, steps=600))


@pytest.mark.parametrize("name", ["minutes", "snapshot_steps", "keep_checkpoints"])
def test_layerwise_a_run_may_still_be_given_more_time(tmp_path, name):
    RunFolder(tmp_path).begin(LAYERWISE)
    other = changed(LAYERWISE, **{name: 7})
    RunFolder(tmp_path).begin(other)
    assert RunFolder(tmp_path).read_config() == other


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "\xff",
        "[]",
        "{}",
        '{"config": 3}',
        '{"config": {"nonsense": 1}}',
        '{"config": {"train": 3}}',
        '{"config": {"train": {"seed": "x"}}}',
        '{"config": {"train": {"steps": -1}}}',
        '{"config": {"train": {"steps": 0}, "loss": {"adversarial_warmup_steps": 1}}}',
        "[" * 200_000,
        '{"config": ' * 200_000,
    ],
    ids=lambda content: content[:40],
)
def test_a_config_that_is_none_is_a_clear_error(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content.encode("latin-1"))
    for function in (RunFolder(tmp_path).read_config, lambda: RunFolder(tmp_path).begin(CONFIG)):
        with pytest.raises(RunFolderError, match=f"{tmp_path} is not a run folder: ."):
            function()


def test_a_folder_without_a_config_is_no_run_folder(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(RunFolderError, match=f"{path} is not a run folder"):
            RunFolder(path).read_config()


# Metrics


def run_with_metrics(path: Path, steps: range) -> RunFolder:
    run = RunFolder(path)
    for step in steps:
        run.append_metrics(step, {"train/loss": 1 / 3 + step, "validation/loss": 1e-30})
    return run


def test_metrics_come_back_exactly_and_in_order(tmp_path):
    assert RunFolder(tmp_path).read_metrics() == []
    run = run_with_metrics(tmp_path, range(0, 30, 10))
    assert run.read_metrics() == [
        {"step": step, "train/loss": 1 / 3 + step, "validation/loss": 1e-30} for step in (0, 10, 20)
    ]
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 3


@pytest.mark.parametrize("step, kept", [(-1, 0), (0, 1), (19, 2), (20, 3), (1000, 4)])
def test_later_lines_are_forgotten_and_earlier_ones_kept(tmp_path, step, kept):
    run = run_with_metrics(tmp_path, range(0, 40, 10))
    before = run.read_metrics()
    run.forget_after(step)
    assert run.read_metrics() == before[:kept]


def test_a_line_cut_off_by_a_kill_is_left_out_wherever_it_was_cut(tmp_path):
    """Earlier versions appended to the file."""
    path = tmp_path / "metrics.jsonl"
    run = run_with_metrics(tmp_path, range(0, 30, 10))
    whole, expected = path.read_bytes(), run.read_metrics()
    last = whole.rindex(b"\n", 0, -1) + 1
    for length in range(last, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert run.read_metrics() == expected[:2]
        run.append_metrics(20, {"again": 1.0})
        assert run.read_metrics() == [*expected[:2], {"step": 20, "again": 1.0}]
    # Only its line feed lacks: the line is whole, and the next one must not stick to it.
    path.write_bytes(whole[:-1])
    run.append_metrics(30, {})
    assert run.read_metrics() == [*expected, {"step": 30}]


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"\xff\xfe",
        b"3",
        b"[]",
        b"{}",
        b'{"step": null}',
        b'{"step": {}}',
        b'{"step": "5"}',
        b"[" * 200_000,
    ],
    ids=lambda line: line[:16].decode("latin-1"),
)
def test_a_bad_line_costs_no_other_one_and_is_named(tmp_path, line, caplog):
    run = run_with_metrics(tmp_path, range(0, 40, 10))
    expected = run.read_metrics()
    path = tmp_path / "metrics.jsonl"
    lines = path.read_bytes().splitlines()
    lines[1] = line
    path.write_bytes(b"\n".join(lines) + b"\n")
    assert run.read_metrics() == [expected[0], *expected[2:]]
    assert caplog.records[0].getMessage() == f"{path}: left out line 2, which cannot be read"
    run.forget_after(20)
    caplog.clear()
    assert run.read_metrics() == [expected[0], expected[2]] and not caplog.records


def test_a_kill_while_metrics_are_added_leaves_the_old_lines(tmp_path, monkeypatch):
    run = run_with_metrics(tmp_path, range(0, 20, 10))
    before = contents(tmp_path)

    def kill(*_) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(atomic.os, "fsync", kill)
    with pytest.raises(KeyboardInterrupt):
        run.append_metrics(20, {})
    assert contents(tmp_path) == before


def test_a_run_without_metrics_has_none_to_forget(tmp_path):
    run = RunFolder(tmp_path)
    run.forget_after(0)
    assert run.read_metrics() == []


def test_of_the_pictures_the_newest_50_and_the_milestones_are_kept(tmp_path):
    run = RunFolder(tmp_path)
    run.begin(CONFIG)
    for step in (20, 30):
        (run.milestones / f"step-{step}.index").touch()
    for step in range(1, 61):
        run.write_picture(step, bytes([step]), ".png" if step % 2 else ".jpg")
    kept = sorted(int(path.stem[5:]) for path in run.samples.iterdir())
    assert kept == list(range(11, 61))
    for step in range(61, 120):
        run.write_picture(step, b"x", ".png")
    kept = sorted(int(path.stem[5:]) for path in run.samples.iterdir())
    assert kept == [20, 30, *range(70, 120)]
    picture = run.picture(20)
    assert picture is not None and picture.read_bytes() == bytes([20])
    assert run.picture(21) is None
    run.forget_after(70)
    assert sorted(int(path.stem[5:]) for path in run.samples.iterdir()) == [20, 30, 70]


def test_a_run_of_an_earlier_version_is_read(tmp_path):
    run = RunFolder(tmp_path)
    run.begin(CONFIG)
    old = json.loads((tmp_path / "config.json").read_text())
    del old["format"]
    loss, train = old["config"]["loss"], old["config"]["train"]
    loss["adversarial_warmup_steps"] = loss.pop("adversarial_warmup") + 250_000
    train |= {"ema_momentum": 0.95, "ema_overwrite_frequency": 50}
    (tmp_path / "config.json").write_text(json.dumps(old))
    found = run.read_config()
    assert found.loss.adversarial_warmup == 0.25 and found.train.ema_momentum == 0.0
    assert found.model == CONFIG.model


# Writing


def test_a_reader_sees_the_old_content_or_the_new(tmp_path):
    path = tmp_path / "x"
    versions = [bytes([letter]) * 2_000_000 for letter in b"ab"]
    write_atomically(path, versions[0])
    seen, done = [], threading.Event()

    def read() -> None:
        while not done.is_set():
            content = path.read_bytes()
            seen.append(versions.index(content) if content in versions else content[:10])

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for turn in range(40):
            write_atomically(path, versions[(turn + 1) % 2])
    finally:
        done.set()
        reader.join()
    # Both kinds were met, so the reader did look in between.
    assert set(seen) == {0, 1}
    assert [file.name for file in tmp_path.iterdir()] == ["x"]


def test_several_writers_of_one_file_leave_it_whole_and_fail_never(tmp_path):
    path, context = tmp_path / "x", multiprocessing.get_context("fork")
    versions = [bytes([letter]) * 500_000 for letter in b"abc"]
    write_atomically(path, versions[0])

    def write(content: bytes) -> None:
        for _ in range(30):
            write_atomically(path, content)

    writers = [context.Process(target=write, args=[content]) for content in versions]
    for writer in writers:
        writer.start()
    seen = []
    while any(writer.is_alive() for writer in writers):
        seen.append(path.read_bytes())
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    assert set(seen) <= set(versions) and len(set(seen)) > 1
    assert [file.name for file in tmp_path.iterdir()] == ["x"]


def test_a_name_of_the_greatest_length_is_written(tmp_path):
    for name in ("x" * 255, "ü" * 127):
        write_atomically(tmp_path / name, b"content")
        assert (tmp_path / name).read_bytes() == b"content"


def test_a_name_that_is_not_utf_8_is_written(tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9.png")
    write_atomically(path, b"content")
    assert path.read_bytes() == b"content"


def test_what_killed_writers_left_is_removed_an_hour_later_and_nothing_else(tmp_path):
    names = [".x.0123abcd.part", ".config.json.4567cdef.part", ".x.part", "x.0123abcd.part", "x"]
    for name in names:
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time.time() - 4000,) * 2)
    (tmp_path / ".new.0123abcd.part").touch()
    atomic.remove_leftovers(tmp_path)
    left = {".x.part", "x.0123abcd.part", "x", ".new.0123abcd.part"}
    assert {path.name for path in tmp_path.iterdir()} == left
    atomic.remove_leftovers(tmp_path / "nowhere")


@pytest.mark.parametrize("name", [".config.json.0123abcd.part", ".config.json.part"])
def test_a_run_that_was_killed_while_its_config_was_written_begins_again(tmp_path, name):
    (tmp_path / name).write_bytes(b"half")
    RunFolder(tmp_path).begin(CONFIG)
    assert RunFolder(tmp_path).read_config() == CONFIG
    other = tmp_path / "other"
    other.mkdir()
    (other / ".metrics.0123abcd.part").touch()
    with pytest.raises(RunFolderError, match=r"holds other files and no run"):
        RunFolder(other).begin(CONFIG)


def test_a_write_that_fails_leaves_the_old_content(tmp_path, monkeypatch):
    path = tmp_path / "x"
    write_atomically(path, b"old")

    def full(*_) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(atomic.os, "fsync", full)
    with pytest.raises(OSError, match="no space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("function", ["begin", "forget_after"])
def test_the_folders_own_files_are_written_in_that_way(tmp_path, monkeypatch, function):
    """A kill while the new content is being written loses nothing of the old."""
    run = RunFolder(tmp_path)
    run.begin(CONFIG)
    run.append_metrics(1, {"loss": 2.0})

    def kill(*_) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(atomic.os, "fsync", kill)
    with pytest.raises(KeyboardInterrupt):
        run.begin(changed(CONFIG, steps=9)) if function == "begin" else run.forget_after(0)
    assert run.read_config() == CONFIG
    assert run.read_metrics() == [{"step": 1, "loss": 2.0}]


def test_a_run_that_was_killed_while_it_was_begun_can_be_begun(tmp_path, monkeypatch):
    def kill(*_) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(atomic.os, "fsync", kill)
        with pytest.raises(KeyboardInterrupt):
            RunFolder(tmp_path / "run").begin(CONFIG)
    RunFolder(tmp_path / "run").begin(CONFIG)
    assert RunFolder(tmp_path / "run").read_config() == CONFIG


def test_a_run_is_continued_whether_or_not_its_images_licence_was_recorded(tmp_path):
    images = {"train": [7, "files a1"], "validation": [2, "files b2"]}
    for licence in (None, "free", "changed"):
        RunFolder(tmp_path).begin(CONFIG, images, licence)
        assert RunFolder(tmp_path).read_description()["licence_of_images"] == licence


IMAGES = {"train": [7, "files a1"], "validation": [2, "files b2"]}


def test_a_run_without_a_note_of_its_images_is_compared_by_its_datasets_text(tmp_path):
    RunFolder(tmp_path).begin(CONFIG)  # As a folder was begun before there was a note of images.
    content = json.loads((tmp_path / "config.json").read_text())
    del content["images"]
    (tmp_path / "config.json").write_text(json.dumps(content))
    other = dataclasses.replace(CONFIG, data=DataConfig(dataset="folder:/b"))
    with pytest.raises(RunFolderError, match=r"data\.dataset: 'samples', not 'folder:/b'"):
        RunFolder(tmp_path).begin(other, IMAGES)
    RunFolder(tmp_path).begin(CONFIG, IMAGES)
    RunFolder(tmp_path).begin(other, IMAGES)


@pytest.mark.parametrize(
    ("train", "line"),
    [
        ([1008, "files c3"], "train images: 7, not 1,008"),
        ([7, "files c3"], "train images: 7 too, but other file names or another order"),
        ([7, "cats:1.0.0 train"], "train images: 7 too, but other file names or another order"),
    ],
)
def test_other_images_are_refused_in_words(tmp_path, train, line):
    RunFolder(tmp_path).begin(CONFIG, IMAGES)
    RunFolder(tmp_path).begin(CONFIG, IMAGES)
    with pytest.raises(RunFolderError) as error:
        RunFolder(tmp_path).begin(CONFIG, {**IMAGES, "train": train})
    assert line in [x.strip() for x in str(error.value).splitlines()]
    assert "validation" not in str(error.value)


def test_another_version_of_a_prepared_dataset_is_named(tmp_path):
    RunFolder(tmp_path).begin(CONFIG, {"train": [7, "cats:1.0.0 train"]})
    with pytest.raises(RunFolderError, match=r"cats:1\.0\.0 train, not cats:1\.1\.0 train"):
        RunFolder(tmp_path).begin(CONFIG, {"train": [7, "cats:1.1.0 train"]})


def test_the_same_images_at_another_path_are_the_same_run(tmp_path, capsys):
    RunFolder(tmp_path).begin(CONFIG, IMAGES)
    assert not capsys.readouterr().out
    moved = dataclasses.replace(CONFIG, data=DataConfig(dataset="folder:/elsewhere/photos/"))
    RunFolder(tmp_path).begin(moved, IMAGES)
    assert "folder:/elsewhere/photos/, before samples" in capsys.readouterr().out
    assert RunFolder(tmp_path).read_config() == moved
    cropped = dataclasses.replace(moved, data=dataclasses.replace(moved.data, crop="resize"))
    with pytest.raises(RunFolderError, match=r"data\.crop: ") as error:
        RunFolder(tmp_path).begin(cropped, IMAGES)
    assert "dataset" not in str(error.value)


# Formats. Every format that there was has a folder in tests/training/run_folders.


def test_the_present_format_is_written(tmp_path):
    RunFolder(tmp_path).begin(CONFIG)
    assert RunFolder(tmp_path).read_description()["format"] == description.FORMAT


@pytest.mark.parametrize("number", [description.FORMAT + 1, 99, 1.5])
def test_a_later_format_is_refused_by_its_number_and_left_as_it_is(tmp_path, number):
    RunFolder(tmp_path).begin(CONFIG)
    content = json.loads((tmp_path / "config.json").read_text()) | {"format": number}
    content["config"]["hologram"] = True
    (tmp_path / "config.json").write_text(json.dumps(content))
    before = contents(tmp_path)
    run = RunFolder(tmp_path)
    for function in (run.read_config, run.read_description, lambda: run.begin(CONFIG)):
        with pytest.raises(RunFolderError, match=f"later version of pgi: it has format {number}"):
            function()
    assert contents(tmp_path) == before


# Locking

HOLDER = """
import sys, time
from pathlib import Path
from pgi.training.run_folder import RunFolder
with RunFolder(sys.argv[1]).locked():
    print("locked", flush=True)
    time.sleep(100)
"""


def test_a_folder_in_use_is_refused_with_its_process_and_free_after_a_kill(tmp_path):
    run = RunFolder(tmp_path / "run")
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", HOLDER, str(run.path)]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "locked\n"
        message = f"{run.path} is in use by another training, process {holder.pid} on "
        with pytest.raises(RunFolderError, match=message), run.locked():
            pass
        run.begin(CONFIG)  # What is no training is not blocked.
        assert run.read_config() == CONFIG
        holder.kill()
    message = rf"in use .* process {os.getpid()} on"
    with run.locked(), pytest.raises(RunFolderError, match=message), RunFolder(run.path).locked():
        pass
    with run.locked():
        pass


def test_a_copied_folder_is_not_in_use(tmp_path):
    with RunFolder(tmp_path / "run").locked():
        shutil.copytree(tmp_path / "run", tmp_path / "copied")
        with RunFolder(tmp_path / "copied").locked():
            pass


def test_where_locks_are_not_supported_a_warning_is_printed(tmp_path, monkeypatch, caplog):
    def no_locks(*_) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock.fcntl, "flock", no_locks)
    with RunFolder(tmp_path).locked():
        assert "cannot be locked (No locks available)" in caplog.records[0].getMessage()


def test_nothing_is_written_through_a_link_in_the_place_of_a_file(tmp_path):
    (tmp_path / "mine").write_text("mine")
    run = RunFolder(tmp_path / "run")
    run.begin(CONFIG)
    for name, write in (
        (lock.FILE, lambda: run.locked().__enter__()),
        ("metrics.jsonl", lambda: run.append_metrics(1, {})),
    ):
        (run.path / name).symlink_to(tmp_path / "mine")
        if name == "metrics.jsonl":  # A finished file takes the link's place.
            write()
        else:
            with pytest.raises(OSError, match="is a symbolic link; remove it"):
                write()
        assert (tmp_path / "mine").read_text() == "mine"


def test_a_folder_of_other_files_is_not_locked(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(RunFolderError, match=r"no config\.json"), RunFolder(tmp_path).locked():
        pass
    assert contents(tmp_path) == {"mine.txt": b"mine"}
