"""Losses of one level (equations 5 to 7), per example.

Average them with `tf.nn.compute_average_loss`, which divides by the global batch. Gradients are
summed over replicas, so a mean over each replica's own batch would multiply them by the number of
replicas.
"""

from __future__ import annotations

import tensorflow as tf


def l1_loss(truth: tf.Tensor, prediction: tf.Tensor) -> tf.Tensor:
    """L1 loss (equation 5): mean absolute difference over all pixels and channels.

    Args:
        truth: `[B, H, W, C]` in [-1, 1].
        prediction: `[B, H, W, C]` in [-1, 1], raw.

    Returns:
        `[B]` in [0, 2]. A mean, as in DeepFillv2, where equation 5 has a sum.
    """
    return tf.reduce_mean(tf.abs(truth - prediction), axis=[1, 2, 3])


def hole_l1(truth: tf.Tensor, prediction: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """L1 in the hole: mean absolute difference over its pixels, the validation metric.

    Args:
        truth: `[B, H, W, C]` in [-1, 1].
        prediction: `[B or 1, H or 1, W or 1, C]` in [-1, 1].
        mask: `[B, H, W, 1]`, 1 = hole.

    Returns:
        `[B]` in [0, 2]; 0 without a hole.
    """
    difference = tf.reduce_sum(tf.abs(truth - prediction) * mask, axis=[1, 2, 3])
    values = tf.reduce_sum(mask, axis=[1, 2, 3]) * tf.cast(tf.shape(truth)[-1], mask.dtype)
    return tf.math.divide_no_nan(difference, values)


def hinge_generator_loss(fake_scores: tf.Tensor) -> tf.Tensor:
    """Generator hinge loss: -mean D(fake) (equation 6).

    Args:
        fake_scores: `[B, n]` patch scores of completed images.

    Returns:
        `[B]`, any real number.
    """
    return -tf.reduce_mean(fake_scores, axis=1)


def hinge_discriminator_loss(real_scores: tf.Tensor, fake_scores: tf.Tensor) -> tf.Tensor:
    """Discriminator hinge loss: mean relu(1 - D(real)) + mean relu(1 + D(fake)) (equation 7).

    Args:
        real_scores: `[B, n]` patch scores of photographs.
        fake_scores: `[B, n]` patch scores of completed images.

    Returns:
        `[B]`, at least 0. DeepFillv2 halves the sum, the paper does not.
    """
    real = tf.reduce_mean(tf.nn.relu(1.0 - real_scores), axis=1)
    return real + tf.reduce_mean(tf.nn.relu(1.0 + fake_scores), axis=1)
