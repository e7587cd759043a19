"""The training objective: losses of all levels, their weights, and what is logged of them.

Equations 4 to 8. Every value is per example, `[B]`, so that `tf.nn.compute_average_loss` can divide
by the global batch: gradients are summed over replicas, and a mean over each replica's own batch
would multiply them by the number of replicas.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import tensorflow as tf

from pgi.losses import hinge_discriminator_loss, hinge_generator_loss, hole_l1, l1_loss
from pgi.models.sub_generator import SubGeneratorOutput

Pyramid = Sequence[tf.Tensor]
Logs = dict[str, tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Objective:
    """Weighted sum of the levels' losses (equation 8).

    Attributes:
        level_weights: lambda of equation 8, coarsest level first; empty for 10, 1, 1, ..., or 1 for
            a single level.
        l1_weight: alpha of equation 4.
        coarse_l1_weight: weight of the L1 loss of the coarse networks' results: 0 in equation 5, 1
            in DeepFillv2.
        adversarial_weight: weight of the adversarial term; 1 in the paper.
        adversarial_warmup_steps: steps in which the adversarial weight grows linearly from 0.
    """

    level_weights: Sequence[float] = ()
    l1_weight: float = 1.0
    coarse_l1_weight: float = 0.0
    adversarial_weight: float = 1.0
    adversarial_warmup_steps: float = 0.0

    def of_levels(self, levels: int) -> Objective:
        """The same objective with one weight for each level.

        Raises:
            ValueError: the number of weights is not that of the levels.
        """
        default = (10.0, *[1.0] * (levels - 1)) if levels > 1 else (1.0,)
        weights = tuple(self.level_weights or default)
        if len(weights) != levels:
            raise ValueError(
                f"level_weights must have one weight for each of {levels} levels, got {weights}"
            )
        return dataclasses.replace(self, level_weights=weights)

    def generator_loss(
        self,
        images: Pyramid,
        outputs: Sequence[SubGeneratorOutput],
        fake_scores: Mapping[int, tf.Tensor],
        step: tf.Tensor,
    ) -> tuple[tf.Tensor, Logs]:
        """Loss of the sub-generators.

        Args:
            images: photographs of each level, `[B, H, W, 3]` in [-1, 1], coarsest first.
            outputs: of each level.
            fake_scores: level -> patch scores of its completed images, `[B, n]`; of the trained
                levels only.
            step: updates of the sub-generators so far.

        Returns:
            The scalar to minimise, divided by the global batch, and the named terms, `[B]` each.
        """
        adversarial_weight = self._adversarial_weight(step)
        logs: Logs = {}
        losses, weighted = [], []
        for level, scores in fake_scores.items():
            terms = {
                "adversarial": hinge_generator_loss(scores),
                "l1": l1_loss(images[level], outputs[level].refined),
            }
            loss = adversarial_weight * terms["adversarial"] + self.l1_weight * terms["l1"]
            # Only a coarse network has coarse features.
            if self.coarse_l1_weight and outputs[level].coarse_features is not None:
                terms["coarse_l1"] = l1_loss(images[level], outputs[level].coarse)
                loss += self.coarse_l1_weight * terms["coarse_l1"]
            losses.append(loss)
            weighted.append(self.level_weights[level] * loss)
            terms |= {"loss": losses[-1], "weighted_loss": weighted[-1]}
            logs |= {f"level_{level}/{name}": value for name, value in terms.items()}
        logs |= {"loss": tf.add_n(weighted), "unweighted_loss": tf.add_n(losses)}
        return _average(weighted), logs

    def discriminator_loss(
        self, real_scores: Mapping[int, tf.Tensor], fake_scores: Mapping[int, tf.Tensor]
    ) -> tuple[tf.Tensor, Logs]:
        """Loss of the discriminators.

        Args:
            real_scores: level -> patch scores of its photographs, `[B, n]`.
            fake_scores: the same of its completed images.

        Returns:
            As `generator_loss`.
        """
        losses = [hinge_discriminator_loss(real_scores[n], fake_scores[n]) for n in real_scores]
        logs = {f"level_{n}/discriminator_loss": x for n, x in zip(real_scores, losses)}
        return _average(losses), {**logs, "discriminator_loss": tf.add_n(losses)}

    def _adversarial_weight(self, step: tf.Tensor) -> tf.Tensor:
        if not self.adversarial_warmup_steps:
            return tf.constant(self.adversarial_weight)
        share = tf.cast(step, tf.float32) / self.adversarial_warmup_steps
        return self.adversarial_weight * tf.minimum(share, 1.0)


def validation_terms(
    images: Pyramid, masks: Pyramid, outputs: Sequence[SubGeneratorOutput]
) -> Logs:
    """L1 in the hole of each level, and that of filling with the image's mean colour.

    Args:
        images: photographs of every level, `[B, H, W, 3]` in [-1, 1], coarsest first.
        masks: of every level, `[B, H, W, 1]`, 1 = hole.
        outputs: of the lowest levels; those that are not trained yet are missing.

    Returns:
        The named terms, `[B]` each; `hole_l1` is that of the highest level, if it has an output.
    """
    logs = {
        f"level_{n}/hole_l1": hole_l1(images[n], output.completed, masks[n])
        for n, output in enumerate(outputs)
    }
    if len(outputs) == len(images):
        logs["hole_l1"] = logs[f"level_{len(images) - 1}/hole_l1"]
    mean_colour = tf.reduce_mean(images[-1], axis=[1, 2], keepdims=True)
    return {**logs, "mean_colour_hole_l1": hole_l1(images[-1], mean_colour, masks[-1])}


def _average(losses: Sequence[tf.Tensor]) -> tf.Tensor:
    return tf.add_n([tf.nn.compute_average_loss(loss) for loss in losses])
