"""Gradients of the parts of a layer that are no sparse ops: routers, activations, shared experts.

T tokens, E experts, K slots of a token, H columns.
"""

from __future__ import annotations

from dataclasses import dataclass

from passes.moe.layers import ALPHA, LIMIT, LayerWriter, Routed
from passes.moe.writer import Value, Writer

# By the name of a parameter.
Named = dict[str, Value]


@dataclass(frozen=True)
class Gradients:
    """Writes gradients of one layer, whose input is ``x`` [T,H]."""

    layer: LayerWriter
    x: Value

    @property
    def w(self) -> Writer:
        """What is written to."""
        return self.layer.w

    # -- router ------------------------------------------------------------------------------------------------------

    def router(self, routed: Routed, by_weights: Value) -> tuple[Value, Named]:
        """From the gradient by the weights [T,K], that by ``x`` and by the router's parameters.

        Which experts are selected has no gradient: neither has a bias that is only added for that, nor have groups.
        """
        w, given, router = self.w, self.layer.given, self.layer.c.router
        by_logits = self._by_logits(routed, by_weights)
        found = {"router": w.dot(self.x, by_logits, ((0,), (0,)))}
        if router.bias:
            found["router_bias"] = w.sum(by_logits, 0)
        if router.correction:
            found["correction_bias"] = w.full((self.layer.c.experts,), self.x.element, 0)
        return w.dot(by_logits, given["router"], ((1,), (1,))), found

    def _by_logits(self, routed: Routed, by_weights: Value) -> Value:
        """[T,E]."""
        w, router, scores = self.w, self.layer.c.router, routed.scores
        if router.scale != 1:
            by_weights = w.binary("multiply", by_weights, w.full(by_weights.shape, by_weights.element, router.scale))
        if router.score == "selected":
            return self._spread(self._of_softmax(routed.shares, by_weights), routed.indices)
        if routed.total is not None:
            mean = self._rowwise(by_weights, routed.shares)
            by_weights = w.binary("divide", w.binary("subtract", by_weights, mean),
                                  self.layer.columns(routed.total, by_weights))
        by_scores = self._spread(by_weights, routed.indices)
        if router.score == "softmax":
            return self._of_softmax(scores, by_scores)
        return w.binary("multiply", by_scores, self._sigmoid_slope(scores))

    def _of_softmax(self, found: Value, by_found: Value) -> Value:
        """The gradient by what ``found`` is the softmax of, row by row."""
        w = self.w
        return w.binary("multiply", found, w.binary("subtract", by_found, self._rowwise(by_found, found)))

    def _rowwise(self, a: Value, b: Value) -> Value:
        """The products of the rows of ``a`` and ``b`` with each other, in the shape of both."""
        w = self.w
        return self.layer.columns(w.sum(w.binary("multiply", a, b), 1), a)

    def _spread(self, values: Value, indices: Value) -> Value:
        """[T,E]: ``values`` [T,K] at the experts of ``indices``, else zero."""
        w = self.w
        hot = self.layer.hot(indices, self.layer.c.experts)
        zero = w.full(hot.shape, values.element, 0)
        return w.sum(w.select(hot, w.broadcast(values, hot.shape, (0, 1)), zero), 1)

    def _sigmoid_slope(self, glow: Value) -> Value:
        w = self.w
        return w.binary("multiply", glow, w.binary("subtract", w.full(glow.shape, glow.element, 1), glow))

    # -- activation --------------------------------------------------------------------------------------------------

    def activation(self, gate: Value, up: Value, by_hidden: Value) -> tuple[Value, Value]:
        """From the gradient by what the second product gets, those by gate and up."""
        return (self._silu if self.layer.c.activation == "silu" else self._clamped)(gate, up, by_hidden)

    def _silu(self, gate: Value, up: Value, by_hidden: Value) -> tuple[Value, Value]:
        """Of silu(gate) * up."""
        w = self.w
        glow = w.unary("logistic", gate)
        slope = w.binary("add", glow, w.binary("multiply", gate, self._sigmoid_slope(glow)))
        by_gate = w.binary("multiply", w.binary("multiply", by_hidden, up), slope)
        return by_gate, w.binary("multiply", by_hidden, w.binary("multiply", gate, glow))

    def _clamped(self, gate: Value, up: Value, by_hidden: Value) -> tuple[Value, Value]:
        """Of (u + 1) * g * sigmoid(a * g), g and u being gate and up, clamped; nothing comes back from beyond that."""
        w = self.w

        def full(number: float) -> Value:
            return w.full(gate.shape, gate.element, number)

        def zero_unless(condition: Value, value: Value) -> Value:
            return w.select(condition, value, full(0))

        g = w.binary("minimum", gate, full(LIMIT))
        u = w.binary("maximum", w.binary("minimum", up, full(LIMIT)), full(-LIMIT))
        glow = w.unary("logistic", w.binary("multiply", g, full(ALPHA)))
        bent = w.binary("multiply", w.binary("multiply", g, full(ALPHA)), self._sigmoid_slope(glow))
        by_g = w.binary("multiply", w.binary("multiply", by_hidden, w.binary("add", u, full(1))),
                        w.binary("add", glow, bent))
        by_u = w.binary("multiply", by_hidden, w.binary("multiply", g, glow))
        is_within = w.binary("and", w.compare("LE", up, full(LIMIT)), w.compare("GE", up, full(-LIMIT)))
        return zero_unless(w.compare("LE", gate, full(LIMIT)), by_g), zero_unless(is_within, by_u)

    # -- shared expert -----------------------------------------------------------------------------------------------

    def shared(self, by_y: Value) -> tuple[Value, Named]:
        """From the gradient by what the layer computes [T,H], that by ``x`` and by the shared expert's parameters."""
        w, x, given = self.w, self.x, self.layer.given
        gate, up = (w.dot(x, given[name], ((1,), (0,))) for name in ("shared_w1", "shared_w3"))
        hidden = w.binary("multiply", w.binary("multiply", gate, w.unary("logistic", gate)), up)
        by_gates, found = None, {}
        if self.layer.c.shared_gate:
            share = w.unary("logistic", w.dot(x, given["shared_gate"], ((1,), (0,))))
            y = w.dot(hidden, given["shared_w2"], ((1,), (0,)))
            by_share = w.reshape(w.sum(w.binary("multiply", by_y, y), 1), share.shape)
            by_logit = w.binary("multiply", by_share, self._sigmoid_slope(share))
            found["shared_gate"] = w.dot(x, by_logit, ((0,), (0,)))
            by_gates = w.dot(by_logit, given["shared_gate"], ((1,), (1,)))
            by_y = w.binary("multiply", by_y, w.broadcast(share, by_y.shape, (0, 1)))
        by_hidden = w.dot(by_y, given["shared_w2"], ((1,), (1,)))
        by_gate, by_up = self._silu(gate, up, by_hidden)
        found |= {
            "shared_w1": w.dot(x, by_gate, ((0,), (0,))), "shared_w3": w.dot(x, by_up, ((0,), (0,))),
            "shared_w2": w.dot(hidden, by_y, ((0,), (0,))),
        }
        by_x = w.binary("add", w.dot(by_gate, given["shared_w1"], ((1,), (1,))),
                        w.dot(by_up, given["shared_w3"], ((1,), (1,))))
        return (by_x if by_gates is None else w.binary("add", by_x, by_gates)), found
