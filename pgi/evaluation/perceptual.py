"""Arithmetic of the perceptual metrics FID, P-IDS and U-IDS, on arrays of features.

Apart from the networks that compute the features (`pgi.evaluation.perceptual_networks`), so that it
needs no torch. All in float64.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import linalg

from pgi.arrays import FloatArray
from pgi.errors import PerceptualError
from pgi.rules import check

INSTALL = 'pip install -c constraints.txt -e ".[perceptual]"'


class DiscriminativeScores(NamedTuple):
    """P-IDS and U-IDS, as shares from 0 to 1.

    Attributes:
        paired: 0.5 where results cannot be told from truths.
        unpaired: 0.5 where they cannot, 0 where they can always.
    """

    paired: float
    unpaired: float


def frechet_distance(real: FloatArray, fake: FloatArray) -> float:
    """The Fréchet distance of two sets of features, each taken as a Gaussian: FID.

    |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)), with means m and unbiased covariances S (Heusel et
    al. 2017, equation 6). With S = A'A, the trace of (S1 S2)^(1/2) is the sum of the singular
    values of A1 A2'. So singular covariances, of fewer images than features, need no special case,
    where a matrix square root needs a small number on the diagonal.

    Args:
        real: `[N, D]`, N at least 2.
        fake: `[M, D]`, M at least 2.

    Raises:
        RuleError: a shape is another, or a feature is not finite.
    """
    real, fake = _checked("features of the truth", real), _checked("features of the result", fake)
    check("features of the result", f"{real.shape[1]} each", *_same(real.shape[1], fake.shape[1]))
    shift = real.mean(axis=0) - fake.mean(axis=0)
    roots = [_covariance_root(features) for features in (real, fake)]
    variances = sum(np.sum(root**2) for root in roots)
    common = linalg.svdvals(roots[0] @ roots[1].T).sum()
    return max(0.0, float(shift @ shift + variances - 2 * common))  # Rounding may give -1e-12.


def discriminative_scores(real: FloatArray, fake: FloatArray) -> DiscriminativeScores:
    """How often a linear classifier takes results for truths: P-IDS and U-IDS.

    From Zhao et al. 2021, "Large Scale Image Completion via Co-Modulated Generative Adversarial
    Networks", section 4: a linear SVM learns to tell the features of truths from those of results.
    U-IDS is its error rate on the same features, P-IDS the share of pairs in which it finds the
    result more real than its truth. A tie, which the paper does not mention, counts one half: a
    result that equals its truth cannot be told from it.

    Args:
        real: `[N, D]`, N at least 2.
        fake: `[N, D]`, the results of the same crops in the same order.

    Raises:
        PerceptualError: scikit-learn is not installed.
        RuleError: a shape is another, or a feature is not finite.
    """
    try:
        from sklearn.svm import LinearSVC
    except ImportError as error:
        raise PerceptualError(f"P-IDS and U-IDS need scikit-learn: {INSTALL} ({error})") from error

    real, fake = _checked("features of the truth", real), _checked("features of the result", fake)
    check("features of the result", f"of shape {real.shape}", *_same(real.shape, fake.shape))
    labels = np.repeat([1, 0], len(real))
    # The primal problem is solved without random numbers.
    classifier = LinearSVC(dual=False).fit(np.concatenate([real, fake]), labels)
    seen_real, seen_fake = map(classifier.decision_function, (real, fake))
    return DiscriminativeScores(
        paired=_share_above(seen_fake - seen_real),
        unpaired=(_share_above(-seen_real) + _share_above(seen_fake)) / 2,
    )


def _checked(name: str, features: FloatArray) -> FloatArray:
    """The features in float64, if they are finite numbers of two images or more."""
    features = np.asarray(features, np.float64)
    matrix = features.ndim == 2 and len(features) >= 2 and features.shape[1] >= 1
    check(name, "[N, D] with N at least 2", matrix, features.shape)
    check(name, "finite", bool(np.isfinite(features).all()), "inf or nan")
    return features


def _same(wanted: object, got: object) -> tuple[bool, object]:
    return wanted == got, got


def _covariance_root(features: FloatArray) -> FloatArray:
    """A matrix A with A'A the unbiased covariance, of at most D rows."""
    centred = features - features.mean(axis=0)
    root = linalg.qr(centred, mode="r", overwrite_a=True, check_finite=False)[0]
    return np.asarray(root[: features.shape[1]] / np.sqrt(len(features) - 1))


def _share_above(values: FloatArray) -> float:
    """The share of positive values, zeros counted half."""
    return float(np.mean((values > 0) + 0.5 * (values == 0)))
