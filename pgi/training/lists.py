"""Lists of image files, as DeepFillv2 and many other tools write them: one path a line."""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from absl import logging

from pgi.errors import NoUsableImageError
from pgi.training.decoding import suffixes

# So many lines decide how a list is read: it may have millions, on a slow disk.
_PROBED = 100
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def listed_paths(path: Path) -> list[str]:
    """The paths of a list's images in its order, each once.

    The file is UTF-8, or UTF-16 with a byte order mark (as PowerShell writes it). A line is a path,
    relative to the current folder or, if none is found there, to that of the list. It is the path
    as it is, or without its quotes and the label after it, or also with "/" for each backslash:
    the first of these by which most files are found. The first hundred lines decide for all.

    Raises:
        NoUsableImageError: the list is missing or empty, is in another encoding, or none of its
            first hundred lines names a file.
    """
    if not path.is_file():
        raise NoUsableImageError(f"no such list of images: {path}")
    lines = [line for line in map(str.strip, _text(path).splitlines()) if line]
    if not lines:
        raise NoUsableImageError(f"{path} names no image")
    read = _reading(path, lines[:_PROBED])
    # Without repetitions: an image that is listed twice could be in both parts of a split.
    return [*dict.fromkeys(map(read, lines))]


def _text(path: Path) -> str:
    content = path.read_bytes()
    try:
        if content.startswith(_UTF_16):
            return content.decode("utf-16")
        # A file's name may be any bytes.
        return content.decode("utf-8-sig", "surrogateescape")
    except UnicodeDecodeError as error:
        raise NoUsableImageError(f"{path} begins like UTF-16, but is not: {error}") from error


def _reading(path: Path, lines: list[str]) -> Callable[[str], str]:
    """The function that makes paths of a list's lines, of which some are given."""
    tried = []
    for folder in ("", str(path.parent)):
        best, most = None, 0
        for read in _readings(folder):
            tried.append(read(lines[0]))
            found = sum(map(os.path.isfile, map(read, lines)))
            if found > most:
                best, most = read, found
            if most == len(lines):
                break
        if best:
            example = next((line for line in lines if best(line) != line), None)
            if example:
                logging.warning("%s: the line %r is read as %s", path, example, best(example))
            return best
    if "\0" in lines[0]:
        raise NoUsableImageError(
            f"{path} must be text in UTF-8, or in UTF-16 with a byte order mark, got zero bytes"
        )
    places = ", ".join(dict.fromkeys(map(os.path.abspath, tried)))
    raise NoUsableImageError(
        f"none of the first {len(lines)} lines of {path} names a file. Expected: one path a line, "
        "perhaps in quotes or with a label after it, relative to the current folder or to that of "
        f"the list. The first line, {lines[0]!r}, was looked for as {places}"
    )


def _readings(folder: str) -> Iterator[Callable[[str], str]]:
    """Functions that make a path of a line, the one that changes least first."""
    yield lambda line: os.path.join(folder, line)
    end = "|".join(map(re.escape, suffixes()))
    labelled = re.compile(
        rf"""(["'])(.+?)\1([\s,;].*)?|(.+?({end}))[\s,;].*|([^\t]+)\t.*""", re.IGNORECASE
    )

    def path_in(line: str) -> str:
        match = labelled.fullmatch(line)
        return (match[2] or match[4] or match[6]).strip() if match else line

    yield lambda line: os.path.join(folder, path_in(line))
    # Of Windows.
    yield lambda line: os.path.join(folder, path_in(line).replace("\\", "/"))
