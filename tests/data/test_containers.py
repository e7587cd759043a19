"""Members of containers are those that Qt's `rcc` and EFL's `eet` have packed."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest

from data.photos import containers, packages
from pgi.errors import NoUsableImageError
from tests.data.dummy_archives import ROOT

DUMMIES = ROOT / "photos" / "dummy_data"
PACKAGE = DUMMIES / "photos" / "dummy-containers_2%3a1.0-1_all.deb"
QT, EET = "animals.rcc", "Rocket.edj"
# `rcc` and `eet` packed a compressed text, too.
PICTURES = {
    QT: {"cat.webp", "small/astronaut.webp", "small/coffee.webp"},
    EET: {"edje/images/0", "edje/images/1"},
}
pytestmark = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="no dpkg-deb here")


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The containers' bytes by name, as dpkg-deb unpacks them."""
    folder = tmp_path_factory.mktemp("packed")
    subprocess.run(["dpkg-deb", "--extract", PACKAGE, folder], check=True)
    return {name: (folder / "usr/share/dummy" / name).read_bytes() for name in PICTURES}


@pytest.mark.parametrize("name", PICTURES)
def test_members_have_the_bytes_that_were_packed(name: str, packed: dict[str, bytes]) -> None:
    found = list(containers.members(packed[name]))
    assert sorted(path.removeprefix("dummy/pictures/") for path, _ in found) == sorted(
        PICTURES[name]
    )
    hashes = {path: hashlib.sha256(content).hexdigest() for path, content in found}
    # The lists' hashes are those of the files before they were packed.
    listed = {
        inner: photograph["sha256"]
        for photograph in json.loads((DUMMIES / "photographs_wide.json").read_bytes())
        for file, _, inner in [photograph["path"].partition("#")]
        if file.endswith(name)
    }
    assert listed and listed.items() <= hashes.items()


@pytest.mark.parametrize("name", PICTURES)
def test_a_container_that_is_cut_off_is_an_error_or_gives_nothing_else(
    name: str, packed: dict[str, bytes]
) -> None:
    whole = packed[name]
    expected = dict(containers.members(whole))
    ends = [whole.index(picture) + len(picture) for picture in expected.values()]
    for length in range(len(whole)):
        try:
            found = dict(containers.members(whole[:length]))
        except ValueError as error:
            assert re.search("cut off|neither a Qt", str(error))
        else:
            assert length >= max(ends) and found == expected


@pytest.mark.parametrize("name", PICTURES)
def test_damaged_containers_are_refused_or_read_and_nothing_else_is_raised(
    name: str, packed: dict[str, bytes]
) -> None:
    random = np.random.default_rng(7)
    refused = 0
    for _ in range(500):
        damaged = bytearray(packed[name])
        # The pictures' own bytes are not the container's matter.
        for place in random.choice(len(damaged), 40, replace=False):
            damaged[place] = random.integers(256)
        try:
            found = list(containers.members(bytes(damaged)))
        except ValueError:
            refused += 1
        else:
            assert sum(len(content) for _, content in found) <= 10 * len(damaged)
    assert refused > 100


def test_a_tree_that_returns_to_its_root_is_refused(packed: dict[str, bytes]) -> None:
    content = bytearray(packed[QT])
    (tree,) = struct.unpack_from(">I", content, 8)
    count, first = struct.unpack_from(">2I", content, tree + 6)
    assert (count, first) == (1, 1)  # The root's only child is the folder "dummy".
    struct.pack_into(">2I", content, tree + 6, 1, 0)
    with pytest.raises(ValueError, match="its tree is cut off or has a loop"):
        list(containers.members(bytes(content)))


def test_another_format_or_version_is_refused(packed: dict[str, bytes]) -> None:
    for content in (b"", b"RIFF", b"\x89PNG\r\n\x1a\n" * 9):
        with pytest.raises(ValueError, match="neither a Qt resource file nor an Eet file"):
            list(containers.members(content))
    for version in (1, 4):
        content = b"qres" + version.to_bytes(4, "big") + packed[QT][8:]
        with pytest.raises(
            ValueError, match=f"version of its format must be 2 or 3, got {version}"
        ):
            list(containers.members(content))


def test_a_packages_containers_are_read_with_its_files(packed: dict[str, bytes]) -> None:
    found = dict(packages.read(PACKAGE, (".jpeg", ".edj", ".rcc")))
    inner = {
        f"usr/share/dummy/{name}#{member}": content
        for name in PICTURES
        for member, content in containers.members(packed[name])
    }
    assert found.keys() - inner.keys() == {"usr/share/dummy/coffee.jpeg"}
    assert found.items() >= inner.items()
    assert not dict(packages.read(PACKAGE, (".webp",)))


def test_a_broken_container_is_an_error_that_names_it_and_its_package(
    tmp_path: Path, packed: dict[str, bytes]
) -> None:
    (tmp_path / "in/DEBIAN").mkdir(parents=True)
    (tmp_path / "in/DEBIAN/control").write_text(
        "Package: cut\nVersion: 1\nArchitecture: all\nMaintainer: N <n@n.org>\nDescription: none\n"
    )
    (tmp_path / "in/DEBIAN").chmod(0o755)
    (tmp_path / "in/cut.rcc").write_bytes(packed[QT][:-1])
    deb = tmp_path / "cut_1_all.deb"
    subprocess.run(["dpkg-deb", "--build", tmp_path / "in", deb], check=True, capture_output=True)
    with pytest.raises(
        NoUsableImageError, match=r"cut_1_all.deb: cut.rcc cannot be read: .*cut off"
    ):
        list(packages.read(deb, (".rcc",)))
