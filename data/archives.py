"""Reading images from archives without unpacking them to disk.

A tar archive is walked from header to header, without reading the images. Neighbouring images form
a group, which is read in one pass, on a cluster by one worker.
"""

from __future__ import annotations

import contextlib
import os
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import tensorflow as tf
import tensorflow_datasets as tfds

from pgi.errors import NoUsableImageError

_SUFFIXES = (".jpg", ".jpeg", ".png")
_GROUP = 512


class Member(NamedTuple):
    """Place of an image's bytes in an archive."""

    archive: str
    name: str
    offset: int
    size: int


def find(folder: tfds.core.Path, names: Sequence[str]) -> tfds.core.Path:
    """The first of these files or folders that exists and is not empty.

    Raises:
        NoUsableImageError: there is none.
    """
    for path in (folder / name for name in names):
        if path.exists() and not (path.is_dir() and not any(path.iterdir())):
            return path
    raise NoUsableImageError(f"{folder} must hold {' or '.join(names)}, got none of them.")


def walk_tar(path: str) -> Iterator[list[Member]]:
    """All images of an uncompressed tar archive, in groups of neighbours.

    Raises:
        NoUsableImageError: the file is something else or cut off.
    """
    group: list[Member] = []
    try:
        with tfds.core.Path(path).open("rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
            for member in tar:
                tar.members.clear()  # type: ignore[attr-defined]  # Else it keeps them all.
                if member.isfile() and _is_image(member.name):
                    group.append(Member(path, member.name, member.offset_data, member.size))
                if len(group) == _GROUP:
                    yield group
                    group = []
    except (tarfile.TarError, IsADirectoryError) as error:
        raise NoUsableImageError(f"{path} must be a whole, uncompressed tar: {error}.") from error
    if group:
        yield group


def read_group(group: Sequence[Member]) -> Iterator[tuple[str, bytes]]:
    """Names and contents of a group that `walk_tar` found."""
    with tfds.core.Path(group[0].archive).open("rb") as file:
        for member in group:
            file.seek(member.offset)
            yield member.name, file.read(member.size)


def names(path: tfds.core.Path) -> list[str]:
    """Sorted names of all images in a folder tree or a zip archive, relative to it.

    Raises:
        NoUsableImageError: the file is no zip archive or cut off.
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
    return sorted(filter(_is_image, found))


def read(path: tfds.core.Path, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """Names and contents of some images in a folder tree or a zip archive."""
    if path.is_dir():
        for name in names:
            yield name, (path / name).read_bytes()
    else:
        with _zip(path) as archive:
            for name in names:
                yield name, archive.read(name)


def _is_image(name: str) -> bool:
    # Archives from macOS have a hidden file ._0.jpg beside each 0.jpg.
    file = name.rpartition("/")[2].lower()
    return file.endswith(_SUFFIXES) and not file.startswith(".")


@contextlib.contextmanager
def _zip(path: tfds.core.Path) -> Iterator[zipfile.ZipFile]:
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            yield archive
    except (zipfile.BadZipFile, zlib.error) as error:
        raise NoUsableImageError(f"{path} must be a whole zip archive: {error}.") from error
