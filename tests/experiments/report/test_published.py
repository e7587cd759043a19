"""The numbers that stand for the paper's are the paper's, and stand apart from ours."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.report.tables import published, report
from experiments.variants import GROUPS, VARIANTS
from tests.experiments.made_results import everything, parse, section, tables_of

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
        # Without the number of the paper's reference.
        assert name == re.sub(r" \[\d+\]$", "", printed) and places2 + div2k == [
            number(x) for x in cells
        ]
        mark = first["marks_of_times"].get(name, "")
        assert f"{first['milliseconds'][name]}ms{mark}" == time.replace("1min", "60000ms")
    assert len(second["rows"]["div2k"]) == 3
    for line in TABLE_2.splitlines():
        name, *cells = line.rsplit(maxsplit=6)
        name = re.sub(r" \[\d+\]$", "", name)
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
        ours = [name for name in GROUPS[group] if name in paper["rows"]]
        assert list(paper["rows"]) == ours
        for name, scores in paper["rows"].items():
            assert [scores[metric] for metric in METRICS] == [number(x) for x in rows[name]]


def test_the_papers_numbers_stand_beside_ours_in_its_ablations() -> None:
    text = report(everything())
    titles = ["SSIM ↑", "PSNR ↑", "L1 ↓"]
    header = ["method", *(x for title in titles for x in (title, f"paper {title}"))]
    layers, fusion = (parse(section(text, f"Counterpart of Table {n}"))[0] for n in (3, 4))
    assert layers[0] == fusion[0] == header
    assert [row[0::2] for row in layers[1:]] == [
        ["our pg_lower", "0.809", "24.07", "0.042"],
        ["our pg_lower_downsampled", "", "", ""],
        ["our pg_upper", "0.827", "26.03", "0.035"],
        ["our pg", "0.840", "26.74", "0.034"],
    ]
    assert [row[0] for row in fusion[1:]] == [f"our {name}" for name in GROUPS["fusion"]]
    psnrs = {row[0]: row[4] for row in fusion[1:]}
    assert psnrs["our feature_coarse"] == "23.16" and psnrs["our feature_refine"] == "-"
    assert not any("paper" in x for x in parse(section(text, "Further"))[0][0])


def test_published_and_measured_numbers_share_no_rows_of_tables_1_and_2() -> None:
    text = report(everything())
    measured, theirs = tables_of(text, "method"), tables_of(text, "published method")
    titles = {*(f"our {name}" for name in VARIANTS), "Telea"}
    assert [{row[0] for row in table[1:]} for table in measured[:2]] == [titles, titles]
    assert [len(table) - 1 for table in theirs] == [8, 3]
    assert not titles & {row[0] for table in theirs for row in table}
    numbers = ["0.769", "20.85", "0.075", "0.660", "17.88", "0.109"]
    assert theirs[0][1] == ["GL", *numbers, "125"]
    # The paper took this time, and no other number, from elsewhere.
    assert [theirs[0][2][0], theirs[0][2][-1]] == ["MNPS", r"60000\*"]
    assert theirs[0][0][-1] == "time per image, ms"
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
    assert "Table 2, DIV2K val (Table 2 has no numbers of places2/256), 1024 x" in second
    assert "Table 1, DIV2K val, 512" in report(everything("div2k"))
    assert "Table 1, Places2 val, 512" in report(everything("tfds:places2"))
    folder = "folder:places2/256"
    assert f"Table 1 has no numbers of {folder}" in report(everything(folder))
    assert "Table 1, DIV2K val (Table 1 has no numbers of samples)" in report(everything())
