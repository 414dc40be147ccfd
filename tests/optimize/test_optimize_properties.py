"""Random programs of data movement, arithmetic with neutral constants, conversions, reductions and selections."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from passes import _mlir
from passes.optimize.optimize import Optimize
from passes.optimize.simplify import Simplify
from passes.program.walk import operations

Shape = tuple[int, ...]
ELEMENTS = {"f32": ("0.0", "-0.0", "1.0", "2.5", "0xFF800000"), "i32": ("0", "1", "-1", "3"), "i1": ("true", "false")}


def tensor(shape: Shape, element: str) -> str:
    return f"tensor<{''.join(f'{n}x' for n in shape)}{element}>"


@dataclass
class Builder:
    """Draws ops one after the other; each takes values drawn from those before it, mostly the last few."""

    draw: Callable[[Any], Any]
    scope: list[tuple[str, Shape, str]]
    lines: list[str] = field(default_factory=list)

    def value(self, element: str | None = None) -> tuple[str, Shape, str]:
        found = [v for v in self.scope if element in (None, v[2])]
        return found[-1 - self.draw(st.integers(0, min(3, len(found) - 1)))]

    def define(self, text: str, shape: Shape, element: str) -> tuple[str, Shape, str]:
        name = f"%v{len(self.lines)}"
        self.lines.append(f"{name} = stablehlo.{text}")
        self.scope.append((name, shape, element))
        return self.scope[-1]

    def pick(self, *choices: Any) -> Any:
        return self.draw(st.sampled_from(choices))

    def constant(self, shape: Shape, element: str) -> str:
        text = self.pick(*ELEMENTS[element])
        if self.pick(True, False):
            return self.define(f"constant dense<{text}> : {tensor(shape, element)}", shape, element)[0]
        scalar = self.define(f"constant dense<{text}> : {tensor((), element)}", (), element)[0]
        return self.define(
            f"broadcast_in_dim {scalar}, dims = [] : ({tensor((), element)}) -> {tensor(shape, element)}",
            shape, element)[0]

    def moved(self, op: str, source: tuple[str, Shape, str], shape: Shape, more: str = "") -> None:
        name, old, element = source
        self.define(f"{op} {name}{more} : ({tensor(old, element)}) -> {tensor(shape, element)}", shape, element)

    def reshape(self) -> None:
        source = self.value()
        size = math.prod(source[1])
        first = self.pick(*(n for n in range(1, size + 1) if size % n == 0)) if size else 0
        rest = size // first if first else 0
        self.moved("reshape", source, self.pick((first, rest), (1, first, rest), (first, 1, rest), (size,), (size, 1)))

    def broadcast(self) -> None:
        source = self.value()
        shape, dims = list(source[1]), list(range(len(source[1])))
        for _ in range(self.pick(0, 1, 1, 2)):
            place = self.draw(st.integers(0, len(shape)))
            shape.insert(place, self.pick(1, 2, 3))
            dims = [d + (d >= place) for d in dims]
        shape = [self.pick(1, 2) if n == 1 and i in dims else n for i, n in enumerate(shape)]
        if math.prod(shape) <= 200 and len(shape) <= 5:
            self.moved("broadcast_in_dim", source, tuple(shape), f", dims = {dims}")

    def transpose(self) -> None:
        source = self.value()
        order = list(self.draw(st.permutations(range(len(source[1])))))
        self.moved("transpose", source, tuple(source[1][d] for d in order), f", dims = {order}")

    def reverse(self) -> None:
        name, shape, element = self.value()
        dims = [d for d in range(len(shape)) if self.pick(True, False)]
        self.define(f"reverse {name}, dims = {dims} : {tensor(shape, element)}", shape, element)

    def slice(self) -> None:
        source = self.value()
        cuts, shape = [], []
        for n in source[1]:
            low = self.draw(st.integers(0, n))
            high = self.draw(st.integers(low, n))
            low, high = self.pick((0, n), (low, high))
            step = self.pick(1, 1, 2)
            cuts.append(f"{low}:{high}:{step}")
            shape.append(-(-(high - low) // step))
        if math.prod(shape):
            self.moved("slice", source, tuple(shape), f" [{', '.join(cuts)}]")

    def concatenate(self) -> None:
        name, shape, element = self.value()
        if not shape:
            return
        others = [v for v in self.scope if v[1:] == (shape, element)]
        parts = [name] + [self.pick(*others)[0] for _ in range(self.pick(0, 1, 2))]
        dim = self.draw(st.integers(0, len(shape) - 1))
        result = tuple(n * len(parts) if d == dim else n for d, n in enumerate(shape))
        if math.prod(result) <= 200:
            types = ", ".join([tensor(shape, element)] * len(parts))
            self.define(f"concatenate {', '.join(parts)}, dim = {dim} : ({types}) -> {tensor(result, element)}", result,
                        element)

    def binary(self) -> None:
        name, shape, element = self.value()
        ops = {"f32": ("add", "subtract", "multiply", "divide", "maximum", "minimum"),
               "i32": ("add", "subtract", "multiply", "maximum", "and", "or", "xor"),
               "i1": ("and", "or", "xor")}[element]
        same = [v[0] for v in self.scope if v[1:] == (shape, element)]
        other = self.constant(shape, element) if self.pick(True, True, False) else self.pick(*same)
        operands = self.pick((name, other), (other, name))
        self.define(f"{self.pick(*ops)} {', '.join(operands)} : {tensor(shape, element)}", shape, element)

    def unary(self) -> None:
        name, shape, element = self.value()
        ops = {"f32": ("negate", "abs", "floor", "tanh"), "i32": ("negate", "abs", "not"), "i1": ("not",)}[element]
        self.define(f"{self.pick(*ops)} {name} : {tensor(shape, element)}", shape, element)

    def convert(self) -> None:
        source = self.value()
        element = self.pick("i32", "i1") if source[2] != "f32" else self.pick("f32", "i1")
        if source[2] != "f32" and self.pick(True, False):
            element = "f32"
        name, shape, old = source
        self.define(f"convert {name} : ({tensor(shape, old)}) -> {tensor(shape, element)}", shape, element)

    def compare(self) -> None:
        name, shape, element = self.value()
        other = self.constant(shape, element) if self.pick(True, False) else name
        type = tensor(shape, element)
        self.define(f"compare {self.pick('EQ', 'NE', 'LT', 'GE')}, {name}, {other} : ({type}, {type}) -> "
                    f"{tensor(shape, 'i1')}", shape, "i1")

    def select(self) -> None:
        predicate, shape, _ = self.value("i1")
        found = [v for v in self.scope if v[1] == shape]
        first = self.pick(*found)
        second = self.pick(*(v for v in found if v[2] == first[2]))
        self.define(f"select {predicate}, {first[0]}, {second[0]} : {tensor(shape, 'i1')}, {tensor(shape, first[2])}",
                    shape, first[2])

    def reduce(self) -> None:
        name, shape, element = self.value()
        op = {"f32": self.pick("add", "maximum", "multiply"), "i32": self.pick("add", "and"), "i1": "or"}[element]
        number = self.pick(*ELEMENTS[element])
        initial = self.define(f"constant dense<{number}> : {tensor((), element)}", (), element)[0]
        dims = [d for d, n in enumerate(shape) if n == 1 or self.pick(True, False, False)]
        result = tuple(n for d, n in enumerate(shape) if d not in dims)
        self.define(f"reduce({name} init: {initial}) applies stablehlo.{op} across dimensions = {dims} : "
                    f"({tensor(shape, element)}, {tensor((), element)}) -> {tensor(result, element)}", result, element)


KINDS = ("reshape", "broadcast", "broadcast", "transpose", "reverse", "slice", "concatenate", "binary", "binary",
         "unary", "convert", "compare", "select", "reduce")


@st.composite
def programs(draw: Any) -> str:
    """Text of a program of (2x3xf32, 1x4xi32, 3xi1) with three results."""
    builder = Builder(draw, [("%a", (2, 3), "f32"), ("%i", (1, 4), "i32"), ("%p", (3,), "i1")])
    for _ in range(draw(st.integers(3, 24))):
        getattr(builder, draw(st.sampled_from(KINDS)))()
    results = [builder.value() for _ in range(3)]
    types = ", ".join(tensor(shape, element) for _, shape, element in results)
    return (f"func.func @main(%a: tensor<2x3xf32>, %i: tensor<1x4xi32>, %p: tensor<3xi1>) -> ({types}) {{\n"
            + "\n".join(builder.lines)
            + f"\nreturn {', '.join(name for name, _, _ in results)} : {types}\n}}")


INPUTS = [
    [np.array([[0.5, -0.0, 3.0], [np.inf, -1.0, 0.0]], np.float32), np.array([[0, -1, 2**31 - 1, 5]], np.int32),
     np.array([True, False, True])],
    [np.array([[np.nan, 0.0, -0.0], [-np.inf, 2.5, 1e-30]], np.float32), np.array([[1, 0, -(2**31), 0]], np.int32),
     np.array([False, False, True])],
]


def run(module: Any, inputs: list[Any]) -> list[bytes]:
    """The results' bits, with one NaN for all."""
    given_attributes = [_mlir.ir.DenseElementsAttr.get(value, context=_mlir.context()) for value in inputs[:2]]
    truths = [_mlir.ir.BoolAttr.get(bool(t), context=_mlir.context()) for t in inputs[2]]
    type = _mlir.ir.Type.parse("tensor<3xi1>", _mlir.context())
    given_attributes.append(_mlir.ir.DenseElementsAttr.get(truths, type, context=_mlir.context()))
    arrays = [np.array(r) for r in _mlir.stablehlo.eval_module(module, given_attributes)]
    return [(np.where(np.isnan(a), np.float32(np.nan), a) if a.dtype == np.float32 else a).tobytes() for a in arrays]


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(program=programs())
def test_same_bits_and_no_more_ops(optimize: Any, program: str) -> None:
    before = _mlir.ir.Module.parse(program, _mlir.context())
    simplified, optimized = optimize(Simplify(), program), optimize_fully(program)
    assert len(operations(optimized)) <= len(operations(before))
    for inputs in INPUTS:
        expected = run(before, inputs)
        assert run(simplified.module, inputs) == expected
        assert run(optimized, inputs) == expected


def optimize_fully(program: str) -> Any:
    """What optimize makes of ``program``; a second run changes nothing."""
    from passes.pipeline.base import Counters

    module = _mlir.ir.Module.parse(program, _mlir.context())
    Optimize().run(module.operation, Counters(Optimize.statistics))
    assert module.operation.verify()
    text = str(module)
    Optimize().run(module.operation, Counters(Optimize.statistics))
    assert str(module) == text
    return module
