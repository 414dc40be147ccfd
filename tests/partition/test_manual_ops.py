"""Every op program in a manual computation over one axis of three: each half of the devices computes its own half.

Along the other two axes the body is sharded at random. Data of the halves differ, so what moves from one to the other
shows. The results are compared bit by bit with those of a plain program that computes one half after the other.
"""

from __future__ import annotations

from typing import Any

import pytest

from passes import _mlir
from passes.execute.compare import BIT_EQUAL
from passes.execute.verify import verify
from passes.partition.partition import partition
from passes.program import read
from passes.program.entry import arguments, find_entry, results
from passes.sharding.mesh import Mesh
from tests.partition.op_programs import PROGRAMS
from tests.partition.random_shardings import annotate_arguments

MESH = Mesh((("x", 2), ("half", 2), ("y", 2)))


def _type(shape: list[int], element: Any) -> str:
    return f"tensor<{'x'.join(map(str, [*shape, element]))}>"


def _rank(type: str) -> int:
    return type.removeprefix("tensor<").partition("complex")[0].count("x")


class _Halves:
    """The text of both programs around a function ``@half`` with the given argument and result types."""

    def __init__(self, text: str) -> None:
        program = read.parse(text)
        function = find_entry(program)
        self.half = text.replace("func.func @main", "func.func private @half")
        self.arguments = [_mlir.ir.RankedTensorType(v.type) for v in arguments(function)]
        self.results = [_mlir.ir.RankedTensorType(v.type) for v in results(function)]
        self.inputs = [_type([2 * t.shape[0], *t.shape[1:]] if t.rank else [], t.element_type) for t in self.arguments]
        # A scalar result becomes one element of a vector.
        self.rows = [_type(list(t.shape) or [1], t.element_type) for t in self.results]
        self.outputs = [_type([2 * t.shape[0], *t.shape[1:]] if t.rank else [2], t.element_type) for t in self.results]

    def _call(self, name: str, operands: list[str]) -> str:
        """A call whose results are ``%NAME_0``, ``%NAME_1``, ..."""
        types = ", ".join(map(str, self.arguments)), ", ".join(map(str, self.results))
        lines = [f"%{name}:{len(self.results)} = func.call @half({', '.join(operands)}) : ({types[0]}) -> ({types[1]})"]
        for i, (type, row) in enumerate(zip(self.results, self.rows, strict=True)):
            lines.append(f"%{name}_{i} = stablehlo.reshape %{name}#{i} : ({type}) -> {row}")
        return "\n".join(lines)

    def _main(self, body: str) -> str:
        named = ", ".join(f"%a{i}: {t}" for i, t in enumerate(self.inputs))
        returned = ", ".join(f"%r{i}" for i in range(len(self.outputs)))
        types = ", ".join(self.outputs)
        return f"{self.half}\nfunc.func @main({named}) -> ({types}) {{\n{body}\nreturn {returned} : {types}\n}}"

    def plain(self) -> str:
        lines = []
        for which in range(2):
            operands = []
            for i, (type, given) in enumerate(zip(self.arguments, self.inputs, strict=True)):
                operands.append(f"%p{which}_{i}" if type.rank else f"%a{i}")
                if type.rank:
                    size = type.shape[0]
                    rows = ", ".join([f"{which * size}:{which * size + size}", *(f"0:{s}" for s in type.shape[1:])])
                    lines.append(f"%p{which}_{i} = stablehlo.slice %a{i} [{rows}] : ({given}) -> {type}")
            lines.append(self._call(f"h{which}", operands))
        for i, (row, type) in enumerate(zip(self.rows, self.outputs, strict=True)):
            lines.append(f"%r{i} = stablehlo.concatenate %h0_{i}, %h1_{i}, dim = 0 : ({row}, {row}) -> {type}")
        return self._main("\n".join(lines))

    def manual(self) -> str:
        def lie(types: list[str]) -> str:
            free = ", ".join("<@mesh, [" + ", ".join(["{?}"] * _rank(t)) + "]>" for t in types)
            return free.replace("[{?}", '[{"half", ?}')

        named = ", ".join(f"%b{i}: {t}" for i, t in enumerate(self.arguments))
        inside = self._call("h", [f"%b{i}" for i in range(len(self.arguments))])
        rows = ", ".join(f"%h_{i}" for i in range(len(self.rows))), ", ".join(self.rows)
        operands = ", ".join(f"%a{i}" for i in range(len(self.inputs)))
        given, made = ", ".join(self.inputs), ", ".join(self.outputs)
        body = (
            f"%m:{len(self.rows)} = sdy.manual_computation({operands}) in_shardings=[{lie(self.inputs)}]"
            f' out_shardings=[{lie(self.outputs)}] manual_axes={{"half"}} ({named}) {{\n{inside}\n'
            f"sdy.return {rows[0]} : {rows[1]}\n}} : ({given}) -> ({made})\n"
        )
        kept = (f"%r{i} = stablehlo.optimization_barrier %m#{i} : {t}" for i, t in enumerate(self.outputs))
        return 'sdy.mesh @mesh = <["x"=2, "half"=2, "y"=2]>\n' + self._main(body + "\n".join(kept))


@pytest.mark.parametrize("name", PROGRAMS)
def test_each_half_is_computed_on_its_own(name: str) -> None:
    halves = _Halves(PROGRAMS[name])
    plain = read.parse(halves.plain(), name)
    program = read.parse(halves.manual(), name)
    shardings = annotate_arguments(program, MESH, seed=0)
    report = partition(program)
    found = verify(plain, program, report.side_table, inputs="exact", level=BIT_EQUAL)
    assert found.ok, (shardings, found.lines())
