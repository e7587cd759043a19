"""One level of the pyramid, G_n: a DeepFillv2 generator that takes the result of the level below.

    masked image, mask -> coarse network -> coarse + upsampled lower result (eq. 3)
        -> pasted into the image -> refine network -> pasted into the image

The paper fuses images, before the refine network. Table 4 compares that with fusing for only one of
the refine network's two paths and with fusing features. All of these are options here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf
from tensorflow import keras

from pgi.images import complete, remove_hole
from pgi.layers.resize import dimensions, double_bilinear
from pgi.models.blocks import PLAIN, Computation
from pgi.models.coarse import CoarseNetwork
from pgi.models.refine import RefineFeatures, RefineNetwork
from pgi.rules import check_fusion, check_precision


class SubGeneratorOutput(NamedTuple):
    """Results of a level, and the features that the level above may fuse.

    Attributes:
        coarse: `[B, H, W, 3]` in (-1, 1), raw result of the coarse network; without a coarse
            network, the upsampled result of the level below.
        refined: `[B, H, W, 3]` in (-1, 1), raw result of the refine network.
        completed: `[B, H, W, 3]` in [-1, 1], `refined` in the hole and the image elsewhere.
        coarse_features: `[B, H/4, W/4, 2 * width]`; None without a coarse network.
        refine_features: the two paths' `[B, H/4, W/4, 2 * width]`.
    """

    coarse: tf.Tensor
    refined: tf.Tensor
    completed: tf.Tensor
    coarse_features: tf.Tensor | None
    refine_features: RefineFeatures


class SubGenerator(keras.layers.Layer):
    """Sub-generator of one level: a DeepFillv2 generator, fused with the level below (eqs. 1 to 3).

    Called as `output = sub_generator(masked_image, mask, lower=None)`: `masked_image`
    `[B, H, W, 3]` in [-1, 1], whose pixels under the mask change nothing; `mask`
    `[B or 1, H, W, 1]`, 1 = hole; H and W multiples of 8; `lower` the `SubGeneratorOutput` of the
    level below, at half the height and width. Returns a `SubGeneratorOutput`.

    Args:
        width: filters of the first gated convolutions, a multiple of 4.
        dilation_rates: of the coarse network and of the refine network's convolution path.
        fusion: one of `pgi.rules.FUSIONS` (Table 4). "image": the completed image of the level
            below is added to the coarse result (equation 3). "image_attention",
            "image_convolution": the same for one path of the refine network; the other path gets
            the coarse result alone. "feature_coarse", "feature_refine": features of the level below
            are added to this level's. "none": no fusion.
        drop_coarse: no coarse network (section 3.1.2); the upsampled result of the level below
            replaces the sum. Needs a level below and fusion "image".
        kernel_initializer: "glorot_uniform" or "gated_he".
        computation: how it is computed.

    Raises:
        ValueError: in a call, H or W is no multiple of 8, or `lower` is missing but there is no
            coarse network.
    """

    def __init__(
        self,
        width: int = 48,
        dilation_rates: Sequence[int] = (2, 4, 8, 16),
        fusion: str = "image",
        drop_coarse: bool = False,
        kernel_initializer: str = "glorot_uniform",
        computation: Computation = PLAIN,
        **kwargs: Any,
    ) -> None:
        super().__init__(dtype="float32", **kwargs)
        check_fusion(fusion, drop_coarse)
        check_precision(computation.precision, computation.convolution_dtype)
        self.fusion = fusion
        arguments = (width, dilation_rates, kernel_initializer, computation)
        self.coarse = None if drop_coarse else CoarseNetwork(*arguments, name="coarse")
        self.refine = RefineNetwork(*arguments, name="refine")

    def call(
        self, masked_image: tf.Tensor, mask: tf.Tensor, lower: SubGeneratorOutput | None = None
    ) -> SubGeneratorOutput:
        if any(size is not None and size % 8 for size in masked_image.shape[1:3]):
            raise ValueError(
                f"height and width must be multiples of 8, got {tuple(masked_image.shape[1:3])}"
            )
        image = remove_hole(masked_image, mask)
        batch, height, width, _ = dimensions(image)
        mask = tf.broadcast_to(mask, [batch, height, width, 1])

        coarse, coarse_features, fused = self._first_stage(image, mask, lower)
        refined, refine_features = self.refine(
            *self.refine_inputs(image, mask, coarse, fused),
            mask,
            self._lower_features("feature_refine", lower),
        )
        completed = complete(image, refined, mask)
        return SubGeneratorOutput(coarse, refined, completed, coarse_features, refine_features)

    def refine_inputs(
        self, image: tf.Tensor, mask: tf.Tensor, coarse: tf.Tensor, fused: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Completed inputs of the refine network's convolution path and of its attention path."""
        pasted_coarse, pasted_fused = complete(image, coarse, mask), complete(image, fused, mask)
        return (
            pasted_coarse if self.fusion == "image_attention" else pasted_fused,
            pasted_coarse if self.fusion == "image_convolution" else pasted_fused,
        )

    def _first_stage(
        self, image: tf.Tensor, mask: tf.Tensor, lower: SubGeneratorOutput | None
    ) -> tuple[tf.Tensor, tf.Tensor | None, tf.Tensor]:
        """Coarse result, coarse features, and the sum of equation 3."""
        upsampled = None
        if lower is not None and self.fusion.startswith("image"):
            upsampled = double_bilinear(lower.completed)
        if self.coarse is None:
            if upsampled is None:
                raise ValueError("drop_coarse needs a level below: lower must not be None")
            return upsampled, None, upsampled
        coarse, features = self.coarse(image, mask, self._lower_features("feature_coarse", lower))
        return coarse, features, coarse if upsampled is None else coarse + upsampled

    def _lower_features(self, fusion: str, lower: SubGeneratorOutput | None) -> Any:
        """Features of the level below, doubled in height and width, if `fusion` is this level's."""
        if lower is None or self.fusion != fusion:
            return None
        features = lower.coarse_features if fusion == "feature_coarse" else lower.refine_features
        return tf.nest.map_structure(double_bilinear, features)
