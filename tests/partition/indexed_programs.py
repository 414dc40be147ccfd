"""Programs that read or write at an index, `INDEXED`, and reductions, `CHOSEN`; `together` makes one of several.

Dimension 0 of the first argument, of 24 elements, is the one that tests split.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_MAIN = re.compile(
    r"func.func @main\((?P<arguments>.*?)\) -> (?P<result>.*?) {\n(?P<body>.*)\n  return (?P<values>[^:]*) : ", re.S
)


def together(programs: Iterable[str]) -> str:
    """One program that takes the arguments of all ``programs`` and returns the results of all."""
    arguments, bodies, values, types = [], [], [], []
    for number, text in enumerate(programs):
        match = _MAIN.match(re.sub(r"%(\w+)", rf"%p{number}_\1", text))
        assert match is not None
        arguments.append(match["arguments"])
        bodies.append(match["body"])
        values.append(match["values"])
        types.append(match["result"].strip("()"))
    body = "\n".join([*bodies, f"  return {', '.join(values)}"])
    return function(", ".join(arguments), body, f"({', '.join(types)})")


def function(arguments: str, body: str, result: str) -> str:
    """A module with the function ``main``; ``body`` ends with the values that it returns."""
    return f"func.func @main({arguments}) -> {result} {{\n{body} : {result.strip('()')}\n}}"


def gather(operand: str, indices: str, result: str, numbers: str, sizes: str) -> str:
    """A gather of ``operand`` at ``indices``, both types without the word tensor."""
    a, i, r = (f"tensor<{t}>" for t in (operand, indices, result))
    return function(
        f"%a: {a}, %i: {i}",
        f'  %0 = "stablehlo.gather"(%a, %i) <{{dimension_numbers = #stablehlo.gather<{numbers}>,\n'
        f"      slice_sizes = array<i64: {sizes}>}}> : ({a}, {i}) -> {r}\n  return %0",
        r,
    )


def rows(element: str, index: str = "i32") -> str:
    """A lookup of 4 x 6 rows of 8."""
    numbers = "offset_dims = [2], collapsed_slice_dims = [0], start_index_map = [0], index_vector_dim = 2"
    return gather(f"24x8x{element}", f"4x6x1x{index}", f"4x6x8x{element}", numbers, "1, 8")


def scatter(body: str, index: str = "i32", element: str = "f32") -> str:
    """Writes 12 rows of 8; indices may repeat."""
    a, i, u = f"tensor<24x8x{element}>", f"tensor<12x1x{index}>", f"tensor<12x8x{element}>"
    return function(
        f"%a: {a}, %i: {i}, %u: {u}",
        '  %0 = "stablehlo.scatter"(%a, %i, %u) <{scatter_dimension_numbers = #stablehlo.scatter<\n'
        "      update_window_dims = [1], inserted_window_dims = [0], scatter_dims_to_operand_dims = [0],\n"
        f"      index_vector_dim = 1>}}> ({{\n  ^bb0(%x: tensor<{element}>, %y: tensor<{element}>):\n    {body}\n  }})"
        f" : ({a}, {i}, {u}) -> {a}\n  return %0",
        a,
    )


def combine(op: str, element: str = "f32") -> str:
    """A region that is one op."""
    return f"%r = stablehlo.{op} %x, %y : tensor<{element}>\n    stablehlo.return %r : tensor<{element}>"


def dynamic_slice(size: int, element: str = "f32", index: str = "i32") -> str:
    """A slice of ``size`` of 24 rows, and of 6 of 8 columns."""
    a, r, i = f"tensor<24x8x{element}>", f"tensor<{size}x6x{element}>", f"tensor<{index}>"
    return function(
        f"%a: {a}, %i: {i}, %j: {i}",
        f"  %0 = stablehlo.dynamic_slice %a, %i, %j, sizes = [{size}, 6] : ({a}, {i}, {i}) -> {r}\n  return %0",
        r,
    )


def dynamic_update(size: int, element: str = "f32", index: str = "i32", columns: int = 8) -> str:
    """Writes ``size`` of 24 rows, and ``columns`` of 8."""
    a, u, i = f"tensor<24x8x{element}>", f"tensor<{size}x{columns}x{element}>", f"tensor<{index}>"
    return function(
        f"%a: {a}, %u: {u}, %i: {i}, %j: {i}",
        f"  %0 = stablehlo.dynamic_update_slice %a, %u, %i, %j : ({a}, {u}, {i}, {i}) -> {a}\n  return %0",
        a,
    )


INDEXED: dict[str, str] = {
    **{f"gather rows {element}": rows(element) for element in ("f32", "bf16", "f64", "i32", "i8", "i1", "f8E4M3FN")},
    **{f"gather rows at {index}": rows("f32", index) for index in ("i64", "ui32", "ui64", "i8", "ui8")},
    "gather without a vector": gather(
        "24x8xf32", "12xi32", "12x8xf32",
        "offset_dims = [1], collapsed_slice_dims = [0], start_index_map = [0], index_vector_dim = 1", "1, 8",
    ),
    "gather elements": gather(
        "24x8xf32", "2x12xi32", "12xf32",
        "collapsed_slice_dims = [0, 1], start_index_map = [1, 0], index_vector_dim = 0", "1, 1",
    ),
    "gather elements at ui64": gather(
        "24x8xf32", "2x12xui64", "12xf32",
        "collapsed_slice_dims = [0, 1], start_index_map = [1, 0], index_vector_dim = 0", "1, 1",
    ),
    "gather windows of columns": gather(
        "24x8x6xf32", "12x2xi32", "12x3x6xf32",
        "offset_dims = [1, 2], collapsed_slice_dims = [0], start_index_map = [0, 1], index_vector_dim = 1", "1, 3, 6",
    ),
    "gather windows of rows": gather(
        "24x8xf32", "12x1xi32", "12x3x8xf32",
        "offset_dims = [1, 2], start_index_map = [0], index_vector_dim = 1", "3, 8",
    ),
    "gather batched": gather(
        "24x4x6xf32", "12x4x1xi32", "12x4x6xf32",
        "offset_dims = [2], collapsed_slice_dims = [0], operand_batching_dims = [1], start_indices_batching_dims = [1],"
        " start_index_map = [0], index_vector_dim = 2", "1, 1, 6",
    ),
    **{f"scatter {op}": scatter(combine(op)) for op in ("add", "maximum", "minimum", "multiply", "subtract")},
    **{f"scatter {op} i32": scatter(combine(op, "i32"), element="i32") for op in ("add", "and", "or", "xor")},
    **{f"scatter add at {index}": scatter(combine("add"), index) for index in ("i64", "ui32", "i8")},
    "scatter set": scatter("stablehlo.return %y : tensor<f32>"),
    "scatter elements": function(
        "%a: tensor<24x8xf32>, %i: tensor<2x12xi32>, %u: tensor<12xf32>",
        '  %0 = "stablehlo.scatter"(%a, %i, %u) <{scatter_dimension_numbers = #stablehlo.scatter<\n'
        "      inserted_window_dims = [0, 1], scatter_dims_to_operand_dims = [1, 0], index_vector_dim = 0>}> ({\n"
        f"  ^bb0(%x: tensor<f32>, %y: tensor<f32>):\n    {combine('add')}\n  }})"
        " : (tensor<24x8xf32>, tensor<2x12xi32>, tensor<12xf32>) -> tensor<24x8xf32>\n  return %0",
        "tensor<24x8xf32>",
    ),
    **{f"dynamic_slice of {size}": dynamic_slice(size) for size in (1, 2, 5, 17, 24)},
    **{f"dynamic_slice {element}": dynamic_slice(3, element) for element in ("bf16", "i32", "i1", "f8E5M2")},
    **{f"dynamic_slice at {index}": dynamic_slice(3, "f32", index) for index in ("i64", "ui32", "ui64", "i8")},
    **{f"dynamic_update_slice of {size}": dynamic_update(size) for size in (1, 2, 5, 17, 24)},
    **{f"dynamic_update_slice {element}": dynamic_update(3, element) for element in ("bf16", "i32", "i1", "f8E5M2")},
    **{f"dynamic_update_slice at {index}": dynamic_update(3, "f32", index) for index in ("ui32", "ui64", "i8")},
    "dynamic_update_slice of both": dynamic_update(5, columns=3),
    "dynamic_update_slice of an element": dynamic_update(1, columns=1),
}


def reduction(arguments: str, initial: str, region: str, types: tuple[str, ...], dims: str = "0") -> str:
    """A reduction of ``%a``, ``%b``, ... of 24x8 over ``dims``; the scalars come last among the arguments."""
    count = len(types)
    names, outputs = "abcd"[:count], []
    result = {"0": "8", "1": "24", "0, 1": ""}[dims]
    outputs = [f"tensor<{result}x{t}>" if result else f"tensor<{t}>" for t in types]
    inputs = ", ".join(f"(%{n} init: %{n}0)" for n in names) if count > 1 else f"(%{names} init: %{names}0)"
    operands = ", ".join([f"tensor<24x8x{t}>" for t in types] + [f"tensor<{t}>" for t in types])
    pairs = " ".join(f"(%{n}1: tensor<{t}>, %{n}2: tensor<{t}>)" for n, t in zip(names, types, strict=True))
    returned = ", ".join(f"tensor<{t}>" for t in types)
    values = ", ".join(f"%0#{k}" for k in range(count)) if count > 1 else "%0"
    left = f"%0:{count}" if count > 1 else "%0"
    return function(
        arguments,
        f"{initial}\n  {left} = stablehlo.reduce{inputs} across dimensions = [{dims}] : ({operands}) -> "
        f"({', '.join(outputs)})\n   reducer{pairs} {{\n{region} : {returned}\n  }}\n  return {values}",
        f"({', '.join(outputs)})",
    )


_LARGEST = """    %more = stablehlo.compare {more}, %a1, %a2 : (tensor<f32>, tensor<f32>) -> tensor<i1>
    %v = stablehlo.select %more, %a1, %a2 : tensor<i1>, tensor<f32>
    %w = stablehlo.select %more, %b1, %b2 : tensor<i1>, tensor<i32>
    stablehlo.return %v, %w"""
# What jax.numpy.argmax writes: NaN wins, and of equal values the one of the lowest index.
_JAX_LARGEST = """    %0 = stablehlo.compare GT, %a1, %a2, FLOAT : (tensor<f32>, tensor<f32>) -> tensor<i1>
    %1 = stablehlo.compare NE, %a1, %a1, FLOAT : (tensor<f32>, tensor<f32>) -> tensor<i1>
    %2 = stablehlo.or %0, %1 : tensor<i1>
    %3 = stablehlo.compare EQ, %a1, %a2, FLOAT : (tensor<f32>, tensor<f32>) -> tensor<i1>
    %4 = stablehlo.compare LT, %b1, %b2, SIGNED : (tensor<i32>, tensor<i32>) -> tensor<i1>
    %5 = stablehlo.and %3, %4 : tensor<i1>
    %6 = stablehlo.or %2, %5 : tensor<i1>
    %7 = stablehlo.select %2, %a1, %a2 : tensor<i1>, tensor<f32>
    %8 = stablehlo.select %6, %b1, %b2 : tensor<i1>, tensor<i32>
    stablehlo.return %7, %8"""
_COLUMNS = "%a: tensor<24x8xf32>"
_INDEXES = """  %b = stablehlo.iota dim = 0 : tensor<24x8xi32>
  %a0 = stablehlo.constant dense<0xFF800000> : tensor<f32>
  %b0 = stablehlo.constant dense<0> : tensor<i32>"""
_ONE = "%a: tensor<24x8xf32>, %a0: tensor<f32>"
_TWO = "%a: tensor<24x8xf32>, %b: tensor<24x8xi32>, %a0: tensor<f32>, %b0: tensor<i32>"


def _one(op: str, element: str = "f32") -> str:
    return f"    %r = stablehlo.{op} %a1, %a2 : tensor<{element}>\n    stablehlo.return %r"


CHOSEN: dict[str, str] = {
    "argmax": reduction(_COLUMNS, _INDEXES, _JAX_LARGEST, ("f32", "i32")),
    **{f"argmax, {more}": reduction(_COLUMNS, _INDEXES, _LARGEST.format(more=more), ("f32", "i32"))
       for more in ("GE", "GT", "LE")},
    "argmax of all": reduction(_COLUMNS, _INDEXES, _LARGEST.format(more="GE"), ("f32", "i32"), "0, 1"),
    "argmax of rows": reduction(_COLUMNS, _INDEXES, _LARGEST.format(more="GE"), ("f32", "i32"), "1"),
    "argmax, i32": reduction(
        "%a: tensor<24x8xi32>",
        "  %b = stablehlo.iota dim = 0 : tensor<24x8xi32>\n"
        "  %a0 = stablehlo.constant dense<-2147483648> : tensor<i32>\n"
        "  %b0 = stablehlo.constant dense<0> : tensor<i32>",
        _LARGEST.format(more="GT").replace("f32", "i32"), ("i32", "i32"),
    ),
    # The later of equals wins, and the initial value may equal one of them: it must not enter again.
    "argmax, initial values": reduction(_TWO, "", _LARGEST.format(more="GT"), ("f32", "i32")),
    "sum and maximum": reduction(
        _TWO, "",
        "    %v = stablehlo.add %a1, %a2 : tensor<f32>\n    %w = stablehlo.maximum %b1, %b2 : tensor<i32>\n"
        "    stablehlo.return %v, %w", ("f32", "i32"),
    ),
    **{f"{op} over {dims}, initial value": reduction(_ONE, "", _one(op), ("f32",), dims)
       for op in ("add", "multiply", "maximum", "minimum") for dims in ("0", "0, 1")},
    **{f"{op} i32, initial value": reduction("%a: tensor<24x8xi32>, %a0: tensor<i32>", "", _one(op, "i32"), ("i32",))
       for op in ("add", "xor", "and", "or")},
    "no choice": reduction(
        "%a: tensor<24x8xf32>, %a0: tensor<f32>", "",
        "    %p = stablehlo.add %a1, %a2 : tensor<f32>\n    %q = stablehlo.multiply %a1, %a2 : tensor<f32>\n"
        "    %r = stablehlo.add %p, %q : tensor<f32>\n    stablehlo.return %r", ("f32",),
    ),
}
