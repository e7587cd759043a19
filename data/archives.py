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
# No photograph's file is larger. A small archive can hold members that would fill the memory.
MAX_MEMBER_BYTES = 256 * 2**20
# Of others, zipfile unpacks more than a member's declared size at once.
_ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


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
        NoUsableImageError: the file is something else or cut off, or an image is too large.
    """
    group: list[Member] = []
    try:
        with tfds.core.Path(path).open("rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
            for member in tar:
                tar.members.clear()  # type: ignore[attr-defined]  # Else it keeps them all.
                if member.isfile() and _is_image(member.name):
                    check_size(path, member.name, member.size)
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
        NoUsableImageError: the file is no zip archive or cut off, or an image in it is too large
            or compressed by another method than DEFLATE.
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
            members = [x for x in archive.infolist() if _is_image(x.filename)]
        for member in members:
            _check_member(path, member)
        found = [member.filename for member in members]
    return sorted(filter(_is_image, found))


def read(path: tfds.core.Path, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """Names and contents of some images in a folder tree or a zip archive.

    Raises:
        NoUsableImageError: as `names`; or an image is too large or damaged.
    """
    if path.is_dir():
        for name in names:
            check_size(path, name, (path / name).stat().length)
            yield name, (path / name).read_bytes()
    else:
        with _zip(path) as archive:
            for name in names:
                member = archive.getinfo(name)
                _check_member(path, member)
                # `archive.read` would unpack up to 2 GB before it cuts off at the declared size.
                with archive.open(member) as file:
                    yield name, file.read(member.file_size)


def check_size(archive: object, name: str, size: int) -> None:
    """Raises NoUsableImageError if a member of an archive has more bytes than a photograph has."""
    if size > MAX_MEMBER_BYTES:
        raise NoUsableImageError(
            f"{archive} must hold images of at most {MAX_MEMBER_BYTES:,} bytes, got {name} of "
            f"{size:,} bytes."
        )


def _check_member(path: tfds.core.Path, member: zipfile.ZipInfo) -> None:
    check_size(path, member.filename, member.file_size)
    if member.compress_type not in _ZIP_METHODS:
        raise NoUsableImageError(
            f"{path} must hold images that are stored or deflated, got {member.filename} of "
            f"compression method {member.compress_type}."
        )


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
