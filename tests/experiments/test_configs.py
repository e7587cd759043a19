"""Every shipped config is valid and has the parameters that it should have."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from pgi.config import ExperimentConfig, from_dict, to_dict
from pgi.training import assembly
from pgi.training.summary import parameters, summarize

CONFIGS = Path(__file__).parents[2] / "experiments" / "configs"
NAMES = sorted(path.stem for path in CONFIGS.glob("*.py") if path.stem != "__init__")


def shipped(name: str) -> ExperimentConfig:
    return importlib.import_module(f"experiments.configs.{name}").get_config()


def gated(kernel: int, inputs: int, filters: int) -> int:
    return kernel * kernel * inputs * filters + filters


def expected_sub_generator(width: int, dilations: int) -> int:
    """The reference's layers, counted by hand: inputs, then filters, of which half come out."""
    w = width
    decoder = 2 * w * 4 * w, 2 * w * 2 * w, w * 2 * w, w * w, w // 2 * w // 2
    decoder_biases = 4 * w + 2 * w + 2 * w + w + w // 2
    tail = 9 * sum(decoder) + decoder_biases + 9 * (w // 4) * 3 + 3
    coarse = gated(5, 5, w) + gated(3, w // 2, 2 * w) + gated(3, w, 2 * w) + gated(3, w, 4 * w)
    coarse += (2 + dilations + 1) * gated(3, 2 * w, 4 * w)
    paths = 2 * (gated(5, 3, w) + gated(3, w // 2, w) + gated(3, w // 2, 2 * w))
    paths += gated(3, w, 2 * w) + gated(3, w, 4 * w) + gated(3, 2 * w, 4 * w)
    paths += dilations * gated(3, 2 * w, 4 * w)
    paths += gated(3, w, 4 * w) + 2 * gated(3, 2 * w, 4 * w) + 2 * gated(3, 2 * w, 4 * w)
    return coarse + tail + paths + gated(3, 4 * w, 4 * w) + tail


def expected_discriminator(width: int) -> int:
    filters = [4, width, *(width * multiple for multiple in (2, 4, 4, 4, 4))]
    return sum(gated(5, inputs, outputs) for inputs, outputs in zip(filters, filters[1:]))


def test_the_hand_count_is_the_references() -> None:
    assert expected_sub_generator(48, dilations=4) == 4_052_478
    assert expected_discriminator(64) == 5_946_816


@pytest.mark.parametrize(("name", "crop"), [("places2", "random"), ("celeba_hq", "resize")])
def test_the_papers_datasets_are_trained_on_as_section_4_says(name: str, crop: str) -> None:
    config = shipped(name)
    model, train, loss, mask = config.model, config.train, config.loss, config.mask
    assert (config.data.dataset, config.data.crop, config.data.flip) == (name, crop, False)
    assert (model.levels, model.width, model.dilation) == ((128, 256, 512), 48, "adaptive")
    assert (model.fusion, model.drop_coarse, train.schedule) == ("image", False, "joint")
    assert (train.batch_size, train.learning_rate) == (4, 1e-4)
    assert (loss.level_weights, loss.l1_weight, loss.adversarial_weight) == ((10, 1, 1), 1, 1)
    assert (mask.square, mask.min_stroke_width, mask.max_stroke_width) == ("random", 12, 40)


@pytest.mark.parametrize("name", NAMES)
def test_the_networks_have_the_parameters_that_their_layers_add_up_to(name: str) -> None:
    config = shipped(name)
    model = assembly.make_model(config)
    for level, (sub_generator, discriminator) in enumerate(
        zip(model.sub_generators, model.discriminators)
    ):
        adaptive = config.model.dilation == "adaptive" and level > 0
        count = expected_sub_generator(config.model.width, dilations=3 if adaptive else 4)
        assert parameters(sub_generator) == count
        assert parameters(discriminator) == expected_discriminator(config.model.discriminator_width)


@pytest.mark.parametrize("name", NAMES)
def test_the_config_is_called_like_its_file_and_survives_json(name: str) -> None:
    config = shipped(name)
    assert config.name == name
    assert from_dict(to_dict(config)) == config


def test_the_papers_configuration_has_the_papers_values() -> None:
    config = shipped("paper_512")
    assert config.model.levels == (128, 256, 512)
    assert (config.model.width, config.model.dilation, config.model.fusion) == (
        48,
        "adaptive",
        "image",
    )
    assert config.model.kernel_initializer == "glorot_uniform"
    assert config.loss.level_weights == (10, 1, 1)
    assert (config.loss.l1_weight, config.loss.coarse_l1_weight) == (1, 0)
    assert (config.loss.adversarial_weight, config.loss.adversarial_warmup) == (1, 0)
    assert (config.train.batch_size, config.train.learning_rate) == (4, 1e-4)
    assert (config.train.beta_1, config.train.beta_2, config.train.epsilon) == (0.5, 0.999, 1e-8)
    assert (config.train.learning_rate_schedule, config.train.warmup_steps) == ("constant", 0)
    assert (config.train.clip_norm, config.train.ema_momentum) == (0, 0)
    assert (config.train.schedule, config.train.convolution_dtype) == ("joint", "float32")
    assert (config.data.crop, config.data.downsample) == ("random", 1)
    assert (config.data.flip, config.data.rotate, config.data.colour_jitter) == (False, False, 0)
    assert config.train.steps == 1_000_000


def test_the_summary_shows_shapes_and_parameters_of_every_network() -> None:
    config = shipped("small")
    model = assembly.make_model(config)
    table = summarize(model, batch_size=4)
    for level, side in enumerate((32, 64, 128)):
        shape = f"(4, {side}, {side}, 3)"
        for name, network in (
            ("coarse", model.sub_generators[level].coarse),
            ("refine", model.sub_generators[level].refine),
        ):
            line = next(x for x in table.splitlines() if x.split()[:2] == [str(level), name])
            assert shape in line and line.endswith(f"{parameters(network):,}")
    assert table.splitlines()[-1].endswith(f"{parameters(model):,}")
