"""Runs methods over the same crops and masks, and keeps their numbers and pictures.

    OUTPUT/results.csv.gz, results.provenance.json    numbers, see `pgi.evaluation.results`
    OUTPUT/pictures/METHOD/CROPS/MASKS/0000.png       results of the first crops, for sheets
    OUTPUT/pictures/METHOD/.../level_0/0000.png       those of each level of a pyramid

Results are written after each method, and what they hold already is not computed again: the same
call continues an interrupted one. Only one process may write to an output folder at a time.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from pgi import metrics
from pgi.errors import RuleError
from pgi.evaluation import results
from pgi.evaluation.methods import Method
from pgi.evaluation.results import Evaluation, Results, select
from pgi.evaluation.tasks import Task, write_png
from pgi.provenance import provenance
from pgi.rules import check, check_choice

# The masks under which the time per image is measured, as in the paper (section 4.1).
TIMED = "center"
# Folders of pictures beside those of the methods.
TRUTH, MASKED = "truth", "masked"


def compare(
    methods: Sequence[Method], compared: Sequence[Task], protocols: Sequence[str], output: Path
) -> Results:
    """Measures every method in every task.

    Args:
        methods: what fills the holes.
        compared: crops and masks.
        protocols: of `pgi.metrics.PROTOCOLS`.
        output: folder of results and pictures. Earlier results of the same checkpoints are kept,
            unless they are of other crops of the same dataset and size.

    Returns:
        All results in the folder.

    Raises:
        RuleError: two methods have the same name and seed, or a name is not fit for a folder; a
            protocol is unknown; a method's result is missing or of another size; the folder's
            results cannot be read.
    """
    check("protocols", "at least one", bool(protocols), list(protocols))
    for protocol in protocols:
        check_choice("protocol", metrics.PROTOCOLS, protocol)
    _check_names(methods)
    file = output / results.FILE
    found = _still_valid(results.read(file) if file.exists() else Results(), compared)
    for task in compared:
        cases = task.cases()
        for n in task.shown():
            place = Path(task.place) / f"{cases[n].name}.png"
            write_png(output / "pictures" / TRUTH / place, task.crops.images[n])
            write_png(output / "pictures" / MASKED / place, cases[n].image)
    for method in methods:
        # Only of the first seed: pictures of another would have the same names.
        first = next(x for x in methods if x.name == method.name)
        pictures = output / "pictures" / method.name if method is first else None
        found = _measured(found, method, compared, protocols, pictures)
        results.write(file, found)
    return found


def _check_names(methods: Iterable[Method]) -> None:
    seen: set[tuple[str, int]] = set()
    for method in methods:
        name, seed = method.name, method.seed
        fits = bool(re.fullmatch(r"\w+", name)) and name not in (TRUTH, MASKED)
        check("name of a method", f"letters and digits, not {TRUTH} or {MASKED}", fits, name)
        if (name, seed) in seen:
            raise RuleError(
                f"methods must differ in name or seed, got two of {name}, seed {seed}; name them, "
                "as NAME=PATH"
            )
        seen.add((name, seed))


def _still_valid(known: Results, compared: Sequence[Task]) -> Results:
    """Drops numbers on crops or masks that have changed, and takes the hashes of now."""
    lists = {(x.dataset, x.size): x for x in known.crop_lists}
    now = {(x.dataset, x.size): x for x in (task.crops.listed for task in compared)}
    changed = {place for place, crops in now.items() if lists.get(place, crops) != crops}
    masks = {tuple(task.where.values()): task.masks_sha256 for task in compared}
    scores, kept = known.scores, {}
    for (dataset, size, name), sha256 in known.masks.items():
        if (dataset, size) in changed or masks.get((dataset, size, name), sha256) != sha256:
            gone = select(scores, dataset=dataset, size=size, masks=name)
            scores = scores.drop(gone.index)
        else:
            kept[dataset, size, name] = sha256
    return replace(
        known, scores=scores, crop_lists=list((lists | now).values()), masks=kept | masks
    )


def _measured(
    found: Results,
    method: Method,
    compared: Sequence[Task],
    protocols: Sequence[str],
    pictures: Path | None,
) -> Results:
    """The results with a method's missing numbers; those of another checkpoint are dropped."""
    evaluations = {(x.method, x.seed): x for x in found.evaluations}
    before = evaluations.get((method.name, method.seed))
    same = before is not None and (before.kind, before.run) == (method.kind, method.run)
    own = select(found.scores, method=method.name, seed=method.seed)
    kept = own if same and not method.diverged else own[:0]
    if pictures is not None and not same:
        shutil.rmtree(pictures, ignore_errors=True)
    if method.kind == "outputs":  # The files may have changed, and are measured quickly.
        for task in compared:
            kept = kept.drop(select(kept, **task.where).index)
    covered = [task for task in compared if method.covers(task.place)]
    places = ", ".join(task.place for task in compared)
    check(f"results of {method.name}", f"of one of {places}", bool(covered), "none of them")
    new: list[pd.DataFrame] = []
    for task in () if method.diverged else covered:
        done = set(select(kept, **task.where).protocol)
        if missing := [protocol for protocol in protocols if protocol not in done]:
            timed = task.masks == TIMED and method.kind != "outputs" and results.TIME not in done
            new += _measure(method, task, missing, timed, pictures)
    evaluations[method.name, method.seed] = Evaluation(
        method.name,
        method.title,
        method.kind,
        method.seed,
        method.run,
        _made(before.made if before and len(kept) else {}, measured=bool(new)),
        method.diverged,
    )
    scores = pd.concat([found.scores.drop(own.index), kept, *new], ignore_index=True)
    return replace(found, scores=scores, evaluations=tuple(evaluations.values()))


def _made(before: Mapping[str, Any], measured: bool) -> dict[str, Any]:
    """Provenance of all numbers of a method, of the kept ones too."""
    now = provenance() if measured or not before else dict(before)
    for key in ("git_commit", "machine"):
        if before and before.get(key) != now.get(key):
            now[key] = f"{before.get(key)}; {now.get(key)}"
    return now


def _measure(
    method: Method, task: Task, protocols: Sequence[str], timed: bool, pictures: Path | None
) -> list[pd.DataFrame]:
    """Rows of results for each metric of each protocol, and for the times."""
    cases = task.cases()
    if timed:
        method.fill(cases[0])  # The first call traces and allocates.
    filled, seconds = [], []
    for case in tqdm(cases, f"{method.title}, {task.place}", leave=False):
        began = time.perf_counter()
        filled.append(method.fill(case))
        seconds.append(time.perf_counter() - began)
    if pictures is not None:
        for n in task.shown():
            name = f"{cases[n].name}.png"
            write_png(pictures / task.place / name, filled[n])
            for level, image in enumerate(method.levels(cases[n])):
                write_png(pictures / task.place / f"level_{level}" / name, image)
    raw = [method.raw(case) for case in cases] if "raw" in protocols else filled
    values: dict[tuple[str, str], Any] = {}
    for protocol in protocols:
        judged = np.stack(raw if protocol == "raw" else filled)
        measured = metrics.evaluate(task.crops.images, judged, task.holes, protocol)
        values |= {(protocol, metric): numbers for metric, numbers in measured.items()}
    if timed:
        values[results.TIME, results.SECONDS] = seconds
    return [
        results.rows(method.name, method.seed, task.crops.listed, task.masks, *names, numbers)
        for names, numbers in values.items()
    ]
