"""Downloading Debian packages with apt, and reading files from them."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from absl import logging

from data.archives import check_size
from data.photos import containers
from pgi.errors import NoUsableImageError

HOMEPAGE = "https://packages.debian.org/bookworm/"


def fetch(packages: Iterable[str], folder: Path) -> None:
    """Downloads packages that are not in the folder yet; warns of those that apt does not know.

    Args:
        packages: their names.
        folder: for the .deb files; created if missing. After an error it has no new file.

    Raises:
        NoUsableImageError: there is no apt, it knows none of the packages, or a download failed.
    """
    missing = [package for package in packages if find(package, folder) is None]
    if not missing:
        return
    if shutil.which("apt-get") is None:
        raise NoUsableImageError(
            f"{folder} must hold the Debian packages {', '.join(missing)}, and there is no apt-get "
            f"to download them; their .deb files are also at {HOMEPAGE}."
        )
    unknown = [p for p in missing if _apt_get("download", "--print-uris", p).returncode]
    known = [package for package in missing if package not in unknown]
    if not known:
        raise NoUsableImageError(
            f"apt-get must know the Debian packages {', '.join(missing)}; it knows none of them. "
            "Its lists may be missing: run apt-get update as root, then try again."
        )
    if unknown:
        logging.warning("apt-get does not know %s: left out", ", ".join(unknown))
    folder.mkdir(parents=True, exist_ok=True)
    print(f"Downloading {len(known)} Debian packages into {folder}.")
    with tempfile.TemporaryDirectory(dir=folder) as place:
        result = _apt_get("download", *known, cwd=place)
        if result.returncode:
            raise NoUsableImageError(f"apt-get cannot download packages: {result.stderr.strip()}.")
        for package in Path(place).glob("*.deb"):
            package.rename(folder / package.name)


def _apt_get(*arguments: str, cwd: str | None = None) -> subprocess.CompletedProcess[str]:
    command = ["apt-get", "-qq", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True)


def find(package: str, folder: Path) -> Path | None:
    """A package's file in a folder, the newest if there are several."""
    return max(folder.glob(f"{package}_*.deb"), key=os.path.getmtime, default=None)


def read(package: Path, suffixes: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Paths and contents of a package's files with one of these suffixes, without links.

    Of a container (.edj or .rcc) they are those of its members: "FILE#MEMBER".

    Raises:
        NoUsableImageError: there is no dpkg-deb, the package or a container is broken, or a file is
            too large.
    """
    if shutil.which("dpkg-deb") is None:
        raise NoUsableImageError(f"dpkg-deb (package dpkg) must be installed to read {package}.")
    command = ["dpkg-deb", "--fsys-tarfile", str(package)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
                for member in archive:
                    if member.isfile() and member.name.lower().endswith(tuple(suffixes)):
                        check_size(package, member.name, member.size)
                        content = archive.extractfile(member)
                        assert content is not None  # It is a file.
                        path = member.name.removeprefix("./")
                        yield from _images(package, path, content.read())
        except tarfile.TarError as error:
            raise NoUsableImageError(f"{package} must be a whole .deb package: {error}.") from error
    if process.returncode:
        raise NoUsableImageError(f"{package} must be a whole .deb package; dpkg-deb rejects it.")


def _images(package: Path, path: str, content: bytes) -> Iterator[tuple[str, bytes]]:
    if not path.lower().endswith(containers.SUFFIXES):
        yield path, content
        return
    try:
        for name, image in containers.members(content):
            yield f"{path}#{name}", image
    except ValueError as error:
        raise NoUsableImageError(f"{package}: {path} cannot be read: {error}.") from error
