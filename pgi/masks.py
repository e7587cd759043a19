"""Random training masks, drawn as TensorFlow ops.

DeepFillv2 draws one mask per batch on the host, with NumPy and PIL. Here each sample has a mask of
its own that depends only on its seed. So a run sees the same masks for any batch size, number of
devices and compiler, and they can be drawn in the input pipeline or in the training step.

Coordinates are float64 until they are rounded to whole pixels. The last bit of a sine or a square
root, which differs between kernels, then does not move a pixel.
"""

from __future__ import annotations

import math

import tensorflow as tf

from pgi.rules import PLACEMENTS, check_choice

MAX_STROKES = 3
MIN_STEPS = 4
MAX_STEPS = 11
MEAN_ANGLE = 2 * math.pi / 5
ANGLE_RANGE = 2 * math.pi / 15

# Streams of random numbers, to keep one seed's square and strokes independent.
_SQUARE, _STROKES = range(2)


def training_masks(
    seeds: tf.Tensor,
    height: int | tf.Tensor,
    width: int | tf.Tensor,
    *,
    placement: str = "random",
    min_width: float = 12,
    max_width: float = 40,
) -> tf.Tensor:
    """Training masks: the union of `random_squares` and `brush_strokes` (section 4, DeepFillv2).

    Args:
        seeds: integers `[B, 2]`, one stateless seed per sample.
        height, width: of the masks in pixels, at least 2.
        placement: of the square, `"random"` or `"center"`.
        min_width, max_width: of the strokes, in pixels.

    Returns:
        `[B, height, width, 1]` float32, 1 = hole, 0 = known.

    Raises:
        ValueError: `placement` is neither, not 1 <= `min_width` <= `max_width`, or `seeds` are not
            integers `[B, 2]`.
    """
    square = random_squares(seeds, height, width, placement=placement)
    strokes = brush_strokes(seeds, height, width, min_width=min_width, max_width=max_width)
    return tf.maximum(square, strokes)


def random_squares(
    seeds: tf.Tensor,
    height: int | tf.Tensor,
    width: int | tf.Tensor,
    *,
    placement: str = "random",
) -> tf.Tensor:
    """Square masks: one rectangle per sample, half of each side minus a random inset.

    At side 256 the hole's side is 128 - 2 i, with i uniform over 0 .. 16, drawn for each axis.
    Arguments and result as of `training_masks`.

    Args:
        placement: of the square before its inset: `"random"` anywhere in the image, as
            DeepFillv2's code does, or `"center"`, as the paper says.
    """
    check_choice("placement", PLACEMENTS, placement)
    place_y, inset_y, place_x, inset_x = tf.unstack(uniform(seeds, _SQUARE, [4]), axis=1)

    def inside(side: int | tf.Tensor, place: tf.Tensor, inset: tf.Tensor) -> tf.Tensor:
        half = side // 2
        start = (side - half) // 2 if placement == "center" else _integer(place, 0, side - half)
        margin = _integer(inset, 0, side // 16)
        first, stop = start + margin, start + half - margin
        pixels = tf.range(side)
        return (pixels >= first[:, tf.newaxis]) & (pixels < stop[:, tf.newaxis])

    rows, columns = inside(height, place_y, inset_y), inside(width, place_x, inset_x)
    hole = rows[:, :, tf.newaxis] & columns[:, tf.newaxis, :]
    return tf.cast(hole[..., tf.newaxis], tf.float32)


def brush_strokes(
    seeds: tf.Tensor,
    height: int | tf.Tensor,
    width: int | tf.Tensor,
    *,
    min_width: float = 12,
    max_width: float = 40,
) -> tf.Tensor:
    """Free-form masks: 1 to 3 strokes per sample, zigzags of 4 to 11 segments with round ends.

    The hole is every pixel whose distance from a segment is at most half of its stroke's width.
    Algorithm 1 of DeepFillv2's supplementary material. Outlines differ from PIL's by at most a
    pixel. The algorithm's random flips have no effect there and are left out, so here too the
    strokes lean to one side. Arguments and result as of `training_masks`.

    Args:
        min_width, max_width: a stroke is `int(U(min_width, max_width))` pixels wide. DeepFillv2
            has 12 and 40 at every size of image; a caller may scale them with it.
    """
    vertices, widths, valid = stroke_vertices(
        seeds, height, width, min_width=min_width, max_width=max_width
    )
    shape = [tf.shape(vertices)[0], MAX_STROKES * MAX_STEPS]
    starts, ends = (
        tf.reshape(part, [*shape, 2]) for part in (vertices[:, :, :-1], vertices[:, :, 1:])
    )
    widths = tf.repeat(widths, MAX_STEPS, axis=1)
    return paint_segments(starts, ends, widths, tf.reshape(valid, shape), height, width)


def stroke_vertices(
    seeds: tf.Tensor,
    height: int | tf.Tensor,
    width: int | tf.Tensor,
    *,
    min_width: float = 12,
    max_width: float = 40,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Geometry of the strokes of `brush_strokes`, with the same arguments.

    Returns:
        vertices: `[B, 3, 12, 2]` int32, (x, y) in pixels. The first of a stroke is a pixel of the
            image, the others have 0 <= x <= width, 0 <= y <= height. After the stroke's end, the
            last one is repeated.
        widths: `[B, 3]` int32, the strokes' widths in pixels.
        valid: `[B, 3, 11]` bool, whether the segment from vertex i to vertex i + 1 is painted.
    """
    if not 1 <= min_width <= max_width:
        raise ValueError(
            "stroke widths must be 1 <= min_width <= max_width, "
            f"got min_width={min_width}, max_width={max_width}"
        )
    draws = uniform(seeds, _STROKES, [MAX_STROKES, 7 + 3 * MAX_STEPS])
    strokes, steps, below, above, thickness, x, y = tf.split(draws[..., :7], 7, axis=-1)
    turn, normal_radius, normal_angle = tf.split(draws[..., 7:], 3, axis=-1)

    valid = tf.range(MAX_STEPS) < _integer(steps, MIN_STEPS, MAX_STEPS)
    # One number of strokes per sample: the draw of the first stroke.
    valid &= tf.range(MAX_STROKES)[:, tf.newaxis] < _integer(strokes[:, :1], 1, MAX_STROKES)
    smallest, largest = MEAN_ANGLE - ANGLE_RANGE * below, MEAN_ANGLE + ANGLE_RANGE * above
    angle = smallest + (largest - smallest) * turn
    angle = tf.where(tf.range(MAX_STEPS) % 2 == 0, 2 * math.pi - angle, angle)
    # Box-Muller: the built-in normal distribution uses another algorithm under XLA.
    normal = tf.sqrt(-2 * tf.math.log(1 - normal_radius)) * tf.cos(2 * math.pi * normal_angle)
    corner = tf.stack([tf.cast(width, tf.float64), tf.cast(height, tf.float64)])
    mean_radius = tf.norm(corner) / 8
    radius = tf.clip_by_value(mean_radius + mean_radius // 2 * normal, 0, 2 * mean_radius)
    radius = tf.where(valid, radius, 0)
    moves = tf.stack([radius * tf.cos(angle), radius * tf.sin(angle)], axis=-1)

    vertex = tf.floor(tf.concat([x, y], axis=-1) * corner)
    vertices = [vertex]
    for move in tf.unstack(moves, axis=2):
        vertex = tf.floor(tf.clip_by_value(vertex + move, 0, corner))
        vertices.append(vertex)
    widths = tf.cast(min_width + (max_width - min_width) * thickness[..., 0], tf.int32)
    return tf.cast(tf.stack(vertices, axis=2), tf.int32), widths, valid


def paint_segments(
    starts: tf.Tensor,
    ends: tf.Tensor,
    widths: tf.Tensor,
    valid: tf.Tensor,
    height: int | tf.Tensor,
    width: int | tf.Tensor,
) -> tf.Tensor:
    """Paints segments: all pixels at a distance of at most half a segment's width.

    Args:
        starts, ends: `[B, segments, 2]`, (x, y) in whole pixels, in any order.
        widths: `[B, segments]`, in whole pixels.
        valid: `[B, segments]` bool, whether the segment is painted.
        height, width: of the masks in pixels.

    Returns:
        `[B, height, width, 1]` float32, 1 = painted, 0 = not.
    """
    downward = starts[..., 1:] <= ends[..., 1:]
    upper, lower = tf.where(downward, starts, ends), tf.where(downward, ends, starts)
    upper, lower = upper[:, :, tf.newaxis], lower[:, :, tf.newaxis]  # An axis for the rows.
    start, stop = _row_runs(upper, lower, widths[..., tf.newaxis], height, width)
    return _fill_runs(start, tf.where(valid[..., tf.newaxis], stop, start), width)


def _row_runs(
    upper: tf.Tensor,
    lower: tf.Tensor,
    widths: tf.Tensor,
    height: int | tf.Tensor,
    width: int | tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
    """The pixels [start, stop) of every row that every segment covers, `[B, segments, height]`.

    A segment with round ends is convex, so it covers one run of each row. That takes
    segments x height operations; the distance of every pixel from every segment would take
    `width` times as many.
    """
    upper, lower, widths = (tf.cast(value, tf.float64) for value in (upper, lower, widths))
    # The 0.1 keeps the outline off the pixels' centres, so that rounding has no tie to break.
    radius_squared = widths**2 / 4 + 0.1
    across, down = tf.unstack(lower - upper, axis=-1)
    length = tf.sqrt(across**2 + down**2)
    slant = tf.math.divide_no_nan(across, length) * tf.sqrt(radius_squared)
    rows = tf.cast(tf.range(height), tf.float64) - upper[..., 1]

    def outline(side: int) -> tuple[tf.Tensor, tf.Tensor]:
        # Among the discs from the upper end (place 0) to the lower end (1), the one that extends
        # farthest to this side in this row. A horizontal segment is treated as almost horizontal,
        # so that the division still separates its ends.
        place = tf.clip_by_value((rows + side * slant) / tf.maximum(down, 1e-9), 0, 1)
        reach_squared = radius_squared - (rows - place * down) ** 2
        reach = tf.sqrt(tf.maximum(reach_squared, 0))
        return upper[..., 0] + place * across + side * reach, reach_squared >= 0

    (left, touched), (right, _) = outline(-1), outline(1)
    columns = tf.cast(width, tf.float64)
    start = tf.clip_by_value(tf.math.ceil(left), 0, columns)
    stop = tf.clip_by_value(tf.floor(right) + 1, start, columns)
    stop = tf.where(touched, stop, start)
    return tf.cast(start, tf.int32), tf.cast(stop, tf.int32)


def _fill_runs(start: tf.Tensor, stop: tf.Tensor, width: int | tf.Tensor) -> tf.Tensor:
    """Paints the runs [start, stop) of every row, `[B, runs, height]`, as `[B, height, width, 1]`.

    With +1 where a run starts and -1 where it stops, the running sum is the number of runs over a
    pixel. These are small integers, so the sum is exact in any order of addition.
    """
    batch, height = tf.shape(start)[0], tf.shape(start)[2]
    row = tf.reshape(tf.range(batch * height), [batch, 1, height]) * (width + 1)
    ones = tf.ones_like(start, tf.float32)
    changes = tf.math.unsorted_segment_sum(
        tf.stack([ones, -ones]),
        tf.stack([row + start, row + stop]),
        batch * height * (width + 1),
    )
    runs = tf.cumsum(tf.reshape(changes, [batch, height, width + 1]), axis=2)
    return tf.cast(runs[:, :, :-1, tf.newaxis] > 0, tf.float32)


def uniform(seeds: tf.Tensor, stream: int, shape: list[int]) -> tf.Tensor:
    """Uniform random numbers in [0, 1), per sample, the same on every device.

    Args:
        seeds: integers `[B, 2]`, one stateless seed per sample.
        stream: makes draws from the same seeds for different purposes independent.
        shape: of one sample's draws.

    Returns:
        `[B, *shape]` float64.
    """
    seeds = tf.convert_to_tensor(seeds)
    if not (seeds.dtype.is_integer and seeds.shape.is_compatible_with([None, 2])):
        raise ValueError(f"seeds must be integers [B, 2], got {seeds.dtype.name} {seeds.shape}")

    def draw(seed: tf.Tensor) -> tf.Tensor:
        # The default algorithm depends on the device. XLA and the ordinary kernels agree on the
        # random bits, but not on the fractions that they derive from them.
        seed = tf.random.experimental.stateless_fold_in(
            seed, tf.constant(stream, tf.int64), alg="philox"
        )
        bits = tf.random.stateless_uniform(
            shape, seed, minval=None, maxval=None, dtype=tf.uint32, alg="philox"
        )
        return tf.cast(bits, tf.float64) / 2**32

    return tf.map_fn(draw, tf.cast(seeds, tf.int64), fn_output_signature=tf.float64)


def _integer(uniform: tf.Tensor, smallest: int, largest: int | tf.Tensor) -> tf.Tensor:
    """Draws in [0, 1) to int32, uniform over smallest .. largest inclusive."""
    count = tf.cast(largest - smallest + 1, tf.float64)
    return smallest + tf.cast(tf.floor(uniform * count), tf.int32)
