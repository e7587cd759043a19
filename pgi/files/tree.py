"""The pictures of a folder tree, and what in it looks like one and is not read."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from pgi.errors import PlanError
from pgi.files.kinds import unread_picture


@dataclass(frozen=True)
class Tree:
    """What was found, as sorted paths relative to the root.

    Args:
        files: with a suffix that was asked for.
        problems: why others are not read, by path: pictures of other kinds, links to nothing,
            folders that cannot be listed.
    """

    files: list[Path]
    problems: dict[Path, str]


def find(folder: Path, suffixes: Collection[str], left_out: Sequence[Path | None]) -> Tree:
    """The pictures of a folder and its subfolders; links are followed.

    Hidden files and folders are ignored, and so are `left_out` and links to a folder above.

    Args:
        folder: the root.
        suffixes: lower-case, of the pictures to be read.
        left_out: places to be ignored.

    Raises:
        PlanError: there is no such picture, not even one of another kind.
    """
    closed = {os.path.realpath(place) for place in left_out if place}
    files, problems = [], {}

    def is_open(parent: str, name: str) -> bool:
        hidden = name.startswith(".")
        return not hidden and os.path.realpath(os.path.join(parent, name)) not in closed

    root = os.path.realpath(folder)
    # The real folders through which each folder was reached: a link to one would have no end.
    above = {str(folder): {root}}

    def is_new(parent: str, name: str) -> bool:
        place = os.path.join(parent, name)
        real = os.path.realpath(place)
        if real in above[parent] or os.path.commonpath([real, root]) == real:
            return False
        above[place] = above[parent] | {real}
        return True

    def note(error: OSError) -> None:
        reason = f"cannot be listed: {error.strerror}"
        if Path(error.filename) == folder:
            raise PlanError(f"{folder} {reason}")
        problems[Path(error.filename).relative_to(folder)] = reason

    for parent, folders, names in os.walk(folder, onerror=note, followlinks=True):
        folders[:] = [name for name in folders if is_open(parent, name) and is_new(parent, name)]
        for path in (Path(parent, name) for name in names if is_open(parent, name)):
            asked = path.suffix.lower() in suffixes
            problem = ""
            if asked:
                problem = _problem(path)
            elif os.path.isfile(path):
                problem = unread_picture(path)
            if problem:
                problems[path.relative_to(folder)] = problem
            elif asked and path.is_file():
                files.append(path.relative_to(folder))
    if not files and not problems:
        raise PlanError(f"{folder} must hold a file of {', '.join(suffixes)}, got none")
    return Tree(sorted(files), dict(sorted(problems.items())))


def _problem(path: Path) -> str:
    """Why a file cannot be found by its name; empty if it can."""
    try:
        path.stat()
    except PermissionError as error:  # Its folder can be listed, but not entered.
        return f"cannot be read: {error.strerror}"
    except OSError:
        return "a link to nothing"
    return ""
