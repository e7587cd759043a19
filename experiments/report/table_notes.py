"""What stands around the tables: how to read them, what was measured, and with which networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.report.markdown import STARRED, escape, table
from pgi.evaluation.results import CropList, Evaluation, Results

_TITLE = ["# Tables", "Made from results files by `python -m experiments.tables`."]
# As in docs/REPRODUCTION.md.
_PROTOCOLS = {
    "paper": "completed images, uint8, whole; L1 is the sum of abs(a - b) over the sum of a + b, "
    "PSNR of RGB, SSIM with a uniform window of 51.",
    "standard": "completed images, uint8, whole; L1 is the mean of abs(a - b) in [0, 1], PSNR of "
    "RGB, SSIM with a Gaussian window of 11.",
    "raw": "as `standard`, but of the network's raw output: known pixels are not pasted. Classical "
    "methods and others' results are taken as they are, so that their known pixels are (nearly) "
    "exact while the networks' are not.",
    "hole": "completed images, pixels of the hole only: L1 and PSNR over these, no SSIM.",
}
_NUMBERS = """\
**Numbers** are means with their 95 % bootstrap interval over photographs in brackets, which is too
narrow if these are fewer than some twenty; after ±, if several seeds were trained, the standard
deviation over seeds. The best mean is bold. Times are medians an image, with the square mask. "-"
has diverged (in the paper's numbers: is not given); an empty cell was not measured."""
_DIFFERENCES = f"""\
**Differences.** Photographs differ far more than methods do, so only the paired differences mean
anything. Under ↑ a positive one, under ↓ a negative one, is in favour of the first method. `*`: the
interval excludes zero, and there are {STARRED} photographs or more. One in twenty does so by
chance, and no interval holds what other seeds of training would change."""
_PAPER = """\
**The paper's numbers** are its own, and printed apart from ours: it publishes neither formulas nor
crops nor masks nor networks, so that no difference to them can be tested."""
_OTHER_PROTOCOL = """\
 They are most probably of protocol `paper`, and not to be compared with those of this file."""


def reading(
    results: Results, protocol: str, lists: Sequence[CropList], masks: Sequence[str]
) -> list[str]:
    """What holds for all tables.

    Args:
        results: of which the tables are made.
        protocol: of their numbers.
        lists: the crops that were measured on by it.
        masks: names of the mask sets whose hashes are shown.
    """
    hashes = {
        (score.crops, score.masks): score.masks_sha256
        for evaluation in results.evaluations
        for score in evaluation.scores
        if score.protocol == protocol
    }
    rows = [
        [
            escape(crops.dataset),
            f"{crops.size} px",
            escape(crops.crop),
            f"{len(crops.photographs):,}",
            f"{len(set(crops.photographs)):,}",
            short_hash(crops.sha256),
            *(short_hash(hashes.get((crops.sha256, name))) for name in masks),
        ]
        for crops in lists
    ]
    titles = ["dataset", "size", "cut", "crops", "photographs", "crop list"]
    return [
        *_TITLE,
        f"**Protocol `{escape(protocol)}`:** {_PROTOCOLS.get(protocol, '')}",
        _NUMBERS,
        _DIFFERENCES,
        _PAPER + _OTHER_PROTOCOL * (protocol != "paper"),
        "**Measured on** (SHA-256, first 12 digits):",
        table(
            [*titles, *(f"masks `{name}`" for name in masks)], rows, texts=len(titles) + len(masks)
        ),
        *_made(results),
    ]


def only_diverged(results: Results) -> list[str]:
    """What there is to say where nothing was measured: what diverged, and what it was."""
    ends = diverged(results, list(results.titles()))
    return [*_TITLE, "**There are no numbers.** What diverged:", *ends, *provenance(results)]


def diverged(results: Results, methods: Sequence[str]) -> list[str]:
    """Which of the methods' trainings diverged, when and why; a list, or nothing."""
    lines = []
    for method in methods:
        ends = [_end(evaluation) for evaluation in results.diverged(method)]
        others = sum(evaluation.method == method for evaluation in results.evaluations) > len(ends)
        if ends:
            ends += ["the numbers are of its other seeds"] * others
            lines.append(f"- {escape(results.titles()[method])}: {'; '.join(ends)}")
    return ["\n".join(lines)] if lines else []


def _end(evaluation: Evaluation) -> str:
    how = evaluation.diverged or {}
    step = how.get("step")
    at = f" at step {step:,}" if isinstance(step, int) else ""
    return f"diverged{at} (seed {evaluation.seed}): {escape(how.get('reason', 'unknown reason'))}"


def provenance(results: Results) -> list[str]:
    """The networks that were evaluated, and what they were trained with."""
    rows = []
    for evaluation in results.evaluations:
        run = evaluation.run or {}
        if run:
            config = run.get("config")
            rows.append(
                [
                    escape(evaluation.title),
                    str(evaluation.seed),
                    *(escape(run.get(key) or "") for key in ("folder", "checkpoint")),
                    short_hash(run.get("sha256")),
                    escape(config.get("name", "") if isinstance(config, Mapping) else config or ""),
                    short_hash(run.get("git_commit")),
                    _adversarial_weight(config, run.get("checkpoint")),
                ]
            )
    titles = ["method", "seed", "run folder", "checkpoint", "its SHA-256", "config", "git commit"]
    texts = len(titles)
    titles.append("adversarial weight reached")
    return ["## Provenance", table(titles, rows, texts=texts)] if rows else []


def _adversarial_weight(config: Any, checkpoint: str | None) -> str:
    """The weight of the adversarial loss at a checkpoint's step; nothing if it is not known."""
    if not isinstance(config, Mapping) or not {"loss", "train"} <= set(config) or not checkpoint:
        return ""
    loss, step = config["loss"], int(checkpoint.rpartition("-")[2])
    # Results of earlier versions have the warm-up in steps.
    steps = loss.get("adversarial_warmup", 0.0) * config["train"]["steps"]
    steps = loss.get("adversarial_warmup_steps", steps)
    reached = min(step / steps, 1.0) if steps else 1.0
    return f"{loss['adversarial_weight'] * reached:.3g}"


def short_hash(sha256: str | None) -> str:
    """Its first 12 digits; nothing for None."""
    return f"`{sha256[:12]}`" if sha256 else ""


def _made(results: Results) -> list[str]:
    """What the evaluations were made with, and by which of them if they differ."""
    methods: dict[str, dict[str, None]] = {}
    measured = [evaluation for evaluation in results.evaluations if evaluation.scores]
    for evaluation in measured:
        methods.setdefault(_environment(evaluation.made), {})[evaluation.title] = None
    lines = [f"- {name}: {escape(', '.join(titles))}" for name, titles in methods.items()]
    if len(methods) == 1:
        blocks = [f"**Measured with** {next(iter(methods))}."]
    else:
        blocks = ["**Measured with**", "\n".join(lines)]
    if len({str(evaluation.made.get("machine")) for evaluation in measured}) > 1:
        blocks.append("Times of different machines cannot be compared.")
    return blocks


def _environment(made: Mapping[str, Any]) -> str:
    versions = made.get("versions") or {}
    parts = [
        f"git commit {short_hash(made.get('git_commit')) or 'unknown'}",
        f"machine: {escape(made.get('machine') or 'unknown')}",
        *(f"{escape(name)} {escape(version)}" for name, version in versions.items()),
    ]
    return ", ".join(parts)
