"""Configuration of an experiment, as typed dataclasses that validate themselves.

A file in `experiments/configs/` returns an `ExperimentConfig`; flags override single fields
(`--config.train.batch_size=8`). The defaults are the paper's. A run folder stores the resolved
config as JSON and refuses to continue with another one.
"""

# No `from __future__ import annotations`: the flags read the fields' types at run time.
import dataclasses
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pgi.errors import RuleError
from pgi.rules import (
    DILATIONS,
    INITIALIZERS,
    MAX_WIDTH,
    PLACEMENTS,
    check,
    check_choice,
    check_fusion,
    check_levels,
    check_precision,
    check_width,
)

CROPS = ("random", "resize", "random_resized")
SCHEDULES = ("joint", "layerwise", "bottom_up")
LEARNING_RATE_SCHEDULES = ("constant", "cosine")
STARTS = ("initializer", "below")


def _check_each(part: Any, names: Sequence[str], rule: str, holds: Callable[[Any], bool]) -> None:
    """Checks one rule for some fields of a part of the config."""
    for name in names:
        value = getattr(part, name)
        check(name, rule, holds(value), value)


@dataclass
class ModelConfig:
    """The networks (sections 3.1.1 to 3.1.3); see `pgi.models.PyramidGenerator` for each field."""

    levels: tuple[int, ...] = (128, 256, 512)
    width: int = 48
    dilation: str = "adaptive"
    fusion: str = "image"
    drop_coarse: bool = False
    kernel_initializer: str = "glorot_uniform"
    discriminator_width: int = 64

    def __post_init__(self) -> None:
        check_levels(self.levels)
        check_width(self.width)
        check_choice("dilation", DILATIONS, self.dilation)
        check_fusion(self.fusion, self.drop_coarse)
        check_choice("kernel_initializer", INITIALIZERS, self.kernel_initializer)
        width = self.discriminator_width
        check("discriminator_width", "positive", width > 0, width)
        check("discriminator_width", f"at most {MAX_WIDTH}", width <= MAX_WIDTH, width)


@dataclass
class LossConfig:
    """Weights of the losses (equations 4 to 8); see `pgi.models.Objective` for the other fields.

    Attributes:
        adversarial_warmup: share of the training steps, in [0, 1], during which the adversarial
            weight grows linearly from 0 to `adversarial_weight`.
    """

    level_weights: tuple[float, ...] = (10.0, 1.0, 1.0)
    l1_weight: float = 1.0
    coarse_l1_weight: float = 0.0
    adversarial_weight: float = 1.0
    adversarial_warmup: float = 0.0

    def __post_init__(self) -> None:
        names = ("l1_weight", "coarse_l1_weight", "adversarial_weight")
        _check_each(self, names, "at least 0", lambda x: x >= 0)
        warmup, weights = self.adversarial_warmup, self.level_weights
        check("adversarial_warmup", "in [0, 1]", 0 <= warmup <= 1, warmup)
        check("level_weights", "all at least 0", all(weight >= 0 for weight in weights), weights)


@dataclass
class MaskConfig:
    """Training masks: a square united with brush strokes; see `pgi.masks.training_masks`.

    Attributes:
        square: "random" places the square anywhere, as DeepFillv2's code does; "center" in the
            centre, as the paper says (section 4).
        min_stroke_width: in pixels of an image of side 256.
        max_stroke_width: in pixels of an image of side 256.
        scale_strokes: whether stroke widths grow with the side, so that holes keep their share of
            the image. A departure from DeepFillv2, where they are fixed in pixels.
    """

    square: str = "random"
    min_stroke_width: int = 12
    max_stroke_width: int = 40
    scale_strokes: bool = True

    def __post_init__(self) -> None:
        check_choice("square", PLACEMENTS, self.square)
        widths = (self.min_stroke_width, self.max_stroke_width)
        fits = 0 < widths[0] <= widths[1]
        check("min_stroke_width, max_stroke_width", "positive and in order", fits, widths)


@dataclass
class DataConfig:
    """Dataset, crops and augmentation (section 4; augmentation is ours).

    Attributes:
        dataset: what `data.load` takes: "samples", "places2", "folder:PATH", ...
        crop: "random" cuts the training size out of the photograph (Places2, DIV2K), "resize"
            makes the whole photograph that size (CelebA-HQ), "random_resized" cuts a random square
            and resizes it (for few, large photographs; ours).
        downsample: crops are cut at this multiple of the training size and then averaged down to
            it: what a lower level of a larger pyramid sees. 1 for crops of the training size.
        flip: whether to mirror training crops left to right at random.
        rotate: whether to turn training crops by 0, 90, 180 or 270 degrees at random, for datasets
            of few photographs.
        colour_jitter: strength in [0, 1] of random changes of contrast, brightness, saturation and
            white balance of training crops, for the same reason; see
            `pgi.training.pipeline.jitter_colours`.
        validation_images: number of fixed validation examples (crop and mask).
    """

    dataset: str = "samples"
    crop: str = "random"
    downsample: int = 1
    flip: bool = False
    rotate: bool = False
    colour_jitter: float = 0.0
    validation_images: int = 16

    def __post_init__(self) -> None:
        check("dataset", 'named, such as "samples"', bool(self.dataset), self.dataset)
        check_choice("crop", CROPS, self.crop)
        check("downsample", "positive", self.downsample > 0, self.downsample)
        check("colour_jitter", "in [0, 1]", 0 <= self.colour_jitter <= 1, self.colour_jitter)
        check("validation_images", "positive", self.validation_images > 0, self.validation_images)


@dataclass
class TrainConfig:
    """Optimisation, schedule and checkpoints (sections 3.2 and 4, DeepFillv2; options are ours).

    Attributes:
        batch_size: of all replicas together.
        learning_rate: of both Adam optimisers, after the warm-up.
        learning_rate_schedule: "constant", or "cosine": falls to 0 over the training; see
            `pgi.training.stages.LearningRate`.
        warmup_steps: steps at the start of each stage over which the learning rate grows linearly
            from 0.
        beta_1: of both Adam optimisers.
        beta_2: of both Adam optimisers.
        epsilon: of both Adam optimisers.
        clip_norm: bound on the global norm of the sub-generators' gradient; 0 for none.
        steps: number of training steps, over all calls of the command.
        minutes: a call stops after this time; the same command continues. 0 for no limit.
        schedule: which levels a step trains. "joint": all. "layerwise": one stage per level, from
            the lowest up, each training its level alone (section 3.2). "bottom_up": the same
            stages, each training its level and all levels below it.
        stage_shares: share of the steps in each stage, coarsest level first; they are divided by
            their sum. Empty for equal shares. Ignored by "joint", which has one stage.
        stage_batch_multiples: batch of each stage as a multiple of `batch_size`. Empty for 1 in
            all. Ignored by "joint".
        level_start: "initializer", or "below": when a stage starts, its level takes the weights of
            the level below and its coarse network returns 0, so that the refine network starts from
            the upsampled lower result. Ignored by "joint".
        ema_momentum: of the moving average of the sub-generators' weights, which is kept beside
            them and used for validation, pictures, inference and exports; 0 for none.
        precision: "float32", "mixed_bfloat16", or "mixed_float16" (GPUs only; with loss scaling):
            Keras's name of the dtype policy of all convolutions but the last of each network.
            Weights, optimisers, attention, spectral norms and losses stay float32.
        convolution_dtype: "float32", or "bfloat16", for CPUs: sub-generators' convolutions alone
            take and return bfloat16 in training. Not under another precision than "float32".
        jit_compile: whether XLA compiles the steps; one replica only.
        accumulation_steps: number of parts of a batch whose gradients are computed one after
            another and summed: the same update from less memory.
        recompute: whether the gradient computes the sub-generators' activations again, part by
            part, instead of keeping them: less memory, more time.
        attention_megabytes: bound on the part of contextual attention's score matrix in memory, per
            image. A larger matrix is computed in tiles, and again for the gradient, which takes
            less memory and more time.
        initial_weights: weights to start from: a run folder, one of its checkpoints, or
            "deepfillv2:CHECKPOINT"; see `pgi.training.initial_weights.load`. Empty for the
            initializer's.
        snapshot_steps: steps between two snapshots (checkpoint, validation, sample picture).
        keep_checkpoints: number of latest checkpoints to keep.
        milestone_steps: number of steps between checkpoints that are kept for good; 0 for none.
        milestone_hours: the same in hours of wall-clock time.
        seed: of weights, data order, crops and masks.
    """

    batch_size: int = 4
    learning_rate: float = 1e-4
    learning_rate_schedule: str = "constant"
    warmup_steps: int = 0
    beta_1: float = 0.5
    beta_2: float = 0.999
    epsilon: float = 1e-8
    clip_norm: float = 0.0
    steps: int = 1_000_000
    minutes: float = 0.0
    schedule: str = "joint"
    stage_shares: tuple[float, ...] = ()
    stage_batch_multiples: tuple[int, ...] = ()
    level_start: str = "initializer"
    ema_momentum: float = 0.0
    precision: str = "float32"
    convolution_dtype: str = "float32"
    jit_compile: bool = False
    accumulation_steps: int = 1
    recompute: bool = False
    attention_megabytes: int = 1024
    initial_weights: str = ""
    snapshot_steps: int = 1000
    keep_checkpoints: int = 3
    milestone_steps: int = 0
    milestone_hours: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        sizes = ("batch_size", "learning_rate", "epsilon", "attention_megabytes")
        counts = ("accumulation_steps", "steps", "snapshot_steps", "keep_checkpoints")
        _check_each(self, sizes + counts, "positive", lambda x: x > 0)
        optional = ("warmup_steps", "clip_norm", "minutes", "milestone_steps", "milestone_hours")
        _check_each(self, optional, "at least 0", lambda x: x >= 0)
        _check_each(self, ("beta_1", "beta_2", "ema_momentum"), "in [0, 1)", lambda x: 0 <= x < 1)
        of_stages = ("stage_shares", "stage_batch_multiples")
        _check_each(self, of_stages, "all positive", lambda x: all(value > 0 for value in x))
        parts = self.accumulation_steps
        fits = self.batch_size % parts == 0
        check("batch_size", f"a multiple of accumulation_steps={parts}", fits, self.batch_size)
        check("seed", "in [0, 2**31 - 1)", 0 <= self.seed < 2**31 - 1, self.seed)
        named = self.initial_weights not in ("deepfillv2:", "deepfillv2_rgb:")
        check("initial_weights", "followed by a path", named, self.initial_weights)
        check_choice("schedule", SCHEDULES, self.schedule)
        check_choice("learning_rate_schedule", LEARNING_RATE_SCHEDULES, self.learning_rate_schedule)
        check_choice("level_start", STARTS, self.level_start)
        check_precision(self.precision, self.convolution_dtype)


@dataclass
class ExperimentConfig:
    """A whole experiment; `name` names its default run folder, and files of its evaluation."""

    name: str = "paper_512"
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    mask: MaskConfig = field(default_factory=MaskConfig)
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self) -> None:
        # Another's config must not name files elsewhere.
        fits = self.name not in ("", ".", "..") and not {"/", "\0"} & set(self.name)
        check("name", "the name of a file, without a folder", fits, self.name)
        weights, levels = self.loss.level_weights, self.model.levels
        if len(weights) != len(levels):
            raise RuleError(
                f"level_weights must have one weight for each of {len(levels)} levels, "
                f"got {weights}"
            )
        self._check_stages()

    def _check_stages(self) -> None:
        train, model = self.train, self.model
        if train.schedule == "joint":
            return
        for name in ("stage_shares", "stage_batch_multiples"):
            if len(getattr(train, name)) not in (0, len(model.levels)):
                raise RuleError(
                    f"train.{name} must have one value for each of {len(model.levels)} stages, or "
                    f"none, got {getattr(train, name)}"
                )
        if train.level_start == "below":
            fits = model.fusion == "image" and not model.drop_coarse and not train.initial_weights
            rule = '"initializer" unless model.fusion is "image", without model.drop_coarse and '
            check("train.level_start", rule + "train.initial_weights", fits, train.level_start)


def to_dict(config: ExperimentConfig) -> dict[str, Any]:
    """The config as nested plain values, fit for JSON."""
    return dataclasses.asdict(config)


def from_dict(values: Mapping[str, Any], kind: type = ExperimentConfig, prefix: str = "") -> Any:
    """The inverse of `to_dict`; checks every field anew.

    Args:
        values: nested plain values; missing fields keep their defaults.
        kind: the dataclass to make.
        prefix: path of `values` in the config, for messages.

    Raises:
        RuleError: a key is unknown, or a value breaks its field's rule.
    """
    types = typing.get_type_hints(kind)
    unknown = sorted(set(values) - set(types))
    if unknown:
        raise RuleError(f"unknown config keys: {', '.join(prefix + key for key in unknown)}")
    made = {}
    for key, value in values.items():
        if dataclasses.is_dataclass(types[key]):
            value = from_dict(value, types[key], f"{prefix}{key}.")
        elif isinstance(value, list):
            value = tuple(value)
        made[key] = value
    return kind(**made)


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any], prefix: str = "") -> list[str]:
    """One line for every leaf in which two nested dicts differ, like `train.seed: 0, not 1`."""
    lines = []
    for key in sorted(set(ours) | set(theirs)):
        name, a, b = prefix + key, ours.get(key), theirs.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            lines += differences(a, b, f"{name}.")
        elif a != b and not (isinstance(a, (list, tuple)) and list(a) == list(b or ())):
            lines.append(f"{name}: {a!r}, not {b!r}")
    return lines
