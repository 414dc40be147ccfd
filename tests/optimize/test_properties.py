"""Random programs: what cse and dead-ops make of them computes the same and is no larger."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from passes import _mlir
from passes.optimize.cse import Cse
from passes.optimize.dead_ops import DeadOps
from passes.program.walk import operations

F, I, P = "tensor<2x3xf32>", "tensor<i32>", "tensor<i1>"  # noqa: E741

BINARY = ("add", "subtract", "multiply", "maximum", "minimum", "divide")
UNARY = ("negate", "tanh", "abs", "floor")
DIRECTIONS = ("LT", "GT", "LE", "GE", "EQ", "NE")


@dataclass
class Builder:
    """Draws ops one after the other; the values in scope are kept by type, and few, so that equal ops are frequent."""

    draw: Callable[[Any], Any]
    scope: dict[str, list[str]]
    depth: int = 0
    lines: list[str] = field(default_factory=list)
    names: list[int] = field(default_factory=lambda: [0])

    def name(self) -> str:
        self.names[0] += 1
        return f"%v{self.names[0]}"

    def value(self, type: str) -> str:
        values = self.scope[type]
        return values[-1 - self.draw(st.integers(0, min(4, len(values) - 1)))]

    def define(self, op: str, type: str) -> None:
        name = self.name()
        self.lines.append(f"{name} = {op}")
        self.scope[type].append(name)

    def inner(self, **arguments: str) -> Builder:
        scope = {type: [*values] for type, values in self.scope.items()}
        for name, type in arguments.items():
            scope[type].append(f"%{name}")
        return Builder(self.draw, scope, self.depth + 1, [], self.names)

    def ops(self, most: int) -> None:
        kinds = [self.binary, self.binary, self.unary, self.constant, self.compare, self.select, self.reduce, self.call]
        if self.depth < 2:
            kinds += [self.loop, self.branch]
        for _ in range(self.draw(st.integers(1, most))):
            self.draw(st.sampled_from(kinds))()

    def binary(self) -> None:
        self.define(f"stablehlo.{self.draw(st.sampled_from(BINARY))} {self.value(F)}, {self.value(F)} : {F}", F)

    def unary(self) -> None:
        self.define(f"stablehlo.{self.draw(st.sampled_from(UNARY))} {self.value(F)} : {F}", F)

    def constant(self) -> None:
        self.define(f"stablehlo.constant dense<{self.draw(st.sampled_from(('0.0', '-0.0', '1.5')))}> : {F}", F)

    def compare(self) -> None:
        direction = self.draw(st.sampled_from(DIRECTIONS))
        self.define(f"stablehlo.compare {direction}, {self.value(I)}, {self.value(I)} : ({I}, {I}) -> {P}", P)

    def select(self) -> None:
        self.define(f"stablehlo.select {self.value(P)}, {self.value(F)}, {self.value(F)} : {P}, {F}", F)

    def call(self) -> None:
        """A call of one of four functions, of which two times two are equal."""
        family = self.draw(st.sampled_from(("f", "«f|g»")))
        self.define(f"func.call @{family}{self.draw(st.integers(0, 3))}({self.value(F)}) : ({F}) -> {F}", F)

    def reduce(self) -> None:
        zero, row, op = self.name(), self.name(), self.draw(st.sampled_from(("add", "maximum")))
        self.lines.append(f"{zero} = stablehlo.constant dense<0.0> : tensor<f32>")
        self.lines.append(f"{row} = stablehlo.reduce({self.value(F)} init: {zero}) applies stablehlo.{op} "
                          f"across dimensions = [1] : ({F}, tensor<f32>) -> tensor<2xf32>")
        self.define(f"stablehlo.broadcast_in_dim {row}, dims = [0] : (tensor<2xf32>) -> {F}", F)

    def loop(self) -> None:
        """A loop of three turns that carries its counter and two to four values; half of the time they start as one."""
        carried = self.draw(st.integers(2, 4))
        start = self.value(F) if self.draw(st.booleans()) else None
        first, zero = self.name(), self.name()
        arguments = {f"c{first[2:]}x{i}": F for i in range(carried)}
        counter = f"c{first[2:]}i"
        body = self.inner(**{counter: I}, **arguments)
        body.ops(4)
        starts = [f"%{name} = {start or self.value(F)}" for name in arguments]
        if start is not None:
            body.alike(arguments)
        text, ends = body.text(), ", ".join(body.value(F) for _ in arguments)
        inside = {*re.findall(r"(%\w+)(?::\S+)? =", text), *(f"%{name}" for name in arguments)}

        def again(text: str) -> str:
            """``text`` with other names for what the body defines."""
            return re.sub(r"%\w+", lambda name: f"{name[0]}_2" if name[0] in inside else name[0], text)

        types = ", ".join([I] + [F] * carried) + f"«|{f', {F}' * carried}»"
        self.lines.append(f"""{zero} = stablehlo.constant dense<0> : {I}
          {first}:«{carried + 1}|{2 * carried + 1}» = stablehlo.while(
            %{counter} = {zero}, {", ".join(starts)}«|, {", ".join(map(again, starts))}») : {types}
          cond {{
            %{counter}n = stablehlo.constant dense<3> : {I}
            %{counter}p = stablehlo.compare LT, %{counter}, %{counter}n : ({I}, {I}) -> {P}
            stablehlo.return %{counter}p : {P}
          }} do {{
            {text}
            «|{again(text)}»
            %{counter}1 = stablehlo.constant dense<1> : {I}
            %{counter}2 = stablehlo.add %{counter}, %{counter}1 : {I}
            stablehlo.return %{counter}2, {ends}«|, {again(ends)}» : {types}
          }}""")
        self.scope[F] += [f"{first}#«{i + 1}|{i + 1 + carried * (i % 2)}»" for i in range(carried)]
        self.scope[I].append(f"{first}#0")

    def alike(self, arguments: dict[str, str]) -> None:
        """The same op on each of ``arguments``."""
        op, other = self.draw(st.sampled_from(BINARY)), self.value(F)
        for name in arguments:
            self.define(f"stablehlo.{op} %{name}, {other} : {F}", F)

    def branch(self) -> None:
        first = self.name()
        branches = []
        for _ in range(2):
            branch = self.inner()
            branch.ops(3)
            branches.append(f"{{ {branch.text()}\nstablehlo.return {branch.value(F)}, {branch.value(F)} : {F}, {F} }}")
        self.lines.append(f'{first}:2 = "stablehlo.if"({self.value(P)}) ({", ".join(branches)}) : ({P}) -> ({F}, {F})')
        self.scope[F] += [f"{first}#0", f"{first}#1"]

    def text(self) -> str:
        return "\n".join(self.lines)


ALTERNATIVES = re.compile("«([^«|»]*)\\|([^«|»]*)»")


def chosen(text: str, which: int) -> str:
    """``text`` with one of each pair of alternatives, the innermost first."""
    count = 1
    while count:
        text, count = ALTERNATIVES.subn(lambda pair: pair[1 + which], text)
    return text


@st.composite
def pairs(draw: Any) -> tuple[str, str]:
    """Texts of a program of (2x3xf32, 2x3xf32, i32) -> (2x3xf32, 2x3xf32) with loops, branches and calls.

    The second program computes the same in another way: loops carry every value twice, functions have copies.
    """
    builder = Builder(draw, {F: ["%a", "%b"], I: ["%i", "%k"], P: ["%p"]})
    builder.ops(24)
    functions = "".join(f"""
func.func private @{n}0(%x: {F}) -> {F} {{ %0 = stablehlo.sine %x : {F} return %0 : {F} }}
func.func private @{n}1(%x: {F}) -> {F} {{ %0 = func.call @{n}0(%x) : ({F}) -> {F} return %0 : {F} }}
func.func private @{n}2(%x: {F}) -> {F} {{ %0 = func.call @{n}3(%x) : ({F}) -> {F} return %0 : {F} }}
func.func private @{n}3(%x: {F}) -> {F} {{ %0 = stablehlo.sine %x : {F} return %0 : {F} }}
""" for n in "fg")
    text = f"""
func.func @main(%a: {F}, %b: {F}, %i: {I}) -> ({F}, {F}) {{
%k = stablehlo.constant dense<1> : {I}
%p = stablehlo.compare LT, %i, %k : ({I}, {I}) -> {P}
{builder.text()}
return {builder.value(F)}, {builder.value(F)} : {F}, {F}
}}
{functions}"""
    return chosen(text, 0), chosen(text, 1)


def programs() -> Any:
    """The first of `pairs`."""
    return pairs().map(lambda both: both[0])


A, B = np.array([[0.5, -0.0, 3.0], [np.inf, -1.0, 1e-30]], np.float32), np.full((2, 3), -2.5, np.float32)
INPUTS = [[A, B, np.array(i, np.int32)] for i in (0, 5)]


def size(module: Any) -> int:
    return len(operations(module.operation))


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(program=programs(), sunk_constants=st.sampled_from(("keep", "merge")))
def test_same_values_and_no_more_ops(optimize: Any, evaluate: Any, program: str, sunk_constants: Any) -> None:
    before = _mlir.ir.Module.parse(program, _mlir.context())
    merged = optimize(Cse(sunk_constants=sunk_constants), program)
    final = optimize(DeadOps(), merged.text)
    assert size(final.module) <= size(merged.module) <= size(before)
    for inputs in INPUTS:
        expected = evaluate(before, inputs)
        assert evaluate(merged.module, inputs) == expected
        assert evaluate(final.module, inputs) == expected


def native(pipeline: str, text: str) -> Any:
    module = _mlir.ir.Module.parse(text, _mlir.context())
    _mlir.passmanager.PassManager.parse(f"builtin.module({pipeline})", _mlir.context()).run(module.operation)
    return module


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(program=programs())
def test_upstream_finds_nothing_more(optimize: Any, program: str) -> None:
    """Run after ours, MLIR's own passes leave every op."""
    merged = optimize(Cse(), program)
    final = optimize(DeadOps(), merged.text)
    assert size(native("trivial-dce", final.text)) == size(final.module)
    # MLIR's cse removes some dead ops as well.
    assert size(native("cse,trivial-dce", merged.text)) == size(native("trivial-dce", merged.text))


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(both=pairs())
def test_doubled_carries_and_functions_go(optimize: Any, evaluate: Any, both: tuple[str, str]) -> None:
    """Carrying every value of every loop twice, and calling copies of functions, leaves no trace."""
    plain, final = (optimize(DeadOps(), optimize(Cse(), program).text) for program in both)
    assert size(final.module) == size(plain.module)
    assert evaluate(final.module, INPUTS[0]) == evaluate(_mlir.ir.Module.parse(both[0], _mlir.context()), INPUTS[0])
