"""What an evaluation measured, as JSON from which every table and plot can be made again.

A file holds evaluations, one for each method and seed, and the crop lists that they refer to. Lists
of numbers stand beside their mean, 95 % bootstrap interval and n, which are for its readers: tables
are made from the numbers themselves.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pgi.atomic import write_atomically
from pgi.errors import RuleError
from pgi.evaluation.intervals import estimate


@dataclass(frozen=True)
class CropList:
    """Which crops of which photographs; see `pgi.evaluation.crops`.

    Attributes:
        dataset: as `data.load` takes it.
        size: side of the crops in pixels.
        crop: how they are cut, as in `DataConfig`.
        photographs: the photograph's name, for each crop.
        places: top, left, height and width in it, in pixels, for each crop.
        sha256: of names and places.
        pixels_sha256: of what was cut.
    """

    dataset: str
    size: int
    crop: str
    photographs: Sequence[str]
    places: Sequence[Sequence[int]]
    sha256: str
    pixels_sha256: str

    @property
    def folder(self) -> str:
        """What files of these crops lie in: "div2k_512_1a2b3c4d", by the start of the hash."""
        return f"{file_name(self.dataset)}_{self.size}_{self.sha256[:8]}"


@dataclass(frozen=True)
class Score:
    """A method's numbers on one crop list under one mask set, by one protocol.

    Attributes:
        crops: the crop list's `sha256`.
        masks: the mask set's name, see `pgi.evaluation.mask_sets`.
        masks_sha256: of the masks, one for each crop.
        protocol: of `pgi.metrics.PROTOCOLS`.
        values: a number for each crop, by metric: "l1", "psnr", "ssim".
        seconds: median time an image, if it was measured.
    """

    crops: str
    masks: str
    masks_sha256: str
    protocol: str
    values: Mapping[str, Sequence[float]]
    seconds: float | None = None


@dataclass(frozen=True)
class Evaluation:
    """All scores of one method, of one seed.

    Attributes:
        method: its short name, such as "pg" or "telea".
        title: what tables and pictures call it.
        kind: "trained", "classical" (needs no training) or "outputs" (a folder of results).
        seed: of the training; 0 for what has none.
        run: what was measured, as plain values: of a trained one its run folder's name,
            checkpoint, "sha256", config and git commit; of a folder of results its name.
        made: with what: git commit, versions, machine.
        diverged: step and reason, if the training diverged; there are no scores then.
        scores: what was measured.
    """

    method: str
    title: str
    kind: str
    seed: int = 0
    run: Mapping[str, Any] | None = None
    made: Mapping[str, Any] = field(default_factory=dict)
    diverged: Mapping[str, Any] | None = None
    scores: Sequence[Score] = ()


@dataclass(frozen=True)
class Results:
    """Evaluations, and the crop lists that they refer to by `sha256`."""

    crop_lists: Mapping[str, CropList] = field(default_factory=dict)
    evaluations: Sequence[Evaluation] = ()

    def titles(self) -> dict[str, str]:
        """The methods' titles by their names, in order."""
        return {evaluation.method: evaluation.title for evaluation in self.evaluations}

    def values(
        self,
        method: str,
        metric: str,
        *,
        dataset: str,
        size: int,
        masks: str,
        protocol: str = "paper",
    ) -> np.ndarray | None:
        """A metric's numbers, `[seeds, photographs]`; crops of one photograph are averaged.

        PSNR is infinite where a result is the truth. None if there is no number, as for what
        diverged with every seed.
        """
        scores = self._scores(method, dataset, size, masks)
        lists = [
            _by_photograph(score.values[metric], self.crop_lists[score.crops].photographs)
            for score in _first_of_each_seed(x for x in scores if x[1].protocol == protocol)
            if metric in score.values
        ]
        return np.stack(lists) if lists else None

    def photographs(self, dataset: str, size: int) -> list[str]:
        """The names of the photographs, in the order of their `values`."""
        lists = [x for x in self.crop_lists.values() if (x.dataset, x.size) == (dataset, size)]
        return list(dict.fromkeys(lists[0].photographs)) if lists else []

    def seconds(self, method: str, *, dataset: str, size: int, masks: str) -> float | None:
        """Time an image, the median over seeds of their medians; None if it was not measured."""
        scores = self._scores(method, dataset, size, masks)
        times = {seed: x.seconds for seed, x in scores if x.seconds is not None}
        return statistics.median(times.values()) if times else None

    def diverged(self, method: str) -> list[Evaluation]:
        """The method's evaluations whose training diverged."""
        return [x for x in self.evaluations if x.method == method and x.diverged]

    def _scores(self, method: str, dataset: str, size: int, masks: str) -> list[tuple[int, Score]]:
        """Seeds and scores."""
        return [
            (evaluation.seed, score)
            for evaluation in self.evaluations
            if evaluation.method == method
            for score in evaluation.scores
            if (self.crop_lists[score.crops].dataset, self.crop_lists[score.crops].size)
            == (dataset, size)
            and score.masks == masks
        ]


def file_name(dataset: str) -> str:
    """A dataset's name as part of a file's, which has at most 255 bytes."""
    return re.sub(r"\W+", "_", dataset).strip("_")[-60:]


def join(parts: Iterable[Results]) -> Results:
    """All of them in one. Of a number that was measured twice, the first counts.

    Raises:
        RuleError: they were measured on different crops of a dataset at one size, or under
            different masks of one name, and so cannot be compared; or two checkpoints have the
            same name; or one score has other numbers in another part.
    """
    every = list(parts)
    crop_lists = [crops for part in every for crops in part.crop_lists.values()]
    evaluations = [evaluation for part in every for evaluation in part.evaluations]
    seen: dict[tuple[Any, ...], str] = {}
    for crops in crop_lists:
        _check_same(seen, ("crops", crops.dataset, crops.size), crops.sha256)
        _check_same(seen, ("pixels", crops.dataset, crops.size), crops.pixels_sha256)
    for evaluation in evaluations:
        sha256 = (evaluation.run or {}).get("sha256", "")
        _check_same(seen, ("method", evaluation.method, f"seed {evaluation.seed}"), sha256)
        for score in evaluation.scores:
            _check_same(seen, ("masks", score.crops, score.masks), score.masks_sha256)
            which = (evaluation.method, evaluation.seed, score.crops, score.masks, score.protocol)
            numbers = hashlib.sha256(repr(sorted(score.values.items())).encode()).hexdigest()
            _check_same(seen, ("numbers", *which), numbers)
    return Results({x.sha256: x for x in crop_lists}, tuple(evaluations))


def write(path: Path, results: Results) -> None:
    """Writes a results file, whole or not at all."""
    described = asdict(results)
    described["crop_lists"] = list(described["crop_lists"].values())
    for evaluation in described["evaluations"]:
        for score in evaluation["scores"]:
            photographs = results.crop_lists[score["crops"]].photographs
            for metric, numbers in score["values"].items():
                score["values"][metric] = {
                    **asdict(estimate(_by_photograph(numbers, photographs)[np.newaxis])),
                    "values": [float(f"{number:.7g}") for number in numbers],
                }
    text = json.dumps(_without_infinity(described), indent=1, allow_nan=False)
    # The innermost lists on a line each, not an item a line; no string of JSON holds a line break.
    text = re.sub(r"\[\n[^\[\]{}]*\]", lambda found: re.sub(r"\n *", " ", found[0]), text)
    write_atomically(path, text.encode() + b"\n")


def read(path: Path) -> Results:
    """Reads a results file.

    Raises:
        RuleError: it holds something else.
        OSError: it cannot be read.
    """
    try:
        described = json.loads(path.read_bytes())
        crop_lists = [CropList(**crops) for crops in described["crop_lists"]]
        evaluations = [
            Evaluation(**{**x, "scores": tuple(_score(score) for score in x["scores"])})
            for x in described["evaluations"]
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RuleError(f"{path} is no results file of this version: {error}") from error
    named = {score.crops for x in evaluations for score in x.scores}
    if unlisted := named - {crops.sha256 for crops in crop_lists}:
        raise RuleError(f"{path} lacks the crop lists {', '.join(sorted(unlisted))}")
    return Results({crops.sha256: crops for crops in crop_lists}, tuple(evaluations))


def _score(described: dict[str, Any]) -> Score:
    lists = {metric: x["values"] for metric, x in described["values"].items()}
    values = {m: [math.inf if x is None else x for x in numbers] for m, numbers in lists.items()}
    return dataclasses.replace(Score(**described), values=values)


def _by_photograph(numbers: Sequence[float], photographs: Sequence[str]) -> np.ndarray:
    """The mean over the crops of each photograph, in the order of their first crops."""
    order = {name: place for place, name in enumerate(dict.fromkeys(photographs))}
    places = [order[name] for name in photographs]
    return np.bincount(places, numbers) / np.bincount(places)


def _first_of_each_seed(scores: Iterable[tuple[int, Score]]) -> list[Score]:
    found: dict[int, Score] = {}
    for seed, score in scores:
        found.setdefault(seed, score)
    return list(found.values())


def _check_same(seen: dict[tuple[Any, ...], str], key: tuple[Any, ...], sha256: str) -> None:
    first = seen.setdefault(key, sha256)
    if first != sha256:
        raise RuleError(
            f"results must be of the same {key[0]} to be compared, got sha256 {first[:12]} and "
            f"{sha256[:12]} of {', '.join(map(str, key[1:]))}"
        )


def _without_infinity(described: Any) -> Any:
    """JSON has no infinity: None stands for it."""
    if isinstance(described, Mapping):
        return {key: _without_infinity(value) for key, value in described.items()}
    if isinstance(described, (list, tuple)):
        return [_without_infinity(value) for value in described]
    infinite = isinstance(described, float) and math.isinf(described)
    return None if infinite else described
