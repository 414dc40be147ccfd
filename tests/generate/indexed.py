"""Ops that take indices: gathers, scatters and sorts."""

from __future__ import annotations

import math

from tests.generate.builder import FLOATS, INTEGERS, LIMITS, MOST_ELEMENTS, Builder, Value, names, tensor, types
from tests.generate.sums import REDUCERS


def gather(build: Builder) -> None:
    """Rows, or windows, along one or two dimensions, for indices of one or two dimensions."""
    value = build.some(rank=1)
    rank = len(value.shape)
    dims = sorted(build.choose.sample(range(rank), build.choose.choice((1, 1, min(2, rank)))))
    sizes = [1 if d in dims else (n if build.chance(0.7) else build.choose.randint(1, n))
             for d, n in enumerate(value.shape)]
    collapsed = [d for d in dims if build.chance(0.7)]
    batch = [build.choose.choice((1, 2, 3, 4)) for _ in range(build.choose.choice((0, 1, 1, 2)))]
    indices = build.need((*batch, len(dims)), "i32")
    windows = [n for d, n in enumerate(sizes) if d not in collapsed]
    places = sorted(build.choose.sample(range(len(batch) + len(windows)), len(windows)))
    rest, inside = iter(batch), iter(windows)
    shape = tuple(next(inside) if d in places else next(rest) for d in range(len(batch) + len(windows)))
    if math.prod(shape) > MOST_ELEMENTS:
        return
    order = build.choose.sample(dims, len(dims))
    is_sorted = build.choose.choice(("false", "false", "true")) if math.prod(batch) == 1 else "false"
    build.several(
        f"\"stablehlo.gather\"({names([value, indices])}) <{{dimension_numbers = #stablehlo.gather<offset_dims = "
        f"{places}, collapsed_slice_dims = {collapsed}, start_index_map = {order}, index_vector_dim = {len(batch)}>, "
        f"slice_sizes = array<i64: {', '.join(map(str, sizes))}>, indices_are_sorted = {is_sorted}}}> : "
        f"({types([value, indices])}) -> {tensor(shape, value.element)}",
        [Value("", shape, value.element, value.bound)])


def scatter(build: Builder) -> None:
    """Rows written or combined; where one place may be written twice only by an op that takes any order."""
    value = build.some(rank=1)
    dim = build.choose.randrange(len(value.shape))
    count = build.choose.choice((1, 2, 4))
    window = [n for d, n in enumerate(value.shape) if d != dim]
    combine = [n for n, (elements, _) in REDUCERS.items() if value.element in elements]
    combiner = build.choose.choice([*combine, "set"] if count == 1 else combine)
    indices = build.need((count, 1), "i32")
    value = build.tame(value)
    updates = build.tame(build.need((count, *window), value.element),
                         LIMITS.get(value.element, math.inf) / (4 * count))
    scalar = tensor((), value.element)
    body = "" if combiner == "set" else f"%r = stablehlo.{combiner} %x, %y : {scalar}"
    bound = value.bound + updates.bound * count if combiner == "add" else max(value.bound, updates.bound)
    build.several(f"""\"stablehlo.scatter"({names([value, indices, updates])}) <{{scatter_dimension_numbers =
      #stablehlo.scatter<update_window_dims = {list(range(1, len(window) + 1))}, inserted_window_dims = [{dim}],
      scatter_dims_to_operand_dims = [{dim}], index_vector_dim = 1>}}> ({{
      ^bb0(%x: {scalar}, %y: {scalar}):
        {body}
        stablehlo.return {"%r" if body else "%y"} : {scalar}
      }}) : ({types([value, indices, updates])}) -> {value.type}""",
                  [Value("", value.shape, value.element, bound)])


def sort(build: Builder) -> None:
    """One to three arrays in the stable order of one of them; of floats only if none is a NaN, whose sign is open."""
    key = build.some((*FLOATS, *INTEGERS) if build.unit.exact else INTEGERS, rank=1)
    values = [key, *(build.need(key.shape, build.element()) for _ in range(build.choose.choice((0, 0, 1, 2))))]
    build.choose.shuffle(values)
    at = values.index(key)
    arguments = [Value(f"%{letter}{i}", (), v.element) for i, v in enumerate(values) for letter in "xy"]
    one, other = arguments[2 * at], arguments[2 * at + 1]
    order = ", TOTALORDER" if one.element in FLOATS else ""
    text = f"""\"stablehlo.sort"({names(values)}) <{{dimension = {build.choose.randrange(len(key.shape))} : i64,
      is_stable = true}}> ({{
      ^bb0({", ".join(f"{a.name}: {a.type}" for a in arguments)}):
        %less = stablehlo.compare {build.choose.choice(("LT", "GT"))}, {one.name}, {other.name}{order} :
          ({one.type}, {other.type}) -> tensor<i1>
        stablehlo.return %less : tensor<i1>
      }}) : ({types(values)}) -> ({types(values)})"""
    build.several(text, values)


KINDS = {gather: 1.5, scatter: 1, sort: 1}
