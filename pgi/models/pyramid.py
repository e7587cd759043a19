"""The pyramid generator: one sub-generator per level, from structure to detail.

    image, mask ── halved ──┬───────────────────────┬─────────────────────────┐
                     128 px │                256 px │                  512 px │
                     ┌──────▼──────┐         ┌──────▼──────┐           ┌──────▼──────┐
                     │   coarse    │         │   coarse    │           │   coarse    │
                     └──────┬──────┘         └──────┬──────┘           └──────┬──────┘
                            │      ┌── x2 ────────▶ +       ┌── x2 ─────────▶ +
                     ┌──────▼──────┐│        ┌──────▼──────┐│          ┌──────▼──────┐
                     │   refine    ││        │   refine    ││          │   refine    │
                     └──────┬──────┘│        └──────┬──────┘│          └──────┬──────┘
              completed_0 ──┴───────┘ completed_1 ──┴───────┘   completed_2 ──┴──▶ result
                            │                       │                         │
                     discriminator_0         discriminator_1           discriminator_2

Architecture. Image and mask are halved level by level. At the lowest level the hole is smallest,
measured in receptive fields, so that is where structure is restored; each upper level adds detail.
A level is a DeepFillv2 generator (`SubGenerator`): a coarse network, then a refine network with
contextual attention. The completed image of the level below, doubled bilinearly, is added to the
coarse result (equation 3), and the refine network starts from the sum.

Training. Each level has a discriminator of its own. The levels' losses are weighted and summed
(equation 8) and all levels are trained together, so gradients flow from the upper levels into the
lower ones. A step runs the generators once: their results, held constant, train the discriminators
first; then the updated discriminators judge the same results to train the generators. A batch that
is computed in parts takes two runs, because the results of all parts do not fit into memory.

Conventions, here and in the modules below:
    images      `[B, H, W, 3]` float32, RGB in [-1, 1]
    masks       `[B, H, W, 1]` float32, 1 = hole, 0 = known
    a pyramid   a tuple with the coarsest level first
    completed   the network's result in the hole, the image's own pixels elsewhere
    sizes       each level twice as high and wide as the one below; the lowest a multiple of 8

References:
    Structure First Detail Next: Image Inpainting with Pyramid Generator.
    DeepFillv2: Free-Form Image Inpainting with Gated Convolution, Yu et al., ICCV 2019,
    https://arxiv.org/abs/1806.03589
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
from tensorflow import keras

from pgi.models.accumulation import Gradients, accumulate
from pgi.models.blocks import Computation
from pgi.models.discriminator import Discriminator
from pgi.models.named_means import NamedMeans
from pgi.models.objective import Logs, Objective, validation_terms
from pgi.models.optimization import (
    Networks,
    all_variables,
    scaled_loss,
    update,
    update_averages,
    with_loss_scale,
)
from pgi.models.sub_generator import SubGenerator, SubGeneratorOutput
from pgi.rules import DILATIONS, check_choice, check_levels

Pyramid = tuple[tf.Tensor, ...]

STANDARD_RATES = (2, 4, 8, 16)
ADAPTIVE_BOTTOM_RATES = (2, 4, 8, 12)
ADAPTIVE_UPPER_RATES = (2, 4, 8)


def dilation_rates(dilation: str, levels: int) -> list[tuple[int, ...]]:
    """Dilation rates of each level, coarsest first (sections 3.1.3 and 4.4, Table 5).

    Args:
        dilation: "adaptive" (fewer and smaller rates where detail is the task) or "standard".
        levels: number of levels.
    """
    check_choice("dilation", DILATIONS, dilation)
    if dilation == "standard":
        return [STANDARD_RATES] * levels
    return [ADAPTIVE_BOTTOM_RATES] + [ADAPTIVE_UPPER_RATES] * (levels - 1)


class PyramidGenerator(keras.Model):
    """Sub-generators and their discriminators, trained by `fit`.

    Called as `outputs = pyramid((images, masks))` with two pyramids of any fitting size; `levels`
    fixes only their number. Pixels under the mask change nothing. Returns a tuple of
    `SubGeneratorOutput`, coarsest first; the last one's `completed` is the result.

    With `training=True` a call uses the weights that are trained, otherwise their moving average,
    if `compile` was told to keep one.

    `evaluate` takes a dataset of `(images, masks)` or `(images, masks, weights)`, with one weight
    for each example. `fit` takes one of `(images, masks)`, unless `compile` was given a
    `preprocess` that makes them from other batches.

    Args:
        levels: side of each level's training images in pixels, coarsest first, doubling.
        width: filters of each sub-generator's first gated convolutions, a multiple of 4.
        dilation: "adaptive" or "standard" (Table 5).
        fusion: how a level's result enters the next (Table 4), see `SubGenerator`.
        drop_coarse: no coarse network above the lowest level (section 3.1.2).
        kernel_initializer: "glorot_uniform" or "gated_he".
        discriminator_width: filters of each discriminator's first convolution; None for no
            discriminators, if the model is not trained.
        precision: "float32", "mixed_bfloat16" or "mixed_float16", see `Computation`. `compile` adds
            loss scaling under "mixed_float16".
        convolution_dtype: of the sub-generators' gated convolutions, see `GatedConv2D`.
        attention_max_bytes: `max_bytes` of `contextual_attention`.
        recompute: whether gradients compute the sub-generators' activations again, see
            `Computation`.
    """

    def __init__(
        self,
        levels: Sequence[int] = (128, 256, 512),
        width: int = 48,
        dilation: str = "adaptive",
        fusion: str = "image",
        drop_coarse: bool = False,
        kernel_initializer: str = "glorot_uniform",
        discriminator_width: int | None = 64,
        precision: str = "float32",
        convolution_dtype: str = "float32",
        attention_max_bytes: int | None = None,
        recompute: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(dtype="float32", **kwargs)
        check_levels(levels)
        self.levels = tuple(levels)
        self.precision = precision
        computation = Computation(precision, convolution_dtype, attention_max_bytes, recompute)

        def sub_generators() -> list[SubGenerator]:
            return [
                SubGenerator(
                    width,
                    rates,
                    fusion,
                    drop_coarse=drop_coarse and level > 0,
                    kernel_initializer=kernel_initializer,
                    computation=computation,
                    name=f"sub_generator_{level}",
                )
                for level, rates in enumerate(dilation_rates(dilation, len(levels)))
            ]

        self._make_sub_generators = sub_generators
        self.sub_generators = sub_generators()
        self.averaged_sub_generators: list[SubGenerator] = []
        self.discriminators: list[Discriminator] = []
        if discriminator_width is not None:
            self.discriminators = [
                Discriminator(discriminator_width, precision, name=f"discriminator_{level}")
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
        return _bottom_up(networks, inputs)

    def build_networks(self) -> None:
        """Creates every weight, for optimisers and checkpoints that need them; once."""
        if self.built and all(network.built for network in self.discriminators):
            return
        self(self._smallest_inputs())
        for discriminator in self.discriminators:
            discriminator(tf.zeros([1, 64, 64, 4]))

    def keep_averages(self) -> None:
        """Creates the networks of the moving average, with the present weights."""
        self.build_networks()
        networks = self._make_sub_generators()
        _bottom_up(networks, self._smallest_inputs())
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
        """Weights of all sub-generators, coarsest first."""
        return [v for network in self.sub_generators for v in network.weights]

    @property
    def discriminator_variables(self) -> list[tf.Variable]:
        """Trainable variables of all discriminators, coarsest first."""
        return [v for network in self.discriminators for v in network.trainable_variables]

    @property
    def scales_losses(self) -> bool:
        """Whether the optimisers of training scale their losses."""
        return self.precision == "mixed_float16"

    @property
    def step(self) -> int:
        """Updates of the sub-generators, over all stages of a training."""
        return int(self.steps_taken.numpy())

    @property
    def top(self) -> int:
        """Number of levels that training computes; the model must be compiled."""
        return self.trained_levels[-1] + 1

    def compile(
        self,
        generator_optimizer: keras.optimizers.Optimizer,
        discriminator_optimizer: keras.optimizers.Optimizer,
        objective: Objective | None = None,
        trained_levels: Sequence[int] | None = None,
        trained_since: Sequence[int] | None = None,
        clip_norm: float = 0.0,
        ema_momentum: float = 0.0,
        preprocess: Callable[..., tuple[Pyramid, Pyramid]] | None = None,
        accumulation_steps: int = 1,
        **kwargs: Any,
    ) -> None:
        """Configures training and builds the optimisers' slots, so that a checkpoint holds all.

        Args:
            generator_optimizer: one for all sub-generators.
            discriminator_optimizer: one for all discriminators.
            objective: losses and their weights; None for the paper's.
            trained_levels: levels to train, in ascending order; the others keep their weights, and
                those above the last are not computed. None for all.
            trained_since: `step` at which each of these began to be trained; None for 0.
            clip_norm: bound on the global norm of the sub-generators' gradient; 0 for none.
            ema_momentum: share of the moving average of the sub-generators' weights that is kept
                in a step, in [0, 1); 0 for no average.
            preprocess: applied to each replica's batch at the start of `train_step`.
            accumulation_steps: number of parts of each replica's batch that are computed one after
                another in a step.
            **kwargs: as of `keras.Model.compile`, such as `jit_compile`.

        Raises:
            ValueError: the number of weights is not that of the levels, or the model has no
                discriminators.
        """
        # An empty list: Keras warns of weights for which it has no metrics of its own.
        super().compile(weighted_metrics=[], **kwargs)
        if not self.discriminators:
            raise ValueError("discriminator_width must be a number in training, got None")
        self.objective = (objective or Objective()).of_levels(len(self.levels))
        self.trained_levels = tuple(trained_levels or range(len(self.levels)))
        self.trained_since = tuple(trained_since or (0,) * len(self.trained_levels))
        self.clip_norm = clip_norm
        self.ema_momentum = ema_momentum
        self.preprocess = preprocess
        self.accumulation_steps = accumulation_steps
        self.build_networks()
        if ema_momentum and not self.averaged_sub_generators:
            self.keep_averages()
        if self.scales_losses:
            generator_optimizer = with_loss_scale(generator_optimizer)
            discriminator_optimizer = with_loss_scale(discriminator_optimizer)
        generator_optimizer.build(all_variables(self._trained_generators()))
        discriminator_optimizer.build(all_variables(self._trained_discriminators()))
        self.generator_optimizer = generator_optimizer
        self.discriminator_optimizer = discriminator_optimizer
        self._train_means, self._test_means = NamedMeans(), NamedMeans()
        # The means are of all replicas. Keras would add up those that several workers return.
        self.distribute_reduction_method = "first"

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        # Keras reads this before `compile`, too.
        names = ("_train_means", "_test_means")
        return [getattr(self, name) for name in names if hasattr(self, name)]

    # No control flow here depends on values, so AutoGraph would only slow the tracing down.
    @tf.autograph.experimental.do_not_convert
    def train_step(self, data: Any) -> Logs:
        """One update of the discriminators, then one of the generators."""
        images, masks = data if self.preprocess is None else self.preprocess(*data)
        batch, parts = (images[: self.top], masks[: self.top]), self.accumulation_steps
        if parts == 1:
            gradients, terms = self._generator_gradients(*batch, update_discriminators=True)
        else:
            judged = self._apply_to_discriminators(
                *accumulate(self._discriminator_gradients, batch, parts)
            )
            gradients, terms = accumulate(self._generator_gradients, batch, parts)
            terms |= judged
        optimizer, generators = self.generator_optimizer, self._trained_generators()
        health = update("generator", optimizer, generators, gradients, self.clip_norm)
        self.steps_taken.assign_add(1)
        self._update_averages()
        # The losses first: a message about a value that is not finite names the first one.
        return self._train_means.add_batch({**terms, **health}, tf.shape(images[0])[0])

    def _generator_gradients(
        self, images: Pyramid, masks: Pyramid, update_discriminators: bool = False
    ) -> tuple[Gradients, Logs]:
        """Gradients of the sub-generators' loss, and its terms.

        With `update_discriminators`, the same results train the discriminators before they judge
        them.
        """
        generators, judged = self._trained_generators(), {}
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(all_variables(generators))
            outputs = self((images, masks), training=True)
            if update_discriminators:
                with tape.stop_recording():
                    judged = self._update_discriminators(images, masks, outputs)
            scores = {
                n: self.discriminators[n](tf.concat([outputs[n].completed, masks[n]], axis=-1))
                for n in self.trained_levels
            }
            loss, terms = self.objective.generator_loss(images, outputs, scores, self.steps_taken)
            loss = scaled_loss(self.generator_optimizer, loss)
        return tape.gradient(loss, generators), {**terms, **judged}

    def _update_discriminators(
        self, images: Pyramid, masks: Pyramid, outputs: Sequence[SubGeneratorOutput]
    ) -> Logs:
        gradients, terms = self._discriminator_gradients(images, masks, outputs)
        return self._apply_to_discriminators(gradients, terms)

    def _discriminator_gradients(
        self,
        images: Pyramid,
        masks: Pyramid,
        outputs: Sequence[SubGeneratorOutput] | None = None,
    ) -> tuple[Gradients, Logs]:
        """Gradients of the discriminators' loss, and its terms; `outputs` are computed if None."""
        if outputs is None:
            outputs = self((images, masks), training=True)
        discriminators = self._trained_discriminators()
        real_scores, fake_scores = {}, {}
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(all_variables(discriminators))
            for n in self.trained_levels:
                photographs = tf.concat([images[n], masks[n]], axis=-1)
                fakes = tf.concat([outputs[n].completed, masks[n]], axis=-1)
                scores = self.discriminators[n](tf.concat([photographs, fakes], axis=0))
                real_scores[n], fake_scores[n] = tf.split(scores, 2, axis=0)
            loss, terms = self.objective.discriminator_loss(real_scores, fake_scores)
            loss = scaled_loss(self.discriminator_optimizer, loss)
        return tape.gradient(loss, discriminators), terms

    def _apply_to_discriminators(self, gradients: Gradients, terms: Logs) -> Logs:
        """One update, and one step of the spectral norms' vectors, of the weights before it."""
        for n in self.trained_levels:
            self.discriminators[n].advance()
        discriminators, optimizer = self._trained_discriminators(), self.discriminator_optimizer
        return terms | update("discriminator", optimizer, discriminators, gradients)

    def test_step(self, data: Any) -> Logs:
        """L1 in the hole of the levels that are trained, and of filling with the mean colour."""
        images, masks, weights = keras.utils.unpack_x_y_sample_weight(data)
        if weights is None:
            weights = tf.ones(tf.shape(images[0])[:1])
        outputs = self((images[: self.top], masks[: self.top]))
        total = tf.reduce_sum(weights)
        means = {
            name: tf.math.divide_no_nan(tf.reduce_sum(weights * values), total)
            for name, values in validation_terms(images, masks, outputs).items()
        }
        return self._test_means.add_batch(means, total)

    def _trained_generators(self) -> Networks:
        """Trainable variables of each network of the trained levels' sub-generators."""
        networks = {}
        for n in self.trained_levels:
            sub_generator = self.sub_generators[n]
            if sub_generator.coarse is not None:
                networks[f"level_{n}/coarse"] = sub_generator.coarse.trainable_variables
            networks[f"level_{n}/refine"] = sub_generator.refine.trainable_variables
        return networks

    def _trained_discriminators(self) -> Networks:
        return {
            f"level_{n}/discriminator": self.discriminators[n].trainable_variables
            for n in self.trained_levels
        }

    def _update_averages(self) -> None:
        if not self.ema_momentum:
            return
        for n, since in zip(self.trained_levels, self.trained_since):
            average, network = self.averaged_sub_generators[n], self.sub_generators[n]
            steps = self.steps_taken - since
            update_averages(average.variables, network.variables, self.ema_momentum, steps)


def _bottom_up(
    networks: Sequence[SubGenerator], inputs: tuple[Pyramid, Pyramid]
) -> tuple[SubGeneratorOutput, ...]:
    """Each level's output, coarsest first."""
    outputs: list[SubGeneratorOutput] = []
    for sub_generator, image, mask in zip(networks, *inputs):
        outputs.append(sub_generator(image, mask, outputs[-1] if outputs else None))
    return tuple(outputs)
