"""Runs methods over the same crops and masks, and keeps numbers and pictures of all.

    OUTPUT/results.json                               numbers, see `pgi.evaluation.results`
    OUTPUT/pictures/METHOD/CROPS/MASKS/0000.png       results of the first crops, for sheets
    OUTPUT/pictures/METHOD/.../level_0/0000.png       those of each level of a pyramid

Results are written after each method, and what is in them already is not computed again: the same
call goes on where it stopped. One process an output at a time.
"""

from __future__ import annotations

import re
import shutil
import statistics
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from pgi import metrics
from pgi.errors import RuleError
from pgi.evaluation import results
from pgi.evaluation.methods import Method
from pgi.evaluation.results import CropList, Evaluation, Results, Score
from pgi.evaluation.tasks import Task, write_png
from pgi.provenance import provenance
from pgi.rules import check, check_choice

# The masks under which the time an image is measured, as in the paper (section 4.1).
TIMED = "center"
# Beside the methods' results.
TRUTH, MASKED = "truth", "masked"


def compare(
    methods: Sequence[Method], compared: Sequence[Task], protocols: Sequence[str], output: Path
) -> Results:
    """Measures every method in every task.

    Args:
        methods: what fills the holes.
        compared: crops and masks.
        protocols: of `pgi.metrics.PROTOCOLS`.
        output: folder for results and pictures. Results that it holds of the same checkpoints are
            kept, unless they are of other crops of the same dataset and size.

    Returns:
        All that the folder's results hold now.

    Raises:
        RuleError: two methods have the same name and seed, or a name is no name for a folder; a
            protocol is unknown; a method's result is missing or of another size; the folder's
            results are none.
    """
    check("protocols", "at least one", bool(protocols), list(protocols))
    for protocol in protocols:
        check_choice("protocol", metrics.PROTOCOLS, protocol)
    _check_names(methods)
    file = output / "results.json"
    lists = {task.crops.listed.sha256: task.crops.listed for task in compared}
    evaluations = _still_valid(file, lists)
    for task in compared:
        cases = task.cases()
        for n in task.shown():
            place = Path(task.place) / f"{cases[n].name}.png"
            write_png(output / "pictures" / TRUTH / place, task.crops.images[n])
            write_png(output / "pictures" / MASKED / place, cases[n].image)
    for method in methods:
        before = evaluations.get((method.name, method.seed))
        same = before is not None and (before.kind, before.run) == (method.kind, method.run)
        kept = before.scores if before and same else ()
        # Pictures of one seed: those of another would lie at the same place.
        first = next(x for x in methods if x.name == method.name)
        pictures = output / "pictures" / method.name if method is first else None
        if pictures is not None and not same:
            shutil.rmtree(pictures, ignore_errors=True)
        scores = () if method.diverged else _scores(method, compared, protocols, pictures, kept)
        evaluations[method.name, method.seed] = Evaluation(
            method.name,
            method.title,
            method.kind,
            method.seed,
            method.run,
            _made(before.made if before and kept else {}, measured=scores != tuple(kept)),
            method.diverged,
            scores,
        )
        results.write(file, Results(lists, tuple(evaluations.values())))
    return results.read(file)


def _still_valid(file: Path, lists: dict[str, CropList]) -> dict[tuple[str, int], Evaluation]:
    """What was measured before, but for other crops of what is measured now; adds to the lists."""
    known = results.read(file) if file.exists() else Results()
    now = {(x.dataset, x.size) for x in lists.values()}
    pixels = {(x.sha256, x.pixels_sha256) for x in lists.values()}
    valid = {
        sha256: crops
        for sha256, crops in known.crop_lists.items()
        if (crops.dataset, crops.size) not in now or (sha256, crops.pixels_sha256) in pixels
    }
    lists |= {sha256: crops for sha256, crops in valid.items() if sha256 not in lists}
    return {
        (x.method, x.seed): replace(x, scores=tuple(s for s in x.scores if s.crops in valid))
        for x in known.evaluations
    }


def _made(before: Mapping[str, Any], measured: bool) -> dict[str, Any]:
    """With what all scores were made: where some are kept, theirs too."""
    now = provenance() if measured or not before else dict(before)
    for key in ("git_commit", "machine"):
        if before and before.get(key) != now.get(key):
            now[key] = f"{before.get(key)}; {now.get(key)}"
    return now


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


def _scores(
    method: Method,
    compared: Sequence[Task],
    protocols: Sequence[str],
    pictures: Path | None,
    kept: Iterable[Score],
) -> tuple[Score, ...]:
    """The kept scores and those that are missing."""
    covered = [task for task in compared if method.covers(task.place)]
    places = ", ".join(task.place for task in compared)
    check(f"results of {method.name}", f"of one of {places}", bool(covered), "none of them")
    scores = {_key(score): score for score in kept}
    if method.kind == "outputs":  # Their files may be others now; to measure them takes no time.
        asked = {_key(_score(task, x, {})) for task in compared for x in metrics.PROTOCOLS}
        scores = {key: score for key, score in scores.items() if key not in asked}
    for task in covered:
        missing = [x for x in protocols if _key(_score(task, x, {})) not in scores]
        for score in _measure(method, task, missing, pictures):
            scores[_key(score)] = score
    return tuple(scores.values())


def _score(
    task: Task, protocol: str, values: Mapping[str, list[float]], seconds: float | None = None
) -> Score:
    crops = task.crops.listed.sha256
    return Score(crops, task.masks, task.masks_sha256, protocol, values, seconds)


def _key(score: Score) -> tuple[str, ...]:
    return score.crops, score.masks, score.masks_sha256, score.protocol


def _measure(
    method: Method, task: Task, protocols: Sequence[str], pictures: Path | None
) -> Iterator[Score]:
    if not protocols:
        return
    cases = task.cases()
    timed = task.masks == TIMED and method.kind != "outputs"
    if timed:
        method.fill(cases[0])  # Warm.
    filled, seconds = [], []
    for case in tqdm(cases, f"{method.title}, {task.place}", leave=False):
        began = time.perf_counter()
        filled.append(method.fill(case))
        seconds.append(time.perf_counter() - began)
    if pictures is not None:
        _keep(method, task, filled, pictures / task.place)
    raw = [method.raw(case) for case in cases] if "raw" in protocols else filled
    for protocol in protocols:
        judged = np.stack(raw if protocol == "raw" else filled)
        values = metrics.evaluate(task.crops.images, judged, task.holes, protocol)
        lists = {metric: numbers.tolist() for metric, numbers in values.items()}
        yield _score(task, protocol, lists, statistics.median(seconds) if timed else None)


def _keep(method: Method, task: Task, filled: Sequence[np.ndarray], folder: Path) -> None:
    cases = task.cases()
    for n in task.shown():
        name = f"{cases[n].name}.png"
        write_png(folder / name, filled[n])
        for level, image in enumerate(method.levels(cases[n])):
            write_png(folder / f"level_{level}" / name, image)
