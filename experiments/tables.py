"""Makes the paper's tables, as far as they were measured, with the paper's own numbers beside.

    python -m experiments.tables RESULTS.json [MORE.json ...]
    python -m experiments.tables RESULTS.json --protocol=standard --output=docs

Joins results files, prints the tables and writes them to `tables.md`, by default beside the first
file. No model is needed. What the paper published is in `published.json`; it
stands in tables, columns or rows of its own, since it was measured on other crops and masks.
"""

from __future__ import annotations

import functools
import io
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import flags

from experiments import markdown, program
from experiments.markdown import METRICS, escape, table
from experiments.table_notes import diverged, provenance, reading
from experiments.variants import GROUPS, OURS, ours_among
from pgi.evaluation import intervals
from pgi.evaluation.results import Results
from pgi.rules import check, check_choice
from pgi.run_folder import write_atomically

PUBLISHED = Path(__file__).parent / "published.json"

_MASKS = {"center": "square mask", "freeform": "free-form mask"}
_HEADINGS = {
    "layers": "Counterpart of Table 3: how many levels",
    "fusion": "Counterpart of Table 4: how levels are fused",
    "dilation": "Counterpart of Table 5: dilation",
    "further": "Further variants and baselines",
}


class Column(NamedTuple):
    """A metric under a mask set."""

    masks: str
    metric: str


@dataclass(frozen=True)
class View:
    """What was measured on one dataset at one size, by one protocol."""

    results: Results
    dataset: str
    size: int
    protocol: str

    def values(self, method: str, column: Column) -> np.ndarray | None:
        """Numbers, `[seeds, photographs]`; None if there is none."""
        return self.results.values(
            method,
            column.metric,
            dataset=self.dataset,
            size=self.size,
            masks=column.masks,
            protocol=self.protocol,
        )

    def columns(self, masks: Sequence[str], methods: Sequence[str] | None = None) -> list[Column]:
        """Those in which any of the methods, or any at all, has numbers."""
        names = list(self.results.titles()) if methods is None else methods
        every = [Column(name, metric) for name in masks for metric in METRICS]
        return [x for x in every if any(self.values(name, x) is not None for name in names)]

    def measured(self, columns: Sequence[Column]) -> list[str]:
        """The methods that have numbers in any of the columns, in order."""
        names = self.results.titles()
        return [name for name in names if any(self.values(name, x) is not None for x in columns)]

    def seconds(self, method: str) -> float | None:
        """Median time an image with the central square, as in the paper's Table 1."""
        return self.results.seconds(method, dataset=self.dataset, size=self.size, masks="center")

    def title(self, method: str) -> str:
        return escape(self.results.titles()[method])

    def all_diverged(self, method: str) -> bool:
        seeds = [x for x in self.results.evaluations if x.method == method]
        return bool(seeds) and all(x.diverged for x in seeds)


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
        RuleError: nothing was measured by the protocol.
    """
    scores = [score for evaluation in found.evaluations for score in evaluation.scores]
    check("number of scores", "positive", bool(scores), len(scores))
    check_choice("protocol", sorted({score.protocol for score in scores}), protocol)
    used = {score.crops for score in scores if score.protocol == protocol}
    lists = sorted((found.crop_lists[name] for name in used), key=lambda x: (x.dataset, x.size))
    blocks = reading(found, protocol, lists, list(_MASKS))
    for dataset in dict.fromkeys(x.dataset for x in lists):
        views = [View(found, dataset, x.size, protocol) for x in lists if x.dataset == dataset]
        blocks += _tables_of(views)
    return "\n\n".join([*blocks, *provenance(found)]) + "\n"


def _tables_of(views: Sequence[View]) -> list[str]:
    """All tables of one dataset, whose sizes ascend."""
    both = [view for view in views if all(view.columns([name]) for name in _MASKS)]
    blocks = [
        block
        for place, view in enumerate(both)
        for block in comparison(view, "2" if place else "1")
    ]
    squares = both or [view for view in views if view.columns(["center"])]
    blocks += [block for group in GROUPS for view in squares[:1] for block in ablation(view, group)]
    nothing = "There are no numbers under the masks of the paper's tables, `center` and `freeform`."
    return [f"## {escape(views[0].dataset)}", *(blocks or [nothing])]


def comparison(view: View, number: str) -> list[str]:
    """The counterpart of the paper's Table 1 or 2: all methods, under both masks."""
    columns = view.columns(list(_MASKS))
    methods = view.measured(columns)
    cells = _cells(view, methods, columns)
    times = {name: view.seconds(name) for name in methods}
    timed = any(time is not None for time in times.values())
    rows = [
        [view.title(name), *cells[name], *[markdown.duration(times[name])] * timed]
        for name in methods
    ]
    return [
        f"### Counterpart of Table {number}: {view.size} x {view.size} px",
        table(["method", *_titles(columns), *["time/image"] * timed], rows),
        *diverged(view.results, list(view.results.titles())),
        *differences(view, methods, columns),
        *_published_comparison(view.dataset.partition("/")[0], number, columns),
    ]


def _published_comparison(dataset: str, number: str, columns: Sequence[Column]) -> list[str]:
    paper = published()["comparisons"][number]
    known = dataset in paper["rows"]
    place = dataset if known else "div2k"
    instead = "" if known else f" (Table {number} has no numbers of {escape(dataset)})"
    times = paper.get("milliseconds", {})
    rows = [
        [
            escape(name),
            *(_printed(scores[x.masks], x) for x in columns),
            *[markdown.duration(times.get(name, 0) / 1000)] * bool(times),
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


def ablation(view: View, group: str) -> list[str]:
    """A group of variants as in its table of the paper; nothing if there is only ours."""
    known = [name for name in GROUPS[group] if name in view.results.titles()]
    columns = view.columns(["center"], known)
    here = view.measured(columns)
    methods = [name for name in known if name in here or view.all_diverged(name)]
    if not columns or set(methods) <= {OURS}:
        return []
    paper = published()["ablations"].get(group)
    cells = _cells(view, methods, columns)
    titles = [METRICS[x.metric].title for x in columns]
    rows = [["", *_beside(titles, ["paper"] * len(titles) if paper else [])]]
    for name in methods:
        theirs = [_printed(paper["rows"][name], x) for x in columns] if paper else []
        rows.append([view.title(name), *_beside(cells[name], theirs)])
    if group == "fusion":  # As the paper prints it: metrics as rows.
        rows = [list(row) for row in zip(*rows)]
    note = f"{view.size} x {view.size} px, square mask."
    if paper:
        note += f' "Paper" is its Table {paper["table"]}: {published()["ablations"]["conditions"]}.'
    if others := [name for name in GROUPS[group] if name not in methods]:
        note += f" Not evaluated: {', '.join(others)}."
    return [
        f"### {_HEADINGS[group]}",
        note,
        table(rows[0], rows[1:]),
        *diverged(view.results, methods),
        *differences(view, methods, columns),
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
        [view.title(name), *(_difference(view, ours, name, column) for column in columns)]
        for name in others
    ]
    return [
        f"Paired differences, **{view.title(ours)} minus** the method of the row:",
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
    """With the masks' name where there are two."""
    several = len({column.masks for column in columns}) > 1
    return [f"{_MASKS[x.masks]} " * several + METRICS[x.metric].title for x in columns]


def _printed(scores: Mapping[str, float | None], column: Column) -> str:
    return markdown.fixed(scores[column.metric], METRICS[column.metric].digits)


def main(argv: list[str]) -> None:
    """Makes the tables of the files that are named."""
    found, folder = program.read_results(argv)
    text = report(found, flags.FLAGS.protocol)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "tables.md", text.encode())
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # Arrows, on a terminal that has none.
    print(text)


if __name__ == "__main__":
    program.define_results_flags()
    program.run(main, "no tables were written")
