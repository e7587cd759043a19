"""The list of photographs is sound, and its packages are fetched whole or not at all."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import stat
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import data
from data import archives, prepared
from data.photos import packages
from data.photos import photos_dataset_builder as builder
from data.photos.photos_dataset_builder import MORE, PHOTOGRAPHS
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


@pytest.mark.parametrize(
    ("listed", "long_side", "short_side"), [(PHOTOGRAPHS, 1500, 1000), (MORE, 600, 360)]
)
def test_a_list_is_whole_and_in_order(
    listed: list[dict[str, Any]], long_side: int, short_side: int
) -> None:
    texts = ["package", "version", "path", "sha256", "title", "author", "licence", "split"]
    keys = [*texts[:4], "width", "height", *texts[4:]]
    for photograph in listed:
        assert [key for key in photograph if key != "source"] == keys
        assert all(photograph.values())
        assert re.fullmatch("[0-9a-f]{64}", photograph["sha256"])
        sides = photograph["width"], photograph["height"]
        assert max(sides) >= long_side and min(sides) >= short_side
        file, _, inner = photograph["path"].partition("#")
        suffixes = (".edj", ".rcc") if inner else (".jpg", ".jpeg", ".png", ".webp")
        assert file.lower().endswith(suffixes)
        assert "@" not in photograph["author"].lstrip("@")  # No addresses of people.
        assert photograph.get("source", "https://").startswith("https://")
    places = [(photograph["package"], photograph["path"]) for photograph in listed]
    assert places == sorted(places)


def test_nothing_is_listed_twice_and_a_package_has_one_version() -> None:
    everything = PHOTOGRAPHS + MORE
    for unique in ("sha256", "path"):
        assert max(Counter(photograph[unique] for photograph in everything).values()) == 1
    versions = {(photograph["package"], photograph["version"]) for photograph in everything}
    assert len(versions) == len({package for package, _ in versions})


def test_the_wide_config_has_300_and_more_for_training_and_holds_out_the_same() -> None:
    assert {photograph["split"] for photograph in MORE} == {"train"}
    assert Counter(photograph["split"] for photograph in PHOTOGRAPHS + MORE)["train"] > 300
    small = [
        photograph for photograph in MORE if min(photograph["width"], photograph["height"]) < 600
    ]
    assert {photograph["package"] for photograph in small} == {"endless-sky-data"}


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
    images = [path for path in files if path.suffix in (".jpg", ".png")]
    expected = {str(path.relative_to(tmp_path)): path.read_bytes() for path in images}
    assert len(expected) == 3
    assert dict(packages.read(package, (".jpg", ".png"))) == expected


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


@needs_dpkg
def test_a_file_of_another_content_or_path_is_named_and_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    install("photos", tmp_path, monkeypatch)
    _, gone, kept, changed = json.loads((DEBS.parent / "photographs_wide.json").read_bytes())
    changed["sha256"], gone["sha256"] = "0" * 64, "1" * 64
    gone["path"] = "usr/share/dummy/animals.rcc#dummy/pictures/dog.webp"
    monkeypatch.setattr(builder, "MORE", [gone, kept, changed])
    listed = [*json.loads((DEBS.parent / "photographs.json").read_bytes()), kept]
    assert stored("photos/wide", "train").keys() == {
        f"{photograph['package']}/{photograph['path']}"
        for photograph in listed
        if photograph["split"] == "train"
    }
    for verb, lacking in (("has another", changed), ("lacks", gone)):
        found = f"{lacking['path']} (of version 2:1.0-1, SHA-256 {lacking['sha256']}): left out"
        assert f"photos: dummy-containers {verb} {found}" in caplog.text


@needs_dpkg
def test_the_wide_config_has_all_others_too_and_the_name_of_those_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("photos", tmp_path, monkeypatch)
    wide, alone = (
        {split: stored(name, split) for split in ("train", "validation")}
        for name in ("photos/wide", "photos")
    )
    assert wide["validation"] == alone["validation"]
    assert wide["train"].items() > alone["train"].items()
    added = {name: wide["train"][name] for name in wide["train"].keys() - alone["train"].keys()}
    listed = json.loads((DEBS.parent / "photographs_wide.json").read_bytes())
    assert {name: hashlib.sha256(content).hexdigest() for name, content in added.items()} == {
        f"{photograph['package']}/{photograph['path']}": photograph["sha256"]
        for photograph in listed
    }
    # Runs and results know their images by these names.
    sources = [data.load(name)[0] for name in ("photos", "photos/wide")]
    assert [source.identity() for source in sources] == [
        "photos/1.0.0 train",
        "photos/wide/1.0.0 train",
    ]


def test_packages_of_the_wide_config_are_fetched_for_it_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(packages, "fetch", lambda names, folder: asked.append(set(names)))
    for config in (None, "wide"):
        builder.Builder(config=config, data_dir=tmp_path).fetch(tmp_path)
    assert asked[0] == {photograph["package"] for photograph in PHOTOGRAPHS}
    assert asked[1] == asked[0] | {photograph["package"] for photograph in MORE} > asked[0]


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
