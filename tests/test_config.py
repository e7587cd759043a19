"""Configs: a broken rule is an error that names its field, and JSON keeps every value."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import pytest

from pgi import rules
from pgi.config import (
    DataConfig,
    ExperimentConfig,
    LossConfig,
    MaskConfig,
    ModelConfig,
    TrainConfig,
    differences,
    from_dict,
    to_dict,
)
from pgi.errors import RuleError

# Kind, field, a value that breaks its rule, and words of the rule.
BROKEN = [
    (ModelConfig, "levels", (), "must start with a positive multiple of 8"),
    (ModelConfig, "levels", (0, 0), "must start with a positive multiple of 8"),
    (ModelConfig, "levels", (-8, -16), "must start with a positive multiple of 8"),
    (ModelConfig, "levels", (12, 24), "must start with a positive multiple of 8"),
    (ModelConfig, "levels", (128, 200), "must double"),
    (ModelConfig, "levels", (512, 256, 128), "must double"),
    (ModelConfig, "levels", (128, 256, 256), "must double"),
    (ModelConfig, "levels", (4096, 8192, 16384), "must be at most 6 levels of at most 8192 px"),
    (ModelConfig, "levels", tuple(8 * 2**n for n in range(7)), "must be at most 6 levels"),
    (ModelConfig, "width", 10**6, "must be at most 256"),
    (ModelConfig, "discriminator_width", 10**6, "must be at most 256"),
    (ModelConfig, "width", 0, "must be a positive multiple of 4"),
    (ModelConfig, "width", -4, "must be a positive multiple of 4"),
    (ModelConfig, "width", 30, "must be a positive multiple of 4"),
    (ModelConfig, "dilation", "Adaptive", "must be one of adaptive, standard"),
    (ModelConfig, "fusion", "attention", "must be one of image, image_attention"),
    (ModelConfig, "kernel_initializer", "he", "must be one of glorot_uniform, gated_he"),
    (ModelConfig, "discriminator_width", 0, "must be positive"),
    (LossConfig, "level_weights", (1.0, -0.5), "must be all at least 0"),
    (LossConfig, "level_weights", (1.0, math.nan), "must be all at least 0"),
    (LossConfig, "l1_weight", -1.0, "must be at least 0"),
    (LossConfig, "l1_weight", math.nan, "must be at least 0"),
    (LossConfig, "coarse_l1_weight", -1e-9, "must be at least 0"),
    (LossConfig, "adversarial_weight", -1.0, "must be at least 0"),
    (LossConfig, "adversarial_warmup", 1.5, "must be in [0, 1]"),
    (LossConfig, "adversarial_warmup", -0.1, "must be in [0, 1]"),
    (MaskConfig, "square", "centre", "must be one of random, center"),
    (MaskConfig, "min_stroke_width", 0, "must be positive and in order"),
    (MaskConfig, "min_stroke_width", 41, "must be positive and in order"),
    (MaskConfig, "max_stroke_width", 11, "must be positive and in order"),
    (DataConfig, "dataset", "", 'must be named, such as "samples"'),
    (DataConfig, "crop", "centre", "must be one of random, resize, random_resized"),
    (DataConfig, "colour_jitter", 1.5, "must be in [0, 1]"),
    (DataConfig, "downsample", 0, "must be positive"),
    (DataConfig, "validation_images", 0, "must be positive"),
    (TrainConfig, "batch_size", 0, "must be positive"),
    (TrainConfig, "learning_rate", 0.0, "must be positive"),
    (TrainConfig, "learning_rate", math.nan, "must be positive"),
    (TrainConfig, "beta_1", 1.0, "must be in [0, 1)"),
    (TrainConfig, "beta_1", -0.1, "must be in [0, 1)"),
    (TrainConfig, "beta_2", 1.0, "must be in [0, 1)"),
    (TrainConfig, "steps", 0, "must be positive"),
    (TrainConfig, "minutes", -1.0, "must be at least 0"),
    (TrainConfig, "snapshot_steps", 0, "must be positive"),
    (TrainConfig, "keep_checkpoints", 0, "must be positive"),
    (TrainConfig, "schedule", "alternating", "must be one of joint, layerwise"),
    (TrainConfig, "ema_momentum", 1.0, "must be in [0, 1)"),
    (TrainConfig, "learning_rate_schedule", "linear", "must be one of constant, cosine"),
    (TrainConfig, "warmup_steps", -1, "must be at least 0"),
    (TrainConfig, "epsilon", 0.0, "must be positive"),
    (TrainConfig, "clip_norm", -0.5, "must be at least 0"),
    (TrainConfig, "clip_norm", math.nan, "must be at least 0"),
    (TrainConfig, "stage_shares", (0.5, 0.0, 0.5), "must be all positive"),
    (TrainConfig, "stage_batch_multiples", (4, -1, 4), "must be all positive"),
    (TrainConfig, "level_start", "above", "must be one of initializer, below"),
    (TrainConfig, "convolution_dtype", "float16", "must be one of float32, bfloat16"),
    (TrainConfig, "precision", "float16", "must be one of float32, mixed_bfloat16, mixed_float16"),
    (TrainConfig, "accumulation_steps", 0, "must be positive"),
    (TrainConfig, "accumulation_steps", -2, "must be positive"),
    (TrainConfig, "attention_megabytes", 0, "must be positive"),
    (TrainConfig, "initial_weights", "deepfillv2:", "must be followed by a path"),
    (TrainConfig, "milestone_steps", -1, "must be at least 0"),
    (TrainConfig, "milestone_hours", -0.5, "must be at least 0"),
    (TrainConfig, "seed", -1, "must be in [0, 2**31 - 1)"),
    (TrainConfig, "seed", 2**31 - 1, "must be in [0, 2**31 - 1)"),
]
PARTS = {
    ModelConfig: "model",
    LossConfig: "loss",
    MaskConfig: "mask",
    DataConfig: "data",
    TrainConfig: "train",
}


@pytest.mark.parametrize("kind, field, value, rule", BROKEN)
def test_a_broken_rule_is_an_error_that_names_field_rule_and_value(
    kind: type, field: str, value: object, rule: str
) -> None:
    for make in (
        lambda: kind(**{field: value}),
        lambda: from_dict({PARTS[kind]: {field: value}}),
    ):
        with pytest.raises(RuleError) as error:
            make()
        message = str(error.value)
        assert field in message and rule in message
        assert f"{value!r}" in message[message.rindex("got ") :]


def test_every_field_but_switches_has_a_rule_that_is_tried_above() -> None:
    fields = {
        (kind, field.name): field.type for kind in PARTS for field in dataclasses.fields(kind)
    }
    untried = set(fields) - {(kind, name) for kind, name, *_ in BROKEN}
    assert {key for key in untried if fields[key] is not bool} == set()


@pytest.mark.parametrize(
    "kind, values",
    [
        (ModelConfig, {"levels": (8,), "width": 4, "discriminator_width": 1}),
        (ModelConfig, {"levels": tuple(256 * 2**n for n in range(6)), "width": 256}),
        (ModelConfig, {"drop_coarse": True}),
        (LossConfig, {"level_weights": (0.0, 0.0, 0.0), "adversarial_weight": 0.0}),
        (MaskConfig, {"min_stroke_width": 7, "max_stroke_width": 7}),
        (TrainConfig, {"beta_1": 0.0, "beta_2": 0.0, "minutes": 0.0, "seed": 0, "batch_size": 1}),
    ],
)
def test_values_on_the_border_of_their_rules_are_allowed(
    kind: type, values: dict[str, Any]
) -> None:
    made = kind(**values)
    assert {name: getattr(made, name) for name in values} == values


# Rules between fields


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "/tmp/x", "a/b", "a\0"])
def test_a_name_is_no_path(name: str) -> None:
    for make in (lambda: ExperimentConfig(name=name), lambda: from_dict({"name": name})):
        with pytest.raises(RuleError, match="name must be the name of a file, without a folder"):
            make()
    assert ExperimentConfig(name="..my run, 2").name == "..my run, 2"


def test_there_is_one_weight_a_level() -> None:
    for weights in ((1.0, 1.0), (1.0,) * 4, ()):
        with pytest.raises(RuleError, match="must have one weight for each of 3 levels") as e:
            ExperimentConfig(loss=LossConfig(level_weights=weights))
        assert str(weights) in str(e.value)
    ExperimentConfig(model=ModelConfig(levels=(8, 16)), loss=LossConfig(level_weights=(1.0, 2.0)))


@pytest.mark.parametrize("fusion", rules.FUSIONS)
def test_dropping_the_coarse_networks_leaves_image_fusion_only(fusion: str) -> None:
    assert ModelConfig(fusion=fusion).fusion == fusion
    if fusion == "image":
        assert ModelConfig(fusion=fusion, drop_coarse=True).drop_coarse
    else:
        with pytest.raises(RuleError, match=f"fusion must be .*drop_coarse, got '{fusion}'"):
            ModelConfig(fusion=fusion, drop_coarse=True)


def test_a_rule_error_is_a_value_error_of_one_shape() -> None:
    rules.check("height", "even", True, 3)
    with pytest.raises(ValueError) as error:
        rules.check("height", "even", False, 3)
    assert str(error.value) == "height must be even, got 3"
    rules.check_choice("kind", ("a", "b"), "b")
    with pytest.raises(RuleError) as error:
        rules.check_choice("kind", ("a", "b"), "c")
    assert str(error.value) == "kind must be one of a, b, got 'c'"


def test_levels_may_be_any_sequence() -> None:
    rules.check_levels([128, 256])
    with pytest.raises(RuleError, match=r"levels must double, got \(128, 200\)"):
        rules.check_levels([128, 200])


# To dicts and back


CONFIGS = [
    ExperimentConfig(),
    ExperimentConfig(
        name="other",
        model=ModelConfig(levels=(8, 16), width=4, fusion="none", discriminator_width=4),
        loss=LossConfig(level_weights=(0.1, 1 / 3), l1_weight=1e-300),
        mask=MaskConfig(square="center", scale_strokes=False),
        data=DataConfig(dataset="folder:/my photographs/Übung", crop="resize"),
        train=TrainConfig(learning_rate=0.1 + 0.2, seed=2**31 - 2, schedule="layerwise"),
    ),
]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
def test_a_config_survives_json(config: ExperimentConfig) -> None:
    values = to_dict(config)
    back = from_dict(json.loads(json.dumps(values)))
    assert back == config
    assert isinstance(back.model, ModelConfig) and isinstance(back.model.levels, tuple)
    assert to_dict(back) == values


def test_changing_a_configs_dict_leaves_the_config_alone() -> None:
    config = ExperimentConfig()
    to_dict(config)["train"]["steps"] = 3
    assert config == ExperimentConfig()


def test_what_a_dict_leaves_out_keeps_its_default() -> None:
    assert from_dict({}) == ExperimentConfig()
    expected = ExperimentConfig(train=TrainConfig(steps=7))
    assert from_dict({"train": {"steps": 7}}) == expected


@pytest.mark.parametrize(
    "values, keys",
    [
        ({"nmae": "x"}, "nmae"),
        ({"train": {"lerning_rate": 1}}, "train.lerning_rate"),
        ({"model": {"width": 8, "b": 1, "a": 2}}, "model.a, model.b"),
    ],
)
def test_unknown_keys_are_an_error_that_names_them_in_full(
    values: dict[str, Any], keys: str
) -> None:
    with pytest.raises(RuleError) as error:
        from_dict(values)
    assert str(error.value) == f"unknown config keys: {keys}"


def test_rules_between_fields_are_checked_after_json_too() -> None:
    with pytest.raises(RuleError, match="level_weights must have one weight"):
        from_dict({"model": {"levels": [128, 256]}})


# Differences


def test_equal_configs_have_no_differences() -> None:
    for config in CONFIGS:
        values = to_dict(config)
        assert differences(values, to_dict(config)) == []
        # JSON makes lists of tuples.
        assert differences(json.loads(json.dumps(values)), values) == []
        assert differences(values, json.loads(json.dumps(values))) == []


@pytest.mark.parametrize("kind", PARTS)
def test_every_field_that_differs_has_a_line(kind: type) -> None:
    ours, part = to_dict(ExperimentConfig()), PARTS[kind]
    for name, value in ours[part].items():
        theirs = to_dict(ExperimentConfig())
        theirs[part][name] = "another"
        assert differences(ours, theirs) == [f"{part}.{name}: {value!r}, not 'another'"]
        assert differences(theirs, ours) == [f"{part}.{name}: 'another', not {value!r}"]


def test_differences_come_in_order_and_keys_may_be_missing() -> None:
    ours = {"b": {"y": 1, "x": (1, 2)}, "a": 0, "same": [3]}
    theirs = {"b": {"y": 1, "x": (1, 3)}, "c": 5, "same": (3,)}
    assert differences(ours, theirs) == [
        "a: 0, not None",
        "b.x: (1, 2), not (1, 3)",
        "c: None, not 5",
    ]
