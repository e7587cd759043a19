"""Random masks against golden statistics, their definition in NumPy, PIL and OpenCV."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageDraw

from pgi import masks

GOLDEN = Path(__file__).parent / "golden" / "mask_statistics.json"
KINDS: dict[str, Callable[..., tf.Tensor]] = {
    "square": masks.random_squares,
    "strokes": masks.brush_strokes,
    "training": masks.training_masks,
}
# Two-sided p = 7e-6 a comparison: with the few hundred made here, a right sampler fails 1 in 500.
SIGMAS = 4.5


def make_seeds(count: int, stream: int = 0) -> tf.Tensor:
    return tf.stack([tf.range(count), tf.fill([count], stream)], axis=1)


def in_graph(
    function: Callable[..., Any], **arguments: Any
) -> tf.types.experimental.PolymorphicFunction:
    """The function traced once, for every batch and size (eager, a large batch takes seconds)."""
    size = tf.TensorSpec([], tf.int32)
    return tf.function(
        lambda seeds, height, width: function(seeds, height, width, **arguments),
        input_signature=[tf.TensorSpec([None, 2], tf.int32), size, size],
    )


# What comes out


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(64, 64), (48, 112), (33, 17), (2, 2)])
def test_masks_are_float_zeros_and_ones_with_a_hole(kind: str, size: tuple[int, int]) -> None:
    result = KINDS[kind](make_seeds(50), *size)
    assert result.dtype == tf.float32
    assert result.shape == (50, *size, 1)
    values = result.numpy()
    assert set(np.unique(values)) <= {0, 1}
    assert values.max(axis=(1, 2, 3)).min() == 1


@pytest.mark.parametrize("kind", KINDS)
def test_different_seeds_give_different_masks(kind: str) -> None:
    seeds = tf.concat([make_seeds(100, 0), make_seeds(100, 1)], axis=0)
    drawn = in_graph(KINDS[kind])(seeds, 256, 256).numpy()
    assert len({mask.tobytes() for mask in drawn}) >= 199  # Two squares may well be the same.


def test_a_mask_depends_on_its_own_seed_only() -> None:
    count, size = 100, (128, 160)
    seeds, draw = make_seeds(count), in_graph(masks.training_masks)
    eager = masks.training_masks(seeds, *size).numpy()
    alone = [draw(seeds[i : i + 1], *size) for i in range(count)]
    np.testing.assert_array_equal(np.concatenate(alone), eager)
    np.testing.assert_array_equal(draw(seeds[::-1], *size)[::-1], eager)
    halves = [draw(seeds[:7], *size), draw(seeds[7:], *size)]
    np.testing.assert_array_equal(np.concatenate(halves), eager)


@pytest.mark.parametrize("size", [(64, 64), (512, 384), (1000, 80)])
def test_eager_and_graph_agree_at_every_size(size: tuple[int, int]) -> None:
    seeds = make_seeds(40, stream=1)
    eager = masks.training_masks(seeds, *size)
    np.testing.assert_array_equal(in_graph(masks.training_masks)(seeds, *size), eager)


def test_xla_draws_the_same_masks() -> None:
    seeds, size = make_seeds(200), (64, 96)
    compiled = tf.function(masks.training_masks, jit_compile=True)
    expected = in_graph(masks.training_masks)(seeds, *size)
    np.testing.assert_array_equal(compiled(seeds, *size), expected)


def test_masks_can_be_drawn_in_a_dataset() -> None:
    def draw(seed: tf.Tensor) -> tf.Tensor:
        return masks.training_masks(seed[tf.newaxis], 64, 80)[0]

    dataset = tf.data.Dataset.from_tensor_slices(make_seeds(8)).map(draw, num_parallel_calls=2)
    assert dataset.element_spec.dtype == tf.float32
    expected = masks.training_masks(make_seeds(8), 64, 80)
    np.testing.assert_array_equal(np.stack(list(dataset)), expected)


def test_training_masks_unite_a_square_and_strokes_drawn_independently() -> None:
    seeds = make_seeds(1000)
    placement, widths = {"placement": "center"}, {"min_width": 3, "max_width": 10}
    square = in_graph(masks.random_squares, **placement)(seeds, 64, 64).numpy()
    strokes = in_graph(masks.brush_strokes, **widths)(seeds, 64, 64).numpy()
    united = in_graph(masks.training_masks, **placement, **widths)(seeds, 64, 64)
    np.testing.assert_array_equal(united, np.maximum(square, strokes))
    # The correlation of independent samples has standard error 1 / sqrt(n).
    areas = square.mean(axis=(1, 2, 3)), strokes.mean(axis=(1, 2, 3))
    assert abs(np.corrcoef(*areas)[0, 1]) < SIGMAS / math.sqrt(1000)


# The square


@pytest.mark.parametrize("placement", ["random", "center"])
def test_square_is_a_rectangle_of_half_the_side_less_its_inset(placement: str) -> None:
    height, width, count = 64, 160, 3000
    draw = in_graph(masks.random_squares, placement=placement)
    drawn = draw(make_seeds(count), height, width).numpy()
    rows, columns = drawn.any(axis=(2, 3)), drawn.any(axis=(1, 3))
    np.testing.assert_array_equal(drawn[..., 0], rows[:, :, np.newaxis] & columns[:, np.newaxis, :])
    for covered, side in ((rows, height), (columns, width)):
        lengths, first = covered.sum(axis=1), covered.argmax(axis=1)
        last = side - 1 - covered[:, ::-1].argmax(axis=1)
        np.testing.assert_array_equal(last - first + 1, lengths)
        inset = (side // 2 - lengths) / 2
        # Every inset 0 .. side // 16 occurs, each as often as the other within the binomial error.
        values, counts = np.unique(inset, return_counts=True)
        np.testing.assert_array_equal(values, np.arange(side // 16 + 1))
        chance = 1 / len(values)
        error = math.sqrt(count * chance * (1 - chance))
        assert np.abs(counts - count * chance).max() < SIGMAS * error
        start = first - inset
        if placement == "center":
            np.testing.assert_array_equal(start, side // 4)
        else:
            assert start.min() == 0 and start.max() == side // 2
            # The mean of n uniform integers 0 .. m has standard error sqrt(((m + 1)^2 - 1) / 12 n).
            error = math.sqrt(((side // 2 + 1) ** 2 - 1) / 12 / count)
            assert abs(start.mean() - side / 4) < SIGMAS * error


# The strokes' geometry


def test_stroke_geometry_follows_the_algorithm() -> None:
    height, width, count = 256, 384, 2000
    vertices, widths, valid = (
        value.numpy() for value in in_graph(masks.stroke_vertices)(make_seeds(count), height, width)
    )
    assert (vertices >= 0).all() and (vertices <= [width, height]).all()
    assert (vertices[:, :, 0] < [width, height]).all()
    assert widths.min() == 12 and widths.max() == 39

    segments = valid.sum(axis=2)
    np.testing.assert_array_equal(valid, np.arange(11) < segments[..., np.newaxis])
    for values, smallest, largest in (
        ((segments > 0).sum(axis=1), 1, 3),
        (segments[segments > 0], 4, 11),
        (widths.ravel(), 12, 39),
    ):
        choices, counts = np.unique(values, return_counts=True)
        np.testing.assert_array_equal(choices, np.arange(smallest, largest + 1))
        chance = 1 / len(choices)
        error = math.sqrt(values.size * chance * (1 - chance))
        assert np.abs(counts - values.size * chance).max() < SIGMAS * error
    assert (segments[:, 0] > 0).all()

    moves = np.diff(vertices, axis=2)
    assert (moves[~valid] == 0).all()
    even = np.arange(11) % 2 == 0
    # An even step goes up, an odd one down; rounding down may shorten either, not reverse it.
    assert (moves[:, :, even, 1] <= 0).all() and (moves[:, :, ~even, 1] >= -1).all()

    mean_radius = math.hypot(height, width) / 8
    assert np.linalg.norm(moves, axis=-1).max() <= 2 * mean_radius + 2
    # First steps that the border cannot clip show the radius (it is clipped alike on both sides, so
    # its mean stays) and the angle, apart from the half pixel that rounding down takes on average.
    x, y = vertices[:, 0, 0].T
    free = (x > mean_radius / 4) & (x < width - 1.4 * mean_radius) & (y > 2 * mean_radius)
    steps = moves[free, 0, 0] + 0.5
    assert len(steps) > 500
    lengths = np.linalg.norm(steps, axis=-1)
    error = lengths.std() / math.sqrt(len(steps))
    assert abs(lengths.mean() - mean_radius) < SIGMAS * error + 0.1
    normal = np.random.default_rng(0).normal(mean_radius, mean_radius // 2, 100_000)
    expected = np.clip(normal, 0, 2 * mean_radius).std()
    assert abs(lengths.std() - expected) < SIGMAS * error / math.sqrt(2) + 0.1
    angles = np.arctan2(-steps[:, 1], steps[:, 0])[lengths > 20]
    slack = 1 / 20  # Half a pixel on each axis, seen from 20 pixels.
    assert abs(angles - 2 * math.pi / 5).max() < 2 * math.pi / 15 + slack
    error = angles.std() / math.sqrt(len(angles))
    assert abs(angles.mean() - 2 * math.pi / 5) < SIGMAS * error + 0.005


# The strokes' pixels


def draw_exactly(
    vertices: np.ndarray, widths: np.ndarray, valid: np.ndarray, height: int, width: int
) -> np.ndarray:
    """The hole by its definition, pixel by pixel, in whole numbers: distance^2 <= width^2 / 4."""
    y, x = np.mgrid[:height, :width]
    hole = np.zeros((height, width), bool)
    for stroke in range(len(vertices)):
        for i in np.flatnonzero(valid[stroke]):
            (ax, ay), (bx, by) = vertices[stroke, i : i + 2].astype(int)
            dx, dy, reach = bx - ax, by - ay, float(widths[stroke]) ** 2
            for px, py in ((ax, ay), (bx, by)):
                hole |= 4 * ((x - px) ** 2 + (y - py) ** 2) <= reach
            along = (x - ax) * dx + (y - ay) * dy
            across = (x - ax) * dy - (y - ay) * dx
            length_squared = dx * dx + dy * dy
            beside = (length_squared > 0) & (along >= 0) & (along <= length_squared)
            # 0.4 = 4 x 0.1, what the module adds to the squared radius.
            hole |= beside & (4 * across**2 <= (reach + 0.4) * length_squared)
    return hole


def draw_with_pil(
    vertices: np.ndarray, widths: np.ndarray, valid: np.ndarray, height: int, width: int
) -> np.ndarray:
    image = Image.new("L", (width, height), 0)
    draw = ImageDraw.Draw(image)
    for points, stroke_width, segments in zip(vertices, widths, valid.sum(axis=1)):
        if segments:
            points, half = [tuple(map(int, p)) for p in points[: segments + 1]], stroke_width // 2
            draw.line(points, fill=1, width=int(stroke_width))
            for x, y in points:
                draw.ellipse((x - half, y - half, x + half, y + half), fill=1)
    return np.asarray(image, bool)


def draw_with_opencv(
    vertices: np.ndarray, widths: np.ndarray, valid: np.ndarray, height: int, width: int
) -> np.ndarray:
    image = np.zeros((height, width), np.uint8)
    for points, stroke_width, segments in zip(vertices, widths, valid.sum(axis=1)):
        for a, b in zip(points[:segments], points[1 : segments + 1]):
            cv2.line(image, tuple(map(int, a)), tuple(map(int, b)), (1,), int(stroke_width))
    return image.astype(bool)


@pytest.mark.parametrize("widths", [(1, 4), (5, 12), (12, 40)])
def test_strokes_are_exactly_the_pixels_within_half_their_width(widths: tuple[int, int]) -> None:
    arguments = {"min_width": widths[0], "max_width": widths[1]}
    seeds = make_seeds(40)
    drawn = masks.brush_strokes(seeds, 96, 160, **arguments).numpy()[..., 0]
    geometry = (value.numpy() for value in masks.stroke_vertices(seeds, 96, 160, **arguments))
    for mask, vertices, thickness, valid in zip(drawn, *geometry):
        expected = draw_exactly(vertices, thickness, valid, 96, 160)
        np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize("rasterise", [draw_with_pil, draw_with_opencv])
def test_other_rasterisers_draw_the_same_strokes_to_a_pixel(
    rasterise: Callable[..., np.ndarray],
) -> None:
    """They cover ours made a pixel thinner all around, and are covered by ours made thicker.

    A pixel is one step to any of the eight neighbours. The bound is on every segment, not on the
    outline of their union, because PIL leaves pinholes where the outlines of two segments cross.
    """
    pixel = math.sqrt(2)
    seeds, height, width = make_seeds(80), 192, 256
    drawn = in_graph(masks.brush_strokes)(seeds, height, width).numpy()[..., 0]
    geometry = [v.numpy() for v in in_graph(masks.stroke_vertices)(seeds, height, width)]
    areas = []
    for mask, vertices, widths, valid in zip(drawn, *geometry):
        theirs = rasterise(vertices, widths, valid, height, width)
        thinner = draw_exactly(vertices, widths - 2 * pixel, valid, height, width)
        thicker = draw_exactly(vertices, widths + 2 * pixel, valid, height, width)
        assert not (thinner & ~theirs).any()
        assert not (theirs & ~thicker).any()
        areas.append((mask.mean(), theirs.mean()))
    # DeepFillv2 draws with PIL; OpenCV's lines are half a pixel thicker all around.
    if rasterise is draw_with_pil:
        ours, theirs = np.mean(areas, axis=0)
        assert ours == pytest.approx(theirs, rel=0.01)


# The distribution


class Statistics(NamedTuple):
    """Hole ratios, coverage of 8x8 cells and components of 2,000 masks; the golden numbers."""

    areas: dict[str, np.ndarray]
    coverage: np.ndarray
    components: np.ndarray
    golden: dict[str, Any]


@pytest.fixture(scope="module", params=[256, 512])
def statistics(request: pytest.FixtureRequest) -> Statistics:
    side, count, batch = request.param, 2000, 20

    @tf.function
    def measure(seeds: tf.Tensor) -> tuple[list[tf.Tensor], tf.Tensor, tf.Tensor]:
        square, strokes = (draw(seeds, side, side) for draw in (KINDS["square"], KINDS["strokes"]))
        union = tf.maximum(square, strokes)
        areas = [tf.reduce_mean(mask, axis=[1, 2, 3]) for mask in (strokes, square, union)]
        return areas, tf.nn.avg_pool2d(strokes, side // 8, side // 8, "VALID")[..., 0], strokes

    areas, coverage, components = [], [], []
    for seeds in tf.split(make_seeds(count, stream=2024), count // batch):
        batch_areas, batch_coverage, strokes = measure(seeds)
        areas.append(batch_areas)
        coverage.append(batch_coverage)
        pixels = strokes.numpy().astype(np.uint8)
        components += [cv2.connectedComponents(mask)[0] - 1 for mask in pixels]
    ours = dict(zip(("brush", "bbox", "union"), np.concatenate(areas, axis=1)))
    golden = json.loads(GOLDEN.read_text())[str(side)]
    return Statistics(ours, np.concatenate(coverage), np.array(components), golden)


def standard_error(sample: np.ndarray, golden_count: int) -> np.ndarray:
    """Of the difference of two samples' means, the golden one taken to spread as ours does."""
    return sample.std(axis=0) * math.sqrt(1 / len(sample) + 1 / golden_count)


@pytest.mark.parametrize("kind", ["brush", "bbox", "union"])
def test_mean_area_is_the_golden_one(statistics: Statistics, kind: str) -> None:
    ours, golden = statistics.areas[kind], statistics.golden
    expected = golden[f"{kind}_hole_ratio"]["mean"]
    assert ours.mean() == pytest.approx(expected, rel=0.03)
    assert abs(ours.mean() - expected) < SIGMAS * standard_error(ours, golden["samples"])


@pytest.mark.parametrize("kind", ["brush", "bbox", "union"])
def test_area_quantiles_are_the_golden_ones(statistics: Statistics, kind: str) -> None:
    """As many of our areas lie below a golden quantile as should.

    The share below the p-quantile of another sample has standard error
    sqrt(p (1 - p) (1 / n + 1 / m)) for any distribution. Areas that tie with the quantile
    (squares have few sizes; the golden numbers have five digits) may count on either side.
    """
    ours, golden = statistics.areas[kind], statistics.golden
    for percent, quantile in golden[f"{kind}_hole_ratio"]["quantiles"].items():
        share = float(percent) / 100
        error = math.sqrt(share * (1 - share) * (1 / len(ours) + 1 / golden["samples"]))
        below, up_to = np.mean(ours < quantile - 1e-5), np.mean(ours <= quantile + 1e-5)
        assert below - SIGMAS * error <= share <= up_to + SIGMAS * error, percent


def test_strokes_cover_the_image_as_the_golden_ones_do(statistics: Statistics) -> None:
    coverage, golden = statistics.coverage, statistics.golden
    difference = coverage.mean(axis=0) - golden["brush_coverage_8x8"]
    limit = SIGMAS * standard_error(coverage, golden["samples"]) + 5e-5  # Golden: four digits.
    assert (np.abs(difference) < limit).all()


def test_strokes_have_as_many_components_as_the_golden_ones(statistics: Statistics) -> None:
    components, golden = statistics.components, statistics.golden
    difference = abs(components.mean() - golden["brush_components_mean"])
    assert difference < SIGMAS * standard_error(components, golden["samples"])


def test_strokes_of_images_that_are_not_square_follow_the_algorithm() -> None:
    """Against Algorithm 1 in NumPy and PIL: the golden numbers are of square images."""
    height, width, count = 96, 224, 1500
    random = np.random.default_rng(0)

    def reference() -> np.ndarray:
        strokes = []
        for _ in range(random.integers(1, 4)):
            steps, mean_radius = random.integers(4, 12), math.sqrt(height**2 + width**2) / 8
            smallest = 2 * math.pi / 5 - random.uniform(0, 2 * math.pi / 15)
            largest = 2 * math.pi / 5 + random.uniform(0, 2 * math.pi / 15)
            points = [(random.integers(width), random.integers(height))]
            for i in range(steps):
                angle = random.uniform(smallest, largest)
                angle = 2 * math.pi - angle if i % 2 == 0 else angle
                radius = random.normal(mean_radius, mean_radius // 2)
                radius = np.clip(radius, 0, 2 * mean_radius)
                x, y = points[-1]
                x = np.clip(x + radius * math.cos(angle), 0, width)
                y = np.clip(y + radius * math.sin(angle), 0, height)
                points.append((int(x), int(y)))
            strokes.append((np.array(points), int(random.uniform(5, 15)), np.ones(steps, bool)))
        points, widths, valid = zip(*strokes)
        image = np.zeros((height, width), bool)
        for p, w, v in zip(points, widths, valid):
            image |= draw_with_pil(p[None], np.array([w]), v[None], height, width)
        return image

    theirs = np.stack([reference() for _ in range(count)])
    draw = in_graph(masks.brush_strokes, min_width=5, max_width=15)
    ours = draw(make_seeds(count), height, width)
    cells = [
        sample.reshape(count, 4, height // 4, 4, width // 4).mean(axis=(2, 4))
        for sample in (ours.numpy(), theirs)
    ]
    difference = np.abs(cells[0].mean(axis=0) - cells[1].mean(axis=0))
    assert (difference < SIGMAS * standard_error(cells[0], count)).all()


# Errors


@pytest.mark.parametrize("function", [masks.random_squares, masks.training_masks])
def test_unknown_placement_is_an_error(function: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="placement must be one of random, center, got 'x'"):
        function(make_seeds(1), 64, 64, placement="x")


@pytest.mark.parametrize(
    "function", [masks.brush_strokes, masks.stroke_vertices, masks.training_masks]
)
@pytest.mark.parametrize("widths", [(12, 11), (0, 4)])
def test_impossible_widths_are_an_error(
    function: Callable[..., Any], widths: tuple[int, int]
) -> None:
    with pytest.raises(
        ValueError, match=f"1 <= min_width <= max_width, got min_width={widths[0]}, "
    ):
        function(make_seeds(1), 64, 64, min_width=widths[0], max_width=widths[1])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seeds", [[1, 2], [[1, 2, 3]], [[1.0, 2.0]]])
def test_seeds_of_another_shape_or_type_are_an_error(kind: str, seeds: list) -> None:
    with pytest.raises(ValueError, match=r"seeds must be integers \[B, 2\], got"):
        KINDS[kind](tf.constant(seeds), 64, 64)
