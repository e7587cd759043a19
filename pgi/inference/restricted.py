"""The levels' results, computed only where they influence a hole.

The coarse network, the refine network's convolution path and its decoder run on rectangles around
the holes, enlarged by their receptive field. Attention has its queries in these rectangles and its
keys in the whole image, so only the attention path's encoder sees the whole image, rectangle by
rectangle. The cost of nearly all convolutions thus grows with the hole, that of attention with the
hole times the image, and memory with the image.

The result equals that of the whole image up to float rounding. With fusion of features a level
needs the lower level's features far around the hole, so there the whole image is computed.

Tracing all of this as one graph takes seconds, most of them for the arithmetic of rectangles. So
where speed of the first result counts, only the networks and attention are graphs, and the
rectangles are Python's.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from pgi.images import complete, pyramids, remove_hole
from pgi.inference.regions import CELL, hole_regions, paint, split
from pgi.layers.region import Region, Size
from pgi.layers.resize import dimensions, double_bilinear
from pgi.models.blocks import frozen, run
from pgi.models.coarse import CoarseNetwork
from pgi.models.pyramid import PyramidGenerator
from pgi.models.refine import RefineNetwork
from pgi.models.sub_generator import SubGenerator

# Side of the largest rectangle computed at once, in pixels, without its margin. At width 48 an
# image of this size takes 2.4 GB, attention included (experiments/results/benchmark.md).
MAX_SIDE = 2048

_INTEGER = tf.TensorSpec([], tf.int32)
_REGION = Region(*[_INTEGER] * 4)
# From a function and the specs of its arguments to what computes it.
_Wrap = Callable[..., Callable[..., Any]]


class RestrictedPyramid:
    """A pyramid that computes only what influences the hole, in an image of any fitting size.

    Called as `levels = restricted(image, mask, extra=0, max_side=MAX_SIDE)`: `image` `[1, H, W, 3]`
    in [-1, 1], whose pixels under the mask have no influence; `mask` `[1, H, W, 1]`, 1 = hole; H
    and W multiples of `8 * 2 ** (depth + extra - 1)`; `extra` levels beyond the pyramid's own, for
    each of which its highest sub-generator runs once more, at twice the side; `max_side` of the
    largest rectangle computed at once, without its margin, in pixels, a multiple of 8. Returns the
    levels' completed images, `[1, H / 2**k, W / 2**k, 3]` in [-1, 1], coarsest first; the last one
    alone if `extra` is a tensor.

    Args:
        pyramid: built.
        compiled: whether the networks and attention become graphs, each traced once for all sizes.
            For calls outside of graphs: in a graph everything is one anyway.

    Attributes:
        depth: number of the pyramid's own levels.

    Section 4 ("any resolution"). The restriction to holes and the levels beyond the pyramid's own
    are ours.
    """

    def __init__(self, pyramid: PyramidGenerator, compiled: bool = False) -> None:
        graph = _graph if compiled else _as_it_is
        self._levels: list[_Level] = []
        self.depth, self._sub_generators = len(pyramid.levels), pyramid.sub_generators
        if any(level.fusion.startswith("feature") for level in pyramid.sub_generators):
            self._whole = graph(lambda *images: _whole(pyramid, *images), _pixels(3), _pixels(1))
            return
        shared = _Shared(pyramid.sub_generators[-1].refine, graph)
        self._levels = [_Level(x, graph, shared) for x in pyramid.sub_generators]

    def __call__(
        self, image: tf.Tensor, mask: tf.Tensor, extra: Size = 0, max_side: int = MAX_SIDE
    ) -> list[tf.Tensor]:
        results: list[tf.Tensor] = []
        with frozen(self._sub_generators):
            if not self._levels:
                results = self._whole(image, mask)
                return results
            images, masks = pyramids(*_halved(image, mask, extra), self.depth)
            for level, *example in zip(self._levels, images, masks):
                lower = results[-1] if results else None
                results.append(level(example[0], example[1], lower, max_side))

            def next_level(halvings: Size, lower: tf.Tensor) -> tf.Tensor:
                return self._levels[-1](*_halved(image, mask, halvings), lower, max_side)

            if not tf.is_tensor(extra):
                for halvings in reversed(range(extra)):
                    results.append(next_level(halvings, results[-1]))
                return results
            return [_repeated(extra, next_level, results[-1])]


class _Shared:
    """What has no weights, so that one graph serves all levels."""

    def __init__(self, refine: RefineNetwork, graph: _Wrap) -> None:
        features = _pixels(refine.feature_channels)
        self.hole_regions = graph(hole_regions, _pixels(1), *[_INTEGER] * 3)
        self.prepare_attention = graph(refine.prepare_attention, features, _pixels(1))
        self.attend = graph(refine.attend_region, refine.attention_specs(), _REGION)


class _Level:
    """A sub-generator that computes only what influences the hole."""

    def __init__(self, sub_generator: SubGenerator, graph: _Wrap, shared: _Shared) -> None:
        self.sub_generator, self.refine = sub_generator, sub_generator.refine
        self.shared = shared
        if (coarse := sub_generator.coarse) is not None:
            guess = functools.partial(_first_guess, coarse)
            self.first_guess = graph(guess, _pixels(3), _pixels(1), _REGION)
        self.encode = graph(self._encode, _pixels(3))
        features = _pixels(self.refine.feature_channels)
        self.redraw = graph(self._redraw, _pixels(3), _REGION, features)

    def _encode(self, image: tf.Tensor) -> tf.Tensor:
        return tf.cast(run(self.refine.attention_encoder, image), tf.float32)

    def _redraw(self, image: tf.Tensor, inner: Region, attended: tf.Tensor) -> tf.Tensor:
        """The refine network's result in a region of its features.

        Args:
            image: the region's surroundings, input of the convolution path.
            inner: the region in that path's features.
            attended: attention's result in the region.
        """
        convolution = inner.cut(self.refine.convolution_features(image))
        return self.refine.merge(convolution, tf.cast(attended, convolution.dtype))

    def __call__(
        self, image: tf.Tensor, mask: tf.Tensor, lower: tf.Tensor | None, max_side: int
    ) -> tf.Tensor:
        """The level's completed image, given that of the level below."""
        refine, sub_generator = self.refine, self.sub_generator
        _, height, width, _ = dimensions(image)
        image = remove_hole(image, mask)
        merged = _cells(4 * refine.merge_reach)
        margin = merged + _cells(refine.convolution_reach)
        regions = self.shared.hole_regions(mask, margin, merged, max_side)

        fuses = lower is not None and sub_generator.fusion != "none"
        upsampled = double_bilinear(lower) if fuses else None
        if (network := sub_generator.coarse) is None:
            coarse = fused = upsampled
        else:

            def first_guess(region: Region) -> tf.Tensor:
                inner = region.grown(_cells(4 * network.decoder.reach), height, width)
                outer = inner.grown(_cells(network.features_reach), height, width)
                inner_features = inner.within(outer).downscaled(4)
                guess = self.first_guess(outer.cut(image), outer.cut(mask), inner_features)
                return region.within(inner).cut(guess)

            coarse = paint(regions, first_guess, height, width, 3)
            fused = coarse if upsampled is None else coarse + upsampled
        convolution_input, attention_input = sub_generator.refine_inputs(image, mask, coarse, fused)
        features = self._attention_features(attention_input, max_side)
        attention = self.shared.prepare_attention(features, mask)

        def refined(region: Region) -> tf.Tensor:
            inner = region.grown(merged, height, width)
            outer = inner.grown(_cells(refine.convolution_reach), height, width)
            attended = self.shared.attend(attention, inner.downscaled(4))
            inner_features = inner.within(outer).downscaled(4)
            redrawn = self.redraw(outer.cut(convolution_input), inner_features, attended)
            return region.within(inner).cut(redrawn)

        return complete(image, paint(regions, refined, height, width, 3), mask)

    def _attention_features(self, image: tf.Tensor, max_side: int) -> tf.Tensor:
        """The attention encoder's features of the whole image, `[1, H/4, W/4, 2 * width]`."""
        _, height, width, _ = dimensions(image)
        if isinstance(height, int) and isinstance(width, int) and max(height, width) <= max_side:
            return self.encode(image)
        whole = tf.reshape(tf.stack([0, 0, height, width]), [1, 4])
        margin = _cells(self.refine.attention_encoder_reach)

        def compute(quarter: Region) -> tf.Tensor:
            region = Region(*(4 * part for part in quarter))
            wider = region.grown(margin, height, width)
            return region.within(wider).downscaled(4).cut(self.encode(wider.cut(image)))

        channels = self.refine.feature_channels
        return paint(split(whole, max_side) // 4, compute, height // 4, width // 4, channels)


def _halved(image: tf.Tensor, mask: tf.Tensor, times: Size) -> tuple[tf.Tensor, tf.Tensor]:
    """An image and its mask at the level that many halvings below, as in `pyramids`."""
    if not tf.is_tensor(times):
        images, masks = pyramids(image, mask, times + 1)
        return images[0], masks[0]
    halved: tuple[tf.Tensor, tf.Tensor] = tf.while_loop(
        lambda index, *_: index < times,
        lambda index, image, mask: (index + 1, *_halved(image, mask, 1)),
        (0, image, mask),
        (tf.TensorShape([]), *(tf.TensorShape([1, None, None, c]) for c in (3, 1))),
    )[1:]
    return halved


def _repeated(
    times: tf.Tensor, level: Callable[[tf.Tensor, tf.Tensor], tf.Tensor], lowest: tf.Tensor
) -> tf.Tensor:
    """The last of that many levels, each given how many follow and the result below."""
    return tf.while_loop(
        lambda index, _: index > 0,
        lambda index, below: (index - 1, level(index - 1, below)),
        (times, lowest),
        (tf.TensorShape([]), tf.TensorShape([1, None, None, 3])),
        parallel_iterations=1,
    )[1]


def _first_guess(
    coarse: CoarseNetwork, image: tf.Tensor, mask: tf.Tensor, inner: Region
) -> tf.Tensor:
    """The coarse network's result in a region of its features.

    Args:
        coarse: the network.
        image, mask: the region's surroundings.
        inner: the region in the features.
    """
    return coarse.decode(inner.cut(coarse.features(image, mask)))


def _whole(pyramid: PyramidGenerator, image: tf.Tensor, mask: tf.Tensor) -> list[tf.Tensor]:
    return [output.completed for output in pyramid(pyramids(image, mask, len(pyramid.levels)))]


def _pixels(channels: int) -> tf.TensorSpec:
    return tf.TensorSpec([1, None, None, channels])


def _graph(function: Callable[..., Any], *specs: Any) -> Callable[..., Any]:
    # TensorFlow warns of many traces of one function; a partial is a function of its own per level.
    function = functools.partial(function)
    # Nothing in them needs AutoGraph, which would double the time of the first call.
    graph: Callable[..., Any] = tf.function(function, input_signature=specs, autograph=False)
    return graph


def _as_it_is(function: Callable[..., Any], *specs: Any) -> Callable[..., Any]:
    return function


def _cells(pixels: int) -> int:
    """Rounded up to whole cells."""
    return -(-pixels // CELL) * CELL
