"""Ops that combine elements: products of matrices, convolutions, reductions and windows."""

from __future__ import annotations

import math

from tests.generate.builder import (
    FLOATS,
    INTEGERS,
    LIMITS,
    MOST_ELEMENTS,
    Builder,
    Shape,
    Value,
    names,
    tensor,
    types,
)

# Reducer -> the elements it takes and its neutral element; sums of inexact floats keep their order in no program.
REDUCERS = {
    "add": ((*FLOATS, *INTEGERS), "0"),
    "maximum": ((*FLOATS, *INTEGERS), None),
    "minimum": ((*FLOATS, *INTEGERS), None),
    "multiply": (INTEGERS, "1"),
    "and": ((*INTEGERS, "i1"), None),
    "or": ((*INTEGERS, "i1"), "0"),
    "xor": (INTEGERS, "0"),
}
# The least value of an element type, which a maximum starts from.
LEAST = {"f32": "0xFF800000", "f64": "0xFFF0000000000000", "bf16": "0xFF80", "i32": "-2147483648",
         "i64": "-9223372036854775808", "ui8": "0"}


def _factor(build: Builder, value: Value, terms: int) -> Value:
    """``value``, small enough for a sum of ``terms`` products."""
    return build.tame(value, math.sqrt(LIMITS.get(value.element, math.inf) / max(1, terms)) / 2)


def dot(build: Builder) -> None:
    left = build.some((*FLOATS, *INTEGERS), rank=1)
    dims = list(range(len(left.shape)))
    build.choose.shuffle(dims)
    contracted = dims[: build.choose.choice((1, 1, 1, min(2, len(dims))))]
    rest = dims[len(contracted) :]
    batch = rest[: build.choose.choice((0, 0, 1))]
    free = [build.choose.choice((1, 2, 4, 6)) for _ in range(build.choose.choice((0, 1, 1, 2)))]
    places: list[tuple[str, int]] = [("batch", d) for d in batch] + [("sum", d) for d in contracted]
    places += [("free", n) for n in free]
    build.choose.shuffle(places)
    shape = tuple(n if kind == "free" else left.shape[n] for kind, n in places)
    result = (*(left.shape[d] for d in batch), *(left.shape[d] for d in sorted(rest) if d not in batch),
              *(n for kind, n in places if kind == "free"))
    if max(math.prod(shape), math.prod(result)) > MOST_ELEMENTS:
        return
    terms = math.prod(left.shape[d] for d in contracted)
    left = _factor(build, left, terms)
    right = _factor(build, build.need(shape, left.element), terms)
    batching = ""
    if batch:
        batching = f"batching_dims = {batch} x {[places.index(('batch', d)) for d in batch]}, "
    build.define(f"dot_general {left.name}, {right.name}, {batching}contracting_dims = {contracted} x "
                 f"{[places.index(('sum', d)) for d in contracted]} : ({left.type}, {right.type}) -> "
                 f"{tensor(result, left.element)}", result, left.element, left.bound * right.bound * terms)


def convolution(build: Builder) -> None:
    """One or two spatial dimensions, with strides, padding, dilation and groups."""
    choose, element = build.choose, build.element(("f32", "i32", "f64"))
    spatial = choose.choice((1, 1, 2))
    groups = choose.choice((1, 1, 1, 2))
    by_batch = groups > 1 and build.chance(0.3)
    batch, features, out = choose.choice((2, 4)), choose.choice((2, 4)), choose.choice((2, 4))
    image = [choose.choice((3, 4, 6, 8)) for _ in range(spatial)]
    kernel = [choose.choice((1, 2, 3)) for _ in range(spatial)]
    stride = [choose.choice((1, 1, 2)) for _ in range(spatial)]
    padding = [[choose.choice((0, 1, 2)), choose.choice((0, 1))] for _ in range(spatial)]
    spread = [choose.choice((1, 1, 2)) for _ in range(spatial)]
    apart = [choose.choice((1, 1, 2)) for _ in range(spatial)]
    size = []
    for n, k, s, (low, high), base, window in zip(image, kernel, stride, padding, spread, apart, strict=True):
        size.append(((n - 1) * base + 1 + low + high - ((k - 1) * window + 1)) // s + 1)
    if min(size) < 1:
        return
    terms = math.prod(kernel) * features
    lhs = _factor(build, build.need((batch, *image, features), element), terms)
    inner = features if by_batch else features // groups
    rhs = _factor(build, build.need((*kernel, inner, out), element), terms)
    numbers = ", ".join(map(str, range(spatial)))
    shape = (batch // groups if by_batch else batch, *size, out)
    build.define(
        f"convolution({lhs.name}, {rhs.name}) dim_numbers = [b, {numbers}, f]x[{numbers}, i, o]->[b, {numbers}, f], "
        f"window = {{stride = {stride}, pad = {padding}, lhs_dilate = {spread}, rhs_dilate = {apart}}} "
        f"{{batch_group_count = {groups if by_batch else 1} : i64, "
        f"feature_group_count = {1 if by_batch else groups} : i64}} : ({lhs.type}, {rhs.type}) -> "
        f"{tensor(shape, element)}", shape, element, lhs.bound * rhs.bound * terms)


def _reducer(build: Builder, value: Value) -> str:
    fitting = [name for name, (elements, _) in REDUCERS.items() if value.element in elements]
    return build.choose.choice(fitting)


def _initial(build: Builder, reducer: str, element: str) -> Value:
    """Mostly the neutral element, at times another number."""
    neutral = REDUCERS[reducer][1]
    if neutral is None or build.chance(0.2):
        return build.tame(build.need((), element))
    return build.scalar(f"{neutral}.0" if element in FLOATS else {"i1": "false"}.get(element, neutral), element)


def reduce(build: Builder) -> None:
    value = build.some(rank=1)
    reducer = _reducer(build, value)
    dims = [d for d in range(len(value.shape)) if build.chance(0.5)]
    terms = math.prod(value.shape[d] for d in dims)
    value = build.tame(value, LIMITS.get(value.element, math.inf) / (2 * terms))
    first = _initial(build, reducer, value.element)
    shape = tuple(n for d, n in enumerate(value.shape) if d not in dims)
    bound = value.bound * terms + first.bound if reducer == "add" else max(value.bound, first.bound)
    build.define(f"reduce({value.name} init: {first.name}) applies stablehlo.{reducer} across dimensions = {dims} : "
                 f"({value.type}, {first.type}) -> {tensor(shape, value.element)}", shape, value.element, bound)


def argmax(build: Builder) -> None:
    """A maximum with its place, as JAX writes it: the first of equal ones."""
    value = build.some(("f32", "i32"), rank=1)
    dim = build.choose.randrange(len(value.shape))
    index = tensor(value.shape, "i32")
    places = build.define(f"iota dim = {dim} : {index}", value.shape, "i32")
    least = build.define(f"constant dense<{LEAST[value.element]}> : {tensor((), value.element)}", (), value.element)
    zero = build.scalar("0", "i32")
    shape = tuple(n for d, n in enumerate(value.shape) if d != dim)
    scalar = least.type
    body = f"""reducer(%x: {scalar}, %y: {scalar}) (%i: tensor<i32>, %j: tensor<i32>) {{
      %more = stablehlo.compare GT, %x, %y : ({scalar}, {scalar}) -> tensor<i1>
      %same = stablehlo.compare EQ, %x, %y : ({scalar}, {scalar}) -> tensor<i1>
      %before = stablehlo.compare LT, %i, %j : (tensor<i32>, tensor<i32>) -> tensor<i1>
      %tied = stablehlo.and %same, %before : tensor<i1>
      %first = stablehlo.or %more, %tied : tensor<i1>
      %v = stablehlo.select %more, %x, %y : tensor<i1>, {scalar}
      %w = stablehlo.select %first, %i, %j : tensor<i1>, tensor<i32>
      stablehlo.return %v, %w : {scalar}, tensor<i32>
    }}"""
    results = [Value("", shape, value.element, value.bound), Value("", shape, "i32")]
    build.several(f"stablehlo.reduce({value.name} init: {least.name}), ({places.name} init: {zero.name}) across "
                  f"dimensions = [{dim}] : ({types([value, places, least, zero])}) -> ({types(results)}) {body}",
                  results)


def _windows(build: Builder, shape: Shape) -> tuple[list[int], list[int], list[list[int]], Shape] | None:
    """Sizes, strides and padding of windows over ``shape``, and the result's shape."""
    choose = build.choose
    window = [choose.choice((1, 1, 2, 3, n)) for n in shape]
    window = [min(w, 8) for w in window]
    stride = [choose.choice((1, 1, 1, 2)) for _ in shape]
    padding = [choose.choice(([0, 0], [0, 0], [w - 1, 0], [(w - 1) // 2, w // 2])) for w in window]
    size = tuple((n + a + b - w) // s + 1 for n, w, s, (a, b) in zip(shape, window, stride, padding, strict=True)
                 if n + a + b >= w)
    return (window, stride, padding, size) if len(size) == len(shape) and math.prod(size) <= MOST_ELEMENTS else None


def _array(numbers: list[int]) -> str:
    return f"array<i64: {', '.join(map(str, numbers))}>"


def reduce_window(build: Builder) -> None:
    value = build.some(rank=1)
    found = _windows(build, value.shape)
    if found is None:
        return
    window, stride, padding, shape = found
    terms = math.prod(window)
    reducer = _reducer(build, value)
    value = build.tame(value, LIMITS.get(value.element, math.inf) / (2 * terms))
    first = _initial(build, reducer, value.element)
    scalar = tensor((), value.element)
    bound = value.bound * terms + first.bound if reducer == "add" else max(value.bound, first.bound)
    build.several(f"""\"stablehlo.reduce_window"({names([value, first])}) <{{window_dimensions = {_array(window)},
      window_strides = {_array(stride)}, padding = dense<{padding}> : tensor<{len(shape)}x2xi64>}}> ({{
      ^bb0(%x: {scalar}, %y: {scalar}):
        %r = stablehlo.{reducer} %x, %y : {scalar}
        stablehlo.return %r : {scalar}
      }}) : ({value.type}, {first.type}) -> {tensor(shape, value.element)}""",
                  [Value("", shape, value.element, bound)])


def reductions(build: Builder) -> None:
    """Two or three arrays combined at once, each of its own or, on no mesh, of what another one holds.

    What mixes arrays has a result for each order, so only one order is right.
    """
    value = build.some(("f32", "i32"), rank=1)
    count = build.choose.choice((2, 3))
    values = [value, *(build.need(value.shape, value.element) for _ in range(count - 1))]
    dims = [d for d in range(len(value.shape)) if build.chance(0.5)]
    # With mixed arrays an element may come in again at each step.
    terms = 2 ** min(20, math.prod(value.shape[d] for d in dims)) if build.chance(0.5) else 0
    ops = build.choose.choices(("add", "maximum") if terms else ("maximum", "minimum"), k=count)
    others = [build.choose.choice((i, i, (i + 1) % count)) if build.unit.mesh is None else i for i in range(count)]
    limit = LIMITS.get(value.element, math.inf) / (4 * max(1, terms))
    if terms > 2**12:
        return
    values = [build.tame(v, limit) for v in values]
    zero = build.scalar("0.0" if value.is_float else "0", value.element)
    scalar, shape = zero.type, tuple(n for d, n in enumerate(value.shape) if d not in dims)
    bound = max(v.bound for v in values) * max(1, terms)
    body = "\n".join(f"%r{i} = stablehlo.{op} %x{i}, %y{other} : {scalar}"
                     for i, (op, other) in enumerate(zip(ops, others, strict=True)))
    pairs = ", ".join(f"({v.name} init: {zero.name})" for v in values)
    arguments = " ".join(f"(%x{i}: {scalar}, %y{i}: {scalar})" for i in range(count))
    results = [Value("", shape, value.element, bound)] * count
    build.several(f"""stablehlo.reduce{pairs} across dimensions = {dims} :
      ({types([*values, *[zero] * count])}) -> ({types(results)})
      reducer{arguments} {{
        {body}
        stablehlo.return {", ".join(f"%r{i}" for i in range(count))} : {", ".join([scalar] * count)}
      }}""", results)


def select_and_scatter(build: Builder) -> None:
    """The gradient of a pooling."""
    value = build.some(("f32", "i32"), rank=1)
    found = _windows(build, value.shape)
    if found is None:
        return
    window, stride, padding, shape = found
    terms = math.prod(window)
    source = build.tame(build.need(shape, value.element), LIMITS.get(value.element, math.inf) / (4 * terms))
    zero = build.scalar("0.0" if value.is_float else "0", value.element)
    scalar = zero.type
    build.several(f"""\"stablehlo.select_and_scatter"({names([value, source, zero])}) <{{
      window_dimensions = {_array(window)}, window_strides = {_array(stride)},
      padding = dense<{padding}> : tensor<{len(shape)}x2xi64>}}> ({{
      ^bb0(%x: {scalar}, %y: {scalar}):
        %r = stablehlo.compare GE, %x, %y : ({scalar}, {scalar}) -> tensor<i1>
        stablehlo.return %r : tensor<i1>
      }}, {{
      ^bb0(%x: {scalar}, %y: {scalar}):
        %r = stablehlo.add %x, %y : {scalar}
        stablehlo.return %r : {scalar}
      }}) : ({types([value, source, zero])}) -> {value.type}""",
                  [Value("", value.shape, value.element, source.bound * terms)])


KINDS = {dot: 4, convolution: 1, reduce: 3, argmax: 0.7, reductions: 0.7, reduce_window: 1, select_and_scatter: 0.4}
