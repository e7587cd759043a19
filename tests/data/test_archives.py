"""Archives from strangers: no image is read that no photograph would be, whatever headers say."""

from __future__ import annotations

import io
import struct
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import pytest
import tensorflow_datasets as tfds

from data import archives
from pgi.errors import NoUsableImageError

LIMIT = 1000


def write_tar(path: Path, sizes: dict[str, int]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, size in sizes.items():
            member = tarfile.TarInfo(name)
            member.size = size
            tar.addfile(member, io.BytesIO(bytes(size)))
    return path


def write_zip(path: Path, sizes: dict[str, int], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, size in sizes.items():
            archive.writestr(name, bytes(size))
    return path


def read_tar(path: Path) -> dict[str, int]:
    groups = archives.walk_tar(str(path))
    return {name: len(x) for group in groups for name, x in archives.read_group(group)}


def read_all(path: Path) -> dict[str, int]:
    """Sizes of the images of a zip archive or a folder."""
    place = tfds.core.Path(path)
    return {name: len(x) for name, x in archives.read(place, archives.names(place))}


def refuses(path: Path, name: str, size: int, limit: int = LIMIT) -> bool:
    with pytest.raises(NoUsableImageError) as error:
        (read_tar if path.suffix == ".tar" else read_all)(path)
    return str(error.value) == (
        f"{path} must hold images of at most {limit:,} bytes, got {name} of {size:,} bytes."
    )


def test_larger_images_than_the_limit_are_refused_by_their_headers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "MAX_MEMBER_BYTES", LIMIT)
    fits = {"a/1.png": LIMIT, "notes.txt": LIMIT + 1}
    large = {**fits, "a/2.jpg": LIMIT + 1}
    images = {"a/1.png": LIMIT}
    assert read_tar(write_tar(tmp_path / "fits.tar", fits)) == images
    assert read_all(write_zip(tmp_path / "fits.zip", fits)) == images
    assert refuses(write_tar(tmp_path / "large.tar", large), "a/2.jpg", LIMIT + 1)
    assert refuses(write_zip(tmp_path / "large.zip", large), "a/2.jpg", LIMIT + 1)
    # Before any image is read, since a dataset is written from the first image on.
    with pytest.raises(NoUsableImageError):
        archives.names(tfds.core.Path(tmp_path / "large.zip"))


def test_files_of_a_folder_are_bounded_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_MEMBER_BYTES", LIMIT)
    (tmp_path / "1.png").write_bytes(bytes(LIMIT))
    assert read_all(tmp_path) == {"1.png": LIMIT}
    (tmp_path / "2.png").write_bytes(bytes(LIMIT + 1))
    assert refuses(tmp_path, "2.png", LIMIT + 1)


def test_the_limit_is_256_mib(tmp_path: Path) -> None:
    path, size = tmp_path / "sparse.tar", 2**28 + 1
    member = tarfile.TarInfo("1.png")
    member.size = size
    path.write_bytes(member.tobuf())
    with open(path, "r+b") as file:  # Holes take no space on the disk.
        file.truncate(2**28 + 4096)
    assert refuses(path, "1.png", size, 2**28)


def test_a_zip_that_unpacks_into_more_than_it_says_is_refused_in_bounded_memory(
    tmp_path: Path,
) -> None:
    said, true = 1000, 5 * 10**7
    path = write_zip(tmp_path / "lying.zip", {"1.png": true})
    content = path.read_bytes()
    assert content.count(struct.pack("<I", true)) == 2  # In the file's header and the directory.
    path.write_bytes(content.replace(struct.pack("<I", true), struct.pack("<I", said)))
    tracemalloc.start()
    with pytest.raises(NoUsableImageError, match="must be a whole zip archive: Bad CRC-32"):
        read_all(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1e6


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_unpack_without_a_bound_are_refused(tmp_path: Path, method: int) -> None:
    path = write_zip(tmp_path / "x.zip", {"1.png": 10}, method)
    with pytest.raises(NoUsableImageError, match=rf"or deflated, got 1.png of .* {method}\."):
        read_all(path)
    assert read_all(write_zip(path, {"1.png": 10}, zipfile.ZIP_STORED)) == {"1.png": 10}
