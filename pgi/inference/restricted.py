"""A level's result in the hole, without computing what cannot influence it.

Of a sub-generator's result only the hole is kept. The coarse network, the refine network's
convolution path and its decoder therefore run on rectangles around the holes, wider by their reach;
the attention's queries are those under the rectangles. Its keys come from everywhere: only the
encoder of the attention path sees the whole image, one large rectangle after another. So nearly all
convolutions grow with the hole, attention with the hole times the image, and memory with the image,
never with its square.

The result is that of the whole image; only float rounding can differ. The one exception from all
this is fusion of features, where a level needs the lower one's features far around the hole: there
the whole image is computed.
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

# Side of the largest rectangle computed at once, in pixels, without its margin. At width 48 a whole
# image of this size, its attention included, takes 4.7 GB (experiments/results/benchmark.md).
MAX_SIDE = 2048


def complete_holes(
    pyramid: PyramidGenerator, image: tf.Tensor, mask: tf.Tensor, max_side: int = MAX_SIDE
) -> tf.Tensor:
    """The pyramid's completed image of the highest level, for one image of any fitting size.

    Args:
        pyramid: built.
        image: `[1, H, W, 3]` in [-1, 1], whose pixels under the mask change nothing; H and W
            multiples of `8 * 2 ** (levels - 1)`.
        mask: `[1, H, W, 1]`, 1 = hole.
        max_side: of the largest rectangle computed at once, without its margin, in pixels, a
            multiple of 8.

    Returns:
        `[1, H, W, 3]` in [-1, 1].

    Source: section 4 ("any resolution"); the restriction is ours. Departs from it: nothing.
    """
    # Without fusion the lower levels change nothing above them.
    count = 1 if pyramid.sub_generators[-1].fusion == "none" else len(pyramid.levels)
    return _complete_highest(pyramid, image, mask, max_side, count)[-1]


def complete_levels(
    pyramid: PyramidGenerator, image: tf.Tensor, mask: tf.Tensor, max_side: int = MAX_SIDE
) -> list[tf.Tensor]:
    """As `complete_holes`, the completed images of all levels.

    Returns:
        `[1, H / 2**k, W / 2**k, 3]` in [-1, 1], coarsest first; the last, of k = 0, is that of
        `complete_holes`.

    Source: Figure 2. Departs from it: nothing.
    """
    return _complete_highest(pyramid, image, mask, max_side, len(pyramid.levels))


def _complete_highest(
    pyramid: PyramidGenerator, image: tf.Tensor, mask: tf.Tensor, max_side: int, count: int
) -> list[tf.Tensor]:
    """The completed images of the highest `count` levels, coarsest first."""
    if any(level.fusion.startswith("feature") for level in pyramid.sub_generators):
        return [x.completed for x in pyramid(pyramids(image, mask, len(pyramid.levels)))][-count:]
    results: list[tf.Tensor] = []
    images, masks = pyramids(image, mask, count)
    for sub_generator, image, mask in zip(pyramid.sub_generators[-count:], images, masks):
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
    """The level's completed image, given that of the level below."""
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
