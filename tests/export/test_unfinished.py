"""Temporary folders go with their export, or at the start of the next one; others stay."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgi.export.unfinished import PREFIX, ended_by_signals, unfinished_folder

# An export that takes long: it says when it has made its folder.
EXPORT = """
import sys, time
from pathlib import Path
from pgi.export.unfinished import ended_by_signals, unfinished_folder
with ended_by_signals(), unfinished_folder(Path(sys.argv[1])) as folder:
    (folder / "model").mkdir()
    (folder / "model" / "half").write_text("written")
    print("begun", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def export(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", EXPORT, str(tmp_path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout and process.stdout.readline() == "begun\n"
        yield process
        process.kill()


def test_a_folder_is_there_until_the_end(tmp_path: Path) -> None:
    with unfinished_folder(tmp_path) as folder:
        assert folder.is_dir() and folder.parent == tmp_path and folder.name.startswith(PREFIX)
        (folder / "model").mkdir()
        (folder / "model").rename(tmp_path / "1")
    assert [x.name for x in tmp_path.iterdir()] == ["1"]
    with pytest.raises(KeyboardInterrupt), unfinished_folder(tmp_path):
        raise KeyboardInterrupt
    assert [x.name for x in tmp_path.iterdir()] == ["1"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_nothing(
    export: subprocess.Popen[str], tmp_path: Path, number: signal.Signals
) -> None:
    export.send_signal(number)
    # Python ends by SIGINT itself, so that a shell's loop ends too.
    status = {signal.SIGINT: -signal.SIGINT, signal.SIGTERM: 143}
    assert export.wait(30) == status[number]
    assert not list(tmp_path.iterdir())


def test_what_a_kill_leaves_the_next_export_deletes(
    export: subprocess.Popen[str], tmp_path: Path
) -> None:
    export.kill()
    export.wait(30)
    (left,) = tmp_path.iterdir()
    with unfinished_folder(tmp_path) as folder:
        assert list(tmp_path.iterdir()) == [folder] and folder != left
    assert not list(tmp_path.iterdir())


def test_an_export_that_runs_keeps_its_folder(
    export: subprocess.Popen[str], tmp_path: Path
) -> None:
    (running,) = tmp_path.iterdir()
    with unfinished_folder(tmp_path):
        pass
    assert (running / "model" / "half").read_text() == "written" and export.poll() is None


def test_nothing_else_is_deleted(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").touch()
    base = tmp_path / "base"
    (base / "1").mkdir(parents=True)
    (base / ".exported").mkdir()
    (base / f"{PREFIX}link").symlink_to(elsewhere)
    (base / f"{PREFIX}file").touch()
    before = sorted(base.iterdir())
    with unfinished_folder(base):
        pass
    assert sorted(base.iterdir()) == before
    assert [x.name for x in elsewhere.iterdir()] == ["file"]


def test_many_exports_at_once_do_not_delete_each_others(tmp_path: Path) -> None:
    code = """
import sys, time
from pathlib import Path
from pgi.export.unfinished import unfinished_folder
for _ in range(40):
    with unfinished_folder(Path(sys.argv[1])) as folder:
        (folder / "model").mkdir()
        time.sleep(0.002)
        (folder / "model").rmdir()
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    exports = [subprocess.Popen(command) for _ in range(4)]
    assert [process.wait(60) for process in exports] == [0] * 4
    assert not list(tmp_path.iterdir())


ENDED = [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]


@pytest.mark.parametrize(("number", "ended"), ENDED)
def test_signals_have_their_former_effect_afterwards(
    number: signal.Signals, ended: type[BaseException]
) -> None:
    before = signal.getsignal(number)
    with pytest.raises(ended), ended_by_signals():
        os.kill(os.getpid(), number)
        time.sleep(5)
    assert signal.getsignal(number) == before


@pytest.mark.parametrize(("number", "ended"), ENDED)
def test_a_signal_counts_even_if_a_library_makes_it_an_error_of_its_own(
    number: signal.Signals, ended: type[BaseException]
) -> None:
    with pytest.raises(ended), ended_by_signals():
        try:
            os.kill(os.getpid(), number)
            time.sleep(5)
        except BaseException as error:
            raise ValueError("a library's") from error


def test_an_error_without_a_signal_stays_what_it_is() -> None:
    with pytest.raises(ValueError), ended_by_signals():
        raise ValueError


def test_ignored_signals_stay_ignored() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with ended_by_signals():
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
