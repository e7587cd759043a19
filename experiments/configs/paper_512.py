"""The paper's model: 128 + 256 + 512, width 48, batch 4 (section 4)."""

from pgi.config import ExperimentConfig


def get_config() -> ExperimentConfig:
    """The defaults of `pgi.config` are the paper's values."""
    return ExperimentConfig(name="paper_512")
