"""The protocols' formulas, against other programs and against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from numpy.lib.stride_tricks import sliding_window_view
from skimage import data
from skimage.metrics import peak_signal_noise_ratio

from pgi import metrics
from pgi.errors import RuleError

TRUTH = np.stack([data.astronaut()[:80, 180:264], data.coffee()[100:180, 200:284]])
RESULT = np.clip(
    TRUTH + np.random.default_rng(0).normal(0, 20, TRUTH.shape).round(), 0, 255
).astype(np.uint8)
MASK = np.zeros([2, 80, 84], bool)
MASK[0, 20:60, 10:50] = MASK[1, :30, 40:] = True
COMPLETED = np.where(MASK[..., None], RESULT, TRUTH)


UNIFORM = np.full([51, 51], 51.0**-2)
GAUSSIAN = np.exp(-0.5 * ((np.arange(11) - 5) / 1.5) ** 2)
GAUSSIAN = np.outer(GAUSSIAN, GAUSSIAN) / GAUSSIAN.sum() ** 2


def ssim(a: np.ndarray, b: np.ndarray, weights: np.ndarray, correction: float = 1.0) -> np.ndarray:
    """By its definition, of values in [0, 1]; `correction` is that of the variances' bias."""
    scores = []
    for channel in range(a.shape[-1]):
        x, y = (sliding_window_view(image[..., channel] / 255, weights.shape) for image in (a, b))

        def mean(windows: np.ndarray) -> np.ndarray:
            return (windows * weights).sum(axis=(2, 3))

        mean_x, mean_y = mean(x), mean(y)
        off_x, off_y = x - mean_x[..., None, None], y - mean_y[..., None, None]
        variances, covariance = mean(off_x**2) + mean(off_y**2), mean(off_x * off_y)
        score = (2 * mean_x * mean_y + 0.01**2) / (mean_x**2 + mean_y**2 + 0.01**2)
        score *= 2 * correction * covariance + 0.03**2
        scores.append(np.mean(score / (correction * variances + 0.03**2)))
    return np.mean(scores)


def test_paper_is_relative_l1_psnr_and_the_ssim_of_51_by_51_of_the_completed_image() -> None:
    values = metrics.evaluate(TRUTH, RESULT, MASK, "paper")
    for n, (a, b) in enumerate(zip(TRUTH, COMPLETED)):
        unit_a, unit_b = a / 255, b / 255
        l1 = np.sum(np.abs(unit_a - unit_b)) / np.sum(unit_a + unit_b)
        np.testing.assert_allclose(values["l1"][n], l1, atol=1e-6)
        np.testing.assert_allclose(values["psnr"][n], peak_signal_noise_ratio(a, b), atol=1e-6)
        defined = ssim(a, b, UNIFORM, 51**2 / (51**2 - 1))
        np.testing.assert_allclose(values["ssim"][n], defined, atol=1e-6)


def test_paper_gray_is_paper_of_the_images_in_grey() -> None:
    values = metrics.evaluate(TRUTH, RESULT, MASK, "paper_gray")
    # Luma of ITU-R BT.709, by scikit-image's documentation.
    grey = np.array([[0.2125], [0.7154], [0.0721]])
    for n, (a, b) in enumerate(zip(TRUTH @ grey, COMPLETED @ grey)):
        np.testing.assert_allclose(values["l1"][n], np.sum(np.abs(a - b)) / np.sum(a + b))
        psnr = peak_signal_noise_ratio(a, b, data_range=255)
        np.testing.assert_allclose(values["psnr"][n], psnr, atol=1e-6)
        defined = ssim(a, b, UNIFORM, 51**2 / (51**2 - 1))
        np.testing.assert_allclose(values["ssim"][n], defined, atol=1e-6)


@pytest.mark.parametrize(("protocol", "judged"), [("standard", COMPLETED), ("raw", RESULT)])
def test_standard_and_raw_are_mean_l1_psnr_and_the_gaussian_ssim(
    protocol: str, judged: np.ndarray
) -> None:
    values = metrics.evaluate(TRUTH, RESULT, MASK, protocol)
    a, b = (tf.constant(x / 255, tf.float32) for x in (TRUTH, judged))
    np.testing.assert_allclose(values["l1"], tf.reduce_mean(abs(a - b), [1, 2, 3]), atol=1e-6)
    np.testing.assert_allclose(values["psnr"], tf.image.psnr(a, b, 1.0), rtol=1e-6)
    defined = [ssim(*images, GAUSSIAN) for images in zip(TRUTH, judged)]
    np.testing.assert_allclose(values["ssim"], defined, atol=1e-6)
    # TensorFlow's is in float32, where the variances, small differences of squares, are rounded.
    np.testing.assert_allclose(values["ssim"], tf.image.ssim(a, b, 1.0), atol=5e-5)


def test_hole_counts_the_pixels_of_the_hole_alone() -> None:
    values = metrics.evaluate(TRUTH, RESULT, MASK, "hole")
    assert set(values) == {"l1", "psnr"}
    for n in range(2):
        error = (TRUTH[n].astype(float) - RESULT[n])[MASK[n]] / 255
        np.testing.assert_allclose(values["l1"][n], abs(error).mean(), atol=1e-12)
        np.testing.assert_allclose(values["psnr"][n], -10 * np.log10((error**2).mean()))


@pytest.mark.parametrize("protocol", ["paper", "paper_gray", "standard", "hole"])
def test_known_pixels_of_the_result_count_for_nothing_but_under_raw(protocol: str) -> None:
    one = metrics.evaluate(TRUTH, RESULT, MASK, protocol)
    other = metrics.evaluate(TRUTH, np.where(MASK[..., None], RESULT, 7), MASK, protocol)
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])
    raw = metrics.evaluate(TRUTH, np.where(MASK[..., None], RESULT, np.uint8(7)), MASK, "raw")
    assert (raw["l1"] > metrics.evaluate(TRUTH, RESULT, MASK, "raw")["l1"]).all()


@pytest.mark.parametrize("protocol", metrics.PROTOCOLS)
def test_a_batch_gives_what_its_images_give(protocol: str) -> None:
    batch = metrics.evaluate(TRUTH, RESULT, 255 * MASK.astype(np.uint8)[..., None], protocol)
    for n in range(2):
        for name, value in metrics.evaluate(TRUTH[n], RESULT[n], MASK[n], protocol).items():
            assert batch[name].shape == (2,) and value.shape == () and batch[name][n] == value
    shared = metrics.evaluate(TRUTH, RESULT, MASK[0], protocol)
    one = metrics.evaluate(TRUTH[1], RESULT[1], MASK[0], protocol)
    assert all(shared[name][1] == one[name] for name in one)


def test_a_perfect_result_and_black_images_have_their_limits() -> None:
    perfect = metrics.evaluate(TRUTH[0], TRUTH[0], MASK[0])
    assert (perfect["l1"], perfect["psnr"]) == (0, np.inf)
    assert perfect["ssim"] == pytest.approx(1)
    black = np.zeros([60, 60, 3], np.uint8)
    assert metrics.evaluate(black, black, np.ones([60, 60], bool))["l1"] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((TRUTH, RESULT, MASK, "mine"), "protocol must be one of paper, paper_gray, standard"),
        ((TRUTH / 255, RESULT, MASK), "truth must be uint8, got 'float64'"),
        ((TRUTH, RESULT[:1], MASK), r"result must be of the truth's shape \(2, 80, 84, 3\), got"),
        ((TRUTH[..., :1], RESULT[..., :1], MASK), "truth must be .H, W, 3."),
        ((TRUTH, RESULT, MASK[:, 1:]), "mask must be of the image's size"),
        ((TRUTH, RESULT, MASK & False, "hole"), "mask must be hole somewhere"),
        ((TRUTH[:, :50], RESULT[:, :50], MASK[:, :50]), r"sides must be at least 51 px under the"),
    ],
)
def test_bad_arguments_are_named(arguments: tuple, message: str) -> None:
    with pytest.raises(RuleError, match=message):
        metrics.evaluate(*arguments)
