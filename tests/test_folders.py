"""Every file of a tree is found, however it is linked, and what cannot be searched is told."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from pgi.folders import files_below
from tests.closed_folder import forbid


def make(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def test_the_order_is_that_of_paths(tmp_path):
    rng = random.Random(0)
    letters = "aB \t-.!é雪\x01~"
    parts = ["".join(rng.choices(letters, k=rng.randint(1, 3))).strip(".") or "x" for _ in range(9)]
    for _ in range(200):
        place = tmp_path.joinpath(*rng.choices(parts, k=rng.randint(1, 3)))
        if not place.exists() and not any(above.is_file() for above in place.parents):
            make(place.parent, place.name)
    expected = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert len(expected) > 20
    for once in (False, True):
        names, problems = files_below(tmp_path, once=once)
        assert [tmp_path / name for name in names] == expected and not problems


def test_a_folder_that_is_reached_twice_is_found_twice_or_once_under_its_own_path(tmp_path):
    root = make(tmp_path / "root", "m/x.png", "m/deep/y.png")
    make(tmp_path / "other", "sub/z.png", "w.png")
    os.symlink(root / "m", root / "a")
    os.symlink(tmp_path / "other" / "sub", root / "b")
    os.symlink(tmp_path / "other", root / "c")
    assert files_below(root, once=True) == (["b/z.png", "c/w.png", "m/deep/y.png", "m/x.png"], {})
    assert files_below(root).names == [
        "a/deep/y.png",
        "a/x.png",
        "b/z.png",
        "c/sub/z.png",
        "c/w.png",
        "m/deep/y.png",
        "m/x.png",
    ]


@pytest.mark.parametrize("once", [False, True])
def test_links_to_folders_above_end(tmp_path, once):
    root = make(tmp_path / "root", "deep/x.png")
    make(tmp_path / "elsewhere", "y.png")
    for target, link in [
        (root, root / "deep" / "loop"),
        (tmp_path, root / "deep" / "up"),
        (tmp_path / "elsewhere", root / "z"),
        (root, tmp_path / "elsewhere" / "back"),
        (tmp_path / "elsewhere", tmp_path / "elsewhere" / "own"),
    ]:
        os.symlink(target, link)
    assert files_below(root, once=once) == (["deep/x.png", "z/y.png"], {})


def test_folders_that_all_link_to_each_other_are_searched_once_each(tmp_path):
    """There are 9! ways through them."""
    for own in range(9):
        make(tmp_path / f"{own}", "x.png")
        for other in range(9):
            if other != own:
                os.symlink(tmp_path / f"{other}", tmp_path / f"{own}" / f"to {other}")
    assert files_below(tmp_path, once=True) == ([f"{own}/x.png" for own in range(9)], {})


def test_what_cannot_be_listed_or_followed_is_told(tmp_path, monkeypatch):
    make(tmp_path, "a.png", "closed/b.png", "open/c.png", ".hidden/d.png", "open/.e.png")
    os.mkfifo(tmp_path / "pipe")
    os.symlink("nowhere/x.png", tmp_path / "open" / "gone.png")
    os.symlink("gone_folder", tmp_path / "gone")
    os.symlink("itself", tmp_path / "itself")
    os.symlink("nowhere", tmp_path / ".hidden_link")
    os.symlink(tmp_path / "a.png", tmp_path / "linked.png")
    forbid(monkeypatch, "closed")
    names, problems = files_below(tmp_path)
    assert names == ["a.png", "linked.png", "open/c.png"]
    assert problems.pop("itself").startswith("cannot be read: ")
    assert problems == {
        "closed": "cannot be listed: Permission denied",
        "gone": "a link to nothing",
        "open/gone.png": "a link to nothing",
    }
    forbid(monkeypatch, tmp_path.name)
    with pytest.raises(PermissionError):
        files_below(tmp_path)


def test_places_that_are_left_out_are_so_under_each_of_their_names(tmp_path):
    make(tmp_path, "a.png", "mask.png", "out/b.png", "in/c.png")
    os.symlink(tmp_path / "out", tmp_path / "in" / "results")
    os.symlink(tmp_path / "mask.png", tmp_path / "in" / "m.png")
    left_out = [os.path.relpath(tmp_path / "out"), tmp_path / "in" / "m.png"]
    assert files_below(tmp_path, left_out) == (["a.png", "in/c.png"], {})
