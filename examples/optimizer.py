"""The update rules the training examples share. All arithmetic is f32; parameters keep their type.

The rates are high enough that a wrong gradient shows in the new parameters, far above rounding: the train steps are
there to be compared.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

LEARNING_RATE = 0.1
MOMENTUM = 0.9
LARGEST_NORM = 1.0


def sgd(params: Any, gradients: Any) -> Any:
    """One step of plain gradient descent: the new parameters."""
    return jax.tree.map(lambda p, g: (p.astype(jnp.float32) - LEARNING_RATE * g).astype(p.dtype), params, gradients)


def momentum(params: Any, velocity: Any, gradients: Any) -> tuple[Any, Any]:
    """One step of gradient descent with momentum (Polyak, 1964): the new parameters and the new f32 velocity."""
    velocity = jax.tree.map(lambda v, g: MOMENTUM * v + g.astype(jnp.float32), velocity, gradients)
    return sgd(params, velocity), velocity


def clip(gradients: Any) -> Any:
    """Gradients in f32, scaled down to a common norm of `LARGEST_NORM` if theirs is larger (Pascanu et al., 2013)."""
    gradients = jax.tree.map(lambda g: g.astype(jnp.float32), gradients)
    norm = jnp.sqrt(sum(jnp.sum(g * g) for g in jax.tree.leaves(gradients)))
    scale = LARGEST_NORM / jnp.maximum(norm, LARGEST_NORM)
    return jax.tree.map(lambda g: g * scale, gradients)


def squared_error(y: jax.Array, target: jax.Array) -> jax.Array:
    """The squared distance of ``y`` to ``target``, both [batch, sequence, hidden], averaged over tokens, in f32."""
    return jnp.mean(jnp.sum((y - target).astype(jnp.float32) ** 2, axis=-1))
