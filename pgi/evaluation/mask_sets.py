"""Frozen sets of masks: every model is compared on the same holes.

Mask n of a set depends only on the set, n, the height and the width: not on how many are drawn, the
device, or the version of an image library, since `pgi.masks` both draws the random numbers and
paints. docs/MASKS.md shows the sets and publishes their hashes; a change of the pixels needs a new
name.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from pgi import masks
from pgi.arrays import AnyArray, BoolArray, FloatArray
from pgi.evaluation.progress import progress
from pgi.rules import check, check_choice

# Numbers of masks, height and width -> bool [masks, height, width].
Drawer = Callable[[AnyArray, int, int], BoolArray]
MIN_SIDE = 16

_REFERENCE_SIDE = 256
# First word of the first seed: far from the seeds of training.
_FIRST_SEED = 1_000_000_000
_MAX_ATTEMPTS = 200
# pgi.masks uses the streams before it.
_STREAM = 2
_MAX_DRAWS = 512
_ROWS_AT_ONCE = 2**12


def draw(name: str, count: int, height: int, width: int, first: int = 0) -> BoolArray:
    """Masks of a set, one after another.

    docs/MASKS.md names the source of each set, and what differs from it.

    Args:
        name: of the set, one of `MASK_SETS`.
        count: number of masks, at least 1.
        height, width: of the masks in pixels, at least 16.
        first: number of the first of them.

    Returns:
        `[count, height, width, 1]` bool, True = hole. Every mask has a hole and known pixels.

    Raises:
        RuleError: an argument breaks its rule.
        RuntimeError: no hole of the prescribed share was found, as in an image many times as long
            as wide.
    """
    check_choice("name", tuple(MASK_SETS), name)
    sides = (("height", height, MIN_SIDE), ("width", width, MIN_SIDE))
    limits = (("count", count, 1), *sides, ("first", first, 0))
    for argument, value, least in limits:
        whole = isinstance(value, (int, np.integer)) and value >= least
        check(argument, f"an integer of at least {least}", whole, value)
    drawn = np.empty((count, height, width, 1), bool)
    batch = max(1, _ROWS_AT_ONCE // height)
    # Leaves the GPU's memory to the model that is evaluated.
    with tf.device("CPU"):
        for start in range(0, count, batch):
            part = np.arange(start, min(start + batch, count))
            drawn[part, ..., 0] = MASK_SETS[name](first + part, height, width)
    return drawn


def sha256(masks: AnyArray) -> str:
    """SHA-256 of the masks' shape and pixels, in hexadecimal digits.

    Args:
        masks: of any shape and type, 0 = known; the type does not change the hash.
    """
    shape = np.array(masks.shape, "<i8").tobytes()
    return hashlib.sha256(shape + np.packbits(masks != 0).tobytes()).hexdigest()


def sha256_of_first(name: str, count: int, height: int, width: int) -> str:
    """`sha256` of a set's first masks, of which only a few are in memory at once.

    Args:
        name, count, height, width: as for `draw`; the number of pixels is a multiple of 8.

    Raises:
        RuleError, RuntimeError: as `draw`.
    """
    check("pixels of a mask", "a multiple of 8", height * width % 8 == 0, (height, width))
    digest = hashlib.sha256(np.array([count, height, width, 1], "<i8").tobytes())
    batch = max(1, _ROWS_AT_ONCE // height)
    with progress(f"drawing masks: {name}", count, unit="mask") as bar:
        for first in range(0, count, batch):
            part = draw(name, min(batch, count - first), height, width, first)
            digest.update(np.packbits(part).tobytes())
            bar.update(len(part))
    return digest.hexdigest()


def _square(hole_side: Callable[[int], int]) -> Drawer:
    def drawer(numbers: AnyArray, height: int, width: int) -> BoolArray:
        hole = np.zeros((len(numbers), height, width), bool)
        sides = [(side, hole_side(side)) for side in (height, width)]
        rows, columns = (slice((side - inner) // 2, (side + inner) // 2) for side, inner in sides)
        hole[:, rows, columns] = True
        return hole

    return drawer


def _ratio(share: float) -> Drawer:
    """A square in the middle, with the share of the image to the nearest even margin."""
    return _square(lambda side: side - 2 * round((1 - math.sqrt(share)) * side / 2))


_center = _square(lambda side: side // 2)


def _freeform(numbers: AnyArray, height: int, width: int) -> BoolArray:
    scale, seeds = _scale(height, width), _seeds(0, numbers)
    smallest, largest = max(12 * scale, 1.0), max(40 * scale, 1.0)
    hole = masks.brush_strokes(seeds, height, width, min_width=smallest, max_width=largest)
    return np.asarray(hole)[..., 0] > 0


def _union(numbers: AnyArray, height: int, width: int) -> BoolArray:
    return _center(numbers, height, width) | _freeform(numbers, height, width)


@dataclasses.dataclass(frozen=True)
class Irregular:
    """Polygonal chains and boxes, drawn again until the hole has a prescribed share of the image.

    A chain starts anywhere in any direction, turns by at most 90 degrees at a vertex, has round
    joins and ends, and stops at the image's border. A box lies anywhere in the image. Every number
    is drawn uniformly between two bounds. Lengths are in pixels at side 256, and scale with the
    root of the image's area.

    Chains and boxes follow the text of Suvorov et al. 2022, the bins of the share that of Liu et
    al. 2018; all other numbers are ours.

    Args:
        number: of the set, from which its seeds are made.
        share: of the image; more than the first bound and at most the second.
        chains: number of chains.
        segments: number of segments per chain.
        lengths: of a segment.
        widths: of a chain.
        boxes: number of boxes.
        sides: height and width of a box.
    """

    number: int
    share: tuple[float, float]
    chains: tuple[int, int]
    segments: tuple[int, int]
    lengths: tuple[float, float]
    widths: tuple[float, float]
    boxes: tuple[int, int] = (0, 0)
    sides: tuple[float, float] = (0, 0)

    def __call__(self, numbers: AnyArray, height: int, width: int) -> BoolArray:
        drawn = np.empty((len(numbers), height, width), bool)
        missing, (low, high) = np.arange(len(numbers)), self.share
        for attempt in range(_MAX_ATTEMPTS):
            seeds = _seeds(self.number * _MAX_ATTEMPTS + attempt, numbers[missing])
            holes = self._candidates(seeds, height, width)
            shares = holes.mean(axis=(1, 2))
            fits = (shares > low) & (shares <= high)
            drawn[missing[fits]] = holes[fits]
            missing = missing[~fits]
            if not len(missing):
                return drawn
        raise RuntimeError(f"no hole of {low:.0%} to {high:.0%} found at {height} x {width} pixels")

    def _candidates(self, seeds: tf.Tensor, height: int, width: int) -> BoolArray:
        chains, boxes, a_chain = self.chains[1], self.boxes[1], 5 + 2 * self.segments[1]
        ends = np.cumsum([1, 1, 4 * boxes, chains * a_chain])
        chain_count, box_count, of_boxes, of_chains, _ = np.split(_uniform(seeds), ends, axis=1)
        of_chains = of_chains.reshape(-1, chains, a_chain)
        hole = self._paint_chains(chain_count, of_chains, height, width)
        return hole | self._paint_boxes(box_count, of_boxes, height, width)

    def _paint_chains(
        self, count: FloatArray, draws: FloatArray, height: int, width: int
    ) -> BoolArray:
        batch, chains, segments = *draws.shape[:2], self.segments[1]
        scale, corner = _scale(height, width), np.array([width, height])
        parts = [2, 3, 4, 5, 5 + segments]
        place, steps, thickness, heading, turns, lengths = np.split(draws, parts, axis=-1)
        valid = np.arange(segments) < _integer(steps, self.segments)
        valid &= (np.arange(chains) < _integer(count, self.chains))[..., None]
        widths = np.maximum(np.floor(_between(thickness, self.widths) * scale), 1)
        angles = 2 * math.pi * heading + np.cumsum(math.pi * (turns - 0.5), axis=-1)
        moves = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
        moves *= (_between(lengths, self.lengths) * scale)[..., None]
        vertices = [np.floor(place * corner)]
        for move in np.moveaxis(moves, 2, 0):
            # Vertices are whole pixels, as in pgi.masks.
            vertices.append(np.clip(np.floor(vertices[-1] + move + 0.5), 0, corner - 1))
        path, widths = np.stack(vertices, axis=2), np.repeat(widths[..., None], segments, axis=2)
        lines = np.concatenate([path[:, :, :-1], path[:, :, 1:], widths], axis=-1)
        # Most segments are not valid: paint only as many as the fullest mask has.
        valid = valid.reshape(batch, -1)
        order = np.argsort(~valid, axis=1, kind="stable")[:, : valid.sum(axis=1).max()]
        lines = np.take_along_axis(lines.reshape(batch, -1, 5), order[..., None], axis=1)
        valid = np.take_along_axis(valid, order, axis=1)
        starts, ends, widths = np.split(lines, [2, 4], axis=-1)
        painted = masks.paint_segments(starts, ends, widths[..., 0], valid, height, width)
        return np.asarray(painted)[..., 0] > 0

    def _paint_boxes(
        self, count: FloatArray, draws: FloatArray, height: int, width: int
    ) -> BoolArray:
        def inside(extent: FloatArray, place: FloatArray, side: int) -> BoolArray:
            length = np.clip(np.floor(_between(extent, self.sides) * scale), 1, side)
            start = np.floor(place * (side - length + 1))
            inner: BoolArray = (np.arange(side) >= start) & (np.arange(side) < start + length)
            return inner

        boxes, scale = self.boxes[1], _scale(height, width)
        tall, top, wide, left = np.split(draws.reshape(len(draws), boxes, 4), 4, axis=-1)
        rows, columns = inside(tall, top, height), inside(wide, left, width)
        rows &= (np.arange(boxes) < _integer(count, self.boxes))[..., None]
        hole: BoolArray = (rows[..., None] & columns[:, :, None]).any(axis=1)
        return hole


@tf.function(input_signature=[tf.TensorSpec([None, 2], tf.int64)])
def _uniform(seeds: tf.Tensor) -> tf.Tensor:
    return masks.uniform(seeds, _STREAM, [_MAX_DRAWS])


def _seeds(first: int, numbers: AnyArray) -> tf.Tensor:
    return tf.constant([[_FIRST_SEED + first, number] for number in numbers], tf.int64)


def _scale(height: int, width: int) -> float:
    return math.sqrt(height * width) / _REFERENCE_SIDE


def _between(uniform: FloatArray, ends: tuple[float, float]) -> FloatArray:
    return ends[0] + (ends[1] - ends[0]) * uniform


def _integer(uniform: FloatArray, ends: tuple[int, int]) -> FloatArray:
    number: FloatArray = ends[0] + np.floor(uniform * (ends[1] - ends[0] + 1))
    return number


_MOST = (0.0, 0.6)
_STROKES = ((1, 6), (15, 70), (4, 44))
MASK_SETS: Mapping[str, Drawer] = {
    "center": _center,
    "freeform": _freeform,
    "union": _union,
    **{f"ratio_{n}": _ratio(n / 100) for n in (15, 25, 35, 45, 55)},
    # number, share, chains, segments, lengths, widths, boxes, sides
    "thin": Irregular(1, _MOST, (6, 14), (2, 6), (8, 40), (3, 9)),
    "medium": Irregular(2, _MOST, (2, 6), (2, 6), (20, 70), (12, 28), (0, 2), (20, 70)),
    "thick": Irregular(3, _MOST, (1, 3), (2, 5), (40, 110), (36, 72), (0, 2), (60, 130)),
    "area_01_10": Irregular(4, (0.01, 0.1), (1, 3), *_STROKES),
    "area_10_20": Irregular(5, (0.1, 0.2), (2, 5), *_STROKES),
    "area_20_30": Irregular(6, (0.2, 0.3), (4, 8), *_STROKES),
    "area_30_40": Irregular(7, (0.3, 0.4), (8, 13), *_STROKES),
    "area_40_50": Irregular(8, (0.4, 0.5), (11, 17), *_STROKES),
    "area_50_60": Irregular(9, (0.5, 0.6), (14, 22), *_STROKES),
}
