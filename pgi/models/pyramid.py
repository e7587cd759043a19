"""The pyramid generator: sub-generators stacked from coarse to fine, trained jointly.

    level 0 (128): small hole, restores structure
        | x2 bilinear, added between the coarse and the refine network of the next (eq. 3)
    level 1 (256)
        |
    level 2 (512): adds detail; its completed image is the result

Image and hole are halved together, so the hole is smallest, measured in receptive fields, where the
structure is decided. Every level has a discriminator of its own; the levels' losses are weighted,
summed and minimised together, so gradients flow from the upper levels into the lower ones (eq. 8).

One step runs the generator once: its result first trains the discriminators, held constant, and
then, judged by the updated discriminators, the generators.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf
from tensorflow import keras

from pgi.losses import hinge_discriminator_loss, hinge_generator_loss, hole_l1, l1_loss
from pgi.models.discriminator import Discriminator
from pgi.models.sub_generator import SubGenerator, SubGeneratorOutput
from pgi.rules import DILATIONS, check_choice, check_levels

Pyramid = tuple[tf.Tensor, ...]

STANDARD_RATES = (2, 4, 8, 16)
ADAPTIVE_BOTTOM_RATES = (2, 4, 8, 12)
ADAPTIVE_UPPER_RATES = (2, 4, 8)


def dilation_rates(dilation: str, levels: int) -> list[tuple[int, ...]]:
    """Dilation rates of each level, coarsest first.

    Args:
        dilation: "adaptive" (fewer and smaller rates where detail is the task) or "standard".
        levels: number of levels.

    Raises:
        ValueError: `dilation` is neither.

    Source: sections 3.1.3 and 4.4, Table 5. Departs from it: nothing.
    """
    check_choice("dilation", DILATIONS, dilation)
    if dilation == "standard":
        return [STANDARD_RATES] * levels
    return [ADAPTIVE_BOTTOM_RATES] + [ADAPTIVE_UPPER_RATES] * (levels - 1)


class PyramidGenerator(keras.Model):
    """Sub-generators and their discriminators, trained by `fit`.

    Called as `outputs = pyramid((images, masks))`: two tuples, coarsest level first, of
    `[B, H, W, 3]` in [-1, 1] (pixels under the mask change nothing) and `[B, H, W, 1]`, 1 = hole;
    each level twice as high and wide as the one below, the lowest's sides multiples of 8. Any such
    size will do: `levels` fixes only how many there are. Returns a tuple of `SubGeneratorOutput`,
    coarsest first; the last one's `completed` is the result.

    `fit` and `evaluate` take a dataset of `(images, masks)` as above, of whole photographs; `fit`
    also one of whatever the `preprocess` given to `compile` turns into that.

    Args:
        levels: side of each level's training images in pixels, coarsest first, doubling.
        width: filters of each sub-generator's first gated convolutions, a multiple of 4.
        dilation: "adaptive" or "standard" (Table 5).
        fusion: how a level's result enters the next (Table 4), see `SubGenerator`.
        drop_coarse: no coarse network above the lowest level (section 3.1.2).
        kernel_initializer: "glorot_uniform" or "gated_he".
        discriminator_width: filters of each discriminator's first convolution.
        **kwargs: of `keras.Model`.

    Raises:
        ValueError: an argument breaks its rule.

    Source: sections 3.1 and 3.2, Figure 2. Departs from it: nothing.
    """

    def __init__(
        self,
        levels: Sequence[int] = (128, 256, 512),
        width: int = 48,
        dilation: str = "adaptive",
        fusion: str = "image",
        drop_coarse: bool = False,
        kernel_initializer: str = "glorot_uniform",
        discriminator_width: int = 64,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_levels(levels)
        self.levels = tuple(levels)
        self.sub_generators = [
            SubGenerator(
                width,
                rates,
                fusion,
                drop_coarse=drop_coarse and level > 0,
                kernel_initializer=kernel_initializer,
                name=f"sub_generator_{level}",
            )
            for level, rates in enumerate(dilation_rates(dilation, len(levels)))
        ]
        self.discriminators = [
            Discriminator(discriminator_width, name=f"discriminator_{level}")
            for level in range(len(levels))
        ]

    def call(self, inputs: tuple[Pyramid, Pyramid]) -> tuple[SubGeneratorOutput, ...]:
        outputs: list[SubGeneratorOutput] = []
        for sub_generator, image, mask in zip(self.sub_generators, *inputs):
            outputs.append(sub_generator(image, mask, outputs[-1] if outputs else None))
        return tuple(outputs)

    def build_networks(self) -> None:
        """Makes every weight, before the optimisers or a checkpoint ask for them; once."""
        if self.built and all(network.built for network in self.discriminators):
            return
        sizes = [8 * 2**level for level in range(len(self.levels))]
        images = tuple(tf.zeros([1, size, size, 3]) for size in sizes)
        masks = tuple(tf.zeros([1, size, size, 1]) for size in sizes)
        self((images, masks))
        for discriminator in self.discriminators:
            discriminator(tf.zeros([1, 64, 64, 4]))

    @property
    def generator_variables(self) -> list[tf.Variable]:
        """Trainable variables of all sub-generators, coarsest first."""
        return [v for network in self.sub_generators for v in network.trainable_variables]

    @property
    def discriminator_variables(self) -> list[tf.Variable]:
        """Trainable variables of all discriminators, coarsest first."""
        return [v for network in self.discriminators for v in network.trainable_variables]

    @property
    def step(self) -> int:
        """How many times the sub-generators were updated; the model must be compiled."""
        return int(self.generator_optimizer.iterations.numpy())

    def compile(
        self,
        generator_optimizer: keras.optimizers.Optimizer,
        discriminator_optimizer: keras.optimizers.Optimizer,
        level_weights: Sequence[float] | None = None,
        l1_weight: float = 1.0,
        coarse_l1_weight: float = 0.0,
        adversarial_weight: float = 1.0,
        adversarial_warmup_steps: int = 0,
        only_level: int | None = None,
        preprocess: Callable[..., tuple[Pyramid, Pyramid]] | None = None,
        **kwargs: Any,
    ) -> None:
        """Configures training and builds the optimisers' slots, so that a checkpoint holds all.

        Args:
            generator_optimizer: one for all sub-generators.
            discriminator_optimizer: one for all discriminators.
            level_weights: lambda of equation 8, coarsest first; default 10, 1, 1, ... and 1 for a
                single level.
            l1_weight: alpha of equation 4.
            coarse_l1_weight: weight of the same loss on the coarse network's result; the paper has
                none, [29] has 1.
            adversarial_weight: weight of the adversarial term; the paper's is 1.
            adversarial_warmup_steps: the adversarial weight grows linearly from 0 during as many
                steps.
            only_level: trains this level alone and leaves the others as they are: layer-by-layer
                training of section 3.2. None trains all jointly.
            preprocess: applied to the parts of each replica's batch, at the head of `train_step`.
            **kwargs: of `keras.Model.compile`.

        Raises:
            ValueError: the number of weights is not that of the levels.
        """
        super().compile(**kwargs)
        if level_weights is None:
            level_weights = (10.0,) + (1.0,) * (len(self.levels) - 1)
            level_weights = level_weights if len(self.levels) > 1 else (1.0,)
        if len(level_weights) != len(self.levels):
            raise ValueError(
                f"level_weights must have one weight for each of {len(self.levels)} levels, "
                f"got {tuple(level_weights)}"
            )
        self.build_networks()
        generator_optimizer.build(self.generator_variables)
        discriminator_optimizer.build(self.discriminator_variables)
        self.generator_optimizer = generator_optimizer
        self.discriminator_optimizer = discriminator_optimizer
        self.level_weights = tuple(level_weights)
        self.l1_weight = l1_weight
        self.coarse_l1_weight = coarse_l1_weight
        self.adversarial_weight = adversarial_weight
        self.adversarial_warmup_steps = adversarial_warmup_steps
        self.trained_levels = range(len(self.levels)) if only_level is None else (only_level,)
        self.preprocess = preprocess
        self._trackers = {name: keras.metrics.Mean(name) for name in self._logged_names()}

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return list(getattr(self, "_trackers", {}).values())

    # No control flow here depends on values, so AutoGraph would only slow the tracing down.
    @tf.autograph.experimental.do_not_convert
    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """One joint update: discriminators first, then generators, from one forward pass."""
        images, masks = data if self.preprocess is None else self.preprocess(*data)
        top = self.trained_levels[-1] + 1
        images, masks = images[:top], masks[:top]
        generator_variables = self._trained(self.sub_generators)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(generator_variables)
            outputs = self((images, masks))
            with tape.stop_recording():
                discriminator_losses = self._update_discriminators(images, masks, outputs)
            terms = self._generator_terms(images, masks, outputs)
            loss = tf.add_n(
                [tf.nn.compute_average_loss(x["weighted_loss"]) for x in terms.values()]
            )
        gradients = tape.gradient(loss, generator_variables)
        self.generator_optimizer.apply_gradients(zip(gradients, generator_variables))

        logs = {f"level_{n}/{name}": x for n in terms for name, x in terms[n].items()}
        for n, x in discriminator_losses.items():
            logs[f"level_{n}/discriminator_loss"] = x
        logs["loss"] = tf.add_n([x["weighted_loss"] for x in terms.values()])
        logs["unweighted_loss"] = tf.add_n([x["loss"] for x in terms.values()])
        logs["discriminator_loss"] = tf.add_n(list(discriminator_losses.values()))
        return self._track(logs)

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """L1 in the hole at every level, and that of filling with each image's mean colour."""
        images, masks = data
        logs = {}
        for n, (output, image, mask) in enumerate(zip(self((images, masks)), images, masks)):
            logs[f"level_{n}/hole_l1"] = hole_l1(image, output.completed, mask)
        logs["hole_l1"] = logs[f"level_{len(images) - 1}/hole_l1"]
        mean_colour = tf.reduce_mean(images[-1], axis=[1, 2], keepdims=True)
        logs["mean_colour_hole_l1"] = hole_l1(images[-1], mean_colour, masks[-1])
        return self._track(logs)

    def _trained(self, networks: Sequence[keras.layers.Layer]) -> list[tf.Variable]:
        return [v for level in self.trained_levels for v in networks[level].trainable_variables]

    def _update_discriminators(
        self, images: Pyramid, masks: Pyramid, outputs: Sequence[SubGeneratorOutput]
    ) -> dict[int, tf.Tensor]:
        """Updates the trained levels' discriminators; returns their losses per example."""
        variables = self._trained(self.discriminators)
        losses = {}
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            for n in self.trained_levels:
                photographs = tf.concat([images[n], masks[n]], axis=-1)
                fakes = tf.concat([outputs[n].completed, masks[n]], axis=-1)
                both = tf.concat([photographs, fakes], axis=0)
                scores = self.discriminators[n](both, training=True)
                losses[n] = hinge_discriminator_loss(*tf.split(scores, 2, axis=0))
            loss = tf.add_n([tf.nn.compute_average_loss(x) for x in losses.values()])
        gradients = tape.gradient(loss, variables)
        self.discriminator_optimizer.apply_gradients(zip(gradients, variables))
        return losses

    def _generator_terms(
        self, images: Pyramid, masks: Pyramid, outputs: Sequence[SubGeneratorOutput]
    ) -> dict[int, dict[str, tf.Tensor]]:
        """Each trained level's loss (equation 4) and its terms, `[B]` each."""
        adversarial_weight = self._adversarial_weight()
        terms = {}
        for n in self.trained_levels:
            fakes = tf.concat([outputs[n].completed, masks[n]], axis=-1)
            adversarial = hinge_generator_loss(self.discriminators[n](fakes))
            l1 = l1_loss(images[n], outputs[n].refined)
            loss = adversarial_weight * adversarial + self.l1_weight * l1
            terms[n] = {"adversarial": adversarial, "l1": l1}
            if self.coarse_l1_weight:
                terms[n]["coarse_l1"] = l1_loss(images[n], outputs[n].coarse)
                loss += self.coarse_l1_weight * terms[n]["coarse_l1"]
            terms[n]["loss"] = loss
            terms[n]["weighted_loss"] = self.level_weights[n] * loss
        return terms

    def _adversarial_weight(self) -> tf.Tensor:
        if not self.adversarial_warmup_steps:
            return tf.constant(self.adversarial_weight)
        step = tf.cast(self.generator_optimizer.iterations, tf.float32)
        return self.adversarial_weight * tf.minimum(step / self.adversarial_warmup_steps, 1.0)

    def _logged_names(self) -> list[str]:
        terms = ["adversarial", "l1", "loss", "weighted_loss", "discriminator_loss"]
        if self.coarse_l1_weight:
            terms.append("coarse_l1")
        names = [f"level_{n}/{term}" for n in self.trained_levels for term in terms]
        names += ["loss", "unweighted_loss", "discriminator_loss"]
        names += [f"level_{n}/hole_l1" for n in range(len(self.levels))]
        return [*names, "hole_l1", "mean_colour_hole_l1"]

    def _track(self, per_example: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Means over all examples since the last reset, on all replicas."""
        for name, values in per_example.items():
            self._trackers[name].update_state(values)
        return {name: self._trackers[name].result() for name in per_example}
