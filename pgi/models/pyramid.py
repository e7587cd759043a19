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

A moving average of the sub-generators' weights can be kept beside them, as networks of their own
that evaluation and prediction use.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf
from tensorflow import keras

from pgi.losses import hinge_discriminator_loss, hinge_generator_loss, hole_l1, l1_loss
from pgi.models.discriminator import Discriminator
from pgi.models.named_means import NamedMeans
from pgi.models.optimization import update, update_averages
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

    With `training=True` a call uses the weights that are trained, otherwise their moving average,
    if `compile` was told to keep one.

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
        convolution_dtype: of the sub-generators' gated convolutions, see `GatedConv2D`.
        attention_max_bytes: `max_bytes` of `contextual_attention`.
        **kwargs: of `keras.Model`.

    Raises:
        ValueError: an argument breaks its rule.

    Source: sections 3.1 and 3.2, Figure 2.
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
        convolution_dtype: str = "float32",
        attention_max_bytes: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_levels(levels)
        self.levels = tuple(levels)

        def sub_generators() -> list[SubGenerator]:
            return [
                SubGenerator(
                    width,
                    rates,
                    fusion,
                    drop_coarse=drop_coarse and level > 0,
                    kernel_initializer=kernel_initializer,
                    convolution_dtype=convolution_dtype,
                    attention_max_bytes=attention_max_bytes,
                    name=f"sub_generator_{level}",
                )
                for level, rates in enumerate(dilation_rates(dilation, len(levels)))
            ]

        self._make_sub_generators = sub_generators
        self.sub_generators = sub_generators()
        self.averaged_sub_generators: list[SubGenerator] = []
        self.discriminators = [
            Discriminator(discriminator_width, name=f"discriminator_{level}")
            for level in range(len(levels))
        ]
        self.steps_taken = tf.Variable(
            0,
            dtype=tf.int64,
            trainable=False,
            name="steps_taken",
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )

    def call(
        self, inputs: tuple[Pyramid, Pyramid], training: bool = False
    ) -> tuple[SubGeneratorOutput, ...]:
        networks = self.sub_generators if training else self.evaluated_sub_generators
        return _from_below(networks, inputs)

    def build_networks(self) -> None:
        """Makes every weight, before the optimisers or a checkpoint ask for them; once."""
        if self.built and all(network.built for network in self.discriminators):
            return
        self(self._smallest_inputs())
        for discriminator in self.discriminators:
            discriminator(tf.zeros([1, 64, 64, 4]))

    def keep_averages(self) -> None:
        """Makes the networks that hold the moving average, starting at the present weights."""
        self.build_networks()
        networks = self._make_sub_generators()
        _from_below(networks, self._smallest_inputs())
        for average, network in zip(networks, self.sub_generators):
            average.set_weights(network.get_weights())
            average.trainable = False
        self.averaged_sub_generators = networks

    def _smallest_inputs(self) -> tuple[Pyramid, Pyramid]:
        sizes = [8 * 2**level for level in range(len(self.levels))]
        images = tuple(tf.zeros([1, size, size, 3]) for size in sizes)
        return images, tuple(image[..., :1] for image in images)

    @property
    def evaluated_sub_generators(self) -> list[SubGenerator]:
        """The moving averages if they are kept, otherwise the sub-generators themselves."""
        return self.averaged_sub_generators or self.sub_generators

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
        """How many times the sub-generators were updated, over all stages of a training."""
        return int(self.steps_taken.numpy())

    @property
    def top(self) -> int:
        """How many levels are computed in training; the model must be compiled."""
        return self.trained_levels[-1] + 1

    def compile(
        self,
        generator_optimizer: keras.optimizers.Optimizer,
        discriminator_optimizer: keras.optimizers.Optimizer,
        level_weights: Sequence[float] | None = None,
        l1_weight: float = 1.0,
        coarse_l1_weight: float = 0.0,
        adversarial_weight: float = 1.0,
        adversarial_warmup_steps: float = 0,
        trained_levels: Sequence[int] | None = None,
        trained_since: Sequence[int] | None = None,
        clip_norm: float = 0.0,
        ema_momentum: float = 0.0,
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
            coarse_l1_weight: weight of the same loss on the result of each coarse network that
                there is: 0 in equation 5, 1 in DeepFillv2.
            adversarial_weight: weight of the adversarial term; the paper's is 1.
            adversarial_warmup_steps: the adversarial weight grows linearly from 0 during as many
                steps.
            trained_levels: trains these levels, in ascending order, and leaves the others as they
                are; levels above the last are not computed. None for all.
            trained_since: `step` at which each of these began to be trained; None for 0.
            clip_norm: bound on the global norm of the sub-generators' gradient; 0 for none.
            ema_momentum: share of the moving average of the sub-generators' weights that is kept
                in a step, in [0, 1); 0 keeps no average.
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
        self.level_weights = tuple(level_weights)
        self.l1_weight = l1_weight
        self.coarse_l1_weight = coarse_l1_weight
        self.adversarial_weight = adversarial_weight
        self.adversarial_warmup_steps = adversarial_warmup_steps
        self.trained_levels = tuple(trained_levels or range(len(self.levels)))
        self.trained_since = tuple(trained_since or (0,) * len(self.trained_levels))
        self.clip_norm = clip_norm
        self.ema_momentum = ema_momentum
        self.preprocess = preprocess
        self.build_networks()
        if ema_momentum and not self.averaged_sub_generators:
            self.keep_averages()
        generator_optimizer.build(_variables(self._generator_networks()))
        discriminator_optimizer.build(_variables(self._discriminator_networks()))
        self.generator_optimizer = generator_optimizer
        self.discriminator_optimizer = discriminator_optimizer
        self._train_means = NamedMeans(self._train_names())
        self._test_means = NamedMeans(self._test_names())

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        # Keras asks before `compile`, too.
        names = ("_train_means", "_test_means")
        return [getattr(self, name) for name in names if hasattr(self, name)]

    # No control flow here depends on values, so AutoGraph would only slow the tracing down.
    @tf.autograph.experimental.do_not_convert
    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """One joint update: discriminators first, then generators, from one forward pass."""
        images, masks = data if self.preprocess is None else self.preprocess(*data)
        images, masks = images[: self.top], masks[: self.top]
        networks = self._generator_networks()
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(_variables(networks))
            outputs = self((images, masks), training=True)
            with tape.stop_recording():
                logs = self._update_discriminators(images, masks, outputs)
            terms = self._generator_terms(images, masks, outputs)
            loss = tf.add_n(
                [tf.nn.compute_average_loss(x["weighted_loss"]) for x in terms.values()]
            )
        gradients = tape.gradient(loss, networks)
        health = update(self.generator_optimizer, networks, gradients, self.clip_norm)
        self.steps_taken.assign_add(1)
        if self.ema_momentum:
            self._update_averages()

        logs |= {f"level_{n}/{name}": x for n in terms for name, x in terms[n].items()}
        logs["loss"] = tf.add_n([x["weighted_loss"] for x in terms.values()])
        logs["unweighted_loss"] = tf.add_n([x["loss"] for x in terms.values()])
        logs |= {_logged_as(name, "generator"): x for name, x in health.items()}
        self._train_means.update_state(logs, tf.shape(images[0])[0])
        return self._train_means.result()

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """L1 in the hole, also that of filling with each image's mean colour.

        Levels above those that are trained are left out; `hole_l1` is that of the highest level.
        """
        images, masks = data
        logs = {}
        outputs = self((images[: self.top], masks[: self.top]))
        for n, (output, image, mask) in enumerate(zip(outputs, images, masks)):
            logs[f"level_{n}/hole_l1"] = hole_l1(image, output.completed, mask)
        if self.top == len(self.levels):
            logs["hole_l1"] = logs[f"level_{self.top - 1}/hole_l1"]
        mean_colour = tf.reduce_mean(images[-1], axis=[1, 2], keepdims=True)
        logs["mean_colour_hole_l1"] = hole_l1(images[-1], mean_colour, masks[-1])
        self._test_means.update_state(logs, tf.shape(images[0])[0])
        return self._test_means.result()

    def _generator_networks(self) -> dict[str, list[tf.Variable]]:
        """Trainable variables of each network of the trained levels' sub-generators."""
        networks = {}
        for n in self.trained_levels:
            parts = {
                "coarse": self.sub_generators[n].coarse,
                "refine": self.sub_generators[n].refine,
            }
            for kind, network in parts.items():
                if network is not None:
                    networks[f"level_{n}/{kind}"] = network.trainable_variables
        return networks

    def _discriminator_networks(self) -> dict[str, list[tf.Variable]]:
        return {
            f"level_{n}/discriminator": self.discriminators[n].trainable_variables
            for n in self.trained_levels
        }

    def _update_averages(self) -> None:
        for n, since in zip(self.trained_levels, self.trained_since):
            networks = (self.averaged_sub_generators[n], self.sub_generators[n])
            averages, variables = (network.variables for network in networks)
            update_averages(averages, variables, self.ema_momentum, self.steps_taken - since)

    def _update_discriminators(
        self, images: Pyramid, masks: Pyramid, outputs: Sequence[SubGeneratorOutput]
    ) -> dict[str, tf.Tensor]:
        """Updates the trained levels' discriminators; returns what is logged of them."""
        networks = self._discriminator_networks()
        losses = {}
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(_variables(networks))
            for n in self.trained_levels:
                photographs = tf.concat([images[n], masks[n]], axis=-1)
                fakes = tf.concat([outputs[n].completed, masks[n]], axis=-1)
                both = tf.concat([photographs, fakes], axis=0)
                scores = self.discriminators[n](both, training=True)
                losses[n] = hinge_discriminator_loss(*tf.split(scores, 2, axis=0))
            loss = tf.add_n([tf.nn.compute_average_loss(x) for x in losses.values()])
        gradients = tape.gradient(loss, networks)
        health = update(self.discriminator_optimizer, networks, gradients)
        logs = {f"level_{n}/discriminator_loss": x for n, x in losses.items()}
        logs["discriminator_loss"] = tf.add_n(list(losses.values()))
        return logs | {_logged_as(name, "discriminator"): x for name, x in health.items()}

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
            if n in self._levels_with_coarse_l1():
                terms[n]["coarse_l1"] = l1_loss(images[n], outputs[n].coarse)
                loss += self.coarse_l1_weight * terms[n]["coarse_l1"]
            terms[n]["loss"] = loss
            terms[n]["weighted_loss"] = self.level_weights[n] * loss
        return terms

    def _levels_with_coarse_l1(self) -> list[int]:
        weighted = self.trained_levels if self.coarse_l1_weight else ()
        return [n for n in weighted if self.sub_generators[n].coarse is not None]

    def _adversarial_weight(self) -> tf.Tensor:
        if not self.adversarial_warmup_steps:
            return tf.constant(self.adversarial_weight)
        step = tf.cast(self.steps_taken, tf.float32)
        return self.adversarial_weight * tf.minimum(step / self.adversarial_warmup_steps, 1.0)

    def _train_names(self) -> tuple[str, ...]:
        """What `train_step` logs."""
        terms = ["adversarial", "l1", "loss", "weighted_loss", "discriminator_loss"]
        names = [f"level_{n}/{term}" for n in self.trained_levels for term in terms]
        names += [f"level_{n}/coarse_l1" for n in self._levels_with_coarse_l1()]
        networks = [*self._generator_networks(), *self._discriminator_networks()]
        names += [f"{name}/{x}" for name in networks for x in ("gradient_norm", "update_ratio")]
        names += ["loss", "unweighted_loss", "discriminator_loss"]
        return (
            *names,
            "generator/gradient_norm",
            "generator/clipped",
            "discriminator/gradient_norm",
        )

    def _test_names(self) -> tuple[str, ...]:
        """What `test_step` logs."""
        names = [f"level_{n}/hole_l1" for n in range(self.top)]
        names += ["hole_l1"] * (self.top == len(self.levels))
        return (*names, "mean_colour_hole_l1")


def _from_below(
    networks: Sequence[SubGenerator], inputs: tuple[Pyramid, Pyramid]
) -> tuple[SubGeneratorOutput, ...]:
    """Each level's output, coarsest first."""
    outputs: list[SubGeneratorOutput] = []
    for sub_generator, image, mask in zip(networks, *inputs):
        outputs.append(sub_generator(image, mask, outputs[-1] if outputs else None))
    return tuple(outputs)


def _variables(networks: Mapping[str, list[tf.Variable]]) -> list[tf.Variable]:
    return [variable for part in networks.values() for variable in part]


def _logged_as(name: str, optimizer: str) -> str:
    """A network's values keep their names; the optimiser's own get its name."""
    return name if "/" in name else f"{optimizer}/{name}"
