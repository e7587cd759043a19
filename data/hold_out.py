"""The split of a dataset that comes without one."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from absl import logging

from pgi.training.reading import FileSource

_ONE_IN = 20
_MOST = 100


def held_out_count(images: int) -> int:
    """Size of the validation part: every 20th image, at least one and at most 100."""
    return min(max(images // _ONE_IN, 1), _MOST)


def hold_out(source: FileSource) -> tuple[FileSource, FileSource]:
    """Splits a source into training and validation photographs; the same files always alike."""
    # Damage shows only when a file is read, and each part needs a readable image.
    readable = (n for n in range(len(source)) if source.try_read(n) is not None)
    found = list(itertools.islice(readable, 2))
    if len(found) == 1:
        only = source.key(found[0])
        logging.warning("only one usable image, %s: training and validation both use it", only)
        training = source.part(found)
        training.skipped.update(source.skipped)
        return training, source.part(found)
    while True:
        numbers: Sequence[int] = range(len(source))
        if source.skipped:
            numbers = [n for n in numbers if source.key(n) not in source.skipped]
        count = held_out_count(len(numbers))
        # The first is known to be readable and stays in the training part.
        chosen = numbers[1 :: len(numbers) // count][:count]
        if all(source.try_read(number) is not None for number in chosen):
            break
    training = source.part(sorted(set(numbers) - set(chosen)))
    training.skipped.update(source.skipped)
    return training, source.part(chosen)
