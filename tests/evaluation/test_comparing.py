"""The same crops and masks for every method; what was measured is measured once."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import data
from pgi import metrics
from pgi.errors import RuleError
from pgi.evaluation import comparing, crops, mask_sets, results
from pgi.evaluation.comparing import compare
from pgi.evaluation.methods import Case, Method, Outputs, Trained
from pgi.evaluation.results import Results, select
from pgi.evaluation.tasks import Task, dump_inputs, tasks, write_png
from tests.tiny_run import write_run

SIZE = 56
PROTOCOLS = metrics.PROTOCOLS


class Shade(Method):
    """Fills with one value; counts how often it is asked."""

    kind = "trained"

    def __init__(self, name: str, value: int = 99, checkpoint: str = "1") -> None:
        super().__init__(name, name.title())
        self.value, self.run = value, {"sha256": checkpoint}
        self.asked: list[Case] = []

    def fill(self, case: Case) -> np.ndarray:
        self.asked.append(case)
        return np.where(case.hole[..., None], np.uint8(self.value), case.image)

    def raw(self, case: Case) -> np.ndarray:
        return np.full_like(case.image, self.value)

    def levels(self, case: Case) -> list[np.ndarray]:
        return [case.image[::2, ::2], case.image]


def some_tasks(masks: tuple[str, ...] = ("center", "ratio_25"), each: int = 2) -> list[Task]:
    cut = crops.cut(data.load("samples")[1], "samples", SIZE, "random", each=each)
    return tasks(cut, masks)


def measured(found: Results, method: str = "one") -> set[tuple[str, str]]:
    """Masks and protocols of a method's numbers."""
    own = select(found.scores, method=method)
    own = own[own.metric != results.SECONDS]
    return set(zip(own.masks, own.protocol))


def assert_equal(first: Results, second: Results) -> None:
    pd.testing.assert_frame_equal(first.scores, second.scores, check_exact=True)
    for name in ("evaluations", "crop_lists", "masks"):
        one, other = getattr(first, name), getattr(second, name)
        assert one == other if name == "masks" else list(one) == list(other)


def test_methods_see_the_known_pixels_and_grey_under_the_hole(tmp_path):
    method, compared = Shade("one"), some_tasks(("freeform",))
    compare([method], compared, ["paper"], tmp_path)
    holes = mask_sets.draw("freeform", 4, SIZE, SIZE)[..., 0]
    assert len(method.asked) == 4
    for n, (case, hole) in enumerate(zip(method.asked, holes)):
        image = compared[0].crops.image(n)
        np.testing.assert_array_equal(case.hole, hole)
        np.testing.assert_array_equal(case.image[~hole], image[~hole])
        assert (case.image[hole] == 127).all()


def test_scores_are_the_metrics_of_every_crop_by_every_protocol(tmp_path):
    compared = some_tasks()
    found = compare([Shade("one")], compared, PROTOCOLS, tmp_path)
    assert measured(found) == {(m, p) for m in ("center", "ratio_25") for p in PROTOCOLS}
    truth = np.stack([compared[0].crops.image(n) for n in range(4)])
    holes = mask_sets.draw("center", 4, SIZE, SIZE)
    assert found.crop_lists == [compared[0].crops.listed]
    for (*_, masks), sha256 in found.masks.items():
        assert sha256 == mask_sets.sha256(holes)  # ratio_25 is the centre.
        for protocol in PROTOCOLS:
            expected = metrics.evaluate(truth, np.full_like(truth, 99), holes, protocol)
            for metric, numbers in expected.items():
                score = select(found.scores, masks=masks, protocol=protocol, metric=metric)
                np.testing.assert_array_equal(score.value, numbers)
                assert list(score.photograph) == compared[0].crops.listed.photographs


def test_the_same_call_again_measures_nothing(tmp_path):
    first = compare([Shade("one")], some_tasks(), ["paper"], tmp_path)
    again = Shade("one")
    assert_equal(compare([again], some_tasks(), ["paper"], tmp_path), first)
    assert again.asked == []
    assert_equal(results.read(tmp_path / results.FILE), first)


def test_a_trained_run_is_recognised_when_it_was_measured_before(tmp_path, monkeypatch):
    write_run(tmp_path / "run")
    first = compare([Trained(tmp_path / "run")], some_tasks(), ["hole"], tmp_path / "out")
    monkeypatch.setattr(Trained, "fill", pytest.fail)
    monkeypatch.setattr(comparing, "provenance", lambda: {"machine": "another"})
    again = compare([Trained(tmp_path / "run")], some_tasks(), ["hole"], tmp_path / "out")
    assert_equal(again, first)


def test_only_what_is_missing_is_measured(tmp_path):
    compare([Shade("one")], some_tasks(("ratio_25",)), ["paper"], tmp_path)
    more = Shade("one")
    found = compare([more], some_tasks(("ratio_25", "ratio_15")), ["paper"], tmp_path)
    assert len(more.asked) == 4
    assert {masks for masks, _ in measured(found)} == {"ratio_25", "ratio_15"}
    other = compare([Shade("two")], some_tasks(("ratio_25",)), ["paper"], tmp_path)
    assert list(other.titles()) == ["one", "two"] and len(measured(other)) == 2


def test_another_checkpoint_or_other_crops_replace_what_was_measured(tmp_path, capsys):
    before = compare([Shade("one"), Shade("two")], some_tasks(), PROTOCOLS, tmp_path)
    newer = Shade("one", value=3, checkpoint="2")
    found = compare([newer], some_tasks(), ["paper"], tmp_path)
    gone = len(select(before.scores, method="one"))
    said = f"discarded {gone} numbers of One: of another checkpoint\n"
    assert capsys.readouterr().out == said
    one = next(x for x in found.evaluations if x.method == "one")
    assert {protocol for _, protocol in measured(found)} == {"paper"}
    assert one.run == {"sha256": "2"}
    assert len(newer.asked) == 9  # Four crops twice, and one to get warm.

    gone, file = len(found.scores), tmp_path / results.FILE
    found = compare([newer], some_tasks(each=1), ["paper"], tmp_path)
    assert (len(measured(found)), len(measured(found, "two"))) == (2, 0)
    said = f"discarded {gone} numbers in {file}: of other crops or masks\n"
    assert capsys.readouterr().out == said
    assert list(found.titles()) == ["one", "two"]
    assert len(found.crop_lists) == 1


def test_other_pixels_at_the_same_places_replace_what_was_measured(tmp_path):
    compare([Shade("one")], some_tasks(), ["paper"], tmp_path)
    cut = some_tasks()[0].crops
    others = replace(cut, listed=replace(cut.listed, pixels_sha256="other"))
    method = Shade("one")
    found = compare([method], tasks(others, ["ratio_25"]), ["paper"], tmp_path)
    assert len(method.asked) == 4
    # Those under other masks were of the old pixels too.
    assert measured(found) == {("ratio_25", "paper")} and len(found.masks) == 1


def test_other_masks_of_a_name_replace_what_was_measured(tmp_path, monkeypatch):
    compare([Shade("one")], some_tasks(("ratio_25", "ratio_15")), ["paper"], tmp_path)
    monkeypatch.setitem(mask_sets.MASK_SETS, "ratio_25", mask_sets.MASK_SETS["thick"])
    method = Shade("one")
    found = compare([method], some_tasks(("ratio_25",)), ["paper"], tmp_path)
    assert len(method.asked) == 4
    assert measured(found) == {("ratio_25", "paper"), ("ratio_15", "paper")}


def test_results_of_other_sizes_gather(tmp_path):
    compare([Shade("one")], some_tasks(), ["paper"], tmp_path)
    larger = crops.cut(data.load("samples")[1], "samples", 64, "random")
    found = compare([Shade("one")], tasks(larger, ["center"]), ["paper"], tmp_path)
    assert sorted(x.size for x in found.crop_lists) == [SIZE, 64]
    assert len(found.scores.groupby(["size", "masks", "protocol"])) == 3 + 2  # Times, twice.


def test_finished_methods_are_kept_when_a_later_one_fails(tmp_path):
    class Broken(Shade):
        def fill(self, case: Case) -> np.ndarray:
            raise RuleError("cannot")

    with pytest.raises(RuleError, match="cannot"):
        compare([Shade("one"), Broken("two")], some_tasks(), ["paper"], tmp_path)
    assert list(results.read(tmp_path / results.FILE).titles()) == ["one"]


def test_a_second_evaluation_of_the_same_folder_is_refused(tmp_path):
    class Second(Shade):
        def fill(self, case: Case) -> np.ndarray:
            with pytest.raises(RuleError, match="out is being written to by another evaluation"):
                compare([Shade("two")], some_tasks(), ["paper"], tmp_path / "out")
            return super().fill(case)

    compare([Second("one")], some_tasks(("ratio_25",)), ["paper"], tmp_path / "out")
    # The first one is over, and has lost nothing.
    found = compare([Shade("two")], some_tasks(("ratio_25",)), ["paper"], tmp_path / "out")
    assert list(found.titles()) == ["one", "two"]


def test_pictures_are_kept_of_the_first_crop_of_each_photograph(tmp_path):
    compared = some_tasks()
    compare([Shade("one")], compared, ["paper"], tmp_path)
    pictures = {
        str(path.relative_to(tmp_path / "pictures")): np.asarray(Image.open(path))
        for path in (tmp_path / "pictures").rglob("*.png")
    }
    place = compared[0].place
    assert re.fullmatch(rf"samples_{SIZE}_[0-9a-f]{{8}}/center", place)
    names = ["0000.png", "0002.png"]  # Two crops of each of two photographs.
    kinds = ("truth/{}/", "masked/{}/", "one/{}/", "one/{}/level_0/", "one/{}/level_1/")
    assert set(pictures) == {kind.format(place) + name for kind in kinds for name in names}
    truth = compared[0].crops.image(2)
    shaded = truth.copy()
    shaded[SIZE // 4 : -SIZE // 4, SIZE // 4 : -SIZE // 4] = 99
    np.testing.assert_array_equal(pictures[f"truth/{place}/0002.png"], truth)
    np.testing.assert_array_equal(pictures[f"one/{place}/0002.png"], shaded)
    assert pictures[f"one/{place}/level_0/0002.png"].shape == (SIZE // 2, SIZE // 2, 3)


@pytest.mark.parametrize("diverged, expected", [(None, 3), ({"step": 1, "reason": "nan"}, 5)])
def test_pictures_are_of_the_first_seed_that_did_not_diverge(diverged, expected, tmp_path):
    first, second = Shade("one", 3), Shade("one", 5)
    first.diverged, second.seed = diverged, 1
    compare([first, second], some_tasks(("center",)), ["paper"], tmp_path, tmp_path / "written")
    for folder in ("pictures", "written"):
        path = next((tmp_path / folder / "one").glob("*/*/0000.png"))
        assert (np.asarray(Image.open(path))[SIZE // 2, SIZE // 2] == expected).all()


def test_inputs_go_out_and_results_of_the_same_names_come_in(tmp_path):
    compared = some_tasks(("center", "freeform"))
    dump_inputs(compared, tmp_path)
    for task in compared:
        holes = mask_sets.draw(task.masks, 4, SIZE, SIZE)
        for n, name in enumerate(("0000", "0001", "0002", "0003")):
            mask = np.asarray(Image.open(tmp_path / "masks" / task.place / f"{name}.png"))
            np.testing.assert_array_equal(mask, 255 * holes[n, ..., 0])
            image = np.asarray(Image.open(tmp_path / "images" / task.place / f"{name}.png"))
            truth = task.crops.image(n)
            np.testing.assert_array_equal(image, np.where(holes[n], np.uint8(127), truth))
            # A result that is perfect in the hole, and off elsewhere.
            result = np.where(holes[n], truth, np.uint8(7))
            write_png(tmp_path / "theirs" / task.place / f"{name}.png", result)
    listed = json.loads((tmp_path / "inputs.json").read_text())
    assert [x["folder"] for x in listed] == [task.place for task in compared]
    freeform = mask_sets.draw("freeform", 4, SIZE, SIZE)
    assert listed[1]["masks_sha256"] == mask_sets.sha256(freeform)
    found = compare([Outputs("it", tmp_path / "theirs")], compared, PROTOCOLS, tmp_path / "out")
    assert len(measured(found, "it")) == 2 * len(PROTOCOLS)
    assert results.SECONDS not in set(found.scores.metric)
    for (_, protocol), score in found.scores.groupby(["masks", "protocol"]):
        values = {metric: set(rows.value) for metric, rows in score.groupby("metric")}
        perfect = values["psnr"] == {np.inf} and values["l1"] == {0}
        assert perfect == (protocol != "raw")


def test_a_folder_of_results_may_lack_masks_but_not_all(tmp_path):
    compared = some_tasks(("center", "freeform"))
    dump_inputs(compared[:1], tmp_path)
    method = Outputs("it", tmp_path / "images")
    found = compare([method], compared, ["paper"], tmp_path / "out")
    assert {masks for masks, _ in measured(found, "it")} == {"center"}
    with pytest.raises(
        RuleError, match=rf"results of it must be of one of samples_{SIZE}_\w+/freeform"
    ):
        compare([method], compared[1:], ["paper"], tmp_path / "out")


def test_results_that_were_changed_are_measured_anew(tmp_path):
    compared = some_tasks(("freeform",))
    dump_inputs(compared, tmp_path)
    grey = compare([Outputs("it", tmp_path / "images")], compared, ["hole"], tmp_path / "out")
    for path in (tmp_path / "images").rglob("*.png"):
        write_png(path, np.zeros([SIZE, SIZE, 3], np.uint8))
    black = compare([Outputs("it", tmp_path / "images")], compared, ["hole"], tmp_path / "out")
    first, second = (select(x.scores, metric="l1").value for x in (grey, black))
    assert len(first) == len(second) == 4 and (first != second).all()


def test_results_of_other_masks_stay_and_those_that_are_gone_go(tmp_path):
    center, freeform = some_tasks(("center", "freeform"))
    dump_inputs([center, freeform], tmp_path)
    method = Outputs("it", tmp_path / "images")
    compare([method], [center], ["hole"], tmp_path / "out")
    both = compare([method], [freeform], ["hole"], tmp_path / "out")
    assert {masks for masks, _ in measured(both, "it")} == {"center", "freeform"}
    shutil.rmtree(tmp_path / "images" / center.place)
    left = compare([method], [center, freeform], ["hole"], tmp_path / "out")
    assert {masks for masks, _ in measured(left, "it")} == {"freeform"}


def test_pictures_of_another_checkpoint_go_with_its_numbers(tmp_path):
    compare([Shade("one")], some_tasks(("center",)), ["paper"], tmp_path)
    assert list((tmp_path / "pictures" / "one").rglob("*.png"))
    compare([Shade("one", checkpoint="2")], some_tasks(("ratio_15",)), ["paper"], tmp_path)
    assert not list((tmp_path / "pictures" / "one").rglob("*.png"))


def test_scores_of_two_machines_say_so(tmp_path, monkeypatch):
    monkeypatch.setattr(comparing, "provenance", lambda: {"machine": "A", "git_commit": "1"})
    compare([Shade("one")], some_tasks(("center",)), ["paper"], tmp_path)
    monkeypatch.setattr(comparing, "provenance", lambda: {"machine": "B", "git_commit": "1"})
    kept = compare([Shade("one")], some_tasks(("center",)), ["paper"], tmp_path)
    assert kept.evaluations[0].made == {"machine": "A", "git_commit": "1"}
    more = compare([Shade("one")], some_tasks(), ["paper"], tmp_path)
    assert more.evaluations[0].made == {"machine": "A; B", "git_commit": "1"}


def test_methods_keep_their_order_when_one_is_measured_again(tmp_path):
    compare([Shade("one"), Shade("two")], some_tasks(("center",)), ["paper"], tmp_path)
    found = compare([Shade("one")], some_tasks(), ["paper"], tmp_path)
    assert list(found.titles()) == ["one", "two"]


@pytest.mark.parametrize(
    ("methods", "protocols", "message"),
    [
        ([Shade("one"), Shade("one")], ["paper"], "methods must differ in name or seed, got two"),
        ([Shade("truth")], ["paper"], "name of a method must be letters and digits, not truth"),
        ([Shade("a/b")], ["paper"], "name of a method must be letters and digits"),
        (
            [Shade("one")],
            ["paper", "mine"],
            "protocol must be one of paper, paper_gray, standard, raw, hole",
        ),
        ([Shade("one")], [], "protocols must be at least one"),
    ],
)
def test_bad_arguments_are_named_before_anything_is_done(methods, protocols, message, tmp_path):
    with pytest.raises(RuleError, match=message):
        compare(methods, some_tasks(), protocols, tmp_path / "out")
    assert not (tmp_path / "out").exists() and not methods[0].asked


def test_the_time_an_image_is_taken_under_centre_masks_alone(tmp_path):
    method = Shade("one")
    found = compare([method], some_tasks(("center", "freeform")), ["paper"], tmp_path)
    seconds = select(found.scores, metric=results.SECONDS)
    assert set(seconds.masks) == {"center"} and len(seconds) == 4
    assert len(method.asked) == 4 + 4 + 1  # The first fill under the centre mask is not counted.
    assert seconds.value.between(0, 1, inclusive="neither").all()
    # Another protocol's numbers leave the times as they are.
    more = compare([Shade("one")], some_tasks(("center",)), ["hole"], tmp_path)
    pd.testing.assert_frame_equal(
        select(more.scores, metric=results.SECONDS).reset_index(drop=True),
        seconds.reset_index(drop=True),
    )


def test_the_same_weights_are_the_same_checkpoint_whatever_their_config_says(tmp_path):
    first, second = Shade("one"), Shade("one")
    before = compare([first], some_tasks(), ["paper"], tmp_path)
    second.run = {**second.run, "config": {"added": "by a later version"}}
    after = compare([second], some_tasks(), ["paper"], tmp_path)
    assert second.asked == [] and after.evaluations[0].run == second.run
    pd.testing.assert_frame_equal(after.scores, before.scores)


def test_what_diverged_is_recorded_and_measured_in_nothing(tmp_path):
    method = Shade("one")
    method.diverged = {"step": 3, "reason": "loss is nan"}
    found = compare([method], some_tasks(), ["paper"], tmp_path)
    assert found.evaluations[0].diverged == method.diverged
    assert not len(found.scores) and method.asked == []
