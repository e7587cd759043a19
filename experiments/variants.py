"""Variants of the paper's model for the ablations, each changed in one place, at three scales.

layers     Table 3: two levels against three
fusion     Table 4: where a level's result enters the next
dilation   Table 5: standard against adaptive
further    variants without numbers in the paper, and its baselines, pyramids of one level

Variants without the highest level are trained on crops of their own size, as the paper's DeepFillv2
is. Such a crop has a quarter of the pixels, and shows less of the photograph, than the crop that
the paper's model halves for its lower levels. So these variants come in two forms: "downsampled"
learns from crops of the highest level's size, averaged down.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from experiments.configs import paper_512
from pgi.config import DataConfig, ExperimentConfig, LossConfig, ModelConfig, TrainConfig
from pgi.rules import check_choice

OURS = "pg"


@dataclass(frozen=True)
class Variant:
    """The differences of a variant from the paper's model.

    Attributes:
        title: in tables and pictures; `{levels}` becomes the sides of its levels.
        levels: which of the scale's three levels it has.
        model: fields of `ModelConfig` that differ.
        loss: of `LossConfig`.
        mask: of `MaskConfig`.
        data: of `DataConfig`.
        train: of `TrainConfig`.
        steps: number of trainings' worth of steps, so 3 for n steps a level where all others take
            n steps in all.
    """

    title: str
    levels: tuple[int, ...] = (0, 1, 2)
    model: Mapping[str, Any] = field(default_factory=dict)
    loss: Mapping[str, Any] = field(default_factory=dict)
    mask: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    train: Mapping[str, Any] = field(default_factory=dict)
    steps: int = 1


def _deepfillv2(title: str, level: int, **fields: Any) -> Variant:
    return Variant(
        title,
        levels=(level,),
        model={"dilation": "standard", "fusion": "none"},
        loss={"coarse_l1_weight": 1.0},
        **fields,
    )


# Crops of the highest level's size, for variants that lack this level.
_DOWNSAMPLED = {"downsample": 2}

VARIANTS = {
    "pg_lower": Variant("PG_{levels}", levels=(0, 1)),
    "pg_lower_downsampled": Variant(
        "PG_{levels}, downsampled crops", levels=(0, 1), data=_DOWNSAMPLED
    ),
    "pg_upper": Variant("PG_{levels}", levels=(1, 2)),
    OURS: Variant("PG_{levels} (ours)"),
    "feature_coarse": Variant("feature-level, coarse", model={"fusion": "feature_coarse"}),
    "feature_refine": Variant("feature-level, refine", model={"fusion": "feature_refine"}),
    "image_attention": Variant("image-level, attention path", model={"fusion": "image_attention"}),
    "image_convolution": Variant(
        "image-level, non-attention path", model={"fusion": "image_convolution"}
    ),
    "standard_dilation": Variant("standard dilation", model={"dilation": "standard"}),
    "drop_coarse": Variant("no coarse stage above the bottom", model={"drop_coarse": True}),
    "layerwise": Variant(
        "layer by layer, all steps shared by the levels", train={"schedule": "layerwise"}
    ),
    "layerwise_longer": Variant(
        "layer by layer, all steps for each level", train={"schedule": "layerwise"}, steps=3
    ),
    "coarse_l1": Variant("L1 on coarse results too", loss={"coarse_l1_weight": 1.0}),
    "square_center": Variant("training square in the centre", mask={"square": "center"}),
    "deepfillv2": _deepfillv2("DeepFillv2, {levels}", 1),
    "deepfillv2_downsampled": _deepfillv2(
        "DeepFillv2, {levels}, downsampled crops", 1, data=_DOWNSAMPLED
    ),
    "deepfillv2_dagger": _deepfillv2("DeepFillv2†, {levels}", 2),
}

GROUPS = {
    "layers": ("pg_lower", "pg_lower_downsampled", "pg_upper", OURS),
    "fusion": ("feature_coarse", "feature_refine", "image_attention", "image_convolution", OURS),
    "dilation": ("standard_dilation", OURS),
    "further": (
        OURS,
        "drop_coarse",
        "layerwise",
        "layerwise_longer",
        "coarse_l1",
        "square_center",
        "deepfillv2",
        "deepfillv2_downsampled",
        "deepfillv2_dagger",
    ),
}


@dataclass(frozen=True)
class Scale:
    """Size of the networks, length of the training, and datasets.

    Attributes:
        base: config of all variants, with the dataset of their training.
        evaluated_on: dataset; variants are compared on its validation photographs.
        crops: number of crops per photograph.
    """

    base: ExperimentConfig
    evaluated_on: str
    crops: int = 1


def _small(
    dataset: str, width: int, batch_size: int, steps: int, snapshot: int
) -> ExperimentConfig:
    """The paper's joint training and optimiser, adapted to few steps (docs/TRAINING.md).

    At a higher learning rate than the paper's, variants without L1 on the coarse results become
    unstable. No value depends on the number of steps, so a finished variant can be trained further.
    """
    return ExperimentConfig(
        model=ModelConfig(
            levels=(32, 64, 128),
            width=width,
            kernel_initializer="gated_he",
            discriminator_width=16,
        ),
        loss=LossConfig(adversarial_weight=0.02),
        data=DataConfig(dataset, crop="random_resized", flip=True, rotate=True, colour_jitter=0.3),
        train=TrainConfig(
            batch_size=batch_size,
            ema_momentum=0.99,
            steps=steps,
            snapshot_steps=snapshot,
        ),
    )


def _paper() -> ExperimentConfig:
    config = paper_512.get_config()
    return replace(config, data=replace(config.data, dataset="places2"))


SCALES = {
    # Two minutes a variant on two CPU cores.
    "tiny": Scale(_small("samples", 16, 2, 300, 100), "samples", crops=8),
    # An hour a variant.
    "small": Scale(_small("photos", 24, 4, 6000, 500), "photos", crops=4),
    "paper": Scale(_paper(), "div2k"),
}


def variant_config(name: str, base: ExperimentConfig, seed: int = 0) -> ExperimentConfig:
    """The experiment that trains a variant.

    Args:
        name: of `VARIANTS`.
        base: the paper's model at some scale, with three levels.
        seed: of weights, data and masks.

    Raises:
        RuleError: the variant is unknown.
    """
    check_choice("variant", tuple(VARIANTS), name)
    variant = VARIANTS[name]
    levels = tuple(base.model.levels[level] for level in variant.levels)
    weights = (10.0,) + (1.0,) * (len(levels) - 1) if len(levels) > 1 else (1.0,)
    return replace(
        base,
        name=name,
        model=replace(base.model, levels=levels, **variant.model),
        loss=replace(base.loss, level_weights=weights, **variant.loss),
        mask=replace(base.mask, **variant.mask),
        data=replace(base.data, **variant.data),
        train=replace(
            base.train, seed=seed, **variant.train, steps=variant.steps * base.train.steps
        ),
    )


def title(name: str, config: ExperimentConfig) -> str:
    """A variant's name in tables and pictures."""
    return VARIANTS[name].title.format(levels="+".join(map(str, config.model.levels)))


def ours_among(kinds: Mapping[str, str]) -> str | None:
    """The method to compare others with: the paper's model, or else the first trained one.

    Args:
        kinds: kind by method, as in `pgi.evaluation.results.Evaluation`.
    """
    trained = [name for name, kind in kinds.items() if kind == "trained"]
    return OURS if OURS in trained else next(iter(trained), None)
