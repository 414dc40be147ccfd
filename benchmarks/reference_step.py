"""The Llama-like train step that autoshard is measured on, and a two-layer MLP: StableHLO text by jax, names included.

  python benchmarks/reference_step.py FOLDER        needs jax; writes llama_1.mlir, llama_2.mlir, llama_8.mlir, mlp.mlir

Hidden size 1024, feed-forward 2816, 16 query and 4 key/value heads of 64, vocabulary 32000, batch 16 x 512; parameters
in bf16, Adam's moments in f32, layers unrolled, embedding and output head apart.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "examples"), str(ROOT)]

import export  # noqa: E402

from benchmarks.autoshard_models.parts import adam  # noqa: E402

HIDDEN, FEED_FORWARD, HEADS, KV_HEADS, HEAD, VOCABULARY = 1024, 2816, 16, 4, 64, 32000
BATCH, SEQUENCE = 16, 512


def _weight(*dimensions: int) -> Any:
    return export.shape(*dimensions, dtype="bfloat16")


def parameters(layers: int) -> dict[str, Any]:
    def layer() -> dict[str, Any]:
        return {
            "attention_norm": _weight(HIDDEN), "mlp_norm": _weight(HIDDEN),
            "wq": _weight(HIDDEN, HEADS * HEAD), "wk": _weight(HIDDEN, KV_HEADS * HEAD),
            "wv": _weight(HIDDEN, KV_HEADS * HEAD), "wo": _weight(HEADS * HEAD, HIDDEN),
            "gate": _weight(HIDDEN, FEED_FORWARD), "up": _weight(HIDDEN, FEED_FORWARD),
            "down": _weight(FEED_FORWARD, HIDDEN),
        }

    return {
        "embedding": _weight(VOCABULARY, HIDDEN), "layers": [layer() for _ in range(layers)],
        "norm": _weight(HIDDEN), "head": _weight(HIDDEN, VOCABULARY),
    }


def _norm(scale: jax.Array, x: jax.Array) -> jax.Array:
    wide = x.astype(jnp.float32)
    return (wide * jax.lax.rsqrt(jnp.mean(wide * wide, axis=-1, keepdims=True) + 1e-5)).astype(x.dtype) * scale


def _rotate(x: jax.Array) -> jax.Array:
    half = x.shape[-1] // 2
    angle = jnp.arange(x.shape[1])[:, None] * 10000.0 ** -(jnp.arange(half) / half)
    cos, sin = (f(angle)[:, None, :].astype(x.dtype) for f in (jnp.cos, jnp.sin))
    first, second = x[..., :half], x[..., half:]
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


def _attention(p: dict[str, jax.Array], x: jax.Array) -> jax.Array:
    batch, sequence, _ = x.shape
    q = _rotate((x @ p["wq"]).reshape(batch, sequence, HEADS, HEAD))
    k = _rotate((x @ p["wk"]).reshape(batch, sequence, KV_HEADS, HEAD))
    v = (x @ p["wv"]).reshape(batch, sequence, KV_HEADS, HEAD)
    q = q.reshape(batch, sequence, KV_HEADS, HEADS // KV_HEADS, HEAD)
    scores = jnp.einsum("bskgd,btkd->bkgst", q, k).astype(jnp.float32) * HEAD**-0.5
    causal = jnp.tril(jnp.ones((sequence, sequence), dtype=bool))
    weights = jax.nn.softmax(jnp.where(causal, scores, -1e30), axis=-1).astype(x.dtype)
    out = jnp.einsum("bkgst,btkd->bskgd", weights, v)
    return out.reshape(batch, sequence, HEADS * HEAD) @ p["wo"]


def _mlp(p: dict[str, jax.Array], x: jax.Array) -> jax.Array:
    return (jax.nn.silu(x @ p["gate"]) * (x @ p["up"])) @ p["down"]


def _loss(params: dict[str, Any], tokens: jax.Array, targets: jax.Array) -> jax.Array:
    x = params["embedding"][tokens]
    for p in params["layers"]:
        x = x + _attention(p, _norm(p["attention_norm"], x))
        x = x + _mlp(p, _norm(p["mlp_norm"], x))
    logits = (_norm(params["norm"], x) @ params["head"]).astype(jnp.float32)
    wanted = jax.nn.one_hot(targets, VOCABULARY, dtype=jnp.float32)
    return -jnp.mean(jnp.sum(jax.nn.log_softmax(logits) * wanted, axis=-1))


def train_step(
    params: dict[str, Any], first: dict[str, Any], second: dict[str, Any], tokens: jax.Array, targets: jax.Array
) -> Any:
    loss, gradients = jax.value_and_grad(_loss)(params, tokens, targets)
    params, first, second = adam(params, first, second, gradients)
    return {"loss": loss, "params": params, "first": first, "second": second}


def llama(layers: int) -> str:
    """The train step of a model of ``layers`` layers."""
    params = parameters(layers)
    moments = export.like(params, jnp.float32)
    tokens = export.shape(BATCH, SEQUENCE, dtype="int32")
    return export.text(export.Program(
        train_step, (params, moments, moments, tokens, tokens), donate=("params", "first", "second")
    ))


def mlp() -> str:
    """relu(x w1) w2 in bf16, 1024 x 4096 x 16384 x 4096."""
    def forward(x: jax.Array, params: dict[str, jax.Array]) -> jax.Array:
        return jax.nn.relu(x @ params["up"]) @ params["down"]

    params = {"up": _weight(4096, 16384), "down": _weight(16384, 4096)}
    return export.text(export.Program(forward, (_weight(1024, 4096), params)))


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in [*((f"llama_{n}", llama(n)) for n in (1, 2, 8)), ("mlp", mlp())]:
        (folder / f"{name}.mlir").write_text(text)


if __name__ == "__main__":
    main()
