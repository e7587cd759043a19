"""Which of a dataset's images are held out for validation, where nobody has said it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from absl import logging

from pgi.training.reading import FileSource

# One image in so many is held out, at the most this many.
_ONE_IN = 20
_MOST = 100


def held_out_count(images: int) -> int:
    """How many of so many images are held out: every 20th, but at least one and at most 100."""
    return min(max(images // _ONE_IN, 1), _MOST)


def hold_out(source: FileSource) -> tuple[FileSource, FileSource]:
    """Parts a source in training and validation photographs, always in the same way."""
    # Damage shows only when a file is read: there must be one to train on, one to validate with.
    readable = (n for n in range(len(source)) if source.try_read(n) is not None)
    found = list(itertools.islice(readable, 2))
    if len(found) == 1:
        only = source.key(found[0])
        logging.warning("only one usable image, %s: it is trained on and validated with", only)
        training = source.part(found)
        training.skipped.update(source.skipped)
        return training, source.part(found)
    held_out: list[int] = []
    while not held_out:
        numbers: Sequence[int] = range(len(source))
        if source.skipped:
            numbers = [n for n in numbers if source.key(n) not in source.skipped]
        count = held_out_count(len(numbers))
        # The first is known to be readable, and stays to be trained on.
        chosen = numbers[1 :: len(numbers) // count][:count]
        if all(source.try_read(number) is not None for number in chosen):
            held_out = list(chosen)
    training = source.part(sorted(set(numbers) - set(held_out)))
    training.skipped.update(source.skipped)
    return training, source.part(held_out)
