"""A transformer whose layers are one `jax.lax.scan` over stacked parameters, recomputed in the backward pass.

The blocks run attention and MLP in parallel on one normalised input, as in GPT-J and PaLM.

    python generate.py                        rewrites forward.mlir and train_step.mlir beside this file
    python generate.py --size full -o DIR     writes them with the shapes of GPT-J 6B's 28 layers
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import export
import optimizer

Params = dict[str, Any]


@dataclass(frozen=True)
class Config:
    layers: int
    batch: int
    sequence: int
    hidden: int
    heads: int
    head: int
    feed_forward: int


SIZES = {
    "small": Config(layers=4, batch=8, sequence=32, hidden=64, heads=8, head=8, feed_forward=256),
    "full": Config(layers=28, batch=8, sequence=2048, hidden=4096, heads=16, head=256, feed_forward=16384),
}
NORM_EPSILON = 1e-5


def parameters(c: Config) -> Params:
    """The parameters of all layers, stacked along a first dimension."""
    return {
        "norm": export.shape(c.layers, c.hidden),
        "q": export.shape(c.layers, c.heads, c.hidden, c.head),
        "k": export.shape(c.layers, c.heads, c.hidden, c.head),
        "v": export.shape(c.layers, c.heads, c.hidden, c.head),
        "out": export.shape(c.layers, c.heads, c.head, c.hidden),
        "wi": export.shape(c.layers, c.hidden, c.feed_forward),
        "wo": export.shape(c.layers, c.feed_forward, c.hidden),
    }


def rms_norm(scale: jax.Array, x: jax.Array) -> jax.Array:
    with jax.named_scope("rms_norm"):
        return x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + NORM_EPSILON) * scale


def attention(p: Params, x: jax.Array) -> jax.Array:
    with jax.named_scope("attention"):
        q, k, v = (jnp.einsum("bsh,nhd->bsnd", x, p[name]) for name in ("q", "k", "v"))
        scores = jnp.einsum("bsnd,btnd->bnst", q, k) * q.shape[-1] ** -0.5
        causal = jnp.tril(jnp.ones((x.shape[1], x.shape[1]), dtype=bool))
        weights = jax.nn.softmax(jnp.where(causal, scores, jnp.finfo(scores.dtype).min), axis=-1)
        return jnp.einsum("bsnd,ndh->bsh", jnp.einsum("bnst,btnd->bsnd", weights, v), p["out"])


def mlp(p: Params, x: jax.Array) -> jax.Array:
    with jax.named_scope("mlp"):
        return jax.nn.gelu(x @ p["wi"], approximate=True) @ p["wo"]


def programs(c: Config) -> dict[str, export.Program]:
    @jax.checkpoint
    def layer(x: jax.Array, p: Params) -> tuple[jax.Array, None]:
        normed = rms_norm(p["norm"], x)
        return x + attention(p, normed) + mlp(p, normed), None

    def forward(params: Params, x: jax.Array) -> jax.Array:
        return jax.lax.scan(layer, x, params)[0]

    def train_step(params: Params, x: jax.Array, target: jax.Array) -> dict[str, Any]:
        def loss(params: Params) -> jax.Array:
            return optimizer.squared_error(forward(params, x), target)

        value, gradients = jax.value_and_grad(loss)(params)
        return {"loss": value, "params": optimizer.sgd(params, gradients)}

    params = parameters(c)
    x = export.shape(c.batch, c.sequence, c.hidden)
    return {
        "forward": export.Program(forward, (params, x)),
        "train_step": export.Program(train_step, (params, x, x), donate=("params",)),
    }


if __name__ == "__main__":
    export.main(__file__, SIZES, programs)
