"""Checks whether a dataset is fit for training, before hours are spent on it.

    python -m data.check --dataset=folder:/photos --config=experiments/configs/paper_512.py

Draws the first samples that this config would train on, then reads every image to its last pixel.
Exit status: 0 all are readable, 1 some are not, 2 nothing could be checked, 130 interrupted.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import flags, logging
from skimage.util import montage
from tabulate import tabulate
from tqdm import tqdm

import data
from data.names import KNOWN
from experiments import program
from pgi.arrays import AnyArray, BoolArray, UInt8Array
from pgi.atomic import write_atomically
from pgi.config import ExperimentConfig
from pgi.opencv import cv2
from pgi.rules import check
from pgi.sheets import png
from pgi.training.reading import ImageSource

ROWS, COLUMNS, CELL, MARGIN = 4, 6, 192, 2  # Of the sheet; sides in pixels.
LISTED = 20
# Turquoise is rare in photographs, so holes stand out.
_TINT = np.array([0, 255, 200], np.uint8)
_QUEUED = 256  # Reads that are queued at once: a queue of millions would fill the memory.
_CONFIG = Path(__file__).parents[1] / "experiments" / "configs" / "small.py"


class Part(NamedTuple):
    """Findings about the training or the validation images.

    Attributes:
        name: "train" or "validation".
        total: number of images.
        read: how many of them were read.
        sizes: int32 `[N, 2]`, width and height of each readable image, in pixels.
        unreadable: reasons by key; also for images that `data.load` had already left out.
    """

    name: str
    total: int
    read: int
    sizes: AnyArray
    unreadable: dict[Any, str]


def check_dataset(name: str, config: ExperimentConfig, output: Path, most: int = 0) -> int:
    """Writes a dataset's contact sheet, prints a report, and returns the exit status, 0 or 1.

    Args:
        name: as `data.load` takes it; the dataset in the config is ignored.
        config: of the training to come.
        output: the sheet's PNG file; its folder is created.
        most: maximum number of images read of each part, evenly spaced; 0 for all.

    Raises:
        RuleError: the dataset is unknown, or the output's suffix is not .png.
        NoUsableImageError: the dataset is missing or has no usable image.
        OSError: the sheet cannot be written.
    """
    check("output", "named as a .png file", str(output).lower().endswith(".png"), str(output))
    sources = data.load(name)
    # Unreadable images are listed at the end, so the warnings would only repeat them.
    logging.set_verbosity(logging.ERROR)
    # The sheet comes first: it takes seconds, and if it cannot be written, that shows at once.
    output.parent.mkdir(parents=True, exist_ok=True)
    sheet = contact_sheet(training_samples(sources[0], config, ROWS * COLUMNS))
    write_atomically(output, png(sheet))
    parts = [read(*part, most) for part in zip(("train", "validation"), sources)]
    size = config.data.downsample * config.model.levels[-1]
    print(*report(parts, size, config.data.crop), sep="\n")
    print(f"The first {ROWS * COLUMNS} training samples, holes in turquoise: {output}")
    return int(any(part.unreadable for part in parts))


def training_samples(
    source: ImageSource, config: ExperimentConfig, count: int
) -> Iterator[tuple[UInt8Array, BoolArray]]:
    """A run's first samples: crops `[S, S, 3]` at its highest level, and their holes `[S, S]`."""
    from pgi import images  # TensorFlow takes seconds to import.
    from pgi.training import examples, pipeline

    crops = examples.training_crops(config, source, batch_size=1).take(count)
    build = pipeline.pyramid_builder(len(config.model.levels), config.mask, config.train.seed)
    for pyramid, masks in pipeline.apply_on(crops, build, device=None):
        yield images.to_uint8(pyramid[-1])[0].numpy(), masks[-1][0, ..., 0].numpy() > 0.5


def contact_sheet(samples: Iterable[tuple[UInt8Array, BoolArray]]) -> UInt8Array:
    """Samples, a multiple of six, in rows of six with their holes tinted: `[H, W, 3]`."""
    cells = np.stack([_cell(*sample) for sample in samples])
    return montage(
        cells,
        fill=(255, 255, 255),
        grid_shape=(len(cells) // COLUMNS, COLUMNS),
        padding_width=MARGIN,
        channel_axis=-1,
    )


def _cell(crop: UInt8Array, hole: BoolArray) -> UInt8Array:
    smoothly = cv2.INTER_AREA if len(crop) > CELL else cv2.INTER_CUBIC
    cell = cv2.resize(crop, (CELL, CELL), interpolation=smoothly).astype(np.uint8)
    inside = cv2.resize(hole.astype(np.uint8), (CELL, CELL), interpolation=cv2.INTER_NEAREST)
    outline = inside > cv2.erode(inside, np.ones([5, 5], np.uint8))
    cell[inside > 0] = cell[inside > 0] * 0.6 + _TINT * 0.4  # The crop still shows through.
    cell[outline] = _TINT
    return cell


def read(name: str, source: ImageSource, most: int = 0) -> Part:
    """Reads a part's images, at most `most` or all if it is 0, with a progress bar on stderr."""
    total = len(source)
    count = min(most or total, total)
    sizes, failed = np.zeros([count, 2], np.int32), []

    def read_one(place: int) -> None:
        number = place * total // count
        image = source.try_read(number)
        if image is None:
            failed.append(number)
        else:
            sizes[place] = image.shape[1::-1]

    interval = 0.1 if sys.stderr.isatty() else 60  # A log file gets one line a minute.
    with ThreadPoolExecutor() as pool:
        queues = (range(n, min(n + _QUEUED, count)) for n in range(0, count, _QUEUED))
        # An interrupted `map` drops the reads that are still queued.
        done = chain.from_iterable(pool.map(read_one, queue) for queue in queues)
        for _ in tqdm(done, name, count, unit="image", mininterval=interval, maxinterval=60):
            pass
    # In the order of the images, not of the threads.
    reasons = {key: source.skipped[key] for key in map(source.key, sorted(failed))}
    left_out = {key: reason for key, reason in source.skipped.items() if key not in reasons}
    return Part(name, total, count, sizes[sizes.any(axis=1)], {**left_out, **reasons})


def report(parts: Sequence[Part], size: int, crop: str) -> Iterator[str]:
    """Lines about the parts; crops of the training to come are cut at `size`, by `crop`."""
    sides = "width min / median / max", "height min / median / max"
    headers = ("", "readable", "unreadable", *sides, f"short side < {size}")
    rows = []
    for name, _, _, sizes, unreadable in parts:
        width, height = (
            f"{side.min()} / {np.median(side):g} / {side.max()}" if side.size else "-"
            for side in sizes.T
        )
        counts = (len(sizes), len(unreadable), (sizes.min(axis=1) < size).sum())
        readable, others, small = (f"{count:,}" for count in counts)
        rows.append((name, readable, others, width, height, small))
    yield tabulate(rows, headers, "plain", stralign="right", disable_numparse=True)
    yield f'Sides are in pixels; images with a short side < {size} are enlarged (crop "{crop}").'
    for name, total, count, *_ in parts:
        if count < total:
            yield f"Read {count:,} of {total:,} {name} images, evenly spaced (--most)."
    found = [item for part in parts for item in part.unreadable.items()]
    for key, reason in found[:LISTED]:
        yield " ".join(f"{key}: {reason.removeprefix(f'{key}: ')}".splitlines())
    if len(found) > LISTED:
        yield f"and {len(found) - LISTED:,} more"


def main(argv: list[str]) -> int:
    """Checks the dataset that the flags name; returns the exit status."""
    program.no_arguments(argv)
    values = flags.FLAGS
    stem = re.sub(r"\W+", "_", values.dataset).strip("_")[-60:]  # File names are short.
    output = Path(values.output or f"runs/check/{stem}.png")
    return check_dataset(values.dataset, program.read_config(), output, values.most)


def define_flags() -> None:
    """Defines the flags, for `program.run`."""
    program.define_config(_CONFIG)
    flags.DEFINE_string("dataset", None, f"Required: one of {KNOWN}.", required=True)
    flags.DEFINE_integer("most", 0, "Images read of each part; 0: all.", lower_bound=0)
    flags.DEFINE_string("output", None, "Contact sheet; default runs/check/DATASET.png.")


if __name__ == "__main__":
    program.run(main, define_flags, "not all images were read")
