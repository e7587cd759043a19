"""Loading weights of DeepFillv2's published implementation, by the names of its variables.

DeepFillv2: "Free-Form Image Inpainting with Gated Convolution", https://arxiv.org/abs/1806.03589.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from absl import logging
from tensorflow import keras

from pgi.arrays import FloatArray
from pgi.config import ModelConfig
from pgi.errors import RuleError, RunFolderError
from pgi.models import Discriminator, PyramidGenerator, SubGenerator
from pgi.rules import check, check_choice
from pgi.training.run_folder import Checkpoint

# DeepFillv2's name -> array, or the path of a TensorFlow 1 checkpoint.
Variables = Mapping[str, FloatArray] | str | Path

# Side in pixels of the images that DeepFillv2 is trained with (section 4.1).
SIDE = 256
# Order of the colours of a checkpoint that is named as PREFIX:PATH.
_CHANNEL_ORDERS = {"deepfillv2": "bgr", "deepfillv2_rgb": "rgb"}
# The most names of one kind in a message.
_LISTED = 10
# Layers whose input, or whose output, has an image's three colours.
_IMAGE_INPUTS = ("conv1", "xconv1", "pmconv1")
_IMAGE_OUTPUTS = ("conv17", "allconv17")


def split_source(source: str) -> tuple[str, str] | None:
    """Path and `channel_order` of a checkpoint's name; None if it does not name one.

    Args:
        source: "deepfillv2:PATH" for weights that were trained on BGR images, as DeepFillv2's own
            program trains them, or "deepfillv2_rgb:PATH".

    Raises:
        RuleError: there is no path behind the colon.
    """
    prefix, colon, path = source.partition(":")
    if not colon or prefix not in _CHANNEL_ORDERS:
        return None
    check(f"{prefix}:", "followed by a path", bool(path), source)
    return path, _CHANNEL_ORDERS[prefix]


def find_checkpoint(path: str | Path) -> Checkpoint:
    """The TensorFlow 1 checkpoint that a path names.

    Args:
        path: what the names of its files begin with, such as `release/snap-0`; one of its files; or
            a folder, for the newest by TensorFlow's own note or else the only one.

    Raises:
        RunFolderError: there is none, or a folder holds several and no note.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        newest = tf.train.latest_checkpoint(str(path))
        # A note from elsewhere may name any place.
        here = newest and os.path.samefile(Path(newest).parent, path)
        prefixes = [newest] if here else sorted(str(x)[:-6] for x in path.glob("*.index"))
        if len(prefixes) != 1:
            names = ", ".join(Path(x).name for x in prefixes) or "none"
            raise RunFolderError(
                f"{path} must hold one TensorFlow checkpoint (snap-0.index and snap-0.data-*), got "
                f"{names}; name one, as {path / 'snap-0'}"
            )
        return Checkpoint(Path(prefixes[0]))
    prefix = path.with_name(re.sub(r"\.(index|meta|data-\d+-of-\d+)$", "", path.name))
    if not prefix.with_name(f"{prefix.name}.index").is_file():
        raise RunFolderError(f"{prefix} is not a TensorFlow checkpoint: {prefix}.index is missing")
    return Checkpoint(prefix)


def model_config(checkpoint: Checkpoint) -> ModelConfig:
    """DeepFillv2 as a pyramid of one level, of a checkpoint's width.

    Raises:
        RunFolderError: the checkpoint is damaged.
    """
    shapes, _ = _open(checkpoint.prefix)
    first = shapes.get("inpaint_net/conv1/kernel", ())
    # Of a checkpoint of something else, `load` says what it lacks of the usual network.
    width = first[-1] if len(first) == 4 and first[-1] % 4 == 0 else 48
    return ModelConfig((SIDE,), width, dilation="standard", fusion="none")


def load(checkpoint: Checkpoint, channel_order: str = "bgr") -> PyramidGenerator:
    """A TensorFlow 1 checkpoint's generator, as `model_config` describes it.

    There is no discriminator, since not every checkpoint has one.

    Args:
        checkpoint: see `find_checkpoint`.
        channel_order: of the images that it was trained with; "bgr" is converted.

    Raises:
        RuleError: a variable of the generator is missing, has another shape, or belongs to a layer
            that DeepFillv2 does not have.
        RunFolderError: the checkpoint is damaged.
    """
    arguments = dataclasses.asdict(model_config(checkpoint)) | {"discriminator_width": None}
    model = PyramidGenerator(**arguments)
    model.build_networks()
    (generator,) = model.sub_generators
    assign_generator(generator, checkpoint.prefix, channel_order=channel_order, strict=True)
    return model


def assign_generator(
    sub_generator: SubGenerator,
    variables: Variables,
    *,
    channel_order: str = "rgb",
    strict: bool = False,
) -> None:
    """Loads a generator's weights into a sub-generator.

    Args:
        sub_generator: of any width and number of dilated convolutions; built here if necessary.
        variables: see `Variables`. What is not a generator's is ignored, and so are an optimiser's
            values of a weight, such as "inpaint_net/conv1/kernel/Adam".
        channel_order: "rgb", or "bgr" to convert weights that were trained on BGR images, as the
            published ones were.
        strict: whether weights of layers that the sub-generator lacks are an error; otherwise they
            are ignored with a warning.

    Raises:
        RuleError: a variable is missing, has another shape, or has no place under `strict`; nothing
            is assigned. Or `channel_order` is invalid.
        RunFolderError: the checkpoint is damaged.
    """
    check_choice("channel_order", ("rgb", "bgr"), channel_order)
    targets = generator_variables(sub_generator)
    arrays = _read(variables, targets, "inpaint_net/", strict)
    _assign(targets, _as_rgb(arrays, channel_order))


def assign_discriminator(
    discriminator: Discriminator, variables: Variables, *, channel_order: str = "rgb"
) -> None:
    """Loads a discriminator's weights, including the vectors of its power iterations.

    Args:
        discriminator: built here if necessary.
        variables: see `Variables`. Names of layers that the discriminator lacks are ignored, with a
            warning if they are a discriminator's.
        channel_order: as for `assign_generator`.

    Raises:
        RuleError: a variable is missing or has another shape; nothing is assigned. Or
            `channel_order` is invalid.
        RunFolderError: the checkpoint is damaged.
    """
    check_choice("channel_order", ("rgb", "bgr"), channel_order)
    targets = discriminator_variables(discriminator)
    arrays = _read(variables, targets, "discriminator/", strict=False)
    _assign(targets, _as_rgb(arrays, channel_order))


def generator_variables(sub_generator: SubGenerator) -> dict[str, tf.Variable]:
    """DeepFillv2's name -> variable of a sub-generator, which is built here if necessary."""
    if not sub_generator.built:
        sub_generator(tf.zeros([1, 8, 8, 3]), tf.zeros([1, 8, 8, 1]))
    variables = {}
    for layer in _convolutions(sub_generator):
        scope = f"inpaint_net/{layer.name}"
        if layer.name.endswith("_upsample"):
            scope += f"/{layer.name}_conv"
        variables[f"{scope}/kernel"] = layer.kernel
        variables[f"{scope}/bias"] = layer.bias
    return variables


def discriminator_variables(discriminator: Discriminator) -> dict[str, tf.Variable]:
    """DeepFillv2's name -> variable of a discriminator, which is built here if necessary."""
    if not discriminator.built:
        discriminator(tf.zeros([1, 64, 64, 4]))
    variables = {}
    for layer in _convolutions(discriminator):
        scope = f"discriminator/sn_patch_gan/{layer.name}"
        variables[f"{scope}/kernel"] = layer.kernel
        variables[f"{scope}/bias"] = layer.bias
        variables[f"{scope}/kernel_sn/u"] = layer.u
    return variables


def _convolutions(network: keras.layers.Layer) -> list[keras.layers.Conv2D]:
    modules = network.submodules
    return [layer for layer in modules if isinstance(layer, keras.layers.Conv2D)]


def _open(
    variables: Variables,
) -> tuple[dict[str, tuple[int, ...]], Callable[[str], FloatArray]]:
    """Shapes by name, and what reads an array by name."""
    if not isinstance(variables, (str, Path)):
        return {name: np.shape(array) for name, array in variables.items()}, variables.__getitem__
    try:
        reader = tf.train.load_checkpoint(str(variables))
        found = reader.get_variable_to_shape_map()
    except Exception as error:  # TensorFlow has another exception for each kind of damage.
        raise _damaged(variables, error) from error
    return {name: tuple(shape) for name, shape in found.items()}, reader.get_tensor


def _damaged(checkpoint: str | Path, error: Exception) -> RunFolderError:
    return RunFolderError(f"{checkpoint} is damaged: {error}")


def _read(
    variables: Variables, targets: Mapping[str, tf.Variable], scope: str, strict: bool
) -> dict[str, FloatArray]:
    shapes, get = _open(variables)
    missing = sorted(set(targets) - set(shapes))
    differing = [
        f"{name} must have shape {tuple(variable.shape)}, got {shapes[name]}"
        for name, variable in targets.items()
        if name in shapes and shapes[name] != tuple(variable.shape)
    ]
    # Below a weight's own name are an optimiser's values of it.
    spare = sorted(
        name
        for name in set(shapes) - set(targets)
        if name.startswith(scope) and name.rpartition("/")[0] not in shapes
    )
    faults = [f"missing: {_listed(missing)}"] if missing else []
    faults += [_listed(differing)] if differing else []
    faults += [f"without a place in the network: {_listed(spare)}"] if spare and strict else []
    if faults:
        named = variables if isinstance(variables, (str, Path)) else "variables"
        raise RuleError(f"{named} must hold the network's weights; {'; '.join(faults)}")
    if spare:
        logging.warning("ignored, the network has no such layer: %s", ", ".join(spare))
    try:
        return {name: np.asarray(get(name)) for name in targets}
    except Exception as error:  # As above: the index is whole, the data are not.
        if isinstance(variables, (str, Path)):
            raise _damaged(variables, error) from error
        raise


def _listed(items: Sequence[str]) -> str:
    more = len(items) - _LISTED
    return ", ".join(items[:_LISTED]) + (f" and {more} more" if more > 0 else "")


def _as_rgb(arrays: Mapping[str, FloatArray], channel_order: str) -> dict[str, FloatArray]:
    if channel_order == "rgb":
        return dict(arrays)
    return {name: _swap_red_and_blue(name, array) for name, array in arrays.items()}


def _swap_red_and_blue(name: str, array: FloatArray) -> FloatArray:
    layer, kind = name.split("/")[-2:]
    if layer in _IMAGE_OUTPUTS:
        return array[..., ::-1]
    if layer in _IMAGE_INPUTS and kind == "kernel":
        return np.concatenate([array[:, :, 2::-1], array[:, :, 3:]], axis=2)
    return array


def _assign(targets: Mapping[str, tf.Variable], arrays: Mapping[str, FloatArray]) -> None:
    for name, variable in targets.items():
        variable.assign(arrays[name])
