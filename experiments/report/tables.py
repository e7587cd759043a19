"""The paper's tables with our numbers, and the published ones beside them.

The published numbers (`published.json`) have tables or columns of their own: they were measured on
other crops and masks.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from experiments.report import cells, notes
from experiments.report.cells import METRICS, escape, fixed
from experiments.variants import GROUPS, OURS, ours_among
from pgi.evaluation.intervals import difference, estimate
from pgi.evaluation.results import Results, matrix, select
from pgi.metrics import PROTOCOLS
from pgi.rules import check, check_choice

PUBLISHED = Path(__file__).parents[1] / "published.json"

# Columns of Tables 1 and 2, and the names that these masks have in `published.json`.
_MASKS = {"center": "square mask", "union": "free-form mask"}
_PUBLISHED_MASKS = {"center": "center", "union": "freeform"}
_HEADINGS = {
    "layers": "Counterpart of Table 3: how many levels",
    "fusion": "Counterpart of Table 4: how levels are fused",
    "dilation": "Counterpart of Table 5: dilation",
    "further": "Further variants and baselines",
}
_CROPS = """\
 Variants without the highest level learn from crops of their own size, which show less of the
photograph than the paper's model sees; the downsampled ones see as much. The paper does not say
which it did."""
_NOTES = {"layers": _CROPS, "further": _CROPS}
_TIME = "time per image, ms"
# What a column of a table is of.
_COLUMN = ["size", "masks", "metric"]


@functools.cache
def published() -> dict[str, Any]:
    """The paper's Tables 1 to 5: "comparisons" by table, "ablations" by group and variant."""
    return json.loads(PUBLISHED.read_text(encoding="utf-8"))


def report(found: Results, protocol: str = "paper") -> str:
    """All tables as Markdown.

    Args:
        found: joined, so that all of it can be compared.
        protocol: of the numbers that are printed.

    Raises:
        RuleError: nothing was measured by the protocol, although not all trainings diverged.
    """
    numbers = found.by_photograph()
    if len(numbers) or not any(x.diverged for x in found.evaluations):
        check("number of scores", "positive", len(numbers) > 0, len(numbers))
        known = [name for name in PROTOCOLS if name in set(numbers.protocol)]
        check_choice("protocol", known, protocol)
    numbers = select(numbers, protocol=protocol)
    blocks = notes.reading(found, numbers, protocol)
    # Their order in the tables.
    numbers = numbers.assign(
        method=pd.Categorical(numbers.method, list(found.titles())),
        masks=pd.Categorical(numbers.masks, list(dict.fromkeys([*_MASKS, *numbers.masks]))),
        metric=pd.Categorical(numbers.metric, list(METRICS)),
    )
    for dataset, of_dataset in numbers.groupby("dataset"):
        blocks += [f"## {escape(dataset)}", *_sections(found, of_dataset)]
    return "\n\n".join([*blocks, *notes.provenance(found)]) + "\n"


def _sections(found: Results, numbers: pd.DataFrame) -> list[str]:
    """The tables of one dataset."""
    masks = {size: set(rows.masks) for size, rows in numbers.groupby("size")}
    both = [size for size, names in masks.items() if set(_MASKS) <= names]
    squares = [size for size, names in masks.items() if "center" in names]
    side = table_1_side(found) or min(both, default=0)
    tables = {side: "1", 2 * side: "2"}
    ablated = side if side in squares else (both or squares or list(masks))[0]
    square = numbers[numbers.masks == "center"]
    blocks = []
    for size in both:
        here = select(numbers, size=size)
        blocks += _comparison(found, here[here.masks.isin(_MASKS)], size, tables.get(size))
    ablations = []
    for group in GROUPS:
        ablations += _ablation(found, select(square, size=ablated), ablated, group)
    blocks += ablations
    for size, rows in numbers.groupby("size"):
        others = rows[~rows.masks.isin(_MASKS if size in both else ["center"])]
        if len(others):
            blocks.append(f"### Other masks, {size} x {size} px")
            blocks += [
                cells.table(_means(found, x)) for _, x in others.groupby("metric", observed=True)
            ]
    if set(squares) - set(both) and (len(squares) > 1 or not ablations):
        note = (
            "Each size has the photographs that are large enough for it. Figure 7 compares sizes "
            "on the same photographs."
        )
        blocks += ["### Square mask at every size", note, cells.table(_means(found, square))]
    return blocks


def _comparison(found: Results, numbers: pd.DataFrame, size: int, number: str | None) -> list[str]:
    """All methods under both masks: the counterpart of the paper's Table 1 or 2, if any."""
    pixels = f"{size} x {size} px"
    table = _means(found, numbers)
    times = select(found.seconds(), dataset=numbers.dataset.iloc[0], size=size)
    if len(times):
        milliseconds = (1000 * times.set_index("method").value).map("{:.1f}".format)
        table[_TIME] = [milliseconds.get(name, "") for name in table.index]
    return [
        f"### Counterpart of Table {number}: {pixels}" if number else f"### Crops of {pixels}",
        cells.table(table),
        *_differences(found, numbers),
        *(_published_comparison(numbers, number) if number else []),
    ]


def _published_comparison(numbers: pd.DataFrame, number: str) -> list[str]:
    paper = published()["comparisons"][number]
    dataset = numbers.dataset.iloc[0]
    # Of "places2/256" and "tfds:places2", the paper has the numbers of "places2".
    name = dataset.removeprefix("tfds:").partition("/")[0]
    known = name in paper["rows"]
    place = name if known else "div2k"
    instead = "" if known else f" (Table {number} has no numbers of {escape(dataset)})"
    rows = paper["rows"][place]
    table = pd.DataFrame({"published method": map(escape, rows)}, index=rows)
    for column, title in _titles(_matrices(numbers)).items():
        _, masks, metric = column
        table[title] = [
            _printed(scores[_PUBLISHED_MASKS[masks]], metric) for scores in rows.values()
        ]
    if times := paper.get("milliseconds"):
        table[_TIME] = [f"{times[x]}{escape(paper['marks_of_times'].get(x, ''))}" for x in rows]
    return [
        f"**Published in the paper, not measured here:** Table {number}, {paper['names'][place]}"
        f"{instead}, {paper['size']} x {paper['size']} px, {paper['masks']}. "
        + escape(" ".join(paper["notes"])),
        cells.table(table),
    ]


def _ablation(found: Results, numbers: pd.DataFrame, size: int, group: str) -> list[str]:
    """A group of variants as in its table of the paper; nothing if only ours was measured."""
    names = GROUPS[group]
    numbers = numbers[numbers.method.isin(names)]
    lost = [name for name in names if _all_diverged(found, name)]
    shown = {*numbers.method, *lost}
    if not len(numbers) or shown == {OURS}:
        return []
    table = _means(found, numbers, lost)
    table = table.loc[[name for name in names if name in table.index]]
    note = f"{size} x {size} px, square mask."
    if paper := published()["ablations"].get(group):
        note += f' "Paper" is its Table {paper["table"]}: {published()["ablations"]["conditions"]}.'
        for column, title in _titles(_matrices(numbers)).items():
            theirs = [
                _printed(paper["rows"][name], column[-1]) if name in paper["rows"] else ""
                for name in table.index
            ]
            table.insert(table.columns.get_loc(title) + 1, f"paper {title}", theirs)
    note += _NOTES.get(group, "")
    if others := [name for name in names if name not in shown]:
        note += f" Not evaluated: {', '.join(others)}."
    return [
        f"### {_HEADINGS[group]}",
        note,
        cells.table(table),
        *_differences(found, numbers),
    ]


def _means(found: Results, numbers: pd.DataFrame, lost: Sequence[str] = ()) -> pd.DataFrame:
    """Means, the best of a column bold; "-" for the methods that are lost."""
    values = _matrices(numbers)
    table = pd.DataFrame("", [*values.index, *lost], list(_titles(values).values()))
    table.loc[list(lost)] = "-"
    for column, title in _titles(values).items():
        how = METRICS[column[-1]]
        estimates = values[column].dropna().map(estimate)
        best = how.best(round(x.mean, how.digits) for x in estimates)
        for name, x in estimates.items():
            bold = len(estimates) > 1 and round(x.mean, how.digits) == best
            table.loc[name, title] = cells.mean(x, how.digits, bold)
    return _named(found, numbers, table, "method")


def _differences(found: Results, numbers: pd.DataFrame) -> list[str]:
    """Ours minus each other method; nothing if there is no model or nothing else.

    Ours is the paper's model or, where it has no numbers, the first that was trained.
    """
    values = _matrices(numbers)
    kinds = {x.method: x.kind for x in found.evaluations if x.method in values.index}
    ours = ours_among(kinds)
    others = [name for name in values.index if name != ours]
    if ours is None or not others:
        return []
    table = pd.DataFrame("", others, list(_titles(values).values()))
    for column, title in _titles(values).items():
        digits = METRICS[column[-1]].difference_digits
        pairs = values[column].dropna()
        for name in others:
            if {ours, name} <= set(pairs.index):
                table.loc[name, title] = cells.difference(
                    difference(pairs[ours], pairs[name]), digits
                )
    return [
        f"Paired differences, **{escape(found.titles()[ours])} minus** the method of the row:",
        cells.table(_named(found, numbers, table, "minus")),
    ]


def _matrices(numbers: pd.DataFrame) -> pd.DataFrame:
    """`[seeds, photographs]` by method (rows) and size, masks and metric (columns)."""
    by = numbers.groupby(["method", *_COLUMN], observed=True)
    return by[["seed", "photograph", "value"]].apply(matrix).unstack(_COLUMN).sort_index(axis=1)


def _titles(values: pd.DataFrame) -> dict[tuple[Any, ...], str]:
    """Titles of the columns, with the size and the masks where there are several."""
    sizes, masks = (set(values.columns.get_level_values(part)) for part in ("size", "masks"))
    return {
        (size, name, metric): f"{size} px " * (len(sizes) > 1)
        + f"{_MASKS.get(name, f'`{name}`')} " * (masks != {"center"})
        + METRICS[metric].title
        for size, name, metric in values.columns
    }


def _named(found: Results, numbers: pd.DataFrame, table: pd.DataFrame, header: str) -> pd.DataFrame:
    """The table's rows in order, with the methods' titles and numbers of seeds in front."""
    table = table.loc[[name for name in found.titles() if name in table.index]]
    seeds = numbers.groupby(["method", *_COLUMN], observed=True).seed.nunique()
    titles = []
    for name in table.index:
        counts = sorted({*seeds.get(name, [1])})
        several = " to ".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
        title = escape(found.titles()[name])
        titles.append(title + f", {several} seeds" * (counts[-1] > 1))
    table.insert(0, header, titles)
    return table


def _all_diverged(found: Results, method: str) -> bool:
    seeds = [x for x in found.evaluations if x.method == method]
    return bool(seeds) and all(x.diverged for x in seeds)


def table_1_side(found: Results) -> int:
    """Side in pixels of Table 1: the largest that a run was trained at; 0 without a model.

    Without a run, twice the side of DeepFillv2's checkpoints, as in the paper's Table 1.
    """
    sides: dict[str, list[int]] = {"trained": [0], "deepfillv2": [0]}
    for x in found.evaluations:
        if x.kind in sides and "config" in x.run:
            sides[x.kind].append(x.run["config"]["model"]["levels"][-1])
    return max(sides["trained"]) or 2 * max(sides["deepfillv2"])


def _printed(scores: Mapping[str, float | None], metric: str) -> str:
    return fixed(scores[metric], METRICS[metric].digits)
