"""A dataset's name gives photographs to train on and to validate with, or an error."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import data
from data import datasets
from data.samples.samples import photographs
from pgi.errors import NoUsableImageError, RuleError
from pgi.training.reading import FileSource


def fill(folder: Path, names: list[str]) -> list[Path]:
    """Photographs, each flat and of a colour of its own."""
    paths = [folder / name for name in names]
    for number, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full([32, 32, 3], number, np.uint8)).save(path)
    return paths


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:60])


def readable(source: FileSource) -> set[int]:
    return {int(source.read(number)[0, 0, 0]) for number in range(len(source))}


def load(name: str) -> tuple[FileSource, FileSource]:
    """The parts of a dataset that consists of files."""
    training, validation = data.load(name)
    assert isinstance(training, FileSource) and isinstance(validation, FileSource)
    return training, validation


def warned_of(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


def test_samples_are_scikit_images_photographs():
    training, validation = load("samples")
    assert training.paths == photographs("train")
    assert validation.paths == photographs("validation")
    for source in (training, validation):
        assert all(source.read(number).ndim == 3 for number in range(len(source)))
        assert not source.skipped


@pytest.mark.parametrize(
    "name", ["sample", "Samples", "", "folder", "folder:", "flist:", "tfds:", "places", "/tmp"]
)
def test_an_unknown_name_is_an_error_that_names_what_is_known(name):
    with pytest.raises(RuleError) as error:
        load(name)
    message = str(error.value)
    assert "samples" in message and "folder:PATH" in message
    assert message.endswith(f'got "{name}"')


def test_a_folder_is_parted_in_training_and_validation(tmp_path):
    paths = fill(tmp_path / "my photographs", [f"{n // 10}/{n}.png" for n in range(40)])
    training, validation = load(f"folder:{tmp_path / 'my photographs'}")
    assert not set(training.paths) & set(validation.paths)
    assert sorted(training.paths + validation.paths) == sorted(paths)
    assert readable(training) | readable(validation) == set(range(40))


def test_a_path_may_hold_a_colon(tmp_path):
    paths = fill(tmp_path / "12:30", ["a.png", "b.png"])
    training, validation = load(f"folder:{tmp_path / '12:30'}")
    assert sorted(training.paths + validation.paths) == paths


@pytest.mark.parametrize(
    "count, held_out",
    [(2, 1), (3, 1), (19, 1), (20, 1), (39, 1), (40, 2), (1999, 99), (2001, 100), (4567, 100)],
)
def test_every_twentieth_is_held_out_but_at_least_one_and_at_most_a_hundred(
    tmp_path, count, held_out
):
    paths = fill(tmp_path, ["00000.png"])
    for number in range(1, count):
        paths.append(tmp_path / f"{number:05}.png")
        os.link(paths[0], paths[-1])
    training, validation = datasets.hold_out(FileSource(paths))
    assert len(validation) == held_out
    assert training.paths == [path for path in paths if path not in set(validation.paths)]
    assert len(training) == count - held_out
    # They come from all over the folder, whose parts may be of different kinds.
    numbers = [int(path.stem) for path in validation.paths]
    in_tenths = np.histogram(numbers, bins=10, range=(0, count))[0]
    assert numbers == sorted(numbers) and (held_out < 20 or in_tenths.min() > 0)


def test_the_same_files_are_parted_in_the_same_way(tmp_path):
    names = [f"{n}.png" for n in range(50)]
    fill(tmp_path / "a", names)
    fill(tmp_path / "b", names[::-1])
    held_out = [
        [path.name for path in load(f"folder:{tmp_path / folder}")[1].paths]
        for folder in ("a", "b", "a")
    ]
    assert held_out[0] == held_out[1] == held_out[2]


def test_a_single_image_is_trained_on_and_validated_with_and_warned_of(tmp_path, caplog):
    (path,) = fill(tmp_path, ["only.png"])
    training, validation = load(f"folder:{tmp_path}")
    assert training.paths == validation.paths == [path]
    (message,) = warned_of(caplog)
    assert str(path) in message and "only one usable image" in message


def test_unusable_files_are_counted_once_over_both_parts(tmp_path, caplog):
    fill(tmp_path, [f"{n:02}.png" for n in range(30)])
    (tmp_path / "31.png").write_text("no image")
    truncate(tmp_path / "13.png")
    sources = load(f"folder:{tmp_path}")
    read = [readable(source) for source in sources]
    assert read[0] | read[1] == set(range(30)) - {13}
    assert sum(len(source.skipped) for source in sources) == 2
    assert len(warned_of(caplog)) == 2


def test_a_folder_with_no_usable_image_is_a_clear_error(tmp_path):
    with pytest.raises(NoUsableImageError, match="no such folder"):
        load(f"folder:{tmp_path / 'nowhere'}")
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(NoUsableImageError, match=r"no usable image in .*notes\.txt"):
        load(f"folder:{tmp_path}")


@pytest.mark.parametrize("damaged", [*itertools.product([False, True], repeat=3)])
def test_whichever_images_are_truncated_there_is_something_to_train_and_to_validate_with(
    tmp_path, damaged
):
    """Truncation shows only when a whole file is read: not first in the middle of training."""
    for path, is_damaged in zip(fill(tmp_path, ["0.png", "1.png", "2.png"]), damaged):
        if is_damaged:
            truncate(path)
    whole = {number for number in range(3) if not damaged[number]}
    if not whole:
        with pytest.raises(NoUsableImageError, match=str(tmp_path)):
            load(f"folder:{tmp_path}")
        return
    read = [readable(source) for source in load(f"folder:{tmp_path}")]
    assert read[0] and read[1] and read[0] | read[1] == whole
    assert len(whole) == 1 or not read[0] & read[1]


def test_a_list_is_parted_as_a_folder_is_and_two_lists_as_they_say(tmp_path):
    paths = fill(tmp_path, [f"{n:02}.png" for n in range(41)])
    train, validation = tmp_path / "train.flist", tmp_path / "val,idation.flist"
    train.write_text("\n".join(map(str, paths)))
    validation.write_text(str(paths[7]))
    sources = load(f"flist:{train}")
    assert [len(source) for source in sources] == [39, 2]
    assert readable(sources[0]) | readable(sources[1]) == set(range(41))
    sources = load(f"flist:{train},{validation}")
    assert [source.paths for source in sources] == [paths, [paths[7]]]
    # Commas of their own.
    assert load(f"flist:{validation}")[1].paths == [paths[7]]
    sources = load(f"flist:{validation},{validation}")
    assert [source.paths for source in sources] == [[paths[7]], [paths[7]]]
