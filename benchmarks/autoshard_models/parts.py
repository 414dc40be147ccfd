"""What the models share: parameters by shape, norms, losses, the Adam step, and how a program of a model is described.

Parameters and activations have the model's type (bf16, or f32 in the small sizes, where rounding would hide errors);
statistics, logits and the optimizer's moments are f32. Scopes of norms have the names that presets constrain.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import export
import jax
import jax.numpy as jnp

RATE, BETA1, BETA2, EPSILON = 1e-3, 0.9, 0.95, 1e-8

Params = dict[str, Any]
shape = export.shape


def stacked(tree: Params, layers: int) -> Params:
    """Parameters of ``layers`` equal layers, along a first dimension."""
    return jax.tree.map(lambda leaf: shape(layers, *leaf.shape, dtype=leaf.dtype), tree)


@jax.named_scope("rms_norm")
def rms_norm(scale: jax.Array, x: jax.Array) -> jax.Array:
    wide = x.astype(jnp.float32)
    return (wide * jax.lax.rsqrt(jnp.mean(wide * wide, axis=-1, keepdims=True) + 1e-5)).astype(x.dtype) * scale


@jax.named_scope("layer_norm")
def layer_norm(p: Params, x: jax.Array) -> jax.Array:
    wide = x.astype(jnp.float32)
    wide = wide - jnp.mean(wide, axis=-1, keepdims=True)
    normed = wide * jax.lax.rsqrt(jnp.mean(wide * wide, axis=-1, keepdims=True) + 1e-5)
    return normed.astype(x.dtype) * p["scale"] + p["offset"]


def cross_entropy(logits: jax.Array, targets: jax.Array) -> jax.Array:
    """The mean over all ``targets`` of what ``logits`` say against them, in f32."""
    wide = logits.astype(jnp.float32)
    wanted = jax.nn.one_hot(targets, wide.shape[-1], dtype=jnp.float32)
    return -jnp.mean(jnp.sum(jax.nn.log_softmax(wide) * wanted, axis=-1))


def squared_error(y: jax.Array, target: jax.Array) -> jax.Array:
    return jnp.mean((y - target).astype(jnp.float32) ** 2)


def adam(params: Params, mu: Params, nu: Params, gradients: Params) -> tuple[Params, Params, Params]:
    """``params`` and their f32 moments after a step of Adam."""
    wide = jax.tree.map(lambda g: g.astype(jnp.float32), gradients)
    mu = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, mu, wide)
    nu = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, nu, wide)
    params = jax.tree.map(
        lambda p, m, v: (p.astype(jnp.float32) - RATE * m / (jnp.sqrt(v) + EPSILON)).astype(p.dtype), params, mu, nu
    )
    return params, mu, nu


def train_step(loss: Callable[..., jax.Array], params: Params, *inputs: tuple[str, Any]) -> export.Program:
    """One Adam step on ``loss(params, *inputs)``; ``inputs`` have the names that presets know."""
    def train_step(params: Params, mu: Params, nu: Params, *given: jax.Array) -> Params:
        value, gradients = jax.value_and_grad(loss)(params, *given)
        params, mu, nu = adam(params, mu, nu, gradients)
        return {"loss": value, "params": params, "mu": mu, "nu": nu}

    # An export names its arguments after the function's parameters.
    names = ["params", "mu", "nu", *(name for name, _ in inputs)]
    train_step.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in names]
    )
    moments = export.like(params, jnp.float32)
    return export.Program(
        train_step, (params, moments, moments, *(given for _, given in inputs)), donate=("params", "mu", "nu")
    )
