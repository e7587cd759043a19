"""The demo page: what its button does, and the whole of it in a real browser."""

from __future__ import annotations

import importlib
import io
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from pgi.files.pictures import read_picture
from pgi.inference import PyramidInpainter
from pgi.training import assembly
from tests.demo.pages import Slow, served
from tests.files.picture_files import decoded, encoded
from tests.tiny_run import CONFIG

pytest.importorskip("gradio", reason="Gradio needs Python 3.10")

from pgi import demo

# Gradio's own, of a NumPy that is newer than TensorFlow 2.15 allows.
pytestmark = pytest.mark.filterwarnings("ignore:`np.bool8`:DeprecationWarning")

BROWSER = shutil.which("chromium")
FLAGS = [
    # Containers run as root, which Chromium's sandbox refuses.
    "--no-sandbox",
    # Nothing of the browser's own may be in its network log.
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # The editor paints with WebGL; without a GPU that is SwiftShader, which must be asked for.
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
]
UPLOAD_MEGABYTES = 8


@pytest.fixture(scope="module")
def inpainter() -> PyramidInpainter:
    return PyramidInpainter(assembly.make_model(CONFIG))


def test_says_that_gradio_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.delitem(sys.modules, "pgi.demo")
    with pytest.raises(ImportError, match=r'needs Gradio: pip install .* "\.\[demo\]"'):
        importlib.import_module("pgi.demo")


def test_the_samples_can_be_read() -> None:
    samples = demo.sample_photographs()
    assert len(samples) == 4
    for path in samples:
        read_picture(path.read_bytes(), 1)


# In a browser


@pytest.fixture(scope="module")
def python_hosts() -> list[str]:
    """Hosts that this process connects to or asks the address of, from now on."""
    hosts: list[str] = []

    def watch(event: str, arguments: tuple) -> None:
        if event == "socket.connect" and isinstance(arguments[1], tuple):
            hosts.append(arguments[1][0])
        elif event == "socket.getaddrinfo":
            hosts.append(arguments[0])

    sys.addaudithook(watch)
    return hosts


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if BROWSER is None:
        pytest.skip("needs Debian's chromium")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=BROWSER, headless=True, args=FLAGS)
        yield chromium
        chromium.close()


@contextmanager
def opened(browser: Any, address: str) -> Iterator[Any]:
    """The page, loaded; afterwards, whatever it did, it has asked no other host."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(60_000)
    requests: list[str] = []
    context.on("request", lambda request: requests.append(request.url))
    tab = context.new_page()
    tab.goto(address)
    tab.locator("#editor canvas").first.wait_for()
    yield tab
    context.close()
    hosts = {urlsplit(url.removeprefix("blob:")).hostname for url in requests}
    assert hosts - {None} == {"127.0.0.1"}  # None: of what is in the page itself, data:...


@pytest.fixture
def tab(browser: Any, inpainter: PyramidInpainter, python_hosts: list[str]) -> Iterator[Any]:
    with (
        served(inpainter, max_upload_megabytes=UPLOAD_MEGABYTES) as address,
        opened(browser, address) as tab,
    ):
        yield tab


def seen(tab: Any) -> np.ndarray:
    """The page as it is shown, `[H, W, 3]`."""
    return np.asarray(Image.open(io.BytesIO(tab.screenshot())).convert("RGB")).astype(int)


def frame(tab: Any) -> tuple[int, int, int, int] | None:
    """Where on the page the photograph's green frame is: top, left, bottom, right."""
    red, green, blue = np.moveaxis(seen(tab), -1, 0)
    box = tab.locator("#editor").bounding_box()
    rows, columns = np.nonzero((green > 200) & (red < 90) & (blue < 90))
    inside = (columns < box["x"] + box["width"]) & (rows > box["y"])
    rows, columns = rows[inside], columns[inside]
    if not len(rows):
        return None
    return rows.min(), columns.min(), rows.max() + 1, columns.max() + 1


def settled_frame(tab: Any) -> tuple[int, int, int, int]:
    """The same once the editor has stopped fitting it to its room."""
    last = None
    for _ in range(100):
        tab.wait_for_timeout(300)
        found = frame(tab)
        if found is not None and found == last:
            return found
        last = found
    raise AssertionError("the photograph is not shown")


def stroke(tab: Any, place: tuple[int, int, int, int]) -> list[tuple[float, float]]:
    """Paints a line across the middle; returns the mouse's `(x, y)` at both ends."""
    top, left, bottom, right = place
    ends = [
        (left + part * (right - left), top + (part - 0.1) * (bottom - top)) for part in (0.4, 0.6)
    ]
    tab.mouse.move(*ends[0])
    tab.mouse.down()
    tab.mouse.move(*ends[1], steps=20)
    tab.mouse.up()
    tab.mouse.move(5, 5)
    tab.wait_for_timeout(500)
    return ends


def message(tab: Any, text: str) -> None:
    toast = tab.locator(".toast-body", has_text=text)
    toast.wait_for()
    toast.locator(".toast-close").click()
    toast.wait_for(state="detached")


def upload(tab: Any, path: Path) -> None:
    tab.locator("#photograph input[type=file]").set_input_files(str(path))


def framed_noise(height: int, width: int) -> np.ndarray:
    """A photograph that can be found on the screen, and whose every pixel is its own."""
    pixels = np.random.default_rng(0).integers(0, 256, [height, width, 3], np.uint8)
    pixels[..., 1] = 0
    edge = np.ones([height, width], bool)
    edge[16:-16, 16:-16] = False
    pixels[edge] = (0, 255, 0)
    return pixels


@pytest.mark.slow
def test_paint_fill_download(tab: Any, tmp_path: Path, python_hosts: list[str]) -> None:
    height, width = 900, 1200  # Larger than its copy in the editor.
    pixels = framed_noise(height, width)
    Image.fromarray(pixels).save(tmp_path / "cat.png")
    upload(tab, tmp_path / "cat.png")
    top, left, bottom, right = settled_frame(tab)
    scale = width / (right - left)
    assert scale == pytest.approx(height / (bottom - top), rel=0.02)

    tab.locator("#fill").click()
    message(tab, "Nothing is painted")

    start, end = stroke(tab, (top, left, bottom, right))
    assert frame(tab) == (top, left, bottom, right)
    red, green, blue = np.moveaxis(seen(tab)[top:bottom, left:right], -1, 0)
    # Of the paint's colour and not, as the noise, by chance.
    painted = ndimage.binary_opening(
        (abs(red - 255) < 8) & (abs(green - 45) < 8) & (abs(blue - 149) < 8), iterations=2
    )
    tab.locator("#fill").click()
    tab.locator("#download:not([disabled])").wait_for()
    with tab.expect_download() as download:
        tab.locator("#download").click()
    assert download.value.suggested_filename == "cat_filled.png"
    result = np.asarray(decoded(Path(download.value.path()).read_bytes()))
    assert result.shape == pixels.shape
    changed = (result != pixels).any(axis=-1)

    # By the mouse alone: along its path, and a brush's width around it.
    along = np.ones([height, width], bool)
    for part in np.linspace(0, 1, 200):
        x, y = (a + part * (b - a) for a, b in zip(start, end))
        along[round((y - top) * scale), round((x - left) * scale)] = False
    distance = ndimage.distance_transform_edt(along)
    radius = distance[changed].max()
    assert 8 < radius < 100
    assert changed[distance < 0.8 * radius].mean() > 0.98
    # By what was seen: a pixel of the screen is some of the photograph's.
    rows, columns = np.indices([height, width])
    rows = np.minimum((rows / scale).astype(int), painted.shape[0] - 1)
    shown = painted[rows, np.minimum((columns / scale).astype(int), painted.shape[1] - 1)]
    slack = int(3 * scale)
    assert not changed[~ndimage.binary_dilation(shown, iterations=slack)].any()
    assert changed[ndimage.binary_erosion(shown, iterations=slack)].mean() > 0.98

    assert tab.locator("#slider img").count() >= 2
    captions = tab.locator("#levels .caption-label")
    assert [x.strip() for x in captions.all_inner_texts()] == [
        "Level 0, 600 px wide: structure",
        "Level 1, 1200 px wide: detail",
    ]
    assert set(python_hosts) <= {"127.0.0.1", "localhost"}


@pytest.mark.slow
def test_bad_uploads_are_messages_and_the_page_goes_on(tab: Any, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(encoded(Image.fromarray(framed_noise(120, 160)))[:2000])
    upload(tab, tmp_path / "broken.png")
    message(tab, "Damaged")
    tab.locator("#photograph [aria-label='Clear']").click()
    (tmp_path / "huge.png").write_bytes(bytes(UPLOAD_MEGABYTES * 2**20 + 1))
    upload(tab, tmp_path / "huge.png")
    message(tab, "maximum allowed size")
    tab.locator("#samples .thumbnail-lg").nth(1).click()
    tab.locator("#photograph [aria-label='coffee.png']").wait_for()


@pytest.mark.slow
def test_a_late_result_is_not_shown_under_another_photograph(browser: Any, tmp_path: Path) -> None:
    slow = Slow()
    Image.fromarray(framed_noise(120, 160)).save(tmp_path / "cat.png")
    with served(slow) as address, opened(browser, address) as tab:
        upload(tab, tmp_path / "cat.png")
        stroke(tab, settled_frame(tab))
        tab.locator("#fill").click()
        assert slow.begun.wait(30)
        tab.locator("#samples .thumbnail-lg").nth(1).click()
        tab.locator("#photograph [aria-label='coffee.png']").wait_for()
        slow.may_end.set()
        message(tab, "another photograph")
        assert tab.locator("#download[disabled]").count() == 1
        assert not tab.locator("#levels .caption-label").count()
        # The same visitor's next one is shown.
        tab.locator("#photograph [aria-label='Clear']").click()
        upload(tab, tmp_path / "cat.png")
        stroke(tab, settled_frame(tab))
        tab.locator("#fill").click()
        tab.locator("#download:not([disabled])").wait_for()
        assert tab.locator("#levels .caption-label").count() == 1


@pytest.mark.slow
def test_a_busy_page_queues_one_fill_of_a_visitor(browser: Any, tmp_path: Path) -> None:
    slow = Slow()
    Image.fromarray(framed_noise(120, 160)).save(tmp_path / "cat.png")
    with served(slow) as address, ExitStack() as stack:
        first, second, third = (stack.enter_context(opened(browser, address)) for _ in range(3))
        for tab in (first, second, third):
            upload(tab, tmp_path / "cat.png")
            stroke(tab, settled_frame(tab))
        first.locator("#fill").click()
        assert slow.begun.wait(30)
        second.locator("#fill").click()
        second.locator("#slider", has_text="queue: 1/1").wait_for()
        third.locator("#fill").click()
        message(third, "still waiting")
        slow.may_end.set()
        for tab in (first, second):
            tab.locator("#download:not([disabled])").wait_for()
    assert slow.most == 1


@pytest.mark.slow
def test_the_page_works_after_a_login(browser: Any, tmp_path: Path) -> None:
    Image.fromarray(framed_noise(120, 160)).save(tmp_path / "cat.png")
    with served(Slow(may_end=True), accounts=[("ann", "of ann")]) as address:
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        context.set_default_timeout(60_000)
        tab = context.new_page()
        tab.goto(address)
        tab.get_by_label("username").fill("ann")
        tab.get_by_label("password").fill("of ann")
        tab.get_by_role("button", name="Login").click()
        tab.locator("#editor canvas").first.wait_for()
        upload(tab, tmp_path / "cat.png")
        stroke(tab, settled_frame(tab))
        tab.locator("#fill").click()
        tab.locator("#download:not([disabled])").wait_for()
        context.close()
