"""Oracles: the reference's numbers and weights, and checkpoints as TensorFlow 1 writes them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from experiments.golden import golden as golden
from experiments.golden import reference_shapes as reference_shapes
from experiments.golden import reference_weights as reference_weights


def write_tf1_checkpoint(prefix: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """A checkpoint as TensorFlow 1 programs write it: data, index, graph, and a note of it."""
    prefix.parent.mkdir(parents=True, exist_ok=True)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        for name, array in arrays.items():
            tf.compat.v1.get_variable(name, initializer=array)
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.train.Saver().save(session, str(prefix))
