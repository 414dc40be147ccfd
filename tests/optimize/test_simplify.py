"""Every rule of simplify applied to a program, executed before and after; and what looks alike but must stay."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from passes import _mlir
from passes.optimize.elements import describe
from passes.optimize.rules import RULES
from passes.optimize.rules.conversions import is_lossless
from passes.optimize.rules.shapes import factor_groups, fill_in
from passes.optimize.simplify import Simplify

F, I, U, P = "tensor<2x3xf32>", "tensor<2x3xi32>", "tensor<2x3xui32>", "tensor<2x3xi1>"  # noqa: E741
ARGUMENTS = {
    "a": F,
    "b": F,
    "i": I,
    "k": I,
    "u": U,
    "p": P,
    "q": P,
    "v": "tensor<3xf32>",
    "w": "tensor<2x1x3xf32>",
    "s": "tensor<f32>",
    "n": "tensor<i32>",
    "m": "tensor<i8>",
    "one": "tensor<1x3xf32>",
    "h": "tensor<2x3xf16>",
    "long": "tensor<6xf32>",
}
# NaN, infinities, zeros of both signs, a number too small to be normal, and ordinary ones, wherever they fall.
FLOATS = [np.nan, -0.0, np.inf, -np.inf, 0.0, 1e-40, -2.5, 3.0, 1e30, 0.1]
INTEGERS = [0, -1, 2**31 - 1, -(2**31), 7, 3, -8, 1]
CONSTANTS = {"f32": ("0.0", "-0.0", "1.0", "2.5")}


def c(name: str, text: str, type: str) -> str:
    return f"%{name} = stablehlo.constant dense<{text}> : {type}\n"


def values(type: str, shift: int) -> np.ndarray[Any, Any]:
    """An argument of ``type`` that starts ``shift`` places into the list of special values."""
    shape = [int(d) for d in re.findall(r"(\d+)x", type)]
    element = type.rstrip(">").split("x")[-1].split("<")[-1]
    pool = FLOATS if element.startswith("f") else [0, 1] if element == "i1" else INTEGERS
    dtype = {"f32": np.float32, "f16": np.float16, "i32": np.int32, "ui32": np.uint32, "i1": np.bool_, "i8": np.int8}[
        element
    ]
    size = int(np.prod(shape, dtype=int))
    with np.errstate(over="ignore"):
        return np.array([pool[(shift + j) % len(pool)] for j in range(size)]).astype(dtype).reshape(shape)


def main(body: str, result: str, type: str, more: str = "") -> str:
    """A program that takes the arguments ``body`` and ``result`` mention."""
    used = [n for n in ARGUMENTS if re.search(rf"%{n}\b", body + " " + result)]
    signature = ", ".join(f"%{n}: {ARGUMENTS[n]}" for n in used)
    return f"func.func @main({signature}) -> ({type}) {{\n{body}\nreturn {result} : {type}\n}}\n{more}"


def binary(op: str, x: str, y: str, type: str, constants: str = "") -> str:
    return main(f"{constants}%r = stablehlo.{op} {x}, {y} : {type}", "%r", type)


def unary(op: str, inner: str, type: str = F, x: str = "%a") -> str:
    return main(f"%0 = stablehlo.{inner} {x} : {type}\n%r = stablehlo.{op} %0 : {type}", "%r", type)


def move(first: str, middle: str, second: str, source: str, target: str, x: str) -> str:
    """``second`` applied to ``first`` applied to ``x``."""
    return main(
        f"""%0 = stablehlo.{first.replace("$", x)} : ({source}) -> {middle}
                    %r = stablehlo.{second.replace("$", "%0")} : ({middle}) -> {target}""",
        "%r",
        target,
    )


def single(op: str, source: str, target: str, x: str) -> str:
    return main(f"%r = stablehlo.{op.replace('$', x)} : ({source}) -> {target}", "%r", target)


def reduction(op: str, initial: str, type: str = "f32", x: str = "%w", source: str = "tensor<2x1x3xf32>") -> str:
    target = source.replace("2x1x3", "2x3")
    return main(
        f"""{c("z", initial, f"tensor<{type}>")}
      %r = stablehlo.reduce({x} init: %z) applies stablehlo.{op} across dimensions = [1]
        : ({source}, tensor<{type}>) -> {target}""",
        "%r",
        target,
    )


LOOP = """
  %zero = stablehlo.constant dense<0> : tensor<i32>
  %r:3 = stablehlo.while(%x = %zero, %y = %v, %z = %v) : tensor<i32>, tensor<3xf32>, tensor<3xf32>
  cond {
    %limit = stablehlo.constant dense<%LIMIT%> : tensor<i32>
    %go = stablehlo.compare LT, %x, %limit : (tensor<i32>, tensor<i32>) -> tensor<i1>
    stablehlo.return %go : tensor<i1>
  } do {
    %step = stablehlo.constant dense<1> : tensor<i32>
    %next = stablehlo.add %x, %step : tensor<i32>
    %sum = stablehlo.add %y, %z : tensor<3xf32>
    stablehlo.return %next, %sum, %z : tensor<i32>, tensor<3xf32>, tensor<3xf32>
  }
"""


def branch(op: str, index: str, type: str, second: str = "%t = stablehlo.tanh %b : " + F, value: str = "%t") -> str:
    return main(
        f"""{c("i0", index, type)}
      %r = "stablehlo.{op}"(%i0) ({{
        stablehlo.return %a : {F}
      }}, {{
        {second}
        stablehlo.return {value} : {F}
      }}) : ({type}) -> {F}""",
        "%r",
        F,
    )


ONE, ZERO, NEGATIVE_ZERO = c("c", "1.0", F), c("c", "0.0", F), c("c", "-0.0", F)

# Rule -> programs it applies to.
APPLIED: dict[str, list[str]] = {
    "multiply-one": [binary("multiply", "%a", "%c", F, ONE), binary("multiply", "%c", "%i", I, c("c", "1", I))],
    "divide-one": [binary("divide", "%a", "%c", F, ONE), binary("divide", "%u", "%c", U, c("c", "1", U))],
    "add-zero": [
        binary("add", "%a", "%c", F, NEGATIVE_ZERO),
        binary("add", "%c", "%i", I, c("c", "0", I)),
        binary("add", "%p", "%c", P, c("c", "false", P)),
    ],
    "add-positive-zero": [
        main(f"{ZERO}%0 = stablehlo.abs %a : {F}\n%r = stablehlo.add %0, %c : {F}", "%r", F),
        main(
            f"{ZERO}%0 = stablehlo.multiply %a, %a : {F}\n%1 = stablehlo.add %0, %b : {F}\n"
            f"%r = stablehlo.add %1, %c : {F}",
            "%r",
            F,
        ),
        main(
            f"{ZERO}%0 = stablehlo.convert %i : ({I}) -> {F}\n%1 = stablehlo.subtract %0, %b : {F}\n"
            f"%r = stablehlo.add %c, %1 : {F}",
            "%r",
            F,
        ),
    ],
    "subtract-zero": [
        binary("subtract", "%a", "%c", F, ZERO),
        binary("subtract", "%i", "%c", I, c("c", "0", I)),
        main(f"{NEGATIVE_ZERO}%0 = stablehlo.abs %a : {F}\n%r = stablehlo.subtract %0, %c : {F}", "%r", F),
    ],
    "subtract-itself": [binary("subtract", "%i", "%i", I), binary("xor", "%p", "%p", P)],
    "zero-product": [binary("multiply", "%i", "%c", I, c("c", "0", I))],
    "and-ones": [
        binary("and", "%i", "%c", I, c("c", "-1", I)),
        binary("and", "%c", "%p", P, c("c", "true", P)),
        binary("and", "%u", "%c", U, c("c", "4294967295", U)),
    ],
    "and-zero": [binary("and", "%i", "%c", I, c("c", "0", I))],
    "or-zero": [binary("or", "%p", "%c", P, c("c", "false", P)), binary("xor", "%u", "%c", U, c("c", "0", U))],
    "or-ones": [binary("or", "%p", "%c", P, c("c", "true", P)), binary("or", "%c", "%i", I, c("c", "-1", I))],
    "bound-itself": [binary("maximum", "%a", "%a", F), binary("and", "%i", "%i", I)],
    "maximum-least": [
        binary("maximum", "%a", "%c", F, c("c", "0xFF800000", F)),
        binary("maximum", "%c", "%i", I, c("c", "-2147483648", I)),
        binary("maximum", "%u", "%c", U, c("c", "0", U)),
    ],
    "minimum-greatest": [
        binary("minimum", "%a", "%c", F, c("c", "0x7F800000", F)),
        binary("minimum", "%i", "%c", I, c("c", "2147483647", I)),
    ],
    "shift-zero": [
        binary("shift_left", "%i", "%c", I, c("c", "0", I)),
        binary("shift_right_arithmetic", "%i", "%c", I, c("c", "0", I)),
    ],
    "twice": [unary("negate", "negate"), unary("not", "not", I, "%i"), unary("negate", "negate", I, "%i")],
    "idempotent": [unary(op, op) for op in ("abs", "ceil", "floor", "round_nearest_afz", "round_nearest_even", "sign")],
    "abs-negation": [unary("abs", "negate"), unary("abs", "negate", I, "%i")],
    "minus-negation": [main(f"%0 = stablehlo.negate %b : {F}\n%r = stablehlo.subtract %a, %0 : {F}", "%r", F)],
    "plus-negation": [main(f"%0 = stablehlo.negate %b : {F}\n%r = stablehlo.add %0, %a : {F}", "%r", F)],
    "regroup": [
        main(
            f"{c('c', first, I)}{c('d', '5', I)}%0 = stablehlo.{op} %i, %c : {I}\n%r = stablehlo.{op} %d, %0 : {I}",
            "%r",
            I,
        )
        for op, first in (("add", "2147483647"), ("multiply", "2147483647"), ("xor", "-3"), ("maximum", "2"))
    ],
    "convert-nothing": [single("convert $", F, F, "%a")],
    "convert-chain": [
        move("convert $", "tensor<2x3xf64>", "convert $", F, "tensor<2x3xbf16>", "%a")
        .replace(
            "return %r : tensor<2x3xbf16>", f"%f = stablehlo.convert %r : (tensor<2x3xbf16>) -> {F}\nreturn %f : {F}"
        )
        .replace("-> (tensor<2x3xbf16>) {", f"-> ({F}) {{"),
        move("convert $", "tensor<2x3xf64>", "convert $", F, F, "%a"),
        move("convert $", F, "convert $", "tensor<2x3xf16>", "tensor<2x3xf16>", "%h"),
        move("convert $", I, "convert $", P, F, "%p"),
        move("convert $", "tensor<2x3xi64>", "convert $", I, "tensor<2x3xi8>", "%i"),
        move("convert $", "tensor<2x3xi64>", "convert $", U, U, "%u"),
    ],
    "bitcast-back": [
        move("bitcast_convert $", I, "bitcast_convert $", F, F, "%a"),
        single("bitcast_convert $", F, F, "%a"),
    ],
    "compare-itself": [
        main(f"%r = stablehlo.compare {d}, %{x}, %{x} : ({t}, {t}) -> {P}", "%r", P)
        for d, x, t in (("EQ", "i", I), ("LT", "i", I), ("GE", "u", U), ("LT", "a", F), ("GT", "a", F))
    ],
    "truth-again": [
        main(
            f"{c('z', '0', I)}%0 = stablehlo.convert %p : ({P}) -> {I}\n"
            f"%r = stablehlo.compare NE, %0, %z : ({I}, {I}) -> {P}",
            "%r",
            P,
        )
    ],
    "not-compare": [
        main(f"%0 = stablehlo.compare {d}, %{x}, %{y} : ({t}, {t}) -> {P}\n%r = stablehlo.not %0 : {P}", "%r", P)
        for d, x, y, t in (("EQ", "a", "b", F), ("NE", "a", "a", F), ("LT", "i", "k", I), ("GE", "i", "k", I))
    ],
    "select-equals": [main(f"%r = stablehlo.select %p, %a, %a : {P}, {F}", "%r", F)],
    "select-known": [
        main(f"{c('c', t, P)}%r = stablehlo.select %c, %a, %b : {P}, {F}", "%r", F) for t in ("true", "false")
    ],
    "select-not": [main(f"%0 = stablehlo.not %p : {P}\n%r = stablehlo.select %0, %a, %b : {P}, {F}", "%r", F)],
    "select-truth": [
        main(f"{c('t', t, P)}{c('f', f, P)}%r = stablehlo.select %p, %t, %f : {P}, {P}", "%r", P)
        for t, f in (("true", "false"), ("false", "true"))
    ],
    "select-again": [
        main(
            f"%0 = stablehlo.select %p, %a, %b : {P}, {F}\n%1 = stablehlo.add %0, %b : {F}\n"
            f"%2 = stablehlo.select %p, {x}, {y} : {P}, {F}\n%r = stablehlo.add %1, %2 : {F}",
            "%r",
            F,
        )
        for x, y in (("%0", "%1"), ("%1", "%0"))
    ],
    "real-part": [
        main(
            f"%0 = stablehlo.complex %a, %b : tensor<2x3xcomplex<f32>>\n"
            f"%r = stablehlo.real %0 : (tensor<2x3xcomplex<f32>>) -> {F}",
            "%r",
            F,
        )
    ],
    "imaginary-part": [
        main(
            f"%0 = stablehlo.complex %a, %b : tensor<2x3xcomplex<f32>>\n"
            f"%r = stablehlo.imag %0 : (tensor<2x3xcomplex<f32>>) -> {F}",
            "%r",
            F,
        )
    ],
    "complex-again": [
        main(
            f"""%0 = stablehlo.complex %a, %b : tensor<2x3xcomplex<f32>>
        %z = stablehlo.add %0, %0 : tensor<2x3xcomplex<f32>>
        %x = stablehlo.real %z : (tensor<2x3xcomplex<f32>>) -> {F}
        %y = stablehlo.imag %z : (tensor<2x3xcomplex<f32>>) -> {F}
        %1 = stablehlo.complex %x, %y : tensor<2x3xcomplex<f32>>
        %2 = stablehlo.multiply %1, %1 : tensor<2x3xcomplex<f32>>
        %r = stablehlo.real %2 : (tensor<2x3xcomplex<f32>>) -> {F}""",
            "%r",
            F,
        )
    ],
    "tuple-element": [
        main(
            f"%0 = stablehlo.tuple %a, %b : tuple<{F}, {F}>\n"
            f"%r = stablehlo.get_tuple_element %0[1] : (tuple<{F}, {F}>) -> {F}",
            "%r",
            F,
        )
    ],
    "reshape-nothing": [single("reshape $", F, F, "%a")],
    "reshape-reshape": [move("reshape $", "tensor<3x2xf32>", "reshape $", F, "tensor<6xf32>", "%a")],
    "reshape-broadcast": [
        move(
            "broadcast_in_dim $, dims = [2]", "tensor<2x4x3xf32>", "reshape $", "tensor<3xf32>", "tensor<8x3xf32>", "%v"
        ),
        move("broadcast_in_dim $, dims = []", "tensor<2x4x3xf32>", "reshape $", "tensor<f32>", "tensor<6x4xf32>", "%s"),
        move("broadcast_in_dim $, dims = [0, 3]", "tensor<2x1x4x3xf32>", "reshape $", F, "tensor<2x4x3xf32>", "%a"),
        # A unit with no place of its own goes first.
        move(
            "broadcast_in_dim $, dims = [0, 1]",
            "tensor<1x3x4xf32>",
            "reshape $",
            "tensor<1x3xf32>",
            "tensor<3x4xf32>",
            "%one",
        ),
    ],
    "broadcast-nothing": [single("broadcast_in_dim $, dims = [0, 1]", F, F, "%a")],
    "broadcast-reshape-units": [single("broadcast_in_dim $, dims = [1, 2]", F, "tensor<1x2x3x1xf32>", "%a")],
    "broadcast-broadcast": [
        move(
            "broadcast_in_dim $, dims = [1]",
            F,
            "broadcast_in_dim $, dims = [0, 2]",
            "tensor<3xf32>",
            "tensor<2x4x3xf32>",
            "%v",
        )
    ],
    "broadcast-reshape": [
        move("reshape $", "tensor<1x3xf32>", "broadcast_in_dim $, dims = [0, 1]", "tensor<3xf32>", F, "%v"),
        move("reshape $", F, "broadcast_in_dim $, dims = [0, 2]", "tensor<2x1x3xf32>", "tensor<2x4x3xf32>", "%w"),
    ],
    "transpose-nothing": [single("transpose $, dims = [0, 1]", F, F, "%a")],
    "transpose-transpose": [
        move(
            "transpose $, dims = [1, 2, 0]",
            "tensor<1x3x2xf32>",
            "transpose $, dims = [1, 2, 0]",
            "tensor<2x1x3xf32>",
            "tensor<3x2x1xf32>",
            "%w",
        ),
        move("transpose $, dims = [1, 0]", "tensor<3x2xf32>", "transpose $, dims = [1, 0]", F, F, "%a"),
    ],
    "transpose-units": [single("transpose $, dims = [1, 0, 2]", "tensor<2x1x3xf32>", "tensor<1x2x3xf32>", "%w")],
    "transpose-broadcast": [
        move(
            "broadcast_in_dim $, dims = [1]", F, "transpose $, dims = [1, 0]", "tensor<3xf32>", "tensor<3x2xf32>", "%v"
        )
    ],
    "reverse-nothing": [
        single("reverse $, dims = [1]", "tensor<2x1x3xf32>", "tensor<2x1x3xf32>", "%w").replace(
            "(tensor<2x1x3xf32>) -> tensor<2x1x3xf32>\n", "tensor<2x1x3xf32>\n"
        )
    ],
    "reverse-twice": [
        main(f"%0 = stablehlo.reverse %a, dims = [1, 0] : {F}\n%r = stablehlo.reverse %0, dims = [0, 1] : {F}", "%r", F)
    ],
    "slice-all": [single("slice $ [0:2, 0:3]", F, F, "%a")],
    "slice-slice": [
        move("slice $ [1:6:2]", "tensor<3xf32>", "slice $ [0:3:2]", "tensor<6xf32>", "tensor<2xf32>", "%long"),
        move("slice $ [1:5]", "tensor<4xf32>", "slice $ [1:4:2]", "tensor<6xf32>", "tensor<2xf32>", "%long"),
    ],
    "slice-concatenate": [
        main(
            f"%0 = stablehlo.concatenate %a, %b, dim = 0 : ({F}, {F}) -> tensor<4x3xf32>\n"
            f"%r = stablehlo.slice %0 [{cut}] : (tensor<4x3xf32>) -> {target}",
            "%r",
            target,
        )
        for cut, target in (("2:4, 0:3:2", "tensor<2x2xf32>"), ("1:2, 0:2", "tensor<1x2xf32>"))
    ],
    "slice-broadcast": [
        move("broadcast_in_dim $, dims = [1]", "tensor<4x3xf32>", "slice $ [1:4:2, 0:3]", "tensor<3xf32>", F, "%v")
    ],
    "dynamic-slice-all": [
        main(
            f"%r = stablehlo.dynamic_slice %a, %n, %n, sizes = [2, 3] : ({F}, tensor<i32>, tensor<i32>) -> {F}", "%r", F
        )
    ],
    "dynamic-slice-known": [
        main(
            f"{c('c', at, 'tensor<i32>')}%r = stablehlo.dynamic_slice %a, %n, %c, sizes = [2, 2] "
            f": ({F}, tensor<i32>, tensor<i32>) -> tensor<2x2xf32>",
            "%r",
            "tensor<2x2xf32>",
        )
        for at in ("1", "9", "-4")
    ],
    "update-all": [
        main(
            f"%r = stablehlo.dynamic_update_slice %a, %b, %n, %n : ({F}, {F}, tensor<i32>, tensor<i32>) -> {F}", "%r", F
        )
    ],
    "concatenate-one": [
        single("concatenate $, dim = 0", F, F, "%a"),
        main(
            f"{c('c', '', 'tensor<0x3xf32>')}%r = stablehlo.concatenate %c, %a, %b, dim = 0 "
            f": (tensor<0x3xf32>, {F}, {F}) -> tensor<4x3xf32>",
            "%r",
            "tensor<4x3xf32>",
        ),
    ],
    "concatenate-concatenate": [
        main(
            f"%0 = stablehlo.concatenate %a, %b, dim = 0 : ({F}, {F}) -> tensor<4x3xf32>\n"
            f"%r = stablehlo.concatenate %a, %0, dim = 0 : ({F}, tensor<4x3xf32>) -> tensor<6x3xf32>",
            "%r",
            "tensor<6x3xf32>",
        )
    ],
    "concatenate-slices": [
        main(
            """%0 = stablehlo.slice %long [1:3] : (tensor<6xf32>) -> tensor<2xf32>
                %1 = stablehlo.slice %long [3:4] : (tensor<6xf32>) -> tensor<1xf32>
                %2 = stablehlo.slice %long [4:6] : (tensor<6xf32>) -> tensor<2xf32>
                %r = stablehlo.concatenate %0, %1, %2, dim = 0
                  : (tensor<2xf32>, tensor<1xf32>, tensor<2xf32>) -> tensor<5xf32>""",
            "%r",
            "tensor<5xf32>",
        ),
        main(
            """%0 = stablehlo.slice %long [0:2] : (tensor<6xf32>) -> tensor<2xf32>
                %1 = stablehlo.slice %long [2:3] : (tensor<6xf32>) -> tensor<1xf32>
                %r = stablehlo.concatenate %v, %0, %1, %0, dim = 0
                  : (tensor<3xf32>, tensor<2xf32>, tensor<1xf32>, tensor<2xf32>) -> tensor<8xf32>""",
            "%r",
            "tensor<8xf32>",
        ),
    ],
    "pad-nothing": [
        main(
            f"%r = stablehlo.pad %a, %s, low = [0, 0], high = [0, 0], interior = [0, 0] : ({F}, tensor<f32>) -> {F}",
            "%r",
            F,
        )
    ],
    "reduce-units": [
        reduction("maximum", "0xFF800000"),
        reduction("add", "-0.0"),
        reduction("multiply", "1.0"),
        reduction("add", "0", "i32", "%0", "tensor<2x1x3xi32>")
        .replace(") {\n", f") {{\n%0 = stablehlo.reshape %i : ({I}) -> tensor<2x1x3xi32>\n", 1)
        .replace("@main()", f"@main(%i: {I})"),
        reduction("add", "0.0", x="%0")
        .replace(") {\n", ") {\n%0 = stablehlo.abs %w : tensor<2x1x3xf32>\n", 1)
        .replace("@main()", "@main(%w: tensor<2x1x3xf32>)"),
    ],
    "sort-units": [
        main(
            """%r:2 = "stablehlo.sort"(%w, %w) <{dimension = 1 : i64}> ({
        ^bb0(%x: tensor<f32>, %y: tensor<f32>, %d: tensor<f32>, %e: tensor<f32>):
          %0 = stablehlo.compare LT, %x, %y : (tensor<f32>, tensor<f32>) -> tensor<i1>
          stablehlo.return %0 : tensor<i1>
        }) : (tensor<2x1x3xf32>, tensor<2x1x3xf32>) -> (tensor<2x1x3xf32>, tensor<2x1x3xf32>)""",
            "%r#1",
            "tensor<2x1x3xf32>",
        )
    ],
    "broadcast-last": [
        move("broadcast_in_dim $, dims = [1]", F, "tanh $", "tensor<3xf32>", F, "%v").replace(f"({F}) -> {F}", F),
        main(
            f"""{c("c", "2.5", F)}%0 = stablehlo.broadcast_in_dim %v, dims = [1] : (tensor<3xf32>) -> {F}
                 %1 = stablehlo.broadcast_in_dim %s, dims = [] : (tensor<f32>) -> {F}
                 %2 = stablehlo.maximum %0, %c : {F}
                 %3 = stablehlo.compare LT, %c, %1 : ({F}, {F}) -> {P}
                 %r = stablehlo.select %3, %2, %a : {P}, {F}""",
            "%r",
            F,
        ),
    ],
    "known-branch": [
        branch("if", "true", "tensor<i1>"),
        branch("if", "false", "tensor<i1>"),
        branch("case", "0", "tensor<i32>"),
        branch("case", "-3", "tensor<i32>"),
    ],
    "branches-agree": [
        branch("case", "0", "tensor<i32>", "", "%a")
        .replace("%i0 = stablehlo.constant dense<0> : tensor<i32>", "")
        .replace("(%i0)", "(%n)")
        .replace("%a:", "%n: tensor<i32>, %a:")
    ],
    "loop-never-runs": [
        main(
            LOOP.replace("%LIMIT%", "0").replace(
                "%go = stablehlo.compare LT, %x, %limit : (tensor<i32>, tensor<i32>) -> tensor<i1>",
                "%go = stablehlo.constant dense<false> : tensor<i1>",
            ),
            "%r#1",
            "tensor<3xf32>",
        )
    ],
    "invariant-carry": [main(LOOP.replace("%LIMIT%", "3"), "%r#1", "tensor<3xf32>")],
    "fold-broadcast": [
        main(
            f"{c('c', '2.5', 'tensor<f32>')}%0 = stablehlo.broadcast_in_dim %c, dims = [] "
            f": (tensor<f32>) -> {F}\n%r = stablehlo.power %a, %0 : {F}",
            "%r",
            F,
        ),
        single("broadcast_in_dim $, dims = [1]", "tensor<3xf32>", F, "%c").replace(
            "%r =", c("c", "[1.0, -0.0, 2.0]", "tensor<3xf32>") + "%r ="
        ),
    ],
    "fold-reshape": [
        single("reshape $", "tensor<6xi32>", I, "%c").replace(
            "%r =", c("c", "[1, 2, 3, 4, 5, 6]", "tensor<6xi32>") + "%r ="
        )
    ],
    "fold-transpose": [
        single("transpose $, dims = [1, 0]", I, "tensor<3x2xi32>", "%c").replace(
            "%r =", c("c", "[[1, 2, 3], [4, 5, 6]]", I) + "%r ="
        )
    ],
    "fold-slice": [
        single("slice $ [0:2, 1:3:2]", P, "tensor<2x1xi1>", "%c").replace(
            "%r =", c("c", "[[true, true, false], [false, false, true]]", P) + "%r ="
        )
    ],
    "fold-reverse": [
        main(c("c", "[[1, 2, 3], [4, 5, 6]]", I) + f"%r = stablehlo.reverse %c, dims = [1] : {I}", "%r", I)
    ],
    "fold-concatenate": [
        main(
            f"{c('c', x, 'tensor<1xf32>')}{c('d', y, 'tensor<2xf32>')}%r = stablehlo.concatenate %c, %d, dim = 0 "
            ": (tensor<1xf32>, tensor<2xf32>) -> tensor<3xf32>",
            "%r",
            "tensor<3xf32>",
        )
        for x, y in (("1.0", "1.0"), ("0.0", "-0.0"), ("1.0", "[2.0, 3.0]"))
    ],
    "fold-iota": [main("%r = stablehlo.iota dim = 0 : tensor<1x3xi32>", "%r", "tensor<1x3xi32>")],
}


def folded(op: str, types: tuple[str, ...], texts: tuple[str, ...], target: str, form: str = "{} : {}") -> str:
    names = [f"%c{j}" for j in range(len(types))]
    constants = "".join(c(f"c{j}", text, type) for j, (text, type) in enumerate(zip(texts, types, strict=True)))
    return main(f"{constants}%r = stablehlo.{op} " + form.format(", ".join(names), target), "%r", target)


_PAIRS = {
    F: ("[[1.5, -0.0, 3.0e38], [0x7FC00000, 0.1, 0xFF800000]]", "[[2.5, 0.7, 3.0e38], [1.0, 0.2, 5.0]]"),
    I: ("[[1, -1, 2147483647], [-2147483648, 5, 6]]", "[[3, -7, 2147483647], [-1, 12, 0]]"),
}
for _op in ("add", "subtract", "multiply", "divide", "maximum", "minimum"):
    APPLIED[f"fold-{_op}"] = [folded(_op, (t, t), _PAIRS[t], t) for t in ((F,) if _op == "divide" else (F, I))] + [
        folded(_op, (F, F), ("0.1", "0.2"), F)
    ]
for _op in ("and", "or", "xor"):
    APPLIED[f"fold-{_op}"] = [folded(_op, (I, I), _PAIRS[I], I)]
for _op in ("negate", "abs", "floor", "ceil"):
    APPLIED[f"fold-{_op}"] = [folded(_op, (F,), _PAIRS[F][:1], F)]
for _op in ("shift_left", "shift_right_logical"):
    APPLIED[f"fold-{_op}"] = [folded(_op, (I, I), (_PAIRS[I][0], "[[0, 1, 31], [5, 2, 3]]"), I)]
_DIVISORS = "[[3, -7, 2147483647], [5, 12, -1]]"
APPLIED["fold-divide"].append(folded("divide", (I, I), (_PAIRS[I][0], _DIVISORS), I))
APPLIED["fold-remainder"] = [folded("remainder", (I, I), (_PAIRS[I][0], _DIVISORS), I)]
APPLIED["fold-sign"] = [folded("sign", (t,), _PAIRS[t][:1], t) for t in (F, I)]
APPLIED["fold-clamp"] = [
    folded("clamp", (F, F, F), ("0.5", _PAIRS[F][0], "2.0"), F),
    folded("clamp", (I, I, I), ("-3", _PAIRS[I][0], "5"), I),
]
APPLIED["fold-bitcast_convert"] = [
    folded("bitcast_convert", (F,), _PAIRS[F][1:], I, f"{{}} : ({F}) -> {I} //"),
    folded("bitcast_convert", (I,), ("1065353216",), F, f"{{}} : ({I}) -> {F} //"),
]
APPLIED["fold-sqrt"] = [folded("sqrt", (F,), ("[[1.5, -0.0, 3.0e38], [2.0, 0.1, -1.0]]",), F)]
APPLIED["fold-not"] = [folded("not", (I,), _PAIRS[I][:1], I)]
APPLIED["fold-compare"] = [
    folded(f"compare {d},", (t, t), _PAIRS[t], P, f"{{}} : ({t}, {t}) -> {P} //")
    for d in ("EQ", "LT", "GE")
    for t in (F, I)
]
APPLIED["fold-select"] = [
    folded("select", (P, F, F), ("[[true, false, true], [false, true, true]]", *_PAIRS[F]), F, f"{{}} : {P}, {F} //")
]
APPLIED["fold-convert"] = [
    folded("convert", (s,), (text,), t, f"{{}} : ({s}) -> {t} //")
    for s, text, t in (
        (F, "[[1.5, -0.0, 3.0], [2.7, 0.1, -9.9]]", I),
        (I, _PAIRS[I][0], F),
        (F, _PAIRS[F][0], P),
        (F, "[[1.5, -0.0, 3.0], [2.7, 0.1, -9.9]]", "tensor<2x3xf16>"),
    )
]

# What looks like a case of a rule and is none.
KEPT: dict[str, str] = {
    "x + 0.0 turns -0.0 into 0.0": binary("add", "%a", "%c", F, ZERO),
    "x - (-0.0) turns -0.0 into 0.0": binary("subtract", "%a", "%c", F, NEGATIVE_ZERO),
    "a difference may be -0.0": main(
        f"{ZERO}%0 = stablehlo.abs %a : {F}\n%1 = stablehlo.subtract %b, %0 : {F}\n%r = stablehlo.add %1, %c : {F}",
        "%r",
        F,
    ),
    "a product may be -0.0": main(
        f"{ZERO}%0 = stablehlo.abs %a : {F}\n%1 = stablehlo.multiply %b, %0 : {F}\n%r = stablehlo.add %1, %c : {F}",
        "%r",
        F,
    ),
    "a sum from 0.0 over a unit": reduction("add", "0.0"),
    "a shift by more than there is": folded("shift_left", (I, I), (_PAIRS[I][0], "32"), I),
    "a sum from one": reduction("add", "1.0"),
    "float x - x is NaN for infinity": binary("subtract", "%a", "%a", F),
    "float x * 0 is NaN for NaN": binary("multiply", "%a", "%c", F, ZERO),
    "float x == x is false for NaN": main(f"%r = stablehlo.compare EQ, %a, %a : ({F}, {F}) -> {P}", "%r", P),
    "1 / x": binary("divide", "%c", "%a", F, ONE),
    "0 - x": binary("subtract", "%c", "%i", I, c("c", "0", I)),
    "float (x + c) + d rounds twice": main(
        f"{c('c', '0.1', F)}{c('d', '0.2', F)}%0 = stablehlo.add %a, %c : {F}\n%r = stablehlo.add %0, %d : {F}", "%r", F
    ),
    "float !(x < y) is true for NaN": main(
        f"%0 = stablehlo.compare LT, %a, %b : ({F}, {F}) -> {P}\n%r = stablehlo.not %0 : {P}", "%r", P
    ),
    "a convert that rounds": move("convert $", "tensor<2x3xf16>", "convert $", F, F, "%a"),
    "a convert that wraps": move("convert $", "tensor<2x3xi8>", "convert $", I, I, "%i"),
    "a product from 2": reduction("multiply", "2.0"),
    "a product from 0": reduction("multiply", "0.0"),
    "a maximum from 0": reduction("maximum", "0.0"),
    "a minimum from 0": reduction("minimum", "0.0"),
    "integers through a narrow float": move("convert $", F, "convert $", I, I, "%i"),
    "integers through a float into fewer bits": move(
        "convert $", "tensor<2x3xf64>", "convert $", I, "tensor<2x3xi8>", "%i"
    ),
    "a float that does not fit": folded("convert", ("tensor<2x3xf32>",), ("3.0e10",), I, f"{{}} : ({F}) -> {I} //"),
    "NaN to an integer": folded("convert", (F,), ("0x7FC00000",), I, f"{{}} : ({F}) -> {I} //"),
    "a result below the normal numbers": folded("multiply", (F, F), ("1.0e-30", "1.0e-12"), F),
    "which zero is greater": folded("maximum", (F, F), ("0.0", "-0.0"), F),
    "the bits of NaN": folded("bitcast_convert", (F,), ("0x7FC00000",), I, f"{{}} : ({F}) -> {I} //"),
    "what rounds to -0.0": main(
        f"{c('c', '0.0', 'tensor<2x3xf16>')}%x = stablehlo.abs %a : {F}\n"
        f"%0 = stablehlo.add %x, %b : {F}\n"
        f"%1 = stablehlo.convert %0 : ({F}) -> tensor<2x3xf16>\n%r = stablehlo.add %1, %c : tensor<2x3xf16>",
        "%r", "tensor<2x3xf16>"),
    "the least integer by -1": folded("divide", (I, I), ("-2147483648", "-1"), I),
    "division of integers by zero": folded("divide", (I, I), ("1", "0"), I),
    "exponentials round as they like": folded("exponential", (F,), ("1.0",), F),
    "a reshape that splits what varies": move(
        "broadcast_in_dim $, dims = [1]", "tensor<4x6xf32>", "reshape $", "tensor<6xf32>", "tensor<4x2x3xf32>", "%long"
    ),
    "a reshape that merges what varies with what repeats": move(
        "broadcast_in_dim $, dims = [1]", "tensor<4x3xf32>", "reshape $", "tensor<3xf32>", "tensor<12xf32>", "%v"
    ),
    "a transpose to decreasing dimensions": move(
        "broadcast_in_dim $, dims = [0, 2]",
        "tensor<2x4x3xf32>",
        "transpose $, dims = [2, 1, 0]",
        F,
        "tensor<3x4x2xf32>",
        "%a",
    ),
    "a slice over the seam": main(
        f"%0 = stablehlo.concatenate %a, %b, dim = 0 : ({F}, {F}) -> tensor<4x3xf32>\n"
        f"%r = stablehlo.slice %0 [1:3, 0:3] : (tensor<4x3xf32>) -> {F}",
        "%r",
        F,
    ),
    "slices out of order": main(
        """%0 = stablehlo.slice %long [0:2] : (tensor<6xf32>) -> tensor<2xf32>
           %1 = stablehlo.slice %long [3:4] : (tensor<6xf32>) -> tensor<1xf32>
           %r = stablehlo.concatenate %1, %0, dim = 0 : (tensor<1xf32>, tensor<2xf32>) -> tensor<3xf32>""",
        "%r",
        "tensor<3xf32>",
    ),
    "a broadcast that others use too": main(
        f"""%0 = stablehlo.broadcast_in_dim %v, dims = [1] : (tensor<3xf32>) -> {F}
            %1 = stablehlo.tanh %0 : {F}
            %r = stablehlo.dot_general %0, %1, contracting_dims = [1] x [1] : ({F}, {F}) -> tensor<2x2xf32>""",
        "%r",
        "tensor<2x2xf32>",
    ),
    "a sharded op": main(
        f"{ONE}%r = stablehlo.multiply %a, %c "
        f'{{sdy.sharding = #sdy.sharding_per_value<[<@mesh, [{{"x"}}, {{}}]>]>}} : {F}',
        "%r",
        F,
        'sdy.mesh @mesh = <["x"=2]>',
    ),
    "an op with a note": main(
        f'{ONE}%r = stablehlo.multiply %a, %c {{note.by = "somebody"}} : {F}'.replace(
            "note.by", "mhlo.frontend_attributes"
        ).replace('"somebody"', '{a = "b"}'),
        "%r",
        F,
    ),
    "a barrier": main(f"%r = stablehlo.optimization_barrier %a : {F}", "%r", F),
}


def inputs_of(text: str) -> list[list[np.ndarray[Any, Any]]]:
    signature = text[: text.index("->")]
    types = re.findall(r"%\w+: (tensor<[^>]*>)", signature)
    return [[values(type, shift + 3 * j) for j, type in enumerate(types)] for shift in range(10)]


def same(first: Any, second: Any, evaluate: Callable[..., list[bytes]], text: str) -> None:
    """Results equal to the bit, but for the sign and payload of NaN, which IEEE 754 leaves open."""
    element = text[: text.index("{\n")].rstrip().rstrip(")").rstrip(">").split("x")[-1].split("<")[-1]

    def bits(result: bytes) -> bytes:
        if element not in ("f16", "f32"):
            return result
        array = np.frombuffer(result, {"f16": np.float16, "f32": np.float32}[element])
        return np.where(np.isnan(array), np.nan, array).astype(array.dtype).tobytes()

    for inputs in inputs_of(text):
        assert [bits(r) for r in evaluate(first, inputs)] == [bits(r) for r in evaluate(second, inputs)]


@pytest.mark.parametrize(("rule", "index"), [(rule, i) for rule, texts in APPLIED.items() for i in range(len(texts))])
def test_rule_applies_and_keeps_every_bit(rule: str, index: int, optimize: Any, evaluate: Any) -> None:
    text = APPLIED[rule][index]
    before = _mlir.ir.Module.parse(text, _mlir.context())
    result = optimize(Simplify(), text)
    assert result.counters.get(rule), result.text
    same(before, result.module, evaluate, text)


@pytest.mark.parametrize("case", KEPT)
def test_stays(case: str, optimize: Any) -> None:
    result = optimize(Simplify(), KEPT[case])
    assert not result.counters, result.text


def test_every_rule_has_a_case() -> None:
    assert {rule.name for rule in RULES if not rule.needs} == APPLIED.keys()
    assert len({rule.name for rule in RULES}) == len(RULES)
    assert all(rule.why and rule.pattern and rule.result for rule in RULES)


def test_signed_zero_on_request(optimize: Any) -> None:
    result = optimize(Simplify(allow_signed_zero=True), binary("add", "%a", "%c", F, ZERO))
    assert result.counters == {"add-any-zero": 1}
    assert result.count("stablehlo.add") == 0


def test_folding_is_bounded(optimize: Any) -> None:
    text = APPLIED["fold-transpose"][0]
    assert not optimize(Simplify(fold_limit=5), text).counters
    assert optimize(Simplify(fold_limit=6), text).counters == {"fold-transpose": 1}


def test_rules_can_be_skipped(optimize: Any) -> None:
    assert not optimize(Simplify(skip=("multiply-one",)), APPLIED["multiply-one"][0]).counters


def test_carries_stay_in_a_sharded_program(optimize: Any) -> None:
    text = APPLIED["invariant-carry"][0] + 'sdy.mesh @mesh = <["x"=2]>'
    assert not optimize(Simplify(), text).counters


def test_a_sharding_group_keeps_its_members(optimize: Any) -> None:
    text = main(
        f"{ONE}%r = stablehlo.multiply %a, %c : {F}\nsdy.sharding_group %r group_id = 0 : {F}",
        "%r",
        F,
        'sdy.mesh @mesh = <["x"=2]>',
    )
    assert not optimize(Simplify(), text).counters


@pytest.mark.parametrize(
    ("first", "second", "groups"),
    [
        ((2, 3, 1, 4), (6, 2, 2), [([0, 1, 2], [0]), ([3], [1, 2])]),
        ((6,), (2, 3), [([0], [0, 1])]),
        ((1, 5), (5,), [([0, 1], [0])]),
        ((), (1, 1), [([], [0, 1])]),
        ((2, 2), (2, 2), [([0], [0]), ([1], [1])]),
    ],
)
def test_factor_groups(first: Any, second: Any, groups: Any) -> None:
    assert factor_groups(first, second) == groups


def test_fill_in() -> None:
    assert fill_in([None, 2, None], 4) == [0, 2, 3]
    assert fill_in([None, 0], 3) is None
    assert fill_in([1, None], 2) is None


@pytest.mark.parametrize(
    ("source", "target", "lossless"),
    [
        ("bf16", "f32", True),
        ("f16", "f32", True),
        ("f32", "f64", True),
        ("f16", "bf16", False),
        ("bf16", "f16", False),
        ("f64", "f32", False),
        ("i8", "i32", True),
        ("i32", "ui64", False),
        ("ui8", "i8", False),
        ("ui8", "i16", True),
        ("i1", "i8", True),
        ("i1", "f16", True),
        ("i8", "bf16", True),
        ("i16", "bf16", False),
        ("i16", "f32", True),
        ("i32", "f32", False),
        ("i32", "f64", True),
        ("ui16", "f16", False),
        ("f32", "i64", False),
    ],
)
def test_lossless_conversions(source: str, target: str, lossless: bool) -> None:
    a, b = (describe(_mlir.ir.Type.parse(f"tensor<2x{element}>", _mlir.context())) for element in (source, target))
    assert is_lossless(a, b) is lossless


def test_the_caller_may_know_about_shardings(optimize: Any) -> None:
    text = APPLIED["invariant-carry"][0]
    assert not optimize(Simplify(annotated="yes"), text).counters
    assert optimize(Simplify(annotated="no"), text + 'sdy.mesh @mesh = <["x"=2]>').counters == {"invariant-carry": 1}


def test_what_regions_return_is_simple_before_the_op_is_looked_at(optimize: Any) -> None:
    """One run finds that branches agree once their bodies are simple."""
    result = optimize(Simplify(), """
      func.func @main(%p: tensor<i1>, %a: tensor<4xf32>) -> tensor<4xf32> {
        %0 = "stablehlo.if"(%p) ({
          %1 = stablehlo.reshape %a : (tensor<4xf32>) -> tensor<4xf32>
          stablehlo.return %1 : tensor<4xf32>
        }, {
          stablehlo.return %a : tensor<4xf32>
        }) : (tensor<i1>) -> tensor<4xf32>
        return %0 : tensor<4xf32>
      }""")
    assert result.counters == {"branches-agree": 1, "reshape-nothing": 1}
    assert result.text.rstrip().endswith("return %arg1 : tensor<4xf32>\n  }\n}")  # The op itself is for dead-ops.


def test_a_loop_whose_condition_is_always_true_stays(optimize: Any) -> None:
    """Nothing that ends can tell, so the text does."""
    result = optimize(Simplify(), """
      func.func @main(%a: tensor<4xf32>) -> tensor<4xf32> {
        %0 = stablehlo.while(%x = %a) : tensor<4xf32>
        cond {
          %p = stablehlo.constant dense<true> : tensor<i1>
          stablehlo.return %p : tensor<i1>
        } do {
          %1 = stablehlo.sine %x : tensor<4xf32>
          stablehlo.return %1 : tensor<4xf32>
        }
        return %0 : tensor<4xf32>
      }""")
    assert result.counters == {} and "stablehlo.while" in result.text


@pytest.mark.parametrize("direction", ["EQ", "NE", "LT", "LE", "GT", "GE"])
def test_an_integer_compared_with_itself(optimize: Any, direction: str) -> None:
    result = optimize(Simplify(), f"""
      func.func @main(%a: tensor<4xi32>) -> tensor<4xi1> {{
        %0 = stablehlo.compare {direction}, %a, %a : (tensor<4xi32>, tensor<4xi32>) -> tensor<4xi1>
        return %0 : tensor<4xi1>
      }}""")
    assert f"dense<{str(direction in ('EQ', 'LE', 'GE')).lower()}>" in result.text
    assert "compare" not in result.text


@pytest.mark.parametrize("op", [
    "transpose %a, dims = [1, 0] : (tensor<4x4xf32>) -> tensor<4x4xf32>",
    "broadcast_in_dim %a, dims = [1, 0] : (tensor<4x4xf32>) -> tensor<4x4xf32>",
])
def test_moving_the_dimensions_of_a_square_is_something(optimize: Any, op: str) -> None:
    square = "tensor<4x4xf32>"
    text = f"func.func @main(%a: {square}) -> {square} {{ %0 = stablehlo.{op} return %0 : {square} }}"
    result = optimize(Simplify(), text)
    assert op.split()[0] in result.text and "dims = [1, 0]" in result.text
