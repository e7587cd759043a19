"""A model's weights in one file of arrays, `weights.npz`, to be passed on without the training.

    model_config          the networks, as JSON
    level_0/conv1/kernel  a weight of the lowest level's sub-generator, float16; DeepFillv2's names

It is a NumPy archive (.npz) without compression and without Python objects. Beside it lies
`config.json`, as of a run folder, with the file's SHA-256 and its origin under "weights".
`pgi.export.weights_folder` writes both.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from pgi import deepfillv2, weights
from pgi.arrays import AnyArray
from pgi.config import ModelConfig, differences, from_dict
from pgi.errors import RunFolderError
from pgi.models import PyramidGenerator
from pgi.training.run_folder import Checkpoint, RunFolder

_CONFIG = "model_config"


def find(model: str | Path | None) -> Checkpoint:
    """The checkpoint or weights file of a model.

    Args:
        model: a run folder, for its newest checkpoint; a checkpoint; a folder with a weights file,
            or that file; a name or None, as for `pgi.weights.located`.

    Raises:
        RunFolderError: there is none.
    """
    path = weights.located(model)
    file = path / weights.FILE if path.is_dir() else path
    if file.name == weights.FILE and file.is_file():
        return WeightsFile(file)
    return Checkpoint.find(path)


class WeightsFile(Checkpoint):
    """A weights file as the only checkpoint of its folder.

    Args:
        prefix: its path.
    """

    @property
    def run(self) -> RunFolder:
        """Its folder."""
        return RunFolder(self.prefix.parent)

    @property
    def files(self) -> list[Path]:
        """The file alone."""
        return [self.prefix]

    @property
    def sha256(self) -> str:
        """SHA-256 of the file's content."""
        return hashlib.sha256(self.prefix.read_bytes()).hexdigest()

    @property
    def step(self) -> int | None:
        """Steps of the training that the weights are from; errors as of `origin`."""
        step = self.origin.get("step")
        return step if isinstance(step, int) else None

    @property
    def origin(self) -> dict[str, Any]:
        """What config.json says under "weights": where they are from.

        Raises:
            RunFolderError: it says nothing, or cannot be read.
        """
        found = self.run.read_description().get("weights")
        if not isinstance(found, dict):
            raise RunFolderError(f"{self.run.path / 'config.json'} must describe {self.prefix}")
        return found

    def describe(self) -> str:
        """Which weights these are, for messages."""
        folder = Path(self.prefix.absolute()).parent
        shipped = folder.parent == weights.FOLDER
        name = f"{folder.name}, which ships with pgi" if shipped else str(self)
        return (
            f"{name}: step {self.step}{', moving average' if self.origin.get('averaged') else ''}"
        )

    def assign_to(self, model: PyramidGenerator) -> None:
        """Loads the weights into a model that was built after the folder's config.

        Raises:
            RunFolderError: the file is not the one that config.json describes, cannot be read, or
                does not fit that config.
        """
        content = self.prefix.read_bytes()
        found, expected = hashlib.sha256(content).hexdigest(), self.origin.get("sha256")
        if found != expected:
            raise RunFolderError(
                f"{self} is damaged or not the file that config.json beside it describes: its "
                f"SHA-256 is {found}, not {expected}"
            )
        variables = _variables(model)
        try:
            theirs, arrays = _read(content, set(variables))
        except Exception as error:  # An archive that was damaged before its hash was taken.
            raise RunFolderError(f"{self} cannot be read: {error}") from error
        ours = dataclasses.asdict(self.run.read_config().model)
        faults = differences(theirs, ours, "model.")
        faults += [
            f"{name}: {arrays[name].shape if name in arrays else 'missing'}, not {variable.shape}"
            for name, variable in variables.items()
            if name not in arrays or arrays[name].shape != tuple(variable.shape)
        ]
        if faults:
            raise RunFolderError(
                f"{self} does not fit config.json beside it (the file's values first): "
                + deepfillv2.listed(faults)
            )
        for name, variable in variables.items():
            variable.assign(arrays[name].astype(np.float32))


def to_bytes(model: PyramidGenerator, config: ModelConfig) -> bytes:
    """A weights file's content, the same for the same weights.

    Args:
        model: its sub-generators' weights are stored as float16.
        config: of the model.
    """
    arrays = {name: variable.numpy() for name, variable in _variables(model).items()}
    stored = {name: array.astype(np.float16) for name, array in arrays.items()}
    file = io.BytesIO()
    np.savez(file, **{_CONFIG: json.dumps(dataclasses.asdict(config))}, **stored)
    return file.getvalue()


def _variables(model: PyramidGenerator) -> dict[str, tf.Variable]:
    return {
        name.replace("inpaint_net", f"level_{level}", 1): variable
        for level, network in enumerate(model.sub_generators)
        for name, variable in deepfillv2.generator_variables(network).items()
    }


def _read(content: bytes, names: set[str]) -> tuple[dict[str, Any], dict[str, AnyArray]]:
    """The model's config, and those of the named arrays that are there.

    The file may come from a stranger: nothing is unpacked, so nothing is larger than the file, and
    no Python object is made.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if any(x.compress_type != zipfile.ZIP_STORED for x in archive.infolist()):
            raise ValueError("it is compressed")
    with np.load(io.BytesIO(content), allow_pickle=False) as stored:
        config = from_dict(json.loads(str(stored[_CONFIG])), ModelConfig)
        arrays = {name: stored[name] for name in names & set(stored.files)}
    if wrong := sorted(name for name, array in arrays.items() if array.dtype.kind != "f"):
        raise ValueError(f"no floating-point numbers: {deepfillv2.listed(wrong)}")
    return dataclasses.asdict(config), arrays
