"""The page's temporary folder."""

from __future__ import annotations

import os
import stat
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("gradio", reason="Gradio needs Python 3.10")

from pgi.demo import storage as module
from pgi.demo.storage import Storage
from pgi.errors import StorageError

UNIT = 2**16  # What a small file counts.


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    now = time.time()
    monkeypatch.setattr(module.time, "time", lambda: now + seconds)


def test_it_is_private_and_gone_at_the_end(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", "before")
    with pytest.raises(KeyError), Storage(UNIT, 60) as storage:
        assert stat.S_IMODE(storage.path.stat().st_mode) == 0o700
        assert os.environ["GRADIO_TEMP_DIR"] == str(storage.path)
        storage.save({"a": b"a"})
        raise KeyError
    assert not list(temporary.iterdir())
    assert os.environ["GRADIO_TEMP_DIR"] == "before"
    with pytest.raises(StorageError, match="closed"):
        storage.save({"a": b"a"})
    assert not list(temporary.iterdir())


def test_files_and_reservations_are_bounded_together(temporary: Path) -> None:
    with Storage(4 * UNIT, 60) as storage:
        (path,) = storage.save({"a": bytes(2 * UNIT)})
        upload = storage.reserve(2 * UNIT, "ann")
        for full in (lambda: storage.save({"b": b"b"}), lambda: storage.reserve(1, "bob")):
            with pytest.raises(StorageError, match=r"at most 0 megabytes .* in 10 minutes"):
                full()
        storage.release(upload, arrived=True)
        storage.save({"b": b"b", "c": b"c"})  # Each counts as one unit.
        with pytest.raises(StorageError):
            storage.save({"d": b"d"})
        assert Path(path).read_bytes() == bytes(2 * UNIT)


def test_old_files_are_deleted_but_not_samples(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (temporary / "sample.png").write_bytes(b"sample")
    with Storage(4 * UNIT, 3600) as storage:
        (sample,) = storage.add_samples([temporary / "sample.png"])
        (old,) = map(Path, storage.save({"a": b"a"}))
        later(monkeypatch, 3500)
        storage.reserve(1, "ann")
        assert old.exists()
        later(monkeypatch, 3700)
        storage.reserve(1, "ann")
        assert not old.exists() and sample.read_bytes() == b"sample"
        later(monkeypatch, 4 * 3600)  # The emptied folder goes too.
        storage.reserve(1, "ann")
        assert list(storage.path.iterdir()) == [sample]


def test_room_is_made_by_the_oldest_files(monkeypatch: pytest.MonkeyPatch) -> None:
    with Storage(3 * UNIT, 3600) as storage:
        paths: list[Path] = []
        for name in "abc":
            paths += map(Path, storage.save({name: b""}))
            time.sleep(0.02)
        later(monkeypatch, 500)
        with pytest.raises(StorageError):
            storage.save({"d": b""})
        later(monkeypatch, 700)
        storage.save({"d": b""})
        assert [path.exists() for path in paths] == [False, True, True]


def test_simultaneous_writers_stay_within_the_limit() -> None:
    refused = []
    with Storage(5 * UNIT, 60) as storage:

        def write() -> None:
            try:
                storage.save({"a": b"a"})
            except StorageError:
                refused.append(1)

        threads = [threading.Thread(target=write) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(list(storage.path.iterdir())) == 5 and len(refused) == 7


def test_one_visitors_uploads_leave_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    with Storage(8 * UNIT, 60) as storage:
        storage.release(storage.reserve(7 * UNIT, "ann"), arrived=False)
        storage.release(
            storage.reserve(5 * UNIT, "ann"), arrived=True
        )  # A single one may be large.
        for _ in range(2):
            storage.reserve(UNIT, "bob")
        for visitor in ("ann", "bob"):
            with pytest.raises(StorageError, match="uploads of the last 10 minutes"):
                storage.reserve(1, visitor)
        storage.reserve(1, "eve")
        later = time.time() + 601
        monkeypatch.setattr(time, "time", lambda: later)
        storage.reserve(2 * UNIT, "ann")
