"""The levels' results, computed only where they influence a hole.

The coarse network, the refine network's convolution path and its decoder run on rectangles around
the holes, enlarged by their receptive field. Attention has its queries in these rectangles and its
keys in the whole image, so only the attention path's encoder sees the whole image, rectangle by
rectangle. The cost of nearly all convolutions thus grows with the hole, that of attention with the
hole times the image, and memory with the image.

The result equals that of the whole image up to float rounding. With fusion of features a level
needs the lower level's features far around the hole, so there the whole image is computed.
"""

from __future__ import annotations

import tensorflow as tf

from pgi.images import complete, pyramids, remove_hole
from pgi.inference.regions import CELL, hole_regions, paint, split
from pgi.layers.region import Region
from pgi.layers.resize import dimensions, double_bilinear
from pgi.models.blocks import run
from pgi.models.pyramid import PyramidGenerator
from pgi.models.refine import RefineNetwork
from pgi.models.sub_generator import SubGenerator

# Side of the largest rectangle computed at once, in pixels, without its margin. At width 48 an
# image of this size takes 4.7 GB, attention included (experiments/results/benchmark.md).
MAX_SIDE = 2048


def complete_levels(
    pyramid: PyramidGenerator, image: tf.Tensor, mask: tf.Tensor, max_side: int = MAX_SIDE
) -> list[tf.Tensor]:
    """The levels' completed images, for one image of any fitting size.

    Args:
        pyramid: built.
        image: `[1, H, W, 3]` in [-1, 1]; pixels under the mask have no influence. H and W are
            multiples of `8 * 2 ** (levels - 1)`.
        mask: `[1, H, W, 1]`, 1 = hole.
        max_side: of the largest rectangle computed at once, without its margin, in pixels, a
            multiple of 8.

    Returns:
        `[1, H / 2**k, W / 2**k, 3]` in [-1, 1], coarsest first.

    Section 4 ("any resolution"). The restriction to holes is ours.
    """
    images, masks = pyramids(image, mask, len(pyramid.levels))
    if any(level.fusion.startswith("feature") for level in pyramid.sub_generators):
        return [output.completed for output in pyramid((images, masks))]
    results: list[tf.Tensor] = []
    for sub_generator, image, mask in zip(pyramid.sub_generators, images, masks):
        lower = results[-1] if results and sub_generator.fusion != "none" else None
        results.append(_complete_level(sub_generator, image, mask, lower, max_side))
    return results


def _complete_level(
    sub_generator: SubGenerator,
    image: tf.Tensor,
    mask: tf.Tensor,
    lower: tf.Tensor | None,
    max_side: int,
) -> tf.Tensor:
    """A level's completed image, given that of the level below."""
    refine = sub_generator.refine
    _, height, width, _ = dimensions(image)
    image = remove_hole(image, mask)
    margin = _cells(4 * refine.merge_reach + refine.convolution_reach)
    regions = hole_regions(mask, margin, max_side)

    upsampled = None if lower is None else double_bilinear(lower)
    if sub_generator.coarse is None:
        coarse = fused = upsampled
    else:
        network = sub_generator.coarse

        def first_guess(region: Region) -> tf.Tensor:
            wider = region.grown(_cells(network.reach), height, width)
            return region.within(wider).cut(network(wider.cut(image), wider.cut(mask))[0])

        coarse = paint(regions, first_guess, height, width, 3)
        fused = coarse if upsampled is None else coarse + upsampled
    convolution_input, attention_input = sub_generator.refine_inputs(image, mask, coarse, fused)
    features = _attention_features(refine, attention_input, max_side)
    attention = refine.prepare_attention(features, mask)

    def refined(region: Region) -> tf.Tensor:
        inner = region.grown(_cells(4 * refine.merge_reach), height, width)
        outer = inner.grown(_cells(refine.convolution_reach), height, width)
        convolution = refine.convolution_features(outer.cut(convolution_input))
        convolution = inner.within(outer).downscaled(4).cut(convolution)
        attended = tf.cast(attention(inner.downscaled(4))[None], convolution.dtype)
        return region.within(inner).cut(refine.merge(convolution, attended))

    return complete(image, paint(regions, refined, height, width, 3), mask)


def _attention_features(refine: RefineNetwork, image: tf.Tensor, max_side: int) -> tf.Tensor:
    """The attention encoder's features of the whole image, `[1, H/4, W/4, 2 * width]`."""
    _, height, width, _ = dimensions(image)
    whole = tf.reshape(tf.stack([0, 0, height, width]), [1, 4])
    margin = _cells(refine.attention_encoder_reach)

    def compute(quarter: Region) -> tf.Tensor:
        region = Region(*(4 * part for part in quarter))
        wider = region.grown(margin, height, width)
        features = run(refine.attention_encoder, wider.cut(image))
        return region.within(wider).downscaled(4).cut(features)

    channels = refine.attention_encoder[-1].filters // 2
    return paint(split(whole, max_side) // 4, compute, height // 4, width // 4, channels)


def _cells(pixels: int) -> int:
    """Rounded up to whole cells."""
    return -(-pixels // CELL) * CELL
