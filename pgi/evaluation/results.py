"""Results of evaluations: a table with a row per number, and its provenance beside it.

    results.csv.gz             a row per number: method, seed, dataset, size, masks, protocol,
                               metric, crop, photograph, value; no means
    results.provenance.json    what each method and seed was, hashes of crops and masks, versions

Dataset and size name a list of crops, of which there is one in a file. Times are rows too: metric
"seconds", protocol "time". `pandas.read_csv` reads the table, and any mean is a pivot of it.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pgi.arrays import FloatArray
from pgi.atomic import write_atomically
from pgi.errors import RuleError

FILE = "results.csv.gz"
_TYPES = {
    "method": str,
    "seed": int,
    "dataset": str,
    "size": int,
    "masks": str,
    "protocol": str,
    "metric": str,
    "crop": int,
    "photograph": str,
    "value": float,
}
COLUMNS = list(_TYPES)
# Metric and protocol of the rows that hold the time per image.
SECONDS, TIME = "seconds", "time"
_DAMAGE = (zlib.error, EOFError)
# Tables unpack into some ten times their size; one from elsewhere could fill the memory.
_LARGEST_RATIO, _SMALL = 100, 2**24


@dataclass(frozen=True)
class CropList:
    """Which crops of which photographs; see `pgi.evaluation.crops`.

    Attributes:
        dataset: as `data.load` takes it.
        size: side of the crops in pixels.
        crop: how they are cut, as in `DataConfig`.
        lines: a line "NAME TOP LEFT HEIGHT WIDTH" per crop, in pixels of the photograph.
        sha256: of size, kind and lines, as docs/EVALUATION.md says.
        pixels_sha256: of the pixels that were cut.
    """

    dataset: str
    size: int
    crop: str
    lines: Sequence[str]
    sha256: str
    pixels_sha256: str

    @property
    def photographs(self) -> list[str]:
        """The photograph's name, for each crop."""
        return [line.rsplit(" ", 4)[0] for line in self.lines]

    @property
    def places(self) -> list[tuple[int, ...]]:
        """Top, left, height and width in the photograph, for each crop."""
        return [tuple(map(int, line.rsplit(" ", 4)[1:])) for line in self.lines]

    @property
    def folder(self) -> str:
        """Folder of files of these crops, with the start of the hash: "div2k_512_1a2b3c4d"."""
        return f"{file_name(self.dataset)}_{self.size}_{self.sha256[:8]}"


@dataclass(frozen=True)
class Evaluation:
    """What one method is, with one seed, and how it was measured.

    Attributes:
        method: its short name, such as "pg" or "telea".
        title: its name in tables and pictures.
        kind: "trained", "deepfillv2" (a checkpoint of DeepFillv2's own program), "classical" (needs
            no training) or "outputs" (a folder of results).
        seed: of the training; 0 for a method without one.
        run: plain values. Of a trained model: "folder" (the run folder's name), "checkpoint", its
            "sha256", "config" and "git_commit". Of DeepFillv2's checkpoint: the same without
            "git_commit". Of a folder of results: "folder".
        made: git commit, versions and machine of the measurement.
        diverged: step and reason, if the training diverged; there are no numbers then.
    """

    method: str
    title: str
    kind: str
    seed: int = 0
    run: Mapping[str, Any] = field(default_factory=dict)
    made: Mapping[str, Any] = field(default_factory=dict)
    diverged: Mapping[str, Any] | None = None


def identity(kind: str, run: Mapping[str, Any]) -> dict[str, Any]:
    """What tells a method's numbers from those of another checkpoint, of `Evaluation`'s values.

    Not the whole config, to which a later version may add fields.
    """
    if "sha256" in run:
        order = run.get("config", {}).get("channel_order")
        return {"kind": kind, "sha256": run["sha256"], "channel_order": order}
    return {"kind": kind, **run}


def _empty() -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in _TYPES.items()})


@dataclass(frozen=True, eq=False)
class Results:
    """Numbers, and what they are of.

    Attributes:
        scores: a row per number, with `COLUMNS`; crops of a photograph in their order.
        evaluations: of the methods and seeds, in the order of the tables.
        crop_lists: one per dataset and size.
        masks: SHA-256 of the masks by dataset, size and name of the mask set.
    """

    scores: pd.DataFrame = field(default_factory=_empty)
    evaluations: Sequence[Evaluation] = ()
    crop_lists: Sequence[CropList] = ()
    masks: Mapping[tuple[str, int, str], str] = field(default_factory=dict)

    def titles(self) -> dict[str, str]:
        """The methods' titles by their names, in order."""
        return {x.method: x.title for x in self.evaluations}

    def by_photograph(self) -> pd.DataFrame:
        """The metrics with the crops of a photograph averaged: `COLUMNS` without "crop"."""
        keys = [name for name in COLUMNS if name not in ("crop", "value")]
        metrics = self.scores[self.scores.metric != SECONDS]
        return metrics.groupby(keys, sort=False, as_index=False).value.mean()

    def seconds(self) -> pd.DataFrame:
        """Time per image by method, dataset and size: the median over seeds of their medians."""
        timed = self.scores[self.scores.metric == SECONDS]
        keys = ["method", "dataset", "size"]
        seeds = timed.groupby([*keys, "seed"], as_index=False).value.median()
        return seeds.groupby(keys, as_index=False).value.median()


def rows(
    method: str,
    seed: int,
    crops: CropList,
    masks: str,
    protocol: str,
    metric: str,
    values: Sequence[float] | FloatArray,
) -> pd.DataFrame:
    """The table's rows of a metric's values, one per crop."""
    return pd.DataFrame(
        {
            "method": method,
            "seed": seed,
            "dataset": crops.dataset,
            "size": crops.size,
            "masks": masks,
            "protocol": protocol,
            "metric": metric,
            "crop": range(len(crops.lines)),
            "photograph": crops.photographs,
            "value": np.asarray(values, float),
        }
    )


def select(table: pd.DataFrame, **wanted: Any) -> pd.DataFrame:
    """The rows whose columns have the values: `select(scores, method="pg", size=128)`."""
    for column, value in wanted.items():
        table = table[table[column] == value]
    return table


def matrix(numbers: pd.DataFrame) -> FloatArray:
    """One method's numbers of one metric as `[seeds, photographs]`.

    Args:
        numbers: of `Results.by_photograph`; photographs stay in the order of their first rows.
    """
    table = numbers.pivot(index="seed", columns="photograph", values="value")
    return np.asarray(table[numbers.photograph.unique()])


def file_name(dataset: str) -> str:
    """A dataset's name as part of a file's, which has at most 255 bytes."""
    return re.sub(r"\W+", "_", dataset).strip("_")[-60:]


def join(parts: Iterable[Results]) -> Results:
    """All of them in one; a number that several parts hold counts once, a time's first.

    Raises:
        RuleError: they were measured on different crops of a dataset at one size, or under
            different masks of one name, and so cannot be compared; or two checkpoints have the
            same name; or a number differs between parts.
    """
    every = list(parts)
    evaluations = [x for part in every for x in part.evaluations]
    crop_lists = [x for part in every for x in part.crop_lists]
    hashes: list[tuple[tuple[str | int, ...], str]] = []
    for x in crop_lists:
        hashes.append((("crops", x.dataset, x.size), x.sha256))
        hashes.append((("pixels", x.dataset, x.size), x.pixels_sha256))
    for y in evaluations:
        hashes.append((("method", y.method, f"seed {y.seed}"), y.run.get("sha256", "")))
    hashes += [(("masks", *place), sha256) for x in every for place, sha256 in x.masks.items()]
    first = dict(reversed(hashes))
    for (kind, *place), sha256 in hashes:
        if sha256 != first[(kind, *place)]:
            raise RuleError(
                f"results must be of the same {kind} to be compared, got sha256 "
                f"{first[(kind, *place)][:12]} and {sha256[:12]} of {', '.join(map(str, place))}"
            )
    tables = [part.scores for part in every]
    scores = pd.concat([_empty(), *tables], ignore_index=True).drop_duplicates()
    again = scores[scores.duplicated(COLUMNS[:-1])]
    for row in again[again.metric != SECONDS].itertuples():
        raise RuleError(
            f"results must be of the same numbers to be compared, got two of {row.method}, "
            f"seed {row.seed}: {row.metric} of {row.photograph}, {row.size} px, {row.masks}"
        )
    return Results(
        scores.drop(again.index),
        [x for n, x in enumerate(evaluations) if x not in evaluations[:n]],
        list({(x.dataset, x.size): x for x in crop_lists}.values()),
        {place: sha256 for x in every for place, sha256 in x.masks.items()},
    )


def write(path: Path, results: Results) -> None:
    """Writes the table, `*.csv.gz`, and its provenance beside it, each whole or not at all.

    Makes the folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    table = results.scores.to_csv(index=False).encode(errors="surrogateescape")
    described = {
        "table_sha256": hashlib.sha256(table).hexdigest(),
        "evaluations": [asdict(x) for x in results.evaluations],
        "crop_lists": [asdict(x) for x in results.crop_lists],
        "masks": [[*place, sha256] for place, sha256 in results.masks.items()],
    }
    # The table's replacement is the moment from which the new results hold: `read` finds the new
    # provenance if the process is killed before it has its name.
    write_atomically(_next(path), json.dumps(described, indent=1).encode() + b"\n")
    write_atomically(path, gzip.compress(table, mtime=0))  # Equal numbers make equal files.
    _next(path).replace(provenance_file(path))


def read(path: Path) -> Results:
    """Reads a table that `write` wrote, compressed or not, with its provenance.

    Raises:
        RuleError: it holds something else, or the two files do not belong together.
        OSError: one of them cannot be read.
    """
    if path.suffix == ".json":
        raise RuleError(
            f"{path} is no results table: earlier versions wrote results.json. Measure again with "
            f"`make evaluate`, which writes {FILE}"
        )
    content = path.read_bytes()
    beside = [x for x in (provenance_file(path), _next(path)) if x.exists()]
    described = [x.read_bytes() for x in beside or [provenance_file(path)]]
    try:
        table = _unpacked(content) if path.suffix == ".gz" else content
        sha256 = hashlib.sha256(table).hexdigest()
        plain = next((x for x in map(json.loads, described) if x["table_sha256"] == sha256), None)
        if plain is None:
            raise ValueError(f"{provenance_file(path).name} is of another table")
        scores = pd.read_csv(
            io.BytesIO(table),
            dtype=_TYPES,
            keep_default_na=False,  # A photograph may be called "NA".
            float_precision="round_trip",
            encoding_errors="surrogateescape",
        )
        found = Results(
            scores,
            [Evaluation(**x) for x in plain["evaluations"]],
            [CropList(**x) for x in plain["crop_lists"]],
            {(dataset, size, name): sha256 for dataset, size, name, sha256 in plain["masks"]},
        )
        _check_described(found)
    except (*_DAMAGE, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RuleError(
            f"{path} is no results table, or damaged: {error}. Remove it and measure again"
        ) from error
    return found


def _unpacked(content: bytes) -> bytes:
    stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)  # gzip.
    most = max(_LARGEST_RATIO * len(content), _SMALL)
    table = stream.decompress(content, most)
    if not stream.eof:
        raise EOFError(f"it is cut off, or unpacks into more than {most:,} bytes")
    return table


def _check_described(found: Results) -> None:
    for x in found.crop_lists:
        if Path(x.folder).name != x.folder:  # Sheets are named after it.
            raise ValueError(f"{x.folder!r} is no folder's name")
    for kind, columns, described in (
        ("crop lists", ["dataset", "size"], {(x.dataset, x.size) for x in found.crop_lists}),
        ("masks", ["dataset", "size", "masks"], {*found.masks}),
        ("evaluations", ["method", "seed"], {(x.method, x.seed) for x in found.evaluations}),
    ):
        if lacking := set(found.scores.groupby(columns).groups) - {*described}:
            raise ValueError(f"its provenance lacks {kind} of {sorted(lacking)}")


def _next(table: Path) -> Path:
    """The provenance while the table that it describes is being written."""
    return provenance_file(table).with_suffix(".next.json")


def provenance_file(table: Path) -> Path:
    """The file beside a table with its provenance."""
    return table.with_name(table.name.removesuffix(".gz").removesuffix(".csv") + ".provenance.json")
