"""What was measured has a table, under the heading that its size and its masks give it."""

from __future__ import annotations

import dataclasses
import re

import pytest

from experiments.report.tables import report
from pgi.errors import RuleError
from pgi.evaluation.results import CropList, Evaluation, Results, Score
from tests.experiments.made_results import (
    PHOTOGRAPHS,
    everything,
    method,
    of,
    parse,
    psnr,
    score,
    section,
    tables_of,
)


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
    # The comparison, which needs both masks, tells of all; else each is told of once.
    assert text.count("- the image_attention:") == len(masks)


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
    assert "SHA-256 of the masks, first 12 digits: `ratio_15` `ratio_15 sha`, `thin` `" in others
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


@pytest.mark.parametrize(
    "loss, step, reached",
    [
        ({"adversarial_weight": 1.0, "adversarial_warmup": 0.0}, 300, "1"),
        ({"adversarial_weight": 0.5, "adversarial_warmup": 0.5}, 100, "0.1"),
        ({"adversarial_weight": 0.5, "adversarial_warmup": 0.5}, 900, "0.5"),
        # As results of earlier versions have it.
        ({"adversarial_weight": 1.0, "adversarial_warmup_steps": 20_000}, 300, "0.015"),
    ],
)
def test_the_adversarial_weight_that_was_reached_is_printed(loss, step, reached) -> None:
    config = {"name": "small", "loss": loss, "train": {"steps": 1000}}
    run = {"folder": "runs/x", "checkpoint": f"step-{step}", "config": config}
    (*_, provenance) = parse(report(of(*method("pg", psnr(20, 22), run=run))))
    assert provenance[0][-1] == "adversarial weight reached"
    assert provenance[1][-1] == reached
