"""Results with hand-made numbers, and the cells of the tables that are made of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.variants import VARIANTS
from pgi.evaluation.results import CropList, Evaluation, Results, Score

PHOTOGRAPHS = ("first", "second")


def score(
    values: Mapping[str, Sequence[float]],
    masks: str = "center",
    size: int = 128,
    protocol: str = "paper",
    seconds: float | None = None,
    dataset: str = "samples",
) -> Score:
    return Score(f"{dataset} {size}", masks, f"{masks} sha", protocol, values, seconds)


def psnr(*numbers: float) -> dict[str, Sequence[float]]:
    """All metrics, of which these are one."""
    return {"psnr": numbers, "ssim": [x / 100 for x in numbers], "l1": [1 / x for x in numbers]}


def method(name: str, *seeds: Mapping[str, Sequence[float]] | None, **kwargs: Any) -> list:
    """A method's evaluations with the central square at 128; None: it diverged."""
    diverged = {"step": 1234, "reason": "level_1/l1 is nan"}
    made = {"kind": "trained", "title": f"the {name}", **kwargs}
    return [
        Evaluation(name, seed=seed, scores=() if x is None else (score(x),), **made)
        if x is not None
        else Evaluation(name, seed=seed, diverged=diverged, **made)
        for seed, x in enumerate(seeds)
    ]


def of(*evaluations: Evaluation) -> Results:
    names = {score.crops for evaluation in evaluations for score in evaluation.scores}
    lists = {
        name: CropList(name.split()[0], int(name.split()[1]), "random", PHOTOGRAPHS, [], name, "")
        for name in sorted(names)
    }
    return Results(lists, evaluations)


def everything(dataset: str = "samples") -> Results:
    """All variants and a classical method, under both masks at two sizes."""
    scores = [
        score(psnr(20, 22), masks, size, seconds=0.085, dataset=dataset)
        for masks in ("center", "freeform")
        for size in (256, 128)
    ]
    run = {"folder": "runs/x", "checkpoint": "ckpt-1", "sha256": "ab" * 32, "config": "small"}
    trained = [
        Evaluation(name, f"our {name}", "trained", 0, run, scores=scores) for name in VARIANTS
    ]
    return of(*trained, Evaluation("telea", "Telea", "classical", scores=scores))


def parse(text: str) -> list[list[list[str]]]:
    """The cells of all tables, without the rules under their headers."""
    found = re.findall(r"(?:^\|.*\n)+", text.replace("\N{NO-BREAK SPACE}", " "), re.MULTILINE)
    rows = [[re.split(r"(?<!\\)\|", line)[1:-1] for line in x.splitlines()] for x in found]
    assert all(cell.strip(" -:") == "" for table in rows for cell in table[1])
    return [[[cell.strip() for cell in row] for row in x[:1] + x[2:]] for x in rows]


def tables_of(text: str, first: str) -> list[list[list[str]]]:
    return [x for x in parse(text) if x[0][0] == first]


def section(text: str, heading: str) -> str:
    """From a heading to the next one."""
    found = re.search(rf"^### {heading}.*?(?=^##|\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, heading
    return found[0]
