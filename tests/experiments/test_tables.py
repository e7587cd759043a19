"""The tables say what was measured, and what the paper printed, and never mix the two."""

from __future__ import annotations

import dataclasses
import math
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from experiments import tables
from experiments.markdown import duration
from experiments.tables import published, report
from experiments.variants import GROUPS, VARIANTS
from pgi.evaluation import results
from pgi.evaluation.results import CropList, Evaluation, Results, Score
from pgi.rules import RuleError

ROOT = Path(__file__).parents[2]
PHOTOGRAPHS = ("first", "second")
METRICS = ("ssim", "psnr", "l1")
# The paper's text; a table's row a line.
TABLE_1 = """\
GL [7] 0.773 20.72 0.055 0.683 18.71 0.086 0.769 20.85 0.075 0.660 17.88 0.109 125ms
MNPS [26] 0.727 19.22 0.058 - - - 0.749 23.15 0.047 - - - 1min*
EC [17] 0.770 19.55 0.069 0.736 18.92 0.086 0.817 24.65 0.042 0.759 21.61 0.070 178ms
PEN [31] 0.754 19.36 0.056 0.724 19.72 0.068 0.792 23.42 0.036 0.758 22.40 0.053 347ms
DeepFillv2 [29] 0.769 18.86 0.056 0.737 18.59 0.073 0.814 23.47 0.043 0.765 20.91 0.064 69ms
DeepFillv2 † [29] 0.769 19.40 0.053 0.740 19.41 0.067 0.827 25.72 0.036 0.789 23.40 0.053 69ms
HiFill [27] 0.749 19.87 0.051 0.701 19.14 0.074 0.791 23.63 0.040 0.736 20.67 0.073 24ms
ours 0.777 20.09 0.050 0.746 19.90 0.064 0.840 26.74 0.034 0.796 24.25 0.050 85ms"""
TABLE_2 = """\
DeepFill † [29] 0.782 19.83 0.052 0.734 19.16 0.072
HiFill [27] 0.765 19.58 0.053 0.700 18.43 0.079
ours 0.788 20.37 0.049 0.734 19.36 0.069"""
TABLES_3_AND_5 = """\
pg_lower 0.809 24.07 0.042
pg_upper 0.827 26.03 0.035
pg 0.840 26.74 0.034
standard_dilation 0.829 26.38 0.035"""
TABLE_4 = """\
 feature_coarse feature_refine image_attention image_convolution pg
SSIM 0.786 - 0.825 0.833 0.840
PSNR 23.16 - 25.94 25.96 26.74
L1 0.044 - 0.036 0.036 0.034"""


def score(
    values: Mapping[str, Sequence[float]],
    masks: str = "center",
    size: int = 128,
    protocol: str = "paper",
    seconds: float | None = None,
    dataset: str = "samples",
) -> Score:
    return Score(f"{dataset} {size}", masks, f"{masks} sha", protocol, values, seconds)


def psnr(*numbers: float) -> dict[str, Sequence[float]]:
    """All metrics, of which these are one."""
    return {"psnr": numbers, "ssim": [x / 100 for x in numbers], "l1": [1 / x for x in numbers]}


def method(name: str, *seeds: Mapping[str, Sequence[float]] | None, **kwargs: Any) -> list:
    """A method's evaluations with the central square at 128; None: it diverged."""
    diverged = {"step": 1234, "reason": "level_1/l1 is nan"}
    made = {"kind": "trained", "title": f"the {name}", **kwargs}
    return [
        Evaluation(name, seed=seed, scores=() if x is None else (score(x),), **made)
        if x is not None
        else Evaluation(name, seed=seed, diverged=diverged, **made)
        for seed, x in enumerate(seeds)
    ]


def of(*evaluations: Evaluation) -> Results:
    names = {score.crops for evaluation in evaluations for score in evaluation.scores}
    lists = {
        name: CropList(name.split()[0], int(name.split()[1]), "random", PHOTOGRAPHS, [], name, "")
        for name in sorted(names)
    }
    return Results(lists, evaluations)


def everything(dataset: str = "samples") -> Results:
    """All variants and a classical method, under both masks at two sizes."""
    scores = [
        score(psnr(20, 22), masks, size, seconds=0.085, dataset=dataset)
        for masks in ("center", "freeform")
        for size in (256, 128)
    ]
    run = {"folder": "runs/x", "checkpoint": "ckpt-1", "sha256": "ab" * 32, "config": "small"}
    trained = [
        Evaluation(name, f"our {name}", "trained", 0, run, scores=scores) for name in VARIANTS
    ]
    return of(*trained, Evaluation("telea", "Telea", "classical", scores=scores))


def parse(text: str) -> list[list[list[str]]]:
    """The cells of all tables, without the rules under their headers."""
    found = re.findall(r"(?:^\|.*\n)+", text.replace("\N{NO-BREAK SPACE}", " "), re.MULTILINE)
    rows = [[re.split(r"(?<!\\)\|", line)[1:-1] for line in x.splitlines()] for x in found]
    assert all(cell.strip(" -:") == "" for table in rows for cell in table[1])
    return [[[cell.strip() for cell in row] for row in x[:1] + x[2:]] for x in rows]


def tables_of(text: str, first: str) -> list[list[list[str]]]:
    return [x for x in parse(text) if x[0][0] == first]


def section(text: str, heading: str) -> str:
    """From a heading to the next one."""
    found = re.search(rf"^### {heading}.*?(?=^##|\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, heading
    return found[0]


def test_means_spreads_and_intervals_are_those_of_the_numbers() -> None:
    # By photograph 21 and 23, by seed 21 and 23; their standard deviation is the root of two.
    found = of(*method("pg", psnr(20, 22), psnr(22, 24)), *method("drop_coarse", psnr(18, 20.5)))
    table = parse(section(report(found), "Further"))[0]
    assert table[0] == ["", "SSIM ↑", "PSNR ↑", "L1 ↓"]
    assert table[1][:3] == [
        "the pg, 2 seeds",
        "**0.220** ± 0.014 [0.210, 0.230]",
        "**22.00** ± 1.41 [21.00, 23.00]",
    ]
    assert table[1][3].startswith("**0.046** ±") and table[2][3].startswith("0.052 [")
    assert table[2][:3] == ["the drop_coarse", "0.193 [0.180, 0.205]", "19.25 [18.00, 20.50]"]


def test_differences_are_paired_and_marked_where_the_interval_excludes_zero() -> None:
    found = of(
        *method("drop_coarse", psnr(20, 20.5)),
        *method("pg", psnr(20, 22), psnr(22, 24)),
        *method("layerwise", psnr(21, 24)),
        *method("coarse_l1", psnr(22, 25)),
        *method("square_center", psnr(21, 22)),
    )
    table = tables_of(section(report(found), "Further"), "minus")[0]
    assert [row[:3] for row in table[1:]] == [
        ["the drop_coarse", "+0.0175 [0.0100, 0.0250]*", "+1.75 [1.00, 2.50]*"],
        ["the layerwise", "-0.0050 [-0.0100, 0.0000]", "-0.50 [-1.00, 0.00]"],
        ["the coarse_l1", "-0.0150 [-0.0200, -0.0100]*", "-1.50 [-2.00, -1.00]*"],
        ["the square_center", "+0.0050 [0.0000, 0.0100]", "+0.50 [0.00, 1.00]"],
    ]


@pytest.mark.parametrize(
    ("kinds", "ours"),
    [
        ({"telea": "classical", "b": "trained", "pg": "trained"}, "pg"),
        ({"telea": "classical", "b": "trained", "c": "trained"}, "b"),
        ({"telea": "classical", "b": "outputs"}, None),
    ],
)
def test_ours_is_the_papers_model_or_else_the_first_that_was_trained(kinds, ours) -> None:
    scores = [score(psnr(20, 22), masks) for masks in ("center", "freeform")]
    text = report(of(*(Evaluation(x, f"<{x}>", kinds[x], scores=scores) for x in kinds)))
    assert re.findall(r"\*\*\\<(\w+)> minus\*\*", text) == ([ours] if ours else [])
    for table in tables_of(text, "minus"):
        assert [row[0] for row in table[1:]] == [f"\\<{x}>" for x in kinds if x != ours]


def test_what_diverged_is_a_dash_with_its_step_and_reason() -> None:
    found = of(
        *method("feature_coarse", psnr(20, 20), None),
        *method("feature_refine", None),
        *method("pg", psnr(20, 22)),
    )
    text = section(report(found), "Counterpart of Table 4")
    table = parse(text)[0]
    assert table[0] == ["", "the feature_coarse", "the feature_refine", "the pg"]
    assert [row[2] for row in table[1:]] == ["-"] * 6
    # By one seed; the other diverged.
    assert table[3][1] == "20.00 [20.00, 20.00]"
    reason = "diverged at step 1,234 (seed {}): level_1/l1 is nan"
    assert f"\n- the feature_refine: {reason.format(0)}\n" in text
    assert f"\n- the feature_coarse: {reason.format(1)}; the numbers are of its other" in text
    assert "Not evaluated: image_attention, image_convolution." in text
    assert [row[0] for row in tables_of(text, "minus")[0][1:]] == ["the feature_coarse"]


def test_the_published_numbers_are_the_papers() -> None:
    def number(text: str) -> float | None:
        return None if text == "-" else float(text)

    def flat(scores: Mapping[str, Any], masks: Sequence[str]) -> list[float | None]:
        return [scores[name][metric] for name in masks for metric in METRICS]

    masks = ("center", "freeform")
    first, second = (published()["comparisons"][table] for table in "12")
    assert len(first["rows"]["places2"]) == len(first["rows"]["div2k"]) == 8
    for line, name in zip(TABLE_1.splitlines(), first["rows"]["div2k"]):
        printed, *cells, time = line.rsplit(maxsplit=13)
        places2, div2k = (flat(first["rows"][x][name], masks) for x in ("places2", "div2k"))
        assert name == printed and places2 + div2k == [number(x) for x in cells]
        mark = first["marks_of_times"].get(name, "")
        assert f"{first['milliseconds'][name]}ms{mark}" == time.replace("1min", "60000ms")
    assert len(second["rows"]["div2k"]) == 3
    for line in TABLE_2.splitlines():
        name, *cells = line.rsplit(maxsplit=6)
        assert flat(second["rows"]["div2k"][name], masks) == [number(x) for x in cells]

    rows = {x.split()[0]: x.split()[1:] for x in TABLES_3_AND_5.splitlines()}
    _, *columns = zip(*(line.split(" ") for line in TABLE_4.splitlines()))
    rows |= {name: list(cells) for name, *cells in columns}
    groups = {name: x for name, x in published()["ablations"].items() if name != "conditions"}
    assert [(name, x["table"]) for name, x in groups.items()] == [
        ("layers", 3),
        ("fusion", 4),
        ("dilation", 5),
    ]
    for group, paper in groups.items():
        assert tuple(paper["rows"]) == GROUPS[group]
        for name, scores in paper["rows"].items():
            assert [scores[metric] for metric in METRICS] == [number(x) for x in rows[name]]


def test_the_papers_numbers_stand_beside_ours_in_its_ablations() -> None:
    text = report(everything())
    layers = parse(section(text, "Counterpart of Table 3"))[0]
    assert layers[0] == ["", "SSIM ↑", "paper", "PSNR ↑", "paper", "L1 ↓", "paper"]
    assert [row[0::2] for row in layers[1:]] == [
        ["our pg_lower", "0.809", "24.07", "0.042"],
        ["our pg_upper", "0.827", "26.03", "0.035"],
        ["our pg", "0.840", "26.74", "0.034"],
    ]
    fusion = parse(section(text, "Counterpart of Table 4"))[0]
    assert fusion[0] == ["", *(f"our {name}" for name in GROUPS["fusion"])]
    assert fusion[4] == ["paper", "23.16", "-", "25.94", "25.96", "26.74"]
    assert "paper" not in parse(section(text, "Further"))[0][0]


def test_published_and_measured_numbers_share_no_rows_of_tables_1_and_2() -> None:
    text = report(everything())
    measured, theirs = tables_of(text, "method"), tables_of(text, "published method")
    titles = {*(f"our {name}" for name in VARIANTS), "Telea"}
    assert [{row[0] for row in table[1:]} for table in measured[:2]] == [titles, titles]
    assert [len(table) - 1 for table in theirs] == [8, 3]
    assert not titles & {row[0] for table in theirs for row in table}
    numbers = ["0.769", "20.85", "0.075", "0.660", "17.88", "0.109"]
    assert theirs[0][1] == ["GL [7]", *numbers, "125 ms"]
    # The paper took this time, and no other number, from elsewhere.
    assert [theirs[0][2][0], theirs[0][2][-1]] == ["MNPS [26]", r"1 min\*"]
    # Of the smaller size first.
    assert re.findall("^### Counterpart of (Table .*)", text, re.MULTILINE)[:2] == [
        "Table 1: 128 x 128 px",
        "Table 2: 256 x 256 px",
    ]


def test_the_published_rows_are_of_the_dataset_if_the_paper_has_it_and_of_div2k_else() -> None:
    text = report(everything("places2/256"))
    first, second = (section(text, f"Counterpart of Table {n}") for n in (1, 2))
    assert "Table 1, Places2 val, 512 x 512" in first
    assert tables_of(first, "published method")[0][-1][:3] == ["ours", "0.777", "20.09"]
    assert "Table 2, DIV2K val (Table 2 has no numbers of places2), 1024 x" in second
    assert "Table 1, DIV2K val, 512" in report(everything("div2k"))
    assert "Table 1, DIV2K val (Table 1 has no numbers of samples)" in report(everything())


def test_rows_are_as_long_as_their_headers_whatever_a_title_holds() -> None:
    scores = [score(psnr(20, 22), masks) for masks in ("center", "freeform")]
    found = of(
        Evaluation("a", "a | b\n| <c> \\|", "outputs", scores=scores[:1]),
        *(Evaluation(x, "pg|", "trained", scores=scores) for x in ("pg", "pg_lower")),
    )
    both = parse(report(found)) + parse(report(everything()))
    assert len(both) > 10
    for table in both:
        assert {len(row) for row in table} == {len(table[0])}
    measured = tables_of(report(found), "method")[0]
    assert measured[1][0] == r"a \| b \| \<c> \\\|"
    assert measured[1][4:] == ["", "", ""]  # Not measured, which is not to have diverged.


def test_columns_without_numbers_are_left_out_and_perfect_results_are_infinite() -> None:
    numbers = {"psnr": (math.inf, 20.0), "l1": (0.0, 0.1)}
    made = [score(numbers, masks, protocol="hole") for masks in ("center", "freeform")]
    found = of(*(Evaluation(x, x, "trained", scores=made) for x in ("pg", "layerwise")))
    text = report(found, "hole")
    assert tables_of(text, "method")[0][0] == [
        "method",
        "square mask PSNR ↑",
        "square mask L1 ↓",
        "free-form mask PSNR ↑",
        "free-form mask L1 ↓",
    ]
    assert tables_of(text, "method")[0][1][1:3] == ["**inf**", "**0.050** [0.000, 0.100]"]
    assert "SSIM ↑" not in text and "not to be compared" in text


def test_a_group_without_any_evaluation_but_ours_is_left_out() -> None:
    text = report(of(*method("pg", psnr(20, 22)), *method("standard_dilation", psnr(20, 21))))
    assert re.findall("^### (.*)", text, re.MULTILINE) == ["Counterpart of Table 5: dilation"]


def test_where_all_diverged_there_is_a_list_of_it_and_no_table_of_numbers() -> None:
    run = {"folder": "runs/x", "config": {"name": "small"}}
    lost = [*method("pg", None, None, run=run), *method("layerwise", None)]
    crops = CropList("samples", 128, "random", PHOTOGRAPHS, [], "samples 128", "")
    text = report(Results({"samples 128": crops}, lost))
    assert text.startswith("# Tables\n\nMade from results files")
    assert [line for line in text.splitlines() if line.startswith("- ")] == [
        "- the pg: diverged at step 1,234 (seed 0): level_1/l1 is nan; "
        "diverged at step 1,234 (seed 1): level_1/l1 is nan",
        "- the layerwise: diverged at step 1,234 (seed 0): level_1/l1 is nan",
    ]
    (provenance,) = parse(text)
    assert [row[:3] for row in provenance[1:]] == [["the pg", str(n), "runs/x"] for n in (0, 1)]
    with pytest.raises(RuleError, match=r"^number of scores must be positive, got 0$"):
        report(Results({"samples 128": crops}))


@pytest.mark.parametrize("masks", [("center", "freeform"), ("center",), ("ratio_15",)])
def test_a_group_that_diverged_has_its_heading_and_its_list_without_ours(masks) -> None:
    scores = [score(psnr(20, 22), name) for name in masks]
    telea = Evaluation("telea", "Telea", "classical", scores=scores)
    text = report(of(*method("image_attention", None), *method("other", None), telea))
    group = section(text, "Counterpart of Table 4: how levels are fused")
    reason = "diverged at step 1,234 (seed 0): level_1/l1 is nan"
    assert group.splitlines()[1:3] == ["", f"- the image_attention: {reason}"]
    assert not parse(group) and "Counterpart of Table 3" not in text
    # What is no variant has no group, and is told of all the same.
    assert text.count(f"- the other: {reason}") == 1


def at(side: int, *sizes: int, name: str = "pg") -> Evaluation:
    """A model that was trained at a side, measured at sizes under both masks."""
    scores = [score(psnr(20, 22), x, size) for size in sizes for x in ("center", "freeform")]
    run = {"config": {"model": {"levels": [side // 2, side]}}}
    return Evaluation(name, f"the {name}", "trained", 0, run, scores=scores)


@pytest.mark.parametrize(
    ("side", "sizes", "headings", "published_rows"),
    [
        (128, (64, 128, 256), ["Crops of", "Table 1", "Table 2"], [0, 8, 3]),
        (128, (256,), ["Table 2"], [3]),
        (128, (128,), ["Table 1"], [8]),
        (64, (64, 256), ["Table 1", "Crops of"], [8, 0]),
        (0, (64, 128, 256), ["Table 1", "Table 2", "Crops of"], [8, 3, 0]),
    ],
)
def test_comparisons_have_their_number_by_size(side, sizes, headings, published_rows) -> None:
    model = at(side, *sizes)
    if not side:
        model = dataclasses.replace(model, run={"config": "one of another version"})
    # A smaller one, and one that was not trained here, change nothing.
    others = [at(side // 2, *sizes, name="small")] if side else []
    others.append(dataclasses.replace(at(1024, *sizes, name="theirs"), kind="outputs"))
    text = report(of(model, *others))
    found = re.findall(r"^### (?:Counterpart of )?(.*?):? (\d+) x \d+ px$", text, re.MULTILINE)
    assert found == [(name, str(size)) for name, size in zip(headings, sizes)]
    for size, rows in zip(sizes, published_rows):
        theirs = tables_of(section(text, rf"[^\n]* {size} x"), "published method")
        assert [len(table) - 1 for table in theirs] == [rows] * bool(rows)


@pytest.mark.parametrize(
    ("side", "sizes", "ablated"),
    [(128, (64, 128, 256), 128), (512, (64, 128), 64), (128, (256, 512), 256)],
)
def test_ablations_are_of_the_trained_side_or_else_the_smallest(side, sizes, ablated) -> None:
    found = of(at(side, *sizes), at(side, *sizes, name="standard_dilation"))
    text = section(report(found), "Counterpart of Table 5")
    assert f"\n{ablated} x {ablated} px, square mask." in text


def test_other_masks_have_a_table_a_metric() -> None:
    def scores(first: float, second: float) -> list[Score]:
        sets = {"center": 30, "freeform": 31, "ratio_15": first, "thin": second}
        return [score(psnr(x, x + 2), name) for name, x in sets.items()]

    found = of(
        Evaluation("pg", "ours", "trained", scores=scores(20, 24)),
        Evaluation("telea", "Telea", "classical", scores=scores(22, 23)[:3]),
        Evaluation("own", "own", "outputs", scores=[score({"psnr": (9, 9)}, "union")]),
    )
    text = report(found)
    others = section(text, "Other masks, 128 x 128 px")
    assert "SHA-256 of the masks: `ratio_15` `ratio_15 sha`, `thin` `thin sha`, `union`" in others
    ssim, psnrs, l1 = parse(others)
    assert psnrs == [
        ["PSNR ↑", "`ratio_15`", "`thin`", "`union`"],
        ["ours", "21.00 [20.00, 22.00]", "25.00 [24.00, 26.00]", ""],
        ["Telea", "**23.00** [22.00, 24.00]", "", ""],
        ["own", "", "", "9.00 [9.00, 9.00]"],
    ]
    assert ssim[0] == ["SSIM ↑", "`ratio_15`", "`thin`"] and l1[0][0] == "L1 ↓"
    assert [row[0] for row in ssim[1:]] == ["ours", "Telea"]
    assert text.index("### Counterpart of Table 1") < text.index("### Other masks")
    assert "Square mask at every size" not in text
    # The free-form masks are told of at sizes, too, that have no comparison.
    freeform = report(of(Evaluation("pg", "ours", "trained", scores=scores(20, 24)[1:2])))
    assert parse(section(freeform, "Other masks"))[1][1] == ["ours", "32.00 [31.00, 33.00]"]


def test_the_square_mask_at_sizes_without_comparison_has_a_table_of_all_sizes() -> None:
    def scores(*sizes: int) -> list[Score]:
        both = [score({"psnr": (x / 8, x / 8 + 2)}, size=x) for x in sizes]
        return [*both, score({"psnr": (20, 20)}, "freeform", 128)]

    pg = Evaluation("pg", "ours", "trained", scores=scores(64, 128))
    telea = Evaluation("telea", "Telea", "classical", scores=scores(128, 256))
    table = parse(section(report(of(pg, telea)), "Square mask at every size"))[0]
    assert table == [
        ["method", "64 px PSNR ↑", "128 px PSNR ↑", "256 px PSNR ↑"],
        ["ours", "9.00 [8.00, 10.00]", "**17.00** [16.00, 18.00]", ""],
        ["Telea", "", "**17.00** [16.00, 18.00]", "33.00 [32.00, 34.00]"],
    ]
    assert "Square mask at every size" not in report(everything())
    # Where it is the only table, it has one size too.
    alone = Evaluation("pg", "ours", "trained", scores=scores(64)[:1])
    assert len(parse(section(report(of(alone)), "Square mask"))[0]) == 2


def test_titles_tell_how_many_seeds_have_numbers() -> None:
    found = of(
        *method("pg", psnr(20, 22), None, psnr(21, 22), psnr(21, 22)),
        *method("layerwise", psnr(20, 22), psnr(21, 22)),
        *method("coarse_l1", psnr(20, 22), None),
    )
    measured, differences = parse(section(report(found), "Further"))
    assert [row[0] for row in measured[1:]] == [
        "the pg, 3 seeds",
        "the layerwise, 2 seeds",
        "the coarse_l1",
    ]
    assert [row[0] for row in differences[1:]] == ["the layerwise, 2 seeds", "the coarse_l1"]
    # Of which one only was measured under some of the masks.
    both = [score(psnr(20, 22), masks) for masks in ("center", "freeform")]
    some = [Evaluation("pg", "ours", "trained", n, scores=both[: 2 - n]) for n in range(2)]
    assert tables_of(report(of(*some)), "method")[0][1][0] == "ours, 1 to 2 seeds"


def test_raw_says_whose_known_pixels_are_exact() -> None:
    scores = [score(psnr(20, 22), masks, protocol="raw") for masks in ("center", "freeform")]
    text = report(of(Evaluation("telea", "Telea", "classical", scores=scores)), "raw")
    assert "taken as they are, so that their known pixels are (nearly) exact" in text
    assert "taken as they are" not in report(everything())


@pytest.mark.parametrize(
    ("seconds", "printed"),
    [(0.085, "85 ms"), (0.0093, "9.3 ms"), (0.9996, "1 s"), (1.23, "1.2 s"), (60, "1 min")],
)
def test_times_have_a_unit_that_suits_them(seconds: float, printed: str) -> None:
    assert duration(seconds).replace("\N{NO-BREAK SPACE}", " ") == printed


@pytest.fixture
def parsed_flags(monkeypatch) -> SimpleNamespace:
    parsed = SimpleNamespace(protocol="paper", output=None)
    monkeypatch.setattr(tables.flags, "FLAGS", parsed)
    return parsed


def test_a_written_file_gives_the_same_tables_again(tmp_path, parsed_flags, capsys) -> None:
    results.write(tmp_path / "results.json", everything())
    tables.main(["tables", str(tmp_path / "results.json")])
    text = report(everything())
    assert (tmp_path / "tables.md").read_text(encoding="utf-8") == text
    assert capsys.readouterr().out.strip() == text.strip()
    parsed_flags.output = str(tmp_path / "new" / "folder")
    tables.main(["tables", str(tmp_path / "results.json")])
    assert (tmp_path / "new" / "folder" / "tables.md").exists()


def test_what_cannot_be_compared_or_is_not_there_is_refused_in_a_line(
    tmp_path, parsed_flags
) -> None:
    other = CropList("samples", 128, "random", PHOTOGRAPHS, [], "other", "")
    results.write(tmp_path / "one.json", everything())
    results.write(tmp_path / "other.json", Results({"other": other}))
    with pytest.raises(RuleError, match=r"^results must be of the same crops .* of samples, 128$"):
        tables.main(["tables", str(tmp_path / "one.json"), str(tmp_path / "other.json")])
    with pytest.raises(RuleError, match=r"^number of scores must be positive, got 0$"):
        tables.main(["tables", str(tmp_path / "other.json")])
    parsed_flags.protocol = "raw"
    with pytest.raises(RuleError, match=r"^protocol must be one of paper, got 'raw'$"):
        tables.main(["tables", str(tmp_path / "one.json")])
    with pytest.raises(OSError, match="No such file"):
        tables.main(["tables", str(tmp_path / "none.json")])
    assert not (tmp_path / "tables.md").exists()


def test_the_program_ends_with_a_message_and_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text('{"cases": []}')
    command = [sys.executable, "-m", "experiments.tables", str(tmp_path / "results.json")]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert result.returncode == 1
    assert re.fullmatch(
        r"error: .*results.json is no results file of this version: .*\n", result.stderr
    )
