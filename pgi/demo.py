"""A web page on which to paint a hole into a photograph and fill it.

The browser's canvas scales and rounds pixels and loses EXIF and palettes. So it shows a copy of the
photograph, only the painted area is read from it, and the uploaded file itself is filled: a
download is the file that `pgi inpaint` would have written.

Neither the page nor its server loads anything from another host.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import skimage
from PIL import Image

from pgi.arrays import UInt8Array
from pgi.errors import PictureError, UserError
from pgi.files.painting import fill_painted
from pgi.files.pictures import read_picture
from pgi.inference import Inpainter

try:
    import gradio as gr
except ImportError as error:
    raise ImportError(
        'pgi demo needs Gradio: pip install -c constraints.txt -e ".[demo]"'
    ) from error

# Longest side of pictures that are shown, in pixels. Downloads have the full size.
_SHOWN = 1024
_PAINT = "#ff2d95"
# The editor keeps the width that it has before the page is laid out, so it is set to this.
_COLUMN = 560
# Longest queue; further visitors are asked to try again.
_WAITING = 16
_CSS = f"""
.gradio-container {{ max-width: 1240px !important; margin: auto; }}
#editor {{ width: min({_COLUMN}px, 100%); }}
/* Square gallery tiles would cut off the captions or leave bars beside the pictures. */
#samples .thumbnail-lg {{ aspect-ratio: 1.2; }}
#levels .thumbnail-lg {{ aspect-ratio: auto; }}
#levels .grid-wrap, #levels .empty {{ min-height: 0; }}
"""


def sample_photographs() -> list[Path]:
    """Sample photographs from scikit-image."""
    # The files themselves: skimage.data returns arrays, and may download.
    folder = Path(skimage.__file__).parent / "data"
    names = ("chelsea.png", "coffee.png", "astronaut.png", "rocket.jpg")
    return [folder / name for name in names if (folder / name).is_file()]


def build(inpainter: Inpainter, samples: Sequence[Path], max_megapixels: float = 64.0) -> gr.Blocks:
    """The page, for `launch`.

    Args:
        inpainter: fills the holes, one at a time.
        samples: photographs to pick from, PNG, JPEG or WebP files.
        max_megapixels: larger photographs are rejected.
    """
    actions = _Actions(inpainter, samples, max_megapixels)
    # Gradio's copies of uploads and results are deleted after a day.
    page = gr.Blocks(analytics_enabled=False, title="pgi", delete_cache=(3600, 86400))
    with page:
        gr.Markdown(
            "# Fill a hole in a photograph\n"
            "Upload or pick a photograph, paint over what is to be replaced, press **Fill**."
        )
        with gr.Row():
            photograph = gr.File(
                label="Your photograph (PNG, JPEG, WebP)",
                file_types=[".png", ".jpg", ".jpeg", ".webp"],
                height=130,
                elem_id="photograph",
            )
            picker = gr.Gallery(
                [str(path) for path in actions.samples],
                label="Sample photographs",
                show_label=False,
                columns=max(len(samples), 1),
                height=130,
                object_fit="cover",
                allow_preview=False,
                interactive=False,
                buttons=[],
                elem_id="samples",
            )
        with gr.Row():
            with gr.Column(min_width=_COLUMN):
                editor = gr.ImageEditor(
                    label="Paint here",
                    placeholder="The photograph will be here",
                    sources=[],
                    transforms=[],
                    layers=False,
                    buttons=[],
                    brush=gr.Brush(colors=[_PAINT], color_mode="fixed"),
                    height=470,
                    elem_id="editor",
                )
                button = gr.Button("Fill", variant="primary", elem_id="fill")
            with gr.Column(min_width=_COLUMN):
                slider = gr.ImageSlider(
                    label="Before and after: drag the line",
                    format="png",
                    interactive=False,
                    buttons=["fullscreen"],
                    height=470,
                    max_height=470,
                    elem_id="slider",
                )
                download = gr.DownloadButton(
                    "Download the result", interactive=False, elem_id="download"
                )
        gr.Markdown("### The levels of the pyramid: structure first, detail next")
        pyramid = gr.Gallery(
            label="Levels",
            show_label=False,
            format="png",
            object_fit="contain",
            columns=3,
            height="auto",
            interactive=False,
            buttons=["fullscreen"],
            elem_id="levels",
        )

        outputs = [slider, download, pyramid]
        picker.select(actions.pick, None, photograph, show_progress="hidden")
        # Emptied first, so that an error does not leave another photograph's result.
        photograph.change(
            lambda: (None, None, gr.DownloadButton(value=None, interactive=False), None),
            None,
            [editor, *outputs],
            show_progress="hidden",
        ).then(actions.show, photograph, editor)
        # The editor's clear button also removes the photograph.
        editor.clear(actions.show, photograph, editor, show_progress="hidden")
        button.click(actions.fill, [photograph, editor], outputs, show_progress_on=slider)
    page.queue(default_concurrency_limit=1, max_size=_WAITING)
    return page


def launch(
    page: gr.Blocks,
    host: str = "127.0.0.1",
    port: int = 7860,
    max_upload_megabytes: float = 64.0,
    block: bool = True,
) -> str:
    """Serves the page.

    Args:
        page: from `build`.
        host: address to listen on; only this machine by default, "0.0.0.0" for all machines.
        port: to listen on.
        max_upload_megabytes: larger files are rejected, with megabytes of 2**20 bytes. At least 8,
            because the limit also applies to the editor's pictures of the painted area.
        block: whether to return only after an interrupt.

    Returns:
        The page's address.

    Raises:
        OSError: the port is taken.
    """
    # The system's fonts: others would be downloaded.
    theme = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"])
    _, address, _ = page.launch(
        server_name=host,
        server_port=port,
        max_file_size=int(max_upload_megabytes * 2**20),
        prevent_thread_lock=True,
        theme=theme,
        css=_CSS,
        footer_links=[],
        run_history=False,
        share=False,
        ssr_mode=False,
        quiet=True,
    )
    if block:
        print(f"The page is at {address} until you press Ctrl-C.", flush=True)
        page.block_thread()
    return address


class _Actions:
    """The page's event handlers, with a temporary folder for its files."""

    def __init__(
        self, inpainter: Inpainter, samples: Sequence[Path], max_megapixels: float
    ) -> None:
        self._inpainter = inpainter
        self._max_megapixels = max_megapixels
        self._folder = tempfile.TemporaryDirectory(prefix="pgi-demo-")
        self._made = Path(self._folder.name) / "made"
        self._made.mkdir()
        # Gradio only serves files from temporary folders.
        self.samples = [Path(shutil.copy(path, self._folder.name)) for path in samples]

    def pick(self, chosen: gr.SelectData) -> str:
        """The path of a sample."""
        return str(self.samples[chosen.index])

    def show(self, path: str | None) -> dict[str, Any] | None:
        """A photograph's copy for the editor."""
        if path is None:
            return None
        with _messages():
            shown = _fitting(read_picture(Path(path).read_bytes(), self._max_megapixels).rgb)
        return {"background": shown, "layers": [], "composite": None}

    def fill(self, path: str | None, painted: dict[str, Any] | None) -> tuple[Any, ...]:
        """Values of the slider, the download button and the levels."""
        with _messages():
            if path is None:
                raise PictureError("there is no photograph yet: upload or pick one")
            content, layers = Path(path).read_bytes(), painted["layers"] if painted else []
            filled = fill_painted(self._inpainter, content, layers, self._max_megapixels)
        if filled.warning:
            gr.Warning(filled.warning)
        for old in self._made.iterdir():  # Requests run one at a time; Gradio has copied the last.
            old.unlink()
        file = self._made / f"{Path(path).stem}_filled.png"
        file.write_bytes(filled.content)
        before = np.where(filled.hole[..., None], np.uint8(255), filled.before)
        return (
            (_fitting(before), _fitting(filled.levels[-1])),
            gr.DownloadButton(value=str(file), interactive=True),
            gr.Gallery(_captioned(filled.levels), columns=len(filled.levels)),
        )


@contextmanager
def _messages() -> Iterator[None]:
    """Shows errors as messages on the page."""
    try:
        yield
    except UserError as error:
        raise gr.Error(_sentence(str(error)), print_exception=False) from error
    except Exception as error:  # Such as a photograph that is too large for the memory.
        raise gr.Error(_sentence(f"{type(error).__name__}: {error}")) from error


def _sentence(text: str) -> str:
    line = next((line for line in text.splitlines() if line.strip()), "unknown error")
    return f"{line[0].upper()}{line[1:]}."


def _fitting(rgb: UInt8Array) -> UInt8Array:
    """Reduced to at most `_SHOWN` pixels per side."""
    image = Image.fromarray(rgb)
    image.thumbnail((_SHOWN, _SHOWN))
    return np.asarray(image)


def _captioned(levels: Sequence[UInt8Array]) -> list[tuple[UInt8Array, str]]:
    """The levels in the size of the result, with visible pixels, and their captions."""
    height, width = _fitting(levels[-1]).shape[:2]
    pairs = []
    for number, level in enumerate(levels):
        nearest = level.shape[1] < width
        method = Image.Resampling.NEAREST if nearest else Image.Resampling.LANCZOS
        image = np.asarray(Image.fromarray(level).resize((width, height), method))
        caption = f"Level {number}, {level.shape[1]} px wide"
        if len(levels) > 1 and number in (0, len(levels) - 1):
            caption += ": detail" if number else ": structure"
        pairs.append((image, caption))
    return pairs
