"""Table of a model's output shapes and parameters."""

from __future__ import annotations

import tensorflow as tf
from tensorflow import keras

from pgi.models import PyramidGenerator


def parameters(network: keras.layers.Layer) -> int:
    """Number of trainable parameters of a built network."""
    return sum(variable.shape.num_elements() for variable in network.trainable_variables)


def summarize(model: PyramidGenerator, batch_size: int) -> str:
    """A table of a built model's output shapes and trainable parameters, per level and network.

    The shapes come from a graph traced at the training sizes; nothing is computed.
    """
    images = tuple(tf.TensorSpec([batch_size, side, side, 3]) for side in model.levels)
    masks = tuple(tf.TensorSpec([batch_size, side, side, 1]) for side in model.levels)
    trace = tf.function(lambda *inputs: model(inputs)).get_concrete_function(images, masks)
    rows, total = [("level", "network", "output", "parameters")], 0
    for level, output in enumerate(trace.structured_outputs):
        image_and_mask = tf.TensorSpec([batch_size, model.levels[level], model.levels[level], 4])
        scores = tf.function(model.discriminators[level]).get_concrete_function(image_and_mask)
        sub_generator = model.sub_generators[level]
        networks = [
            ("refine", sub_generator.refine, output.refined),
            ("discriminator", model.discriminators[level], scores.structured_outputs),
        ]
        if sub_generator.coarse is not None:
            networks.insert(0, ("coarse", sub_generator.coarse, output.coarse))
        for name, network, tensor in networks:
            count = parameters(network)
            total += count
            rows.append((str(level), name, str(tuple(tensor.shape)), f"{count:,}"))
    rows.append(("all", "", "", f"{total:,}"))
    return "\n".join(f"{a:<7}{b:<15}{c:<22}{d:>12}" for a, b, c, d in rows)
