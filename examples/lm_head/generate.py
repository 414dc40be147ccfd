"""The two ends of a language model: token embedding lookup, then norm, vocabulary projection and cross-entropy.

    python generate.py                        rewrites the .mlir files beside this file
    python generate.py --size full -o DIR     writes them with the vocabulary and width of Llama 3 8B
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
    vocabulary: int


SIZES = {
    "small": Config(batch=8, sequence=32, hidden=64, vocabulary=512),
    "full": Config(batch=8, sequence=8192, hidden=4096, vocabulary=128256),
}
NORM_EPSILON = 1e-5


def rms_norm(scale: jax.Array, x: jax.Array) -> jax.Array:
    with jax.named_scope("rms_norm"):
        return x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + NORM_EPSILON) * scale


def forward(params: Params, tokens: jax.Array) -> jax.Array:
    """Log-probabilities over the vocabulary, [batch, sequence, vocabulary]."""
    with jax.named_scope("embed"):
        x = params["embedding"][tokens]
    x = rms_norm(params["norm"], x)
    with jax.named_scope("head"):
        # A tied head is the embedding itself, transposed.
        logits = x @ (params["head"] if "head" in params else params["embedding"].T)
        return jax.nn.log_softmax(logits, axis=-1)


def cross_entropy(params: Params, tokens: jax.Array, labels: jax.Array) -> jax.Array:
    log_probabilities = forward(params, tokens)
    with jax.named_scope("cross_entropy"):
        return -jnp.mean(jnp.take_along_axis(log_probabilities, labels[..., None], axis=-1))


def train_step(params: Params, tokens: jax.Array, labels: jax.Array) -> dict[str, Any]:
    loss, gradients = jax.value_and_grad(cross_entropy)(params, tokens, labels)
    return {"loss": loss, "params": optimizer.sgd(params, gradients)}


def programs(c: Config) -> dict[str, export.Program]:
    tied = {"embedding": export.shape(c.vocabulary, c.hidden), "norm": export.shape(c.hidden)}
    separate = {**tied, "head": export.shape(c.hidden, c.vocabulary)}
    tokens = export.shape(c.batch, c.sequence, dtype="int32")
    return {
        "forward": export.Program(forward, (separate, tokens)),
        "train_step": export.Program(train_step, (separate, tokens, tokens), donate=("params",)),
        "train_step_tied": export.Program(train_step, (tied, tokens, tokens), donate=("params",)),
    }


if __name__ == "__main__":
    export.main(__file__, SIZES, programs)
