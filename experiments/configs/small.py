"""A small pyramid that learns something on a few photographs in minutes, on two CPU cores.

Sizes and width are what two cores can do. Unlike the paper's configuration it starts from
`gated_he`: under Glorot a fresh network returns grey, and would spend the minutes waking up.
"""

from pgi.config import DataConfig, ExperimentConfig, LossConfig, ModelConfig, TrainConfig


def get_config() -> ExperimentConfig:
    """32 + 64 + 128, width 16, batch 4."""
    return ExperimentConfig(
        name="small",
        model=ModelConfig(
            levels=(32, 64, 128), width=16, kernel_initializer="gated_he", discriminator_width=16
        ),
        loss=LossConfig(adversarial_warmup_steps=2000),
        data=DataConfig(
            dataset="samples", crop="random_resized", augment=True, validation_images=16
        ),
        train=TrainConfig(learning_rate=5e-4, snapshot_steps=50),
    )
