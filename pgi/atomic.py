"""Writing files so that neither a kill nor a power failure leaves half a file."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

from pgi.errors import WriteError

_LEFTOVER_AGE = 3600.0  # Seconds; no write takes as long.
_LONGEST_NAME = 200  # Bytes, so that the temporary name has at most the 255 of file systems.


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file so that a reader sees either its old or its new content.

    Several processes may write the same file: the last to finish wins. A writer that is killed
    leaves a hidden file, see `remove_leftovers`.

    Raises:
        WriteError: the disk is full or read-only, or the folder is missing.
    """
    name = os.fsencode(path.name)[:_LONGEST_NAME].decode(errors="ignore")
    temporary = path.with_name(f".{name}.{secrets.token_hex(4)}.part")
    with writing(path):
        try:
            # Exclusive, so no link can lie in the file's place.
            with open(temporary, "xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
            sync(path.parent)
        except BaseException:  # Also after an interrupt.
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


def is_leftover(name: str, target: str) -> bool:
    """Whether a name is that of a temporary file of `write_atomically(target)`, now or before."""
    return bool(re.fullmatch(rf"\.{re.escape(target)}(\.[0-9a-f]{{8}})?\.part", name))


def remove_leftovers(folder: Path) -> None:
    """Deletes what killed writers left in a folder more than an hour ago."""
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            if re.fullmatch(r"\..+\.[0-9a-f]{8}\.part", entry.name):
                age = time.time() - entry.stat(follow_symlinks=False).st_mtime
                if age > _LEFTOVER_AGE:
                    os.unlink(entry.path)


@contextlib.contextmanager
def writing(path: Path, *errors: type[Exception]) -> Iterator[None]:
    """Turns OSError, and `errors` of a library, into a WriteError that names the path.

    An OSError by itself names no path if it comes from a full disk.
    """
    try:
        yield
    except WriteError:  # It names a path already.
        raise
    except Exception as error:
        if not isinstance(error, (OSError, *errors)):
            raise
        # TensorFlow's message has the operation before it, in braces, and behind it.
        reason = str(getattr(error, "strerror", None) or error).rpartition("}} ")[2]
        (first, *_) = re.split(r"\n| \[Op:", reason)
        failure = WriteError(f"cannot write {path}: {first}")
        failure.strerror, failure.errno = first, getattr(error, "errno", None)
        raise failure from error


def refuse_link(path: str, flags: int) -> int:
    """An opener for `open` that raises OSError if a link lies in the file's place.

    A run folder from elsewhere could hold one that names any of the user's files.
    """
    try:
        return os.open(path, flags | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        # The system's words are "too many levels of symbolic links".
        raise OSError(error.errno, f"{path} is a symbolic link; remove it") from error


def sync(*paths: Path) -> None:
    """Waits until files and the entries of folders are on the disk."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            # Some network file systems cannot sync a folder.
            if not path.is_dir() or error.errno not in (errno.EINVAL, errno.ENOTSUP):
                raise
        finally:
            os.close(descriptor)
