"""Writes a training step of a sparse layer: forward, gradients by the same sparse ops, and the parameters after it.

  loss = sum((layer(x) - target)^2) / 2,   parameter - rate * d loss / d parameter

A combine's gradient is a dispatch of what comes back, weighed on the other side; a sparse product's are a sparse
product and a product over tokens; a dispatch's is a combine, summed over slots. Undefined blocks are left out by
selects before anything is added up over tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

from passes.errors import UserError
from passes.moe.configuration import Configuration
from passes.moe.gradients import Gradients, Named
from passes.moe.layers import Functions, LayerWriter, Shape, parameters
from passes.moe.ops import COMBINE, DISPATCH, Type, combined_shape, dispatched_shape
from passes.moe.writer import Value, Writer


def train_step(configuration: Configuration, shape: Shape, rate: float) -> str:
    """A module whose ``main(x [T,H], target [T,H], parameters...)`` returns the loss, its gradient by x, parameters.

    Raises:
      UserError: there is padding, or blocks have several tokens.
    """
    c = configuration
    if shape.padded != shape.tokens or shape.reduction_size != 1:
        raise UserError(f"a training step has no padding: {shape.tokens} tokens are no multiple of {shape.multiple}, "
                        "or blocks have several tokens")
    functions, w = Functions(), Writer("main", public=True)
    x, target = (w.argument((shape.tokens, c.hidden), shape.element, name) for name in ("x", "target"))
    given = {name: w.argument(size, shape.element, name) for name, size in parameters(c).items()}
    loss, by_x, gradients = _Step(LayerWriter(w, c, shape, given, functions)).write(x, target)
    after = [w.binary("subtract", before, w.binary("multiply", gradients[name], w.full(before.shape, x.element, rate)))
             for name, before in given.items()]
    return "\n".join([w.finish([loss, by_x, *after]), *functions.texts.values()])


@dataclass(frozen=True)
class _Sent:
    """Tokens at their experts.

    Attributes:
      indices: Of the selected experts, [T,K]; `metadata`: as a dispatch returns them.
      mapping: Who owns which expert.
      rows: The tokens, [1,T,1,H].
      hot: Where a slot selected an expert, [T,K,E]; `kept`: where any of a token did, [T,E].
      first, second: The masks of products.
    """

    indices: Value
    metadata: Value
    mapping: Value
    rows: Value
    hot: Value
    kept: Value
    first: Value
    second: Value


@dataclass(frozen=True)
class _Step:
    """One training step being written; T tokens, E experts, K slots."""

    layer: LayerWriter

    def write(self, x: Value, target: Value) -> tuple[Value, Value, Named]:
        """The loss, its gradient by ``x``, and by the parameters."""
        layer, w = self.layer, self.layer.w
        gradients, routed = Gradients(layer, x), layer.route(x)
        sent = self._send(x, routed.indices)
        gate, up, hidden, y = self._experts(sent)
        slots = self._combine(y, sent)
        weighed = w.binary("multiply", slots, w.broadcast(w.transpose(routed.weights, (1, 0)), slots.shape, (0, 1)))
        total = w.sum(weighed, 0)
        total = w.binary("add", total, layer.shared(x)) if layer.c.shared else total
        error = w.binary("subtract", total, target)
        square = w.sum(w.sum(w.binary("multiply", error, error), 1), 0)
        loss = w.binary("multiply", square, w.full((), square.element, 0.5))

        by_y = self._back_to_experts(error, routed.weights, sent)
        by_hidden = layer.product(by_y, w.transpose(layer.second(), (0, 2, 1)), sent.second, a_sparse=True)
        by_both = self._joined(gradients.activation(gate, up, by_hidden))
        by_x, found = self._first_products(by_both, sent)
        found |= self._second_product(hidden, by_y, sent)
        by_weights = w.sum(w.binary("multiply", slots, w.broadcast(error, slots.shape, (1, 2))), 2)
        parts = [gradients.router(routed, w.transpose(by_weights, (1, 0)))]
        parts += [gradients.shared(error)] if layer.c.shared else []
        for more, named in parts:
            by_x, found = w.binary("add", by_x, more), found | named
        return loss, by_x, found

    # -- forward -----------------------------------------------------------------------------------------------------

    def _send(self, x: Value, indices: Value) -> _Sent:
        w, (t, k), e = self.layer.w, indices.shape, self.layer.c.experts
        mapping = w.full((1, 1, e, 1), "i32", 1)
        rows, metadata = self._dispatch(x, indices, mapping)
        first, second = self.layer.masks(metadata, mapping, t, 1)
        hot = self.layer.hot(w.reshape(metadata, (t, k)), e)
        return _Sent(indices, metadata, mapping, rows, hot, w.any(hot, 1), first, second)

    def _experts(self, sent: _Sent) -> tuple[Value, Value, Value, Value]:
        """Gate and up, what the second product gets, and its result; [T,E,1,...]."""
        layer, w, c = self.layer, self.layer.w, self.layer.c
        t, e = sent.kept.shape
        tokens = w.reshape(sent.rows, (1, t, 1, c.hidden))
        found = [layer.product(tokens, matrices, sent.first, a_sparse=False) for matrices in layer.first()]
        both = [w.reshape(v, (t, e, 1, v.shape[5])) for v in found]
        gate, up = layer.gate_and_up(both, 1)
        hidden = layer.activate(gate, up)
        y = layer.product(hidden, layer.second(), sent.second, a_sparse=True)
        if c.biases:
            y = w.binary("add", y, w.broadcast(layer.given["down_bias"], y.shape, (1, 3)))
        return gate, up, hidden, y

    # -- backward ----------------------------------------------------------------------------------------------------

    def _back_to_experts(self, error: Value, weights: Value, sent: _Sent) -> Value:
        """[T,E,1,H]: every expert gets the errors of its tokens, times their weights."""
        w, (t, k, e), h = self.layer.w, sent.hot.shape, self.layer.c.hidden
        errors, _ = self._dispatch(error, sent.indices, sent.mapping)
        told, _ = self._dispatch(weights, sent.indices, sent.mapping)
        spread = w.broadcast(w.reshape(told, (t, k)), sent.hot.shape, (0, 1))
        matrix = w.sum(w.select(sent.hot, spread, w.full(sent.hot.shape, spread.element, 0)), 1)
        return self._kept(sent, w.binary(
            "multiply", w.broadcast(w.reshape(errors, (t, h)), (t, e, 1, h), (0, 3)),
            w.broadcast(matrix, (t, e, 1, h), (0, 1)),
        ))

    def _joined(self, parts: tuple[Value, Value]) -> list[Value]:
        """Gate and up as the first products have them: two, or one with both."""
        w, layout = self.layer.w, self.layer.c.weights
        if layout == "separate":
            return list(parts)
        if layout == "stacked":
            return [w.concatenate(parts, 3)]
        size = (*parts[0].shape, 1)
        turns = w.concatenate([w.reshape(v, size) for v in parts], 4)
        return [w.reshape(turns, (*size[:3], 2 * size[3]))]

    def _first_products(self, by_both: list[Value], sent: _Sent) -> tuple[Value, Named]:
        """The gradients by ``x`` and by the matrices and bias of gate and up."""
        layer, w = self.layer, self.layer.w
        t, e = sent.kept.shape
        h = layer.c.hidden
        back = [layer.product(g, w.transpose(matrices, (0, 2, 1)), sent.second, a_sparse=True)
                for g, matrices in zip(by_both, layer.first(), strict=True)]
        by_expert = back[0] if len(back) == 1 else w.binary("add", *back)
        by_x = w.sum(self._combine(by_expert, sent), 0)
        inputs = self._kept(sent, w.broadcast(w.reshape(sent.rows, (t, h)), (t, e, 1, h), (0, 3)))
        kept = [self._kept(sent, g) for g in by_both]
        by_matrices = [self._over_tokens(inputs, g) for g in kept]
        if layer.c.weights == "separate":
            return by_x, dict(zip(("w1", "w3"), by_matrices, strict=True))
        (by_matrix,) = by_matrices
        found = {"gate_up": w.transpose(by_matrix, (0, 2, 1)) if layer.c.weights == "stacked" else by_matrix}
        if layer.c.biases:
            found["gate_up_bias"] = self._summed(kept[0])
        return by_x, found

    def _second_product(self, hidden: Value, by_y: Value, sent: _Sent) -> Named:
        """The gradients by the matrices and bias of the second product."""
        layer, w = self.layer, self.layer.w
        by_matrix = self._over_tokens(self._kept(sent, hidden), by_y)
        stacked = layer.c.weights == "stacked"
        found = {"w2" if layer.c.weights == "separate" else "down":
                 w.transpose(by_matrix, (0, 2, 1)) if stacked else by_matrix}
        return found | ({"down_bias": self._summed(by_y)} if layer.c.biases else {})

    # -- both --------------------------------------------------------------------------------------------------------

    def _dispatch(self, rows: Value, indices: Value, mapping: Value) -> tuple[Value, Value]:
        """``rows`` [T,N], for the experts of each row: [1,T,1,N], and the indices [1,T,1,K]."""
        w = self.layer.w
        operands = [w.reshape(v, (v.shape[0], 1, 1, v.shape[1])) for v in (rows, indices)]
        results = [Type(dispatched_shape(v.shape, 1, v.shape[3]), v.element) for v in operands]
        found, metadata = self.layer.op(
            DISPATCH, [*operands, mapping], results, {"num_devices": 1, "cluster_axis": 0})
        return found, metadata

    def _combine(self, y: Value, sent: _Sent) -> Value:
        """What the selected experts said, [K,T,N], of ``y`` [T,E,1,N]."""
        w, k = self.layer.w, self.layer.c.chosen
        t, e, _, n = y.shape
        by_expert = w.reshape(w.transpose(y, (1, 0, 2, 3)), (e, t, 1, n))
        combined, = self.layer.op(
            COMBINE, [by_expert, sent.metadata, sent.mapping],
            [Type(combined_shape(by_expert.shape, k, 1, 1), y.element)],
            {"num_devices": 1, "cluster_axis": 0, "num_experts_per_tok": k, "output_shard_dim": 1},
        )
        return w.reshape(combined, (k, t, n))

    def _kept(self, sent: _Sent, x: Value) -> Value:
        """``x`` [T,E,1,N] where a token selected an expert, else zero."""
        w = self.layer.w
        return w.select(w.broadcast(sent.kept, x.shape, (0, 1)), x, w.full(x.shape, x.element, 0))

    def _over_tokens(self, x: Value, y: Value) -> Value:
        """[E,N,M]: the sum over tokens of the outer products of ``x`` [T,E,1,N] and ``y`` [T,E,1,M]."""
        w = self.layer.w
        rows, columns = (w.reshape(v, (v.shape[0], v.shape[1], v.shape[3])) for v in (x, y))
        return w.dot(rows, columns, ((0,), (0,)), ((1,), (1,)))

    def _summed(self, x: Value) -> Value:
        """[E,N]: the sum over tokens of ``x`` [T,E,1,N]."""
        t, e, _, n = x.shape
        return self.layer.w.sum(self.layer.w.reshape(x, (t, e, n)), 0)
