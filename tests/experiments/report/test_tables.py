"""The tables say what was measured, and what the paper printed, and never mix the two."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from experiments import tables as tables_program
from experiments.report import cells
from experiments.report.tables import report
from pgi.errors import RuleError
from pgi.evaluation import results
from pgi.evaluation.intervals import Estimate
from pgi.evaluation.results import Evaluation, Results
from tests.experiments.made_results import (
    Score,
    crop_list,
    everything,
    measured,
    method,
    of,
    parse,
    psnr,
    section,
    tables_of,
    timed,
)

ROOT = Path(__file__).parents[3]


def test_means_spreads_and_intervals_are_those_of_the_numbers() -> None:
    # By photograph 21 and 23, by seed 21 and 23; their standard deviation is the root of two.
    found = of([method("pg", psnr(20, 22), psnr(22, 24)), method("drop_coarse", psnr(18, 20.5))])
    table = parse(section(report(found), "Further"))[0]
    assert table[0] == ["method", "SSIM ↑", "PSNR ↑", "L1 ↓"]
    assert table[1][:3] == [
        "the pg, 2 seeds",
        "**0.220** ± 0.014 [0.210, 0.230]",
        "**22.00** ± 1.41 [21.00, 23.00]",
    ]
    assert table[1][3].startswith("**0.046** ±") and table[2][3].startswith("0.052 [")
    assert table[2][:3] == ["the drop_coarse", "0.193 [0.180, 0.205]", "19.25 [18.00, 20.50]"]


def test_a_star_asks_for_ten_photographs() -> None:
    certain = Estimate(1.0, (0.5, 1.5), 10)
    assert cells.difference(certain, 2).endswith("1.50]*")
    assert cells.difference(replace(certain, n=9), 2).endswith("1.50]")
    assert cells.difference(replace(certain, interval=(-0.5, 2.5)), 2).endswith("2.50]")


def test_differences_are_paired_and_marked_where_the_interval_excludes_zero(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cells, "STARRED", 2)
    found = of(
        [
            method("drop_coarse", psnr(20, 20.5)),
            method("pg", psnr(20, 22), psnr(22, 24)),
            method("layerwise", psnr(21, 24)),
            method("coarse_l1", psnr(22, 25)),
            method("square_center", psnr(21, 22)),
        ]
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
    scores = [Score(psnr(20, 22), masks) for masks in ("center", "union")]
    text = report(of(measured(Evaluation(x, f"<{x}>", kinds[x]), *scores) for x in kinds))
    assert re.findall(r"\*\*\\<(\w+)> minus\*\*", text) == ([ours] if ours else [])
    for table in tables_of(text, "minus"):
        assert [row[0] for row in table[1:]] == [f"\\<{x}>" for x in kinds if x != ours]


def test_what_diverged_is_a_dash_with_its_step_and_reason() -> None:
    found = of(
        [
            method("feature_coarse", psnr(20, 20), None),
            method("feature_refine", None),
            method("pg", psnr(20, 22)),
        ]
    )
    text = report(found)
    group = section(text, "Counterpart of Table 4")
    coarse, refine, ours = parse(group)[0][1:]
    assert refine[0] == "the feature_refine" and refine[1:] == ["-"] * 6
    # By one seed; the other diverged.
    assert coarse[:2] == ["the feature_coarse", "0.200 [0.200, 0.200]"] and ours[0] == "the pg"
    reason = "step 1234: level_1/l1 is nan"
    assert f"\n- the feature_refine, seed 0, {reason}\n" in text
    assert f"\n- the feature_coarse, seed 1, {reason}\n" in text
    assert "Not evaluated: image_attention, image_convolution." in group
    assert [row[0] for row in tables_of(group, "minus")[0][1:]] == ["the feature_coarse"]


def test_rows_are_as_long_as_their_headers_whatever_a_title_holds() -> None:
    scores = [Score(psnr(20, 22), masks) for masks in ("center", "union")]
    odd = measured(Evaluation("a", "a | b\n| <c> \\|", "outputs"), scores[0])
    trained = (measured(Evaluation(x, "pg|", "trained"), *scores) for x in ("pg", "pg_lower"))
    found = of([odd, *trained])
    both = parse(report(found)) + parse(report(everything()))
    assert len(both) > 10
    for table in both:
        assert {len(row) for row in table} == {len(table[0])}
    table = tables_of(report(found), "method")[0]
    assert table[1][0] == r"a \| b \| \<c> \\\|"
    assert table[1][4:] == ["", "", ""]  # Not measured, which is not to have diverged.


def test_columns_without_numbers_are_left_out_and_perfect_results_are_infinite() -> None:
    numbers = {"psnr": (math.inf, 20.0), "l1": (0.0, 0.1)}
    made = [Score(numbers, masks, protocol="hole") for masks in ("center", "union")]
    found = of(measured(Evaluation(x, x, "trained"), *made) for x in ("pg", "layerwise"))
    text = report(found, "hole")
    assert tables_of(text, "method")[0][0] == [
        "method",
        "square mask PSNR ↑",
        "square mask L1 ↓",
        "free-form mask PSNR ↑",
        "free-form mask L1 ↓",
    ]
    assert tables_of(text, "method")[0][1][1:3] == ["**inf**", "**0.050** [0.000, 0.100]"]
    assert "SSIM ↑" not in text and "do not compare them" in text


def test_titles_tell_how_many_seeds_have_numbers() -> None:
    found = of(
        [
            method("pg", psnr(20, 22), None, psnr(21, 22), psnr(21, 22)),
            method("layerwise", psnr(20, 22), psnr(21, 22)),
            method("coarse_l1", psnr(20, 22), None),
        ]
    )
    means, differences = parse(section(report(found), "Further"))
    assert [row[0] for row in means[1:]] == [
        "the pg, 3 seeds",
        "the layerwise, 2 seeds",
        "the coarse_l1",
    ]
    assert [row[0] for row in differences[1:]] == ["the layerwise, 2 seeds", "the coarse_l1"]
    # Of which one only was measured under some of the masks.
    both = [Score(psnr(20, 22), masks) for masks in ("center", "union")]
    some = [measured(Evaluation("pg", "ours", "trained", n), *both[: 2 - n]) for n in range(2)]
    assert tables_of(report(of(some)), "method")[0][1][0] == "ours, 1 to 2 seeds"


def test_raw_says_whose_known_pixels_are_exact() -> None:
    scores = [Score(psnr(20, 22), masks, protocol="raw") for masks in ("center", "union")]
    text = report(measured(Evaluation("telea", "Telea", "classical"), *scores), "raw")
    assert "taken as they are, so their known pixels are (nearly) exact" in text
    assert "taken as they are" not in report(everything())


def test_the_time_is_the_median_over_seeds_of_the_medians_in_milliseconds() -> None:
    both = [Score(psnr(20, 22), masks) for masks in ("center", "union")]
    times = (0.01, 0.0852, 0.5)
    parts = [
        measured(Evaluation("pg", "ours", "trained", n), *both, timed(seconds))
        for n, seconds in enumerate(times)
    ]
    parts.append(measured(Evaluation("telea", "Telea", "classical"), *both))
    table = tables_of(report(of(parts)), "method")[0]
    assert [row[-1] for row in table] == ["time per image, ms", "85.2", ""]


@pytest.fixture
def parsed_flags(monkeypatch) -> SimpleNamespace:
    parsed = SimpleNamespace(protocol="paper", output=None)
    monkeypatch.setattr(tables_program.flags, "FLAGS", parsed)
    return parsed


def test_a_written_file_gives_the_same_tables_again(tmp_path, parsed_flags, capsys) -> None:
    file = tmp_path / results.FILE
    results.write(file, everything())
    tables_program.main(["tables", str(file)])
    text = report(everything())
    assert (tmp_path / "tables.md").read_text(encoding="utf-8") == text
    assert capsys.readouterr().out.strip() == text.strip()
    parsed_flags.output = str(tmp_path / "new" / "folder")
    tables_program.main(["tables", str(file)])
    assert (tmp_path / "new" / "folder" / "tables.md").exists()


def test_what_cannot_be_compared_or_is_not_there_is_refused_in_a_line(
    tmp_path, parsed_flags
) -> None:
    other = crop_list("samples", 128, sha256="other")
    results.write(tmp_path / "one.csv.gz", everything())
    results.write(tmp_path / "other.csv.gz", Results(crop_lists=[other]))
    with pytest.raises(RuleError, match=r"^results must be of the same crops .* of samples, 128$"):
        tables_program.main(
            ["tables", str(tmp_path / "one.csv.gz"), str(tmp_path / "other.csv.gz")]
        )
    with pytest.raises(RuleError, match=r"^number of scores must be positive, got 0$"):
        tables_program.main(["tables", str(tmp_path / "other.csv.gz")])
    parsed_flags.protocol = "raw"
    with pytest.raises(RuleError, match=r"^protocol must be one of paper, got 'raw'$"):
        tables_program.main(["tables", str(tmp_path / "one.csv.gz")])
    with pytest.raises(OSError, match="No such file"):
        tables_program.main(["tables", str(tmp_path / "none.csv.gz")])
    assert not (tmp_path / "tables.md").exists()


@pytest.mark.slow
def test_the_program_ends_with_a_message_and_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "results.csv").write_text("method,value\n")
    (tmp_path / "results.provenance.json").write_text("{}")
    command = [sys.executable, "-m", "experiments.tables", str(tmp_path / "results.csv")]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert result.returncode == 2
    assert re.fullmatch(
        r"error: .*results.csv is no results table, or damaged: .*\n", result.stderr
    )
