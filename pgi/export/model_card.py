"""The model card of an export or a weights file: how it was trained, its metrics, its limits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pgi.config import ExperimentConfig, MaskConfig, TrainConfig
from pgi.export.limits import MAX_BATCH
from pgi.export.run_metrics import measured, validation
from pgi.training.run_folder import Checkpoint
from pgi.training.weights_file import WeightsFile

# The card warns of trainings with fewer steps.
_SHORT = 100_000
_TRAINED = (
    "Fills the holes of photographs: a pyramid generator after *Structure First Detail Next:",
    "Image Inpainting with Pyramid Generator*, trained and exported with pgi (Apache-2.0).",
)
_IMPORTED = (
    "Fills the holes of photographs: DeepFillv2, after *Free-Form Image Inpainting with Gated",
    "Convolution* (https://arxiv.org/abs/1806.03589), with weights of its own program, imported by",
    "pgi, whose code is under Apache-2.0. The weights are not.",
)


def model_card(checkpoint: Checkpoint, name: str, max_megapixels: float | None = None) -> str:
    """The card of an exported checkpoint, of a weights file, or of imported weights, as Markdown.

    Args:
        checkpoint: of a run, or a weights file.
        name: of the model.
        max_megapixels: largest image that the exported model takes; None for the card of a folder
            of weights, without an export's limits.

    Raises:
        RunFolderError: the run's config cannot be read.
        RuleError: the run's evaluation cannot be read.
    """
    run = checkpoint.run
    config, imported = run.read_config(), run.imported()
    weights = checkpoint.origin if isinstance(checkpoint, WeightsFile) else None
    exported = max_megapixels is not None
    lines = [
        f"# {name}\n",
        *(_IMPORTED if imported else _TRAINED),
        *_model(checkpoint, weights, exported),
        *(_origin(imported) if imported else _training(checkpoint, weights)),
        *(["\n## Metrics\n", *_metrics(checkpoint, weights)] if exported or weights else []),
        "\n## Known limits\n",
        *_limits(config, None if imported else checkpoint.step, max_megapixels),
        *(f"- {limit}" for limit in (weights or {}).get("limits", ())),
    ]
    return "\n".join(lines) + "\n"


def _model(
    checkpoint: Checkpoint, weights: Mapping[str, Any] | None, exported: bool
) -> Iterator[str]:
    run, model = checkpoint.run, checkpoint.run.read_config().model
    description = run.read_description()
    commit = description.get("git_commit") or "not recorded"
    versions = description.get("versions", {})
    yield "\n## Model\n"
    yield (
        f"- Levels of {', '.join(map(str, model.levels))} px, width {model.width}, dilation "
        f"`{model.dilation}`, fusion `{model.fusion}`"
    )
    judged = not exported and (run.imported() or {}).get("discriminator")
    networks = "generator and discriminator" if judged else "generators only"
    if weights:
        yield f"- {networks.capitalize()}, {_rounding(weights, exported)}"
        yield f"- `{checkpoint.name}`, SHA-256 `{checkpoint.sha256}`"
        yield (
            f"- Made from checkpoint `{weights.get('checkpoint')}` of the run "
            f"`{weights.get('run')}`, SHA-256 `{weights.get('checkpoint_sha256')}`"
        )
    else:
        yield f"- float32, {networks}"
        yield (
            f"- Checkpoint `{checkpoint.name}` of the run `{run.path.resolve().name}`, SHA-256 "
            f"`{checkpoint.sha256}`"
        )
    made = "Imported" if run.imported() else "Trained"
    yield f"- {made} at commit `{commit}` with TensorFlow {versions.get('tensorflow', 'unknown')}"


def _rounding(weights: Mapping[str, Any], exported: bool) -> str:
    """How the weights were rounded, and what that changes."""
    averaged = "the moving average of their weights, " if weights.get("averaged") else ""
    stored = "rounded to float16, in float32" if exported else "in float16"
    return (
        f"{averaged}{stored}: on photographs, results in the hole differ by at most "
        f"{weights.get('largest_difference', float('nan')):.2g} of 255 from those in float32"
    )


def _training(checkpoint: Checkpoint, weights: Mapping[str, Any] | None) -> Iterator[str]:
    config, description = checkpoint.run.read_config(), checkpoint.run.read_description()
    train, step = config.train, checkpoint.step
    steps = "not recorded" if step is None else f"{step:,}"
    yield "\n## Training\n"
    yield f"- Data: `{config.data.dataset}`{_counts(description)}, crop `{config.data.crop}`"
    yield f"- Masks: {_masks(config.mask)}"
    yield f"- Steps: {steps}, of {_batches(train)} images each"
    if weights:
        yield f"- Time: {weights.get('hours')} hours on {description.get('machine')}"
    yield (
        f"- Adam, learning rate {train.learning_rate:g}; seed {train.seed}; schedule "
        f"`{train.schedule}`"
    )
    if weights:
        yield "\nThe commands that made the weights:\n\n```"
        yield from weights.get("commands", ())
        yield "```"
        yield "\n## Licence of the weights\n"
        yield str(weights.get("licence"))
    yield "\n## Licence of the training data\n"
    yield description.get("licence_of_images") or "Not recorded in the run folder."


def _origin(imported: dict[str, Any]) -> Iterator[str]:
    """Of weights that another program trained."""
    order = str(imported.get("channel_order", "unknown"))
    files = imported.get("files")
    yield "\n## Origin of the weights\n"
    yield "Trained by DeepFillv2's own program; data and steps are not recorded. Imported from:\n"
    yield "| file | SHA-256 |"
    yield "|---|---|"
    yield from (f"| `{x}` | `{y}` |" for x, y in files.items()) if isinstance(files, dict) else ()
    rest = "converted; this model takes and returns RGB images" if order == "bgr" else "as they are"
    yield f"\nChannel order: trained on {order.upper()} images, {rest}."
    yield "\n## Licence of the weights\n"
    yield str(imported.get("licence_of_weights", "Not recorded in the run folder."))


def _batches(train: TrainConfig) -> str:
    sizes = sorted({train.batch_size * n for n in train.stage_batch_multiples or (1,)})
    joint = train.schedule == "joint"
    return str(train.batch_size) if joint else " or ".join(map(str, sizes))


def _counts(description: dict[str, Any]) -> str:
    images = description.get("images") or {}
    if not images:
        return ""
    return f", {images['train'][0]:,} images, {images['validation'][0]:,} held out"


def _masks(mask: MaskConfig) -> str:
    place = "in the centre" if mask.square == "center" else "at a random place"
    scaled = ", scaled with the side" if mask.scale_strokes else ""
    widths = f"{mask.min_stroke_width} to {mask.max_stroke_width} px wide at 256 px{scaled}"
    return f"a square of about half the side {place}, united with brush strokes {widths}"


def _metrics(checkpoint: Checkpoint, weights: Mapping[str, Any] | None) -> Iterator[str]:
    """Validation during training and the results of `make evaluate`, of this checkpoint."""
    run = checkpoint.run
    if weights:
        found, rows = weights.get("validation") or {}, weights.get("measured") or []
    else:
        found = validation(run, checkpoint.step)
        rows = measured(run.path / "evaluation", checkpoint.sha256)
    if found:
        yield (
            "Validation during training: mean absolute error in the hole, values in [-1, 1], of "
            f"held-out images with fixed masks: {found['hole_l1']:.3f} (filling with the mean "
            f"colour: {found['mean_colour_hole_l1']:.3f})."
        )
    else:
        yield "Training recorded no validation of this step."
    if not rows:
        yield "\n`make evaluate` has not measured this checkpoint."
        return
    yield (
        "\nMeasured by `make evaluate` on frozen crops and masks (docs/EVALUATION.md), with no "
        "levels but the model's own; intervals are 95 % bootstrap over photographs:\n"
    )
    yield "| protocol | crops | masks | metric | mean | interval | photographs |"
    yield "|---|---|---|---|---:|---|---:|"
    for row in rows:
        interval = "{:.4g} to {:.4g}".format(*row["interval"]) if row["interval"] else "-"
        yield (
            f"| {row['protocol']} | {row['dataset']}, {row['size']} px | {row['masks']} "
            f"| {row['metric']} | {row['mean']:.4g} | {interval} | {row['photographs']} |"
        )


def _limits(
    config: ExperimentConfig, step: int | None, max_megapixels: float | None
) -> Iterator[str]:
    side = config.model.levels[-1]
    yield (
        f"- It was trained on crops of {side} px. Larger photographs are filled at their own size; "
        "holes much larger than those of training are filled less well."
    )
    yield "- Filled content is invented. It is no evidence of what the photograph showed."
    if max_megapixels is not None:
        yield from _limits_of_export(max_megapixels)
    if step is not None and step < _SHORT:
        yield f"- It was trained for {step:,} steps only; the paper's config has a million."


def _limits_of_export(max_megapixels: float) -> Iterator[str]:
    yield (
        f"- At most {MAX_BATCH} images in a request, each of at most {max_megapixels:g} megapixels."
    )
    yield (
        "- Files: PNG or JPEG of 8 bits per channel. An orientation in EXIF is not applied; only "
        "the first picture of an animated PNG is used; a single transparent colour, without an "
        "alpha channel, becomes opaque. The result is PNG, without EXIF and colour profile."
    )
    yield (
        "- Mask values above 127 are hole. A mask that is all hole is rejected; with few known "
        "pixels the results are poor."
    )
    yield (
        "- Images of a batch are computed one after another. Memory grows with the number of "
        "pixels, the time for attention with the hole times the image."
    )
