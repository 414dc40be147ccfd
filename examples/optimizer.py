"""The update rules the training examples share. All arithmetic is f32; parameters keep their type."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

LEARNING_RATE = 1e-3
MOMENTUM = 0.9
DECAY_1, DECAY_2, EPSILON = 0.9, 0.95, 1e-8


def sgd(params: Any, gradients: Any) -> Any:
    """One step of plain gradient descent: the new parameters."""
    return jax.tree.map(lambda p, g: p - LEARNING_RATE * g, params, gradients)


def momentum(params: Any, velocity: Any, gradients: Any) -> tuple[Any, Any]:
    """One step of gradient descent with momentum (Polyak, 1964): the new parameters and the new velocity."""
    velocity = jax.tree.map(lambda v, g: MOMENTUM * v + g, velocity, gradients)
    return sgd(params, velocity), velocity


def adam(params: Any, state: dict[str, Any], gradients: Any) -> tuple[Any, dict[str, Any]]:
    """One Adam step (Kingma & Ba, 2015, algorithm 1): the new parameters and the new state.

    The second moment is kept as its root, which needs half the exponent range and is valid whatever its sign.

    Args:
      params: The parameters, in any floating type.
      state: ``{"count": i32[], "mu": f32 like params, "root_nu": f32 like params}``; ``count`` is
        the number of steps done.
      gradients: Like ``params``.
    """
    count = state["count"] + 1
    step = count.astype(jnp.float32)
    correction_1, correction_2 = 1 - DECAY_1**step, 1 - DECAY_2**step
    gradients = jax.tree.map(lambda g: g.astype(jnp.float32), gradients)

    def root(r: jax.Array, g: jax.Array) -> jax.Array:
        return jnp.sqrt(DECAY_2 * r * r + (1 - DECAY_2) * g * g)

    def updated(p: jax.Array, m: jax.Array, r: jax.Array) -> jax.Array:
        change = LEARNING_RATE * (m / correction_1) / (r / jnp.sqrt(correction_2) + EPSILON)
        return (p.astype(jnp.float32) - change).astype(p.dtype)

    mu = jax.tree.map(lambda m, g: DECAY_1 * m + (1 - DECAY_1) * g, state["mu"], gradients)
    root_nu = jax.tree.map(root, state["root_nu"], gradients)
    return jax.tree.map(updated, params, mu, root_nu), {"count": count, "mu": mu, "root_nu": root_nu}
