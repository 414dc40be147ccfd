"""Random programs of functions, sorts and reductions of several values: our passes keep what they compute."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from passes import _mlir
from passes.optimize.cse import Cse
from passes.optimize.dead_ops import DeadOps
from passes.optimize.function_signatures import FunctionSignatures
from passes.optimize.inline import Inline
from tests.optimize.test_properties import INPUTS, Builder, F, I, P, chosen, native, size

S = "tensor<f32>"


@dataclass
class FunctionBuilder(Builder):
    """Draws calls of functions with several arguments and results too, and ops on several arrays.

    Attributes:
      functions: How many arguments and results each function has that may be called, by its name.
    """

    functions: tuple[tuple[str, int, int], ...] = ()

    def inner(self, **arguments: str) -> FunctionBuilder:
        scope = {type: [*values] for type, values in self.scope.items()}
        for name, type in arguments.items():
            scope[type].append(f"%{name}")
        return FunctionBuilder(self.draw, scope, self.depth + 1, [], self.names, self.functions)

    def ops(self, most: int) -> None:
        kinds = [self.binary, self.unary, self.constant, self.compare, self.select, self.sort, self.reductions]
        if self.functions:
            kinds += [self.call] * 4
        if self.depth < 2:
            kinds += [self.loop, self.branch]
        for _ in range(self.draw(st.integers(1, most))):
            self.draw(st.sampled_from(kinds))()

    def several(self, line: str, results: int) -> None:
        first = self.name()
        self.lines.append(f"{first}:{results} = {line}")
        self.scope[F] += [f"{first}#{i}" for i in range(results)]

    def values(self, count: int) -> list[str]:
        return [self.value(F) for _ in range(count)]

    def call(self) -> None:
        name, arguments, results = self.draw(st.sampled_from(self.functions))
        types = f"({', '.join([F] * arguments)}) -> ({', '.join([F] * results)})"
        self.several(f"func.call @{name}({', '.join(self.values(arguments))}) : {types}", results)

    def sort(self) -> None:
        """Three arrays in the order of one or two of them."""
        types = f"({F}, {F}, {F})"
        at = [self.name() for _ in range(6)]
        first, second = self.draw(st.sampled_from(((0, 1), (2, 3), (0, 3), (4, 5))))
        less = self.name()
        self.several(f""""stablehlo.sort"({", ".join(self.values(3))}) <{{dimension = 1 : i64, is_stable = true}}> ({{
          ^bb0({", ".join(f"{name}: {S}" for name in at)}):
            {less} = stablehlo.compare LT, {at[first]}, {at[second]} : ({S}, {S}) -> {P}
            stablehlo.return {less} : {P}
          }}) : {types} -> {types}""", 3)

    def reductions(self) -> None:
        """Three sums and maxima over windows of one element and its neighbour, each of its own or of other arrays."""
        zero = self.name()
        at = [self.name() for _ in range(6)]
        ends = [self.name() for _ in range(3)]
        self.lines.append(f"{zero} = stablehlo.constant dense<0.0> : {S}")
        drawn = [(self.draw(st.sampled_from(("add", "maximum"))), i, self.draw(st.sampled_from((i, i, (i + 1) % 3))))
                 for i in range(3)]
        lines = "\n".join(f"{end} = stablehlo.{op} {at[left]}, {at[3 + right]} : {S}"
                          for end, (op, left, right) in zip(ends, drawn, strict=True))
        inputs = ", ".join([*self.values(3), zero, zero, zero])
        self.several(f""""stablehlo.reduce_window"({inputs}) <{{window_dimensions = array<i64: 1, 2>,
              padding = dense<[[0, 0], [1, 0]]> : tensor<2x2xi64>}}> ({{
          ^bb0({", ".join(f"{name}: {S}" for name in at)}):
            {lines}
            stablehlo.return {", ".join(ends)} : {S}, {S}, {S}
          }}) : ({F}, {F}, {F}, {S}, {S}, {S}) -> ({F}, {F}, {F})""", 3)


@st.composite
def programs(draw: Any) -> str:
    """Text of a program of (2x3xf32, 2x3xf32, i32) -> (2x3xf32, 2x3xf32) whose functions call earlier ones."""
    functions: tuple[tuple[str, int, int], ...] = ()
    texts = []
    for number in range(draw(st.integers(1, 4))):
        name, arguments, results = f"h{number}", draw(st.integers(1, 4)), draw(st.integers(1, 3))
        names = [f"%a{i}" for i in range(arguments)]
        body = FunctionBuilder(draw, {F: [*names], I: ["%i"], P: ["%p"]}, 1, [], [0], functions)
        body.ops(6)
        texts.append(f"""
            func.func private @{name}({", ".join(f"{a}: {F}" for a in names)}) -> ({", ".join([F] * results)}) {{
            %i = stablehlo.constant dense<1> : {I}
            %p = stablehlo.constant dense<true> : {P}
            {body.text()}
            return {", ".join(body.values(results))} : {", ".join([F] * results)} }}""")
        functions += ((name, arguments, results),)
    builder = FunctionBuilder(draw, {F: ["%a", "%b"], I: ["%i", "%k"], P: ["%p"]}, functions=functions)
    builder.ops(12)
    return chosen(f"""
func.func @main(%a: {F}, %b: {F}, %i: {I}) -> ({F}, {F}) {{
%k = stablehlo.constant dense<1> : {I}
%p = stablehlo.compare LT, %i, %k : ({I}, {I}) -> {P}
{builder.text()}
return {builder.value(F)}, {builder.value(F)} : {F}, {F}
}}
{"".join(texts)}
""", 0)


SETTINGS = settings(
    max_examples=120, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)


def check(evaluate: Any, module: Any, program: str) -> None:
    before = _mlir.ir.Module.parse(program, _mlir.context())
    for inputs in INPUTS:
        assert evaluate(module, inputs) == evaluate(before, inputs)


@SETTINGS
@given(program=programs())
def test_dead_ops(optimize: Any, evaluate: Any, program: str) -> None:
    """Nothing is left that MLIR's own analysis finds, and inlining makes no more of it dead."""
    result = optimize(DeadOps(), program)
    check(evaluate, result.module, program)
    assert size(native("trivial-dce,symbol-dce", result.text)) == size(result.module)
    inlined = optimize(DeadOps(), optimize(Inline(), result.text).text)
    assert size(inlined.module) == size(optimize(DeadOps(), optimize(Inline(), program).text).module)


@SETTINGS
@given(program=programs(), mode=st.sampled_from(Inline.options()[0].words))
def test_inline(optimize: Any, evaluate: Any, program: str, mode: str) -> None:
    result = optimize(Inline(mode), program)
    check(evaluate, result.module, program)
    if mode == "all":
        assert "call @" not in result.text


@SETTINGS
@given(program=programs())
def test_all_passes_in_a_row(optimize: Any, evaluate: Any, program: str) -> None:
    text = program
    for own in (FunctionSignatures(), DeadOps(), Cse(), FunctionSignatures(), Inline("once"), DeadOps()):
        result = optimize(own, text)
        check(evaluate, result.module, program)
        text = result.text
