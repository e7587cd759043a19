"""Loading weights of DeepFillv2's published implementation, by the names of its variables.

DeepFillv2: "Free-Form Image Inpainting with Gated Convolution", https://arxiv.org/abs/1806.03589.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf
from absl import logging
from tensorflow import keras

from pgi.arrays import FloatArray
from pgi.models.discriminator import Discriminator
from pgi.models.sub_generator import SubGenerator
from pgi.rules import check_choice

# DeepFillv2's name -> array, or the path of a TensorFlow 1 checkpoint.
Variables = Mapping[str, FloatArray] | str | Path

# Layers whose input, or whose output, has an image's three colours.
_IMAGE_INPUTS = ("conv1", "xconv1", "pmconv1")
_IMAGE_OUTPUTS = ("conv17", "allconv17")


def assign_generator(
    sub_generator: SubGenerator, variables: Variables, *, channel_order: str = "rgb"
) -> None:
    """Loads a generator's weights into a sub-generator.

    Args:
        sub_generator: of any width and number of dilated convolutions; built here if necessary.
        variables: see `Variables`. Names of layers that the sub-generator lacks are ignored, with a
            warning if they are a generator's.
        channel_order: "rgb", or "bgr" to convert weights that were trained on BGR images, as the
            published ones were.

    Raises:
        ValueError: a variable is missing or has another shape, or `channel_order` is invalid.
    """
    check_choice("channel_order", ("rgb", "bgr"), channel_order)
    targets = generator_variables(sub_generator)
    arrays = _read(variables, targets, scope="inpaint_net/")
    if channel_order == "bgr":
        arrays = {name: _swap_red_and_blue(name, array) for name, array in arrays.items()}
    _assign(targets, arrays)


def assign_discriminator(discriminator: Discriminator, variables: Variables) -> None:
    """Loads a discriminator's weights, including the vectors of its power iterations.

    Args:
        discriminator: built here if necessary.
        variables: see `Variables`. Names of layers that the discriminator lacks are ignored, with a
            warning if they are a discriminator's.

    Raises:
        ValueError: a variable is missing or has another shape.
    """
    targets = discriminator_variables(discriminator)
    _assign(targets, _read(variables, targets, scope="discriminator/"))


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


def _read(
    variables: Variables, targets: Mapping[str, tf.Variable], scope: str
) -> dict[str, FloatArray]:
    if isinstance(variables, (str, Path)):
        reader = tf.train.load_checkpoint(str(variables))
        names = set(reader.get_variable_to_shape_map())
        variables = {name: reader.get_tensor(name) for name in names if name in targets}
    else:
        names = set(variables)
    missing = sorted(set(targets) - names)
    if missing:
        raise ValueError(f"variables must hold every weight, missing: {', '.join(missing)}")
    spare = sorted(name for name in names - set(targets) if name.startswith(scope))
    if spare:
        logging.warning("ignored, the network has no such layer: %s", ", ".join(spare))
    return {name: np.asarray(variables[name]) for name in targets}


def _swap_red_and_blue(name: str, array: FloatArray) -> FloatArray:
    layer, kind = name.split("/")[1], name.split("/")[-1]
    if layer in _IMAGE_OUTPUTS:
        return array[..., ::-1]
    if layer in _IMAGE_INPUTS and kind == "kernel":
        return np.concatenate([array[:, :, 2::-1], array[:, :, 3:]], axis=2)
    return array


def _assign(targets: Mapping[str, tf.Variable], arrays: Mapping[str, FloatArray]) -> None:
    for name, variable in targets.items():
        if arrays[name].shape != tuple(variable.shape):
            raise ValueError(
                f"{name} must have shape {tuple(variable.shape)}, got {arrays[name].shape}"
            )
    for name, variable in targets.items():
        variable.assign(arrays[name])
