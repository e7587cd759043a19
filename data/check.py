"""Tells whether a dataset is fit for training, before hours are spent on it.

    python -m data.check --dataset=folder:/photos --config=experiments/configs/paper_512.py

Draws the first samples that this config would train on, then reads every image to its last pixel.
Exit status: 0 all is readable, 1 something is not, 2 nothing could be checked, 130 interrupted.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import app, flags, logging
from ml_collections import config_flags
from tqdm import tqdm

import data
from data.datasets import KNOWN
from pgi.atomic import write_atomically
from pgi.config import ExperimentConfig, from_dict, to_dict
from pgi.errors import NoUsableImageError, RuleError
from pgi.opencv import cv2
from pgi.rules import check
from pgi.sheets import png
from pgi.training.reading import ImageSource

ROWS, COLUMNS, CELL, MARGIN = 4, 6, 192, 2  # Of the sheet; sides in pixels.
LISTED = 20
# Turquoise stands out from skin, wood, leaves, night and sky; pinks drown in what is red.
_TINT = np.array([0, 255, 200], np.uint8)
_QUEUED = 256  # Reads that wait at once: a queue of millions would fill the memory.
_CONFIG = Path(__file__).parents[1] / "experiments" / "configs" / "small.py"


class Part(NamedTuple):
    """The training or the validation images, once `read` of their `total` were read."""

    name: str
    total: int
    read: int
    sizes: np.ndarray  # [N, 2] int32: width and height of the readable ones, in pixels.
    unreadable: dict[Any, str]  # Reasons by key; also of what `data.load` left out of the total.


def check_dataset(name: str, config: ExperimentConfig, output: Path, most: int = 0) -> int:
    """Writes a dataset's contact sheet, prints the rest, and returns the exit status, 0 or 1.

    Args:
        name: as `data.load` takes it; the one in the config counts for nothing.
        config: of the training to come.
        output: where the sheet goes, a PNG; its folder is made.
        most: how many images of each part are read, evenly spaced; 0 for all.

    Raises:
        RuleError: the dataset is unknown, or the output is named otherwise.
        NoUsableImageError: what was named is missing or holds no usable image.
        OSError: the sheet cannot be written.
    """
    check("output", "named as a .png file", str(output).lower().endswith(".png"), str(output))
    sources = data.load(name)
    # From here on, what is unreadable is listed at the end, and not warned of as well.
    logging.set_verbosity(logging.ERROR)
    # The sheet comes first: it takes seconds, and that it cannot be written shows now.
    output.parent.mkdir(parents=True, exist_ok=True)
    sheet = contact_sheet(training_samples(sources[0], config, ROWS * COLUMNS))
    write_atomically(output, png(sheet))
    parts = [read(*part, most) for part in zip(("train", "validation"), sources)]
    print(*report(parts, config.model.levels[-1], config.data.crop), sep="\n")
    print(f"The first {ROWS * COLUMNS} training samples, holes in turquoise: {output}")
    return int(any(part.unreadable for part in parts))


def training_samples(
    source: ImageSource, config: ExperimentConfig, count: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """A run's first samples: crops of its highest level, `[S, S, 3]` uint8, and bool holes."""
    from pgi import images  # Not above: TensorFlow takes seconds to import.
    from pgi.training import pipeline

    size, given = config.model.levels[-1], config.data
    crops = pipeline.crops(
        source,
        size=size,
        crop=given.crop,
        batch_size=1,
        seed=config.train.seed,
        flip=given.flip,
        rotate=given.rotate,
        colour_jitter=given.colour_jitter,
        count=count,
    )
    build = pipeline.pyramid_builder(len(config.model.levels), config.mask, config.train.seed)
    for pyramid, masks in pipeline.apply_on(crops, build, device=None):
        yield images.to_uint8(pyramid[-1])[0].numpy(), masks[-1][0, ..., 0].numpy() > 0.5


def contact_sheet(samples: Iterable[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Samples, a multiple of six, in rows of six with their holes: `[H, W, 3]` uint8."""
    margin = [(MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0)]
    cells = [np.pad(_cell(*sample), margin, constant_values=255) for sample in samples]
    return np.vstack([np.hstack(cells[n : n + COLUMNS]) for n in range(0, len(cells), COLUMNS)])


def _cell(crop: np.ndarray, hole: np.ndarray) -> np.ndarray:
    smoothly = cv2.INTER_AREA if len(crop) > CELL else cv2.INTER_CUBIC
    cell = cv2.resize(crop, (CELL, CELL), interpolation=smoothly)
    inside = cv2.resize(hole.astype(np.uint8), (CELL, CELL), interpolation=cv2.INTER_NEAREST)
    outline = inside > cv2.erode(inside, np.ones([5, 5], np.uint8))
    cell[inside > 0] = cell[inside > 0] * 0.6 + _TINT * 0.4  # What is hidden stays to be seen.
    cell[outline] = _TINT
    return cell


def read(name: str, source: ImageSource, most: int = 0) -> Part:
    """Reads all images of a part, or at most so many, with a progress bar on stderr."""
    total = len(source)
    count = min(most or total, total)
    sizes, reasons = np.zeros([count, 2], np.int32), dict[int, str]()

    def read_one(place: int) -> None:
        number = place * total // count
        try:
            sizes[place] = source.load(number).shape[1::-1]
        except OSError as error:
            reasons[number] = str(error)

    interval = 0.1 if sys.stderr.isatty() else 60  # A file that collects messages: a line a minute.
    with ThreadPoolExecutor() as pool:
        queues = (range(n, min(n + _QUEUED, count)) for n in range(0, count, _QUEUED))
        # An interrupted map drops what is still queued.
        done = chain.from_iterable(pool.map(read_one, queue) for queue in queues)
        for _ in tqdm(done, name, count, unit="image", mininterval=interval, maxinterval=60):
            pass
    unreadable = {**source.skipped, **{source.key(n): reasons[n] for n in sorted(reasons)}}
    return Part(name, total, count, sizes[sizes.any(axis=1)], unreadable)


def report(parts: Sequence[Part], size: int, crop: str) -> Iterator[str]:
    """Says what was found, line by line; size and crop are those of the training to come."""
    sides = "width min / median / max", "height min / median / max"
    rows = [("", "readable", "unreadable", *sides, f"short side < {size}")]
    for name, _, _, sizes, unreadable in parts:
        width, height = (
            f"{side.min()} / {np.median(side):g} / {side.max()}" if side.size else "-"
            for side in sizes.T
        )
        counts = (len(sizes), len(unreadable), (sizes.min(axis=1) < size).sum())
        readable, others, small = (f"{count:,}" for count in counts)
        rows.append((name, readable, others, width, height, small))
    widths = [max(map(len, column)) for column in zip(*rows)]
    yield from ("  ".join(map(str.rjust, row, widths)) for row in rows)
    yield f'Sides are in pixels; a short side < {size} will be enlarged (crop "{crop}").'
    for name, total, count, *_ in parts:
        if count < total:
            yield f"Read {count:,} of {total:,} {name} images, evenly spaced (--most)."
    found = [item for part in parts for item in part.unreadable.items()]
    for key, reason in found[:LISTED]:
        yield " ".join(f"{key}: {reason.removeprefix(f'{key}: ')}".splitlines())
    if len(found) > LISTED:
        yield f"and {len(found) - LISTED:,} more"


def main(argv: list[str]) -> int:
    """Checks what the flags name; returns the exit status."""
    logging.set_verbosity(logging.WARNING)  # TFDS tells much else, at length.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # The name of a file may be no text.
    values = flags.FLAGS
    stem = re.sub(r"\W+", "_", values.dataset).strip("_")[-60:]  # A name has at most 255 bytes.
    output = Path(values.output or f"runs/check/{stem}.png")
    try:
        check("arguments", "flags", len(argv) == 1, " ".join(argv[1:]))
        file = config_flags.get_config_filename(values["config"])
        is_config = isinstance(values.config, ExperimentConfig)
        check("config", "a file whose get_config() gives a config", is_config, file)
        config = from_dict(to_dict(values.config))  # Anew: flags set fields without a check.
        return check_dataset(values.dataset, config, output, values.most)
    except (RuleError, NoUsableImageError, OSError) as error:
        status, message = 2, f"error: {error}"
    except KeyboardInterrupt:
        status, message = 130, "interrupted"
    # Not inside `except`, for the reason given in experiments/train.py.
    print(message, file=sys.stderr)
    return status


def _parse_flags(argv: list[str]) -> list[str]:
    # Defined only now: tests import this module beside other programs that have such flags.
    flags.DEFINE_string("dataset", None, f"One of {KNOWN}.", required=True)
    flags.DEFINE_integer("most", 0, "Images read of each part; 0: all.", lower_bound=0)
    flags.DEFINE_string("output", None, "Contact sheet; default runs/check/DATASET.png.")
    try:
        config_flags.DEFINE_config_file("config", str(_CONFIG), "Config of the training to come.")
        return flags.FLAGS(argv)
    except Exception as error:  # A config is a program, and may raise anything.
        print(f"cannot read the flags: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    app.run(main, flags_parser=_parse_flags)
