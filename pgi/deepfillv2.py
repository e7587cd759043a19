"""Weights of the reference DeepFillv2, in: by its variables' names, from arrays or a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf
from absl import logging
from tensorflow import keras

from pgi.models.discriminator import Discriminator
from pgi.models.sub_generator import SubGenerator
from pgi.rules import check_choice

Variables = Mapping[str, np.ndarray] | str | Path

# The layers that read an image's three colours, and those that write them.
_IMAGE_INPUTS = ("conv1", "xconv1", "pmconv1")
_IMAGE_OUTPUTS = ("conv17", "allconv17")


def assign_generator(
    sub_generator: SubGenerator, variables: Variables, *, channel_order: str = "rgb"
) -> None:
    """Gives a sub-generator the reference's weights.

    Args:
        sub_generator: any width and number of dilated convolutions; built if it is not yet.
        variables: reference name -> array, or the path of a TF1 checkpoint. Names that the network
            has no place for are left out, with a warning if they are the generator's.
        channel_order: "rgb" takes the weights as they are; "bgr" turns weights that were trained on
            BGR images, as the released checkpoints were, to RGB.

    Raises:
        ValueError: a variable is missing or of another shape, or `channel_order` is neither.

    Source: [29]. Departs from it: nothing.
    """
    check_choice("channel_order", ("rgb", "bgr"), channel_order)
    targets = generator_variables(sub_generator)
    arrays = _read(variables, targets, scope="inpaint_net/")
    if channel_order == "bgr":
        arrays = {name: _swap_red_and_blue(name, array) for name, array in arrays.items()}
    _assign(targets, arrays)


def assign_discriminator(discriminator: Discriminator, variables: Variables) -> None:
    """Gives a discriminator the reference's weights, its power iterations' vectors included.

    Args:
        discriminator: built if it is not yet.
        variables: reference name -> array, or the path of a TF1 checkpoint. Names that the network
            has no place for are left out, with a warning if they are the discriminator's.

    Raises:
        ValueError: a variable is missing or of another shape.

    Source: [29]. Departs from it: nothing.
    """
    targets = discriminator_variables(discriminator)
    _assign(targets, _read(variables, targets, scope="discriminator/"))


def generator_variables(sub_generator: SubGenerator) -> dict[str, tf.Variable]:
    """Reference name -> variable of a sub-generator, which is built if it is not yet."""
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
    """Reference name -> variable of a discriminator, which is built if it is not yet."""
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
) -> dict[str, np.ndarray]:
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
        logging.warning("left out, the network has no such layer: %s", ", ".join(spare))
    return {name: np.asarray(variables[name]) for name in targets}


def _swap_red_and_blue(name: str, array: np.ndarray) -> np.ndarray:
    layer, kind = name.split("/")[1], name.split("/")[-1]
    if layer in _IMAGE_OUTPUTS:
        return array[..., ::-1]
    if layer in _IMAGE_INPUTS and kind == "kernel":
        return np.concatenate([array[:, :, 2::-1], array[:, :, 3:]], axis=2)
    return array


def _assign(targets: Mapping[str, tf.Variable], arrays: Mapping[str, np.ndarray]) -> None:
    for name, variable in targets.items():
        if arrays[name].shape != tuple(variable.shape):
            raise ValueError(
                f"{name} must have shape {tuple(variable.shape)}, got {arrays[name].shape}"
            )
    for name, variable in targets.items():
        variable.assign(arrays[name])
