"""What the page's buttons do.

Gradio gives these functions what the browser sent, which may be anything: paths of uploads, whose
pixels are only read here, after their size is known.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from pgi.arrays import UInt8Array
from pgi.demo.storage import Storage
from pgi.errors import PictureError, UserError
from pgi.files.painting import Filled, fill_painted
from pgi.files.pictures import read_layer, read_picture
from pgi.inference import Inpainter

# Longest side of pictures that are shown, in pixels. Downloads have the full size.
SHOWN = 1024
# The page's editor has one layer, of the size of the picture that it shows.
_LAYERS = 1
_LAYER_MEGAPIXELS = SHOWN**2 / 1e6


@dataclass(frozen=True)
class Result:
    """A filled photograph, as files.

    Args:
        photograph: path of the upload that was filled.
        before: path of the photograph with a white hole, reduced.
        after: path of the filled photograph, reduced.
        levels: paths and captions of the levels, coarsest first.
        download: path of the filled photograph.
    """

    photograph: str
    before: str
    after: str
    levels: list[tuple[str, str]]
    download: str


class Actions:
    """The page's event handlers.

    Files come as Gradio's dicts, of which only "path" is used.

    Args:
        inpainter: fills the holes, one at a time.
        samples: photographs to pick from, PNG, JPEG or WebP files.
        storage: has uploads and results.
        max_megapixels: larger photographs are rejected.

    Attributes:
        samples: their copies in the storage.
    """

    def __init__(
        self,
        inpainter: Inpainter,
        samples: Sequence[Path],
        storage: Storage,
        max_megapixels: float,
    ) -> None:
        self._inpainter = inpainter
        self._storage = storage
        self._max_megapixels = max_megapixels
        self._one_at_a_time = threading.Lock()
        self.samples = storage.add_samples(samples)

    def pick(self, chosen: gr.SelectData) -> str:
        """The path of a sample."""
        return str(self.samples[chosen.index])

    def show(self, photograph: dict[str, Any] | None) -> dict[str, Any] | None:
        """A photograph's copy for the editor."""
        if photograph is None:
            return None
        with _messages():
            picture = read_picture(_content(photograph), self._max_megapixels)
            (shown,) = self._storage.save({"photograph.png": _png(_fitting(picture.rgb))})
        return {"background": shown, "layers": [], "composite": None}

    def fill(self, photograph: dict[str, Any] | None, painted: dict[str, Any] | None) -> Result:
        """Fills what is painted."""
        with _messages():
            if photograph is None:
                raise PictureError("there is no photograph yet: upload or pick one")
            layers = painted["layers"] if painted else []
            if len(layers) > _LAYERS:
                raise PictureError(f"must have at most {_LAYERS} layer of paint, got {len(layers)}")
            paint = [read_layer(_content(layer), _LAYER_MEGAPIXELS) for layer in layers]
            content = _content(photograph)
            with self._one_at_a_time:
                filled = fill_painted(self._inpainter, content, paint, self._max_megapixels)
            result = self._saved(photograph["path"], filled)
        if filled.warning:
            gr.Warning(filled.warning)
        return result

    def reveal(self, photograph: dict[str, Any] | None, result: Result | None) -> tuple[Any, ...]:
        """Values of the result's state, the slider, the download button and the levels.

        They stay as they are if meanwhile another photograph was picked.
        """
        if result is None:  # Gradio keeps a bounded number of visitors' states.
            raise gr.Error("The result is no longer kept: press Fill again.", print_exception=False)
        if photograph is None or photograph["path"] != result.photograph:
            gr.Info("The result was of another photograph than the one that is here now.")
            return (None, *[gr.skip()] * 3)
        return (
            None,
            (result.before, result.after),
            gr.DownloadButton(value=result.download, interactive=True),
            gr.Gallery(result.levels, columns=len(result.levels)),
        )

    def _saved(self, photograph: str, filled: Filled) -> Result:
        before = np.where(filled.hole[..., None], np.uint8(255), filled.before)
        pictures, captions = zip(*_captioned(filled.levels))
        contents = {
            f"{Path(photograph).stem}_filled.png": filled.content,
            "before.png": _png(_fitting(before)),
            "after.png": _png(_fitting(filled.levels[-1])),
            **{f"level_{number}.png": _png(picture) for number, picture in enumerate(pictures)},
        }
        download, before_path, after_path, *levels = self._storage.save(contents)
        return Result(photograph, before_path, after_path, list(zip(levels, captions)), download)


@contextmanager
def _messages() -> Iterator[None]:
    """Shows errors as messages on the page."""
    try:
        yield
    except UserError as error:
        raise gr.Error(_sentence(str(error)), print_exception=False) from error
    except Exception as error:  # Such as a photograph that is too large for the memory.
        # Its text may name this machine's files, which is nothing for visitors.
        raise gr.Error(
            f"This failed ({type(error).__name__}). The page's terminal shows the reason."
        ) from error


def _sentence(text: str) -> str:
    line = next((line for line in text.splitlines() if line.strip()), "unknown error")
    return f"{line[0].upper()}{line[1:]}."


def _content(file: dict[str, Any]) -> bytes:
    try:
        return Path(file["path"]).read_bytes()
    except FileNotFoundError as error:
        raise PictureError("this upload is no longer kept: upload the photograph again") from error


def _png(rgb: UInt8Array) -> bytes:
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "PNG")
    return file.getvalue()


def _fitting(rgb: UInt8Array) -> UInt8Array:
    """Reduced to at most `SHOWN` pixels per side."""
    image = Image.fromarray(rgb)
    image.thumbnail((SHOWN, SHOWN))
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
