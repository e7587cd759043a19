"""Every file becomes the right pixels, or is skipped with one warning that names it."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from pgi.errors import NoUsableImageError
from pgi.training import decoding, reading
from pgi.training.decoding import read_image
from pgi.training.reading import FileSource, find_images
from tests.closed_folder import forbid

HEIGHT, WIDTH = 40, 48


def picture(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Smooth, so that JPEG hardly harms it, and without any symmetry."""
    y, x = np.mgrid[:height, :width]
    return np.stack([y * 5, x * 5, (x + y) * 2 + 20], axis=-1).astype(np.uint8)


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def write_picture(path: Path, height: int = HEIGHT, width: int = WIDTH) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(Image.fromarray(picture(height, width))))
    return path


def warned_of(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


# Pixels


@pytest.mark.parametrize(
    "kind, options",
    [
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
        ("BMP", {}),
        ("TIFF", {}),
        ("PPM", {}),
        ("JPEG2000", {}),
    ],
)
def test_rgb_is_read_as_it_was_written(tmp_path, kind, options):
    path = tmp_path / "x"
    path.write_bytes(encoded(Image.fromarray(picture()), kind, **options))
    pixels = read_image(path)
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, picture())


@pytest.mark.parametrize(
    "kind, mode, options",
    [
        ("JPEG", "RGB", {"quality": 95, "subsampling": 0}),
        ("JPEG", "RGB", {"quality": 95, "subsampling": 0, "progressive": True}),
        ("JPEG", "CMYK", {"quality": 95, "subsampling": 0}),
        ("WEBP", "RGB", {"quality": 95}),
        ("AVIF", "RGB", {"quality": 95, "subsampling": "4:4:4"}),
    ],
)
def test_lossy_files_show_the_picture(tmp_path, kind, mode, options):
    path = tmp_path / "x"
    path.write_bytes(encoded(Image.fromarray(picture()).convert(mode), kind, **options))
    error = np.abs(read_image(path).astype(int) - picture())
    # A ramp survives quality 95 to a few grey levels; swapped or inverted channels are far off.
    assert error.mean() < 2 and error.max() < 16


def test_cmyk_without_loss_is_read_exactly(tmp_path):
    path = tmp_path / "x.tif"
    bands = [*Image.fromarray(255 - picture()).split(), Image.new("L", (WIDTH, HEIGHT))]
    path.write_bytes(encoded(Image.merge("CMYK", bands), "TIFF"))
    np.testing.assert_array_equal(read_image(path), picture())


def test_grey_becomes_three_equal_channels(tmp_path):
    path, grey = tmp_path / "x.png", picture()[..., 2]
    path.write_bytes(encoded(Image.fromarray(grey)))
    np.testing.assert_array_equal(read_image(path), np.stack([grey] * 3, axis=-1))


def test_one_bit_is_black_and_white(tmp_path):
    path, bits = tmp_path / "x.png", picture()[..., 0] > 100
    path.write_bytes(encoded(Image.fromarray(bits)))
    np.testing.assert_array_equal(read_image(path), np.stack([bits * 255] * 3, axis=-1))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("channels", [1, 3])
def test_alpha_is_dropped_and_leaves_the_colour_below(tmp_path, kind, channels):
    path, colours = tmp_path / "x", picture()[..., -channels:]
    # Every transparency from none to full.
    alpha = np.linspace(0, 255, HEIGHT * WIDTH).astype(np.uint8).reshape(HEIGHT, WIDTH, 1)
    path.write_bytes(encoded(Image.fromarray(np.concatenate([colours, alpha], axis=-1)), kind))
    expected = np.broadcast_to(colours, [HEIGHT, WIDTH, 3])
    np.testing.assert_array_equal(read_image(path), expected)


@pytest.mark.filterwarnings("ignore:::PIL")
@pytest.mark.parametrize(
    "options", [{}, {"transparency": 3}, {"transparency": bytes(range(0, 256, 4))}]
)
def test_palettes_are_looked_up_transparent_or_not(tmp_path, options):
    rng = np.random.default_rng(0)
    palette = rng.integers(0, 256, [256, 3], dtype=np.uint8)
    indices = rng.integers(0, 256, [HEIGHT, WIDTH], dtype=np.uint8)
    image = Image.fromarray(indices)
    image.putpalette(palette.tobytes())
    path = tmp_path / "x.png"
    path.write_bytes(encoded(image, **options))
    with Image.open(path) as written:
        assert written.mode == "P"
    np.testing.assert_array_equal(read_image(path), palette[indices])


@pytest.mark.parametrize("name", ["x.png", "x.tif", "x.pgm"])
def test_16_bit_grey_is_scaled_not_clipped(tmp_path, name):
    values = np.linspace(0, 65535, HEIGHT * WIDTH).astype(np.uint16).reshape(HEIGHT, WIDTH)
    assert cv2.imwrite(str(tmp_path / name), values)
    expected = np.stack([values >> 8] * 3, axis=-1)
    np.testing.assert_array_equal(read_image(tmp_path / name), expected)


@pytest.mark.parametrize("channels", [3, 4])
def test_16_bit_colour_keeps_its_high_byte(tmp_path, channels):
    path = tmp_path / "x.png"
    values = np.random.default_rng(0).integers(0, 65536, [HEIGHT, WIDTH, channels], dtype=np.uint16)
    assert cv2.imwrite(str(path), values)
    expected = values[..., 2::-1] >> 8  # OpenCV writes BGR.
    np.testing.assert_array_equal(read_image(path), expected)


# By EXIF, tag 274: where the first row and the first column of the file stand to the eye.
UPRIGHT = {
    1: lambda x: x,  # top, left
    2: lambda x: x[:, ::-1],  # top, right
    3: lambda x: x[::-1, ::-1],  # bottom, right
    4: lambda x: x[::-1],  # bottom, left
    5: lambda x: x.swapaxes(0, 1),  # left, top
    6: lambda x: x.swapaxes(0, 1)[:, ::-1],  # right, top
    7: lambda x: x.swapaxes(0, 1)[::-1, ::-1],  # right, bottom
    8: lambda x: x.swapaxes(0, 1)[::-1],  # left, bottom
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_orientation_is_applied(tmp_path, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    path = tmp_path / "x.png"
    path.write_bytes(encoded(Image.fromarray(picture()), exif=exif))
    np.testing.assert_array_equal(read_image(path), UPRIGHT[orientation](picture()))


# No pixels


@pytest.mark.filterwarnings("ignore:::PIL")
@pytest.mark.parametrize(
    "kind, options",
    [("PNG", {}), ("JPEG", {}), ("JPEG", {"progressive": True}), ("WEBP", {}), ("TIFF", {})],
)
def test_a_file_cut_off_anywhere_is_an_error_or_lacks_no_pixel(tmp_path, kind, options):
    path = tmp_path / "x"
    whole = encoded(Image.fromarray(picture()), kind, **options)
    path.write_bytes(whole)
    expected, errors = read_image(path), 0
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        try:
            pixels = read_image(path)
        except OSError:
            errors += 1
        else:
            np.testing.assert_array_equal(pixels, expected)
            assert length > len(whole) / 2  # Only what follows the pixels may be missing.
    assert errors > 10


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"Photographs of our holidays\n",
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        b"GIF89a" + bytes(20),
        encoded(Image.fromarray(np.zeros([HEIGHT, WIDTH], np.float32)), "TIFF"),
    ],
    ids=["empty", "text", "PNG signature", "GIF signature", "float TIFF"],
)
def test_what_is_no_photograph_is_an_os_error(tmp_path, content):
    path = tmp_path / "x.jpg"
    path.write_bytes(content)
    with pytest.raises(OSError):
        read_image(path)


def test_a_missing_file_and_a_folder_are_os_errors(tmp_path):
    for path in (tmp_path / "nothing.png", tmp_path):
        with pytest.raises(OSError):
            read_image(path)


# Pillow's warnings


def test_pillows_own_warnings_are_not_shown(tmp_path):
    image = Image.fromarray(picture()[..., 0])
    image.putpalette(bytes(range(256)) * 3)
    (tmp_path / "palette.png").write_bytes(encoded(image, transparency=bytes(range(256))))
    write_picture(tmp_path / "large.png")
    # In a program of its own, since pytest sets warning filters of its own. The limit, above which
    # Pillow warns, is lowered instead of writing a photograph of 100 megapixels.
    program = (
        "import sys; from PIL import Image; from pgi.training import decoding, reading;"
        f"Image.MAX_IMAGE_PIXELS = {HEIGHT * WIDTH - 1};"
        "source = reading.find_images(sys.argv[1]);"
        "[decoding.read_image(path) for path in source.paths]; print(len(source.paths))"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("2\n", "")


@pytest.mark.parametrize("function", [read_image, lambda path: find_images(path.parent)])
def test_threads_leave_the_programs_warning_filters_alone(tmp_path, monkeypatch, function):
    """Two threads inside at once, the first in also the first out: where state gets swapped."""
    paths = [write_picture(tmp_path / name / "x.png") for name in ("first", "second")]
    inside = {path: threading.Event() for path in paths}
    first_is_out = threading.Event()
    waits = {paths[0]: inside[paths[1]], paths[1]: first_is_out}
    really_open = Image.open

    def open_together(path, **arguments):
        inside[path].set()
        waits[path].wait(timeout=1)
        return really_open(path, **arguments)

    monkeypatch.setattr(decoding.Image, "open", open_together)
    threads = [threading.Thread(target=function, args=[path]) for path in paths]
    with warnings.catch_warnings():
        filters, before = warnings.filters, list(warnings.filters)
        threads[0].start()
        assert inside[paths[0]].wait(timeout=10)
        threads[1].start()
        threads[0].join()
        first_is_out.set()
        threads[1].join()
        # The very list, so that nothing was swapped that a third thread could meet.
        assert warnings.filters is filters and filters == before


# A source of files


def make_files(folder: Path, contents: str) -> list[Path]:
    """One file a letter: u usable, of a size of its own; t truncated; n no image."""
    paths = []
    for number, letter in enumerate(contents):
        path = write_picture(folder / f"{number}.png", WIDTH, WIDTH + number)
        if letter == "t":
            path.write_bytes(path.read_bytes()[:70])
        elif letter == "n":
            path.write_text("no image")
        paths.append(path)
    return paths


def number_of(image: np.ndarray) -> int:
    return image.shape[1] - WIDTH


@pytest.mark.parametrize("contents", ["utnu", "tuu", "uut", "tnutnu", "nntu"])
def test_an_unusable_file_gives_the_next_usable_one_whatever_was_read_before(tmp_path, contents):
    paths = make_files(tmp_path, contents)
    count = len(contents)
    expected = [
        next(n % count for n in range(i, i + count) if contents[n % count] == "u")
        for i in range(count)
    ]
    source = FileSource(paths)
    assert [number_of(source.read(i)) for i in range(count)] == expected
    assert [number_of(source.read(i)) for i in range(count)] == expected
    backwards = FileSource(paths)
    assert [number_of(backwards.read(i)) for i in reversed(range(count))] == expected[::-1]
    assert [number_of(FileSource(paths).read(i)) for i in range(count)] == expected


def test_an_unusable_file_is_warned_of_once_by_name_and_counted(tmp_path, caplog):
    paths = make_files(tmp_path, "utnu")
    source = FileSource(paths)
    assert not source.skipped
    for _ in range(3):
        for i in range(4):
            source.read(i)
    assert list(source.skipped) == paths[1:3]
    messages = warned_of(caplog)
    assert len(messages) == 2
    for message, path in zip(messages, paths[1:3]):
        assert message.startswith(f"skipped {path}: ")
        assert source.skipped[path] and message.count(str(path)) <= 2
    assert "truncated" in messages[0].lower()


def test_readers_that_meet_in_an_unusable_file_warn_of_it_once(tmp_path, monkeypatch, caplog):
    paths, readers = make_files(tmp_path, "tu"), 4
    meeting = threading.Barrier(readers)
    really_read = reading.read_image

    def read_together(path):
        if path == paths[0]:
            meeting.wait(timeout=10)
        return really_read(path)

    monkeypatch.setattr(reading, "read_image", read_together)
    source = FileSource(paths)
    with ThreadPoolExecutor(readers) as pool:
        assert [number_of(image) for image in pool.map(source.read, [0] * readers)] == [1] * readers
    assert len(warned_of(caplog)) == 1 and list(source.skipped) == [paths[0]]


def test_usable_files_are_read_without_a_word(tmp_path, caplog):
    source = FileSource(make_files(tmp_path, "uuu"))
    assert len(source) == 3
    assert [number_of(source.read(i)) for i in (2, 0, 1)] == [2, 0, 1]
    assert not warned_of(caplog) and not source.skipped


def test_kept_pixels_are_read_once_and_others_every_time(tmp_path, caplog):
    paths = make_files(tmp_path, "utu")
    kept, fresh = FileSource(paths, keep=True), FileSource(paths)
    for source in (kept, fresh):
        assert [number_of(source.read(i)) for i in range(3)] == [0, 2, 2]
        assert list(source.skipped) == [paths[1]]
    first = kept.read(0).copy()
    write_picture(paths[0], WIDTH, WIDTH + 9)
    assert number_of(fresh.read(0)) == 9
    np.testing.assert_array_equal(kept.read(0), first)
    # To each source its own memory.
    assert number_of(FileSource(paths, keep=True).read(0)) == 9
    assert len(warned_of(caplog)) == 2


def test_a_source_takes_strings(tmp_path):
    path = write_picture(tmp_path / "x.png")
    np.testing.assert_array_equal(FileSource([str(path)]).read(0), picture())


def test_a_source_of_nothing_is_an_error(tmp_path):
    with pytest.raises(NoUsableImageError, match="no image file was given"):
        FileSource([])
    with pytest.raises(NoUsableImageError, match="none of 3 images"):
        FileSource(make_files(tmp_path, "tnt")).read(1)


# Finding


def test_all_images_of_a_tree_are_found_in_the_order_of_their_paths(tmp_path, caplog):
    names = [
        "10.png",
        "2.png",
        "B.png",
        "a b.png",
        "a/deep/er/1.PNG",
        "a/z.png",
        "b/named.as.text.txt",
        "no extension",
        "Übung/雪 ❄.jpg",
    ]
    for name in reversed(names):
        write_picture(tmp_path / name)
    source = find_images(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in source.paths] == sorted(
        names, key=lambda name: name.split("/")
    )
    for i in range(len(source)):
        np.testing.assert_array_equal(source.read(i), picture())
    assert not warned_of(caplog)


def test_hidden_ones_and_folders_are_no_images_and_no_news(tmp_path, caplog):
    usable = write_picture(tmp_path / ".thumbnails" / "photographs" / "x.png")
    for name in (".hidden.png", ".hidden/x.png", "shown/.hidden/deep/x.png", "shown/.x.png"):
        write_picture(usable.parent / name)
    (usable.parent / "folder.png").mkdir()
    # That the folder itself lies in a hidden one is the user's wish.
    assert find_images(usable.parent).paths == [usable]
    assert not warned_of(caplog)


def test_unusable_files_beside_usable_ones_are_each_warned_of_once(tmp_path, caplog):
    usable = write_picture(tmp_path / "m.png")
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.jpg").write_text("no image")
    write_picture(tmp_path / "sub" / "icon.png", 8, 8)
    source = find_images(tmp_path)
    assert source.paths == [usable]
    unusable = {tmp_path / "empty.png", tmp_path / "text.jpg", tmp_path / "sub" / "icon.png"}
    assert set(source.skipped) == unusable
    messages = warned_of(caplog)
    assert len(messages) == len(unusable)
    for path in unusable:
        assert sum(message.startswith(f"skipped {path}: ") for message in messages) == 1
    assert any("at least 32 px, got 8 x 8" in message for message in messages)
    np.testing.assert_array_equal(source.read(0), picture())
    assert len(warned_of(caplog)) == len(unusable)


def test_files_of_other_formats_or_too_many_pixels_are_skipped_by_their_headers(
    tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(decoding, "MAX_MEGAPIXELS", HEIGHT * WIDTH / 1e6)
    usable = write_picture(tmp_path / "a.png")
    write_picture(tmp_path / "large.png", HEIGHT + 1)
    (tmp_path / "page.jpg").write_bytes(encoded(Image.fromarray(picture()), "EPS"))
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a program is started"))
    assert find_images(tmp_path).paths == [usable]
    large, page = sorted(warned_of(caplog))
    assert large.endswith("must have at most 0.00192 megapixels, got 0.001968 (48 x 41)")
    assert "page.jpg: no JPEG, PNG, WEBP" in page


def test_the_shorter_side_decides_what_is_too_small(tmp_path):
    sizes = [(31, 500), (32, 500), (500, 31), (500, 32), (32, 32)]
    for height, width in sizes:
        write_picture(tmp_path / f"{height}x{width}.png", height, width)
    found = {path.stem for path in find_images(tmp_path).paths}
    assert found == {"32x500", "500x32", "32x32"}


def test_a_home_folder_is_expanded(tmp_path, monkeypatch):
    write_picture(tmp_path / "photographs" / "x.png")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_images("~/photographs").paths == [tmp_path / "photographs" / "x.png"]


def test_a_missing_folder_is_an_error_that_names_it(tmp_path):
    path = write_picture(tmp_path / "x.png")
    for place in (tmp_path / "nowhere", path):
        with pytest.raises(NoUsableImageError) as error:
            find_images(place)
        assert str(error.value) == f"no such folder: {place}"


def test_an_empty_folder_is_an_error_that_names_it(tmp_path):
    (tmp_path / "inner").mkdir()
    with pytest.raises(NoUsableImageError) as error:
        find_images(tmp_path)
    assert str(tmp_path) in str(error.value) and "no file" in str(error.value)


def test_a_folder_of_unusable_files_is_an_error_that_says_why(tmp_path):
    write_picture(tmp_path / "icon.png", 16, 16)
    (tmp_path / "notes.txt").write_text("no image")
    for number in range(20):
        (tmp_path / f"z{number}.csv").write_text("1,2")
    with pytest.raises(NoUsableImageError) as error:
        find_images(tmp_path)
    message = str(error.value)
    assert str(tmp_path) in message and "22 files" in message
    assert "icon.png: both sides must be at least 32 px, got 16 x 16" in message
    assert "notes.txt: no JPEG, PNG, " in message
    assert len(message) < 1000  # Of 22 reasons only the first few.


def test_a_folder_whose_files_are_all_truncated_is_an_error_when_it_is_searched(tmp_path):
    make_files(tmp_path, "ttt")
    with pytest.raises(NoUsableImageError) as error:
        find_images(tmp_path)
    assert str(tmp_path) in str(error.value) and "truncated" in str(error.value).lower()


@pytest.fixture
def permissions(tmp_path_factory) -> None:
    path = tmp_path_factory.mktemp("permissions") / "x"
    path.touch(mode=0)
    with contextlib.suppress(PermissionError):
        path.read_bytes()
        pytest.skip("nothing is forbidden to this user (root, usually)")


@pytest.mark.usefixtures("permissions")
def test_a_forbidden_file_is_skipped(tmp_path, caplog):
    usable, forbidden = write_picture(tmp_path / "a.png"), write_picture(tmp_path / "b.png")
    forbidden.chmod(0)
    source = find_images(tmp_path)
    assert source.paths == [usable] and list(source.skipped) == [forbidden]
    assert "Permission denied" in warned_of(caplog)[0]


@pytest.mark.usefixtures("permissions")
@pytest.mark.parametrize("mode", [0o000, 0o444], ids=["not listed", "listed only"])
def test_a_forbidden_folder_does_not_keep_from_the_others(tmp_path, mode):
    usable, forbidden = write_picture(tmp_path / "a.png"), write_picture(tmp_path / "b" / "c.png")
    forbidden.parent.chmod(mode)
    try:
        source = find_images(tmp_path)
    finally:
        forbidden.parent.chmod(0o755)
    assert source.paths == [usable]
    ((place, reason),) = source.skipped.items()
    assert place == (forbidden if mode else forbidden.parent) and "Permission denied" in reason


def test_linked_folders_are_searched_and_none_is_used_twice(tmp_path, caplog):
    root, other = tmp_path / "root", tmp_path / "other"
    inside = [write_picture(root / name) for name in ("b/1.png", "c.png")]
    outside = write_picture(other / "day 2" / "3.png")
    (root / "d").symlink_to(other)
    (root / "e").symlink_to(outside.parent)
    (root / "a").symlink_to(root / "b")
    (outside.parent / "back").symlink_to(root)
    source = find_images(root)
    assert source.paths == [*inside, root / "d" / "day 2" / "3.png"]
    assert not source.skipped and not warned_of(caplog)


def test_folders_that_cannot_be_listed_and_links_to_nothing_are_counted(
    tmp_path, monkeypatch, caplog
):
    usable, closed = write_picture(tmp_path / "a.png"), write_picture(tmp_path / "b" / "c.png")
    (tmp_path / "d").symlink_to("not mounted")
    (tmp_path / "e.png").symlink_to("gone.png")
    forbid(monkeypatch, closed.parent.name)
    source = find_images(tmp_path)
    assert source.paths == [usable]
    assert source.skipped == {
        closed.parent: "cannot be listed: Permission denied",
        tmp_path / "d": "a link to nothing",
        tmp_path / "e.png": "a link to nothing",
    }
    assert len(warned_of(caplog)) == 3
    usable.unlink()
    with pytest.raises(
        NoUsableImageError, match=r"no file. b: cannot be listed: Perm.*; d: a link"
    ):
        find_images(tmp_path)
    forbid(monkeypatch, tmp_path.name)
    with pytest.raises(NoUsableImageError, match=f"^{tmp_path} cannot be listed: Permission den"):
        find_images(tmp_path)


def test_what_does_not_look_like_an_image_is_left_out_with_one_warning(tmp_path, caplog):
    usable = write_picture(tmp_path / "m.png")
    others = ["Thumbs.db", "a/notes.txt", "labels.csv", "empty"]
    for name in others:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("" if name == "empty" else "no image")
    # These may be photographs, which the user misses.
    (tmp_path / "x.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (tmp_path / "unnamed").write_bytes(usable.read_bytes()[:20])
    source = find_images(tmp_path)
    assert source.paths == [usable]
    assert list(source.skipped) == [tmp_path / "unnamed", tmp_path / "x.heic"]
    summary, *skipped = sorted(warned_of(caplog))
    assert summary == f"left out as no images: 4 of 7 files, the first {tmp_path}/Thumbs.db"
    assert len(skipped) == 2


# Identity


def test_a_source_is_known_by_its_names_and_their_order_wherever_it_is(tmp_path):
    names = ("a.png", "b.png", "c.png")
    here, there = ([write_picture(tmp_path / folder / name) for name in names] for folder in "xy")
    identity = FileSource(here).identity()
    assert FileSource(there).identity() == identity
    assert [FileSource(there).name(number) for number in range(3)] == list(names)
    others = (
        here[:2],
        here[::-1],
        [*here[:2], write_picture(tmp_path / "x" / "d.png")],
        [*here[:2], write_picture(tmp_path / "x" / "c" / "c.png")],
    )
    assert all(FileSource(paths).identity() != identity for paths in others)
