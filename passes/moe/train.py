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
from passes.moe.layers import Functions, LayerWriter, Shape, parameters
from passes.moe.ops import COMBINE, DISPATCH, Type, combined_shape, dispatched_shape
from passes.moe.writer import Value, Writer


def train_step(configuration: Configuration, shape: Shape, rate: float) -> str:
    """A module whose ``main(x [T,H], target [T,H], parameters...)`` returns the loss, its gradient by x, parameters.

    Raises:
      UserError: the layer is of a kind whose gradient is not written here, or there is padding.
    """
    c = configuration
    if (c.activation, c.weights, c.router.score) != ("silu", "separate", "softmax") or c.shared or (
        c.router.correction or c.router.scale != 1 or c.router.groups > 1
    ):
        raise UserError(f"{c.name}: training steps are written for softmax routers, silu and separate weights, without "
                        "shared experts")
    if shape.padded != shape.tokens or shape.reduction_size != 1:
        raise UserError(f"a training step has no padding: {shape.tokens} tokens are no multiple of {shape.multiple}, "
                        "or blocks have several tokens")
    functions, w = Functions(), Writer("main", public=True)
    x, target = (w.argument((shape.tokens, c.hidden), shape.element, name) for name in ("x", "target"))
    given = {name: w.argument(size, shape.element, name) for name, size in parameters(c).items()}
    step = _Step(LayerWriter(w, c, shape, given, functions))
    loss, by_x, gradients = step.write(x, target)
    after = [w.binary("subtract", given[name], w.binary("multiply", g, w.full(g.shape, g.element, rate)))
             for name, g in gradients.items()]
    return "\n".join([w.finish([loss, by_x, *after]), *functions.texts.values()])


@dataclass(frozen=True)
class _Step:
    """One training step being written; T tokens, E experts, K slots."""

    layer: LayerWriter

    def write(self, x: Value, target: Value) -> tuple[Value, Value, dict[str, Value]]:
        """The loss, its gradient by ``x``, and by the parameters in their order."""
        w, c, given = self.layer.w, self.layer.c, self.layer.given
        t, e, k, h, i = self.layer.shape.tokens, c.experts, c.chosen, c.hidden, c.intermediate
        scores = self.layer.softmax(w.dot(x, given["router"], ((1,), (0,))))
        values, indices = w.top_k(scores, k)
        total = self.layer.columns(w.sum(values, 1), values)
        weights = w.binary("divide", values, total) if c.router.normalized else values

        mapping = w.full((1, 1, e, 1), "i32", 1)
        rows, metadata = self._dispatch(x, indices, mapping)
        first, second = self.layer.masks(metadata, mapping, t, 1)
        hot = self.layer.hot(w.reshape(metadata, (t, k)), e)
        kept = w.any(hot, 1)
        gate, up = (
            w.reshape(self.layer.product(w.reshape(rows, (1, t, 1, h)), given[name], first, a_sparse=False),
                      (t, e, 1, i)) for name in ("w1", "w3")
        )
        glow = w.unary("logistic", gate)
        silu = w.binary("multiply", gate, glow)
        hidden = w.binary("multiply", silu, up)
        y = self.layer.product(hidden, given["w2"], second, a_sparse=True)
        slots = self._combine(y, metadata, mapping)
        weighed = w.binary("multiply", slots, w.broadcast(w.transpose(weights, (1, 0)), slots.shape, (0, 1)))
        error = w.binary("subtract", w.sum(weighed, 0), target)
        square = w.sum(w.sum(w.binary("multiply", error, error), 1), 0)
        loss = w.binary("multiply", square, w.full((), square.element, 0.5))

        # Back through the combine: every expert gets the errors of its tokens, times their weights.
        errors, _ = self._dispatch(error, indices, mapping)
        told, _ = self._dispatch(weights, indices, mapping)
        spread = w.broadcast(w.reshape(told, (t, k)), hot.shape, (0, 1))
        matrix = w.sum(w.select(hot, spread, w.full(hot.shape, spread.element, 0)), 1)
        by_y = self._kept(kept, w.binary(
            "multiply", w.broadcast(w.reshape(errors, (t, h)), (t, e, 1, h), (0, 3)),
            w.broadcast(matrix, (t, e, 1, h), (0, 1)),
        ))
        by_hidden = self.layer.product(by_y, w.transpose(given["w2"], (0, 2, 1)), second, a_sparse=True)
        one = w.full(gate.shape, gate.element, 1)
        slope = w.binary("multiply", glow, w.binary(
            "add", one, w.binary("multiply", gate, w.binary("subtract", one, glow))))
        by_gate = w.binary("multiply", w.binary("multiply", by_hidden, up), slope)
        by_up = w.binary("multiply", by_hidden, silu)
        inputs = self._kept(kept, w.broadcast(w.reshape(rows, (t, h)), (t, e, 1, h), (0, 3)))
        by_expert = [self.layer.product(g, w.transpose(given[name], (0, 2, 1)), second, a_sparse=True)
                     for g, name in ((by_gate, "w1"), (by_up, "w3"))]
        by_x = w.sum(self._combine(w.binary("add", *by_expert), metadata, mapping), 0)

        # Back through the router.
        by_weights = w.transpose(w.sum(w.binary("multiply", slots, w.broadcast(error, slots.shape, (1, 2))), 2), (1, 0))
        if c.router.normalized:
            mean = w.sum(w.binary("multiply", by_weights, weights), 1)
            by_weights = w.binary("divide", w.binary("subtract", by_weights, self.layer.columns(mean, values)), total)
        chosen = self.layer.hot(indices, e)
        by_scores = w.sum(w.select(chosen, w.broadcast(by_weights, chosen.shape, (0, 1)),
                                   w.full(chosen.shape, scores.element, 0)), 1)
        mean = w.sum(w.binary("multiply", by_scores, scores), 1)
        by_logits = w.binary("multiply", scores, w.binary("subtract", by_scores, self.layer.columns(mean, scores)))
        by_x = w.binary("add", by_x, w.dot(by_logits, given["router"], ((1,), (1,))))
        return loss, by_x, {
            "router": w.dot(x, by_logits, ((0,), (0,))),
            "w1": self._over_tokens(inputs, self._kept(kept, by_gate)),
            "w3": self._over_tokens(inputs, self._kept(kept, by_up)),
            "w2": self._over_tokens(self._kept(kept, hidden), by_y),
        }

    def _dispatch(self, rows: Value, indices: Value, mapping: Value) -> tuple[Value, Value]:
        """``rows`` [T,N], for the experts of each row: [1,T,1,N], and the indices [1,T,1,K]."""
        w = self.layer.w
        operands = [w.reshape(v, (v.shape[0], 1, 1, v.shape[1])) for v in (rows, indices)]
        results = [Type(dispatched_shape(v.shape, 1, v.shape[3]), v.element) for v in operands]
        found, metadata = self.layer.op(
            DISPATCH, [*operands, mapping], results, {"num_devices": 1, "cluster_axis": 0})
        return found, metadata

    def _combine(self, y: Value, metadata: Value, mapping: Value) -> Value:
        """What the selected experts said, [K,T,N], of ``y`` [T,E,1,N]."""
        w, k = self.layer.w, self.layer.c.chosen
        t, e, _, n = y.shape
        by_expert = w.reshape(w.transpose(y, (1, 0, 2, 3)), (e, t, 1, n))
        combined, = self.layer.op(
            COMBINE, [by_expert, metadata, mapping], [Type(combined_shape(by_expert.shape, k, 1, 1), y.element)],
            {"num_devices": 1, "cluster_axis": 0, "num_experts_per_tok": k, "output_shard_dim": 1},
        )
        return w.reshape(combined, (k, t, n))

    def _kept(self, kept: Value, x: Value) -> Value:
        """``x`` [T,E,1,N] where ``kept`` [T,E], else zero."""
        w = self.layer.w
        return w.select(w.broadcast(kept, x.shape, (0, 1)), x, w.full(x.shape, x.element, 0))

    def _over_tokens(self, x: Value, y: Value) -> Value:
        """[E,N,M]: the sum over tokens of the outer products of ``x`` [T,E,1,N] and ``y`` [T,E,1,M]."""
        w = self.layer.w
        rows, columns = (w.reshape(v, (v.shape[0], v.shape[1], v.shape[3])) for v in (x, y))
        return w.dot(rows, columns, ((0,), (0,)), ((1,), (1,)))
