"""Variants differ from the paper's model in what they are named after, and in nothing else."""

from __future__ import annotations

import pytest

from experiments.configs import deepfillv2_256, paper_512
from experiments.variants import GROUPS, OURS, SCALES, VARIANTS, title, variant_config
from pgi.config import differences, to_dict
from pgi.errors import RuleError
from pgi.training.stages import stages

PAPER = SCALES["paper"].base
DIFFERENCES = {
    "pg_lower": {"model.levels", "loss.level_weights"},
    "pg_lower_downsampled": {"model.levels", "loss.level_weights", "data.downsample"},
    "pg_upper": {"model.levels", "loss.level_weights"},
    "feature_coarse": {"model.fusion"},
    "feature_refine": {"model.fusion"},
    "image_attention": {"model.fusion"},
    "image_convolution": {"model.fusion"},
    "standard_dilation": {"model.dilation"},
    "drop_coarse": {"model.drop_coarse"},
    "layerwise": {"train.schedule"},
    "layerwise_longer": {"train.schedule", "train.steps"},
    "coarse_l1": {"loss.coarse_l1_weight"},
    "square_center": {"mask.square"},
}


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", DIFFERENCES)
def test_a_variant_differs_in_its_own_fields_alone(name: str, scale: str) -> None:
    ours, theirs = (variant_config(x, SCALES[scale].base, seed=1) for x in (OURS, name))
    lines = differences(to_dict(ours), to_dict(theirs))
    assert {line.split(":")[0] for line in lines} == {"name", *DIFFERENCES[name]}


def test_ours_at_the_papers_scale_is_the_papers_model_on_places2() -> None:
    lines = differences(to_dict(variant_config(OURS, PAPER)), to_dict(paper_512.get_config()))
    assert lines == ["data.dataset: 'places2', not 'samples'", "name: 'pg', not 'paper_512'"]


def test_levels_and_their_weights_are_those_of_the_tables() -> None:
    found = {name: variant_config(name, PAPER) for name in VARIANTS}
    assert found["pg_lower"].model.levels == (128, 256)
    assert found["pg_upper"].model.levels == (256, 512)
    assert found["pg_upper"].loss.level_weights == (10.0, 1.0)
    assert found["deepfillv2_dagger"].model.levels == (512,)
    assert title("pg_upper", found["pg_upper"]) == "PG_256+512"
    assert title("deepfillv2_dagger", found["deepfillv2_dagger"]) == "DeepFillv2†, 512"


def test_the_baseline_is_that_of_its_own_config() -> None:
    lines = differences(
        to_dict(variant_config("deepfillv2", PAPER)), to_dict(deepfillv2_256.get_config())
    )
    assert [line.split(":")[0] for line in lines] == ["data.dataset", "name"]


def test_every_variant_is_in_a_group_and_every_group_has_ours() -> None:
    assert {name for names in GROUPS.values() for name in names} == set(VARIANTS)
    assert all(OURS in names for names in GROUPS.values())
    baselines = {"deepfillv2", "deepfillv2_downsampled", "deepfillv2_dagger"}
    assert set(DIFFERENCES) | {OURS} | baselines == set(VARIANTS)


def test_a_level_trained_alone_longer_takes_as_many_steps_as_the_papers_model() -> None:
    longer = variant_config("layerwise_longer", PAPER)
    taken = [stage.last_step - stage.first_step for stage in stages(longer)]
    assert taken == [PAPER.train.steps] * 3


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", ["pg_lower_downsampled", "deepfillv2_downsampled"])
def test_downsampled_crops_have_the_highest_levels_size(name: str, scale: str) -> None:
    base = SCALES[scale].base
    config = variant_config(name, base)
    assert config.data.downsample * config.model.levels[-1] == base.model.levels[-1]
    plain = variant_config(name.removesuffix("_downsampled"), base)
    lines = differences(to_dict(plain), to_dict(config))
    assert lines[0] == "data.downsample: 1, not 2" and [x[:4] for x in lines[1:]] == ["name"]


def test_an_unknown_variant_is_named() -> None:
    with pytest.raises(RuleError, match=r"variant must be one of pg_lower, .*got 'pg_upmost'"):
        variant_config("pg_upmost", PAPER)
