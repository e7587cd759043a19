"""Held: the plots show what was measured, under its own name, and nothing hides or is cut off."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from experiments.report import figures
from experiments.variants import VARIANTS
from pgi.evaluation import results
from pgi.evaluation.results import Evaluation, Results, rows
from tests.experiments.made_results import crop_list

ROOT = Path(__file__).parents[3]
SIZES = (64, 128, 256)
MASKS = ("center", *(f"ratio_{share}" for share in figures.SHARES))
# The first photograph was cut twice.
PHOTOGRAPHS = ("a", "a", "b", "c")
TITLES = {"pg": "PG (ours)", "deepfillv2": "DeepFillv2, 64", "telea": "Telea $1$", "own": "own†"}

Measure = Callable[[str, str, int, str, str], Sequence[float]]


def numbers(method: str, metric: str, size: int, masks: str, protocol: str) -> list[float]:
    """Different everywhere, the same in every process."""
    place = (method, metric, str(size), masks, protocol)
    seed = [sum(ord(sign) * (n + 1) for n, sign in enumerate(name)) for name in place]
    drawn = np.random.default_rng(seed).uniform(0.1, 0.2, len(PHOTOGRAPHS))
    return list(drawn * (1 if metric == "l1" else 100))


def measured(
    titles: Mapping[str, str] = TITLES,
    *,
    sizes: Sequence[int] = SIZES,
    masks: Sequence[str] = MASKS,
    measure: Measure = numbers,
    dataset: str = "div2k",
) -> Results:
    """By protocols "paper" and "standard"; pg with two seeds."""
    lists = [crop_list(dataset, size, PHOTOGRAPHS) for size in sizes]
    evaluations = [
        Evaluation(name, title, "outputs", seed)
        for name, title in titles.items()
        for seed in range(2 if name == "pg" else 1)
    ]
    tables = [
        rows(x.method, x.seed, crops, mask, protocol, metric, [number + x.seed for number in drawn])
        for x in evaluations
        for crops in lists
        for mask in masks
        for protocol in ("paper", "standard")
        for metric in ("l1", "psnr", "ssim")
        if (drawn := measure(x.method, metric, crops.size, mask, protocol))
    ]
    hashes = {(dataset, size, mask): mask for size in sizes for mask in masks}
    return Results(pd.concat(tables, ignore_index=True), evaluations, lists, hashes)


def mean(method: str, metric: str, size: int, masks: str, protocol: str = "paper") -> float:
    """Of photographs, not of crops; of both seeds of pg, the second of which is 1 more."""
    first, second, *others = numbers(method, metric, size, masks, protocol)
    return float(np.mean([(first + second) / 2, *others])) + 0.5 * (method == "pg")


def figure_6(found: Results, protocol: str = "paper") -> Figure:
    figure = figures.figure_6(found, "div2k", 128, protocol)
    assert figure is not None
    return figure


def figure_7(found: Results) -> Figure:
    figure = figures.figure_7(found, "div2k", "paper")
    assert figure is not None
    return figure


def xs(line: Line2D) -> list[float]:
    return np.asarray(line.get_xdata()).tolist()


def ys(line: Line2D) -> list[float]:
    return np.asarray(line.get_ydata()).tolist()


@pytest.mark.parametrize("protocol", ["paper", "standard"])
def test_figure_6_shows_the_means_by_share(protocol):
    figure = figure_6(measured(), protocol)
    assert [axes.get_title() for axes in figure.axes] == ["(a) L1", "(b) PSNR"]
    for metric, axes in zip(("l1", "psnr"), figure.axes):
        assert len(axes.lines) == len(TITLES)
        assert axes.get_xlabel() == "hole, % of the image"
        assert list(axes.get_xticks()) == list(figures.SHARES)
        for method, line in zip(TITLES, axes.lines):
            expected = [mean(method, metric, 128, f"ratio_{x}", protocol) for x in figures.SHARES]
            assert xs(line) == list(figures.SHARES)
            np.testing.assert_allclose(ys(line), expected, rtol=1e-12)
    unit = {"paper": "L1 (relative)", "standard": "L1, values in [0, 1]"}[protocol]
    assert [axes.get_ylabel() for axes in figure.axes] == [unit, "PSNR, dB"]
    assert all(x in figure.get_suptitle() for x in ("div2k", "128 px", protocol, "3 photographs"))


def test_figure_7_shows_the_means_by_size_on_a_log_scale():
    figure = figure_7(measured())
    for metric, axes in zip(("l1", "psnr"), figure.axes):
        assert axes.get_xscale() == "log"
        assert [label.get_text() for label in axes.get_xticklabels()] == ["64", "128", "256"]
        ends = axes.transData.transform([(size, 1) for size in SIZES])[:, 0]
        assert ends[1] - ends[0] == pytest.approx(ends[2] - ends[1])
        for method, line in zip(TITLES, axes.lines):
            expected = [mean(method, metric, size, "center") for size in SIZES]
            assert xs(line) == list(SIZES)
            np.testing.assert_allclose(ys(line), expected, rtol=1e-12)


def named(photographs: Mapping[int, str]) -> Results:
    """A method at several sizes, each with photographs of one letter; "a" has 1, "b" 2, ..."""
    return results.join(
        one_size(size, names, "center", [ord(x) - 96 for x in names])
        for size, names in photographs.items()
    )


def one_size(size: int, photographs: str, masks: str, psnrs: Sequence[float]) -> Results:
    """A method's PSNR of photographs that have a letter each as name."""
    crops = crop_list("div2k", size, photographs)
    scores = rows("own", 0, crops, masks, "paper", "psnr", psnrs)
    return Results(scores, [Evaluation("own", "own", "outputs")], [crops])


def test_figure_7_compares_the_same_photographs_at_every_size():
    # In another order, one of them cut twice, and each size with some that others lack.
    figure = figure_7(named({64: "abcd", 128: "ecbb", 256: "cbf"}))
    (line,) = figure.axes[0].lines
    assert xs(line) == [64, 128, 256]
    assert ys(line) == [2.5, 2.5, 2.5]
    assert "means over the same 2 photographs" in " ".join(figure.get_suptitle().split())
    assert "the same" not in figure_6(measured()).get_suptitle()


def test_a_size_that_is_not_drawn_takes_no_photographs_from_figure_7(tmp_path):
    found = named({64: "ab", 128: "abc"})
    figure = figure_7(results.join([found, one_size(256, "z", "union", [1.0])]))
    assert ys(figure.axes[0].lines[0]) == [1.5, 1.5]
    none_common = named({64: "ab", 128: "bc", 256: "ca"})
    assert figures.figure_7(none_common, "div2k", "paper") is None
    assert figures.draw(none_common, tmp_path, "paper") == []
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("draw", [figure_6, figure_7])
def test_every_line_has_a_band_of_its_colour_around_it(draw):
    for axes in draw(measured()).axes:
        assert len(axes.collections) == len(axes.lines)
        for line, band in zip(axes.lines, axes.collections):
            assert tuple(band.get_facecolor()[0][:3]) == pytest.approx(
                tuple(int(line.get_color()[n : n + 2], 16) / 255 for n in (1, 3, 5))
            )
            (path,) = band.get_paths()
            for x, y in zip(xs(line), ys(line)):
                edges = path.vertices[path.vertices[:, 0] == x, 1]
                assert edges.min() < y < edges.max()


@pytest.mark.parametrize("draw", [figure_6, figure_7])
def test_the_legend_names_every_line_and_hides_none(draw):
    titles = TITLES | {"long": "results of a method with " + "a long name " * 8}
    figure = draw(measured(titles))
    figure.draw_without_rendering()
    (legend,) = figure.legends
    named = [" ".join(entry.get_text().split()) for entry in legend.get_texts()]
    assert named == [" ".join(title.split()).replace("$", r"\$") for title in titles.values()]
    box = legend.get_window_extent()
    for axes, entries in ((axes, legend.get_lines()) for axes in figure.axes):
        assert not box.overlaps(axes.get_tightbbox())
        for line, entry in zip(axes.lines, entries):
            for of in ("color", "marker", "linestyle"):
                assert getattr(line, f"get_{of}")() == getattr(entry, f"get_{of}")()
    left, right = (axes.get_tightbbox() for axes in figure.axes)
    assert not left.overlaps(right)
    inches = figure.get_tightbbox()
    assert inches.x0 >= 0 and inches.y0 >= 0
    assert inches.x1 <= figure.bbox_inches.x1 and inches.y1 <= figure.bbox_inches.y1


def test_a_long_name_of_a_dataset_stays_within_the_picture():
    name = "folder:/" + "photographs/of/the/year/" * 10
    figure = figures.figure_7(measured(dataset=name), name, "paper")
    assert figure is not None
    figure.draw_without_rendering()
    inches = figure.get_tightbbox()
    assert inches.x0 >= 0 and inches.x1 <= figure.bbox_inches.x1


def test_lines_differ_and_a_method_looks_the_same_in_every_figure():
    others = {f"method_{n}": f"method {n}" for n in range(12)}
    titles = {name: name for name in ("pg", "deepfillv2", "deepfillv2_dagger")} | others

    def looks(figure: Figure) -> dict[str, tuple]:
        lines = figure.axes[0].lines
        return {
            str(x.get_label()): (x.get_color(), x.get_marker(), x.get_linestyle()) for x in lines
        }

    both = measured(titles, measure=lambda *_: [1.0] * 4)
    found = looks(figure_7(both))
    assert len({style[:2] for style in found.values()}) == len(titles)
    # A method without numbers in a figure shifts no other's colour there.
    some = measured({"method_0": "method 0"}, masks=("center",))
    others.pop("method_0")
    rest = measured(others, measure=lambda *_: [1.0] * 4)
    without = looks(figure_6(results.join([some, rest])))
    assert "method 0" not in without
    assert all(without[name] == found[name] for name in others.values())
    red, green, blue = (
        [int(found[name][0][n : n + 2], 16) for n in (1, 3, 5)]
        for name in ("deepfillv2", "deepfillv2_dagger", "pg")
    )
    assert [np.argmax(colour) for colour in (red, green, blue)] == [0, 1, 2]


def test_variants_of_the_ablations_have_tables_and_no_lines():
    titles = {name: name for name in [*VARIANTS, "telea"]}
    figure = figure_7(measured(titles, measure=lambda *_: [1.0] * 4))
    assert [line.get_label() for line in figure.axes[0].lines] == [
        "pg",
        "deepfillv2",
        "deepfillv2_dagger",
        "telea",
    ]


def test_what_lacks_data_is_left_out():
    def some(method: str, metric: str, size: int, masks: str, protocol: str) -> list[float]:
        values = numbers(method, metric, size, masks, protocol)
        if (method, metric) == ("telea", "psnr") and masks == "ratio_35":
            values[0] = math.inf
        return values

    lost = Evaluation("lost", "diverged", "trained", diverged={"step": 3, "reason": "nan"})
    whole = measured(measure=some)
    few = measured({"few": "few"}, masks=("ratio_15", "ratio_55"))
    figure = figure_6(results.join([whole, few, Results(evaluations=[lost])]))
    for axes in figure.axes:
        lines = {line.get_label(): xs(line) for line in axes.lines}
        assert list(lines)[-1] == "few"
        assert lines["few"] == [15, 55]
        finite = [15, 25, 45, 55] if "PSNR" in axes.get_title() else [15, 25, 35, 45, 55]
        assert lines[r"Telea \$1\$"] == finite
    assert figures.figure_7(few, "div2k", "paper") is None


def test_a_metric_that_nothing_has_gets_no_panel():
    perfect = measured(measure=lambda _, metric, *rest: [math.inf if metric == "psnr" else 0.0] * 4)
    assert [axes.get_title() for axes in figure_7(perfect).axes] == ["(a) L1"]


@pytest.mark.parametrize(
    "found",
    [
        Results(),
        measured(sizes=(128,), masks=("center", "ratio_15")),
        measured(masks=("union",)),
        measured(sizes=(128,), masks=("center",)),
    ],
)
def test_nothing_to_draw_makes_no_file(found, tmp_path):
    assert figures.figure_6(found, "div2k", 128, "paper") is None
    assert figures.figure_7(found, "div2k", "paper") is None
    assert figures.draw(found, tmp_path / "new", "paper") == []
    assert figures.draw(measured(sizes=(64, 128)), tmp_path / "new", "hole") == []
    assert not list(tmp_path.iterdir())


def test_all_figures_of_all_datasets_are_drawn_for_the_web(tmp_path):
    name = "folder:/my photos/2024"
    found = results.join([measured(sizes=(64, 128)), measured(sizes=(64,), dataset=name)])
    written = figures.draw(found, tmp_path / "new", "paper")
    assert {path.name for path in written} == {
        "figure_6_div2k_64.png",
        "figure_6_div2k_128.png",
        "figure_7_div2k.png",
        "figure_6_folder_my_photos_2024_64.png",
    }
    assert set(written) == set((tmp_path / "new").iterdir())
    for path in written:
        assert path.stat().st_size < 200_000
        with Image.open(path) as picture:
            assert picture.format == "PNG"
            assert picture.size == (1200, 500)


@pytest.mark.slow
def test_the_program_joins_files_and_writes_beside_the_first(tmp_path):
    for folder, names in (("one", ["pg", "telea"]), ("two", ["own"])):
        (tmp_path / folder).mkdir()
        titles = {name: TITLES[name] for name in names}
        results.write(tmp_path / folder / "r.csv.gz", measured(titles, sizes=(64, 128)))
    files = [str(tmp_path / folder / "r.csv.gz") for folder in ("one", "two")]
    command = [sys.executable, "-m", "experiments.figures", *files, "--protocol=standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    names = ["figure_6_div2k_64.png", "figure_6_div2k_128.png", "figure_7_div2k.png"]
    assert done.stdout.splitlines() == [str(tmp_path / "one" / name) for name in names]
    assert {path.name for path in (tmp_path / "one").iterdir()} == {
        "r.csv.gz",
        "r.provenance.json",
        *names,
    }
    joined = results.join(results.read(Path(file)) for file in files)
    for path in figures.draw(joined, tmp_path, "standard"):
        assert path.read_bytes() == (tmp_path / "one" / path.name).read_bytes()
