"""A GPT-style block in bf16: learned positions, LayerNorm, multi-head causal attention, GELU MLP, biases throughout.

Parameters and activations are bf16; statistics, softmax and the optimizer's velocity are f32.

    python generate.py                        rewrites forward.mlir and train_step.mlir beside this file
    python generate.py --size full -o DIR     writes them with the shapes of a GPT-3 6.7B block
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
    batch: int
    sequence: int
    positions: int
    hidden: int
    heads: int
    head: int
    feed_forward: int


SIZES = {
    "small": Config(batch=8, sequence=32, positions=64, hidden=64, heads=8, head=8, feed_forward=256),
    "full": Config(batch=8, sequence=2048, positions=2048, hidden=4096, heads=32, head=128, feed_forward=16384),
}
TYPE = jnp.bfloat16
NORM_EPSILON = 1e-5


def parameters(c: Config) -> Params:
    def shape(*dimensions: int) -> jax.ShapeDtypeStruct:
        return export.shape(*dimensions, dtype=TYPE)

    def norm() -> Params:
        return {"scale": shape(c.hidden), "offset": shape(c.hidden)}

    return {
        "positions": shape(c.positions, c.hidden),
        "attention": {
            "norm": norm(),
            "qkv": {"w": shape(3, c.heads, c.hidden, c.head), "b": shape(3, c.heads, c.head)},
            "out": {"w": shape(c.heads * c.head, c.hidden), "b": shape(c.hidden)},
        },
        "mlp": {
            "norm": norm(),
            "in": {"w": shape(c.hidden, c.feed_forward), "b": shape(c.feed_forward)},
            "out": {"w": shape(c.feed_forward, c.hidden), "b": shape(c.hidden)},
        },
    }


def layer_norm(p: Params, x: jax.Array) -> jax.Array:
    with jax.named_scope("layer_norm"):
        wide = x.astype(jnp.float32)
        mean = jnp.mean(wide, axis=-1, keepdims=True)
        variance = jnp.var(wide, axis=-1, keepdims=True)
        normed = (wide - mean) * jax.lax.rsqrt(variance + NORM_EPSILON)
        return normed.astype(x.dtype) * p["scale"] + p["offset"]


def attention(p: Params, x: jax.Array) -> jax.Array:
    with jax.named_scope("attention"):
        qkv = jnp.einsum("bsh,cnhd->cbsnd", x, p["qkv"]["w"]) + p["qkv"]["b"][:, None, None]
        q, k, v = qkv[0], qkv[1], qkv[2]
        scores = jnp.einsum("bsnd,btnd->bnst", q, k, preferred_element_type=jnp.float32) * q.shape[-1] ** -0.5
        causal = jnp.tril(jnp.ones((x.shape[1], x.shape[1]), dtype=bool))
        weights = jax.nn.softmax(scores, axis=-1, where=causal).astype(x.dtype)
        out = jnp.einsum("bnst,btnd->bsnd", weights, v).reshape(x.shape[0], x.shape[1], -1)
        return out @ p["out"]["w"] + p["out"]["b"]


def mlp(p: Params, x: jax.Array) -> jax.Array:
    with jax.named_scope("mlp"):
        return jax.nn.gelu(x @ p["in"]["w"] + p["in"]["b"], approximate=False) @ p["out"]["w"] + p["out"]["b"]


def programs(c: Config) -> dict[str, export.Program]:
    def forward(params: Params, x: jax.Array) -> jax.Array:
        with jax.named_scope("positions"):
            x = x + params["positions"][: c.sequence]
        x = x + attention(params["attention"], layer_norm(params["attention"]["norm"], x))
        return x + mlp(params["mlp"], layer_norm(params["mlp"]["norm"], x))

    def train_step(params: Params, velocity: Params, x: jax.Array, target: jax.Array) -> dict[str, Any]:
        def loss(params: Params) -> jax.Array:
            return optimizer.squared_error(forward(params, x), target)

        value, gradients = jax.value_and_grad(loss)(params)
        params, velocity = optimizer.momentum(params, velocity, optimizer.clip(gradients))
        return {"loss": value, "params": params, "velocity": velocity}

    params = parameters(c)
    x = export.shape(c.batch, c.sequence, c.hidden, dtype=TYPE)
    velocity = export.like(params, dtype=jnp.float32)
    return {
        "forward": export.Program(forward, (params, x)),
        "train_step": export.Program(train_step, (params, velocity, x, x), donate=("params", "velocity")),
    }


if __name__ == "__main__":
    export.main(__file__, SIZES, programs)
