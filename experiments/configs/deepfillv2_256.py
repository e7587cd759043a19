"""DeepFillv2 as a pyramid of one level: the baseline of every table of the paper.

Differs from DeepFillv2 ("Free-Form Image Inpainting with Gated Convolution") as the whole project
does: the discriminator's hinge is not halved, and each sample has a mask of its own.
"""

from pgi.config import ExperimentConfig, LossConfig, ModelConfig


def get_config() -> ExperimentConfig:
    """256, width 48, batch 4, standard dilation, L1 on the coarse result too."""
    return ExperimentConfig(
        name="deepfillv2_256",
        model=ModelConfig(levels=(256,), dilation="standard", fusion="none"),
        loss=LossConfig(level_weights=(1.0,), coarse_l1_weight=1.0),
    )
