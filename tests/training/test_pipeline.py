"""Held: order, crop and mask of a sample follow from seed and number; pyramids equal NumPy's."""

from __future__ import annotations

import itertools
import math
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps
from skimage.measure import block_reduce

from pgi import masks
from pgi.config import MaskConfig
from pgi.training import pipeline
from pgi.training.reading import FileSource

# Two-sided p = 7e-6: with the few hundred comparisons made here, a right sampler fails 1 in 500.
SIGMAS = 4.5


class Pictures(FileSource):
    """A source that needs no disk."""

    def __init__(self, *pictures: np.ndarray) -> None:
        super().__init__([f"{number}.png" for number in range(len(pictures))])
        self.pictures = pictures

    def read(self, index: int) -> np.ndarray:
        return self.pictures[index]


def flat_pictures(count: int) -> Pictures:
    """Every pixel of picture n is (n, n, n)."""
    return Pictures(*(np.full([2, 2, 3], number, np.uint8) for number in range(count)))


def ramp(height: int, width: int, slope: int = 1) -> np.ndarray:
    """Red tells the row, green the column, blue neither."""
    y, x = np.mgrid[:height, :width] * slope
    return np.stack([y, x, np.full_like(x, 77)], axis=-1).astype(np.uint8)


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, [height, width, 3], dtype=np.uint8)


def samples(source: FileSource, count: int, first: int = 0, **options) -> np.ndarray:
    """Samples `first` to `first + count`, as one array."""
    options = {"size": 2, "crop": "random", "seed": 0, "batch_size": 16, **options}
    dataset = pipeline.crops(source, first=first, count=count, **options)
    return np.concatenate([images for images, _ in dataset.as_numpy_iterator()])


def order(files: int, rounds: int, **options) -> np.ndarray:
    """Which file each sample comes from, `[rounds, files]`."""
    drawn = samples(flat_pictures(files), files * rounds, batch_size=512, **options)
    return drawn[:, 0, 0, 0].reshape(rounds, files)


# What comes out


def test_batches_are_uint8_crops_and_their_numbers_without_end():
    source = flat_pictures(3)
    dataset = pipeline.crops(source, size=8, crop="resize", batch_size=4, seed=0, first=12)
    images, numbers = dataset.element_spec
    assert (images.shape, images.dtype) == ((4, 8, 8, 3), tf.uint8)
    assert (numbers.shape, numbers.dtype) == ((4,), tf.int64)
    for batch, (_, numbers) in enumerate(itertools.islice(dataset.as_numpy_iterator(), 5)):
        np.testing.assert_array_equal(numbers, 12 + 4 * batch + np.arange(4))


@pytest.mark.parametrize("count, sizes", [(5, [2, 2, 1]), (4, [2, 2]), (1, [1])])
def test_a_count_ends_in_a_smaller_batch_if_need_be(count, sizes):
    source = flat_pictures(3)
    options: dict[str, Any] = {"size": 8, "crop": "resize", "batch_size": 2, "seed": 0}
    batches = list(pipeline.crops(source, first=7, count=count, **options).as_numpy_iterator())
    assert [len(images) for images, _ in batches] == sizes
    numbers = np.concatenate([numbers for _, numbers in batches])
    np.testing.assert_array_equal(numbers, 7 + np.arange(count))


# Order


@pytest.mark.parametrize("files", [1, 2, 3, 5, 8, 17])
def test_every_round_has_every_file_once(files):
    rounds = order(files, 20)
    np.testing.assert_array_equal(np.sort(rounds, axis=1), [range(files)] * 20)


def test_unshuffled_order_is_that_of_the_source():
    np.testing.assert_array_equal(order(5, 3, shuffle=False), [range(5)] * 3)


@pytest.mark.parametrize("seeds, rounds", [([0], 300), ([0, 1, 2**8, 2**16, 2**31 - 1], 20)])
def test_neither_rounds_nor_seeds_share_an_order(seeds, rounds):
    """Of the 20! orders of 20 files, a few hundred random ones are all different."""
    orders = np.concatenate([order(20, rounds, seed=seed) for seed in seeds])
    assert len(np.unique(orders, axis=0)) == len(seeds) * rounds


@pytest.mark.parametrize("files, count", [(2, 600), (3, 900), (9, 300)])
def test_every_file_comes_equally_often_at_every_place(files, count):
    rounds = order(files, count)
    seen = np.stack([np.bincount(place, minlength=files) for place in rounds.T])
    error = math.sqrt(count / files * (1 - 1 / files))  # Of a binomial count.
    assert np.abs(seen - count / files).max() < SIGMAS * error


# What a sample depends on


@pytest.fixture
def photographs(tmp_path: Path) -> list[Path]:
    """Seven files of several sizes, of which the third is truncated and the last no image."""
    paths = [tmp_path / f"{number}.png" for number in range(7)]
    for number, path in enumerate(paths):
        Image.fromarray(noise(34 + number, 44 - number, seed=number)).save(path)
    paths[2].write_bytes(paths[2].read_bytes()[:2000])
    paths[6].write_text("no image")
    return paths


CROPS = ["random", "resize", "random_resized"]


@pytest.mark.parametrize("crop", CROPS)
def test_the_same_seed_gives_the_same_bytes_and_another_one_others(photographs, crop):
    def draw(seed: int) -> np.ndarray:
        return samples(FileSource(photographs), 20, size=16, crop=crop, seed=seed)

    np.testing.assert_array_equal(draw(3), draw(3))
    assert not np.array_equal(draw(3), draw(4))


@pytest.mark.parametrize("crop", CROPS)
def test_starting_later_gives_what_a_run_from_the_start_has_there(photographs, crop):
    whole = samples(FileSource(photographs), 30, size=16, crop=crop)
    for first in (1, 3, 7, 13, 14, 25):  # Within a round of 7, and at its borders.
        # A source of its own: a continued run has not met the damaged files yet.
        later = samples(FileSource(photographs), 30 - first, first, size=16, crop=crop)
        np.testing.assert_array_equal(later, whole[first:])


def test_damaged_files_are_replaced_by_the_next_and_the_others_still_come(photographs):
    source = FileSource(photographs)
    drawn = samples(source, 7, size=16, crop="resize", shuffle=False)
    expected = [0, 1, 3, 3, 4, 5, 0]
    for image, number in zip(drawn, expected):
        whole = cv2.resize(source.read(number), (16, 16), interpolation=cv2.INTER_AREA)
        np.testing.assert_array_equal(image, whole)
    assert set(source.skipped) == {photographs[2], photographs[6]}


def test_keeping_pixels_changes_no_sample(photographs):
    for crop in CROPS:
        options: dict[str, Any] = {"size": 16, "crop": crop, "flip": True}
        expected = samples(FileSource(photographs), 25, **options)
        kept = samples(FileSource(photographs, keep=True), 25, **options)
        np.testing.assert_array_equal(kept, expected)


def test_the_batch_size_changes_no_sample(photographs):
    expected = samples(FileSource(photographs), 12, size=16, batch_size=1)
    for batch_size in (5, 12):
        drawn = samples(FileSource(photographs), 12, size=16, batch_size=batch_size)
        np.testing.assert_array_equal(drawn, expected)


def test_the_number_of_threads_changes_no_sample(photographs):
    def draw(threads: int) -> list[np.ndarray]:
        options = tf.data.Options()
        options.threading.private_threadpool_size = threads
        source = FileSource(photographs)
        dataset = pipeline.crops(source, size=16, crop="random", batch_size=2, seed=0, count=24)
        return list(dataset.with_options(options).as_numpy_iterator())

    for one, several in zip(draw(1), draw(6)):
        np.testing.assert_array_equal(one[0], several[0])
        np.testing.assert_array_equal(one[1], several[1])


def test_a_slow_file_holds_its_place():
    class Slow(Pictures):
        def read(self, index: int) -> np.ndarray:
            time.sleep(0.03 if index == 0 else 0)
            return super().read(index)

    source = Slow(*flat_pictures(4).pictures)
    drawn = samples(source, 12, shuffle=False, batch_size=1)
    np.testing.assert_array_equal(drawn[:, 0, 0, 0], [0, 1, 2, 3] * 3)


def test_one_photograph_is_cropped_anew_every_time():
    drawn = samples(Pictures(noise(64, 64)), 50, size=16)
    assert len({image.tobytes() for image in drawn}) > 45  # Of 49 * 49 places a few come again.


# Crops


def places(image: np.ndarray, crop: np.ndarray) -> np.ndarray:
    """Rows and columns at which the crop occurs in the image, pixel by pixel, `[n, 2]`."""
    windows = np.lib.stride_tricks.sliding_window_view(image, crop.shape)[:, :, 0]
    return np.argwhere((windows == crop).all(axis=(2, 3, 4)))


def test_a_random_crop_is_a_window_of_the_picture_and_all_windows_occur():
    image, size = noise(13, 16), 8
    found = []
    for crop in samples(Pictures(image), 500, size=size):
        (place,) = places(image, crop)
        found.append(place)
    # One of 54 places is missed by 500 fair draws with a chance of 54 * (53/54)^500 = 0.5 %.
    counts = np.zeros([6, 9], int)
    np.add.at(counts, tuple(np.transpose(found)), 1)
    assert counts[0, 0] and counts[-1, -1] and (counts > 0).mean() > 0.95
    for axis in (0, 1):
        along = counts.sum(axis=1 - axis)
        chance = 1 / len(along)
        error = math.sqrt(500 * chance * (1 - chance))
        assert np.abs(along - 500 * chance).max() < SIGMAS * error


def test_a_picture_of_the_crops_size_is_delivered_as_it_is():
    image = noise(16, 16)
    for crop in CROPS:
        np.testing.assert_array_equal(samples(Pictures(image), 1, size=16, crop=crop)[0], image)


@pytest.mark.parametrize("crop", ["random", "random_resized"])
@pytest.mark.parametrize("height, width", [(20, 31), (31, 20), (3, 200), (250, 16)])
def test_a_smaller_picture_is_enlarged_until_its_short_side_is_the_crops(crop, height, width):
    size, short = 32, min(height, width)
    for drawn in samples(Pictures(ramp(height, width)), 10, size=size, crop=crop).astype(float):
        rows, columns = drawn[..., 0], drawn[..., 1].T
        along_short, along_long = (rows, columns) if height < width else (columns, rows)
        # The short side shows its whole ramp, 0 to short - 1, but for rounding.
        assert along_short[0].max() <= 1 and along_short[-1].min() >= short - 2
        # The long side is enlarged as much, so it rises as steeply: by one in size / short pixels.
        # Borders, where a ramp flattens, and rounding may take up to a pixel each.
        rise = along_long[-1] - along_long[0]
        assert np.abs(rise - (size - 1) * short / size).max() <= 2


def shares_of_pixels(side: int, size: int) -> np.ndarray:
    """How much of each of `size` new pixels each of `side` old ones covers, `[size, side]`."""
    old, new = np.arange(side), np.arange(size)[:, None] * side / size
    covered = np.minimum(old + 1, new + side / size) - np.maximum(old, new)
    return np.maximum(covered, 0) * size / side


@pytest.mark.parametrize("height, width", [(16, 16), (48, 80), (37, 53), (200, 17)])
def test_resize_shows_the_whole_picture_averaged_over_areas(height, width):
    image, size = noise(height, width), 16
    (drawn,) = samples(Pictures(image), 1, size=size, crop="resize")
    rows, columns = shares_of_pixels(height, size), shares_of_pixels(width, size)
    expected = np.einsum("ij,jkc,lk->ilc", rows, image, columns)
    assert np.abs(drawn - expected).max() < 0.51  # Rounded, and float32 before.


@pytest.mark.parametrize("crop", CROPS)
def test_downsampled_crops_are_what_a_lower_level_of_a_pyramid_sees(crop):
    source = Pictures(noise(70, 90), noise(20, 34, seed=1))
    options: dict[str, Any] = {"crop": crop, "flip": True, "rotate": True, "colour_jitter": 0.3}
    large = samples(source, 12, size=32, **options)
    small = samples(source, 12, size=16, downsample=2, **options)
    means = large.reshape(12, 16, 2, 16, 2, 3).mean(axis=(2, 4))
    assert np.abs(small - means).max() <= 0.5


def test_resize_enlarges_a_small_picture_smoothly():
    image = ramp(10, 12, slope=16)
    (drawn,) = samples(Pictures(image), 1, size=32, crop="resize")
    expected = np.asarray(Image.fromarray(image).resize((32, 32), Image.Resampling.BICUBIC), int)
    # Inside, every cubic filter continues a ramp exactly; they differ at the border only.
    assert np.abs(drawn - expected)[6:-6, 6:-6].max() <= 1


def test_random_resized_cuts_squares_of_all_sides_from_the_size_to_the_pictures():
    size, long, count = 16, 80, 400
    drawn = samples(Pictures(ramp(long, 100, slope=2)), count, size=size, crop="random_resized")
    first, last = (drawn[:, i, i, :2].astype(float) / 2 for i in (0, -1))
    # From the first to the last pixel's centre lie (size - 1) / size of a side; rounding to 8 bits
    # moves a colour by 1/2, so a place by 1/4 and a side by not much more than twice that.
    sides = (last - first) * size / (size - 1)
    assert np.abs(sides[:, 0] - sides[:, 1]).max() < 1.2
    sides = sides.mean(axis=1)
    assert size - 1 < sides.min() < size + 2 and long - 2 < sides.max() < long + 1
    values = long - size + 1
    error = math.sqrt((values**2 - 1) / 12 / count)  # Of the mean of uniform integers.
    assert abs(sides.mean() - (size + long) / 2) < SIGMAS * error
    # Where there is room, a square may lie anywhere: its place, as a share of the room, is uniform.
    top_left = first - (sides / size - 1)[:, None] / 2
    room = np.array([long, 100]) - sides[:, None]
    shares = (top_left / np.maximum(room, 1))[room.min(axis=1) > 10]
    assert shares.min() < 0.05 and shares.max() > 0.95
    error = math.sqrt(1 / 12 / len(shares))
    assert np.abs(shares.mean(axis=0) - 0.5).max() < SIGMAS * error


# Augmentation


def test_flip_mirrors_half_of_the_crops_that_there_are_without_it():
    source, count = Pictures(noise(24, 31)), 200
    plain = samples(source, count, size=8)
    flipped = samples(source, count, size=8, flip=True)
    mirrored = 0
    for crop, changed in zip(plain, flipped):
        mirror = np.asarray(ImageOps.mirror(Image.fromarray(crop)))
        assert np.array_equal(changed, crop) or np.array_equal(changed, mirror)
        mirrored += np.array_equal(changed, mirror)
    assert abs(mirrored - count / 2) < SIGMAS * math.sqrt(count / 4)


def test_rotate_turns_a_quarter_of_the_crops_by_each_of_the_right_angles():
    source, count = Pictures(noise(24, 31)), 200
    plain = samples(source, count, size=8)
    turned = samples(source, count, size=8, rotate=True)
    angles = [
        [k for k in range(4) if np.array_equal(changed, np.rot90(crop, k))]
        for crop, changed in zip(plain, turned)
    ]
    assert all(len(found) == 1 for found in angles)
    counts = np.bincount([found[0] for found in angles], minlength=4)
    assert all(abs(counts - count / 4) < SIGMAS * math.sqrt(count * 3 / 16))


def test_jittered_colours_follow_from_the_random_numbers_in_their_order():
    """Step by step in floats: contrast about the mean, brightness, saturation, white balance."""
    image, strength = noise(40, 50), 0.4
    for seed in range(20):
        rng = np.random.default_rng(seed)
        contrast, saturation = rng.uniform(0.6, 1.4, 2)
        shift, gains = rng.uniform(-0.2, 0.2), rng.uniform(0.8, 1.2, 3)
        x = image / 255.0
        x = x.mean() + contrast * (x - x.mean()) + shift
        grey = x.mean(axis=-1, keepdims=True)
        x = (grey + saturation * (x - grey)) * gains
        expected = np.clip(255 * x, 0, 255)
        found = pipeline.jitter_colours(image, strength, np.random.default_rng(seed))
        assert found.dtype == np.uint8
        assert np.abs(found - expected).max() < 1  # OpenCV computes in fixed point.


def test_jitter_is_off_by_default_and_leaves_places_alone(photographs):
    source = FileSource(photographs)
    plain, jittered = (samples(source, 10, size=16, colour_jitter=x) for x in (0.0, 0.3))
    np.testing.assert_array_equal(plain, samples(source, 10, size=16))
    for one, other in zip(plain, jittered):
        assert not np.array_equal(one, other)
        assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.8


def test_flip_depends_on_seed_and_number_only(photographs):
    whole = samples(FileSource(photographs), 20, size=16, flip=True)
    later = samples(FileSource(photographs), 9, 11, size=16, flip=True, batch_size=2)
    np.testing.assert_array_equal(later, whole[11:])
    other = samples(FileSource(photographs), 20, size=16, flip=True, seed=1)
    assert not any(np.array_equal(*pair) for pair in zip(other, whole))


# Pyramids


@pytest.fixture(scope="module")
def build():
    return tf.function(pipeline.pyramid_builder(3, MaskConfig(), seed=5), reduce_retracing=True)


def test_pyramids_are_means_and_maxima_of_blocks(build):
    crops = np.stack([noise(64, 64, seed) for seed in range(3)])
    images, holes = build(tf.constant(crops), tf.range(3, dtype=tf.int64))
    assert [image.shape for image in images] == [(3, side, side, 3) for side in (16, 32, 64)]
    assert [hole.shape for hole in holes] == [(3, side, side, 1) for side in (16, 32, 64)]
    for image, hole, factor in zip(images, holes, (4, 2, 1)):
        assert image.dtype == hole.dtype == tf.float32
        block = (1, factor, factor, 1)
        expected = block_reduce(crops / 127.5 - 1, block, np.mean)
        np.testing.assert_allclose(image, expected, atol=1e-6)
        np.testing.assert_array_equal(hole, block_reduce(holes[-1].numpy(), block, np.max))
        assert set(np.unique(hole)) == {0, 1}


def test_a_mask_depends_on_seed_and_number_only(build):
    numbers = np.array([0, 1, 7, 2**40, 12], np.int64)
    crops = np.stack([noise(64, 64, seed) for seed in range(5)])
    together = build(tf.constant(crops), tf.constant(numbers))[1][-1].numpy()
    assert len({mask.tobytes() for mask in together}) == 5
    for i in range(5):
        other_crop = tf.constant(crops[i - 1 : i] if i else crops[-1:])
        alone = build(other_crop, tf.constant(numbers[i : i + 1]))[1][-1]
        np.testing.assert_array_equal(alone[0], together[i])
    other_seed = pipeline.pyramid_builder(3, MaskConfig(), seed=6)
    others = other_seed(tf.constant(crops), tf.constant(numbers))[1][-1].numpy()
    assert not any(np.array_equal(*pair) for pair in zip(others, together))


def holes(side: int, count: int, **options) -> np.ndarray:
    build = pipeline.pyramid_builder(1, MaskConfig(**options), seed=0)
    crops = tf.zeros([count, side, side, 3], tf.uint8)
    return tf.function(build)(crops, tf.range(count, dtype=tf.int64))[1][0].numpy()


def test_the_masks_are_the_training_masks_of_the_config():
    seeds = tf.stack([tf.zeros([8], tf.int64), tf.range(8, dtype=tf.int64)], axis=1)
    for scaled, widths in ((True, (5, 15)), (False, (10, 30))):
        drawn = holes(
            128, 8, square="center", min_stroke_width=10, max_stroke_width=30, scale_strokes=scaled
        )
        expected = masks.training_masks(
            seeds, 128, 128, placement="center", min_width=widths[0], max_width=widths[1]
        )
        np.testing.assert_array_equal(drawn, expected)


def test_scaled_strokes_keep_the_holes_share_of_the_image():
    # One seed draws the same strokes at every size, so few masks tell.
    expected = holes(256, 40).mean()
    # Widths are cut off to whole pixels: of 13 on average at side 128 a half is lost, some 4 %, of
    # 26 at side 256 the same half, 2 %; and part of a hole is the square.
    assert holes(128, 40).mean() == pytest.approx(expected, rel=0.03)
    assert holes(128, 40, scale_strokes=False).mean() > 1.2 * expected


@pytest.mark.parametrize("side", [8, 16, 24])
def test_the_smallest_images_get_masks_too(side):
    drawn = holes(side, 50)
    assert drawn.max(axis=(1, 2, 3)).min() == 1
    assert 0.1 < drawn.mean() < 0.9


# On a device


def crops_of_six() -> tf.data.Dataset:
    source = Pictures(*(noise(40, 40, seed) for seed in range(3)))
    return pipeline.crops(source, size=32, crop="random", batch_size=2, seed=0, count=6)


STAGE = pipeline.pyramid_builder(2, MaskConfig(), seed=0)


@pytest.fixture(scope="module")
def on_host():
    return list(pipeline.apply_on(crops_of_six(), STAGE, device=None))


def test_a_device_gets_the_elements_that_the_host_would_make(on_host):
    on_device = list(pipeline.apply_on(crops_of_six(), STAGE, device="/cpu:1"))
    assert len(on_host) == len(on_device) == 3
    for one, other in zip(on_host, on_device):
        tf.nest.assert_same_structure(one, other)
        for expected, tensor in zip(tf.nest.flatten(one), tf.nest.flatten(other)):
            np.testing.assert_array_equal(tensor, expected)
            assert expected.device.endswith("CPU:0")
            assert tensor.device.endswith("CPU:1")


def test_replicas_build_from_their_share_what_the_host_would_build(on_host):
    strategy = tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"])
    run = tf.function(lambda *batch: strategy.run(STAGE, args=batch))
    distributed = strategy.experimental_distribute_dataset(crops_of_six())
    for batch, whole in zip(distributed, on_host):
        for parts, tensor in zip(tf.nest.flatten(run(*batch)), tf.nest.flatten(whole)):
            values = strategy.experimental_local_results(parts)
            assert [len(value) for value in values] == [1, 1]
            # A graph of ops and a dataset's stage round x / 127.5 to float32 in their own way.
            np.testing.assert_allclose(np.concatenate(values), tensor, rtol=0, atol=5e-7)
