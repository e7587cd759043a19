"""The files of a folder tree. Links are followed; what cannot be listed or followed is told.

Training (`folder:`) and `pgi inpaint` both search folders with it. A tree may have millions of
files, so they are names rather than `Path`s, and only folders are resolved.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

# A folder's path from the root, its real path, and the real folders through which it was reached.
_Waiting = tuple[str, str, set[str]]


class Files(NamedTuple):
    """What was found, by paths relative to the root.

    Attributes:
        names: of the files, in the order of `Path`s.
        problems: what cannot be listed or followed, with the reason.
    """

    names: list[str]
    problems: dict[str, str]


def files_below(
    root: str | os.PathLike[str],
    left_out: Iterable[str | os.PathLike[str]] = (),
    once: bool = False,
) -> Files:
    """The files of a folder and its subfolders, linked ones included.

    Hidden files and folders are ignored, and so is a link to a folder through which it was reached,
    or to one above the root.

    Args:
        root: the folder.
        left_out: files and folders to be ignored.
        once: whether a folder that several links lead to is searched once: under its own path if
            it lies in the tree, otherwise under the link that is found first.

    Raises:
        OSError: the root cannot be listed.
    """
    closed = {os.path.realpath(place) for place in left_out}
    top = os.path.realpath(root)
    names: list[str] = []
    problems: dict[str, str] = {}
    waiting: deque[_Waiting] = deque([("", top, set())])
    while waiting:
        folder, real, seen = waiting.pop()
        if real in seen or (folder and os.path.commonpath([real, top]) == real):
            continue
        if once:
            seen.add(real)
        else:
            seen = seen | {real}
        folders: list[_Waiting] = []
        links: list[_Waiting] = []
        try:
            for entry in _shown(os.path.join(root, folder)):
                name, is_link = os.path.join(folder, entry.name), entry.is_symlink()
                place = os.path.realpath(entry.path) if is_link else os.path.join(real, entry.name)
                kind = _kind(entry)
                if place in closed or not kind:
                    continue
                if kind == "file":
                    names.append(name)
                elif kind == "folder":
                    (links if is_link else folders).append((name, place, seen))
                else:
                    problems[name] = kind
        except OSError as error:
            if not folder:
                raise
            problems[folder] = f"cannot be listed: {error.strerror}"
        # Links come after all folders that can be reached without them.
        waiting.extend(sorted(folders, reverse=True))
        waiting.extendleft(sorted(links))
    # No name has the character 0, so this order is that of the lists of the paths' parts.
    names.sort(key=lambda name: name.replace(os.sep, "\0"))
    return Files(names, dict(sorted(problems.items())))


def _shown(folder: str) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        yield from (entry for entry in entries if not entry.name.startswith("."))


def _kind(entry: os.DirEntry[str]) -> str:
    """The kind, "folder" or "file", or why it is unknown; empty for a device and the like."""
    try:
        if entry.is_dir():
            return "folder"
        if entry.is_file():
            return "file"
        entry.stat()  # Raises for a link to nothing.
    except FileNotFoundError:
        return "a link to nothing" if entry.is_symlink() else ""  # Or deleted meanwhile.
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return ""
