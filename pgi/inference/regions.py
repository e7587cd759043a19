"""Rectangles around an image's holes, and computing an image rectangle by rectangle.

A convolutional network computes a pixel from its receptive field, so on a rectangle that is larger
than the hole by the receptive field's radius it gives the same pixels as on the whole image.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from pgi.layers.region import Region, Size
from pgi.layers.resize import dimensions

# Regions start and end on multiples of this many pixels, because networks halve a side three times.
CELL = 8


def hole_regions(mask: tf.Tensor, margin: int, attention_margin: int, max_side: int) -> tf.Tensor:
    """Disjoint rectangles that together contain every hole, about as cheap as they can be.

    Straight cuts between rows and columns separate holes. Each rectangle is computed with margins,
    so cutting costs the pixels that two of them share and saves those that none needs: first come
    the cuts that cost nothing, then narrower ones, and a rectangle stays whole unless its parts are
    cheaper (`_cost`). Rectangles larger than `max_side` are then split, to bound the memory.

    Args:
        mask: `[1, H, W, 1]`, 1 = hole; H and W multiples of `CELL`.
        margin: of convolutions: added at each side when computing, in pixels.
        attention_margin: of attention's queries.
        max_side: of a rectangle without its margin, in pixels, a multiple of `CELL`.

    Returns:
        `[N, 4]` int32, each row a `Region`, all multiples of `CELL`; N = 0 without a hole.
    """
    _, height, width, _ = dimensions(mask)
    cells = tf.nn.max_pool2d(mask, CELL, CELL, "VALID")[0, :, :, 0] > 0.5
    positions = tf.cast(tf.where(cells), tf.int32)
    groups, groupings = tf.zeros_like(positions[:, 0]), []
    for gap in (2 * margin, margin, margin // 2, 0):
        # A cut along one axis can make further cuts along the other possible.
        for axis in (0, 1, 0, 1):
            groups = _regroup(groups, positions[:, axis], gap // CELL)
        groupings.append(groups)

    def cost(regions: tf.Tensor) -> tf.Tensor:
        return _cost(regions, margin, attention_margin, height, width)

    return split(_cheapest(groupings, positions, cost), max_side)


def _regroup(groups: tf.Tensor, positions: tf.Tensor, gap: int) -> tf.Tensor:
    """Splits groups where more than `gap` positions lie between neighbouring members."""
    wide, deep = tf.cast(groups, tf.int64), tf.cast(positions, tf.int64)
    order = tf.argsort(wide * (tf.reduce_max(tf.concat([deep, [0]], axis=0)) + 1) + deep)
    groups, positions = tf.gather(groups, order), tf.gather(positions, order)
    begins = (groups[1:] > groups[:-1]) | (positions[1:] - positions[:-1] - 1 > gap)
    numbers = tf.concat([tf.zeros_like(groups[:1]), tf.cumsum(tf.cast(begins, tf.int32))], axis=0)
    return tf.scatter_nd(order[:, None], numbers, tf.shape(numbers))


def _cheapest(
    groupings: list[tf.Tensor],
    positions: tf.Tensor,
    cost: Callable[[tf.Tensor], tf.Tensor],
) -> tf.Tensor:
    """The rectangles around groups whose cost is least: each group of one grouping or its parts.

    Args:
        groupings: each `[N]`, the group of each cell, finer from one to the next.
        positions: of the cells, `[N, 2]`.
        cost: of `[G, 4]` rectangles, `[G]`.
    """
    numbers = tf.range(tf.shape(positions)[0])
    chosen, finer, least = numbers, numbers, None
    regions = tf.zeros_like(tf.concat([positions, positions], axis=1))
    for groups in reversed(groupings):
        count = tf.reduce_max(tf.concat([groups + 1, [0]], axis=0))
        first = tf.math.unsorted_segment_min(positions, groups, count)
        last = tf.math.unsorted_segment_max(positions, groups, count)
        rectangles = CELL * tf.concat([first, last - first + 1], axis=1)
        whole = cost(rectangles)
        keep = tf.ones_like(whole, tf.bool)
        if least is not None:
            parents = tf.math.unsorted_segment_max(groups, finer, tf.size(least))
            parts = tf.math.unsorted_segment_sum(least, parents, count)
            keep = whole <= parts
            whole = tf.minimum(whole, parts)
        # A rectangle's number is that of its first cell.
        kept = tf.gather(keep, groups)
        owners = tf.gather(tf.math.unsorted_segment_min(numbers, groups, count), groups)
        chosen = tf.where(kept, owners, chosen)
        regions = tf.where(kept[:, None], tf.gather(rectangles, groups), regions)
        finer, least = groups, whole
    return tf.boolean_mask(regions, chosen == numbers)


def _cost(
    regions: tf.Tensor, margin: int, attention_margin: int, height: Size, width: Size
) -> tf.Tensor:
    """What rectangles cost to compute, `[N]`, in pixels of convolutions.

    On a CPU, attention of a pixel costs as much as its convolutions if the image has 2**19 pixels
    at width 48, 2**18 (taken here) at width 24, and grows with the image. It needs two more rows of
    queries, 8 pixels each, and reads all keys once, which takes as long as some 2**11 pixels.
    Starting a rectangle costs some 2**13.
    """
    top, left, high, wide = tf.unstack(regions, axis=1)

    def area(margin: int) -> tf.Tensor:
        rows = tf.minimum(top + high + margin, height) - tf.maximum(top - margin, 0)
        columns = tf.minimum(left + wide + margin, width) - tf.maximum(left - margin, 0)
        return tf.cast(rows, tf.float32) * tf.cast(columns, tf.float32)

    queries = tf.cast(height * width, tf.float32) / 2.0**18
    return area(margin) + queries * (area(attention_margin + 16) + 2.0**11) + 2.0**13


def split(regions: tf.Tensor, max_side: int) -> tf.Tensor:
    """Splits each rectangle evenly into rectangles of at most `max_side`.

    Args:
        regions: `[N, 4]` int32, multiples of `CELL`.
        max_side: in pixels, a multiple of `CELL`.

    Returns:
        `[M, 4]` int32, M >= N, multiples of `CELL`.
    """
    parts = -(-regions[:, 2:] // max_side)
    sides = -(-regions[:, 2:] // (parts * CELL)) * CELL
    parts = -(-regions[:, 2:] // sides)  # Rounding to cells can leave the last one empty.
    counts = parts[:, 0] * parts[:, 1]
    owner = tf.repeat(tf.range(tf.size(counts)), counts)
    number = tf.range(tf.size(owner)) - tf.gather(tf.cumsum(counts, exclusive=True), owner)
    regions, parts, sides = (tf.gather(x, owner) for x in (regions, parts, sides))
    first = tf.stack([number // parts[:, 1], number % parts[:, 1]], axis=1) * sides
    return tf.concat([regions[:, :2] + first, tf.minimum(sides, regions[:, 2:] - first)], axis=1)


def paint(
    regions: tf.Tensor,
    compute: Callable[[Region], tf.Tensor],
    height: Size,
    width: Size,
    channels: int,
) -> tf.Tensor:
    """An image that is computed in rectangles, one at a time, and 0 elsewhere.

    Args:
        regions: `[N, 4]` int32, disjoint.
        compute: returns a region's pixels, `[1, region.height, region.width, channels]`. Outside of
            a graph its regions are of Python's ints.
        height, width, channels: of the image.

    Returns:
        `[1, height, width, channels]` float32.
    """
    if tf.executing_eagerly():
        painted = np.zeros([1, height, width, channels], np.float32)
        for top, left, high, wide in regions.numpy().tolist():
            pixels = compute(Region(top, left, high, wide))
            painted[:, top : top + high, left : left + wide] = tf.cast(pixels, tf.float32)
        return tf.constant(painted)

    def put(index: tf.Tensor, image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        region = Region(*tf.unstack(regions[index], num=4))
        bottom, right = region.top + region.height, region.left + region.width
        # In place, so that the image is in memory once.
        image = tf.raw_ops.TensorStridedSliceUpdate(
            input=image,
            begin=[0, region.top, region.left, 0],
            end=[1, bottom, right, channels],
            strides=[1, 1, 1, 1],
            value=tf.cast(compute(region), tf.float32),
        )
        return index + 1, image

    shape = tf.TensorShape([1, *(x if isinstance(x, int) else None for x in (height, width))])
    start = tf.constant(0), tf.zeros([1, height, width, channels])
    return tf.while_loop(
        lambda index, _: index < tf.shape(regions)[0],
        put,
        start,
        (tf.TensorShape([]), shape.concatenate([channels])),
        parallel_iterations=1,
    )[1]
