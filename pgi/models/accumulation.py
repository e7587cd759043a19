"""Gradients of a batch, computed part by part to save memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

Gradients = Mapping[str, Sequence[tf.Tensor]]


def accumulate(
    compute: Callable[..., tuple[Gradients, Mapping[str, tf.Tensor]]], batch: Any, parts: int
) -> tuple[Gradients, dict[str, tf.Tensor]]:
    """Gradients and named values of a batch: the means over its parts, one after another.

    In a graph, the memory of a part is free again before the next begins.

    Args:
        compute: function of the batch's elements that returns gradients of a mean over examples,
            and named values of each example, or scalars of all; without side effects.
        batch: nested tensors `[B, ...]`.
        parts: number of equal parts, a divisor of B.
    """

    def of_part(index: tf.Tensor) -> tuple[Gradients, Mapping[str, tf.Tensor]]:
        def cut(x: tf.Tensor) -> tf.Tensor:
            return tf.gather(tf.reshape(x, [parts, -1, *x.shape[1:]]), index)

        gradients, values = compute(*tf.nest.map_structure(cut, batch))
        return gradients, {name: tf.reduce_mean(value) for name, value in values.items()}

    # Traced once, before the loop, which must know the results' shapes.
    graph = tf.function(of_part, autograph=False).get_concrete_function(tf.TensorSpec([], tf.int32))
    zeros = tf.nest.map_structure(lambda x: tf.zeros(x.shape, x.dtype), graph.structured_outputs)

    def add(index: tf.Tensor, totals: Any) -> tuple[tf.Tensor, Any]:
        return index + 1, tf.nest.map_structure(tf.add, totals, graph(index))

    start = (tf.constant(0), zeros)
    _, totals = tf.while_loop(lambda index, _: index < parts, add, start, parallel_iterations=1)
    gradients, values = tf.nest.map_structure(lambda x: x / parts, totals)
    return gradients, values
