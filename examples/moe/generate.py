"""A Mixtral-style mixture-of-experts layer: a router picks 2 of 8 SwiGLU experts for each token.

Written dense over the experts, as front ends without sparse kernels emit it: every expert sees every token, and a
one-hot of the router's choice weighs the results.

    python generate.py                        rewrites forward.mlir and train_step.mlir beside this file
    python generate.py --size full -o DIR     writes them with the shapes of a Mixtral 8x7B layer
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
    hidden: int
    experts: int
    chosen: int
    feed_forward: int


SIZES = {
    "small": Config(batch=8, sequence=16, hidden=64, experts=8, chosen=2, feed_forward=128),
    "full": Config(batch=4, sequence=4096, hidden=4096, experts=8, chosen=2, feed_forward=14336),
}


def parameters(c: Config) -> Params:
    return {
        "router": export.shape(c.hidden, c.experts),
        "experts": {
            "gate": export.shape(c.experts, c.hidden, c.feed_forward),
            "up": export.shape(c.experts, c.hidden, c.feed_forward),
            "down": export.shape(c.experts, c.feed_forward, c.hidden),
        },
    }


def route(c: Config, router: jax.Array, x: jax.Array) -> jax.Array:
    """The weight of each expert for each token, [batch, sequence, experts]; zero for those not chosen."""
    with jax.named_scope("router"):
        probabilities = jax.nn.softmax(x @ router, axis=-1)
        weights, experts = jax.lax.top_k(probabilities, c.chosen)
        weights = weights / jnp.sum(weights, axis=-1, keepdims=True)
        return jnp.einsum("bsk,bske->bse", weights, jax.nn.one_hot(experts, c.experts))


def moe(c: Config, params: Params, x: jax.Array) -> jax.Array:
    weights = route(c, params["router"], x)
    with jax.named_scope("experts"):
        p = params["experts"]
        gate, up = jnp.einsum("bsh,ehf->ebsf", x, p["gate"]), jnp.einsum("bsh,ehf->ebsf", x, p["up"])
        out = jnp.einsum("ebsf,efh->ebsh", jax.nn.silu(gate) * up, p["down"])
    with jax.named_scope("combine"):
        return jnp.einsum("ebsh,bse->bsh", out, weights)


def programs(c: Config) -> dict[str, export.Program]:
    def forward(params: Params, x: jax.Array) -> jax.Array:
        return x + moe(c, params, x)

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
