"""Ops that move elements: the reshape family, slices that are known and that are not, padding and concatenation."""

from __future__ import annotations

import math

from tests.generate.builder import MOST_ELEMENTS, Builder, Shape, Value, tensor, types


def _moved(build: Builder, op: str, value: Value, shape: Shape, more: str = "") -> None:
    if math.prod(shape) <= MOST_ELEMENTS:
        build.define(f"{op} {value.name}{more} : ({value.type}) -> {tensor(shape, value.element)}", shape,
                     value.element, value.bound)


def reshape(build: Builder) -> None:
    value = build.some()
    size = math.prod(value.shape)
    first = build.choose.choice([n for n in range(1, size + 1) if size % n == 0])
    rest = size // first
    second = build.choose.choice([n for n in range(1, rest + 1) if rest % n == 0])
    _moved(build, "reshape", value, build.choose.choice((
        (first, rest), (first, 1, rest), (size,), (1, size), (first, second, rest // second), _split(build, value),
        _joined(build, value),
    )))


def _split(build: Builder, value: Value) -> Shape:
    """One dimension as two."""
    if not value.shape:
        return (1,)
    dim = build.choose.randrange(len(value.shape))
    size = value.shape[dim]
    part = build.choose.choice([n for n in range(1, size + 1) if size % n == 0])
    return (*value.shape[:dim], part, size // part, *value.shape[dim + 1 :])


def _joined(build: Builder, value: Value) -> Shape:
    """Two neighbouring dimensions as one."""
    if len(value.shape) < 2:
        return (math.prod(value.shape),)
    dim = build.choose.randrange(len(value.shape) - 1)
    return (*value.shape[:dim], value.shape[dim] * value.shape[dim + 1], *value.shape[dim + 2 :])


def broadcast(build: Builder) -> None:
    value = build.some()
    shape, dims = list(value.shape), list(range(len(value.shape)))
    for _ in range(build.choose.choice((0, 1, 1, 2))):
        place = build.choose.randint(0, len(shape))
        shape.insert(place, build.choose.choice((1, 2, 3, 4, 8)))
        dims = [d + (d >= place) for d in dims]
    shape = [build.choose.choice((1, 4)) if n == 1 and i in dims else n for i, n in enumerate(shape)]
    _moved(build, "broadcast_in_dim", value, tuple(shape), f", dims = {dims}")


def transpose(build: Builder) -> None:
    value = build.some(rank=1)
    order = list(range(len(value.shape)))
    build.choose.shuffle(order)
    _moved(build, "transpose", value, tuple(value.shape[d] for d in order), f", dims = {order}")


def reverse(build: Builder) -> None:
    value = build.some(rank=1)
    dims = [d for d in range(len(value.shape)) if build.chance(0.5)]
    build.define(f"reverse {value.name}, dims = {dims} : {value.type}", value.shape, value.element, value.bound)


def slice_(build: Builder) -> None:
    value = build.some(rank=1)
    cuts, shape = [], []
    for size in value.shape:
        low, high = 0, size
        if build.chance(0.6):
            low = build.choose.randint(0, size - 1)
            high = build.choose.randint(low + 1, size)
        step = build.choose.choice((1, 1, 1, 2, 3))
        cuts.append(f"{low}:{high}:{step}")
        shape.append(-(-(high - low) // step))
    _moved(build, "slice", value, tuple(shape), f" [{', '.join(cuts)}]")


def pad(build: Builder) -> None:
    value = build.some(rank=1)
    number = build.need((), value.element)
    low = [build.choose.choice((0, 0, 1, 2, -1)) for _ in value.shape]
    high = [build.choose.choice((0, 0, 1, 2, -1)) for _ in value.shape]
    inside = [build.choose.choice((0, 0, 0, 1)) for _ in value.shape]
    shape = tuple(n + max(0, n - 1) * i + a + b for n, a, b, i in zip(value.shape, low, high, inside, strict=True))
    if min(shape) > 0 and math.prod(shape) <= MOST_ELEMENTS:
        result = tensor(shape, value.element)
        build.define(f"pad {value.name}, {number.name}, low = {low}, high = {high}, interior = {inside} : "
                     f"({value.type}, {number.type}) -> {result}", shape, value.element,
                     max(value.bound, number.bound))


def concatenate(build: Builder) -> None:
    value = build.some(rank=1)
    parts = [value, *(build.need(value.shape, value.element) for _ in range(build.choose.choice((0, 1, 1, 2))))]
    build.choose.shuffle(parts)
    dim = build.choose.randrange(len(value.shape))
    shape = tuple(n * len(parts) if d == dim else n for d, n in enumerate(value.shape))
    if math.prod(shape) <= MOST_ELEMENTS:
        build.define(f"concatenate {', '.join(p.name for p in parts)}, dim = {dim} : ({types(parts)}) -> "
                     f"{tensor(shape, value.element)}", shape, value.element, max(p.bound for p in parts))


def _starts(build: Builder, rank: int) -> list[Value]:
    return [build.need((), "i32") for _ in range(rank)]


def dynamic_slice(build: Builder) -> None:
    value = build.some(rank=1)
    sizes = [n if build.chance(0.4) else build.choose.randint(1, n) for n in value.shape]
    starts = _starts(build, len(sizes))
    shape = tuple(sizes)
    build.define(f"dynamic_slice {', '.join(v.name for v in (value, *starts))}, sizes = {sizes} : "
                 f"({types([value, *starts])}) -> {tensor(shape, value.element)}", shape, value.element, value.bound)


def dynamic_update_slice(build: Builder) -> None:
    value = build.some(rank=1)
    sizes = tuple(n if build.chance(0.4) else build.choose.randint(1, n) for n in value.shape)
    update = build.need(sizes, value.element)
    all_ = [value, update, *_starts(build, len(sizes))]
    build.define(f"dynamic_update_slice {', '.join(v.name for v in all_)} : ({types(all_)}) -> {value.type}",
                 value.shape, value.element, max(value.bound, update.bound))


def constant(build: Builder) -> None:
    build.constant(build.shape(), build.element())


def barrier(build: Builder) -> None:
    values = [build.some() for _ in range(build.choose.randint(1, 3))]
    build.several(f"stablehlo.optimization_barrier {', '.join(v.name for v in values)} : {types(values)}", values)


KINDS = {reshape: 4, broadcast: 3, transpose: 3, reverse: 1, slice_: 3, pad: 2, concatenate: 2, dynamic_slice: 1,
         dynamic_update_slice: 1, constant: 2, barrier: 0.3}
