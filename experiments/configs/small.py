"""A small pyramid that fills holes after about five minutes on two CPU cores.

Found by experiments on `samples` (docs/TRAINING.md has the numbers). Unlike the paper's
configuration it trains bottom-up: half of the steps go to the lowest level, where a step is cheap,
and each level starts with the weights of the level below. It initialises with `gated_he` (under
Glorot a new network returns grey for minutes), supervises the coarse results too, clips the
gradient, averages the weights, and augments the few photographs by mirroring, rotation and colour.
"""

from pgi.config import DataConfig, ExperimentConfig, LossConfig, ModelConfig, TrainConfig


def get_config() -> ExperimentConfig:
    """32 + 64 + 128, width 16, batches of 8, 8 and 4."""
    return ExperimentConfig(
        name="small",
        model=ModelConfig(
            levels=(32, 64, 128), width=16, kernel_initializer="gated_he", discriminator_width=16
        ),
        loss=LossConfig(coarse_l1_weight=1.0, adversarial_weight=0.01, adversarial_warmup=0.5),
        data=DataConfig(
            crop="random_resized",
            flip=True,
            rotate=True,
            colour_jitter=0.3,
            validation_images=16,
        ),
        train=TrainConfig(
            learning_rate=1e-3,
            learning_rate_schedule="cosine",
            warmup_steps=50,
            beta_1=0.9,
            beta_2=0.99,
            clip_norm=0.5,
            steps=2700,
            schedule="bottom_up",
            stage_shares=(0.5, 0.25, 0.25),
            stage_batch_multiples=(2, 2, 1),
            level_start="below",
            ema_momentum=0.99,
            snapshot_steps=300,
        ),
    )
