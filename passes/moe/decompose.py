"""The ops of `ops` in plain StableHLO: for whole tensors, and for one device of a mesh.

For whole tensors a dispatch repeats the tokens and a combine looks up what each selected expert said. On a device the
tokens of a ring are gathered (tokens that select none of the device's experts become zero), and a combine sends each
slot from the one device that has it: a reduce_scatter over the ring, K rows for a token where gathering the experts'
outputs would be E. Nothing undefined is ever multiplied; it is never selected.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from passes.moe.ops import COMBINE, DISPATCH, REMAP, SPARSE_MATMUL, Call
from passes.moe.writer import Value, Writer
from passes.sharding.mesh import Mesh


@dataclass(frozen=True)
class Place:
    """Where a device-level op runs.

    Attributes:
      ring: The axis along which devices exchange tokens.
      experts: The axes the experts are split over, ``ring`` among them.
    """

    mesh: Mesh
    ring: str
    experts: tuple[str, ...]

    @property
    def ring_groups(self) -> list[list[int]]:
        """The rings."""
        return self.mesh.groups((self.mesh.axis(self.ring),))

    @property
    def other_groups(self) -> list[list[int]]:
        """Devices at one ring position, whose experts differ; empty if a ring has all experts."""
        axes = tuple(self.mesh.axis(a) for a in self.experts if a != self.ring and self.mesh.sizes[a] > 1)
        return self.mesh.groups(axes) if axes else []


def decomposition(call: Call, name: str, place: Place | None = None, *, poisoned: bool = False) -> str:
    """The text of a private function ``name`` that computes ``call``: of whole tensors, or of a device at ``place``.

    What a kernel leaves undefined is zero; NaN if ``poisoned``.
    """
    w = Writer(name)
    operands = [w.argument(t.shape, t.element) for t in call.operands]
    return w.finish(_WRITERS[call.op.name](w, call, operands, place, "nan" if poisoned else 0))


def _sparse_matmul(
    w: Writer, call: Call, operands: list[Value], place: Place | None, undefined: float | str
) -> list[Value]:
    a, b, mask = operands
    shape = call.results[0].shape
    weights = w.reshape(b, b.shape[1:])
    if call["is_input_a_sparse"]:
        product = w.transpose(w.dot(a, weights, ((3,), (1,)), ((1,), (0,))), (1, 0, 2, 3))
        kept = w.broadcast(w.nonzero(w.reshape(mask, mask.shape[2:])), shape, (0, 1))
    else:
        by_expert = w.transpose(w.dot(a, weights, ((3,), (1,))), (0, 1, 3, 2, 4))
        product = w.reshape(by_expert, shape)
        kept = w.broadcast(w.nonzero(mask), shape, (0, 1, 2, 3))
    return [w.select(kept, product, w.full(shape, a.element, undefined))]


def _dispatch(
    w: Writer, call: Call, operands: list[Value], place: Place | None, undefined: float | str
) -> list[Value]:
    tokens, indices, mapping = operands
    x, chosen = (w.reshape(v, (1, v.shape[0], v.shape[1] * v.shape[2], v.shape[3])) for v in (tokens, indices))
    if place is None:
        n = call["num_devices"]
        return [_repeated(w, v, n) for v in (x, chosen)]
    x, chosen = (w.all_gather(v, 1, place.ring_groups) for v in (x, chosen))
    wanted = w.any(_owned(w, chosen, mapping), 3)
    kept = w.broadcast(wanted, x.shape, (0, 1, 2))
    return [w.select(kept, x, w.full(x.shape, x.element, undefined)), chosen]


def _repeated(w: Writer, x: Value, count: int) -> Value:
    if count == 1:
        return x
    one, rows, *rest = x.shape
    return w.reshape(w.broadcast(x, (count, rows, *rest), range(4)), (one, count * rows, *rest))


def _remap(
    w: Writer, call: Call, operands: list[Value], place: Place | None, undefined: float | str
) -> list[Value]:
    scores, mapping, metadata = operands
    picked, reduced = call.results
    count, experts, axis = picked.shape[3], scores.shape[3], (0, 1, 2, 3)
    grid = (*metadata.shape, experts)
    ids = w.broadcast(w.iota((experts,), 0), grid, (4,))
    member = w.any(w.compare("EQ", w.broadcast(w.convert(metadata, "i32"), grid, axis), ids), 3)
    if count < experts or place is not None:
        # The columns of this device's experts, in order.
        local = w.slice(w.sorted_with(w.unary("negate", _mine(w, mapping)), w.iota((experts,), 0)), 0, 0, count)
        hot = w.compare("EQ", w.broadcast(w.iota((experts,), 0), (experts, count), (0,)),
                        w.broadcast(local, (experts, count), (1,)))
        member = _columns(w, member, hot, "false", "or")
        scores = _columns(w, scores, hot, 0, "add")
    values = w.select(member, scores, w.full(scores.shape, scores.element, 0))
    tokens, size = math.prod(scores.shape[:3]), call["reduction_size"]
    rows = math.ceil(tokens / size)
    flat = w.pad_end(w.reshape(member, (tokens, count)), 0, rows * size - tokens, "false")
    chunks = w.any(w.reshape(flat, (rows, size, count)), 1)
    return [values, w.reshape(w.convert(chunks, reduced.element), reduced.shape)]


def _columns(w: Writer, x: Value, hot: Value, nothing: float | str, op: str) -> Value:
    """The columns of ``x`` [.,B,S,E] that ``hot`` [E,C] selects one of for each C; nothing else is looked at."""
    grid = (*x.shape, hot.shape[1])
    kept = w.select(
        w.broadcast(hot, grid, (3, 4)), w.broadcast(x, grid, (0, 1, 2, 3)), w.full(grid, x.element, nothing)
    )
    return w.reduce(op, kept, 3, nothing)


def _combine(
    w: Writer, call: Call, operands: list[Value], place: Place | None, undefined: float | str
) -> list[Value]:
    y, metadata, mapping = operands
    held, hidden, experts = y.shape[0], y.shape[3], mapping.shape[2]
    tokens, chosen = math.prod(metadata.shape[:3]), metadata.shape[3]
    indices = w.convert(w.reshape(metadata, (tokens, chosen)), "i32")
    known = _inside(w, indices, experts)
    if place is None:
        row = indices
    else:
        mine = _mine(w, mapping)
        below = w.compare("GE", w.iota((experts, experts), 0), w.iota((experts, experts), 1))
        count = w.dot(w.convert(below, "i32"), mine, ((1,), (0,)))
        row = w.look_up(w.binary("subtract", count, w.full((experts,), "i32", 1)), indices)
        known = w.binary("and", known, w.nonzero(w.look_up(mine, indices)))
    found = w.take(w.reshape(y, (held, tokens, hidden)), row)
    slots = w.select(w.broadcast(known, found.shape, (0, 1)), found, w.full(found.shape, y.element, 0))
    slots = w.transpose(slots, (1, 0, 2))
    if place is None:
        slots = w.slice(slots, 1, 0, tokens // call["num_devices"])
    else:
        slots = w.reduce_scatter(slots, 1, place.ring_groups)
        slots = w.all_reduce(slots, place.other_groups) if place.other_groups else slots
    return [w.reshape(slots, call.results[0].shape)]


def _inside(w: Writer, indices: Value, experts: int) -> Value:
    """Where ``indices`` (i32) name an expert; padding may name none."""
    low = w.compare("GE", indices, w.full(indices.shape, "i32", 0))
    return w.binary("and", low, w.compare("LT", indices, w.full(indices.shape, "i32", experts)))


def _mine(w: Writer, mapping: Value) -> Value:
    """[E] as i32: 1 for the experts of this device."""
    _, _, experts, devices = mapping.shape
    here = w.compare("EQ", w.iota((experts, devices), 1), w.broadcast(w.partition_id(), (experts, devices), ()))
    owned = w.binary("and", here, w.nonzero(w.reshape(mapping, (experts, devices))))
    return w.convert(w.any(owned, 1), "i32")


def _owned(w: Writer, indices: Value, mapping: Value) -> Value:
    """Where ``indices`` name an expert of this device."""
    numbers = w.convert(indices, "i32")
    return w.binary("and", _inside(w, numbers, mapping.shape[2]), w.nonzero(w.look_up(_mine(w, mapping), numbers)))


_WRITERS = {
    SPARSE_MATMUL.name: _sparse_matmul, DISPATCH.name: _dispatch, REMAP.name: _remap, COMBINE.name: _combine,
}
