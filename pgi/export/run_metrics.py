"""A checkpoint's metrics as plain values, from its run's metrics and from evaluations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pgi.evaluation import results
from pgi.evaluation.intervals import estimate
from pgi.training.run_folder import RunFolder


def validation(run: RunFolder, step: int | None) -> dict[str, float]:
    """The validation during training at a step: "hole_l1", "mean_colour_hole_l1"; {} if none."""
    lines = [line for line in run.read_metrics() if line["step"] == step]
    names = {f"validation/{name}": name for name in ("hole_l1", "mean_colour_hole_l1")}
    if not lines or not set(names) <= set(lines[-1]):
        return {}
    return {name: lines[-1][key] for key, name in names.items()}


def measured(folder: Path, *sha256: str) -> list[dict[str, Any]]:
    """A checkpoint's results in an evaluation's folder, for each protocol, crops, masks and metric.

    Args:
        folder: written by `make evaluate`; without results, there are none.
        sha256: of the checkpoint, or several of equal weights.

    Raises:
        RuleError: the results cannot be read.
    """
    if not (folder / results.FILE).is_file():
        return []
    found = results.read(folder / results.FILE)
    numbers = found.by_photograph()
    evaluations = [x for x in found.evaluations if x.run.get("sha256") in sha256]
    own = [results.select(numbers, method=x.method, seed=x.seed) for x in evaluations]
    where = ["protocol", "dataset", "size", "masks", "metric"]
    groups = (group for rows in own for group in rows.groupby(where, sort=False))
    lines = []
    for (protocol, dataset, size, masks, metric), of_one in groups:
        value = estimate(results.matrix(of_one))
        lines.append(
            {
                "protocol": protocol,
                "dataset": dataset,
                "size": int(size),
                "masks": masks,
                "metric": metric,
                "mean": float(value.mean),
                "interval": value.interval and [float(end) for end in value.interval],
                "photographs": value.n,
            }
        )
    return lines
