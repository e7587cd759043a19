"""What the candidates measure stands beside what the paper publishes, computed by hand."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest

from experiments import protocols as protocols_program
from experiments.report.protocols import measured_means, published_means, report
from pgi.errors import RuleError
from pgi.evaluation import results
from pgi.evaluation.results import Evaluation, Results, select
from tests.experiments.made_results import Score, measured, of, parse
from tests.experiments.report.test_published import TABLE_1, TABLE_2

Numbers = tuple[float, float, float]


def scores(
    first: Numbers, second: Numbers, masks: str = "center", protocol: str = "paper"
) -> Score:
    """SSIM, PSNR and L1 of two photographs."""
    values = dict(zip(("ssim", "psnr", "l1"), zip(first, second)))
    return Score(values, masks, 512, protocol, "photos")


def found() -> Results:
    """Two methods, the second of which was not measured under strokes or by "standard"."""
    telea = Evaluation("telea", "Telea", "classical")
    mean = Evaluation("mean_colour", "mean | colour", "classical")
    return of(
        [
            measured(
                telea,
                scores((0.70, 18.0, 0.05), (0.80, 20.0, 0.07)),
                scores((0.80, 18.0, 0.03), (0.94, 20.0, 0.04), protocol="standard"),
                scores((0.66, 17.0, 0.08), (0.74, 19.5, 0.10), "union"),
                scores((0.85, 23.0, 0.02), (0.85, 23.0, 0.04), "freeform"),
                scores((0.9, 30.0, 0.01), (0.9, 30.0, 0.01), "ratio_15"),
            ),
            measured(
                mean,
                scores((0.60, 14.0, 0.10), (0.70, 16.0, 0.10)),
                scores((0.50, 14.0, 0.12), (0.60, 14.0, 0.13), "union"),
            ),
        ]
    )


def published_by_hand() -> list[tuple[Numbers, Numbers | None]]:
    """SSIM, PSNR and L1 under the square and under free-form masks, from the paper's text."""
    rows: list[tuple[Numbers, Numbers | None]] = []
    for line in [*TABLE_1.splitlines(), *TABLE_2.splitlines()]:
        cells = re.findall(r"(?<= )(?:\d+\.\d+|-)(?= |$)", line)
        for n in range(0, len(cells), 6):
            square, freeform = cells[n : n + 3], cells[n + 3 : n + 6]
            other = None if "-" in freeform else tuple(map(float, freeform))
            rows.append((tuple(map(float, square)), other))  # type: ignore[arg-type]
    return rows


def ratio(numbers: Numbers) -> float:
    return numbers[2] * 10 ** (numbers[1] / 20)


def test_ranges_go_from_the_lowest_method_to_the_highest() -> None:
    table = parse(report(found()))[0]
    # PSNR 19 and 15, so RMSE 0.1122 and 0.1778; L1 0.06 and 0.1.
    paper = ["paper", "2", "0.650 to 0.750", "15.00 to 19.00", "0.060 to 0.100", "0.535 to 0.562"]
    standard = ["standard", "1", "0.870", "19.00", "0.035", "0.312"]
    assert [row[1:] for row in table if row[0] == "photos, 512 px"] == [paper, standard]


def test_means_are_over_photographs_and_seeds() -> None:
    first = scores((0.7, 18.0, 0.05), (0.8, 20.0, 0.07))
    second = scores((0.7, 20.0, 0.05), (0.8, 26.0, 0.15))
    seeds = (Evaluation("pg", "ours", "trained", seed) for seed in range(2))
    means = measured_means(of(map(measured, seeds, (first, second))))
    assert means[["ssim", "psnr", "l1"]].to_numpy().tolist() == [pytest.approx([0.75, 21, 0.08])]


def test_published_ranges_are_those_of_the_papers_rows() -> None:
    rows = [row for row, _ in published_by_hand()]
    assert len(rows) == 19
    places2, div2k, second = rows[:16:2], rows[1:16:2], rows[16:]
    table = {row[0]: row[2:] for row in parse(report(found()))[0]}
    for place, own in (
        ("Table 1, Places2 val", places2),
        ("Table 1, DIV2K val", div2k),
        ("Table 2, DIV2K val", second),
    ):
        columns = [*zip(*own), [ratio(row) for row in own]]
        ends = [
            f"{min(column):.{digits}f} to {max(column):.{digits}f}"
            for column, digits in zip(columns, (3, 2, 3, 3))
        ]
        assert table[place] == [str(len(own)), *ends]


def test_a_method_stands_beside_the_published_rows_within_a_decibel() -> None:
    table = parse(report(found()))[1]
    rows = [row for row, _ in published_by_hand() if 18 <= row[1] <= 20]
    ends = [f"{min(x):.3f} to {max(x):.3f}" for x in zip(*((s, l1) for s, _, l1 in rows))]
    ratios = sorted(map(ratio, rows))
    assert len(rows) == 8
    telea, standard, mean = table[1:]
    assert telea == [
        *("photos, 512 px", "Telea", "paper", "19.00", "8", "0.750", ends[0], "0.060", ends[1]),
        *("0.535", f"{ratios[0]:.3f} to {ratios[-1]:.3f}"),
    ]
    assert standard[2:6] == ["standard", "19.00", "8", "0.870"]
    # No published row has a PSNR near 15.
    assert mean[1:5] == [r"mean \| colour", "paper", "15.00", "0"] and mean[6::2] == ["-"] * 3


def test_free_form_masks_are_compared_with_the_square_method_by_method() -> None:
    table = parse(report(found()))[2]
    both = [(square, other) for square, other in published_by_hand() if other]
    assert len(both) == 17
    changes = [(b[0] - a[0], b[1] - a[1], b[2] / a[2], ratio(b) / ratio(a)) for a, b in both]
    ends = [
        f"{min(x):{form}} to {max(x):{form}}"
        for x, form in zip(zip(*changes), ("+.3f", "+.2f", ".2f", ".2f"))
    ]
    lines = {tuple(row[:4]): row[4:] for row in table[1:]}
    assert lines["Tables 1 and 2", "17 rows", "not stated", "not stated"] == ends
    # L1 0.03, 0.09 and 0.06: 0.5 and 1.5; RMSE changes by 4 dB less and 0.75 dB more.
    own = {key[1:]: cells for key, cells in lines.items() if key[0] == "photos, 512 px"}
    assert own == {
        ("Telea", "paper", "freeform"): ["+0.100", "+4.00", "0.50", "0.79"],
        ("Telea", "paper", "union"): ["-0.050", "-0.75", "1.50", "1.38"],
        (r"mean \| colour", "paper", "union"): ["-0.100", "-1.00", "1.25", "1.11"],
    }


def test_candidates_without_numbers_are_named() -> None:
    notes = report(found()).partition("## Not in the results\n\n")[2]
    gray = "paper_gray (center, freeform, union)"
    raw = "raw (center, freeform, union)"
    assert notes.splitlines() == [
        f"- photos, 512 px, Telea: {gray}, standard (freeform, union), {raw}",
        rf"- photos, 512 px, mean \| colour: paper (freeform), {gray}, "
        f"standard (center, freeform, union), {raw}",
    ]


def test_without_free_form_masks_there_is_no_table_of_them() -> None:
    score = scores((0.7, 18.0, 0.05), (0.8, 20.0, 0.07))
    text = report(measured(Evaluation("telea", "Telea", "classical"), score))
    assert len(parse(text)) == 2 and "paper (freeform, union)" in text


def test_a_ratio_of_means_exceeds_the_bound_that_holds_for_every_image() -> None:
    """With a hole of a quarter, an image's mean error is at most half of its RMSE."""
    # RMSE 0.1 and 0.01; of the mean of 30 dB, 0.0316.
    made = scores((0.8, 20.0, 0.05), (0.9, 40.0, 0.005), protocol="standard")
    means = measured_means(measured(Evaluation("telea", "Telea", "classical"), made))
    assert means.ratio.tolist() == pytest.approx([0.0275 / 0.0316228], rel=1e-5)
    assert means.ratio[0] > 0.85


def test_seventeen_of_nineteen_published_ratios_exceed_a_half() -> None:
    """As docs/REPRODUCTION.md says; the L1 is rounded, so three of these may be a half."""
    square = select(published_means(), masks="center")
    assert len(square) == 19 and (square.ratio > 0.5).sum() == 17
    least = (square.l1 - 0.0005) * 10 ** ((square.psnr - 0.005) / 20)
    most = (square.l1 + 0.0005) * 10 ** ((square.psnr + 0.005) / 20)
    assert (least > 0.5).sum() == 14 and (most < 0.5).sum() == 2


def test_the_program_writes_the_comparison_beside_the_first_file(
    tmp_path, monkeypatch, capsys
) -> None:
    parsed = SimpleNamespace(output=None)
    monkeypatch.setattr("experiments.report.results_files.flags.FLAGS", parsed)
    file = tmp_path / results.FILE
    results.write(file, found())
    protocols_program.main(["protocols", str(file)])
    text = report(found())
    assert (tmp_path / "protocols.md").read_text(encoding="utf-8") == text
    assert capsys.readouterr().out.strip() == text.strip()


def test_results_without_the_square_mask_are_refused() -> None:
    made = scores((0.7, 18.0, 0.05), (0.8, 20.0, 0.07), "union")
    hole = scores((0.7, 18.0, 0.05), (0.8, 20.0, 0.07), protocol="hole")
    evaluation = Evaluation("telea", "Telea", "classical")
    for part in (measured(evaluation, made), measured(evaluation, hole)):
        with pytest.raises(RuleError, match=r"^results must be of the masks center, by one of "):
            report(part)
