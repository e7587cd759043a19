"""Images in archives, read where they are: nothing is unpacked to disk, no byte is changed.

A tar archive is walked from header to header, which reads none of the images. What is found comes
in groups of neighbours, so that a group is one read of one place, and on a cluster the work of one
worker.
"""

from __future__ import annotations

import os
import tarfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import tensorflow as tf
import tensorflow_datasets as tfds

from pgi.reading import NoUsableImageError

_SUFFIXES = (".jpg", ".jpeg", ".png")
_GROUP = 512


class Member(NamedTuple):
    """Where an image's bytes lie."""

    archive: str
    name: str
    offset: int
    size: int


def find(folder: tfds.core.Path, names: Sequence[str], instructions: str) -> tfds.core.Path:
    """The first of these files or folders that there is.

    Raises:
        NoUsableImageError: there is none; the message ends with the instructions.
    """
    for name in names:
        if (folder / name).exists():
            return folder / name
    raise NoUsableImageError(f"{folder} must hold {' or '.join(names)}, got none. {instructions}")


def walk_tar(path: str) -> Iterator[list[Member]]:
    """All images of an uncompressed tar archive, in groups of neighbours.

    Raises:
        NoUsableImageError: the file is no such archive, or is cut off.
    """
    group: list[Member] = []
    try:
        with tfds.core.Path(path).open("rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
            for member in tar:
                tar.members.clear()  # type: ignore[attr-defined]  # It would keep all of millions.
                if member.isfile() and member.name.lower().endswith(_SUFFIXES):
                    group.append(Member(path, member.name, member.offset_data, member.size))
                if len(group) == _GROUP:
                    yield group
                    group = []
    except tarfile.TarError as error:
        raise NoUsableImageError(f"{path} must be a whole, uncompressed tar: {error}") from error
    if group:
        yield group


def read_group(group: Sequence[Member]) -> Iterator[tuple[str, bytes]]:
    """Names and contents of a group that `walk_tar` found."""
    with tfds.core.Path(group[0].archive).open("rb") as file:
        for member in group:
            file.seek(member.offset)
            yield member.name, file.read(member.size)


def names(path: tfds.core.Path) -> list[str]:
    """Of all images in a folder tree or a zip archive, relative to it, sorted.

    Raises:
        NoUsableImageError: the file is no whole zip archive.
    """
    if path.is_dir():
        walked = tf.io.gfile.walk(os.fspath(path))
        found = [
            os.path.relpath(os.path.join(folder, file), path)
            for folder, _, files in walked
            for file in files
        ]
    else:
        with _zip(path) as archive:
            found = archive.namelist()
    return sorted(name for name in found if name.lower().endswith(_SUFFIXES))


def read(path: tfds.core.Path, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """Names and contents of some images in a folder tree or a zip archive."""
    if path.is_dir():
        for name in names:
            yield name, (path / name).read_bytes()
    else:
        with _zip(path) as archive:
            for name in names:
                yield name, archive.read(name)


def _zip(path: tfds.core.Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path.open("rb"))
    except zipfile.BadZipFile as error:
        raise NoUsableImageError(f"{path} must be a whole zip archive: {error}") from error
