"""Writes the mixture-of-experts layer of a `Configuration` as StableHLO: dense, or with the ops of `ops`.

  module("sparse", CONFIGURATIONS["olmoe-1b-7b"].small(), tokens=32)

has one function ``main(x [T,H], parameters...) -> [T,H]``. The dense form computes every expert for every token and
weighs with a matrix [T,E] that is zero for experts that were not selected. The sparse form dispatches, computes the
selected blocks and combines; with `reduction_size` R blocks are chunks of R tokens. Either way the router gives weights
and numbers of experts [T,K], best first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from passes.moe.configuration import Configuration
from passes.moe.decompose import decomposition
from passes.moe.ops import (
    COMBINE,
    DISPATCH,
    REMAP,
    SPARSE_MATMUL,
    Call,
    Op,
    Type,
    combined_shape,
    dispatched_shape,
    problem,
    product_shape,
)
from passes.moe.writer import Value, Writer

Form = Literal["dense", "sparse"]
# GPT-OSS's activation.
LIMIT, ALPHA = 7.0, 1.702


@dataclass(frozen=True)
class Shape:
    """How many tokens a layer is written for, and how.

    Attributes:
      multiple: Blocks are padded to a multiple of this (the devices that will share the tokens, say).
      reduction_size: Tokens per block of a sparse product; more than 1 takes `moe_expert_token_remap` for the masks.
    """

    tokens: int
    element: str = "f32"
    multiple: int = 1
    reduction_size: int = 1

    @property
    def padded(self) -> int:
        """The number of tokens with padding."""
        step = self.multiple * self.reduction_size
        return math.ceil(self.tokens / step) * step


def parameters(c: Configuration) -> dict[str, tuple[int, ...]]:
    """The shapes of a layer's parameters by name, in the order of its arguments."""
    e, h, i = c.experts, c.hidden, c.intermediate
    found: dict[str, tuple[int, ...]] = {"router": (h, e)}
    found |= {"router_bias": (e,)} if c.router.bias else {}
    found |= {"correction_bias": (e,)} if c.router.correction else {}
    by_layout: dict[str, dict[str, tuple[int, ...]]] = {
        "separate": {"w1": (e, h, i), "w3": (e, h, i), "w2": (e, i, h)},
        "interleaved": {"gate_up": (e, h, 2 * i), "down": (e, i, h)},
        "stacked": {"gate_up": (e, 2 * i, h), "down": (e, h, i)},
    }
    found |= by_layout[c.weights]
    found |= {"gate_up_bias": (e, 2 * i), "down_bias": (e, h)} if c.biases else {}
    s = c.shared
    found |= {"shared_w1": (h, s), "shared_w3": (h, s), "shared_w2": (s, h)} if s else {}
    return found | ({"shared_gate": (h, 1)} if c.shared_gate else {})


def module(form: Form, configuration: Configuration, shape: Shape, layers: int = 1) -> str:
    """A module whose ``main`` takes tokens [T,H] and the parameters of ``layers`` layers.

    One layer returns what it computes; of several each adds that to its input.
    """
    functions = Functions()
    w = Writer("main", public=True)
    x = w.argument((shape.tokens, configuration.hidden), shape.element, "x")
    for number in range(layers):
        prefix = f"layers[{number}]." if layers > 1 else ""
        given = {name: w.argument(size, shape.element, prefix + name)
                 for name, size in parameters(configuration).items()}
        y = LayerWriter(w, configuration, shape, given, functions).write(form, x)
        x = w.binary("add", x, y) if layers > 1 else y
    return "\n".join([w.finish([x]), *functions.texts.values()])


@dataclass
class Functions:
    """The decompositions of one module."""

    texts: dict[str, str] = field(default_factory=dict)
    _names: dict[str, str] = field(default_factory=dict)

    def name(self, call: Call) -> str:
        """The name of a function that computes ``call``."""
        key = repr((call.op.name, call.attributes, call.operands, call.results))
        if key not in self._names:
            same = sum(name.startswith(call.op.name) for name in self.texts)
            self._names[key] = name = f"{call.op.name}_{same}" if same else call.op.name
            self.texts[name] = decomposition(call, name)
        return self._names[key]


@dataclass(frozen=True)
class Routed:
    """What a router says, and what its gradient needs of how it got there.

    Attributes:
      weights, indices: Of the selected experts of each token, [T,K].
      scores: Of all experts [T,E]; if those are of the selected only, [T,K].
      shares: The weights before they are scaled.
      total: What they were divided by, [T], if they were.
    """

    weights: Value
    indices: Value
    scores: Value
    shares: Value
    total: Value | None


@dataclass(frozen=True)
class LayerWriter:
    """One layer being written."""

    w: Writer
    c: Configuration
    shape: Shape
    given: dict[str, Value]
    functions: Functions

    def write(self, form: Form, x: Value) -> Value:
        """The layer's result [T,H] for ``x`` [T,H]."""
        w, shape = self.w, self.shape
        x = w.pad_end(x, 0, shape.padded - shape.tokens, 0) if form == "sparse" else x
        routed = self.route(x)
        weights, indices = routed.weights, routed.indices
        y = self._dense(x, weights, indices) if form == "dense" else self._sparse(x, weights, self._real(indices))
        y = w.binary("add", y, self.shared(x)) if self.c.shared else y
        return w.slice(y, 0, 0, shape.tokens) if y.shape[0] > shape.tokens else y

    # -- router ------------------------------------------------------------------------------------------------------

    def route(self, x: Value) -> Routed:
        """What the router says of each token."""
        w, router = self.w, self.c.router
        logits = w.dot(x, self.given["router"], ((1,), (0,)))
        if router.bias:
            logits = w.binary("add", logits, self._rows(self.given["router_bias"], logits))
        if router.score == "selected":
            values, indices = w.top_k(logits, self.c.chosen)
            shares = self.softmax(values)
            return Routed(shares, indices, shares, shares, None)
        scores = self.softmax(logits) if router.score == "softmax" else w.unary("logistic", logits)
        wanted = scores
        if router.correction:
            wanted = w.binary("add", scores, self._rows(self.given["correction_bias"], scores))
        if router.groups > 1:
            wanted = self._of_best_groups(wanted)
        values, indices = w.top_k(wanted, self.c.chosen)
        weights = values if wanted is scores else self._picked(scores, indices)
        total = None
        if router.normalized:
            total = w.sum(weights, 1)
            if router.epsilon:
                total = w.binary("add", total, w.full(total.shape, total.element, router.epsilon))
            weights = w.binary("divide", weights, self.columns(total, weights))
        shares = weights
        if router.scale != 1:
            weights = w.binary("multiply", weights, w.full(weights.shape, weights.element, router.scale))
        return Routed(weights, indices, scores, shares, total)

    def softmax(self, x: Value) -> Value:
        """The softmax of each row."""
        w = self.w
        powers = w.unary("exponential", w.binary("subtract", x, self.columns(w.max(x, 1), x)))
        return w.binary("divide", powers, self.columns(w.sum(powers, 1), x))

    def _of_best_groups(self, scores: Value) -> Value:
        """``scores`` with zero for the experts of all but the best groups; the two best experts speak for a group."""
        w, groups = self.w, self.c.router.groups
        tokens, experts = scores.shape
        parts = w.reshape(scores, (tokens, groups, experts // groups))
        best, _ = w.top_k(parts, min(2, experts // groups))
        _, kept = w.top_k(w.sum(best, 2), self.c.router.kept_groups)
        hot = w.any(self.hot(kept, groups), 1)
        mask = w.reshape(w.broadcast(hot, parts.shape, (0, 1)), scores.shape)
        return w.select(mask, scores, w.full(scores.shape, scores.element, 0))

    def _picked(self, scores: Value, indices: Value) -> Value:
        """``scores[t, indices[t, k]]``."""
        w, hot = self.w, self.hot(indices, scores.shape[1])
        spread = w.broadcast(scores, hot.shape, (0, 2))
        return w.sum(w.select(hot, spread, w.full(hot.shape, scores.element, 0)), 2)

    def hot(self, indices: Value, count: int) -> Value:
        """[T,K,count]: where the last index is ``indices[t, k]``."""
        w, grid = self.w, (*indices.shape, count)
        return w.compare("EQ", w.broadcast(indices, grid, (0, 1)), w.iota(grid, 2))

    # -- experts -----------------------------------------------------------------------------------------------------

    def _dense(self, x: Value, weights: Value, indices: Value) -> Value:
        """Every expert on every token, weighed."""
        w, c = self.w, self.c
        hot = self.hot(indices, c.experts)
        spread = w.select(hot, w.broadcast(weights, hot.shape, (0, 1)), w.full(hot.shape, weights.element, 0))
        by_expert = w.transpose(w.sum(spread, 1), (1, 0))
        products = [w.transpose(w.dot(m, x, ((1,), (1,))), (0, 2, 1)) for m in self.first()]
        hidden = self.activate(*self.gate_and_up(products, 0))
        y = w.dot(hidden, self.second(), ((2,), (1,)), ((0,), (0,)))
        if c.biases:
            y = w.binary("add", y, w.broadcast(self.given["down_bias"], y.shape, (0, 2)))
        return w.sum(w.binary("multiply", y, w.broadcast(by_expert, y.shape, (0, 1))), 0)

    def _sparse(self, x: Value, weights: Value, indices: Value) -> Value:
        """The selected experts on the tokens that selected them."""
        w, c, shape = self.w, self.c, self.shape
        t, h, k, e = shape.padded, c.hidden, c.chosen, c.experts
        mapping = w.full((1, 1, e, 1), "i32", 1)
        rows = [w.reshape(v, (t, 1, 1, n)) for v, n in ((x, h), (indices, k))]
        dispatched, metadata = self.op(
            DISPATCH, [*rows, mapping],
            [Type(dispatched_shape(v.shape, 1, v.shape[3]), v.element) for v in rows],
            {"num_devices": 1, "cluster_axis": 0},
        )
        blocks, size = t // shape.reduction_size, shape.reduction_size
        first, second = self.masks(metadata, mapping, blocks, size)
        tokens = w.reshape(dispatched, (1, blocks, size, h))
        products = [self.product(tokens, m, first, a_sparse=False) for m in self.first()]
        # [1, blocks, 1, E, R, N] -> [blocks, E, R, N]
        products = [w.reshape(p, (blocks, e, size, p.shape[5])) for p in products]
        hidden = self.activate(*self.gate_and_up(products, 1))
        y = self.product(hidden, self.second(), second, a_sparse=True)
        if c.biases:
            y = w.binary("add", y, w.broadcast(self.given["down_bias"], y.shape, (1, 3)))
        by_expert = w.reshape(w.transpose(y, (1, 0, 2, 3)), (e, t, 1, h))
        combined, = self.op(
            COMBINE, [by_expert, metadata, mapping], [Type(combined_shape(by_expert.shape, k, 1, 1), y.element)],
            {"num_devices": 1, "cluster_axis": 0, "num_experts_per_tok": k, "output_shard_dim": 1},
        )
        slots = w.reshape(combined, (k, t, h))
        weighed = w.binary("multiply", slots, w.broadcast(w.transpose(weights, (1, 0)), slots.shape, (0, 1)))
        return w.sum(weighed, 0)

    def _real(self, indices: Value) -> Value:
        """``indices``, but number E, which no device owns, for tokens that are padding."""
        w, tokens = self.w, self.shape.tokens
        if indices.shape[0] == tokens:
            return indices
        is_real = w.compare("LT", w.iota(indices.shape, 0), w.full(indices.shape, "i32", tokens))
        return w.select(is_real, indices, w.full(indices.shape, "i32", self.c.experts))

    def masks(self, metadata: Value, mapping: Value, blocks: int, size: int) -> tuple[Value, Value]:
        """The masks of the first and the second product: [1,blocks,1,E] and [1,1,blocks,E]."""
        w, e, t = self.w, self.c.experts, metadata.shape[1]
        hot = w.any(self.hot(w.reshape(metadata, (t, metadata.shape[3])), e), 1)
        mask = w.convert(hot, self.shape.element)
        if size > 1:
            _, mask = self.op(
                REMAP, [w.reshape(mask, (1, t, 1, e)), mapping, metadata],
                [Type((1, t, 1, e), mask.element), Type((1, 1, blocks, e), mask.element)], {"reduction_size": size},
            )
        return w.reshape(mask, (1, blocks, 1, e)), w.reshape(mask, (1, 1, blocks, e))

    def product(self, a: Value, b: Value, mask: Value, *, a_sparse: bool) -> Value:
        """A sparse product with the matrices ``b`` [E,K,N]."""
        weights = self.w.reshape(b, (1, *b.shape))
        shape = product_shape(a.shape, weights.shape, a_sparse)
        found, = self.op(
            SPARSE_MATMUL, [a, weights, mask], [Type(shape, a.element)],
            {"is_input_a_sparse": a_sparse, "is_input_b_sparse": not a_sparse, "nnz": 0},
        )
        return found

    def first(self) -> list[Value]:
        """The matrices of the first products, [E,H,I] twice or [E,H,2I]."""
        if self.c.weights == "separate":
            return [self.given["w1"], self.given["w3"]]
        stacked = self.c.weights == "stacked"
        return [self.w.transpose(self.given["gate_up"], (0, 2, 1)) if stacked else self.given["gate_up"]]

    def second(self) -> Value:
        """The matrices of the second product, [E,I,H]."""
        if self.c.weights == "stacked":
            return self.w.transpose(self.given["down"], (0, 2, 1))
        return self.given["w2" if self.c.weights == "separate" else "down"]

    def gate_and_up(self, products: list[Value], expert_dim: int) -> tuple[Value, Value]:
        """Gate and up [...,I] of the first products, which have experts along ``expert_dim``."""
        w, i = self.w, self.c.intermediate
        if len(products) == 2:
            return products[0], products[1]
        both = products[0]
        last = len(both.shape) - 1
        if self.c.biases:
            both = w.binary("add", both, w.broadcast(self.given["gate_up_bias"], both.shape, (expert_dim, last)))
        if self.c.weights == "interleaved":
            return w.slice(both, last, 0, 2 * i - 1, 2), w.slice(both, last, 1, 2 * i, 2)
        return w.slice(both, last, 0, i), w.slice(both, last, i, 2 * i)

    def activate(self, gate: Value, up: Value) -> Value:
        """What the second product gets, of gate and up."""
        w = self.w

        def full(number: float) -> Value:
            return w.full(gate.shape, gate.element, number)

        if self.c.activation == "silu":
            return w.binary("multiply", w.binary("multiply", gate, w.unary("logistic", gate)), up)
        gate = w.binary("minimum", gate, full(LIMIT))
        up = w.binary("maximum", w.binary("minimum", up, full(LIMIT)), full(-LIMIT))
        glow = w.binary("multiply", gate, w.unary("logistic", w.binary("multiply", gate, full(ALPHA))))
        return w.binary("multiply", w.binary("add", up, full(1)), glow)

    def shared(self, x: Value) -> Value:
        """What the shared expert says of each token."""
        w, given = self.w, self.given
        gate, up = (w.dot(x, given[name], ((1,), (0,))) for name in ("shared_w1", "shared_w3"))
        y = w.dot(w.binary("multiply", w.binary("multiply", gate, w.unary("logistic", gate)), up), given["shared_w2"],
                  ((1,), (0,)))
        if not self.c.shared_gate:
            return y
        share = w.unary("logistic", w.dot(x, given["shared_gate"], ((1,), (0,))))
        return w.binary("multiply", y, w.broadcast(share, y.shape, (0, 1)))

    # -- helpers -----------------------------------------------------------------------------------------------------

    def op(
        self, op: Op, operands: Sequence[Value], results: Sequence[Type], attributes: dict[str, int | bool]
    ) -> list[Value]:
        """A composite of the table."""
        call = Call(op, attributes, tuple(Type(v.shape, v.element) for v in operands), tuple(results))
        assert not problem(call), problem(call)
        text = ", ".join(f"{name} = {str(value).lower()}" for name, value in sorted(attributes.items()))
        types = [(t.shape, t.element) for t in results]
        return self.w.composite(op.composite, operands, types, self.functions.name(call), text)

    def _rows(self, vector: Value, like: Value) -> Value:
        return self.w.broadcast(vector, like.shape, (1,))

    def columns(self, vector: Value, like: Value) -> Value:
        """``vector``, a number for each row, in the shape of ``like``."""
        return self.w.broadcast(vector, like.shape, (0,))
