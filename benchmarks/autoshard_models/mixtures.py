"""Mixtures of experts: Mixtral, and DeepSeek-V3 with its compressed attention, shared expert and dense first layers.

Tokens go to experts in buffers of a fixed capacity for each sequence, by one-hot products (Lepikhin et al., 2020), so
that split experts are reached by all_to_alls; what does not fit is dropped.
"""

from __future__ import annotations

from dataclasses import dataclass

import export
import jax
import jax.numpy as jnp
from parts import Params, cross_entropy, rms_norm, shape, stacked, train_step
from transformers import (
    Decoder,
    attention,
    attention_shapes,
    logits,
    mlp,
    mlp_shapes,
    norm_shape,
    parameters,
    rotate,
    through,
)


@dataclass(frozen=True)
class Experts:
    """The sparse layers of a model.

    Attributes:
      chosen: Experts a token goes to.
      feed_forward: Of one expert.
      shared: Whether an expert more sees every token.
      slack: By how much the capacity exceeds an even spread.
    """

    experts: int
    chosen: int
    feed_forward: int
    shared: bool = False
    slack: float = 1.25


@dataclass(frozen=True)
class Latent:
    """Multi-head latent attention: ranks of the compressed queries and of keys and values, head sizes."""

    q_rank: int
    kv_rank: int
    rope: int
    nope: int
    value: int


@dataclass(frozen=True)
class Mixture:
    """A decoder whose layers, after ``dense`` plain ones, are sparse."""

    body: Decoder
    sparse: Experts
    dense: int = 0
    latent: Latent | None = None


def expert_shapes(c: Mixture) -> Params:
    e, h, f, dtype = c.sparse.experts, c.body.hidden, c.sparse.feed_forward, c.body.dtype
    found: Params = {
        "router": shape(h, e, dtype=dtype),
        "experts": {
            "gate": shape(e, h, f, dtype=dtype), "up": shape(e, h, f, dtype=dtype), "down": shape(e, f, h, dtype=dtype),
        },
    }
    if c.sparse.shared:
        found["shared"] = {
            "gate": shape(h, f, dtype=dtype), "up": shape(h, f, dtype=dtype), "down": shape(f, h, dtype=dtype),
        }
    return found


def routed(c: Experts, router: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Which token has which place of which expert, [batch, sequence, experts, capacity]: whether, and its weight."""
    batch, sequence, _ = x.shape
    capacity = max(4, int(sequence * c.chosen / c.experts * c.slack) // 4 * 4)
    scores = jax.nn.softmax((x @ router).astype(jnp.float32), axis=-1)
    weights, experts = jax.lax.top_k(scores, c.chosen)
    weights = weights / jnp.sum(weights, axis=-1, keepdims=True)
    picked = jax.nn.one_hot(experts, c.experts, dtype=jnp.float32)
    # A token's place at an expert: how many come to that expert before it, counting its own choices in order.
    flat = picked.reshape(batch, sequence * c.chosen, c.experts)
    place = (jnp.cumsum(flat, axis=1) - flat).reshape(picked.shape)
    places = jax.nn.one_hot(jnp.sum(place * picked, axis=-1), capacity, dtype=jnp.float32)
    dispatch = jnp.einsum("bske,bskc->bsec", picked, places)
    combine = jnp.einsum("bske,bskc,bsk->bsec", picked, places, weights)
    return jax.lax.stop_gradient(dispatch).astype(x.dtype), combine.astype(x.dtype)


def sparse_mlp(c: Mixture, p: Params, x: jax.Array) -> jax.Array:
    dispatch, combine = routed(c.sparse, p["router"], x)
    inside = jnp.einsum("bsec,bsh->ebch", dispatch, x)
    weights = p["experts"]
    gate, up = (jnp.einsum("ebch,ehf->ebcf", inside, weights[name]) for name in ("gate", "up"))
    out = jnp.einsum("ebcf,efh->ebch", jax.nn.silu(gate) * up, weights["down"])
    y = jnp.einsum("ebch,bsec->bsh", out, combine)
    return y + mlp(c.body, p["shared"], x) if c.sparse.shared else y


def latent_shapes(c: Decoder, m: Latent) -> Params:
    return {
        "q_down": shape(c.hidden, m.q_rank, dtype=c.dtype), "q_norm": shape(m.q_rank, dtype=c.dtype),
        "wq": shape(m.q_rank, c.heads * (m.nope + m.rope), dtype=c.dtype),
        "kv_down": shape(c.hidden, m.kv_rank + m.rope, dtype=c.dtype), "kv_norm": shape(m.kv_rank, dtype=c.dtype),
        "wk": shape(m.kv_rank, c.heads * m.nope, dtype=c.dtype),
        "wv": shape(m.kv_rank, c.heads * m.value, dtype=c.dtype),
        "wo": shape(c.heads * m.value, c.hidden, dtype=c.dtype),
    }


def latent_attention(c: Decoder, m: Latent, p: Params, x: jax.Array) -> jax.Array:
    batch, sequence, _ = x.shape
    position = jnp.arange(sequence)
    q = (rms_norm(p["q_norm"], x @ p["q_down"]) @ p["wq"]).reshape(batch, sequence, c.heads, m.nope + m.rope)
    packed = x @ p["kv_down"]
    small = rms_norm(p["kv_norm"], packed[..., : m.kv_rank])
    k = (small @ p["wk"]).reshape(batch, sequence, c.heads, m.nope)
    v = (small @ p["wv"]).reshape(batch, sequence, c.heads, m.value)
    # One rotated key serves all heads.
    shared = rotate(packed[..., m.kv_rank :][:, :, None], position)[:, :, 0]
    scores = jnp.einsum("bsnd,btnd->bnst", q[..., : m.nope], k)
    scores = scores + jnp.einsum("bsnd,btd->bnst", rotate(q[..., m.nope :], position), shared)
    scores = scores.astype(jnp.float32) * (m.nope + m.rope) ** -0.5
    weights = jax.nn.softmax(jnp.where(position[:, None] >= position, scores, -1e30), axis=-1).astype(x.dtype)
    return jnp.einsum("bnst,btnd->bsnd", weights, v).reshape(batch, sequence, c.heads * m.value) @ p["wo"]


def mixture(c: Mixture, devices: int) -> export.Program:
    """The train step of a mixture of experts; plain layers and sparse ones are a loop each."""
    body, latent = c.body, c.latent

    def attended(p: Params, x: jax.Array) -> jax.Array:
        normal = rms_norm(p["attention_norm"], x)
        if latent is not None:
            return x + latent_attention(body, latent, p["attention"], normal)
        return x + attention(body, p["attention"], normal)

    def plain(p: Params, x: jax.Array) -> jax.Array:
        x = attended(p, x)
        return x + mlp(body, p["mlp"], rms_norm(p["mlp_norm"], x))

    def sparse(p: Params, x: jax.Array) -> jax.Array:
        x = attended(p, x)
        return x + sparse_mlp(c, p["moe"], rms_norm(p["mlp_norm"], x))

    def loss(params: Params, tokens: jax.Array, targets: jax.Array) -> jax.Array:
        def run(x: jax.Array) -> jax.Array:
            x = through(plain, params["layers"]["dense"], x) if c.dense else x
            return through(sparse, params["layers"]["sparse"], x)

        return cross_entropy(logits(body, params, tokens, run), targets)

    inner = latent_shapes(body, latent) if latent is not None else attention_shapes(body)
    norms = {"attention_norm": norm_shape(body), "attention": inner, "mlp_norm": norm_shape(body)}
    layers = {"sparse": stacked({**norms, "moe": expert_shapes(c)}, body.layers - c.dense)}
    if c.dense:
        layers["dense"] = stacked({**norms, "mlp": mlp_shapes(body)}, c.dense)
    tokens = shape(body.sequences * devices, body.sequence, dtype="int32")
    return train_step(loss, parameters(body, layers), ("tokens", tokens), ("targets", tokens))
