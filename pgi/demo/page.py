"""The page's layout, and which event calls which function.

The browser's canvas scales and rounds pixels and loses EXIF and palettes. So it shows a copy of the
photograph, only the painted area is read from it, and the uploaded file itself is filled: a
download is the file that `pgi inpaint` would have written.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
import skimage

from pgi.demo.actions import Actions

# Names of the queues. Events of one queue run one at a time, in the order in which they came.
FILLING = "filling"
_SHOWING = "showing"
_PAINT = "#ff2d95"
# The editor keeps the width that it has before the page is laid out, so it is set to this.
_COLUMN = 560
CSS = f"""
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


def build(actions: Actions, delete_cache: tuple[int, int], max_waiting: int) -> gr.Blocks:
    """The page.

    Args:
        actions: called by its events.
        delete_cache: how often Gradio deletes files, and of which age, in seconds.
        max_waiting: longest queue, of all events together.
    """
    page = gr.Blocks(analytics_enabled=False, title="pgi", delete_cache=delete_cache)
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
                columns=max(len(actions.samples), 1),
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
        _connect(actions, photograph, picker, editor, button, slider, download, pyramid)
    page.queue(default_concurrency_limit=1, max_size=max_waiting, api_open=False)
    return page


def _connect(
    actions: Actions,
    photograph: gr.File,
    picker: gr.Gallery,
    editor: gr.ImageEditor,
    button: gr.Button,
    slider: gr.ImageSlider,
    download: gr.DownloadButton,
    pyramid: gr.Gallery,
) -> None:
    # Gradio's own `preprocess` would decode pictures of any size.
    given: dict[str, Any] = {"preprocess": False, "api_visibility": "private"}
    light = {**given, "concurrency_id": _SHOWING}
    hidden = {**light, "show_progress": "hidden"}
    outputs = [slider, download, pyramid]
    picker.select(actions.pick, None, photograph, **hidden)
    # Emptied first, so that an error does not leave another photograph's result.
    photograph.change(
        lambda: (None, None, gr.DownloadButton(value=None, interactive=False), None),
        None,
        [editor, *outputs],
        **hidden,
    ).then(actions.show, photograph, editor, **light)
    # The editor's clear button also removes the photograph.
    editor.clear(actions.show, photograph, editor, **hidden)
    # In two events: the second one sees which photograph is there when the result is.
    result = gr.State()
    button.click(
        actions.fill,
        [photograph, editor],
        result,
        concurrency_id=FILLING,
        show_progress_on=slider,
        **given,
    ).success(actions.reveal, [photograph, result], [result, *outputs], **hidden)
