"""The pictures of a folder tree, and what in it looks like one and is not read."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from pgi.errors import PlanError
from pgi.files.kinds import unread_picture
from pgi.folders import files_below


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
        PlanError: the folder cannot be listed, or there is no such picture, not even one of another
            kind.
    """
    try:
        found = files_below(folder, [place for place in left_out if place])
    except OSError as error:
        raise PlanError(f"{folder} cannot be listed: {error.strerror}") from error
    files = []
    problems = {Path(name): problem for name, problem in found.problems.items()}
    for path in map(Path, found.names):
        asked = path.suffix.lower() in suffixes
        if problem := _problem(folder / path) if asked else unread_picture(folder / path):
            problems[path] = problem
        elif asked:
            files.append(path)
    if not files and not problems:
        raise PlanError(f"{folder} must hold a file of {', '.join(suffixes)}, got none")
    return Tree(files, dict(sorted(problems.items())))


def _problem(path: Path) -> str:
    """Why a file cannot be reached; empty if it can."""
    try:
        path.stat()
    except OSError as error:  # Its folder can be listed, but not entered.
        return f"cannot be read: {error.strerror}"
    return ""
