"""A Llama-style decoder layer: RMSNorm, rotary embedding, grouped-query attention with a causal mask, SwiGLU.

    python generate.py                        rewrites forward.mlir and train_step.mlir beside this file
    python generate.py --size full -o DIR     writes them with the shapes of a Llama 3 8B layer
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

Params = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Config:
    batch: int
    sequence: int
    hidden: int
    heads: int
    kv_heads: int
    head: int
    feed_forward: int


SIZES = {
    "small": Config(batch=8, sequence=32, hidden=64, heads=8, kv_heads=4, head=16, feed_forward=192),
    "full": Config(batch=8, sequence=8192, hidden=4096, heads=32, kv_heads=8, head=128, feed_forward=14336),
}
ROPE_BASE = 500_000.0
NORM_EPSILON = 1e-5


def parameters(c: Config) -> Params:
    return {
        "attention": {
            "norm": export.shape(c.hidden),
            "wq": export.shape(c.hidden, c.heads * c.head),
            "wk": export.shape(c.hidden, c.kv_heads * c.head),
            "wv": export.shape(c.hidden, c.kv_heads * c.head),
            "wo": export.shape(c.heads * c.head, c.hidden),
        },
        "mlp": {
            "norm": export.shape(c.hidden),
            "gate": export.shape(c.hidden, c.feed_forward),
            "up": export.shape(c.hidden, c.feed_forward),
            "down": export.shape(c.feed_forward, c.hidden),
        },
    }


def rms_norm(scale: jax.Array, x: jax.Array) -> jax.Array:
    with jax.named_scope("rms_norm"):
        return x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + NORM_EPSILON) * scale


def rotate(x: jax.Array) -> jax.Array:
    """Rotary embedding of ``x`` [batch, sequence, heads, head], halves convention (Su et al., 2021)."""
    with jax.named_scope("rope"):
        half = x.shape[-1] // 2
        frequency = ROPE_BASE ** -(jnp.arange(half, dtype=jnp.float32) / half)
        angle = jnp.arange(x.shape[1], dtype=jnp.float32)[:, None] * frequency
        cos, sin = jnp.cos(angle)[:, None, :], jnp.sin(angle)[:, None, :]
        first, second = x[..., :half], x[..., half:]
        return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


def attention(c: Config, p: dict[str, jax.Array], x: jax.Array) -> jax.Array:
    with jax.named_scope("attention"):
        batch, sequence, _ = x.shape
        q = rotate((x @ p["wq"]).reshape(batch, sequence, c.heads, c.head))
        k = rotate((x @ p["wk"]).reshape(batch, sequence, c.kv_heads, c.head))
        v = (x @ p["wv"]).reshape(batch, sequence, c.kv_heads, c.head)
        # Query heads in groups that share a key/value head.
        q = q.reshape(batch, sequence, c.kv_heads, c.heads // c.kv_heads, c.head)
        scores = jnp.einsum("bskgd,btkd->bkgst", q, k) * c.head**-0.5
        causal = jnp.tril(jnp.ones((sequence, sequence), dtype=bool))
        weights = jax.nn.softmax(jnp.where(causal, scores, jnp.finfo(scores.dtype).min), axis=-1)
        out = jnp.einsum("bkgst,btkd->bskgd", weights, v)
        return out.reshape(batch, sequence, c.heads * c.head) @ p["wo"]


def mlp(p: dict[str, jax.Array], x: jax.Array) -> jax.Array:
    with jax.named_scope("mlp"):
        return (jax.nn.silu(x @ p["gate"]) * (x @ p["up"])) @ p["down"]


def programs(c: Config) -> dict[str, export.Program]:
    def forward(params: Params, x: jax.Array) -> jax.Array:
        x = x + attention(c, params["attention"], rms_norm(params["attention"]["norm"], x))
        return x + mlp(params["mlp"], rms_norm(params["mlp"]["norm"], x))

    def train_step(params: Params, velocity: Params, x: jax.Array, target: jax.Array) -> dict[str, Any]:
        def loss(params: Params) -> jax.Array:
            return optimizer.squared_error(forward(params, x), target)

        value, gradients = jax.value_and_grad(loss)(params)
        params, velocity = optimizer.momentum(params, velocity, gradients)
        return {"loss": value, "params": params, "velocity": velocity}

    params = parameters(c)
    x = export.shape(c.batch, c.sequence, c.hidden)
    return {
        "forward": export.Program(forward, (params, x)),
        "train_step": export.Program(train_step, (params, params, x, x), donate=("params", "velocity")),
    }


if __name__ == "__main__":
    export.main(__file__, SIZES, programs)
