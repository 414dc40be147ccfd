"""Small programs, one or a few per op, that the partition tests shard at random and execute.

Dimensions are 4, 6, 8 or 12, so that axes of 2, 3 and 4 divide some and not others.
"""

from __future__ import annotations


def _function(arguments: str, body: str, result: str) -> str:
    return f"func.func @main({arguments}) -> {result} {{\n{body}\n}}"


def _unary(name: str, type: str = "tensor<8x6xf32>", result: str | None = None) -> str:
    result = result or type
    signature = type if result == type else f"({type}) -> {result}"
    return _function(f"%a: {type}", f"  %0 = stablehlo.{name} %a : {signature}\n  return %0 : {result}", result)


def _binary(name: str, type: str = "tensor<8x6xf32>") -> str:
    return _function(f"%a: {type}, %b: {type}", f"  %0 = stablehlo.{name} %a, %b : {type}\n  return %0 : {type}", type)


def _reduce(op: str, init: str, dims: str, result: str, type: str = "tensor<8x12x4xf32>") -> str:
    return _function(
        f"%a: {type}",
        f"  %c = stablehlo.constant dense<{init}> : tensor<f32>\n"
        f"  %0 = stablehlo.reduce(%a init: %c) applies stablehlo.{op} across dimensions = [{dims}]"
        f" : ({type}, tensor<f32>) -> {result}\n  return %0 : {result}",
        result,
    )


_ARGMAX = """
  %i = stablehlo.iota dim = 1 : tensor<8x12xi32>
  %low = stablehlo.constant dense<0xFF800000> : tensor<f32>
  %zero = stablehlo.constant dense<0> : tensor<i32>
  %0:2 = stablehlo.reduce(%a init: %low), (%i init: %zero) across dimensions = [1]
      : (tensor<8x12xf32>, tensor<8x12xi32>, tensor<f32>, tensor<i32>) -> (tensor<8xf32>, tensor<8xi32>)
   reducer(%x: tensor<f32>, %y: tensor<f32>) (%k: tensor<i32>, %l: tensor<i32>) {
    %more = stablehlo.compare GE, %x, %y : (tensor<f32>, tensor<f32>) -> tensor<i1>
    %v = stablehlo.select %more, %x, %y : tensor<i1>, tensor<f32>
    %w = stablehlo.select %more, %k, %l : tensor<i1>, tensor<i32>
    stablehlo.return %v, %w : tensor<f32>, tensor<i32>
  }
  return %0#0, %0#1 : tensor<8xf32>, tensor<8xi32>"""

_SCATTER = """
  %0 = "stablehlo.scatter"(%a, %i, %u) <{{scatter_dimension_numbers = #stablehlo.scatter<update_window_dims = [1],
      inserted_window_dims = [0], scatter_dims_to_operand_dims = [0], index_vector_dim = 1>}}> ({{
  ^bb0(%x: tensor<f32>, %y: tensor<f32>):
    {body}
  }}) : (tensor<12x8xf32>, tensor<4x1xi32>, tensor<4x8xf32>) -> tensor<12x8xf32>
  return %0 : tensor<12x8xf32>"""
_SCATTER_ARGUMENTS = "%a: tensor<12x8xf32>, %i: tensor<4x1xi32>, %u: tensor<4x8xf32>"


def _scatter(body: str) -> str:
    return _function(_SCATTER_ARGUMENTS, _SCATTER.format(body=body), "tensor<12x8xf32>")


def _combine(op: str) -> str:
    return f"%r = stablehlo.{op} %x, %y : tensor<f32>\n    stablehlo.return %r : tensor<f32>"


_WHILE = """
  %zero = stablehlo.constant dense<0> : tensor<i32>
  %one = stablehlo.constant dense<1> : tensor<i32>
  %three = stablehlo.constant dense<3> : tensor<i32>
  %0:3 = stablehlo.while(%n = %zero, %x = %a, %y = %b) : tensor<i32>, tensor<8x4xf32>, tensor<4x8xf32>
  cond {
    %more = stablehlo.compare LT, %n, %three : (tensor<i32>, tensor<i32>) -> tensor<i1>
    stablehlo.return %more : tensor<i1>
  } do {
    %m = stablehlo.add %n, %one : tensor<i32>
    %t = stablehlo.transpose %y, dims = [1, 0] : (tensor<4x8xf32>) -> tensor<8x4xf32>
    %p = stablehlo.add %x, %t : tensor<8x4xf32>
    %k = stablehlo.constant dense<[[1., 2., 3., 4., 5., 6., 7., 8.]]> : tensor<1x8xf32>
    %kb = stablehlo.broadcast_in_dim %k, dims = [0, 1] : (tensor<1x8xf32>) -> tensor<4x8xf32>
    %q = stablehlo.subtract %y, %kb : tensor<4x8xf32>
    stablehlo.return %m, %p, %q : tensor<i32>, tensor<8x4xf32>, tensor<4x8xf32>
  }
  return %0#1, %0#2 : tensor<8x4xf32>, tensor<4x8xf32>"""

_CASE = """
  %0 = "stablehlo.case"(%i) ({
    %t = stablehlo.transpose %a, dims = [1, 0] : (tensor<8x8xf32>) -> tensor<8x8xf32>
    stablehlo.return %t : tensor<8x8xf32>
  }, {
    %s = stablehlo.add %a, %b : tensor<8x8xf32>
    stablehlo.return %s : tensor<8x8xf32>
  }) : (tensor<i32>) -> tensor<8x8xf32>
  return %0 : tensor<8x8xf32>"""

_WINDOW = """
  %c = stablehlo.constant dense<0.0> : tensor<f32>
  %0 = "stablehlo.reduce_window"(%a, %c) <{window_dimensions = array<i64: 1, 3, 1>, padding = dense<[[0, 0], [1, 1],
      [0, 0]]> : tensor<3x2xi64>}> ({
  ^bb0(%x: tensor<f32>, %y: tensor<f32>):
    %r = stablehlo.add %x, %y : tensor<f32>
    stablehlo.return %r : tensor<f32>
  }) : (tensor<4x8x6xf32>, tensor<f32>) -> tensor<4x8x6xf32>
  return %0 : tensor<4x8x6xf32>"""

_RUNNING = _WINDOW.replace("1, 3, 1", "1, 8, 1").replace("[1, 1]", "[7, 0]")

_STRIDED = """
  %c = stablehlo.constant dense<0xFF800000> : tensor<f32>
  %0 = "stablehlo.reduce_window"(%a, %c) <{window_dimensions = array<i64: 1, 3, 3>,
      window_strides = array<i64: 1, 2, 1>, padding = dense<[[0, 0], [0, 1], [1, 1]]> : tensor<3x2xi64>}> ({
  ^bb0(%x: tensor<f32>, %y: tensor<f32>):
    %r = stablehlo.maximum %x, %y : tensor<f32>
    stablehlo.return %r : tensor<f32>
  }) : (tensor<4x12x8xf32>, tensor<f32>) -> tensor<4x6x8xf32>
  return %0 : tensor<4x6x8xf32>"""

_POOL_GRADIENT = """
  %c = stablehlo.constant dense<0.0> : tensor<f32>
  %0 = "stablehlo.select_and_scatter"(%a, %s, %c) <{window_dimensions = array<i64: 1, 2, 1>,
      window_strides = array<i64: 1, 2, 1>}> ({
  ^bb0(%x: tensor<f32>, %y: tensor<f32>):
    %r = stablehlo.compare GE, %x, %y : (tensor<f32>, tensor<f32>) -> tensor<i1>
    stablehlo.return %r : tensor<i1>
  }, {
  ^bb0(%x: tensor<f32>, %y: tensor<f32>):
    %r = stablehlo.add %x, %y : tensor<f32>
    stablehlo.return %r : tensor<f32>
  }) : (tensor<4x8x6xf32>, tensor<4x4x6xf32>, tensor<f32>) -> tensor<4x8x6xf32>
  return %0 : tensor<4x8x6xf32>"""

_KERNEL_GRADIENT = """
  %0 = stablehlo.convolution(%a, %g) dim_numbers = [f, 0, 1, b]x[i, 0, 1, o]->[0, 1, b, f],
      window = {pad = [[1, 1], [1, 1]]} {batch_group_count = 1 : i64, feature_group_count = 1 : i64}
      : (tensor<4x8x6x4xf32>, tensor<4x8x6x8xf32>) -> tensor<3x3x4x8xf32>
  return %0 : tensor<3x3x4x8xf32>"""

_DILATED = """
  %0 = stablehlo.convolution(%a, %w) dim_numbers = [b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f],
      window = {pad = [[1, 2], [2, 2]], lhs_dilate = [2, 1], rhs_dilate = [1, 2]}
      {batch_group_count = 1 : i64, feature_group_count = 1 : i64}
      : (tensor<4x6x4x4xf32>, tensor<3x3x4x8xf32>) -> tensor<4x12x4x8xf32>
  return %0 : tensor<4x12x4x8xf32>"""

_CONVOLUTION = """
  %0 = stablehlo.convolution(%a, %w) dim_numbers = [b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f],
      window = {{pad = [[1, 1], [1, 1]]}} {{batch_group_count = {batch} : i64, feature_group_count = {groups} : i64}}
      : ({a}, {w}) -> {r}
  return %0 : {r}"""


def _convolution(a: str, w: str, r: str, groups: int = 1, batch: int = 1) -> str:
    a, w, r = (f"tensor<{t}xf32>" for t in (a, w, r))
    return _function(f"%a: {a}, %w: {w}", _CONVOLUTION.format(a=a, w=w, r=r, groups=groups, batch=batch), r)


_SORT = """
  %0:2 = "stablehlo.sort"(%a, %b) <{dimension = 1 : i64, is_stable = true}> ({
  ^bb0(%x: tensor<f32>, %y: tensor<f32>, %k: tensor<f32>, %l: tensor<f32>):
    %less = stablehlo.compare LT, %x, %y : (tensor<f32>, tensor<f32>) -> tensor<i1>
    stablehlo.return %less : tensor<i1>
  }) : (tensor<8x12xf32>, tensor<8x12xf32>) -> (tensor<8x12xf32>, tensor<8x12xf32>)
  return %0#0, %0#1 : tensor<8x12xf32>, tensor<8x12xf32>"""

_CALL = """
  %0 = func.call @f(%a, %b) : (tensor<8x4xf32>, tensor<8x4xf32>) -> tensor<8x4xf32>
  %1 = func.call @f(%0, %a) : (tensor<8x4xf32>, tensor<8x4xf32>) -> tensor<8x4xf32>
  return %1 : tensor<8x4xf32>
}
func.func private @f(%x: tensor<8x4xf32>, %y: tensor<8x4xf32>) -> tensor<8x4xf32> {
  %0 = stablehlo.subtract %x, %y : tensor<8x4xf32>
  return %0 : tensor<8x4xf32>"""

_COMPOSITE = """
  %0 = stablehlo.composite "my.op" %a, %b {decomposition = @f} : (tensor<8x4xf32>, tensor<8x4xf32>) -> tensor<8x4xf32>
  return %0 : tensor<8x4xf32>
}
func.func private @f(%x: tensor<8x4xf32>, %y: tensor<8x4xf32>) -> tensor<8x4xf32> {
  %0 = stablehlo.subtract %x, %y : tensor<8x4xf32>
  return %0 : tensor<8x4xf32>"""

_GATHER_ROWS = """
  %0 = "stablehlo.gather"(%a, %i) <{dimension_numbers = #stablehlo.gather<offset_dims = [2], collapsed_slice_dims = [0],
      start_index_map = [0], index_vector_dim = 2>, slice_sizes = array<i64: 1, 8>}>
      : (tensor<12x8xf32>, tensor<4x6x1xi32>) -> tensor<4x6x8xf32>
  return %0 : tensor<4x6x8xf32>"""

_GATHER_BATCHED = """
  %0 = "stablehlo.gather"(%a, %i) <{dimension_numbers = #stablehlo.gather<offset_dims = [2], collapsed_slice_dims = [1],
      operand_batching_dims = [0], start_indices_batching_dims = [0], start_index_map = [1], index_vector_dim = 2>,
      slice_sizes = array<i64: 1, 1, 6>}> : (tensor<4x8x6xf32>, tensor<4x12x1xi32>) -> tensor<4x12x6xf32>
  return %0 : tensor<4x12x6xf32>"""

_DYNAMIC_SLICE = """
  %z = stablehlo.constant dense<0> : tensor<i32>
  %0 = stablehlo.dynamic_slice %a, %i, %z, sizes = [4, 12] : (tensor<8x12xf32>, tensor<i32>, tensor<i32>)
      -> tensor<4x12xf32>
  return %0 : tensor<4x12xf32>"""

_DYNAMIC_UPDATE = """
  %z = stablehlo.constant dense<0> : tensor<i32>
  %0 = stablehlo.dynamic_update_slice %a, %u, %i, %z : (tensor<8x12xf32>, tensor<4x12xf32>, tensor<i32>, tensor<i32>)
      -> tensor<8x12xf32>
  return %0 : tensor<8x12xf32>"""

PROGRAMS: dict[str, str] = {
    **{name: _unary(name) for name in ("abs", "negate", "sign", "floor", "optimization_barrier")},
    **{name: _binary(name) for name in ("add", "subtract", "multiply", "maximum", "minimum")},
    **{name: _binary(name, "tensor<8x6xi32>") for name in ("and", "or", "xor", "remainder")},
    "convert": _unary("convert", "tensor<8x6xf32>", "tensor<8x6xbf16>"),
    "complex": _function(
        "%a: tensor<8x6xf32>, %b: tensor<8x6xf32>",
        "  %0 = stablehlo.complex %a, %b : tensor<8x6xcomplex<f32>>\n"
        "  %1 = stablehlo.real %0 : (tensor<8x6xcomplex<f32>>) -> tensor<8x6xf32>\n  return %1 : tensor<8x6xf32>",
        "tensor<8x6xf32>",
    ),
    "select": _function(
        "%a: tensor<8x6xf32>, %b: tensor<8x6xf32>",
        "  %p = stablehlo.compare GT, %a, %b : (tensor<8x6xf32>, tensor<8x6xf32>) -> tensor<8x6xi1>\n"
        "  %0 = stablehlo.select %p, %a, %b : tensor<8x6xi1>, tensor<8x6xf32>\n  return %0 : tensor<8x6xf32>",
        "tensor<8x6xf32>",
    ),
    "clamp scalar bounds": _function(
        "%l: tensor<f32>, %a: tensor<8x6xf32>, %h: tensor<f32>",
        "  %0 = stablehlo.clamp %l, %a, %h : (tensor<f32>, tensor<8x6xf32>, tensor<f32>) -> tensor<8x6xf32>\n"
        "  return %0 : tensor<8x6xf32>",
        "tensor<8x6xf32>",
    ),
    "transpose": _function(
        "%a: tensor<8x6x4xf32>",
        "  %0 = stablehlo.transpose %a, dims = [2, 0, 1] : (tensor<8x6x4xf32>) -> tensor<4x8x6xf32>\n"
        "  return %0 : tensor<4x8x6xf32>",
        "tensor<4x8x6xf32>",
    ),
    "broadcast_in_dim": _function(
        "%a: tensor<8x1xf32>",
        "  %0 = stablehlo.broadcast_in_dim %a, dims = [2, 0] : (tensor<8x1xf32>) -> tensor<6x4x8xf32>\n"
        "  return %0 : tensor<6x4x8xf32>",
        "tensor<6x4x8xf32>",
    ),
    "reshape merge": _unary("reshape", "tensor<8x6x4xf32>", "tensor<48x4xf32>"),
    "reshape split": _unary("reshape", "tensor<24x8xf32>", "tensor<4x6x8xf32>"),
    "reshape across": _unary("reshape", "tensor<8x6xf32>", "tensor<6x8xf32>"),
    "reshape split 12 to 3x4": _unary("reshape", "tensor<12x8xf32>", "tensor<3x4x8xf32>"),
    "reduce add": _reduce("add", "0.0", "1", "tensor<8x4xf32>"),
    "reduce add all": _reduce("add", "-0.0", "0, 1, 2", "tensor<f32>"),
    "reduce add init one": _reduce("add", "1.0", "0", "tensor<12x4xf32>"),
    "reduce max": _reduce("maximum", "0xFF800000", "0, 2", "tensor<12xf32>"),
    "reduce min init zero": _reduce("minimum", "0.0", "1", "tensor<8x4xf32>"),
    "reduce multiply": _reduce("multiply", "1.0", "2", "tensor<8x12xf32>"),
    "argmax": _function("%a: tensor<8x12xf32>", _ARGMAX, "(tensor<8xf32>, tensor<8xi32>)"),
    "dot": _function(
        "%a: tensor<8x6xf32>, %b: tensor<6x4xf32>",
        "  %0 = stablehlo.dot_general %a, %b, contracting_dims = [1] x [0] : (tensor<8x6xf32>, tensor<6x4xf32>)"
        " -> tensor<8x4xf32>\n  return %0 : tensor<8x4xf32>",
        "tensor<8x4xf32>",
    ),
    "dot batched": _function(
        "%a: tensor<4x8x6xf32>, %b: tensor<4x12x6xf32>",
        "  %0 = stablehlo.dot_general %a, %b, batching_dims = [0] x [0], contracting_dims = [2] x [2]"
        " : (tensor<4x8x6xf32>, tensor<4x12x6xf32>) -> tensor<4x8x12xf32>\n  return %0 : tensor<4x8x12xf32>",
        "tensor<4x8x12xf32>",
    ),
    "dot two contractions": _function(
        "%a: tensor<4x8x6xf32>, %b: tensor<6x8x4xf32>",
        "  %0 = stablehlo.dot_general %a, %b, contracting_dims = [2, 1] x [0, 1]"
        " : (tensor<4x8x6xf32>, tensor<6x8x4xf32>) -> tensor<4x4xf32>\n  return %0 : tensor<4x4xf32>",
        "tensor<4x4xf32>",
    ),
    "slice": _function(
        "%a: tensor<8x12xf32>",
        "  %0 = stablehlo.slice %a [2:6, 0:12] : (tensor<8x12xf32>) -> tensor<4x12xf32>\n"
        "  return %0 : tensor<4x12xf32>",
        "tensor<4x12xf32>",
    ),
    "slice strided": _function(
        "%a: tensor<8x12xf32>",
        "  %0 = stablehlo.slice %a [0:8, 0:12:3] : (tensor<8x12xf32>) -> tensor<8x4xf32>\n"
        "  return %0 : tensor<8x4xf32>",
        "tensor<8x4xf32>",
    ),
    "pad": _function(
        "%a: tensor<8x6xf32>, %v: tensor<f32>",
        "  %0 = stablehlo.pad %a, %v, low = [2, 0], high = [2, 0], interior = [0, 0] : (tensor<8x6xf32>, tensor<f32>)"
        " -> tensor<12x6xf32>\n  return %0 : tensor<12x6xf32>",
        "tensor<12x6xf32>",
    ),
    "slice to the half": _function(
        "%a: tensor<8x12xf32>",
        "  %0 = stablehlo.slice %a [1:8:2, 6:12] : (tensor<8x12xf32>) -> tensor<4x6xf32>\n"
        "  return %0 : tensor<4x6xf32>",
        "tensor<4x6xf32>",
    ),
    "pad inside": _function(
        "%a: tensor<8x6xf32>, %v: tensor<f32>",
        "  %0 = stablehlo.pad %a, %v, low = [1, -1], high = [0, 1], interior = [1, 0]"
        " : (tensor<8x6xf32>, tensor<f32>) -> tensor<16x6xf32>\n  return %0 : tensor<16x6xf32>",
        "tensor<16x6xf32>",
    ),
    "roll": _function(
        "%a: tensor<8x12xf32>",
        "  %0 = stablehlo.slice %a [0:8, 11:12] : (tensor<8x12xf32>) -> tensor<8x1xf32>\n"
        "  %1 = stablehlo.slice %a [0:8, 0:11] : (tensor<8x12xf32>) -> tensor<8x11xf32>\n"
        "  %2 = stablehlo.concatenate %0, %1, dim = 1 : (tensor<8x1xf32>, tensor<8x11xf32>) -> tensor<8x12xf32>\n"
        "  return %2 : tensor<8x12xf32>",
        "tensor<8x12xf32>",
    ),
    "shift": _function(
        "%a: tensor<8x12xf32>, %v: tensor<f32>",
        "  %0 = stablehlo.slice %a [2:8, 0:12] : (tensor<8x12xf32>) -> tensor<6x12xf32>\n"
        "  %1 = stablehlo.broadcast_in_dim %v, dims = [] : (tensor<f32>) -> tensor<2x12xf32>\n"
        "  %2 = stablehlo.concatenate %0, %1, dim = 0 : (tensor<6x12xf32>, tensor<2x12xf32>) -> tensor<8x12xf32>\n"
        "  return %2 : tensor<8x12xf32>",
        "tensor<8x12xf32>",
    ),
    "concatenate": _function(
        "%a: tensor<4x8xf32>, %b: tensor<8x8xf32>",
        "  %0 = stablehlo.concatenate %a, %b, dim = 0 : (tensor<4x8xf32>, tensor<8x8xf32>) -> tensor<12x8xf32>\n"
        "  return %0 : tensor<12x8xf32>",
        "tensor<12x8xf32>",
    ),
    "reverse": _function(
        "%a: tensor<8x6xf32>",
        "  %0 = stablehlo.reverse %a, dims = [0] : tensor<8x6xf32>\n  return %0 : tensor<8x6xf32>",
        "tensor<8x6xf32>",
    ),
    "iota": _function(
        "%a: tensor<8x12xf32>",
        "  %i = stablehlo.iota dim = 1 : tensor<8x12xf32>\n  %0 = stablehlo.add %a, %i : tensor<8x12xf32>\n"
        "  return %0 : tensor<8x12xf32>",
        "tensor<8x12xf32>",
    ),
    "constant periodic": _function(
        "%a: tensor<4x8xf32>",
        "  %c = stablehlo.constant dense<[[1.,2.,1.,2.,1.,2.,1.,2.],[3.,4.,3.,4.,3.,4.,3.,4.],[1.,2.,1.,2.,1.,2.,1.,2.]"
        ",[3.,4.,3.,4.,3.,4.,3.,4.]]> : tensor<4x8xf32>\n  %0 = stablehlo.add %a, %c : tensor<4x8xf32>\n"
        "  return %0 : tensor<4x8xf32>",
        "tensor<4x8xf32>",
    ),
    "constant table": _function(
        "%a: tensor<8xbf16>",
        "  %c = stablehlo.constant dense<[1.,2.,3.,4.,5.,6.,7.,8.]> : tensor<8xbf16>\n"
        "  %0 = stablehlo.add %a, %c : tensor<8xbf16>\n  return %0 : tensor<8xbf16>",
        "tensor<8xbf16>",
    ),
    "constant complex": _function(
        "%a: tensor<4xcomplex<f32>>",
        "  %c = stablehlo.constant dense<[(1., 2.), (3., 4.), (5., 6.), (7., 8.)]> : tensor<4xcomplex<f32>>\n"
        "  %0 = stablehlo.add %a, %c : tensor<4xcomplex<f32>>\n  return %0 : tensor<4xcomplex<f32>>",
        "tensor<4xcomplex<f32>>",
    ),
    "no elements": _function(
        "%a: tensor<0x8xf32>",
        "  %0 = stablehlo.transpose %a, dims = [1, 0] : (tensor<0x8xf32>) -> tensor<8x0xf32>\n"
        "  %1 = stablehlo.reverse %0, dims = [0] : tensor<8x0xf32>\n  return %1 : tensor<8x0xf32>",
        "tensor<8x0xf32>",
    ),
    "constant i1": _function(
        "%a: tensor<4xi1>",
        "  %c = stablehlo.constant dense<[true, false, true, true]> : tensor<4xi1>\n"
        "  %0 = stablehlo.xor %a, %c : tensor<4xi1>\n  return %0 : tensor<4xi1>",
        "tensor<4xi1>",
    ),
    "dynamic_slice": _function("%a: tensor<8x12xf32>, %i: tensor<i32>", _DYNAMIC_SLICE, "tensor<4x12xf32>"),
    "dynamic_update_slice": _function(
        "%a: tensor<8x12xf32>, %u: tensor<4x12xf32>, %i: tensor<i32>", _DYNAMIC_UPDATE, "tensor<8x12xf32>"
    ),
    "gather rows": _function("%a: tensor<12x8xf32>, %i: tensor<4x6x1xi32>", _GATHER_ROWS, "tensor<4x6x8xf32>"),
    "gather batched": _function(
        "%a: tensor<4x8x6xf32>, %i: tensor<4x12x1xi32>", _GATHER_BATCHED, "tensor<4x12x6xf32>"
    ),
    "scatter add": _scatter(_combine("add")),
    "scatter max": _scatter(_combine("maximum")),
    "scatter set": _scatter("stablehlo.return %y : tensor<f32>"),
    "sort": _function("%a: tensor<8x12xf32>, %b: tensor<8x12xf32>", _SORT, "(tensor<8x12xf32>, tensor<8x12xf32>)"),
    "reduce_window": _function("%a: tensor<4x8x6xf32>", _WINDOW, "tensor<4x8x6xf32>"),
    "reduce_window running": _function("%a: tensor<4x8x6xf32>", _RUNNING, "tensor<4x8x6xf32>"),
    "reduce_window strided": _function("%a: tensor<4x12x8xf32>", _STRIDED, "tensor<4x6x8xf32>"),
    "select_and_scatter": _function(
        "%a: tensor<4x8x6xf32>, %s: tensor<4x4x6xf32>", _POOL_GRADIENT, "tensor<4x8x6xf32>"
    ),
    "convolution kernel gradient": _function(
        "%a: tensor<4x8x6x4xf32>, %g: tensor<4x8x6x8xf32>", _KERNEL_GRADIENT, "tensor<3x3x4x8xf32>"
    ),
    "convolution dilated": _function(
        "%a: tensor<4x6x4x4xf32>, %w: tensor<3x3x4x8xf32>", _DILATED, "tensor<4x12x4x8xf32>"
    ),
    "convolution": _convolution("4x6x6x4", "3x3x4x8", "4x6x6x8"),
    "convolution grouped": _convolution("4x6x6x8", "3x3x2x8", "4x6x6x8", groups=4),
    "convolution batch groups": _convolution("4x6x6x4", "3x3x4x8", "2x6x6x8", batch=2),
    "while": _function("%a: tensor<8x4xf32>, %b: tensor<4x8xf32>", _WHILE, "(tensor<8x4xf32>, tensor<4x8xf32>)"),
    "case": _function("%i: tensor<i32>, %a: tensor<8x8xf32>, %b: tensor<8x8xf32>", _CASE, "tensor<8x8xf32>"),
    "call": _function("%a: tensor<8x4xf32>, %b: tensor<8x4xf32>", _CALL, "tensor<8x4xf32>"),
    "composite": _function("%a: tensor<8x4xf32>, %b: tensor<8x4xf32>", _COMPOSITE, "tensor<8x4xf32>"),
    "cholesky": _function(
        "%a: tensor<4x6x6xf32>",
        "  %i = stablehlo.iota dim = 1 : tensor<6x6xi32>\n  %j = stablehlo.iota dim = 0 : tensor<6x6xi32>\n"
        "  %e = stablehlo.compare EQ, %i, %j : (tensor<6x6xi32>, tensor<6x6xi32>) -> tensor<6x6xi1>\n"
        "  %d = stablehlo.convert %e : (tensor<6x6xi1>) -> tensor<6x6xf32>\n"
        "  %b = stablehlo.broadcast_in_dim %d, dims = [1, 2] : (tensor<6x6xf32>) -> tensor<4x6x6xf32>\n"
        "  %z = stablehlo.subtract %a, %a : tensor<4x6x6xf32>\n  %m = stablehlo.add %b, %z : tensor<4x6x6xf32>\n"
        "  %0 = stablehlo.cholesky %m, lower = true : tensor<4x6x6xf32>\n  return %0 : tensor<4x6x6xf32>",
        "tensor<4x6x6xf32>",
    ),
    "rng_bit_generator": _function(
        "%s: tensor<2xui64>, %a: tensor<8x6xui32>",
        "  %0, %1 = stablehlo.rng_bit_generator %s, algorithm = THREE_FRY : (tensor<2xui64>)"
        " -> (tensor<2xui64>, tensor<8x6xui32>)\n  %2 = stablehlo.xor %1, %a : tensor<8x6xui32>\n"
        "  return %2 : tensor<8x6xui32>",
        "tensor<8x6xui32>",
    ),
}
