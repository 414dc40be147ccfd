"""Programs for the partition matrix beyond `op_programs`: the remaining elementwise ops and the variants of attributes.

Every program returns what one op makes of its arguments. Sizes are 4, 6, 8 or 12, as there.
"""

from __future__ import annotations

import re

from tests.partition.op_programs import PROGRAMS


def _program(arguments: str, body: str, *results: str) -> str:
    """A function of the ``arguments`` (``name: type`` separated by ``; ``) that returns ``%0``, or ``%0#0``, ..."""
    named = ", ".join(f"%{a.strip()}" for a in arguments.split(";"))
    types = ", ".join(results)
    values = ", ".join(f"%0#{i}" for i in range(len(results))) if len(results) > 1 else "%0"
    return f"func.func @main({named}) -> ({types}) {{\n{body}\n  return {values} : {types}\n}}"


def _t(shape: str, element: str = "f32") -> str:
    return f"tensor<{shape}x{element}>" if shape else f"tensor<{element}>"


def _simple(text: str, argument: str, result: str, *more: str) -> str:
    """One op on ``%a``, ``%b``, ... of the given types."""
    types = (argument, *more)
    names = [f"{chr(ord('a') + i)}" for i in range(len(types))]
    given = "; ".join(f"{name}: {type}" for name, type in zip(names, types, strict=True))
    head, _, attributes = text.partition(",")
    operands = ", ".join(f"%{name}" for name in names)
    tail = f", {attributes}" if attributes else ""
    body = f"  %0 = stablehlo.{head} {operands}{tail} : ({', '.join(types)}) -> {result}"
    return _program(given, body, result)


_FLOAT = (
    "cbrt ceil cosine exponential exponential_minus_one log log_plus_one logistic round_nearest_afz round_nearest_even "
    "rsqrt sine sqrt tan tanh"
)
_M = _t("8x6")
_I = _t("8x6", "i32")

ELEMENTWISE: dict[str, str] = {
    **{name: _simple(name, _M, _M) for name in _FLOAT.split()},
    **{name: _simple(name, _M, _M, _M) for name in ("atan2", "divide", "power")},
    **{name: _simple(name, _I, _I, _I)
       for name in ("shift_left", "shift_right_arithmetic", "shift_right_logical")},
    **{name: _simple(name, _I, _I) for name in ("not", "popcnt", "count_leading_zeros")},
    "is_finite": _simple("is_finite", _M, _t("8x6", "i1")),
    "imag": _simple("imag", _t("8x6", "complex<f32>"), _M),
    "reduce_precision": _program(
        f"a: {_M}", f"  %0 = stablehlo.reduce_precision %a, format = e5m10 : {_M}", _M
    ),
    "bitcast_convert same width": _simple("bitcast_convert", _M, _I),
    "bitcast_convert wider": _simple("bitcast_convert", _t("8x6x4", "i8"), _I),
    "bitcast_convert narrower": _simple("bitcast_convert", _M, _t("8x6x4", "i8")),
    "add f64": _simple("add", _t("8x6", "f64"), _t("8x6", "f64"), _t("8x6", "f64")),
    "add f8": _simple("add", _t("8x6", "f8E4M3FN"), _t("8x6", "f8E4M3FN"), _t("8x6", "f8E4M3FN")),
    "add i8": _simple("add", _t("8x6", "i8"), _t("8x6", "i8"), _t("8x6", "i8")),
    "add complex": _simple("add", _t("8x6", "complex<f64>"), _t("8x6", "complex<f64>"), _t("8x6", "complex<f64>")),
    "select scalar predicate": _program(
        f"p: {_t('', 'i1')}; a: {_M}; b: {_M}",
        f"  %0 = stablehlo.select %p, %a, %b : {_t('', 'i1')}, {_M}", _M,
    ),
    "clamp": _program(f"l: {_M}; a: {_M}; h: {_M}", f"  %0 = stablehlo.clamp %l, %a, %h : {_M}", _M),
    "map": _program(
        f"a: {_M}; b: {_M}",
        f"""  %0 = "stablehlo.map"(%a, %b) <{{dimensions = array<i64: 0, 1>}}> ({{
  ^bb0(%x: tensor<f32>, %y: tensor<f32>):
    %r = stablehlo.multiply %x, %y : tensor<f32>
    stablehlo.return %r : tensor<f32>
  }}) : ({_M}, {_M}) -> {_M}""", _M,
    ),
}


# -- reductions and windows --------------------------------------------------------------------------------------------


def _reduce(op: str, init: str, dims: str, argument: str, result: str, element: str = "f32") -> str:
    a, r, s = _t(argument, element), _t(result, element), _t("", element)
    body = (
        f"  %c = stablehlo.constant dense<{init}> : {s}\n"
        f"  %0 = stablehlo.reduce(%a init: %c) applies stablehlo.{op} across dimensions = [{dims}] : ({a}, {s}) -> {r}"
    )
    return _program(f"a: {a}", body, r)


_TWO_SUMS = """
  %c = stablehlo.constant dense<0.0> : tensor<f32>
  %0:2 = stablehlo.reduce(%a init: %c), (%b init: %c) across dimensions = [0]
      : (tensor<8x6xf32>, tensor<8x6xf32>, tensor<f32>, tensor<f32>) -> (tensor<6xf32>, tensor<6xf32>)
   reducer(%x: tensor<f32>, %y: tensor<f32>) (%k: tensor<f32>, %l: tensor<f32>) {
    %v = stablehlo.add %x, %y : tensor<f32>
    %w = stablehlo.MAXIMUM %k, %l : tensor<f32>
    stablehlo.return %v, %w : tensor<f32>, tensor<f32>
  }"""

_ODD_BODY = """
  %c = stablehlo.constant dense<0.0> : tensor<f32>
  %0 = stablehlo.reduce(%a init: %c) across dimensions = [0] : (tensor<8x6xf32>, tensor<f32>) -> tensor<6xf32>
   reducer(%x: tensor<f32>, %y: tensor<f32>) {
    %n = stablehlo.abs %y : tensor<f32>
    %v = stablehlo.add %x, %n : tensor<f32>
    stablehlo.return %v : tensor<f32>
  }"""


def _window(op: str, init: str, argument: str, result: str, **attributes: str) -> str:
    a, r = _t(argument), _t(result)
    said = ", ".join(f"{key} = {value}" for key, value in attributes.items())
    body = f"""  %c = stablehlo.constant dense<{init}> : tensor<f32>
  %0 = "stablehlo.reduce_window"(%a, %c) <{{{said}}}> ({{
  ^bb0(%x: tensor<f32>, %y: tensor<f32>):
    %r = stablehlo.{op} %x, %y : tensor<f32>
    stablehlo.return %r : tensor<f32>
  }}) : ({a}, tensor<f32>) -> {r}"""
    return _program(f"a: {a}", body, r)


_SELECT_AND_SCATTER = """  %c = stablehlo.constant dense<0.0> : tensor<f32>
  %0 = "stablehlo.select_and_scatter"(%a, %b, %c) <{window_dimensions = array<i64: 1, 2, 1>,
      window_strides = array<i64: 1, 2, 1>}> ({
  ^bb0(%x: tensor<f32>, %y: tensor<f32>):
    %r = stablehlo.compare GE, %x, %y : (tensor<f32>, tensor<f32>) -> tensor<i1>
    stablehlo.return %r : tensor<i1>
  }, {
  ^bb0(%x: tensor<f32>, %y: tensor<f32>):
    %r = stablehlo.add %x, %y : tensor<f32>
    stablehlo.return %r : tensor<f32>
  }) : (tensor<4x8x6xf32>, tensor<4x4x6xf32>, tensor<f32>) -> tensor<4x8x6xf32>"""

REDUCTIONS: dict[str, str] = {
    "reduce and": _reduce("and", "true", "1", "8x6", "8", "i1"),
    "reduce or": _reduce("or", "false", "0, 1", "8x6", "", "i1"),
    "reduce xor": _reduce("xor", "0", "0", "8x6", "6", "i32"),
    "reduce min": _reduce("minimum", "0x7F800000", "0", "8x6x4", "6x4"),
    "reduce max ints": _reduce("maximum", "-2147483648", "1", "8x12", "8", "i32"),
    "reduce add bf16": _reduce("add", "0.0", "0", "8x6", "6", "bf16"),
    "reduce add complex": _reduce("add", "(0.0, 0.0)", "0", "8x6", "6", "complex<f32>"),
    "reduce variadic sums": _program(
        f"a: {_M}; b: {_M}", _TWO_SUMS.replace("MAXIMUM", "add"), "tensor<6xf32>", "tensor<6xf32>"
    ),
    "reduce variadic mixed": _program(
        f"a: {_M}; b: {_M}", _TWO_SUMS.replace("MAXIMUM", "maximum"), "tensor<6xf32>", "tensor<6xf32>"
    ),
    "reduce of absolute values": _program(f"a: {_M}", _ODD_BODY, "tensor<6xf32>"),
    "reduce_window max pool": _window(
        "maximum", "0xFF800000", "4x8x12", "4x4x4",
        window_dimensions="array<i64: 1, 2, 3>", window_strides="array<i64: 1, 2, 3>",
    ),
    "reduce_window cumulative": _window(
        "add", "0.0", "8x6", "8x6",
        window_dimensions="array<i64: 8, 1>", padding="dense<[[7, 0], [0, 0]]> : tensor<2x2xi64>",
    ),
    "reduce_window dilated": _window(
        "add", "0.0", "8x6", "12x6", window_dimensions="array<i64: 2, 1>", base_dilations="array<i64: 2, 1>",
        window_dilations="array<i64: 3, 1>", padding="dense<[[0, 0], [0, 0]]> : tensor<2x2xi64>",
    ),
    "reduce_window strided ones": _window(
        "add", "0.0", "8x6", "4x6", window_dimensions="array<i64: 1, 1>", window_strides="array<i64: 2, 1>",
    ),
    "select_and_scatter": _program("a: tensor<4x8x6xf32>; b: tensor<4x4x6xf32>", _SELECT_AND_SCATTER,
                                   "tensor<4x8x6xf32>"),
    "batch_norm_inference": _program(
        "a: tensor<8x4x6xf32>; s: tensor<6xf32>; o: tensor<6xf32>; m: tensor<6xf32>; v: tensor<6xf32>",
        '  %0 = "stablehlo.batch_norm_inference"(%a, %s, %o, %m, %v) <{epsilon = 1.0 : f32, feature_index = 2 : i64}>'
        " : (tensor<8x4x6xf32>, tensor<6xf32>, tensor<6xf32>, tensor<6xf32>, tensor<6xf32>) -> tensor<8x4x6xf32>",
        "tensor<8x4x6xf32>",
    ),
    "batch_norm_training": _program(
        "a: tensor<8x4x6xf32>; s: tensor<4xf32>; o: tensor<4xf32>",
        '  %0:3 = "stablehlo.batch_norm_training"(%a, %s, %o) <{epsilon = 1.0 : f32, feature_index = 1 : i64}>'
        " : (tensor<8x4x6xf32>, tensor<4xf32>, tensor<4xf32>) -> (tensor<8x4x6xf32>, tensor<4xf32>, tensor<4xf32>)",
        "tensor<8x4x6xf32>", "tensor<4xf32>", "tensor<4xf32>",
    ),
    "batch_norm_grad": _program(
        "a: tensor<8x4x6xf32>; s: tensor<6xf32>; m: tensor<6xf32>; v: tensor<6xf32>; g: tensor<8x4x6xf32>",
        '  %0:3 = "stablehlo.batch_norm_grad"(%a, %s, %m, %v, %g) <{epsilon = 1.0 : f32, feature_index = 2 : i64}>'
        " : (tensor<8x4x6xf32>, tensor<6xf32>, tensor<6xf32>, tensor<6xf32>, tensor<8x4x6xf32>)"
        " -> (tensor<8x4x6xf32>, tensor<6xf32>, tensor<6xf32>)",
        "tensor<8x4x6xf32>", "tensor<6xf32>", "tensor<6xf32>",
    ),
}


# -- products ----------------------------------------------------------------------------------------------------------


def _conv(a: str, w: str, r: str, window: str = "", groups: int = 1, batch: int = 1) -> str:
    a, w, r = _t(a), _t(w), _t(r)
    body = f"""  %0 = stablehlo.convolution(%a, %w) dim_numbers = [b, 0, f]x[0, i, o]->[b, 0, f],
      window = {{{window}}} {{batch_group_count = {batch} : i64, feature_group_count = {groups} : i64}}
      : ({a}, {w}) -> {r}"""
    return _program(f"a: {a}; w: {w}", body, r)


PRODUCTS: dict[str, str] = {
    "dot plain": _simple("dot", _t("8x6"), _t("8x4"), _t("6x4")),
    "dot vector": _simple("dot", _t("8x6"), _t("8"), _t("6")),
    "dot outer": _program(
        "a: tensor<8xf32>; b: tensor<6xf32>",
        "  %0 = stablehlo.dot_general %a, %b, contracting_dims = [] x [] : (tensor<8xf32>, tensor<6xf32>)"
        " -> tensor<8x6xf32>", "tensor<8x6xf32>",
    ),
    "dot to a scalar": _program(
        "a: tensor<12x4xf32>; b: tensor<12x4xf32>",
        "  %0 = stablehlo.dot_general %a, %b, contracting_dims = [0, 1] x [0, 1]"
        " : (tensor<12x4xf32>, tensor<12x4xf32>) -> tensor<f32>", "tensor<f32>",
    ),
    "dot of bytes": _program(
        "a: tensor<8x12xi8>; b: tensor<12x4xi8>",
        "  %0 = stablehlo.dot_general %a, %b, contracting_dims = [1] x [0] : (tensor<8x12xi8>, tensor<12x4xi8>)"
        " -> tensor<8x4xi32>", "tensor<8x4xi32>",
    ),
    "convolution strided": _conv("4x8x6", "2x6x8", "4x4x8", "stride = [2]"),
    "convolution dilated kernel": _conv("4x8x6", "2x6x8", "4x6x8", "rhs_dilate = [2]"),
    "convolution transposed": _conv("4x6x6", "2x6x8", "4x12x8", "pad = [[1, 1]], lhs_dilate = [2], reverse = [true]"),
    "convolution pointwise": _conv("4x8x6", "1x6x8", "4x8x8"),
    "convolution contraction": _conv("4x8x6", "8x6x12", "4x1x12"),
    "convolution depthwise": _conv("4x8x6", "3x1x12", "4x6x12", groups=6),
    "convolution kernel gradient": _program(
        "a: tensor<4x8x6xf32>; w: tensor<4x8x12xf32>",
        "  %0 = stablehlo.convolution(%a, %w) dim_numbers = [f, 0, b]x[i, 0, o]->[0, b, f],\n"
        "      window = {pad = [[1, 1]]} {batch_group_count = 1 : i64, feature_group_count = 1 : i64}\n"
        "      : (tensor<4x8x6xf32>, tensor<4x8x12xf32>) -> tensor<3x6x12xf32>",
        "tensor<3x6x12xf32>",
    ),
    "triangular_solve": _program(
        "a: tensor<4x6x6xf32>; b: tensor<4x6x8xf32>",
        """  %i = stablehlo.iota dim = 1 : tensor<4x6x6xi32>
  %j = stablehlo.iota dim = 2 : tensor<4x6x6xi32>
  %e = stablehlo.compare EQ, %i, %j : (tensor<4x6x6xi32>, tensor<4x6x6xi32>) -> tensor<4x6x6xi1>
  %d = stablehlo.convert %e : (tensor<4x6x6xi1>) -> tensor<4x6x6xf32>
  %z = stablehlo.subtract %a, %a : tensor<4x6x6xf32>
  %m = stablehlo.add %d, %z : tensor<4x6x6xf32>
  %0 = "stablehlo.triangular_solve"(%m, %b) <{left_side = true, lower = true, transpose_a =
      #stablehlo<transpose NO_TRANSPOSE>, unit_diagonal = false}> : (tensor<4x6x6xf32>, tensor<4x6x8xf32>)
      -> tensor<4x6x8xf32>""",
        "tensor<4x6x8xf32>",
    ),
    "fft": _simple("fft, type = FFT, length = [8]", _t("4x6x8", "complex<f32>"), _t("4x6x8", "complex<f32>")),
    "fft of reals": _simple("fft, type = RFFT, length = [6, 8]", _t("4x6x8"), _t("4x6x5", "complex<f32>")),
    "fft to reals": _simple("fft, type = IRFFT, length = [6]", _t("8x4", "complex<f32>"), _t("8x6")),
    "einsum": _simple('einsum, config = "ij,jk->ik"', _t("8x6"), _t("8x4"), _t("6x4")),
}


# -- indices -----------------------------------------------------------------------------------------------------------


def _gather(a: str, i: str, r: str, sizes: str, numbers: str) -> str:
    a, i, r = _t(a), _t(i, "i32"), _t(r)
    body = (
        f'  %0 = "stablehlo.gather"(%a, %i) <{{dimension_numbers = #stablehlo.gather<{numbers}>, '
        f"slice_sizes = array<i64: {sizes}>}}> : ({a}, {i}) -> {r}"
    )
    return _program(f"a: {a}; i: {i}", body, r)


def _scatter(body: str, a: str, i: str, u: str, numbers: str, element: str = "f32", unique: bool = False) -> str:
    a, i, u, s = _t(a, element), _t(i, "i32"), _t(u, element), _t("", element)
    region = f"    {body} : {s}\n    stablehlo.return %r : {s}" if body else f"    stablehlo.return %y : {s}"
    text = f"""  %0 = "stablehlo.scatter"(%a, %i, %u) <{{scatter_dimension_numbers = #stablehlo.scatter<{numbers}>,
      unique_indices = {str(unique).lower()}}}> ({{
  ^bb0(%x: {s}, %y: {s}):
{region}
  }}) : ({a}, {i}, {u}) -> {a}"""
    return _program(f"a: {a}; i: {i}; u: {u}", text, a)


_ROWS = (
    "update_window_dims = [1], inserted_window_dims = [0], scatter_dims_to_operand_dims = [0], index_vector_dim = 1"
)
_POINTS = "inserted_window_dims = [0, 1], scatter_dims_to_operand_dims = [0, 1], index_vector_dim = 1"
_BATCHED = (
    "update_window_dims = [2], inserted_window_dims = [1], input_batching_dims = [0], "
    "scatter_indices_batching_dims = [0], scatter_dims_to_operand_dims = [1], index_vector_dim = 2"
)
_BLOCKS = "update_window_dims = [1, 2], scatter_dims_to_operand_dims = [0], index_vector_dim = 1"

_TWO_SCATTERED = f"""  %0:2 = "stablehlo.scatter"(%a, %b, %i, %u, %v) <{{scatter_dimension_numbers =
      #stablehlo.scatter<{_ROWS}>}}> ({{
  ^bb0(%x: tensor<f32>, %k: tensor<f32>, %y: tensor<f32>, %l: tensor<f32>):
    %r = stablehlo.add %x, %y : tensor<f32>
    %m = stablehlo.add %k, %l : tensor<f32>
    stablehlo.return %r, %m : tensor<f32>, tensor<f32>
  }}) : (tensor<12x8xf32>, tensor<12x8xf32>, tensor<4x1xi32>, tensor<4x8xf32>, tensor<4x8xf32>)
      -> (tensor<12x8xf32>, tensor<12x8xf32>)"""

INDICES: dict[str, str] = {
    "dynamic_slice both": _program(
        "a: tensor<8x12xf32>; i: tensor<i32>; j: tensor<i32>",
        "  %0 = stablehlo.dynamic_slice %a, %i, %j, sizes = [4, 6] : (tensor<8x12xf32>, tensor<i32>, tensor<i32>)"
        " -> tensor<4x6xf32>", "tensor<4x6xf32>",
    ),
    "dynamic_update_slice both": _program(
        "a: tensor<8x12xf32>; u: tensor<4x6xf32>; i: tensor<i32>; j: tensor<i32>",
        "  %0 = stablehlo.dynamic_update_slice %a, %u, %i, %j : (tensor<8x12xf32>, tensor<4x6xf32>, tensor<i32>,"
        " tensor<i32>) -> tensor<8x12xf32>", "tensor<8x12xf32>",
    ),
    "gather points": _gather(
        "8x12", "6x2", "6", "1, 1",
        "collapsed_slice_dims = [0, 1], start_index_map = [0, 1], index_vector_dim = 1",
    ),
    "gather windows": _gather(
        "8x12", "6x1", "6x4x12", "4, 12", "offset_dims = [1, 2], start_index_map = [0], index_vector_dim = 1"
    ),
    "gather columns, indices first": _gather(
        "8x12", "1x6", "8x6", "8, 1",
        "offset_dims = [0], collapsed_slice_dims = [1], start_index_map = [1], index_vector_dim = 0",
    ),
    "gather part of the row": _gather(
        "12x8", "4x1", "4x6", "1, 6",
        "offset_dims = [1], collapsed_slice_dims = [0], start_index_map = [0], index_vector_dim = 1",
    ),
    "scatter multiply": _scatter("%r = stablehlo.multiply %x, %y", "12x8", "4x1", "4x8", _ROWS),
    "scatter min": _scatter("%r = stablehlo.minimum %x, %y", "12x8", "4x1", "4x8", _ROWS),
    "scatter or": _scatter("%r = stablehlo.or %x, %y", "12x8", "4x1", "4x8", _ROWS, "i32"),
    "scatter points": _scatter("%r = stablehlo.add %x, %y", "12x8", "6x2", "6", _POINTS),
    "scatter batched": _scatter("%r = stablehlo.add %x, %y", "4x8x6", "4x12x1", "4x12x6", _BATCHED),
    "scatter set batched": _scatter("", "4x8x6", "4x12x1", "4x12x6", _BATCHED),
    "scatter blocks": _scatter("%r = stablehlo.add %x, %y", "12x8", "6x1", "6x4x8", _BLOCKS),
    "scatter part of the row": _scatter("%r = stablehlo.add %x, %y", "12x8", "4x1", "4x6", _ROWS),
    "scatter set, unique": _scatter("", "12x8", "1x1", "1x8", _ROWS, unique=True),
    "scatter two operands": _program(
        "a: tensor<12x8xf32>; b: tensor<12x8xf32>; i: tensor<4x1xi32>; u: tensor<4x8xf32>; v: tensor<4x8xf32>",
        _TWO_SCATTERED, "tensor<12x8xf32>", "tensor<12x8xf32>",
    ),
    "torch_index_select": _program(
        "a: tensor<8x12xf32>; i: tensor<6xi32>",
        '  %0 = "stablehlo.torch_index_select"(%a, %i) <{batch_dims = 0 : i64, dim = 1 : i64}>'
        " : (tensor<8x12xf32>, tensor<6xi32>) -> tensor<8x6xf32>", "tensor<8x6xf32>",
    ),
}


# -- shapes and order --------------------------------------------------------------------------------------------------


def _sort(dimension: int, stable: bool, direction: str, element: str) -> str:
    type, s = _t("8x12", element), _t("", element)
    body = f"""  %0 = "stablehlo.sort"(%a) <{{dimension = {dimension} : i64, is_stable = {str(stable).lower()}}}> ({{
  ^bb0(%x: {s}, %y: {s}):
    %less = stablehlo.compare {direction}, %x, %y : ({s}, {s}) -> tensor<i1>
    stablehlo.return %less : tensor<i1>
  }}) : ({type}) -> {type}"""
    return _program(f"a: {type}", body, type)


def _iota(dimension: int, element: str, shape: str = "8x12") -> str:
    """Added to an argument that is first made zero, so that the iota's own bits are the result."""
    type = _t(shape, element)
    return _program(
        f"a: {type}",
        f"  %z = stablehlo.subtract %a, %a : {type}\n  %i = stablehlo.iota dim = {dimension} : {type}\n"
        f"  %0 = stablehlo.add %z, %i : {type}", type,
    )


def _cut(limits: str, result: str) -> str:
    return _program(
        "a: tensor<8x12xf32>", f"  %0 = stablehlo.slice %a [{limits}] : (tensor<8x12xf32>) -> {_t(result)}", _t(result)
    )


def _pad(low: str, high: str, interior: str, result: str) -> str:
    body = (
        f"  %0 = stablehlo.pad %a, %v, low = [{low}], high = [{high}], interior = [{interior}]"
        f" : (tensor<8x6xf32>, tensor<f32>) -> {_t(result)}"
    )
    return _program("a: tensor<8x6xf32>; v: tensor<f32>", body, _t(result))


SHAPES: dict[str, str] = {
    "broadcast": _program(
        "a: tensor<8x6xf32>",
        '  %0 = "stablehlo.broadcast"(%a) <{broadcast_sizes = array<i64: 4>}> : (tensor<8x6xf32>) -> tensor<4x8x6xf32>',
        "tensor<4x8x6xf32>",
    ),
    "broadcast_in_dim of a scalar": _program(
        "a: tensor<f32>", "  %0 = stablehlo.broadcast_in_dim %a, dims = [] : (tensor<f32>) -> tensor<8x6xf32>", _M
    ),
    "broadcast_in_dim stretching": _program(
        "a: tensor<8x1x4xf32>",
        "  %0 = stablehlo.broadcast_in_dim %a, dims = [0, 1, 2] : (tensor<8x1x4xf32>) -> tensor<8x6x4xf32>",
        "tensor<8x6x4xf32>",
    ),
    "reshape ones": _simple("reshape", _t("8x1x6"), _t("1x8x6x1")),
    "reshape three ways": _simple("reshape", _t("8x12"), _t("4x2x3x4")),
    "reshape merge and split": _simple("reshape", _t("4x6x8"), _t("24x2x4")),
    "reshape across all": _simple("reshape", _t("4x12"), _t("6x8")),
    "slice rows off the end": _cut("0:6, 0:12", "6x12"),
    "slice one": _cut("3:4, 0:12", "1x12"),
    "slice both strided": _cut("1:8:2, 0:12:2", "4x6"),
    "pad below": _pad("4, 0", "0, 0", "0, 0", "12x6"),
    "pad inside": _pad("0, 1", "1, 0", "1, 0", "16x7"),
    "pad cutting": _pad("-2, 0", "-2, 2", "0, 0", "4x8"),
    "concatenate three": _program(
        "a: tensor<8x4xf32>; b: tensor<8x6xf32>; c: tensor<8x2xf32>",
        "  %0 = stablehlo.concatenate %a, %b, %c, dim = 1 : (tensor<8x4xf32>, tensor<8x6xf32>, tensor<8x2xf32>)"
        " -> tensor<8x12xf32>", "tensor<8x12xf32>",
    ),
    "concatenate copies": _program(
        "a: tensor<8x1x6xf32>",
        "  %0 = stablehlo.concatenate %a, %a, %a, %a, dim = 1 : (tensor<8x1x6xf32>, tensor<8x1x6xf32>,"
        " tensor<8x1x6xf32>, tensor<8x1x6xf32>) -> tensor<8x4x6xf32>", "tensor<8x4x6xf32>",
    ),
    "reverse both": _program(f"a: {_M}", f"  %0 = stablehlo.reverse %a, dims = [1, 0] : {_M}", _M),
    "sort columns down": _sort(0, True, "GT", "f32"),
    "sort from behind": _sort(-1, False, "LT", "i32"),
    "iota i32": _iota(0, "i32"),
    "iota bf16": _iota(0, "bf16", "516x4"),
    "iota i8": _iota(1, "i8", "4x516"),
    "iota complex": _iota(0, "complex<f32>"),
    "constant splat": _program(
        f"a: {_M}", f"  %c = stablehlo.constant dense<3.0> : {_M}\n  %0 = stablehlo.add %a, %c : {_M}", _M
    ),
    "constant of bytes": _program(
        "a: tensor<8xi8>",
        "  %c = stablehlo.constant dense<[1, 2, 3, 4, 5, 6, 7, 8]> : tensor<8xi8>\n"
        "  %0 = stablehlo.add %a, %c : tensor<8xi8>", "tensor<8xi8>",
    ),
    "constant periodic complex": _program(
        "a: tensor<4xcomplex<f32>>",
        "  %c = stablehlo.constant dense<[(1., 2.), (3., 4.), (1., 2.), (3., 4.)]> : tensor<4xcomplex<f32>>\n"
        "  %0 = stablehlo.add %a, %c : tensor<4xcomplex<f32>>", "tensor<4xcomplex<f32>>",
    ),
    "get_dimension_size": _program(
        f"a: {_M}", f"  %0 = stablehlo.get_dimension_size %a, dim = 1 : ({_M}) -> tensor<i32>", "tensor<i32>"
    ),
}


# -- blocks ------------------------------------------------------------------------------------------------------------

_IF = f"""  %0 = "stablehlo.if"(%p) ({{
    %t = stablehlo.multiply %a, %b : {_M}
    stablehlo.return %t : {_M}
  }}, {{
    stablehlo.return %b : {_M}
  }}) : (tensor<i1>) -> {_M}"""

_NESTED = """
  %zero = stablehlo.constant dense<0> : tensor<i32>
  %one = stablehlo.constant dense<1> : tensor<i32>
  %two = stablehlo.constant dense<2> : tensor<i32>
  %0:2 = stablehlo.while(%n = %zero, %x = %a) : tensor<i32>, tensor<8x4xf32>
  cond {
    %more = stablehlo.compare LT, %n, %two : (tensor<i32>, tensor<i32>) -> tensor<i1>
    stablehlo.return %more : tensor<i1>
  } do {
    %even = stablehlo.compare EQ, %n, %zero : (tensor<i32>, tensor<i32>) -> tensor<i1>
    %r = "stablehlo.if"(%even) ({
      %t = stablehlo.add %x, %b : tensor<8x4xf32>
      stablehlo.return %t : tensor<8x4xf32>
    }, {
      %s:2 = stablehlo.while(%m = %zero, %y = %x) : tensor<i32>, tensor<8x4xf32>
      cond {
        %again = stablehlo.compare LT, %m, %n : (tensor<i32>, tensor<i32>) -> tensor<i1>
        stablehlo.return %again : tensor<i1>
      } do {
        %k = stablehlo.add %m, %one : tensor<i32>
        %z = stablehlo.reverse %y, dims = [0] : tensor<8x4xf32>
        stablehlo.return %k, %z : tensor<i32>, tensor<8x4xf32>
      }
      stablehlo.return %s#1 : tensor<8x4xf32>
    }) : (tensor<i1>) -> tensor<8x4xf32>
    %m = stablehlo.add %n, %one : tensor<i32>
    stablehlo.return %m, %r : tensor<i32>, tensor<8x4xf32>
  }"""

# The condition depends on a sum over what may be split.
_UNTIL = """
  %zero = stablehlo.constant dense<0.0> : tensor<f32>
  %most = stablehlo.constant dense<500.0> : tensor<f32>
  %0 = stablehlo.while(%x = %a) : tensor<8x6xf32>
  cond {
    %q = stablehlo.multiply %x, %x : tensor<8x6xf32>
    %s = stablehlo.reduce(%q init: %zero) applies stablehlo.add across dimensions = [0, 1]
        : (tensor<8x6xf32>, tensor<f32>) -> tensor<f32>
    %more = stablehlo.compare LT, %s, %most : (tensor<f32>, tensor<f32>) -> tensor<i1>
    stablehlo.return %more : tensor<i1>
  } do {
    %one = stablehlo.constant dense<1.0> : tensor<8x6xf32>
    %q = stablehlo.multiply %x, %x : tensor<8x6xf32>
    %y = stablehlo.add %q, %one : tensor<8x6xf32>
    stablehlo.return %y : tensor<8x6xf32>
  }"""

BLOCKS: dict[str, str] = {
    "if": _program(f"p: tensor<i1>; a: {_M}; b: {_M}", _IF, _M),
    "while nested": _program("a: tensor<8x4xf32>; b: tensor<8x4xf32>", _NESTED + "\n", "X").replace(
        "return %0 : X", "return %0#1 : tensor<8x4xf32>").replace("-> (X)", "-> tensor<8x4xf32>"),
    "while until a sum": _program(f"a: {_M}", _UNTIL, _M),
    "optimization_barrier of two": _program(
        "a: tensor<8x6xf32>; b: tensor<4xf32>",
        "  %0:2 = stablehlo.optimization_barrier %a, %b : tensor<8x6xf32>, tensor<4xf32>",
        "tensor<8x6xf32>", "tensor<4xf32>",
    ),
    "tuple": _program(
        f"a: {_M}; b: {_M}",
        f"  %t = stablehlo.tuple %a, %b : tuple<{_M}, {_M}>\n"
        f"  %c = stablehlo.get_tuple_element %t[1] : (tuple<{_M}, {_M}>) -> {_M}\n"
        f"  %0 = stablehlo.subtract %a, %c : {_M}", _M,
    ),
    "rng_bit_generator philox": _program(
        "s: tensor<2xui64>; a: tensor<8x6xui32>",
        "  %1, %2 = stablehlo.rng_bit_generator %s, algorithm = PHILOX : (tensor<2xui64>)"
        " -> (tensor<2xui64>, tensor<8x6xui32>)\n  %0 = stablehlo.xor %2, %a : tensor<8x6xui32>",
        "tensor<8x6xui32>",
    ),
    "custom_call": _program(
        "a: tensor<8x12xf32>",
        '  %0 = stablehlo.custom_call @Sharding(%a) : (tensor<8x12xf32>) -> tensor<8x12xf32>', "tensor<8x12xf32>",
    ),
    "replica_id": _program(
        "a: tensor<8xui32>",
        "  %r = stablehlo.replica_id : tensor<ui32>\n"
        "  %b = stablehlo.broadcast_in_dim %r, dims = [] : (tensor<ui32>) -> tensor<8xui32>\n"
        "  %0 = stablehlo.add %a, %b : tensor<8xui32>", "tensor<8xui32>",
    ),
    "after_all": _program(
        f"a: {_M}",
        "  %t = stablehlo.create_token : !stablehlo.token\n"
        "  %u = stablehlo.after_all %t, %t : !stablehlo.token\n"
        f"  %0:2 = stablehlo.optimization_barrier %a, %u : {_M}, !stablehlo.token", "X",
    ).replace("return %0 : X", f"return %0#0 : {_M}").replace("-> (X)", f"-> {_M}"),
}

VARIANTS = {**ELEMENTWISE, **REDUCTIONS, **PRODUCTS, **INDICES, **SHAPES, **BLOCKS}
ALL_PROGRAMS = {**PROGRAMS, **VARIANTS}


def ops_of(text: str) -> set[str]:
    """The names of the StableHLO ops that a program's text has."""
    return set(re.findall(r"\b(stablehlo\.[a-z0-9_]+)\b(?=[ (\"%]|:)", text.replace('"stablehlo', ' stablehlo')))
