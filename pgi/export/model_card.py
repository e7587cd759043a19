"""The model card of an export: how it was trained, its metrics, its limits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pgi.config import ExperimentConfig, MaskConfig, TrainConfig
from pgi.evaluation import results
from pgi.evaluation.intervals import estimate
from pgi.export.limits import MAX_BATCH
from pgi.training.run_folder import Checkpoint

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
    """The card of an exported checkpoint, or of a run folder of imported weights, as Markdown.

    Args:
        checkpoint: of a run.
        name: of the model.
        max_megapixels: largest image that the exported model takes; None for a run folder's card,
            without an export's limits and what is measured later.

    Raises:
        RunFolderError: the run's config cannot be read.
        RuleError: the run's evaluation cannot be read.
    """
    run = checkpoint.run
    config, imported = run.read_config(), run.imported()
    exported = max_megapixels is not None
    lines = [
        f"# {name}\n",
        *(_IMPORTED if imported else _TRAINED),
        *_model(checkpoint, exported),
        *(_origin(imported) if imported else _training(checkpoint)),
        *(
            ["\n## Metrics\n", *_validation(checkpoint), *_evaluation(checkpoint)]
            if exported
            else []
        ),
        "\n## Known limits\n",
        *_limits(config, None if imported else checkpoint.step, max_megapixels),
    ]
    return "\n".join(lines) + "\n"


def _model(checkpoint: Checkpoint, exported: bool) -> Iterator[str]:
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
    yield f"- float32, {'generator and discriminator' if judged else 'generators only'}"
    yield (
        f"- Checkpoint `{checkpoint.name}` of the run `{run.path.resolve().name}`, SHA-256 "
        f"`{checkpoint.sha256}`"
    )
    made = "Imported" if run.imported() else "Trained"
    yield f"- {made} at commit `{commit}` with TensorFlow {versions.get('tensorflow', 'unknown')}"


def _training(checkpoint: Checkpoint) -> Iterator[str]:
    config, description = checkpoint.run.read_config(), checkpoint.run.read_description()
    train, step = config.train, checkpoint.step
    steps = "not recorded" if step is None else f"{step:,}"
    yield "\n## Training\n"
    yield f"- Data: `{config.data.dataset}`{_counts(description)}, crop `{config.data.crop}`"
    yield f"- Masks: {_masks(config.mask)}"
    yield f"- Steps: {steps}, of {_batches(train)} images each"
    yield (
        f"- Adam, learning rate {train.learning_rate:g}; seed {train.seed}; schedule "
        f"`{train.schedule}`"
    )
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


def _metrics(checkpoint: Checkpoint) -> Iterator[str]:
    if not checkpoint.run.imported():
        yield from _validation(checkpoint)
    yield from _evaluation(checkpoint)


def _validation(checkpoint: Checkpoint) -> Iterator[str]:
    """The validation during training at the checkpoint's step."""
    found = [line for line in checkpoint.run.read_metrics() if line["step"] == checkpoint.step]
    name, mean_colour = "validation/hole_l1", "validation/mean_colour_hole_l1"
    if not found or name not in found[-1]:
        yield "Training recorded no validation of this step."
        return
    yield (
        "Validation during training: mean absolute error in the hole, values in [-1, 1], of "
        f"held-out images with fixed masks: {found[-1][name]:.3f} (filling with the mean colour: "
        f"{found[-1][mean_colour]:.3f})."
    )


def _evaluation(checkpoint: Checkpoint) -> Iterator[str]:
    """The results of `make evaluate` for this checkpoint."""
    file = checkpoint.run.path / "evaluation" / results.FILE
    rows = list(_measured(file, checkpoint.sha256))
    if not rows:
        yield "\n`make evaluate` has not measured this checkpoint."
        return
    yield (
        "\nMeasured by `make evaluate` on frozen crops and masks (docs/EVALUATION.md); intervals "
        "are 95 % bootstrap over photographs:\n"
    )
    yield "| protocol | crops | masks | metric | mean | interval | photographs |"
    yield "|---|---|---|---|---:|---|---:|"
    yield from rows


def _measured(file: Path, sha256: str) -> Iterator[str]:
    """One row for each metric, crop list, mask set and protocol."""
    if not file.is_file():
        return
    found = results.read(file)
    numbers = found.by_photograph()
    measured = [x for x in found.evaluations if x.run.get("sha256") == sha256]
    own = [results.select(numbers, method=x.method, seed=x.seed) for x in measured]
    where = ["protocol", "dataset", "size", "masks", "metric"]
    groups = (group for rows in own for group in rows.groupby(where, sort=False))
    for (protocol, dataset, size, masks, metric), of_one in groups:
        value = estimate(results.matrix(of_one))
        interval = "{:.4g} to {:.4g}".format(*value.interval) if value.interval else "-"
        yield (
            f"| {protocol} | {dataset}, {size} px | {masks} "
            f"| {metric} | {value.mean:.4g} | {interval} | {value.n} |"
        )


def _limits(
    config: ExperimentConfig, step: int | None, max_megapixels: float | None
) -> Iterator[str]:
    side = config.model.levels[-1]
    yield (
        f"- It was trained on crops of {side} px. Larger photographs run through the same levels "
        "at their own size; holes much larger than those of training are filled less well."
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
