"""A list is read as its writer meant it, or an error says what was expected and where."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pgi.errors import NoUsableImageError
from pgi.training.lists import listed_paths
from pgi.training.reading import FileSource, listed_images

NAMES = ("1.png", "my photo, 2.JPG", "sub/ü.webp")


def write(folder: Path, names: tuple[str, ...] = NAMES) -> list[Path]:
    paths = [folder / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros([32, 40, 3], np.uint8)).save(path, "PNG")
    return paths


def read(path: Path) -> list[Path]:
    return [Path(name).resolve() for name in listed_paths(path)]


def warned_of(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The current folder, beside that of the lists."""
    (tmp_path / "current").mkdir()
    (tmp_path / "lists").mkdir()
    monkeypatch.chdir(tmp_path / "current")
    return tmp_path


def test_a_list_names_its_images_in_its_order(place, caplog):
    paths = write(place / "current", ("b.png", "sub folder/a.png", "ü.png"))
    lines = [str(paths[0]), "", "sub folder/a.png", "  ü.png  ", "sub folder/a.png"]
    for content in ("\n".join(lines), "\r\n".join(lines) + "\r\n", "\ufeff" + "\n".join(lines)):
        Path("train.flist").write_bytes(content.encode())
        source = listed_images("train.flist")
        assert [path.resolve() for path in source.paths] == paths
        # As they are written, on which the identity of runs depends.
        assert [str(path) for path in source.paths] == [lines[0], lines[2], "ü.png"]
        assert not source.skipped
    assert not warned_of(caplog)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("folder", ["current", "lists", ""])
@pytest.mark.parametrize(
    "form",
    [
        "{}",
        '"{}"',
        "'{}'",
        "{} 3",
        "{}\t3",
        "{},3",
        "{}, a label of words.",
        "{};3;4",
        '"{}",3',
        "  {}  -1  1 -1",
    ],
)
def test_quotes_labels_and_encodings_are_understood(place, encoding, folder, form, caplog):
    paths = write(place / (folder or "absolute"))
    names = NAMES if folder else map(str, paths)
    path = place / "lists" / "train.txt"
    path.write_bytes("\r\n".join(map(form.format, names)).encode(encoding))
    assert read(path) == paths
    # Only another reading than that of the lines as they are is said, once.
    plain = form == "{}" and folder != "lists"
    assert len(warned_of(caplog)) == (not plain)


def test_a_big_endian_list_and_windows_separators_are_read(place):
    paths = write(place / "lists", ("a/b/1.png", "a/2.png"))
    path = place / "lists" / "x.txt"
    path.write_bytes("\ufeffa\\b\\1.png\r\na\\2.png\r\n".encode("utf-16-be"))
    assert read(path) == paths


def test_names_with_all_these_characters_are_taken_as_they_are(place, caplog):
    names = ('"quoted.png"', "a.png 1", "a.png,2", "a.png", "b.png\t3", "c\\d.png", "#1.png")
    paths = write(place / "current", names)
    path = place / "lists" / "x.txt"
    path.write_text("\n".join(names))
    assert listed_paths(path) == [*names]
    assert [Path(name).resolve() for name in listed_paths(path)] == paths
    assert not warned_of(caplog)


def test_a_list_of_which_some_names_are_in_quotes_is_read_in_full(place):
    """As CSV writers do for names with a comma."""
    paths = write(place / "current")
    path = place / "lists" / "x.txt"
    path.write_text('1.png\n"my photo, 2.JPG"\nsub/ü.webp')
    assert read(path) == paths


def test_the_current_folder_comes_before_that_of_the_list(place):
    paths = write(place / "current")
    write(place / "lists")
    path = place / "lists" / "x.txt"
    path.write_text("\n".join(NAMES))
    assert read(path) == paths
    # For the whole list, however few are there.
    for gone in paths[1:]:
        gone.unlink()
    assert read(path) == paths


def test_where_the_list_lies_does_not_change_what_a_run_is_known_by(place, monkeypatch):
    write(place / "lists", ("a/1.png", "b/2.png"))
    path = place / "lists" / "x.txt"
    path.write_text("a/1.png\nb/2.png")
    elsewhere = FileSource(listed_paths(path)).identity()
    monkeypatch.chdir(place / "lists")
    assert FileSource(listed_paths(path)).identity() == elsewhere


def test_a_list_may_name_what_is_no_image_but_not_that_alone(tmp_path, caplog):
    gone = [f"{tmp_path}/gone/{number}.png" for number in range(150)]
    (good,) = map(str, write(tmp_path, ("good.png",)))
    path = tmp_path / "list.txt"
    path.write_text("\n".join([gone[0], good, gone[1]]))
    source = listed_images(path)
    assert [source.read(number).shape for number in range(3)] == [(32, 40, 3)] * 3
    assert len(source.skipped) == len(warned_of(caplog)) == 2
    Path(good).write_text("text")
    path.write_text("\n".join([good] * 9 + gone))
    with pytest.raises(NoUsableImageError, match=r"first 100 images are all unusable; .*good"):
        listed_images(path)
    path.write_text("\n\n")
    with pytest.raises(NoUsableImageError, match="names no image"):
        listed_images(path)
    with pytest.raises(NoUsableImageError, match=r"no such list of images: .*nowhere"):
        listed_images(tmp_path / "nowhere")


def test_a_list_of_which_nothing_is_found_says_where_it_was_looked_for(place):
    path = place / "lists" / "x.txt"
    path.write_text('"a/b.png" 3\n' * 2 + "c.png")
    with pytest.raises(NoUsableImageError) as error:
        listed_paths(path)
    message = str(error.value)
    assert f"none of the first 3 lines of {path} names a file" in message
    assert "'\"a/b.png\" 3'" in message
    current, lists = place / "current", place / "lists"
    expected = [f'{current}/"a/b.png" 3', f"{current}/a/b.png"]
    expected += [f'{lists}/"a/b.png" 3', f"{lists}/a/b.png"]
    assert message.endswith(f"looked for as {', '.join(expected)}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1.png\n".encode("utf-16-le"), "byte order mark, got zero bytes"),
        (b"\xff\xfea", "begins like UTF-16, but is not"),
    ],
)
def test_a_list_in_another_encoding_is_refused(place, content, message):
    write(place / "current")
    path = place / "lists" / "x.txt"
    path.write_bytes(content)
    with pytest.raises(NoUsableImageError, match=message):
        listed_paths(path)


def test_a_name_of_any_bytes_is_kept(place):
    name = b"caf\xe9.png"
    write(place / "current", (name.decode(errors="surrogateescape"),))
    path = place / "lists" / "x.txt"
    path.write_bytes(name)
    assert [Path(x).read_bytes()[:4] for x in listed_paths(path)] == [b"\x89PNG"]


@pytest.mark.parametrize("form", ["{}", "{} 3"])
def test_of_a_long_list_only_the_first_lines_are_looked_for(place, monkeypatch, form):
    write(place / "lists", ("1.png",))
    path = place / "lists" / "x.txt"
    lines = [form.format(f"{number}.png") for number in range(100_000)]
    random.Random(0).shuffle(lines)
    path.write_text("\n".join([form.format("1.png"), *lines]))
    looked_for = []

    def is_file(name: str) -> bool:
        looked_for.append(name)
        return name.endswith("/1.png")

    monkeypatch.setattr("os.path.isfile", is_file)
    assert len(listed_paths(path)) == 100_000
    assert len(looked_for) <= 600
