"""Differences between two run folders of the same training, for `experiments.soak`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from pathlib import Path

import tensorflow as tf

from pgi.training.run_folder import Checkpoint, RunFolder, checkpoints_in

# How the objects of a checkpoint refer to each other; the rest are its variables.
_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"


def differences(expected: Path, found: Path) -> Iterator[str]:
    """What differs, by name: metrics, pictures, variables of checkpoints, to the bit.

    Compared are metrics.jsonl, all pictures, all milestones, the best and the latest checkpoint. A
    run that was interrupted between two snapshots may have other checkpoints before the latest.

    Args:
        expected: a run folder.
        found: the run folder that should equal it.
    """
    yield from _of_metrics(*(path / "metrics.jsonl" for path in (expected, found)))
    yield from _of_pictures(expected / "samples", found / "samples")
    runs = RunFolder(expected), RunFolder(found)
    for part in ("milestones", "best"):
        yield from _of_checkpoints(part, *(checkpoints_in(getattr(run, part)) for run in runs))
    latest = (checkpoints_in(run.checkpoints)[:1] for run in runs)
    yield from _of_checkpoints("checkpoints", *latest)


def _of_metrics(expected: Path, found: Path) -> Iterator[str]:
    lines = zip_longest(*(path.read_bytes().splitlines() for path in (expected, found)))
    for number, pair in enumerate(lines, start=1):
        if pair[0] == pair[1]:
            continue
        values = [json.loads(line) if line else {} for line in pair]
        names = [x for x in {**values[0], **values[1]} if values[0].get(x) != values[1].get(x)]
        shown = ": ".join([names[0], _instead(*(x.get(names[0]) for x in values))]) if names else ""
        yield f"metrics.jsonl, line {number}: {shown or 'other bytes of the same values'}"


def _of_pictures(expected: Path, found: Path) -> Iterator[str]:
    yield from _of_names("samples", *([x.name for x in f.iterdir()] for f in (expected, found)))
    for path in sorted(found.iterdir()):
        other = expected / path.name
        if other.exists() and other.read_bytes() != path.read_bytes():
            yield f"samples: {path.name} is another picture"


def _of_checkpoints(
    part: str, expected: list[Checkpoint], found: list[Checkpoint]
) -> Iterator[str]:
    yield from _of_names(part, *([x.name for x in y] for y in (expected, found)))
    others = {x.name: x for x in expected}
    for checkpoint in found:
        if checkpoint.name not in others:
            continue
        readers = [tf.train.load_checkpoint(str(x)) for x in (others[checkpoint.name], checkpoint)]
        names = [set(x.get_variable_to_shape_map()) - {_GRAPH} for x in readers]
        yield from _of_names(f"{part}/{checkpoint.name}", *names)
        for name in sorted(names[0] & names[1]):
            values = [reader.get_tensor(name) for reader in readers]
            # As bytes: NaN equals itself, and 0.0 is not -0.0.
            if values[0].shape != values[1].shape or values[0].tobytes() != values[1].tobytes():
                yield f"{part}/{checkpoint.name}: {name} has other values"


def _of_names(part: str, expected: Iterable[str], found: Iterable[str]) -> Iterator[str]:
    expected, found = set(expected), set(found)
    if missing := sorted(expected - found):
        yield f"{part}: {', '.join(missing)} missing"
    if more := sorted(found - expected):
        yield f"{part}: {', '.join(more)} too many"


def _instead(expected: object, found: object) -> str:
    return f"{found} instead of {expected}"
