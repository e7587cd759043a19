"""The comparison of another runtime's results with TensorFlow's, before a file is kept.

Runtimes add up float sums in different orders. How much of that reaches the result depends on the
network: a trained one can enlarge the last bit a thousandfold, and a half-trained one a
millionfold. So what is allowed is measured, as what happens to TensorFlow's own result if every
weight is changed in its last bit. A wrong op changes the result by hundreds of times as much.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import skimage.data
from PIL import Image

from pgi.arrays import AnyArray, BoolArray, FloatArray, UInt8Array
from pgi.errors import ExportError
from pgi.export.portable import explained
from pgi.images import to_uint8
from pgi.inference.pyramid_inpainter import mirrored
from pgi.inference.restricted import RestrictedPyramid
from pgi.models import PyramidGenerator

# `run(image, mask)` of a runtime: returns the outputs of `portable_function`.
Run = Callable[[UInt8Array, UInt8Array], Mapping[str, AnyArray]]

PHOTOGRAPHS = ("chelsea", "astronaut")
# Of the differences that rounding makes, those that are allowed. In correct conversions up to 3
# times were measured, with wrong ops nearly always over a hundred times (docs/SERVING.md).
TIMES_ROUNDING = 10
# Beyond these, rounding hides wrong ops, and a network's results are a matter of the processor.
_MOST_MEAN, _MOST = 2.0, 25.0
# Changes of the weights' last bits that are tried for each image.
_TRIALS = 3
# A grey level of 255 in [-1, 1], and the distance of float32 numbers just below 1.
_GREY_LEVEL, _LAST_BIT = 1 / 127.5, 2.0**-24


class Differences(NamedTuple):
    """Differences in the holes, in grey levels of 255, the most of all images.

    Attributes:
        mean: over all values of a hole.
        most: exceeded by only 1 in 1,000 values.
    """

    mean: float
    most: float


class Agreement(NamedTuple):
    """How another runtime's `completed` differs from TensorFlow's, in the holes of photographs.

    Its `str` is a report for people.

    Attributes:
        found: between the two.
        rounding: in TensorFlow, if every weight is changed in its last bit.
    """

    found: Differences
    rounding: Differences

    def __str__(self) -> str:
        found, rounding = (f"mean {x.mean:.3g}, 99.9 % within {x.most:.3g}" for x in self)
        report = (
            f"differences from TensorFlow in the holes of photographs, of 255: {found} "
            f"(TensorFlow alone, if the weights' last bits change: {rounding})"
        )
        if self.found.most > 1:
            report += (
                "\nwarning: this network enlarges rounding until it can be seen, so its results "
                "depend on the runtime and the processor"
            )
        return report


def require_agreement(
    run: Run, model: PyramidGenerator, sizes: Sequence[tuple[int, int]], runtime: str
) -> Agreement:
    """Compares another runtime with a `PyramidInpainter`, on two photographs per size.

    Args:
        run: the model in that runtime.
        model: built; its weights are changed in between.
        sizes: `(height, width)` of the images.
        runtime: its name.

    Raises:
        ExportError: `run` fails; its `result` changes known pixels or is not its `completed` as
            uint8; or `completed` differs in the holes by more than `TIMES_ROUNDING` times the
            rounding, in the mean or in the value that 1 in 1,000 exceed, or by more than 2 and 25
            of 255.
    """
    expect = reference(model)
    found, rounding = [], []
    for height, width in sizes:
        for photograph in PHOTOGRAPHS:
            image, mask = example(photograph, height, width)
            hole = mask[0, :, :, 0] > 127
            with explained(f"{runtime} cannot run it at {height} x {width}"):
                outputs = run(image, mask)
            _check_outputs(outputs, image, hole, f"in {runtime}, at {height} x {width},")
            expected = expect(image[0], hole)
            found.append(_differences(outputs["completed"][0], expected, hole))
            for trial in range(_TRIALS):
                with _last_bits_changed(model, trial):
                    rounding.append(_differences(expect(image[0], hole), expected, hole))
    agreement = Agreement(_largest(found), _largest(rounding))
    limits = (("mean", _MOST_MEAN), ("99.9 % of values within", _MOST))
    for (name, most), ours, theirs in zip(limits, *agreement):
        allowed = min(max(TIMES_ROUNDING * theirs, _LAST_BIT / _GREY_LEVEL), most)
        if not ours <= allowed:  # Also if it is NaN.
            raise ExportError(
                f"{runtime}'s results differ from TensorFlow's in the hole by {ours:.3g} of 255 "
                f"({name}), of which {allowed:.3g} is allowed; changes of the weights' last bits "
                f"make {theirs:.3g}; nothing was written"
            )
    return agreement


def reference(model: PyramidGenerator) -> Callable[[UInt8Array, BoolArray], FloatArray]:
    """A `PyramidInpainter`'s result as float32 `[H, W, 3]` in [-1, 1], of an image and its hole."""
    pyramid = RestrictedPyramid(model, compiled=True)

    def completed(image: UInt8Array, hole: BoolArray) -> FloatArray:
        height, width = hole.shape
        filled = pyramid(*mirrored(image, hole, pyramid.depth))[-1]
        return np.asarray(filled[0, :height, :width])

    return completed


def example(photograph: str, height: int, width: int) -> tuple[UInt8Array, UInt8Array]:
    """A photograph of scikit-image, and a mask of all grey values: a rectangle and a stroke.

    Returns:
        uint8 `[1, height, width, 3]` and `[1, height, width, 1]`, above 127 = hole.
    """
    original = Image.fromarray(getattr(skimage.data, photograph)())
    image = np.asarray(original.resize((width, height), Image.Resampling.BICUBIC))
    rows, columns = np.indices((height, width))
    # A quarter of each side, at least a pixel, so that attention has known patches to take.
    hole = np.ones((height, width), bool)
    for index, side in ((rows, height), (columns, width)):
        first = 3 * side // 8
        hole &= (index >= first) & (index < max(5 * side // 8, first + 1))
    hole |= abs(rows / height - columns / width + 0.25) < 0.02
    grey = np.random.default_rng(height * 65537 + width).integers(0, 128, hole.shape, np.uint8)
    return image[None], np.where(hole, grey + np.uint8(128), grey)[None, :, :, None]


def _check_outputs(
    outputs: Mapping[str, AnyArray], image: UInt8Array, hole: BoolArray, place: str
) -> None:
    completed, result = outputs["completed"], outputs["result"]
    if completed.shape != image.shape or result.shape != image.shape:
        shapes = f"{completed.shape} and {result.shape}, not {image.shape}"
        raise ExportError(f"{place} completed and result are {shapes}; nothing was written")
    rounded = np.where(hole[:, :, None], to_uint8(completed[0]), image[0])
    steps = abs(result[0].astype(int) - rounded)
    # Halves may be rounded either way.
    for where, pixels, bound in (("in the hole", hole, 1), ("outside the hole", ~hole, 0)):
        if (most := np.max(steps[pixels])) > bound:
            much = f"{most} of 255 {where}, of which {bound} is allowed"
            raise ExportError(f"{place} result differs by {much}; nothing was written")


def _differences(ours: AnyArray, expected: AnyArray, hole: BoolArray) -> Differences:
    levels = abs(ours - expected)[hole] / _GREY_LEVEL
    return Differences(float(np.mean(levels)), float(np.quantile(levels, 0.999)))


def _largest(differences: Sequence[Differences]) -> Differences:
    return Differences(*(float(np.max(values)) for values in zip(*differences)))


@contextlib.contextmanager
def _last_bits_changed(model: PyramidGenerator, seed: int) -> Iterator[None]:
    """Within it, each weight differs by a random factor within 1 +- 2^-23, a float32's last bit."""
    rng = np.random.default_rng(seed)
    weights = [x for network in model.evaluated_sub_generators for x in network.weights]
    before = [x.numpy() for x in weights]
    try:
        for weight, value in zip(weights, before):
            weight.assign(value * (1 + rng.uniform(-1, 1, value.shape) * 2.0**-23))
        yield
    finally:
        for weight, value in zip(weights, before):
            weight.assign(value)
