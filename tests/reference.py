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


def write_frozen_graph(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """A graph whose variables TensorFlow 1 has frozen into constants; with another constant."""
    v1 = tf.compat.v1
    with tf.Graph().as_default() as graph, v1.Session() as session:
        read = [v1.get_variable(name, initializer=x) for name, x in arrays.items()]
        rate = tf.constant(2.0, name="inpaint_net/conv7_atrous/dilation_rate")
        tf.multiply(tf.add_n([tf.reduce_sum(x) for x in read]), rate, name="output")
        session.run(v1.global_variables_initializer())
        definition = graph.as_graph_def()
        frozen = v1.graph_util.convert_variables_to_constants(session, definition, ["output"])
    path.write_bytes(frozen.SerializeToString())
