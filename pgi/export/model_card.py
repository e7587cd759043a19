"""The page that goes with an exported model: of what it was made, how good it is, its limits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pgi.config import ExperimentConfig, MaskConfig
from pgi.evaluation import results
from pgi.evaluation.intervals import estimate
from pgi.evaluation.methods import sha256_of
from pgi.training.run_folder import RunFolder

# Steps; the paper's configuration trains for a million.
_SHORT = 100_000
_UNKNOWN_LICENCE = (
    "Not known to this program: the images are the user's own or a third party's. Whoever passes "
    "the model on has to find out."
)
# By what `DataConfig.dataset` begins with, before "/" and ":".
LICENCES = {
    "samples": (
        "Photographs that scikit-image ships, in the public domain or under free licences; the "
        "documentation of `skimage.data` names each one's."
    ),
    "photos": (
        "Photographs of Debian's packages under free licences, each one's in "
        "`data/photos/photographs.json`; several ask for their authors to be named, some for the "
        "same licence."
    ),
    "places2": (
        "Places2's terms of use (<http://places2.csail.mit.edu/download.html>): research and "
        "education, not commerce; the photographs' copyright stays with their owners."
    ),
    "celeba_hq": (
        "CelebA's agreement (<https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html>): research, not "
        "commerce; the photographs' copyright stays with their owners."
    ),
    "div2k": (
        "DIV2K's terms (<https://data.vision.ee.ethz.ch/cvl/DIV2K/>): academic research; the "
        "photographs' copyright stays with their owners."
    ),
}


def licence(dataset: str) -> str:
    """What is known of the licence of a dataset's images.

    Args:
        dataset: as in `DataConfig`.
    """
    if ":" in dataset and not dataset.startswith("tfds:"):
        return _UNKNOWN_LICENCE
    return LICENCES.get(dataset.removeprefix("tfds:").partition("/")[0], _UNKNOWN_LICENCE)


def model_card(checkpoint: Path, name: str, max_megapixels: float) -> str:
    """The card of an exported checkpoint, as Markdown.

    Args:
        checkpoint: of a run folder, without a suffix.
        name: of the model.
        max_megapixels: limit of the files that it takes.

    Raises:
        RunFolderError: the run's config cannot be read.
        RuleError: its evaluation cannot.
    """
    run = RunFolder(checkpoint.parent.parent)
    config, description = run.read_config(), run.read_description()
    model, train, step = config.model, config.train, _step(checkpoint)
    levels = ", ".join(map(str, model.levels))
    commit = description.get("git_commit") or "not recorded"
    versions = description.get("versions", {})
    steps = "not recorded" if step is None else f"{step:,}"
    lines = [
        f"# {name}\n",
        "Fills the holes of photographs: a pyramid generator after *Structure First Detail Next:",
        "Image Inpainting with Pyramid Generator*, trained and exported with pgi (Apache-2.0).",
        "\n## Model\n",
        f"- Levels of {levels} px, width {model.width}, dilation `{model.dilation}`, fusion "
        f"`{model.fusion}`",
        "- float32, the generators alone",
        f"- Checkpoint `{checkpoint.name}` of the run `{run.path.resolve().name}`, SHA-256 "
        f"`{_sha256(checkpoint)}`",
        f"- Trained at commit `{commit}` with TensorFlow {versions.get('tensorflow', 'unknown')}",
        "\n## Training\n",
        f"- Data: `{config.data.dataset}`{_counts(description)}, crop `{config.data.crop}`",
        f"- Masks: {_masks(config.mask)}",
        f"- Steps: {steps}, of {train.batch_size} images each",
        f"- Adam, learning rate {train.learning_rate:g}; seed {train.seed}; schedule "
        f"`{train.schedule}`",
        "\n## Licence of the training data\n",
        licence(config.data.dataset),
        "\n## Metrics\n",
        *_validation(run, checkpoint),
        *_evaluation(run, checkpoint),
        "\n## Known limits\n",
        *_limits(config, step, max_megapixels),
    ]
    return "\n".join(lines) + "\n"


def _sha256(checkpoint: Path) -> str:
    """As an evaluation's results name it."""
    return sha256_of(sorted(checkpoint.parent.glob(f"{checkpoint.name}.*")))


def _step(checkpoint: Path) -> int | None:
    number = checkpoint.name.rpartition("-")[2]
    return int(number) if number.isdecimal() else None


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


def _validation(run: RunFolder, checkpoint: Path) -> Iterator[str]:
    """What training itself measured at that step."""
    found = [line for line in run.read_metrics() if line["step"] == _step(checkpoint)]
    name, mean_colour = "validation/hole_l1", "validation/mean_colour_hole_l1"
    if not found or name not in found[-1]:
        yield "Training recorded no validation of this step."
        return
    yield (
        "Protocol of the training: mean absolute error over the hole, values in [-1, 1], of the "
        f"held-out images with fixed masks: {found[-1][name]:.3f} (filling with the mean colour: "
        f"{found[-1][mean_colour]:.3f})."
    )


def _evaluation(run: RunFolder, checkpoint: Path) -> Iterator[str]:
    """What `make evaluate` measured of that very checkpoint, if it did."""
    rows = list(_measured(run.path / "evaluation" / results.FILE, _sha256(checkpoint)))
    if not rows:
        yield "\n`make evaluate` has measured nothing of this checkpoint."
        return
    yield (
        "\nMeasured by `make evaluate` on frozen crops and masks (docs/EVALUATION.md); intervals "
        "are 95 % bootstrap over photographs:\n"
    )
    yield "| protocol | crops | masks | metric | mean | interval | photographs |"
    yield "|---|---|---|---|---:|---|---:|"
    yield from rows


def _measured(file: Path, sha256: str) -> Iterator[str]:
    """A row for each metric of each crop list, mask set and protocol."""
    if not file.is_file():
        return
    found = results.read(file)
    names = [x.method for x in found.evaluations if x.run.get("sha256") == sha256]
    numbers = found.by_photograph()
    where = ["method", "protocol", "dataset", "size", "masks", "metric"]
    own = numbers[numbers.method.isin(names)].groupby(where, sort=False)
    for (_, protocol, dataset, size, masks, metric), of_one in own:
        known = estimate(results.matrix(of_one))
        interval = "{:.4g} to {:.4g}".format(*known.interval) if known.interval else "-"
        yield (
            f"| {protocol} | {dataset}, {size} px | {masks} "
            f"| {metric} | {known.mean:.4g} | {interval} | {known.n} |"
        )


def _limits(config: ExperimentConfig, step: int | None, max_megapixels: float) -> Iterator[str]:
    side = config.model.levels[-1]
    yield (
        f"- It learnt from crops of {side} px. Larger photographs run through the same levels at "
        "their own size; holes much larger than those of training are filled less well."
    )
    yield "- What it fills in is invented. It is no evidence of what was there."
    yield (
        f"- Files: PNG or JPEG of 8 bits per channel, up to {max_megapixels:g} megapixels. An "
        "orientation in EXIF is not applied; of an animated PNG the first picture counts; a "
        "single transparent colour, without an alpha channel, becomes opaque. The "
        "result is PNG, without EXIF and colour profile."
    )
    yield (
        "- A mask is hole above 127. One that is all hole is refused; of one that leaves little "
        "the results are poor."
    )
    yield (
        "- Images of a batch are computed one after another. Memory grows with the pixels, time "
        "of attention with the hole times the image."
    )
    if step is not None and step < _SHORT:
        yield f"- It was trained for {step:,} steps only, which shows that training runs, no more."
