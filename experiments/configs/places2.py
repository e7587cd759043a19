"""The paper's object-inpainting model: `paper_512` on Places2's train and val (section 4)."""

from pgi.config import DataConfig, ExperimentConfig


def get_config() -> ExperimentConfig:
    """128 + 256 + 512, width 48, batch 4, random crops."""
    return ExperimentConfig(name="places2", data=DataConfig(dataset="places2", crop="random"))
