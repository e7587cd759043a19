"""The paper's face-inpainting model: `paper_512` on CelebA-HQ, resized to 512 (section 4)."""

from pgi.config import DataConfig, ExperimentConfig


def get_config() -> ExperimentConfig:
    """128 + 256 + 512, width 48, batch 4, whole images."""
    return ExperimentConfig(name="celeba_hq", data=DataConfig(dataset="celeba_hq", crop="resize"))
