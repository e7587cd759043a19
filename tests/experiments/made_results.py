"""Results with hand-made numbers, and the cells of the tables that are made of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from experiments.variants import VARIANTS
from pgi.evaluation import results
from pgi.evaluation.results import CropList, Evaluation, Results, rows

PHOTOGRAPHS = ("first", "second")


class Score(NamedTuple):
    """Numbers of both photographs by metric, and where they were measured."""

    values: Mapping[str, Sequence[float]]
    masks: str = "center"
    size: int = 128
    protocol: str = "paper"
    dataset: str = "samples"


def crop_list(
    dataset: str, size: int, photographs: Sequence[str] = PHOTOGRAPHS, sha256: str | None = None
) -> CropList:
    """Crops of a pixel each; the hash, which nothing checks, is the name and the size."""
    lines = [f"{name} 0 0 1 1" for name in photographs]
    return CropList(dataset, size, "random", lines, sha256 or f"{dataset} {size}", "")


def psnr(*numbers: float) -> dict[str, Sequence[float]]:
    """All metrics, of which these are one."""
    return {"psnr": numbers, "ssim": [x / 100 for x in numbers], "l1": [1 / x for x in numbers]}


def measured(evaluation: Evaluation, *scores: Score) -> Results:
    """Results of one method and seed."""
    lists = {(x.dataset, x.size): crop_list(x.dataset, x.size) for x in scores}
    tables = [
        rows(
            evaluation.method,
            evaluation.seed,
            lists[x.dataset, x.size],
            x.masks,
            x.protocol,
            metric,
            numbers,
        )
        for x in scores
        for metric, numbers in x.values.items()
    ]
    masks = {(x.dataset, x.size, x.masks): f"{x.masks} sha" for x in scores}
    table = pd.concat(tables, ignore_index=True) if tables else Results().scores
    return Results(table, [evaluation], list(lists.values()), masks)


def timed(seconds: float, size: int = 128, dataset: str = "samples") -> Score:
    """A time per image, under the central square."""
    return Score({results.SECONDS: (seconds,) * 2}, "center", size, results.TIME, dataset)


def method(name: str, *seeds: Mapping[str, Sequence[float]] | None, **kwargs: Any) -> Results:
    """A method's seeds with the central square at 128; None: it diverged."""
    diverged = {"step": 1234, "reason": "level_1/l1 is nan"}
    made = {"kind": "trained", "title": f"the {name}", **kwargs}
    return of(
        measured(Evaluation(name, seed=seed, diverged=diverged, **made))
        if x is None
        else measured(Evaluation(name, seed=seed, **made), Score(x))
        for seed, x in enumerate(seeds)
    )


def of(parts: Iterable[Results]) -> Results:
    return results.join(parts)


def everything(dataset: str = "samples") -> Results:
    """All variants and a classical method, under both masks at two sizes."""
    scores = [
        score
        for size in (256, 128)
        for score in (
            Score(psnr(20, 22), "center", size, dataset=dataset),
            timed(0.085, size, dataset),
            Score(psnr(20, 22), "union", size, dataset=dataset),
        )
    ]
    config = {"name": "small", "model": {"levels": [32, 64, 128]}}
    run = {"folder": "runs/x", "checkpoint": "ckpt-1", "sha256": "ab" * 32, "config": config}
    trained = [measured(Evaluation(x, f"our {x}", "trained", 0, run), *scores) for x in VARIANTS]
    return of([*trained, measured(Evaluation("telea", "Telea", "classical"), *scores)])


def parse(text: str) -> list[list[list[str]]]:
    """The cells of all tables, without the rules under their headers."""
    found = re.findall(r"(?:^\|.*\n)+", text.replace("\N{NO-BREAK SPACE}", " "), re.MULTILINE)
    tables = [[re.split(r"(?<!\\)\|", line)[1:-1] for line in x.splitlines()] for x in found]
    assert all(cell.strip(" -:") == "" for table in tables for cell in table[1])
    return [[[cell.strip() for cell in row] for row in x[:1] + x[2:]] for x in tables]


def tables_of(text: str, first: str) -> list[list[list[str]]]:
    return [x for x in parse(text) if x[0][0] == first]


def section(text: str, heading: str) -> str:
    """From a heading to the next one."""
    found = re.search(rf"^### {heading}.*?(?=^##|\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, heading
    return found[0]
