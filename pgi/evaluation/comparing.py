"""Runs methods over the same crops and masks, and keeps their numbers and pictures.

    OUTPUT/results.csv.gz, results.provenance.json    numbers, see `pgi.evaluation.results`
    OUTPUT/pictures/METHOD/CROPS/MASKS/0000.png       results of the first crops, for sheets
    OUTPUT/pictures/METHOD/.../level_0/0000.png       those of each level of a pyramid
    OUTPUT/METHOD_SEED.unfinished.jsonl               numbers of a method that is being measured

Photographs are read one after another, so memory does not depend on their number. Results are
written after each method, and what they hold already is not computed again. Until then a journal
has the numbers of each finished photograph: the same call continues an interrupted one. Only one
process can write to an output folder at a time; a second one is refused.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from pgi import metrics
from pgi.errors import RuleError
from pgi.evaluation import results
from pgi.evaluation.journal import Journal, merged
from pgi.evaluation.measuring import Wanted, measure, rows
from pgi.evaluation.methods import Method
from pgi.evaluation.results import Evaluation, Results, identity, select
from pgi.evaluation.results_folder import ResultsFolder
from pgi.evaluation.tasks import MASKED, TRUTH, Task, write_png
from pgi.provenance import provenance
from pgi.rules import check, check_choice

# The masks under which the time per image is measured, as in the paper (section 4.1).
TIMED = "center"


def compare(
    methods: Sequence[Method],
    compared: Sequence[Task],
    protocols: Sequence[str],
    output: Path,
    folder: Path | None = None,
) -> Results:
    """Measures every method in every task.

    Args:
        methods: what fills the holes.
        compared: crops and masks.
        protocols: of `pgi.metrics.PROTOCOLS`.
        output: folder of results and pictures. Earlier results of the same checkpoints are kept,
            unless they are of other crops of the same dataset and size. A printed line says how
            many are not.
        folder: for all results as pictures, see `pgi.evaluation.results_folder`; what it lacks is
            filled again if need be. Of several seeds of a method it takes the first that
            did not diverge.

    Returns:
        All results in the folder.

    Raises:
        RuleError: two methods have the same name and seed, or a name is not fit for a folder; a
            protocol is unknown; a method's result is missing or of another size; the folder's
            results cannot be read, or another process is writing to it.
    """
    check("protocols", "at least one", bool(protocols), list(protocols))
    for protocol in protocols:
        check_choice("protocol", metrics.PROTOCOLS, protocol)
    _check_names(methods)
    with contextlib.ExitStack() as alone:
        for place in {path.resolve() for path in (output, folder) if path is not None}:
            place.mkdir(parents=True, exist_ok=True)
            alone.enter_context(_alone(place))
        file = output / results.FILE
        written = None if folder is None else ResultsFolder(folder)
        known = results.read(file) if file.exists() else Results()
        found = _still_valid(known, compared)
        if gone := len(known.scores) - len(found.scores):
            print(f"discarded {gone:,} numbers in {file}: of other crops or masks")
        for task in compared:
            for n in task.shown():
                name = f"{task.place}/{task.crops.name(n)}.png"
                write_png(output / "pictures" / TRUTH / name, task.crops.image(n))
                write_png(output / "pictures" / MASKED / name, task.case(n).image)
        for method in methods:
            # Only of the first seed that can fill: pictures of another would have the same names.
            seeds = [x for x in methods if x.name == method.name]
            first = method is next((x for x in seeds if not x.diverged), seeds[0])
            pictures = output / "pictures" / method.name if first else None
            found, journal = _measured(
                found, method, compared, protocols, output, pictures, written if first else None
            )
            results.write(file, found)
            if journal is not None:
                journal.path.unlink()
        return found


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keeps other processes from writing to a folder; the system ends it with the process.

    Raises:
        RuleError: another process does so already.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise RuleError(f"{folder} is being written to by another evaluation") from error
    except OSError:  # A file system without locks.
        pass
    try:
        yield
    finally:
        os.close(handle)


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
    output: Path,
    pictures: Path | None,
    folder: ResultsFolder | None,
) -> tuple[Results, Journal | None]:
    """The results with a method's missing numbers, and the journal that had the new ones.

    Numbers of another checkpoint are dropped.
    """
    evaluations = {(x.method, x.seed): x for x in found.evaluations}
    before = evaluations.get((method.name, method.seed))
    now = identity(method.kind, method.run)
    same = before is not None and identity(before.kind, before.run) == now
    own = select(found.scores, method=method.name, seed=method.seed)
    kept = own if same and not method.diverged else own[:0]
    if len(own) > len(kept):
        print(f"discarded {len(own):,} numbers of {method.title}: of another checkpoint")
    if method.kind == "outputs":  # The files may have changed, and are measured quickly.
        for task in compared:
            kept = kept.drop(select(kept, **task.where).index)
    covered = [task for task in compared if method.covers(task.place, task.crops.names)]
    places = ", ".join(task.place for task in compared)
    check(f"results of {method.name}", f"of one of {places}", bool(covered), "none of them")
    wanted = [] if method.diverged else [_wanted(method, x, kept, protocols) for x in covered]
    missing = [part for part in wanted if part.protocols]
    journal, path = None, output / f"{method.name}_{method.seed}.unfinished.jsonl"
    if missing:
        journal = Journal(path, _described(method, missing), provenance())
    else:
        path.unlink(missing_ok=True)  # Of a call that was killed when all was written.
    if pictures is not None and not same and not (journal and journal.done):
        shutil.rmtree(pictures, ignore_errors=True)
    if folder is not None:
        folder.begin(method, [part.task for part in wanted])
    measure(method, missing if folder is None else wanted, journal, pictures, folder)
    made = before.made if before and len(kept) else {}
    evaluations[method.name, method.seed] = Evaluation(
        method.name,
        method.title,
        method.kind,
        method.seed,
        method.run,
        merged(made, journal.made) if journal else made or provenance(),
        method.diverged,
    )
    new = rows(method, missing, journal) if journal else []
    scores = pd.concat([found.scores.drop(own.index), kept, *new], ignore_index=True)
    return replace(found, scores=scores, evaluations=tuple(evaluations.values())), journal


def _wanted(method: Method, task: Task, kept: pd.DataFrame, protocols: Sequence[str]) -> Wanted:
    """What is missing of a method's numbers in a task."""
    done = set(select(kept, **task.where).protocol)
    missing = [protocol for protocol in protocols if protocol not in done]
    timed = task.masks == TIMED and method.kind != "outputs" and results.TIME not in done
    return Wanted(task, missing, timed and bool(missing))


def _described(method: Method, missing: Sequence[Wanted]) -> dict[str, Any]:
    """What tells a method's missing numbers from all others."""
    crops = [part.task.crops.listed for part in missing]
    return {
        "method": [method.name, method.seed],
        "checkpoint": identity(method.kind, method.run),
        "files": [method.fingerprint(part.task.place) for part in missing],
        "crops": [[x.folder, x.sha256, x.pixels_sha256] for x in crops],
        "masks": [[part.task.masks, part.task.masks_sha256] for part in missing],
        "protocols": [[*part.protocols, part.timed] for part in missing],
    }
