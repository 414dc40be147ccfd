"""The first op of a transformed program, and the first pass of a pipeline, that makes something else."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from passes import _mlir
from passes.errors import UserError
from passes.execute.bisect_programs import search_pipeline, search_programs
from passes.execute.compare import CLOSE
from passes.execute.findings import Finding
from passes.execute.store import Store
from passes.pipeline import registry
from passes.pipeline.base import Counters, Pass
from passes.program import read
from passes.program.walk import operations

ORIGINAL = """
func.func @main(%a: tensor<8xf32>, %b: tensor<8xf32>) -> (tensor<8xf32>, tensor<8xi1>) {
  %0 = stablehlo.add %a, %b : tensor<8xf32>
  %1 = stablehlo.cosine %0 : tensor<8xf32>
  %2 = stablehlo.sine %0 : tensor<8xf32>
  %3 = stablehlo.multiply %1, %b : tensor<8xf32>
  %4 = stablehlo.subtract %3, %2 : tensor<8xf32>
  %5 = stablehlo.compare LT, %4, %a : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xi1>
  return %4, %5 : tensor<8xf32>, tensor<8xi1>
}
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("golden"))


def _find(transformed: str, store: Store, original: str = ORIGINAL) -> Finding | None:
    return search_programs(read.parse(original, "a"), read.parse(transformed, "b"), store=store).finding


def test_equal_programs_have_no_difference(store: Store) -> None:
    assert _find(ORIGINAL, store) is None


def test_other_ways_to_the_same_values_are_no_difference(store: Store) -> None:
    # -(-x) is no value of the original, and what follows from it is.
    twice = ORIGINAL.replace(
        "%2 = stablehlo.sine %0",
        "%m = stablehlo.negate %0 : tensor<8xf32>\n %n = stablehlo.negate %m : tensor<8xf32>\n %2 = stablehlo.sine %n",
    )
    assert _find(twice, store) is None
    # Nor is it named where another op is wrong.
    found = _find(twice.replace("stablehlo.multiply", "stablehlo.divide"), store)
    assert found is not None
    assert (found.op_name, found.index) == ("stablehlo.divide", 5)


@pytest.mark.parametrize(
    ("right", "wrong", "name", "index"),
    [
        ("stablehlo.cosine", "stablehlo.tanh", "stablehlo.tanh", 1),
        ("compare LT", "compare LE", None, None),
        ("compare LT", "compare GT", "stablehlo.compare", 5),
        ("%4 = stablehlo.subtract %3, %2", "%4 = stablehlo.subtract %2, %3", "stablehlo.subtract", 4),
        # Two ops merged that are not the same: the first that takes the wrong one.
        ("%4 = stablehlo.subtract %3, %2", "%4 = stablehlo.subtract %3, %1", "stablehlo.subtract", 4),
        ("return %4", "return %3", "func.return", 6),
    ],
)
def test_the_first_wrong_op_is_named(right: str, wrong: str, name: str | None, index: int, store: Store) -> None:
    found = _find(ORIGINAL.replace(right, wrong), store)
    if name is None:
        # On these inputs no two elements are equal, so that LE and LT do the same.
        assert found is None
        return
    assert found is not None
    assert (found.op_name, found.index) == (name, index)


def test_what_the_op_should_take_is_told(store: Store) -> None:
    found = _find(ORIGINAL.replace("subtract %3, %2", "subtract %3, %1"), store)
    assert found is not None
    assert "stablehlo.sine (op 2, b" not in found.hints[0]
    assert found.hints[0].startswith("operand 1 should be what the original makes with stablehlo.sine (op 2")
    assert found.where == "b:7:8"


def test_other_signatures_cannot_be_compared(store: Store) -> None:
    with pytest.raises(UserError, match="another signature"):
        _find(ORIGINAL.replace("tensor<8x", "tensor<4x"), store)


@dataclass(frozen=True)
class _Break(Pass):
    name = "break-it"
    summary = "turns sines into cosines"

    def run(self, module: Any, counters: Counters) -> None:
        for op in [op for op in operations(module) if op.name == "stablehlo.sine"]:
            types, point = [op.results[0].type], _mlir.ir.InsertionPoint(op)
            operands = list(op.operands)
            new = _mlir.ir.Operation.create("stablehlo.cosine", types, operands, ip=point, loc=op.location)
            op.results[0].replace_all_uses_with(new.results[0])
            op.erase()


def test_the_first_wrong_pass_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "break_it", SimpleNamespace(Break=_Break))  # type: ignore[misc]
    monkeypatch.setitem(registry.OWN_PASSES, "break-it", "break_it:Break")
    said: list[str] = []
    found = search_pipeline(read.parse(ORIGINAL), "builtin.module(cse,break-it,dead-ops)", say=said.append)
    assert found is not None
    assert (found.index, found.text, found.same_signature) == (1, "builtin.module(break-it)", True)
    assert said == ["cse: changes nothing", "break-it: results differ"]
    assert "stablehlo.sine" in str(found.before.module)
    assert "stablehlo.sine" not in str(found.after.module)


def test_a_right_pipeline_has_no_wrong_pass() -> None:
    pipeline = "builtin.module(cse,dead-ops,func.func(canonicalize))"
    assert search_pipeline(read.parse(ORIGINAL), pipeline, level=CLOSE) is None


def test_a_missing_file_of_a_store_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot keep values there"):
        Store(tmp_path / "file" / "folder")
