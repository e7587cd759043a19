"""Reading members of the container files in which two packages keep photographs.

These are Qt's resource files (.rcc, of GCompris) and EFL's Eet files (.edj, of Enlightenment). No
kept Python library reads either. Members that are stored compressed are passed over: photographs
are not, because that would not make them smaller.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

SUFFIXES = (".edj", ".rcc")
_QT, _EET = b"qres", bytes.fromhex("1ee70f42")
# Of nodes in a Qt resource file.
_COMPRESSED, _DIRECTORY = 1 | 4, 2


def members(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Names and contents of a container's uncompressed members.

    Raises:
        ValueError: it is of another format, or damaged.
    """
    readers = {_QT: _qt_members, _EET: _eet_members}
    try:
        if content[:4] not in readers:
            raise ValueError("it is neither a Qt resource file nor an Eet file")
        yield from readers[content[:4]](content)
    except struct.error as error:
        raise ValueError("it is cut off") from error


def _qt_members(content: bytes) -> Iterator[tuple[str, bytes]]:
    version, tree, data, names = struct.unpack_from(">4I", content, 4)
    if version not in (2, 3):
        raise ValueError(f"the version of its format must be 2 or 3, got {version}")
    size = 22
    waiting, reached = [("", 0)], 1
    while waiting:
        folder, number = waiting.pop()
        node = tree + size * number
        name, flags = struct.unpack_from(">IH", content, node)
        path = folder
        if number:  # The root has no name.
            (length,) = struct.unpack_from(">H", content, names + name)
            path += _piece(content, names + name + 6, 2 * length).decode("utf-16-be")
        if flags & _DIRECTORY:
            count, first = struct.unpack_from(">2I", content, node + 6)
            reached += count
            # Or a loop in a damaged tree would have no end.
            if reached * size > len(content) - tree:
                raise ValueError("its tree is cut off or has a loop")
            below = f"{path}/" if number else ""
            waiting += [(below, child) for child in range(first, first + count)]
        elif not flags & _COMPRESSED:
            (start,) = struct.unpack_from(">I", content, node + 10)
            (length,) = struct.unpack_from(">I", content, data + start)
            yield path, _piece(content, data + start + 4, length)


def _eet_members(content: bytes) -> Iterator[tuple[str, bytes]]:
    (count,) = struct.unpack_from(">I", content, 4)
    for number in range(count):
        entry = struct.unpack_from(">6I", content, 12 + 24 * number)
        start, size, _, name, name_size, flags = entry
        path = _piece(content, name, name_size).rstrip(b"\0").decode()
        if not flags:
            yield path, _piece(content, start, size)


def _piece(content: bytes, start: int, size: int) -> bytes:
    if start + size > len(content):
        raise ValueError("it is cut off")
    return content[start : start + size]
