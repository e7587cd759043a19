"""Folder of pictures: the truth and what each method made of every crop.

    FOLDER/truth/div2k_512_1a2b3c4d/center/0000.png
    FOLDER/METHOD/div2k_512_1a2b3c4d/center/0000.png    completed images
    FOLDER/written.json                                 what they are of

A completed image has the truth's known pixels. `written.json` has the hashes of checkpoint, crops
and masks, so that pictures of others are replaced.
`pgi.evaluation.methods.Outputs` reads `FOLDER/METHOD`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pgi.arrays import UInt8Array
from pgi.atomic import write_atomically
from pgi.errors import RuleError
from pgi.evaluation.methods import Method
from pgi.evaluation.results import identity
from pgi.evaluation.tasks import TRUTH, Task, write_png

FILE = "written.json"


class ResultsFolder:
    """Such a folder; pictures that it has already are not written again.

    Args:
        folder: new, empty or written by an earlier evaluation.

    Raises:
        RuleError: its `written.json` cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._file = folder, folder / FILE
        self._written: dict[str, Any] = {}
        if self._file.exists():
            try:
                self._written = dict(json.loads(self._file.read_bytes()))
            except (ValueError, TypeError) as error:
                raise RuleError(f"{self._file} is damaged: {error}. Remove {folder}") from error

    def begin(self, method: Method, compared: Iterable[Task]) -> None:
        """Removes what these tasks have of another truth, and the method's of another checkpoint.

        Raises:
            RuleError: there are pictures that no evaluation has written.
        """
        for task in compared:
            crops = task.crops.listed
            truth = {"crops": crops.sha256, "pixels": crops.pixels_sha256}
            self._remove_others(task.place, truth)
            made = {**identity(method.kind, method.run), "seed": method.seed}
            made |= {"masks": task.masks_sha256, "files": method.fingerprint(task.place)}
            for name, of in ((TRUTH, truth), (method.name, truth | made)):
                place, now = f"{name}/{task.place}", json.loads(json.dumps(of))
                path, before = self._folder / place, self._written.get(place)
                if before is None and path.exists():
                    rule = "new or written by an earlier evaluation"
                    raise RuleError(f"{path} must be {rule}, but {self._file} does not list it")
                if before != now and path.exists():
                    shutil.rmtree(path)
                self._written[place] = now
        self._folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self._file, json.dumps(self._written, indent=1).encode() + b"\n")

    def _remove_others(self, task_place: str, truth: Mapping[str, str]) -> None:
        """Removes every method's pictures of other crops or pixels in a task."""
        for place, of in list(self._written.items()):
            if place.endswith(f"/{task_place}") and {key: of[key] for key in truth} != truth:
                shutil.rmtree(self._folder / place, ignore_errors=True)
                del self._written[place]

    def has(self, method: Method, task: Task, n: int) -> bool:
        """Whether a crop's truth and the method's result are there."""
        return all(path.exists() for path in self._paths(method, task, n))

    def write(self, method: Method, task: Task, n: int, filled: UInt8Array) -> None:
        """Writes a crop's truth and the method's result, each whole or not at all."""
        truth, result = self._paths(method, task, n)
        image = task.crops.image(n)
        write_png(result, np.where(task.hole(n)[..., np.newaxis], filled, image))
        if not truth.exists():
            write_png(truth, image)

    def _paths(self, method: Method, task: Task, n: int) -> tuple[Path, Path]:
        file = f"{task.place}/{task.crops.name(n)}.png"
        return self._folder / TRUTH / file, self._folder / method.name / file
