"""The paper's tables, as far as they were measured, with the published numbers beside them.

The published numbers (`published.json`) stand in tables, columns or rows of their own: they were
measured on other crops and masks.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.report import markdown
from experiments.report.markdown import METRICS, escape, table
from experiments.report.table_notes import diverged, only_diverged, provenance, reading, short_hash
from experiments.report.table_view import Column, View, trained_side
from experiments.variants import GROUPS, OURS, ours_among
from pgi.evaluation import intervals
from pgi.evaluation.results import Results
from pgi.rules import check, check_choice

PUBLISHED = Path(__file__).parents[1] / "published.json"

_MASKS = {"center": "square mask", "freeform": "free-form mask"}
_HEADINGS = {
    "layers": "Counterpart of Table 3: how many levels",
    "fusion": "Counterpart of Table 4: how levels are fused",
    "dilation": "Counterpart of Table 5: dilation",
    "further": "Further variants and baselines",
}


@functools.cache
def published() -> dict[str, Any]:
    """The paper's Tables 1 to 5: "comparisons" by table, "ablations" by group and variant."""
    return json.loads(PUBLISHED.read_text(encoding="utf-8"))


def report(found: Results, protocol: str = "paper") -> str:
    """All tables as Markdown.

    Args:
        found: joined, so that all of it can be compared.
        protocol: whose numbers are printed.

    Raises:
        RuleError: nothing was measured by the protocol, and not because all of it diverged.
    """
    scores = [score for evaluation in found.evaluations for score in evaluation.scores]
    if not scores and any(evaluation.diverged for evaluation in found.evaluations):
        return "\n\n".join(only_diverged(found)) + "\n"
    check("number of scores", "positive", bool(scores), len(scores))
    check_choice("protocol", sorted({score.protocol for score in scores}), protocol)
    used = {score.crops for score in scores if score.protocol == protocol}
    lists = sorted((found.crop_lists[name] for name in used), key=lambda x: (x.dataset, x.size))
    blocks = reading(found, protocol, lists, list(_MASKS))
    for dataset in dict.fromkeys(x.dataset for x in lists):
        sizes = [x.size for x in lists if x.dataset == dataset]
        blocks += _tables_of(View(found, dataset, protocol), sizes)
    return "\n\n".join([*blocks, *provenance(found)]) + "\n"


def _tables_of(view: View, sizes: Sequence[int]) -> list[str]:
    """All tables of one dataset, whose sizes ascend."""
    side = trained_side(view.results)
    both = [size for size in sizes if all(view.columns([size], [name]) for name in _MASKS)]
    numbers = {side: "1", 2 * side: "2"} if side else dict(zip(both, "12"))
    squares = [size for size in sizes if view.columns([size], ["center"])]
    ablated = side if side in squares else (both or squares or sizes)[0]
    ablations = {group: ablation(view, ablated, group) for group in GROUPS}
    shown = {name for group, found in ablations.items() if found for name in GROUPS[group]}
    blocks = [f"## {escape(view.dataset)}"]
    if not both:  # Comparisons tell what diverged, all of it.
        blocks += diverged(view.results, [x for x in view.results.titles() if x not in shown])
    blocks += [block for size in both for block in comparison(view, size, numbers.get(size))]
    blocks += [block for found in ablations.values() for block in found]
    for size in sizes:
        told = list(_MASKS) if size in both else ["center"]
        blocks += other_masks(view, size, [x for x in view.masks(size) if x not in told])
    if set(squares) - set(both) and (len(squares) > 1 or not shown):
        blocks += square_mask(view, squares)
    return blocks


def comparison(view: View, size: int, number: str | None) -> list[str]:
    """All methods under both masks: the counterpart of the paper's Table 1 or 2, if any."""
    columns = view.columns([size], list(_MASKS))
    methods = view.measured(columns)
    cells = _cells(view, methods, columns)
    times = {name: view.seconds(name, size) for name in methods}
    timed = any(time is not None for time in times.values())
    rows = [
        [view.title(name, columns), *cells[name], *[markdown.duration(times[name])] * timed]
        for name in methods
    ]
    pixels = f"{size} x {size} px"
    dataset = view.dataset.partition("/")[0]
    return [
        f"### Counterpart of Table {number}: {pixels}" if number else f"### Crops of {pixels}",
        table(["method", *_titles(columns), *["time/image"] * timed], rows),
        *diverged(view.results, list(view.results.titles())),
        *differences(view, methods, columns),
        *(_published_comparison(dataset, number, columns) if number else []),
    ]


def _published_comparison(dataset: str, number: str, columns: Sequence[Column]) -> list[str]:
    paper = published()["comparisons"][number]
    known = dataset in paper["rows"]
    place = dataset if known else "div2k"
    instead = "" if known else f" (Table {number} has no numbers of {escape(dataset)})"
    times, marks = paper.get("milliseconds", {}), paper.get("marks_of_times", {})
    rows = [
        [
            escape(name),
            *(_printed(scores[x.masks], x) for x in columns),
            *[markdown.duration(times.get(name, 0) / 1000) + escape(marks.get(name, ""))]
            * bool(times),
        ]
        for name, scores in paper["rows"][place].items()
    ]
    header = ["published method", *_titles(columns), *["time/image"] * bool(times)]
    return [
        f"**Published in the paper, not measured here:** Table {number}, {paper['names'][place]}"
        f"{instead}, {paper['size']} x {paper['size']} px, {paper['masks']}. "
        + escape(" ".join(paper["notes"])),
        table(header, rows),
    ]


def ablation(view: View, size: int, group: str) -> list[str]:
    """A group of variants as in its table of the paper; nothing if there is only ours.

    No table, but what diverged, if all of it did.
    """
    known = [name for name in GROUPS[group] if name in view.results.titles()]
    columns = view.columns([size], ["center"], known)
    here = view.measured(columns)
    methods = [name for name in known if name in here or view.all_diverged(name)]
    if set(methods) <= {OURS}:
        return []
    heading, ends = f"### {_HEADINGS[group]}", diverged(view.results, methods)
    if not columns:
        return [heading, *ends]
    paper = published()["ablations"].get(group)
    cells = _cells(view, methods, columns)
    titles = [METRICS[x.metric].title for x in columns]
    rows = [["", *_beside(titles, ["paper"] * len(titles) if paper else [])]]
    for name in methods:
        theirs = [_printed(paper["rows"][name], x) for x in columns] if paper else []
        rows.append([view.title(name, columns), *_beside(cells[name], theirs)])
    if group == "fusion":  # As the paper prints it: metrics as rows.
        rows = [list(row) for row in zip(*rows)]
    note = f"{size} x {size} px, square mask."
    if paper:
        note += f' "Paper" is its Table {paper["table"]}: {published()["ablations"]["conditions"]}.'
    if others := [name for name in GROUPS[group] if name not in methods]:
        note += f" Not evaluated: {', '.join(others)}."
    return [
        heading,
        note,
        table(rows[0], rows[1:]),
        *ends,
        *differences(view, methods, columns),
    ]


def other_masks(view: View, size: int, masks: Sequence[str]) -> list[str]:
    """A table a metric, the mask sets side by side; nothing if there is none of them."""
    hashes = view.masks(size)
    listed = ", ".join(f"`{escape(name)}` {short_hash(hashes[name])}" for name in masks)
    blocks = [
        f"### Other masks, {size} x {size} px",
        f"SHA-256 of the masks, first 12 digits: {listed}.",
    ]
    for metric in METRICS:
        columns = [x for x in view.columns([size], masks) if x.metric == metric]
        methods = view.measured(columns)
        cells = _cells(view, methods, columns)
        rows = [[view.title(name, columns), *cells[name]] for name in methods]
        header = [METRICS[metric].title, *(f"`{escape(x.masks)}`" for x in columns)]
        blocks += [table(header, rows)] * bool(columns)
    return blocks if masks else []


def square_mask(view: View, sizes: Sequence[int]) -> list[str]:
    """One table of all sizes, as the paper's Figure 7 shows them."""
    columns = view.columns(sizes, ["center"])
    methods = view.measured(columns)
    cells = _cells(view, methods, columns)
    rows = [[view.title(name, columns), *cells[name]] for name in methods]
    return [
        "### Square mask at every size",
        "A size has the photographs that are large enough for it: only Figure 7 compares sizes on "
        "the same ones.",
        table(["method", *_titles(columns)], rows),
    ]


def _beside(ours: Sequence[str], theirs: Sequence[str]) -> list[str]:
    """Each of the paper's cells after ours, if there are any."""
    return [cell for pair in zip(ours, theirs) for cell in pair] if theirs else list(ours)


def differences(view: View, methods: Sequence[str], columns: Sequence[Column]) -> list[str]:
    """Ours minus each other method, photograph by photograph; nothing if none is ours.

    Ours is the paper's model or, where it has no numbers, the first that was trained.
    """
    kinds = {x.method: x.kind for x in view.results.evaluations}
    measured = view.measured(columns)
    ours = ours_among({name: kinds[name] for name in measured})
    others = [name for name in methods if name != ours and name in measured]
    if ours is None or not others:
        return []
    rows = [
        [view.title(name, columns), *(_difference(view, ours, name, column) for column in columns)]
        for name in others
    ]
    title = escape(view.results.titles()[ours])
    return [
        f"Paired differences, **{title} minus** the method of the row:",
        table(["minus", *_titles(columns)], rows),
    ]


def _difference(view: View, ours: str, theirs: str, column: Column) -> str:
    pair = view.values(ours, column), view.values(theirs, column)
    if pair[0] is None or pair[1] is None:
        return ""
    with np.errstate(invalid="ignore"):  # Two results that are both the truth: inf - inf.
        difference = intervals.difference(pair[0], pair[1])
    return markdown.difference(difference, METRICS[column.metric].difference_digits)


def _cells(view: View, methods: Sequence[str], columns: Sequence[Column]) -> dict[str, list[str]]:
    """A cell for each method and column; the best means of a column are bold."""
    cells: dict[str, list[str]] = {name: [] for name in methods}
    for column in columns:
        metric, estimates = METRICS[column.metric], {}
        for name in methods:
            values = view.values(name, column)
            if values is not None:
                with np.errstate(invalid="ignore"):  # The spread of infinite numbers.
                    estimates[name] = intervals.estimate(values)
        best = metric.best(round(x.mean, metric.digits) for x in estimates.values())
        for name in methods:
            if name in estimates:
                bold = len(estimates) > 1 and round(estimates[name].mean, metric.digits) == best
                cells[name].append(markdown.mean(estimates[name], metric.digits, bold))
            else:
                cells[name].append("-" if view.all_diverged(name) else "")
    return cells


def _titles(columns: Sequence[Column]) -> list[str]:
    """With the size or the masks' name where there are several."""
    sizes, masks = ({x[part] for x in columns} for part in (0, 1))
    return [
        f"{x.size} px " * (len(sizes) > 1)
        + f"{_MASKS[x.masks]} " * (len(masks) > 1)
        + METRICS[x.metric].title
        for x in columns
    ]


def _printed(scores: Mapping[str, float | None], column: Column) -> str:
    return markdown.fixed(scores[column.metric], METRICS[column.metric].digits)
