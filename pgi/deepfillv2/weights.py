"""DeepFillv2's weights by name: which variables a network has, and assigning them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf
from absl import logging
from tensorflow import keras

from pgi.arrays import FloatArray
from pgi.config import ModelConfig
from pgi.deepfillv2.stored import Source, Variables
from pgi.errors import RuleError
from pgi.models import Discriminator, PyramidGenerator, SubGenerator
from pgi.rules import check_choice

# Side in pixels of the images that DeepFillv2 is trained with (section 4.1).
SIDE = 256
# The most names of one kind in a message.
_LISTED = 10
# Layers whose input, or whose output, has an image's three colours.
_IMAGE_INPUTS = ("conv1", "xconv1", "pmconv1")
_IMAGE_OUTPUTS = ("conv17", "allconv17")


def model_config(source: Source) -> ModelConfig:
    """DeepFillv2 as a pyramid of one level, of stored weights' width.

    Raises:
        RunFolderError: the checkpoint is damaged.
    """
    first = Variables.of(source).shapes.get("inpaint_net/conv1/kernel", ())
    # Of a checkpoint of something else, `load` says what it lacks of the usual network.
    width = first[-1] if len(first) == 4 and first[-1] % 4 == 0 else 48
    return ModelConfig((SIDE,), width, dilation="standard", fusion="none")


def load(source: Source, channel_order: str = "bgr") -> PyramidGenerator:
    """Stored weights' generator, as `model_config` describes it.

    There is no discriminator, since not every checkpoint has one.

    Args:
        source: see `find_checkpoint`.
        channel_order: of the images that it was trained with; "bgr" is converted.

    Raises:
        RuleError: a variable of the generator is missing, has another shape, or belongs to a layer
            that DeepFillv2 does not have.
        RunFolderError: the checkpoint is damaged.
    """
    variables = Variables.of(source)
    arguments = dataclasses.asdict(model_config(variables)) | {"discriminator_width": None}
    model = PyramidGenerator(**arguments)
    model.build_networks()
    (generator,) = model.sub_generators
    assign_generator(generator, variables, channel_order=channel_order, strict=True)
    return model


def assign_generator(
    sub_generator: SubGenerator,
    variables: Source,
    *,
    channel_order: str = "rgb",
    strict: bool = False,
) -> None:
    """Loads a generator's weights into a sub-generator.

    Args:
        sub_generator: of any width and number of dilated convolutions; built here if necessary.
        variables: see `Source`. What is not a generator's is ignored, and so are an optimiser's
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
    arrays = _read(variables, targets, strict)
    _assign(targets, _as_rgb(arrays, channel_order))


def assign_discriminator(
    discriminator: Discriminator, variables: Source, *, channel_order: str = "rgb"
) -> None:
    """Loads a discriminator's weights, including the vectors of its power iterations.

    Args:
        discriminator: built here if necessary.
        variables: see `Source`. Names of layers that the discriminator lacks are ignored, with a
            warning if they are a discriminator's.
        channel_order: as for `assign_generator`.

    Raises:
        RuleError: a variable is missing or has another shape; nothing is assigned. Or
            `channel_order` is invalid.
        RunFolderError: the checkpoint is damaged.
    """
    check_choice("channel_order", ("rgb", "bgr"), channel_order)
    targets = discriminator_variables(discriminator)
    arrays = _read(variables, targets, strict=False)
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


def misfits(
    variables: Variables, targets: Mapping[str, tf.Variable], strict: bool = False
) -> tuple[list[str], list[str]]:
    """What is wrong with stored weights of a network, and those without a place in it.

    Args:
        variables: the stored ones.
        targets: the network's, as of `generator_variables` or `discriminator_variables`.
        strict: whether what has no place is wrong as well.

    Returns:
        A text for each kind of fault, with names; and names, without an optimiser's values.
    """
    shapes = variables.shapes
    missing = sorted(set(targets) - set(shapes))
    differing = [
        f"{name} must have shape {tuple(variable.shape)}, got {shapes[name]}"
        for name, variable in targets.items()
        if name in shapes and shapes[name] != tuple(variable.shape)
    ]
    scopes = tuple({f"{name.partition('/')[0]}/" for name in targets})
    # Below a weight's own name are an optimiser's values of it.
    spare = sorted(
        name
        for name in set(shapes) - set(targets)
        if name.startswith(scopes) and name.rpartition("/")[0] not in shapes
    )
    faults = [f"missing: {listed(missing)}"] if missing else []
    faults += [listed(differing)] if differing else []
    faults += [f"without a place in the network: {listed(spare)}"] if spare and strict else []
    return faults, spare


def listed(items: Sequence[str]) -> str:
    """The items, or the first ten and the number of the others."""
    more = len(items) - _LISTED
    return ", ".join(items[:_LISTED]) + (f" and {more} more" if more > 0 else "")


def _read(
    source: Source, targets: Mapping[str, tf.Variable], strict: bool
) -> dict[str, FloatArray]:
    variables = Variables.of(source)
    faults, spare = misfits(variables, targets, strict)
    if faults:
        raise RuleError(f"{variables.origin} must hold the network's weights; {'; '.join(faults)}")
    if spare:
        logging.warning("ignored, the network has no such layer: %s", ", ".join(spare))
    return {name: np.asarray(variables.read(name)) for name in targets}


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
