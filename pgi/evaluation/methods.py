"""Methods that fill holes: trained pyramids, classical baselines, folders of others' results."""

from __future__ import annotations

import abc
import hashlib
import json
import os
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pgi import deepfillv2
from pgi.arrays import BoolArray, UInt8Array
from pgi.config import ModelConfig, to_dict
from pgi.errors import RuleError
from pgi.inference import PyramidInpainter, load_checkpoint
from pgi.opencv import cv2
from pgi.rules import check
from pgi.training.decoding import read_image
from pgi.training.run_folder import RunFolder
from pgi.training.weights_file import find


class Case(NamedTuple):
    """An image to fill.

    Attributes:
        place: folder of its crop list and mask set, such as "div2k_512_1a2b3c4d/center".
        name: of the crop.
        image: `[H, W, 3]` uint8; pixels under the hole are ignored.
        hole: `[H, W]` bool.
    """

    place: str
    name: str
    image: UInt8Array
    hole: BoolArray


class Method(abc.ABC):
    """A way to fill holes.

    Attributes:
        name: short, of letters, digits and "_".
        title: its name in tables and pictures.
        kind: as in `pgi.evaluation.results.Evaluation`.
        seed: of its training.
        run: its origin, as in `pgi.evaluation.results.Evaluation`.
        diverged: step and reason, if its training diverged: it cannot fill then.
    """

    kind: str
    seed = 0
    run: Mapping[str, Any] = {}
    diverged: Mapping[str, Any] | None = None

    def __init__(self, name: str, title: str) -> None:
        self.name, self.title = name, title

    @abc.abstractmethod
    def fill(self, case: Case) -> UInt8Array:
        """The image with the hole filled, `[H, W, 3]` uint8."""

    def levels(self, case: Case) -> list[UInt8Array]:
        """Each level's completed image, coarsest first; empty for methods without levels."""
        return []

    def raw(self, case: Case) -> UInt8Array:
        """The network's output before known pixels are pasted, for the protocol "raw"."""
        return self.fill(case)

    def covers(self, place: str, names: Iterable[str] = ()) -> bool:
        """Whether the method has results for these masks, and then for all crops of these names.

        Raises:
            RuleError: it has results, but none or several of one crop.
        """
        return True

    def fingerprint(self, place: str) -> str:
        """A text that changes with the method's results, where `run` does not tell them apart."""
        return ""


class _Network(Method):
    """A pyramid generator with weights.

    Attributes:
        side: of the highest level's training images in pixels.
    """

    side: int
    _inpainter: PyramidInpainter

    def fill(self, case: Case) -> UInt8Array:
        return self._inpainter(case.image, case.hole)

    def levels(self, case: Case) -> list[UInt8Array]:
        return self._inpainter.completed_levels(case.image, case.hole)

    def raw(self, case: Case) -> UInt8Array:
        return self._inpainter.raw(case.image, case.hole)


class Trained(_Network):
    """The newest checkpoint of a run folder, its imported weights, or a folder's weights file.

    Args:
        folder: of the run.
        name: default: the config's.
        title: default: the name.

    Raises:
        RunFolderError: it is no run folder, or holds no checkpoint and did not diverge.
    """

    kind = "trained"

    def __init__(self, folder: Path, name: str | None = None, title: str | None = None) -> None:
        run = RunFolder(folder)
        config = run.read_config()
        super().__init__(name or config.name, title or name or config.name)
        self.seed = config.train.seed
        self.dataset, self.crop = config.data.dataset, config.data.crop
        self.side = config.model.levels[-1]
        origin: dict[str, Any] = {"folder": "/".join(folder.parts[-2:])}
        if imported := run.imported():
            self.kind = DeepFillv2.kind
            origin["config"] = _of_deepfillv2(config.model, str(imported.get("channel_order")))
        else:
            origin["git_commit"] = run.read_description().get("git_commit")
            # As it is read from JSON again, with lists for tuples.
            origin["config"] = json.loads(json.dumps(to_dict(config)))
        self.run = origin
        self.diverged = run.read_divergence()
        if self.diverged:
            return
        checkpoint = find(folder)
        origin |= {"checkpoint": checkpoint.name, "sha256": checkpoint.sha256}
        self._inpainter = load_checkpoint(checkpoint)
        if self._inpainter.warning:
            warnings.warn(self._inpainter.warning, stacklevel=2)


class DeepFillv2(_Network):
    """A checkpoint of DeepFillv2's own TensorFlow 1 program.

    Args:
        path: see `pgi.deepfillv2.find_checkpoint`.
        channel_order: of the images that it was trained with, "bgr" or "rgb".
        name: default: "deepfillv2_tf1", since "deepfillv2" is a variant that this project trains.

    Raises:
        RunFolderError: there is no checkpoint, or it is damaged.
        RuleError: its variables are not those of DeepFillv2's generator.
    """

    kind = "deepfillv2"
    side = deepfillv2.SIDE

    def __init__(
        self, path: str | Path, channel_order: str = "bgr", name: str | None = None
    ) -> None:
        super().__init__(name or "deepfillv2_tf1", name or "DeepFillv2 (TensorFlow 1 weights)")
        checkpoint = deepfillv2.find_checkpoint(path)
        config = deepfillv2.model_config(checkpoint)
        model = deepfillv2.load(checkpoint, channel_order)
        self._inpainter = PyramidInpainter(model, str(checkpoint))
        self.run = {
            "folder": "/".join(checkpoint.prefix.parent.parts[-2:]),
            "checkpoint": checkpoint.name,
            "sha256": checkpoint.sha256,
            "config": _of_deepfillv2(config, channel_order),
        }


def _of_deepfillv2(model: ModelConfig, channel_order: str) -> dict[str, Any]:
    """What is known of weights of DeepFillv2's own program, for `Evaluation.run`."""
    return {
        "name": f"DeepFillv2, trained on {channel_order.upper()} images",
        "channel_order": channel_order,
        "model": {
            "levels": list(model.levels),
            "width": model.width,
            "dilation": model.dilation,
            "fusion": model.fusion,
        },
    }


class _OpenCV(Method):
    kind = "classical"
    # In pixels, as in OpenCV's examples.
    _RADIUS = 3

    def __init__(self, name: str, title: str, algorithm: int) -> None:
        super().__init__(name, title)
        self._algorithm = algorithm

    def fill(self, case: Case) -> UInt8Array:
        hole = case.hole.astype(np.uint8)
        filled = cv2.inpaint(case.image, hole, self._RADIUS, self._algorithm)
        return np.asarray(filled, np.uint8)


class _MeanColour(Method):
    kind = "classical"

    def fill(self, case: Case) -> UInt8Array:
        mean = case.image[~case.hole].mean(axis=0).round().astype(np.uint8)
        return np.where(case.hole[..., np.newaxis], mean, case.image)


class Outputs(Method):
    """A folder of another program's results, matched by name.

    Args:
        name: of the method.
        folder: has an image per case, `div2k_512_1a2b3c4d/center/0000.png`, named as by
            `pgi.evaluation.tasks.dump_inputs`, with any suffix.

    Raises:
        RuleError: the folder is missing; in `covers`, a crop has no result or more than one; in
            `fill`, it is unreadable or of another size.
    """

    kind = "outputs"

    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(name, name)
        check(f"results of {name}", "in a folder", folder.is_dir(), str(folder))
        self._folder = folder
        self.run = {"folder": folder.name}

    def fill(self, case: Case) -> UInt8Array:
        stem = self._folder / case.place / case.name
        path = next(stem.parent.glob(f"{case.name}.*"), stem)
        try:
            result = read_image(path)
        except OSError as error:
            raise RuleError(f"{path} must be readable: {error}") from error
        size, own = case.image.shape[:2], result.shape[:2]
        check(str(path), f"of the crop's size {size}", own == size, own)
        return result

    def covers(self, place: str, names: Iterable[str] = ()) -> bool:
        folder = self._folder / place
        if not folder.is_dir():
            return False
        counts = Counter(name.partition(".")[0] for name in os.listdir(folder))
        for name in names:
            rule = f"one image {folder / name}.*"
            check(f"results of {self.name}", rule, counts[name] == 1, counts[name])
        return True

    def fingerprint(self, place: str) -> str:
        with os.scandir(self._folder / place) as files:
            found = [(x.name, x.stat().st_size, x.stat().st_mtime_ns) for x in files]
        return hashlib.sha256(repr(sorted(found)).encode()).hexdigest()


def classical() -> list[Method]:
    """Baselines without training: OpenCV's two, and the mean colour of the known pixels."""
    return [
        _OpenCV("telea", "Telea", cv2.INPAINT_TELEA),
        _OpenCV("navier_stokes", "Navier-Stokes", cv2.INPAINT_NS),
        _MeanColour("mean_colour", "mean colour"),
    ]
