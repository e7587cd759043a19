"""What was measured has a table, under the heading that its size and its masks give it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from experiments.report.tables import report
from experiments.variants import SCALES, variant_config
from pgi.config import to_dict
from pgi.errors import RuleError
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
)

REASON = "step 1234: level_1/l1 is nan"


def test_a_group_without_any_evaluation_but_ours_is_left_out() -> None:
    text = report(of([method("pg", psnr(20, 22)), method("standard_dilation", psnr(20, 21))]))
    assert re.findall("^### (.*)", text, re.MULTILINE) == ["Counterpart of Table 5: dilation"]


def test_where_all_diverged_there_is_a_list_of_it_and_no_table_of_numbers() -> None:
    run = {"folder": "runs/x", "config": {"name": "small", "model": {"levels": [64]}}}
    text = report(of([method("pg", None, None, run=run), method("layerwise", None)]))
    assert [line for line in text.splitlines() if line.startswith("- the ")] == [
        f"- the pg, seed 0, {REASON}",
        f"- the pg, seed 1, {REASON}",
        f"- the layerwise, seed 0, {REASON}",
    ]
    (provenance,) = parse(text)
    assert [row[:3] for row in provenance[1:]] == [["the pg", str(n), "runs/x"] for n in (0, 1)]
    with pytest.raises(RuleError, match=r"^number of scores must be positive, got 0$"):
        report(Results(crop_lists=[crop_list("samples", 128)]))


@pytest.mark.parametrize("masks", [("center", "union"), ("center",), ("ratio_15",)])
def test_what_diverged_is_told_once_whatever_else_was_measured(masks) -> None:
    scores = [Score(psnr(20, 22), name) for name in masks]
    telea = measured(Evaluation("telea", "Telea", "classical"), *scores)
    text = report(of([method("image_attention", None), method("other", None), telea]))
    for name in ("image_attention", "other"):
        assert text.count(f"- the {name}, seed 0, {REASON}") == 1
    assert "Counterpart of Table 3" not in text


def at(side: int, *sizes: int, name: str = "pg", kind: str = "trained") -> Results:
    """A model that was trained at a side, measured at sizes under both masks."""
    scores = [Score(psnr(20, 22), x, size) for size in sizes for x in ("center", "union")]
    config = {"name": name, "model": {"levels": [side // 2, side]}}
    run: dict[str, Any] = {"folder": "x"} if kind == "outputs" else {"config": config}
    return measured(Evaluation(name, f"the {name}", kind, 0, run), *scores)


@pytest.mark.parametrize(
    ("side", "sizes", "headings", "published_rows"),
    [
        (128, (64, 128, 256), ["Crops of", "Table 1", "Table 2"], [0, 8, 3]),
        (128, (256,), ["Table 2"], [3]),
        (128, (128,), ["Table 1"], [8]),
        (64, (64, 256), ["Table 1", "Crops of"], [8, 0]),
        (0, (256, 512, 1024), ["Crops of", "Table 1", "Table 2"], [0, 8, 3]),
        (None, (64, 128, 256), ["Table 1", "Table 2", "Crops of"], [8, 3, 0]),
    ],
)
def test_comparisons_have_their_number_by_size(side, sizes, headings, published_rows) -> None:
    # A smaller one, and those that were not trained here, change nothing.
    trained = [at(side, *sizes), at(side // 2, *sizes, name="small")] if side else []
    # Without runs, the paper's Table 1 has DeepFillv2 at twice its side.
    deepfillv2 = [] if side is None else [at(256, *sizes, name="tf1", kind="deepfillv2")]
    others = [at(1024, *sizes, name="theirs", kind="outputs"), *deepfillv2]
    text = report(of([*trained, *others]))
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
    found = of([at(side, *sizes), at(side, *sizes, name="standard_dilation")])
    text = section(report(found), "Counterpart of Table 5")
    assert f"\n{ablated} x {ablated} px, square mask." in text


def test_other_masks_have_a_table_a_metric() -> None:
    def scores(first: float, second: float) -> list[Score]:
        sets = {"center": 30, "union": 31, "ratio_15": first, "thin": second}
        return [Score(psnr(x, x + 2), name) for name, x in sets.items()]

    ours, telea = Evaluation("pg", "ours", "trained"), Evaluation("telea", "Telea", "classical")
    own = measured(Evaluation("own", "own", "outputs"), Score({"psnr": (9, 9)}, "freeform"))
    text = report(of([measured(ours, *scores(20, 24)), measured(telea, *scores(22, 23)[:3]), own]))
    ssim, psnrs, l1 = parse(section(text, "Other masks, 128 x 128 px"))
    assert psnrs == [
        ["method", "`ratio_15` PSNR ↑", "`thin` PSNR ↑", "`freeform` PSNR ↑"],
        ["ours", "21.00 [20.00, 22.00]", "25.00 [24.00, 26.00]", ""],
        ["Telea", "**23.00** [22.00, 24.00]", "", ""],
        ["own", "", "", "9.00 [9.00, 9.00]"],
    ]
    assert ssim[0] == ["method", "`ratio_15` SSIM ↑", "`thin` SSIM ↑"]
    assert l1[0][1] == "`ratio_15` L1 ↓" and [row[0] for row in ssim[1:]] == ["ours", "Telea"]
    assert text.index("### Counterpart of Table 1") < text.index("### Other masks")
    assert "Square mask at every size" not in text
    # Sizes without a comparison show the free-form masks too.
    freeform = report(measured(ours, scores(20, 24)[1]))
    assert parse(section(freeform, "Other masks"))[1][1] == ["ours", "32.00 [31.00, 33.00]"]


def test_every_crop_list_and_mask_set_stands_with_its_hash() -> None:
    scores = [Score(psnr(20, 22), masks) for masks in ("center", "thin")]
    (hashes,) = tables_of(report(measured(Evaluation("pg", "ours", "trained"), *scores)), "dataset")
    assert [row[:5] for row in hashes[1:]] == [["samples", "128 px", "random", "2", "2"]] * 2
    assert [row[5:] for row in hashes[1:]] == [
        ["`samples 128`", "center", "`center sha`"],
        ["`samples 128`", "thin", "`thin sha`"],
    ]


def test_the_square_mask_at_sizes_without_comparison_has_a_table_of_all_sizes() -> None:
    def scores(*sizes: int) -> list[Score]:
        both = [Score({"psnr": (x / 8, x / 8 + 2)}, size=x) for x in sizes]
        return [*both, Score({"psnr": (20, 20)}, "union", 128)]

    ours = Evaluation("pg", "ours", "trained")
    telea = measured(Evaluation("telea", "Telea", "classical"), *scores(128, 256))
    text = report(of([measured(ours, *scores(64, 128)), telea]))
    assert parse(section(text, "Square mask at every size"))[0] == [
        ["method", "64 px PSNR ↑", "128 px PSNR ↑", "256 px PSNR ↑"],
        ["ours", "9.00 [8.00, 10.00]", "**17.00** [16.00, 18.00]", ""],
        ["Telea", "", "**17.00** [16.00, 18.00]", "33.00 [32.00, 34.00]"],
    ]
    assert "Square mask at every size" not in report(everything())
    # Where it is the only table, it has one size too.
    alone = report(measured(ours, scores(64)[0]))
    assert len(parse(section(alone, "Square mask"))[0]) == 2


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
    config = {"name": "small", "model": {"levels": [64]}, "loss": loss, "train": {"steps": 1000}}
    run = {"folder": "runs/x", "checkpoint": f"step-{step}", "config": config}
    (*_, provenance) = parse(report(method("pg", psnr(20, 22), run=run)))
    assert provenance[0][-1] == "adversarial weight reached"
    assert provenance[1][-1] == reached


def test_what_all_trainings_do_otherwise_than_the_paper_is_said() -> None:
    base = SCALES["tiny"].base
    names = ("pg", "coarse_l1", "layerwise_longer", "pg_lower")
    # As results hold them, with lists for tuples.
    configs = [json.loads(json.dumps(to_dict(variant_config(name, base)))) for name in names]
    parts = [
        measured(Evaluation(name, name, "trained", run={"config": config}), Score(psnr(20, 22)))
        for name, config in zip(names, configs)
    ]
    parts.append(at(256, 128, name="tf1", kind="deepfillv2"))  # Trained by others; says nothing.
    _, _, text = report(of(parts)).partition("**Unlike the paper's configuration**")
    assert "\n- `train.steps`: 300 or 900, not 1000000\n" in text
    assert "\n- `model.levels`: [32, 64, 128] or [32, 64], not [128, 256, 512]\n" in text
    assert "\n- `data.flip`: True, not False\n" in text
    assert "\n- `model.kernel_initializer`: gated_he, not glorot_uniform\n" in text
    # What only one of them does, and what is as in the paper.
    assert "coarse_l1" not in text and "learning_rate" not in text
