"""Photographs one after another: memory, interruptions, and results as pictures."""

from __future__ import annotations

import itertools
import json
import weakref
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pgi.errors import RuleError
from pgi.evaluation import comparing, crops, mask_sets, progress, results
from pgi.evaluation.comparing import compare
from pgi.evaluation.methods import Case, Method, Outputs
from pgi.evaluation.results import Results, select
from pgi.evaluation.tasks import Task, dump_inputs, tasks, write_png
from pgi.training.reading import ImageSource

SIZE, EACH = 56, 2


class Made(ImageSource):
    """Photographs made from their numbers; knows how many are in memory at once."""

    def __init__(self, count: int = 5, seed: int = 0) -> None:
        super().__init__()
        self.count, self.seed, self.decoded = count, seed, Counter[int]()
        self.alive: weakref.WeakSet[Pixels] = weakref.WeakSet()
        self.most_alive = 0

    def __len__(self) -> int:
        return self.count

    def identity(self) -> str:
        return "made"

    def key(self, number: int) -> str:
        return self.name(number)

    def name(self, number: int) -> str:
        return f"photograph_{number}.png"

    def decode(self, number: int) -> np.ndarray:
        rng = np.random.default_rng([self.seed, number])
        image = rng.integers(0, 256, [64, 80 + number, 3], np.uint8).view(Pixels)
        self.decoded[number] += 1
        self.alive.add(image)
        self.most_alive = max(self.most_alive, len(self.alive))
        return image


class Pixels(np.ndarray):
    """An array that can be told from another of the same pixels."""

    def __hash__(self) -> int:  # type: ignore[override]
        return id(self)


class Shade(Method):
    """Paints the whole image in one colour; is interrupted after some fills."""

    kind = "trained"

    def __init__(self, checkpoint: str = "1", stops_after: int = 10**9) -> None:
        super().__init__("shade", "Shade")
        self.run, self.stops_after = {"sha256": checkpoint}, stops_after
        self.filled: list[str] = []

    def fill(self, case: Case) -> np.ndarray:
        if len(self.filled) == self.stops_after:
            raise KeyboardInterrupt
        self.filled.append(f"{case.place.rpartition('/')[2]}/{case.name}")
        return np.full_like(case.image, 10 * int(self.run["sha256"]))


def some_tasks(
    masks: Sequence[str] = ("freeform", "ratio_15"), source: ImageSource | None = None
) -> list[Task]:
    return tasks(crops.cut(source or Made(), "made", SIZE, "random", 0, EACH), masks)


def assert_same_numbers(first: Results, second: Results) -> None:
    """Times aside."""
    one, other = (x.scores[x.scores.metric != results.SECONDS] for x in (first, second))
    pd.testing.assert_frame_equal(one, other, check_exact=True)
    assert list(first.evaluations) == list(second.evaluations)


def interrupt(output: Path, after: int, method: Shade | None = None) -> Shade:
    method = method or Shade()
    method.stops_after = after
    with pytest.raises(KeyboardInterrupt):
        compare([method], some_tasks(), ["paper", "hole"], output)
    return method


def journal(output: Path) -> Path:
    (file,) = output.glob("*.unfinished.jsonl")
    return file


@pytest.mark.parametrize("after", [0, 3, 4, 13, 19])
def test_an_interrupted_call_continues_with_the_next_photograph(after, tmp_path):
    undisturbed = compare([Shade()], some_tasks(), ["paper", "hole"], tmp_path / "one")
    first = interrupt(tmp_path / "two", after)
    assert not (tmp_path / "two" / results.FILE).exists()
    second = Shade()
    found = compare([second], some_tasks(), ["paper", "hole"], tmp_path / "two")
    assert_same_numbers(found, undisturbed)
    assert_same_numbers(results.read(tmp_path / "two" / results.FILE), undisturbed)
    # Two crops under two masks are a photograph; one that was begun is begun again.
    whole = after // 4 * 4
    assert Counter(first.filled[:whole] + second.filled) == Counter(
        f"{masks}/{n:04d}" for masks in ("freeform", "ratio_15") for n in range(10)
    )
    assert not [*(tmp_path / "two").glob("*.unfinished*")]


def test_two_interruptions_fill_every_crop_once(tmp_path):
    methods = [interrupt(tmp_path, 8), interrupt(tmp_path, 4), Shade()]
    compare([methods[-1]], some_tasks(), ["paper", "hole"], tmp_path)
    filled = Counter(name for method in methods for name in method.filled)
    assert len(filled) == 20 and set(filled.values()) == {1}


def test_a_torn_last_line_costs_its_photograph(tmp_path):
    undisturbed = compare([Shade()], some_tasks(), ["paper", "hole"], tmp_path / "one")
    for end in (1, 30):  # Without its line feed, a line may be whole or not.
        output = tmp_path / str(end)
        interrupt(output, 12)
        content = journal(output).read_bytes()
        journal(output).write_bytes(content[:-end])
        again = Shade()
        assert_same_numbers(compare([again], some_tasks(), ["paper", "hole"], output), undisturbed)
        assert len(again.filled) == 20 - 8


def test_a_journal_that_is_a_link_is_not_written_to(tmp_path):
    """An evaluation is by default in the run's folder, which may come from a stranger."""
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "shade_0.unfinished.jsonl").symlink_to(tmp_path / "mine")
    with pytest.raises(OSError, match="is a symbolic link; remove it"):
        compare([Shade()], some_tasks(), ["paper"], tmp_path / "out")
    assert (tmp_path / "mine").read_text() == "mine"


@pytest.mark.parametrize("content", [b"", b'{"of": {"met'])
def test_a_journal_that_was_killed_at_its_beginning_is_begun_anew_silently(
    content, tmp_path, capsys
):
    undisturbed = compare([Shade()], some_tasks(), ["paper"], tmp_path / "one")
    output = tmp_path / "two"
    output.mkdir()
    (output / "shade_0.unfinished.jsonl").write_bytes(content)
    assert_same_numbers(compare([Shade()], some_tasks(), ["paper"], output), undisturbed)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("checkpoint", "source", "masks", "protocols", "other"),
    [
        ("2", Made(), ("freeform", "ratio_15"), ["paper", "hole"], "checkpoint"),
        ("1", Made(4), ("freeform", "ratio_15"), ["paper", "hole"], "crops, masks"),
        ("1", Made(seed=1), ("freeform", "ratio_15"), ["paper", "hole"], "crops"),
        ("1", Made(), ("freeform", "ratio_25"), ["paper", "hole"], "masks"),
        ("1", Made(), ("freeform", "ratio_15"), ["hole"], "protocols"),
    ],
)
def test_a_journal_of_something_else_is_discarded_and_said(
    checkpoint, source, masks, protocols, other, tmp_path, capsys
):
    expected = compare(
        [Shade(checkpoint)], some_tasks(masks, source), protocols, tmp_path / "undisturbed"
    )
    interrupt(tmp_path / "out", 12)
    method = Shade(checkpoint)
    found = compare([method], some_tasks(masks, source), protocols, tmp_path / "out")
    assert_same_numbers(found, expected)
    assert len(method.filled) == source.count * 4
    said = capsys.readouterr().out
    path = tmp_path / "out" / "shade_0.unfinished.jsonl"
    assert said == f"discarded 3 photographs in {path}: of another {other}\n"


def test_a_journal_waits_while_other_methods_are_measured(tmp_path):
    interrupt(tmp_path, 12)
    other = Shade()
    other.name = "other"
    compare([other], some_tasks(), ["paper"], tmp_path)
    method = Shade()
    compare([method], some_tasks(), ["paper", "hole"], tmp_path)
    assert len(method.filled) == 20 - 12


def test_pictures_from_before_an_interruption_stay(tmp_path):
    method = Shade(stops_after=5)
    with pytest.raises(KeyboardInterrupt):
        compare([method], some_tasks(["union"]), ["paper"], tmp_path)
    compare([Shade()], some_tasks(["union"]), ["paper"], tmp_path)
    pictures = {path.name for path in (tmp_path / "pictures" / "shade").rglob("*.png")}
    assert pictures == {"0000.png", "0002.png", "0004.png", "0006.png"}


def test_numbers_from_two_machines_say_so(tmp_path, monkeypatch):
    for machine in ("A", "B"):
        monkeypatch.setattr(comparing, "provenance", lambda x=machine: {"machine": x})
        interrupt(tmp_path, 4)
    monkeypatch.setattr(comparing, "provenance", lambda: {"machine": "A"})
    found = compare([Shade()], some_tasks(), ["paper", "hole"], tmp_path)
    assert found.evaluations[0].made == {"machine": "A; B"}


def test_every_crop_has_a_time_and_each_call_one_fill_that_is_not_counted(tmp_path):
    first = Shade(stops_after=6)
    with pytest.raises(KeyboardInterrupt):
        compare([first], some_tasks(["center"]), ["paper"], tmp_path)
    second = Shade()
    found = compare([second], some_tasks(["center"]), ["paper"], tmp_path)
    seconds = select(found.scores, metric=results.SECONDS)
    assert list(seconds.crop) == [*range(10)]
    # Of the first call's six fills, one is not counted and one was of a photograph half done.
    assert second.filled == ["center/0004", *(f"center/{n:04d}" for n in range(4, 10))]


def test_files_that_change_in_between_are_scored_anew(tmp_path):
    compared = some_tasks()
    dump_inputs(compared, tmp_path)
    images = sorted((tmp_path / "images").rglob("freeform/*.png"))
    content = images[-1].read_bytes()
    images[-1].unlink()
    with pytest.raises(RuleError, match="results of it must be one image"):
        compare([Outputs("it", tmp_path / "images")], compared, ["hole"], tmp_path / "out")
    assert not [*(tmp_path / "out").iterdir()]  # Found before anything was scored.
    images[-1].write_bytes(b"no image")
    with pytest.raises(RuleError, match="must be readable"):
        compare([Outputs("it", tmp_path / "images")], compared, ["hole"], tmp_path / "out")
    assert len(journal(tmp_path / "out").read_text().splitlines()) == 2 + 4
    images[-1].write_bytes(content)
    write_png(images[0], np.zeros([SIZE, SIZE, 3], np.uint8))
    method = Outputs("it", tmp_path / "images")
    found = compare([method], compared, ["hole"], tmp_path / "out")
    assert_same_numbers(found, compare([method], compared, ["hole"], tmp_path / "one"))


@pytest.mark.parametrize("count", [3, 12])
def test_two_photographs_are_in_memory_however_many_there_are(count, tmp_path):
    source = Made(count)
    compared = some_tasks(("center", "freeform"), source)
    dump_inputs(compared, tmp_path / "inputs")
    methods = [Shade(), Outputs("it", tmp_path / "inputs" / "images")]
    compare(methods, compared, ["paper", "raw"], tmp_path / "out", tmp_path / "written")
    assert source.most_alive == 2  # The last one, and the next while it is read.


def test_a_photograph_is_read_once_for_all_its_crops_and_masks(tmp_path):
    source = Made()
    compared = some_tasks(("ratio_15", "ratio_25", "thin"), source)
    assert set(source.decoded.values()) == {1}
    compare([Shade()], compared, ["paper", "raw"], tmp_path)
    assert source.decoded == Counter(dict.fromkeys(range(5), 2))


def test_masks_are_drawn_as_one_after_another(monkeypatch):
    (task,) = some_tasks(["thin"], Made(20))
    whole = mask_sets.draw("thin", 40, SIZE, SIZE)
    assert task.masks_sha256 == mask_sets.sha256(whole)
    for n in (0, 39, 15, 16, 17):
        np.testing.assert_array_equal(task.hole(n), whole[n, ..., 0])


def test_a_photograph_that_changes_or_goes_is_named(tmp_path):
    source = Made()
    compared = some_tasks(["freeform"], source)
    source.seed = 1
    with pytest.raises(RuleError, match=r"photograph_0\.png must stay .*, got other pixels"):
        compare([Shade()], compared, ["paper"], tmp_path)
    source = Made()
    compared = some_tasks(["freeform"], source)
    source.skip(source.key(3), "disk failure")
    with pytest.raises(RuleError, match=r"photograph_3\.png must stay .*, got disk failure"):
        compare([Shade()], compared, ["paper"], tmp_path)


def test_a_bar_appears_when_it_takes_long(tmp_path, capsys, monkeypatch):
    compare([Shade()], some_tasks(), ["paper"], tmp_path / "short")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(progress, "_DELAY", 0)
    compare([Shade()], some_tasks(), ["paper"], tmp_path / "long")
    said = capsys.readouterr().err
    for title in ("cutting crops of 56 px: ", "drawing masks: freeform: ", "Shade, made_56_"):
        assert title in said


# Results as pictures


def pictures(folder: Path) -> dict[str, np.ndarray]:
    """By method, masks and crop."""
    found = {}
    for path in folder.rglob("*.png"):
        method, _, masks, name = path.relative_to(folder).parts
        found[f"{method}/{masks}/{name}"] = np.asarray(Image.open(path))
    return found


def test_truth_and_results_of_every_crop_are_written(tmp_path):
    compared, folder = some_tasks(), tmp_path / "written"
    found = compare([Shade("9")], compared, ["paper"], tmp_path / "out", folder)
    written = pictures(folder)
    assert len(written) == 2 * 2 * 10
    for task, n in itertools.product(compared, range(10)):
        truth, hole = task.crops.image(n), task.hole(n)
        file = f"{task.masks}/{n:04d}.png"
        np.testing.assert_array_equal(written[f"truth/{file}"], truth)
        result = written[f"shade/{file}"]
        np.testing.assert_array_equal(result[~hole], truth[~hole])
        assert (result[hole] == 90).all()
    # They can be scored as another program's results can.
    method = Outputs("again", folder / "shade")
    again = compare([method], compared, ["paper"], tmp_path / "again")
    pd.testing.assert_series_equal(
        select(found.scores, protocol="paper").value, again.scores.value, check_exact=True
    )


def test_only_pictures_that_are_missing_are_made(tmp_path):
    first = compare([Shade("9")], some_tasks(), ["paper"], tmp_path / "out")
    folder, later = tmp_path / "written", Shade("9")
    found = compare([later], some_tasks(), ["paper"], tmp_path / "out", folder)
    assert_same_numbers(found, first)
    assert len(later.filled) == 20 and len(pictures(folder)) == 40
    (gone,) = folder.glob("shade/*/freeform/0003.png")
    gone.unlink()
    once = Shade("9")
    compare([once], some_tasks(), ["paper"], tmp_path / "out", folder)
    assert once.filled == ["freeform/0003"] and gone.exists()
    # Numbers that are missing bring no picture anew.
    more = Shade("9")
    compare([more], some_tasks(("freeform", "thin")), ["paper"], tmp_path / "out", folder)
    assert sorted(more.filled) == [f"thin/{n:04d}" for n in range(10)]


def test_an_interruption_leaves_numbers_and_pictures_together(tmp_path):
    first, second = Shade(stops_after=9), Shade()
    with pytest.raises(KeyboardInterrupt):
        compare([first], some_tasks(), ["paper"], tmp_path / "out", tmp_path / "written")
    compare([second], some_tasks(), ["paper"], tmp_path / "out", tmp_path / "written")
    assert len(second.filled) == 20 - 8 and len(pictures(tmp_path / "written")) == 40


def test_pictures_of_another_checkpoint_or_truth_are_replaced(tmp_path):
    folder = tmp_path / "written"
    compare([Shade("9")], some_tasks(["ratio_15"]), ["paper"], tmp_path / "out", folder)
    compare([Shade("8")], some_tasks(["ratio_15"]), ["paper"], tmp_path / "out", folder)
    assert pictures(folder)["shade/ratio_15/0000.png"][SIZE // 2, SIZE // 2, 0] == 80
    others = some_tasks(["ratio_15"], Made(seed=1))
    compare([Shade("8")], others, ["paper"], tmp_path / "out", folder)
    truth = pictures(folder)["truth/ratio_15/0000.png"]
    np.testing.assert_array_equal(truth, others[0].crops.image(0))


def test_pictures_of_others_are_not_overwritten(tmp_path):
    compared, folder = some_tasks(["ratio_15"]), tmp_path / "written"
    theirs = folder / "shade" / compared[0].place / "0000.png"
    write_png(theirs, np.zeros([SIZE, SIZE, 3], np.uint8))
    content = theirs.read_bytes()
    with pytest.raises(RuleError, match="must be new or written by an earlier evaluation"):
        compare([Shade()], compared, ["paper"], tmp_path / "out", folder)
    assert theirs.read_bytes() == content
    (folder / "written.json").write_text("[")
    with pytest.raises(RuleError, match=r"written\.json is damaged"):
        compare([Shade()], compared, ["paper"], tmp_path / "out", folder)


def test_pictures_of_another_truth_go_for_all_methods(tmp_path):
    write = [["paper"], tmp_path / "out", tmp_path / "written"]
    other = Shade()
    other.name = "other"
    compare([Shade(), other], some_tasks(["ratio_15"], Made(seed=0)), *write)
    assert {name.partition("/")[0] for name in pictures(tmp_path / "written")} == {
        "truth",
        "shade",
        "other",
    }
    compare([Shade()], some_tasks(["ratio_15"], Made(seed=1)), *write)
    left = {name.partition("/")[0] for name in pictures(tmp_path / "written")}
    assert left == {"truth", "shade"}


def test_every_picture_says_what_it_is_of(tmp_path):
    compared = some_tasks()
    compare([Shade("9")], compared, ["paper"], tmp_path / "out", tmp_path / "written")
    listed = json.loads((tmp_path / "written" / "written.json").read_text())
    places = [task.place for task in compared]
    assert set(listed) == {f"{name}/{x}" for name in ("truth", "shade") for x in places}
    of = listed[f"shade/{places[0]}"]
    assert of["sha256"] == "9" and of["masks"] == compared[0].masks_sha256
    assert of["pixels"] == compared[0].crops.listed.pixels_sha256
