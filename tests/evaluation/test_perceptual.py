"""FID's distance and the discriminative scores, against closed forms and SciPy."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from scipy import linalg

from pgi.errors import PerceptualError, RuleError
from pgi.evaluation.perceptual import discriminative_scores, frechet_distance

RANDOM = np.random.default_rng(0)
DIMENSION = 6


def gaussian(mean: np.ndarray, covariance: np.ndarray, count: int = 50) -> np.ndarray:
    """Features whose sample mean and unbiased covariance are exactly these."""
    noise = RANDOM.normal(size=[count, len(mean)])
    noise -= noise.mean(axis=0)
    noise @= linalg.inv(linalg.sqrtm(np.cov(noise.T)))
    return noise @ linalg.sqrtm(covariance) + mean


def covariance() -> np.ndarray:
    root = RANDOM.normal(size=[DIMENSION, DIMENSION])
    return root @ root.T


# Fréchet distance


@pytest.mark.parametrize("count", [2, 4, 50])
def test_of_a_set_from_itself_the_distance_is_zero(count: int) -> None:
    features = RANDOM.normal(3, 2, [count, DIMENSION])
    assert 0 <= frechet_distance(features, features) < 1e-9


def test_of_a_shifted_gaussian_the_distance_is_the_shift_squared() -> None:
    spread, shift = covariance(), RANDOM.normal(size=DIMENSION)
    real, fake = gaussian(np.zeros(DIMENSION), spread), gaussian(shift, spread, 80)
    assert frechet_distance(real, fake) == pytest.approx(shift @ shift)


def test_of_diagonal_covariances_the_distance_is_that_of_the_standard_deviations() -> None:
    a, b = RANDOM.uniform(0.1, 4, [2, DIMENSION])
    mean = np.ones(DIMENSION)
    distance = frechet_distance(gaussian(mean, np.diag(a)), gaussian(mean, np.diag(b)))
    assert distance == pytest.approx(np.sum((np.sqrt(a) - np.sqrt(b)) ** 2))


def test_of_any_covariances_the_distance_is_that_with_scipys_matrix_root() -> None:
    first, second, shift = covariance(), covariance(), RANDOM.normal(size=DIMENSION)
    root = linalg.sqrtm(first @ second).real
    expected = shift @ shift + np.trace(first + second - 2 * root)
    real, fake = gaussian(np.zeros(DIMENSION), first), gaussian(shift, second)
    assert frechet_distance(real, fake) == pytest.approx(expected)
    assert frechet_distance(fake, real) == pytest.approx(expected)


def test_of_fewer_images_than_features_the_distance_is_that_in_their_plane() -> None:
    features = RANDOM.normal(size=[2, 4, 3])
    plane = linalg.qr(RANDOM.normal(size=[500, 3]), mode="economic")[0]
    expected = frechet_distance(*features)
    assert frechet_distance(*(features @ plane.T)) == pytest.approx(expected)
    # Two images and one feature each: the distance of their means and standard deviations.
    assert frechet_distance(np.array([[0.0], [2]]), np.array([[1.0], [5]])) == pytest.approx(
        (1 - 3) ** 2 + (np.sqrt(2) - np.sqrt(8)) ** 2
    )


def test_the_distance_grows_with_the_damage() -> None:
    real = RANDOM.normal(size=[40, DIMENSION])
    noise = RANDOM.normal(size=real.shape)
    distances = [frechet_distance(real, real + amount * noise) for amount in (0, 0.3, 1, 3)]
    assert distances == sorted(distances) and distances[1] > 0.001


# Discriminative scores


def test_sets_that_can_be_separated_score_zero() -> None:
    real = RANDOM.uniform(0, 1, [30, DIMENSION])
    assert discriminative_scores(real, real + 2) == (0, 0)


def test_equal_sets_score_one_half() -> None:
    real = RANDOM.normal(size=[30, DIMENSION])
    assert discriminative_scores(real, real) == (0.5, 0.5)


def test_by_hand_on_a_line() -> None:
    """Truths at 1, 2, 3 and 4, results mostly below: the border lies between 0 and 1."""
    real = np.array([[1.0], [2], [3], [4], [3], [3], [3], [3]])
    fake = np.array([[-1.0], [-2], [5], [-4], [-3], [-3], [-3], [-3]])
    # One of sixteen is on the wrong side, and one of eight results lies above its truth.
    assert discriminative_scores(real, fake) == (1 / 8, 1 / 16)
    # The same results in another order, so that a result equals no truth but one.
    fake[[2, 3]] = fake[[3, 2]]
    assert discriminative_scores(real, fake) == (1 / 8, 1 / 16)
    # A result that equals its truth counts half.
    real[3] = 5
    assert discriminative_scores(real, fake) == (1 / 16, 1 / 16)


def test_damage_lowers_both_scores() -> None:
    real = RANDOM.normal(size=[400, DIMENSION])
    noise = RANDOM.normal(size=real.shape)
    paired, unpaired = zip(*(discriminative_scores(real, real + noise + x) for x in (0, 0.5, 2)))
    assert list(paired) == sorted(paired, reverse=True)
    assert list(unpaired) == sorted(unpaired, reverse=True)
    assert paired[0] - paired[2] > 0.3 and unpaired[0] - unpaired[2] > 0.3


def test_of_few_images_u_ids_is_low_whatever_they_show() -> None:
    """As many images as there are features can be separated, though they are of one kind."""
    few, many = (RANDOM.normal(size=[2, count, 100]) for count in (50, 5000))
    assert discriminative_scores(*few).unpaired < 0.05
    assert discriminative_scores(*many).unpaired > 0.4


# Both


def test_the_order_of_images_matters_only_to_pairs() -> None:
    real = RANDOM.normal(size=[100, DIMENSION])
    fake = real + 0.3 + 0.1 * RANDOM.normal(size=real.shape)
    shuffled = RANDOM.permutation(fake)
    assert frechet_distance(real, shuffled) == pytest.approx(frechet_distance(real, fake))
    ordered, mixed = (discriminative_scores(real, x) for x in (fake, shuffled))
    assert mixed.unpaired == ordered.unpaired
    assert mixed.paired > ordered.paired + 0.1
    both = RANDOM.permutation(100)
    assert discriminative_scores(real[both], fake[both]) == ordered


@pytest.mark.parametrize("metric", [frechet_distance, discriminative_scores])
@pytest.mark.parametrize(
    ("real", "fake", "message"),
    [
        ([3], [3, 2], r"truth must be \[N, D\] with N at least 2, got \(3,\)"),
        ([3, 2], [3, 2, 1], r"result must be \[N, D\] with N at least 2, got \(3, 2, 1\)"),
        ([1, 2], [1, 2], r"truth must be \[N, D\] with N at least 2, got \(1, 2\)"),
        ([3, 2], [3, 4], "result must be .*, got"),
    ],
)
def test_other_shapes_are_rejected(metric, real: list, fake: list, message: str) -> None:
    with pytest.raises(RuleError, match=message):
        metric(np.ones(real), np.ones(fake))


def test_pairs_need_a_result_for_each_truth() -> None:
    assert frechet_distance(np.ones([3, 2]), np.ones([4, 2])) == 0
    with pytest.raises(RuleError, match=r"must be of shape \(3, 2\), got \(4, 2\)"):
        discriminative_scores(np.ones([3, 2]), np.ones([4, 2]))


def test_features_that_are_not_finite_are_rejected() -> None:
    broken = np.ones([3, 2])
    broken[1, 1] = np.nan
    with pytest.raises(RuleError, match="features of the result must be finite"):
        frechet_distance(np.ones([3, 2]), broken)


def test_without_scikit_learn_the_command_to_install_it_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.svm", None)
    with pytest.raises(PerceptualError, match=r"need scikit-learn: pip .*\[perceptual\]"):
        discriminative_scores(np.ones([3, 2]), np.ones([3, 2]))
