"""The list of photographs is sound, and its packages are fetched whole or not at all."""

from __future__ import annotations

import re
import shutil
import stat
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from data import archives, prepared
from data.photos import packages
from data.photos.photos_dataset_builder import PHOTOGRAPHS
from pgi.errors import NoUsableImageError
from tests.data.dummy_archives import ROOT, install
from tests.data.test_prepared import stored

DEBS = ROOT / "photos" / "dummy_data" / "photos"
needs_dpkg = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="no dpkg-deb here")


def fake_apt(folder: Path, monkeypatch: pytest.MonkeyPatch, after: str = "") -> Path:
    """An apt-get that knows `known-*`; each call is a line of the file that is returned."""
    calls, program = folder / "calls", folder / "bin" / "apt-get"
    program.parent.mkdir()
    program.write_text(
        f"""#!/bin/sh
echo "$@" >> {calls}
for last in "$@"; do
  case $last in known-*)
    case "$*" in *--print-uris*) ;; *) echo x > "$last"_1.0_all.deb ;; esac ;;
  esac
done
case $last in known-*) ;; *) echo "E: Unable to locate package $last" >&2; exit 100 ;; esac
case "$*" in *--print-uris*) exit 0 ;; esac
{after}
"""
    )
    program.chmod(program.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return calls


def test_the_list_is_whole_and_nothing_is_in_it_twice() -> None:
    keys = ["package", "path", "sha256", "width", "height", "title", "author", "licence", "split"]
    for photograph in PHOTOGRAPHS:
        assert list(photograph) == keys
        assert all(photograph.values())
        assert re.fullmatch("[0-9a-f]{64}", photograph["sha256"])
        sides = photograph["width"], photograph["height"]
        assert max(sides) >= 1500 and min(sides) >= 1000
        assert photograph["path"].lower().endswith((".jpg", ".png"))
    for unique in ("sha256", "path"):
        assert max(Counter(photograph[unique] for photograph in PHOTOGRAPHS).values()) == 1
    places = [(photograph["package"], photograph["path"]) for photograph in PHOTOGRAPHS]
    assert places == sorted(places)


def test_a_sixth_is_held_out_from_many_packages() -> None:
    held_out = [photograph for photograph in PHOTOGRAPHS if photograph["split"] == "validation"]
    assert {photograph["split"] for photograph in PHOTOGRAPHS} == {"train", "validation"}
    assert 1 / 8 < len(held_out) / len(PHOTOGRAPHS) < 1 / 4
    assert len({photograph["package"] for photograph in held_out}) > 5


@needs_dpkg
def test_the_packages_files_are_read_as_dpkg_unpacks_them(tmp_path: Path) -> None:
    package = DEBS / "dummy-wallpapers_1.0-1_all.deb"
    subprocess.run(["dpkg-deb", "--extract", package, tmp_path], check=True)
    files = [path for path in tmp_path.rglob("*") if path.is_file() and not path.is_symlink()]
    expected = [path.read_bytes() for path in files if path.suffix in (".jpg", ".png")]
    assert len(expected) == 3
    assert sorted(packages.read(package, (".jpg", ".png"))) == sorted(expected)


@needs_dpkg
@pytest.mark.parametrize("length", [0, 100, 4000])
def test_a_broken_package_is_an_error_that_names_it(length: int, tmp_path: Path) -> None:
    package = tmp_path / "broken_1.0_all.deb"
    package.write_bytes((DEBS / "dummy-wallpapers_1.0-1_all.deb").read_bytes()[:length])
    with pytest.raises(NoUsableImageError, match=r"broken_1.0_all.deb must be a whole"):
        list(packages.read(package, (".jpg",)))


@needs_dpkg
def test_a_file_that_is_too_large_is_an_error_that_names_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(archives, "MAX_MEMBER_BYTES", 10)
    message = (
        r"dummy-wallpapers.*deb must hold images of at most 10 bytes, got \./usr/.*\.(jpg|png) of"
    )
    with pytest.raises(NoUsableImageError, match=message):
        list(packages.read(DEBS / "dummy-wallpapers_1.0-1_all.deb", (".jpg", ".png")))


@needs_dpkg
def test_other_files_than_the_listed_are_left_out_and_lacking_ones_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    manual = install("photos", tmp_path, monkeypatch)
    (manual / "photos").unlink()
    (manual / "photos").mkdir()
    shutil.copy(DEBS / "dummy-wallpapers_1.0-1_all.deb", manual / "photos")
    calls = fake_apt(tmp_path, monkeypatch)
    with pytest.raises(NoUsableImageError, match="dummy-game-data"):
        prepared.prepare("photos")
    assert "dummy-wallpapers" not in calls.read_text()
    shutil.copy(DEBS / "dummy-game-data_1.0-1_all.deb", manual / "photos" / "other_1.0_all.deb")
    monkeypatch.setattr(packages, "fetch", lambda *_: None)
    assert len(stored("photos", "train")) == len(stored("photos", "validation")) == 1
    assert "dummy-game-data lacks usr/share/games/dummy/astronaut.JPG" in caplog.text


def test_only_what_is_missing_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "photos"
    calls = fake_apt(tmp_path, monkeypatch)
    packages.fetch(["known-a", "known-b"], folder)
    assert sorted(path.name for path in folder.iterdir()) == [
        "known-a_1.0_all.deb",
        "known-b_1.0_all.deb",
    ]
    calls.unlink()
    packages.fetch(["known-a", "known-b"], folder)
    assert not calls.exists()
    packages.fetch(["known-a", "known-c"], folder)
    assert "known-a" not in calls.read_text() and "known-c" in calls.read_text()


def test_a_package_that_another_release_has_not_is_left_out_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fake_apt(tmp_path, monkeypatch)
    packages.fetch(["gone", "known-a"], tmp_path / "photos")
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["known-a_1.0_all.deb"]
    assert "apt-get does not know gone: left out" in caplog.text


def test_if_apt_fails_or_is_missing_or_knows_nothing_it_is_said_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "photos"
    fake_apt(tmp_path, monkeypatch, after="echo 'E: Failed to fetch it' >&2; exit 100")
    with pytest.raises(NoUsableImageError, match="cannot download packages: E: Failed to fetch it"):
        packages.fetch(["known-a", "known-b"], folder)
    assert not list(folder.iterdir())
    with pytest.raises(NoUsableImageError, match=r"knows none of them.*apt-get update"):
        packages.fetch(["gone"], folder)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoUsableImageError, match=r"photos must hold.*known-a.*no apt-get"):
        packages.fetch(["known-a"], folder)
