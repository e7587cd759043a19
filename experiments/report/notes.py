"""The text around the tables: how to read them, crops, masks, machines and networks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd

from experiments.configs import paper_512
from experiments.report.cells import STARRED, escape, table
from pgi.config import to_dict
from pgi.evaluation.results import Evaluation, Results
from pgi.training.run_folder import step_of

# As in docs/EVALUATION.md.
_PROTOCOLS = {
    "paper": "all pixels of completed 8-bit images; L1 is sum(abs(a - b)) / sum(a + b), SSIM has a "
    "uniform window of 51 pixels.",
    "paper_gray": "as `paper`, but the images are converted to grey first.",
    "standard": "all pixels of completed 8-bit images; L1 is mean(abs(a - b)) of values in [0, 1], "
    "SSIM has a Gaussian window of 11 pixels.",
    "raw": "as `standard`, but known pixels are not pasted into the network's output. The results "
    "of classical methods and of others are taken as they are, so their known pixels are (nearly) "
    "exact.",
    "hole": "pixels of the hole only; L1 and PSNR as in `standard`, no SSIM.",
}
_READING = f"""\
**Numbers** are means over photographs, with a 95 % bootstrap interval in brackets (too narrow below
about twenty photographs) and, after ±, the standard deviation over seeds. The best mean is bold.
"-": the training diverged, or the paper gives no number; an empty cell was not measured. Times are
medians per image under the square mask; those of different machines cannot be compared.

**Differences** are paired by photograph, since photographs differ more than methods do. `*` marks
an interval that excludes zero, over {STARRED} photographs or more. One in twenty does so by chance,
and the intervals do not cover the variation between seeds.

**The paper's numbers** have tables or columns of their own. The paper publishes no formulas, crops,
masks or networks, so a difference from them cannot be tested. "Free-form mask" is the mask set
`union`, the centre square united with brush strokes, which the paper most probably means."""
# Fields of a config that change nothing of what a network learns, or have a column of their own.
_HOUSEKEEPING = (
    "attention_megabytes",
    "keep_checkpoints",
    "milestone_",
    "minutes",
    "seed",
    "snapshot_steps",
    "validation_images",
)
_OTHER_PROTOCOL = """\
 They most probably follow the protocol `paper`: do not compare them with the numbers here."""


def reading(found: Results, numbers: pd.DataFrame, protocol: str) -> list[str]:
    """Notes for all tables, with the hashes of crops and masks.

    Args:
        found: the results.
        numbers: the part of them that is printed.
        protocol: of the numbers.
    """
    used = set(numbers[["dataset", "size", "masks"]].itertuples(index=False, name=None))
    rows = [
        {
            "dataset": escape(crops.dataset),
            "size": f"{crops.size} px",
            "cut": escape(crops.crop),
            "crops": f"{len(crops.lines):,}",
            "photographs": f"{len(set(crops.photographs)):,}",
            "hash of crops": short_hash(crops.sha256),
            "masks": escape(name),
            "hash of masks": short_hash(found.masks[crops.dataset, crops.size, name]),
        }
        for crops in sorted(found.crop_lists, key=lambda x: (x.dataset, x.size))
        for dataset, size, name in found.masks
        if (dataset, size) == (crops.dataset, crops.size) and (dataset, size, name) in used
    ]
    blocks = [
        "# Tables",
        "Written by `python -m experiments.tables` from a results table.",
        f"**Protocol `{escape(protocol)}`:** {_PROTOCOLS[protocol]}",
        _READING + _OTHER_PROTOCOL * (protocol != "paper"),
        *_diverged(found),
    ]
    if rows:
        blocks += [
            "**Measured on** (hashes are the first 12 digits of SHA-256):",
            table(pd.DataFrame(rows), 8),
        ]
    return blocks + _measured_with(found)


def _diverged(found: Results) -> list[str]:
    """When and why trainings diverged."""
    lines = [
        f"- {escape(x.title)}, seed {x.seed}, step {x.diverged.get('step', '?')}: "
        f"{escape(x.diverged.get('reason', 'unknown reason'))}"
        for x in found.evaluations
        if x.diverged
    ]
    note = "**Diverged** and were not measured; numbers are of the other seeds, if there are any:"
    return [note, "\n".join(lines)] if lines else []


def provenance(found: Results) -> list[str]:
    """The networks that were evaluated, and what they were trained with."""
    rows = [_network(x, x.run) for x in found.evaluations if x.run]
    blocks = ["## Provenance", table(pd.DataFrame(rows), 7)] if rows else []
    return blocks + _unlike_the_paper(found)


def _unlike_the_paper(found: Results) -> list[str]:
    """What all trainings do otherwise than the paper's configuration, though not all alike."""
    runs = [x.run for x in found.evaluations if x.kind == "trained"]
    configs = [_fields(run["config"]) for run in runs if "config" in run]
    paper = _fields(json.loads(json.dumps(to_dict(paper_512.get_config()))))
    lines = []
    for name, theirs in paper.items():
        # Results of earlier versions lack the fields that came later.
        ours = [config.get(name, theirs) for config in configs]
        if ours and theirs not in ours:
            values = " or ".join(dict.fromkeys(map(str, ours)))
            lines.append(f"- `{name}`: {escape(values)}, not {escape(str(theirs))}")
    note = (
        "**Unlike the paper's configuration** (`experiments/configs/paper_512.py`), in all of "
        "these trainings:"
    )
    return [note, "\n".join(lines)] if lines else []


def _fields(config: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a config that change what is learnt: "train.steps" and so on."""
    return {
        f"{part}.{name}": value
        for part, fields in config.items()
        if isinstance(fields, Mapping)
        for name, value in fields.items()
        if not name.startswith(_HOUSEKEEPING)
    }


def _network(evaluation: Evaluation, run: Mapping[str, Any]) -> dict[str, str]:
    config = run.get("config", {})
    return {
        "method": escape(evaluation.title),
        "seed": str(evaluation.seed),
        "run folder": escape(run.get("folder", "")),
        "checkpoint": escape(run.get("checkpoint", "")),
        "its SHA-256": short_hash(run.get("sha256")),
        "config": escape(config.get("name", "")),
        "git commit": short_hash(run.get("git_commit")),
        "adversarial weight reached": _adversarial_weight(config, run.get("checkpoint")),
    }


def _adversarial_weight(config: Mapping[str, Any], checkpoint: str | None) -> str:
    """The weight of the adversarial loss at a checkpoint's step; empty if it is not known."""
    if not {"loss", "train"} <= set(config) or not checkpoint:
        return ""
    loss, step = config["loss"], step_of(checkpoint) or 0
    # Results of earlier versions have the warm-up in steps.
    steps = loss.get("adversarial_warmup", 0.0) * config["train"]["steps"]
    steps = loss.get("adversarial_warmup_steps", steps)
    reached = min(step / steps, 1.0) if steps else 1.0
    return f"{loss['adversarial_weight'] * reached:.3g}"


def short_hash(sha256: str | None) -> str:
    """Its first 12 digits; empty for None."""
    return f"`{sha256[:12]}`" if sha256 else ""


def _measured_with(found: Results) -> list[str]:
    """Code, versions and machine of the measurements, with the methods that they measured."""
    methods: dict[str, dict[str, None]] = {}
    for x in found.evaluations:
        if not x.diverged:
            versions = (f"{name} {version}" for name, version in x.made.get("versions", {}).items())
            parts = (x.made.get("git_commit"), x.made.get("machine"), *versions)
            environment = escape(", ".join(str(part or "unknown") for part in parts))
            methods.setdefault(environment, {})[escape(x.title)] = None
    lines = [f"- {', '.join(titles)}: {environment}" for environment, titles in methods.items()]
    return ["**Measured with** git commit, machine, versions:", "\n".join(lines)] if lines else []
