"""The layers of `layers` in numpy: every token through its selected experts, one after the other, in 64 bits."""

from __future__ import annotations

from typing import Any

import numpy as np

from passes.moe.configuration import Configuration

Array = np.ndarray[Any, Any]


def route(c: Configuration, x: Array, given: dict[str, Array]) -> tuple[Array, Array]:
    """The weights and numbers of the selected experts of each token, both [T,K]; of equal scores the first wins."""
    router = c.router
    logits = x @ given["router"] + (given["router_bias"] if router.bias else 0)
    if router.score == "selected":
        indices = _top(logits, c.chosen)
        return _softmax(np.take_along_axis(logits, indices, 1)), indices
    scores = _softmax(logits) if router.score == "softmax" else 1 / (1 + np.exp(-logits))
    wanted = scores + (given["correction_bias"] if router.correction else 0)
    if router.groups > 1:
        groups = wanted.reshape(len(x), router.groups, -1)
        best = _top(np.sort(groups, -1)[..., -2:].sum(-1), router.kept_groups)
        kept = (best[:, :, None] == np.arange(router.groups)).any(1)
        wanted = np.where(kept[:, :, None], groups, 0).reshape(wanted.shape)
    indices = _top(wanted, c.chosen)
    weights = np.take_along_axis(scores, indices, 1)
    if router.normalized:
        weights = weights / (weights.sum(1, keepdims=True) + router.epsilon)
    return weights * router.scale, indices


def layer(c: Configuration, x: Array, given: dict[str, Array]) -> Array:
    """What the layer computes for ``x`` [T,H]."""
    x, given = x.astype(np.float64), {name: value.astype(np.float64) for name, value in given.items()}
    weights, indices = route(c, x, given)
    out = np.zeros_like(x)
    for t, k in np.ndindex(indices.shape):
        out[t] += weights[t, k] * _expert(c, x[t], int(indices[t, k]), given)
    if c.shared:
        y = _silu(x @ given["shared_w1"]) * (x @ given["shared_w3"]) @ given["shared_w2"]
        out += y / (1 + np.exp(-x @ given["shared_gate"])) if c.shared_gate else y
    return out


def _expert(c: Configuration, row: Array, e: int, given: dict[str, Array]) -> Array:
    i = c.intermediate
    if c.weights == "separate":
        gate, up, down = row @ given["w1"][e], row @ given["w3"][e], given["w2"][e]
    else:
        stacked = c.weights == "stacked"
        both = row @ (given["gate_up"][e].T if stacked else given["gate_up"][e])
        both = both + (given["gate_up_bias"][e] if c.biases else 0)
        gate, up = (both[:i], both[i:]) if stacked else (both[::2], both[1::2])
        down = given["down"][e].T if stacked else given["down"][e]
    if c.activation == "silu":
        hidden = _silu(gate) * up
    else:
        gate, up = np.minimum(gate, 7), np.clip(up, -7, 7)
        hidden = (up + 1) * gate / (1 + np.exp(-1.702 * gate))
    found: Array = hidden @ down + (given["down_bias"][e] if c.biases else 0)
    return found


def _top(x: Array, count: int) -> Array:
    return np.argsort(-x, -1, kind="stable")[..., :count]


def _softmax(x: Array) -> Array:
    powers: Array = np.exp(x - x.max(-1, keepdims=True))
    found: Array = powers / powers.sum(-1, keepdims=True)
    return found


def _silu(x: Array) -> Array:
    found: Array = x / (1 + np.exp(-x))
    return found
