"""Updates of networks by an optimiser and of their moving averages, with gradient statistics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import tensorflow as tf
from tensorflow import keras

Networks = Mapping[str, Sequence[tf.Variable]]


def update(
    name: str,
    optimizer: keras.optimizers.Optimizer,
    networks: Networks,
    gradients: Mapping[str, Sequence[tf.Tensor]],
    clip_norm: float | None = None,
) -> dict[str, tf.Tensor]:
    """Applies gradients to networks, after summing them over the replicas and clipping them.

    Args:
        name: what the logs call the optimiser.
        optimizer: built for the networks' variables. A `LossScaleOptimizer` expects gradients of
            the scaled loss, and skips the update if they are not finite.
        networks: name of each network -> its trainable variables.
        gradients: name of each network -> one gradient for each of these, of this replica.
        clip_norm: bound on the global norm of all gradients together; 0 for none. None for none
            and no `name/clipped` in the logs.

    Returns:
        Scalars, the same on every replica. For each NETWORK: `NETWORK/gradient_norm`, before
        clipping, and `NETWORK/update_ratio`, the norm of the update over the norm of the weights.
        For all: `name/gradient_norm`, `name/clipped`, 1 if the gradients were scaled down and
        else 0, and `name/skipped`, 1 if the update was skipped and else 0. The norms of a skipped
        update are 0.
    """
    variables = all_variables(networks)
    flat = [g for network in networks for g in gradients[network]]
    scaled = _scales(optimizer)
    summing = optimizer.inner_optimizer if scaled else optimizer
    # Summed first: a clipped sum is not the sum of clipped parts.
    flat = [g for g, _ in summing.aggregate_gradients(zip(flat, variables))]
    if scaled:
        flat = optimizer.get_unscaled_gradients(flat)
    norms = _norms(networks, flat)
    norm = tf.norm(tf.stack(list(norms.values())))
    if clip_norm:
        flat, _ = tf.clip_by_global_norm(flat, clip_norm, use_norm=norm)
    before = [tf.identity(variable) for variable in variables]
    optimizer.apply_gradients(zip(flat, variables), skip_gradients_aggregation=True)
    updates = _norms(networks, [new - old for new, old in zip(variables, before)])
    weights = _norms(networks, before)

    logs = {f"{network}/gradient_norm": norms[network] for network in networks}
    for network in networks:
        ratio = tf.math.divide_no_nan(updates[network], weights[network])
        logs[f"{network}/update_ratio"] = ratio
    logs[f"{name}/gradient_norm"] = norm
    if clip_norm is not None:
        clipped = tf.cast(norm > clip_norm, tf.float32) if clip_norm else tf.zeros([])
        logs[f"{name}/clipped"] = clipped
    # In every precision, so that a run can change it between two snapshots.
    logs[f"{name}/skipped"] = tf.zeros([])
    if scaled:
        finite = tf.math.is_finite(norm)
        logs = {key: tf.where(finite, value, 0.0) for key, value in logs.items()}
        logs[f"{name}/skipped"] = 1.0 - tf.cast(finite, tf.float32)
    return logs


def with_loss_scale(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """The optimiser with dynamic loss scaling, for float16; its checkpoint holds the scale too."""
    return keras.mixed_precision.LossScaleOptimizer(optimizer)


def scaled_loss(optimizer: keras.optimizers.Optimizer, loss: tf.Tensor) -> tf.Tensor:
    """The loss whose gradients `update` takes for this optimiser."""
    return optimizer.get_scaled_loss(loss) if _scales(optimizer) else loss


def _scales(optimizer: keras.optimizers.Optimizer) -> bool:
    return isinstance(optimizer, keras.mixed_precision.LossScaleOptimizer)


def all_variables(networks: Networks) -> list[tf.Variable]:
    """The variables of all networks, in one list."""
    return [variable for part in networks.values() for variable in part]


def _norms(networks: Networks, values: Sequence[tf.Tensor]) -> dict[str, tf.Tensor]:
    """The global norm of each network's part of the values."""
    norms, first = {}, 0
    for name, variables in networks.items():
        norms[name] = tf.linalg.global_norm(values[first : first + len(variables)])
        first += len(variables)
    return norms


def update_averages(
    averages: Sequence[tf.Variable],
    variables: Sequence[tf.Variable],
    momentum: float,
    step: tf.Tensor,
) -> None:
    """Moves the moving average of each variable towards its value; called in a replica context.

    Args:
        averages: one for each variable.
        variables: just updated.
        momentum: share of the average that is kept in a step, in [0, 1).
        step: steps since the averages began, from 1. At first less is kept, (1 + n) / (10 + n) at
            step n, so that the average soon forgets the initial weights.
    """
    n = tf.cast(step, tf.float32)
    kept = tf.minimum(momentum, (1.0 + n) / (10.0 + n))

    # A mirrored variable can be assigned in the cross-replica context only.
    def assign(strategy: tf.distribute.Strategy, kept: tf.Tensor) -> None:
        for average, variable in zip(averages, variables):
            strategy.extended.update(
                average, lambda a, v, k: a.assign(v + k * (a - v)), args=(variable, kept)
            )

    tf.distribute.get_replica_context().merge_call(assign, args=(kept,))
