"""Oracles: the reference's weights by their recipe, and contextual attention patch by patch."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

GOLDEN = Path(__file__).parent / "golden"


def golden(name: str) -> dict[str, np.ndarray]:
    """The arrays of one file of golden numbers."""
    with np.load(GOLDEN / f"{name}.npz") as file:
        return dict(file)


def reference_shapes(network: str) -> dict[str, list[int]]:
    """Name -> shape of "generator" or "discriminator"."""
    return json.loads((GOLDEN / "deepfillv2_variables.json").read_text())[network]


def reference_weights(network: str, seed: int = 0) -> dict[str, np.ndarray]:
    """Name -> array, each made from its name and the seed as the golden numbers' were."""
    return {name: _weights(name, shape, seed) for name, shape in reference_shapes(network).items()}


def write_tf1_checkpoint(prefix: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """A checkpoint as TensorFlow 1 programs write it: data, index, graph, and a note of it."""
    prefix.parent.mkdir(parents=True, exist_ok=True)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        for name, array in arrays.items():
            tf.compat.v1.get_variable(name, initializer=array)
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.train.Saver().save(session, str(prefix))


def _weights(name: str, shape: list[int], seed: int) -> np.ndarray:
    normal = np.random.default_rng([seed, zlib.crc32(name.encode())]).standard_normal(shape)
    if name.endswith("bias"):
        normal *= 0.1
    elif not name.endswith("/u"):
        normal *= 1.6 / np.sqrt(np.prod(shape[:-1]))
    return normal.astype(np.float32)
