"""Decoders (Llama, GPT, T32), their inference with a key-value cache, and the vision transformer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import export
import jax
import jax.numpy as jnp
from parts import Params, cross_entropy, layer_norm, rms_norm, shape, stacked, train_step


@dataclass(frozen=True)
class Decoder:
    """A decoder.

    Attributes:
      gated: SwiGLU, RMS norms, rotary positions, as in Llama; else GELU, layer norms, learned positions, as in GPT.
      tied: The output head is the embedding.
      scanned: Layers are one loop, recomputed in the backward pass; else they are unrolled.
      sequences: Of the batch, for each device.
    """

    layers: int
    hidden: int
    feed_forward: int
    heads: int
    kv_heads: int
    head: int
    vocabulary: int
    sequence: int = 2048
    sequences: int = 2
    gated: bool = True
    tied: bool = False
    scanned: bool = True
    dtype: str = "bfloat16"


def norm_shape(c: Decoder) -> Any:
    scale = shape(c.hidden, dtype=c.dtype)
    return scale if c.gated else {"scale": scale, "offset": scale}


def normed(c: Decoder, p: Any, x: jax.Array) -> jax.Array:
    return rms_norm(p, x) if c.gated else layer_norm(p, x)


def attention_shapes(c: Decoder) -> Params:
    return {
        "wq": shape(c.hidden, c.heads * c.head, dtype=c.dtype),
        "wk": shape(c.hidden, c.kv_heads * c.head, dtype=c.dtype),
        "wv": shape(c.hidden, c.kv_heads * c.head, dtype=c.dtype),
        "wo": shape(c.heads * c.head, c.hidden, dtype=c.dtype),
    }


def mlp_shapes(c: Decoder) -> Params:
    reads = ("gate", "up") if c.gated else ("up",)
    return {
        **{name: shape(c.hidden, c.feed_forward, dtype=c.dtype) for name in reads},
        "down": shape(c.feed_forward, c.hidden, dtype=c.dtype),
    }


def layer_shapes(c: Decoder) -> Params:
    return {
        "attention_norm": norm_shape(c), "attention": attention_shapes(c),
        "mlp_norm": norm_shape(c), "mlp": mlp_shapes(c),
    }


def parameters(c: Decoder, layers: Any = None) -> Params:
    """Parameters of the model; ``layers`` in place of those of plain layers."""
    if layers is None:
        one = layer_shapes(c)
        layers = stacked(one, c.layers) if c.scanned else [one for _ in range(c.layers)]
    found = {"embedding": shape(c.vocabulary, c.hidden, dtype=c.dtype), "layers": layers, "norm": norm_shape(c)}
    if not c.gated:
        found["positions"] = shape(c.sequence, c.hidden, dtype=c.dtype)
    if not c.tied:
        found["head"] = shape(c.hidden, c.vocabulary, dtype=c.dtype)
    return found


def rotate(x: jax.Array, position: jax.Array) -> jax.Array:
    """Rotary embedding of ``x`` [batch, sequence, heads, head] at ``position`` [sequence], halves convention."""
    half = x.shape[-1] // 2
    angle = position.astype(jnp.float32)[:, None] * 10000.0 ** -(jnp.arange(half) / half)
    cos, sin = (f(angle)[:, None, :].astype(x.dtype) for f in (jnp.cos, jnp.sin))
    first, second = x[..., :half], x[..., half:]
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


def heads_of(c: Decoder, p: Params, x: jax.Array, position: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    batch, sequence, _ = x.shape
    q = (x @ p["wq"]).reshape(batch, sequence, c.heads, c.head)
    k = (x @ p["wk"]).reshape(batch, sequence, c.kv_heads, c.head)
    v = (x @ p["wv"]).reshape(batch, sequence, c.kv_heads, c.head)
    return (rotate(q, position), rotate(k, position), v) if c.gated else (q, k, v)


def attend(c: Decoder, p: Params, q: jax.Array, k: jax.Array, v: jax.Array, seen: jax.Array | None) -> jax.Array:
    """Attention of ``q`` to what it has ``seen`` [sequence, keys] (all if that is ``None``), and the output matrix."""
    batch, sequence = q.shape[:2]
    q = q.reshape(batch, sequence, c.kv_heads, c.heads // c.kv_heads, c.head)
    scores = jnp.einsum("bskgd,btkd->bkgst", q, k).astype(jnp.float32) * c.head**-0.5
    if seen is not None:
        scores = jnp.where(seen, scores, -1e30)
    weights = jax.nn.softmax(scores, axis=-1).astype(q.dtype)
    out = jnp.einsum("bkgst,btkd->bskgd", weights, v)
    return out.reshape(batch, sequence, c.heads * c.head) @ p["wo"]


def attention(c: Decoder, p: Params, x: jax.Array) -> jax.Array:
    position = jnp.arange(x.shape[1])
    q, k, v = heads_of(c, p, x, position)
    return attend(c, p, q, k, v, position[:, None] >= position[None, :])


def mlp(c: Decoder, p: Params, x: jax.Array) -> jax.Array:
    if c.gated:
        return (jax.nn.silu(x @ p["gate"]) * (x @ p["up"])) @ p["down"]
    return jax.nn.gelu(x @ p["up"], approximate=True) @ p["down"]


def layer(c: Decoder, p: Params, x: jax.Array) -> jax.Array:
    x = x + attention(c, p["attention"], normed(c, p["attention_norm"], x))
    return x + mlp(c, p["mlp"], normed(c, p["mlp_norm"], x))


def through(body: Callable[[Params, jax.Array], jax.Array], layers: Any, x: jax.Array) -> jax.Array:
    """``x`` through all layers: a list of them, or a loop over stacked ones, each recomputed in the backward pass."""
    if isinstance(layers, list):
        for p in layers:
            x = body(p, x)
        return x
    return jax.lax.scan(lambda x, p: (jax.checkpoint(body)(p, x), None), x, layers)[0]


def logits(c: Decoder, params: Params, tokens: jax.Array, run: Callable[[jax.Array], jax.Array]) -> jax.Array:
    """What the model says of each token's successor; ``run`` are its layers."""
    x = params["embedding"][tokens]
    if not c.gated:
        x = x + params["positions"]
    x = normed(c, params["norm"], run(x))
    return x @ (params["embedding"].T if c.tied else params["head"])


def decoder(c: Decoder, devices: int) -> export.Program:
    """The train step of a decoder."""
    def loss(params: Params, tokens: jax.Array, targets: jax.Array) -> jax.Array:
        run = lambda x: through(lambda p, x: layer(c, p, x), params["layers"], x)  # noqa: E731
        return cross_entropy(logits(c, params, tokens, run), targets)

    tokens = shape(c.sequences * devices, c.sequence, dtype="int32")
    return train_step(loss, parameters(c), ("tokens", tokens), ("targets", tokens))


def cached(c: Decoder, devices: int) -> export.Program:
    """One step of inference: the next token of each sequence, with the keys and values of all before it in a cache."""
    def decode(params: Params, cache: Params, tokens: jax.Array, position: jax.Array) -> Params:
        def one(x: jax.Array, step: tuple[Params, Params]) -> tuple[jax.Array, Params]:
            p, kept = step
            q, k, v = heads_of(c, p["attention"], normed(c, p["attention_norm"], x), position[None])
            kept = {
                name: jax.lax.dynamic_update_slice(kept[name], new, (0, position, 0, 0))
                for name, new in (("k", k), ("v", v))
            }
            seen = (jnp.arange(c.sequence) <= position)[None, :]
            x = x + attend(c, p["attention"], q, kept["k"], kept["v"], seen)
            return x + mlp(c, p["mlp"], normed(c, p["mlp_norm"], x)), kept

        x, cache = jax.lax.scan(one, params["embedding"][tokens][:, None], (params["layers"], cache))
        said = (normed(c, params["norm"], x[:, 0]) @ params["head"]).astype(jnp.float32)
        return {"logits": said, "cache": cache}

    batch = c.sequences * devices
    kept = shape(c.layers, batch, c.sequence, c.kv_heads, c.head, dtype=c.dtype)
    arguments = (parameters(c), {"k": kept, "v": kept}, shape(batch, dtype="int32"), shape(dtype="int32"))
    return export.Program(decode, arguments, donate=("cache",))


@dataclass(frozen=True)
class Vision:
    """A vision transformer: the decoder's layers without a mask, over patches of an image."""

    body: Decoder
    image: int
    patch: int
    classes: int


def vision(c: Vision, devices: int) -> export.Program:
    """The train step of a vision transformer."""
    body, side = c.body, c.image // c.patch

    def run(p: Params, x: jax.Array) -> jax.Array:
        q, k, v = heads_of(body, p["attention"], normed(body, p["attention_norm"], x), jnp.arange(side * side))
        x = x + attend(body, p["attention"], q, k, v, None)
        return x + mlp(body, p["mlp"], normed(body, p["mlp_norm"], x))

    def loss(params: Params, images: jax.Array, labels: jax.Array) -> jax.Array:
        batch = images.shape[0]
        cut = images.reshape(batch, side, c.patch, side, c.patch, 3).transpose(0, 1, 3, 2, 4, 5)
        x = cut.reshape(batch, side * side, c.patch * c.patch * 3) @ params["patches"] + params["positions"]
        x = normed(body, params["norm"], through(run, params["layers"], x))
        return cross_entropy(jnp.mean(x, axis=1) @ params["head"], labels)

    batch = body.sequences * devices
    params = {
        "patches": shape(c.patch * c.patch * 3, body.hidden, dtype=body.dtype),
        "positions": shape(side * side, body.hidden, dtype=body.dtype),
        "layers": stacked(layer_shapes(body), body.layers), "norm": norm_shape(body),
        "head": shape(body.hidden, c.classes, dtype=body.dtype),
    }
    images = shape(batch, c.image, c.image, 3, dtype=body.dtype)
    return train_step(loss, params, ("images", images), ("labels", shape(batch, dtype="int32")))
