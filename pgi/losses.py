"""Losses of one level (equations 4 to 7), per example, so that the caller can average globally.

A mean over a replica's own batch would multiply the gradients by the number of replicas: divide the
sum over examples by the global batch (`tf.nn.compute_average_loss`).
"""

from __future__ import annotations

import tensorflow as tf


def l1_loss(truth: tf.Tensor, prediction: tf.Tensor) -> tf.Tensor:
    """Mean absolute difference over all pixels and channels.

    Args:
        truth: `[B, H, W, C]` in [-1, 1].
        prediction: `[B, H, W, C]` in [-1, 1], raw, not pasted.

    Returns:
        `[B]` in [0, 2].

    Source: equation 5. Departs from it: a mean instead of a sum, as in [29].
    """
    return tf.reduce_mean(tf.abs(truth - prediction), axis=[1, 2, 3])


def hole_l1(truth: tf.Tensor, prediction: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Mean absolute difference over the pixels of the hole; what validation reports.

    Args:
        truth: `[B, H, W, C]` in [-1, 1].
        prediction: `[B or 1, H or 1, W or 1, C]` in [-1, 1].
        mask: `[B, H, W, 1]`, 1 = hole.

    Returns:
        `[B]` in [0, 2]; 0 where there is no hole.

    Source: our choice, see docs/REPRODUCTION.md.
    """
    difference = tf.reduce_sum(tf.abs(truth - prediction) * mask, axis=[1, 2, 3])
    values = tf.reduce_sum(mask, axis=[1, 2, 3]) * tf.cast(tf.shape(truth)[-1], mask.dtype)
    return tf.math.divide_no_nan(difference, values)


def hinge_generator_loss(fake_scores: tf.Tensor) -> tf.Tensor:
    """What the generator pays for completed images that the discriminator takes for fakes.

    Args:
        fake_scores: `[B, n]` patch scores of completed images.

    Returns:
        `[B]`, any real number.

    Source: equation 6. Departs from it: nothing.
    """
    return -tf.reduce_mean(fake_scores, axis=1)


def hinge_discriminator_loss(real_scores: tf.Tensor, fake_scores: tf.Tensor) -> tf.Tensor:
    """What the discriminator pays for scores inside the margin.

    Args:
        real_scores: `[B, n]` patch scores of photographs.
        fake_scores: `[B, n]` patch scores of completed images.

    Returns:
        `[B]`, at least 0.

    Source: equation 7. Departs from it: nothing ([29] halves the sum, the paper does not).
    """
    real = tf.reduce_mean(tf.nn.relu(1.0 - real_scores), axis=1)
    return real + tf.reduce_mean(tf.nn.relu(1.0 + fake_scores), axis=1)
