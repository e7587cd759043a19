"""Measures one method: photograph after photograph is cut, filled under its masks and scored.

Only one photograph and a few masks are in memory at a time.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from pgi import metrics
from pgi.arrays import UInt8Array
from pgi.evaluation import results
from pgi.evaluation.journal import Journal
from pgi.evaluation.methods import Case, Method
from pgi.evaluation.progress import progress
from pgi.evaluation.results_folder import ResultsFolder
from pgi.evaluation.tasks import Task, by_crops, write_png


class Wanted(NamedTuple):
    """What is missing of a method in a task.

    Attributes:
        task: its crops and masks.
        protocols: whose numbers are missing.
        timed: whether the times are.
    """

    task: Task
    protocols: Sequence[str]
    timed: bool


def measure(
    method: Method,
    wanted: Sequence[Wanted],
    journal: Journal | None,
    pictures: Path | None,
    folder: ResultsFolder | None,
) -> None:
    """Fills and scores what is missing.

    Args:
        method: fills the holes.
        wanted: what is missing.
        journal: takes the numbers, and says of which photographs it has them already; None if no
            numbers are missing.
        pictures: folder of the method's pictures for sheets; None for none.
        folder: takes the results as pictures; None if they are not written.
    """
    for group in by_crops(part.task for part in wanted):
        crops = group[0].crops
        own = [part for part in wanted if part.task in group]
        missing = journal is not None and any(part.protocols for part in own)
        done = journal.done[crops.listed.folder] if journal and missing else 0
        first, names = crops.by_photograph[done:][:1], crops.listed.photographs
        for part in own:
            if part.timed and first:
                method.fill(part.task.case(first[0][0]))  # The first call traces and allocates.
        start = done if folder is None else 0
        title = f"{method.title}, {crops.listed.folder}"
        with progress(title, len(crops.by_photograph), start) as bar:
            for index in range(start, len(crops.by_photograph)):
                scored = missing and index >= done
                numbers = crops.by_photograph[index]
                scores = [_crop(method, own, n, scored, pictures, folder) for n in numbers]
                if journal and scored:
                    journal.append(crops.listed.folder, names[numbers[0]], scores)
                bar.update()


def _crop(
    method: Method,
    wanted: Sequence[Wanted],
    n: int,
    scored: bool,
    pictures: Path | None,
    folder: ResultsFolder | None,
) -> dict[str, dict[str, dict[str, float]]]:
    """Numbers of one crop by mask set, protocol and metric; pictures are written."""
    scores = {}
    for task, protocols, timed in wanted:
        measured = protocols if scored else ()
        written = folder is None or folder.has(method, task, n)
        if written and not measured:
            continue
        case = task.case(n)
        began = time.perf_counter()
        filled = method.fill(case)
        seconds = time.perf_counter() - began
        if measured:
            scores[task.masks] = _scores(method, task, n, case, filled, measured)
            if timed:
                scores[task.masks][results.TIME] = {results.SECONDS: seconds}
        if pictures is not None and n in task.shown():
            _write_levels(pictures / task.place, method, case, filled)
        if folder is not None and not written:
            folder.write(method, task, n, filled)
    return scores


def _scores(
    method: Method,
    task: Task,
    n: int,
    case: Case,
    filled: UInt8Array,
    protocols: Sequence[str],
) -> dict[str, dict[str, float]]:
    truth, scores = task.crops.image(n), {}
    for protocol in protocols:
        judged = method.raw(case) if protocol == "raw" else filled
        values = metrics.evaluate(truth, judged, case.hole, protocol)
        scores[protocol] = {metric: float(value) for metric, value in values.items()}
    return scores


def _write_levels(place: Path, method: Method, case: Case, filled: UInt8Array) -> None:
    write_png(place / f"{case.name}.png", filled)
    for level, image in enumerate(method.levels(case)):
        write_png(place / f"level_{level}" / f"{case.name}.png", image)


def rows(method: Method, wanted: Sequence[Wanted], journal: Journal) -> list[pd.DataFrame]:
    """The journal's numbers as rows of results, for each metric of each protocol and task."""
    columns: dict[tuple[str, str], dict[tuple[str, str], list[float]]] = {}
    for folder, scores in journal.scores():
        for masks, protocols in scores.items():
            column = columns.setdefault((folder, masks), {})
            for protocol, values in protocols.items():
                for metric, value in values.items():
                    column.setdefault((protocol, metric), []).append(value)
    return [
        results.rows(
            method.name, method.seed, part.task.crops.listed, part.task.masks, *names, values
        )
        for part in wanted
        if part.protocols
        for names, values in columns[part.task.crops.listed.folder, part.task.masks].items()
    ]
