"""What `DATASET` may be, and which photographs of it are held out for validation."""

from __future__ import annotations

import itertools
from pathlib import Path

from absl import logging

from data.samples import samples
from pgi.reading import FileSource, find_images
from pgi.rules import RuleError

KNOWN = "samples, folder:PATH"
# Of a folder's images, one in so many is held out, at the most this many.
HOLD_OUT_ONE_IN = 20
HOLD_OUT_MOST = 100


def load(name: str) -> tuple[FileSource, FileSource]:
    """The training and the validation photographs of a dataset.

    Args:
        name: "samples" (the photographs that scikit-image ships) or "folder:PATH" (all images of a
            folder tree; every 20th in the order of their paths, but at least one and at most 100,
            is held out for validation).

    Returns:
        Training and validation photographs.

    Raises:
        RuleError: the name is unknown.
        NoUsableImageError: the folder is missing or holds no usable image.
    """
    if name == "samples":
        training = FileSource(samples.photographs("train"), keep=True)
        return training, FileSource(samples.photographs("validation"), keep=True)
    kind, _, place = name.partition(":")
    if kind == "folder" and place:
        return hold_out(find_images(place))
    raise RuleError(f'dataset must be one of {KNOWN}, got "{name}"')


def hold_out(source: FileSource) -> tuple[FileSource, FileSource]:
    """Parts a source in training and validation photographs, always in the same way."""
    # Damage shows only when a file is read: there must be one to train on, one to validate with.
    readable = (path for path in source.paths if source.try_read(path) is not None)
    found = list(itertools.islice(readable, 2))
    if len(found) == 1:
        logging.warning("only one usable image, %s: it is trained on and validated with", found[0])
        training = FileSource(found)
        training.skipped.update(source.skipped)
        return training, FileSource(found)
    held_out: list[Path] = []
    while not held_out:
        paths = [path for path in source.paths if path not in source.skipped]
        count = min(max(len(paths) // HOLD_OUT_ONE_IN, 1), HOLD_OUT_MOST)
        # The first is known to be readable, and stays to be trained on.
        chosen = paths[1 :: len(paths) // count][:count]
        if all(source.try_read(path) is not None for path in chosen):
            held_out = chosen
    training = FileSource([path for path in paths if path not in set(held_out)])
    training.skipped.update(source.skipped)
    return training, FileSource(held_out)
