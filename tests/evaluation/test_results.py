"""Results tables: what goes in comes out, to the bit, and what cannot be compared does not join."""

from __future__ import annotations

import gzip
import json
import math
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pgi.errors import RuleError
from pgi.evaluation import results
from pgi.evaluation.results import CropList, Evaluation, Results, matrix, rows, select

NAMES = ["a, [1].png", "b\n.png", "a, [1].png"]
LINES = [f"{name} 0 1 2 {n}" for n, name in enumerate(NAMES)]
CROPS = CropList("div2k", 512, "random", LINES, "c" * 64, "p" * 64)
RUN = {"folder": "runs/x", "sha256": "1" * 64}
ONE = Evaluation("pg", "PG †", "trained", 0, RUN, {"git_commit": "abc"}, None)
NUMBERS = {
    ("paper", "psnr"): [20.1 + 1e-14, math.inf, 30.0],
    ("paper", "l1"): [0.1, 0.2, 1 / 3],
    (results.TIME, results.SECONDS): [0.5, 0.25, 7.0],
}


def made(evaluation: Evaluation = ONE, crops: CropList = CROPS, **changed: list[float]) -> Results:
    numbers = {key: changed.get(key[1], values) for key, values in NUMBERS.items()}
    tables = [
        rows(evaluation.method, evaluation.seed, crops, "center", *key, values)
        for key, values in numbers.items()
    ]
    masks = {(crops.dataset, crops.size, "center"): "m" * 64}
    return Results(pd.concat(tables, ignore_index=True), [evaluation], [crops], masks)


def test_what_is_written_is_read_again_to_the_bit(tmp_path: Path) -> None:
    odd = replace(CROPS, lines=["NA 0 0 1 1", "\udcff 0 0 1 1", 'x"y" 0 0 1 1'], size=64)
    found = results.join([made(), made(replace(ONE, seed=1), odd)])
    results.write(tmp_path / "r.csv.gz", found)
    read = results.read(tmp_path / "r.csv.gz")
    pd.testing.assert_frame_equal(read.scores, found.scores, check_exact=True)
    assert read.scores.value.to_numpy().tobytes() == found.scores.value.to_numpy().tobytes()
    assert (read.evaluations, read.crop_lists) == (found.evaluations, found.crop_lists)
    assert read.masks == found.masks and read.titles() == {"pg": "PG †"}
    assert read.crop_lists[0].photographs == NAMES
    assert read.crop_lists[0].places[2] == (0, 1, 2, 2)


def test_a_table_may_be_unpacked_and_equal_results_make_equal_files(tmp_path: Path) -> None:
    for name in ("r.csv.gz", "again.csv.gz"):
        results.write(tmp_path / name, made())
    packed = (tmp_path / "r.csv.gz").read_bytes()
    assert (tmp_path / "again.csv.gz").read_bytes() == packed
    (tmp_path / "r.csv").write_bytes(gzip.decompress(packed))
    pd.testing.assert_frame_equal(results.read(tmp_path / "r.csv").scores, made().scores)


def test_empty_results_are_written_and_read(tmp_path: Path) -> None:
    results.write(tmp_path / "r.csv.gz", Results())
    read = results.read(tmp_path / "r.csv.gz")
    assert list(read.scores) == results.COLUMNS and not len(read.scores)
    joined = results.join([read, made()])
    pd.testing.assert_frame_equal(joined.scores, made().scores)


def test_numbers_are_by_photograph_and_seed() -> None:
    both = results.join([made(), made(replace(ONE, seed=1), l1=[1.0, 2.0, 5.0], seconds=[4.0] * 3)])
    numbers = both.by_photograph()
    assert set(numbers.metric) == {"psnr", "l1"} and "crop" not in numbers
    l1 = matrix(select(numbers, method="pg", metric="l1"))
    np.testing.assert_allclose(l1, [[(0.1 + 1 / 3) / 2, 0.2], [3.0, 2.0]])
    psnr = matrix(select(numbers, metric="psnr", seed=0))
    assert psnr.tolist() == [[pytest.approx(25.05), math.inf]]
    # The medians are 0.5 and 4.
    assert both.seconds().values.tolist() == [["pg", "div2k", 512, 2.25]]
    third = made(replace(ONE, seed=2), seconds=[100.0] * 3)
    assert results.join([both, third]).seconds().value.tolist() == [4.0]


def test_a_matrix_keeps_the_order_of_the_photographs() -> None:
    crops = replace(CROPS, lines=[f"{name} 0 0 1 1" for name in "cab"])
    numbers = made(crops=crops, l1=[1.0, 2.0, 3.0]).by_photograph()
    assert matrix(select(numbers, metric="l1")).tolist() == [[1, 2, 3]]


def test_parts_join_and_what_was_measured_twice_counts_once() -> None:
    other = replace(ONE, method="telea", kind="classical", run={})
    joined = results.join([made(), made(seconds=[9.0] * 3), made(other)])
    assert list(joined.titles()) == ["pg", "telea"] and len(joined.evaluations) == 2
    pg = select(joined.scores, method="pg").reset_index(drop=True)
    # Times differ whenever they are taken: the first are kept.
    pd.testing.assert_frame_equal(pg, made().scores)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (made(crops=replace(CROPS, sha256="d" * 64)), "the same crops .* of div2k, 512"),
        (made(crops=replace(CROPS, pixels_sha256="d" * 64)), "the same pixels"),
        (replace(made(), masks={("div2k", 512, "center"): "d" * 64}), "the same masks"),
        (made(replace(ONE, run={"sha256": "2" * 64})), "the same method .* of pg, seed 0"),
        (made(l1=[0.1, 0.2, 9.0]), "the same numbers .* of pg, seed 0: l1 of a, "),
    ],
)
def test_what_cannot_be_compared_does_not_join(other: Results, message: str) -> None:
    with pytest.raises(RuleError, match=f"results must be of {message}"):
        results.join([made(), other])


@pytest.mark.parametrize(
    "content", [b"", b"not packed", gzip.compress(b"a,b\n1,2\n", mtime=0)[:-9]]
)
def test_a_damaged_table_is_refused(content: bytes, tmp_path: Path) -> None:
    results.write(tmp_path / "x.csv.gz", made())
    (tmp_path / "x.csv.gz").write_bytes(content)
    with pytest.raises(RuleError, match=r"x\.csv\.gz is no results table, or damaged: "):
        results.read(tmp_path / "x.csv.gz")


def test_a_table_that_unpacks_into_very_much_is_refused_in_bounded_memory(tmp_path: Path) -> None:
    file = tmp_path / "x.csv.gz"
    results.write(file, made())
    file.write_bytes(gzip.compress(bytes(10**8), mtime=0))
    tracemalloc.start()
    with pytest.raises(RuleError, match=r"or unpacks into more than 16,777,216 bytes\. Remove it"):
        results.read(file)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6e7


def test_a_crop_list_names_no_folder_elsewhere(tmp_path: Path) -> None:
    crops = replace(made().crop_lists[0], sha256="/../../x")
    results.write(tmp_path / "x.csv.gz", replace(made(), crop_lists=[crops]))
    with pytest.raises(RuleError, match=r"/\.\./\.\./x' is no folder's name"):
        results.read(tmp_path / "x.csv.gz")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"crop_lists": [], "evaluations": [{}]}'])
def test_foreign_provenance_is_refused(content: str, tmp_path: Path) -> None:
    results.write(tmp_path / "x.csv.gz", made())
    (tmp_path / "x.provenance.json").write_text(content)
    with pytest.raises(RuleError, match=r"x\.csv\.gz is no results table, or damaged: "):
        results.read(tmp_path / "x.csv.gz")


def test_a_table_beside_the_provenance_of_another_is_refused(tmp_path: Path) -> None:
    """As a killed process or a careless copy leaves them."""
    results.write(tmp_path / "x.csv.gz", made())
    results.write(tmp_path / "y.csv.gz", made(l1=[0.0] * 3))
    (tmp_path / "y.csv.gz").rename(tmp_path / "x.csv.gz")
    with pytest.raises(RuleError, match=r"x\.provenance\.json is of another table"):
        results.read(tmp_path / "x.csv.gz")
    (tmp_path / "x.provenance.json").unlink()
    with pytest.raises(OSError, match="No such file"):
        results.read(tmp_path / "x.csv.gz")


@pytest.mark.parametrize("earlier", [False, True])
@pytest.mark.parametrize("killed_at", ["first file", "second file", "last name"])
def test_a_write_that_is_killed_leaves_the_old_results_or_the_new(
    killed_at: str, earlier: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, old, new = tmp_path / "x.csv.gz", Results(), made()
    if earlier:
        results.write(file, old)
    whole, left = results.write_atomically, {"first file": 0, "second file": 1, "last name": 2}

    def write_some(path: Path, content: bytes) -> None:
        if not left[killed_at]:
            raise KeyboardInterrupt
        left[killed_at] -= 1
        whole(path, content)

    def kill(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(results, "write_atomically", write_some)
        patched.setattr(Path, "replace", kill)
        results.write(file, new)
    if killed_at == "last name":
        pd.testing.assert_frame_equal(results.read(file).scores, new.scores)
        assert results.read(file).masks == new.masks
    elif earlier:
        assert results.read(file).scores.empty and not results.read(file).masks
    else:
        assert not file.exists()
    results.write(file, new)
    pd.testing.assert_frame_equal(results.read(file).scores, new.scores)


def test_rows_of_crops_that_are_not_listed_are_refused(tmp_path: Path) -> None:
    for gone in ("crop_lists", "masks", "evaluations"):
        results.write(tmp_path / "r.csv.gz", made())
        file = tmp_path / "r.provenance.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), gone: []}))
        with pytest.raises(RuleError, match=f"provenance lacks {gone.replace('_', ' ')}"):
            results.read(tmp_path / "r.csv.gz")


def test_results_of_earlier_versions_are_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text('{"crop_lists": [], "evaluations": []}')
    with pytest.raises(RuleError, match=r"earlier versions wrote .* Measure again with `make eval"):
        results.read(tmp_path / "results.json")
