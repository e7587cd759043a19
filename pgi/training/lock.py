"""A lock on a run folder, so that two trainings do not write into it at once."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from absl import logging

from pgi.atomic import refuse_link
from pgi.errors import RunFolderError

# In the run folder. It stays there: deleting it could take the lock of another process with it.
FILE = ".lock"


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds the lock of a run folder, which ends with the process however that ends.

    It is a lock on an open file (flock). Linux passes it on to the server of an NFS, so it holds
    between machines there; Lustre needs the mount option "flock". Where a file system has no locks,
    a warning is printed.

    Raises:
        RunFolderError: another process holds it; the message names that process.
    """
    descriptor = refuse_link(os.fspath(folder / FILE), os.O_RDWR | os.O_CREAT)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(descriptor, 1000, 0).decode(errors="replace").strip()
            raise RunFolderError(
                f"{folder} is in use by another training, {holder or 'which just began'}. Wait for "
                "it or stop it, or choose another --workdir"
            ) from error
        except OSError as error:
            logging.warning(
                "%s cannot be locked (%s): take care that no other training uses it",
                *(folder, error.strerror),
            )
        with contextlib.suppress(OSError):  # On a full disk the lock holds without a name.
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
        yield
    finally:
        os.close(descriptor)
