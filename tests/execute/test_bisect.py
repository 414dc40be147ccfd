"""Faults put into a per-device program are found at the op they were put into."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from passes import _mlir
from passes.execute.arrays import same_bits
from passes.execute.bisect import search
from passes.execute.findings import Finding
from passes.execute.store import Store
from passes.execute.walk import Mode
from passes.partition.pad_dimensions import Padding
from passes.partition.partition import partition
from passes.partition.report import Report
from passes.program import entry, read
from passes.program.read import Program
from passes.sharding.annotate import annotate
from passes.sharding.rules_file import load

DECODER = Path(__file__).parents[2] / "examples" / "decoder"

# A sum over a split dimension, a maximum over one, a value that is gathered, and one that is cut.
SMALL = """
sdy.mesh @mesh = <["x"=2, "y"=2]>
func.func @main(
  %a: tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {"y"}]>},
  %b: tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"y"}, {}]>},
  %c: tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {}]>}
) -> (tensor<8x8xf32>, tensor<8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}]>},
      tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{}, {"x"}]>}) {
  %0 = stablehlo.dot_general %a, %b, contracting_dims = [1] x [0]
    : (tensor<8x8xf32>, tensor<8x8xf32>) -> tensor<8x8xf32>
  %1 = stablehlo.add %0, %c {sdy.sharding = #sdy.sharding_per_value<[<@mesh, [{"x"}, {}]>]>} : tensor<8x8xf32>
  %low = stablehlo.constant dense<0xFF800000> : tensor<f32>
  %2 = stablehlo.reduce(%a init: %low) applies stablehlo.maximum across dimensions = [1]
    : (tensor<8x8xf32>, tensor<f32>) -> tensor<8xf32>
  %3 = stablehlo.slice %c [0:8, 2:6] : (tensor<8x8xf32>) -> tensor<8x4xf32>
  %4 = stablehlo.concatenate %3, %3, dim = 1 : (tensor<8x4xf32>, tensor<8x4xf32>) -> tensor<8x8xf32>
  %5 = stablehlo.subtract %1, %4 : tensor<8x8xf32>
  %6 = stablehlo.negate %5 {sdy.sharding = #sdy.sharding_per_value<[<@mesh, [{}, {"x"}]>]>} : tensor<8x8xf32>
  return %1, %2, %6 : tensor<8x8xf32>, tensor<8xf32>, tensor<8x8xf32>
}
"""

Traced = tuple[Program, Program, Report]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Golden values are the same in all tests of a program."""
    return Store(tmp_path_factory.mktemp("golden"))


def _partitioned(program: Program) -> Traced:
    report = partition(program, trace=True)
    assert report.numbered is not None
    return read.parse(report.numbered, "numbered"), program, report


def _small() -> Traced:
    return _partitioned(read.parse(SMALL, "small.mlir"))


def _decoder() -> Traced:
    program = read.read(str(DECODER / "forward.mlir"))
    annotate(program, load(str(DECODER / "megatron.toml")))
    return _partitioned(program)


def _block(program: Program) -> list[Any]:
    return [view.operation for view in entry.find_entry(program).regions[0].blocks[0].operations]


def _first(program: Program, name: str, which: Callable[[Any], bool] = lambda op: True) -> int:
    return next(i for i, op in enumerate(_block(program)) if op.name == name and which(op))


def _search(traced: Traced, store: Store, mode: Mode, inputs: str = "exact") -> Finding | None:
    numbered, program, report = traced
    assert program.module.operation.verify()
    return search(numbered, program, report.side_table, inputs=inputs, mode=mode, store=store).finding


# -- faults: each changes the program and returns the position of the op that is wrong ---------------------------------


def _wrong_groups(program: Program) -> int:
    index = _first(program, "stablehlo.all_reduce")
    groups = np.array(_mlir.ir.DenseElementsAttr(_block(program)[index].attributes["replica_groups"]))
    # Devices trade places between groups.
    groups[[0, 1], -1] = groups[[1, 0], -1]
    _block(program)[index].attributes["replica_groups"] = _mlir.ir.DenseElementsAttr.get(groups)
    return index


def _replace_reducer(program: Program, index: int, name: str) -> None:
    reducer = _block(program)[index].regions[0].blocks[0].operations[0].operation
    values = list(reducer.operands)
    new = _mlir.ir.Operation.create(name, [reducer.results[0].type], values, ip=_mlir.ir.InsertionPoint(reducer))
    reducer.results[0].replace_all_uses_with(new.results[0])
    reducer.erase()


def _sum_for_max(program: Program) -> int:
    index = _first(program, "stablehlo.all_reduce", lambda op: "maximum" in str(op.regions[0].blocks[0].operations[0]))
    _replace_reducer(program, index, "stablehlo.add")
    return index


def _local_minimum_for_max(program: Program) -> int:
    index = _first(program, "stablehlo.reduce", lambda op: "maximum" in str(op.regions[0].blocks[0].operations[0]))
    _replace_reducer(program, index, "stablehlo.minimum")
    return index


def _slice_off_by_one(program: Program) -> int:
    index = _first(program, "stablehlo.slice")
    op = _block(program)[index]
    for key in ("start_indices", "limit_indices"):
        values = list(_mlir.ir.DenseI64ArrayAttr(op.attributes[key]))
        values[-1] += 1
        op.attributes[key] = _mlir.ir.DenseI64ArrayAttr.get(values)
    return index


def _operands_swapped(program: Program) -> int:
    index = _first(program, "stablehlo.subtract")
    op = _block(program)[index]
    left, right = list(op.operands)
    op.operands[0], op.operands[1] = right, left
    return index


def _gathered_in_wrong_order(program: Program) -> int:
    index = _first(program, "stablehlo.all_to_all")
    op = _block(program)[index]
    groups = np.array(_mlir.ir.DenseElementsAttr(op.attributes["replica_groups"]))
    op.attributes["replica_groups"] = _mlir.ir.DenseElementsAttr.get(np.ascontiguousarray(groups[:, ::-1]))
    return index


FAULTS = [
    _wrong_groups, _sum_for_max, _local_minimum_for_max, _slice_off_by_one, _operands_swapped,
    _gathered_in_wrong_order,
]


def test_a_right_program_has_no_difference(store: Store) -> None:
    traced = _small()
    for mode in ("isolated", "accumulated"):
        assert _search(traced, store, mode) is None


@pytest.mark.parametrize("mode", ["isolated", "accumulated"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_where_it_is(fault: Callable[[Program], int], mode: Mode, store: Store) -> None:
    traced = _small()
    with _mlir.context(), _mlir.ir.Location.unknown():
        index = fault(traced[1])
    found = _search(traced, store, mode)
    assert found is not None
    assert (found.index, found.op_name) == (index, _block(traced[1])[index].name)
    assert found.reproduction is not None
    assert not same_bits(np.stack(found.reproduction.expected), np.stack(found.reproduction.got))


SEVEN = """
sdy.mesh @mesh = <["x"=4]>
func.func @main(%a: tensor<7x6xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {}]>}, %b: tensor<7x6xf32>)
    -> (tensor<6x6xf32>, tensor<7x6xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {}]>}) {
  %0 = stablehlo.exponential %a : tensor<7x6xf32>
  %1 = stablehlo.dot_general %0, %b, contracting_dims = [0] x [0]
    : (tensor<7x6xf32>, tensor<7x6xf32>) -> tensor<6x6xf32>
  return %1, %0 : tensor<6x6xf32>, tensor<7x6xf32>
}
"""


def test_a_padded_program_is_compared_with_the_padded_global_one(store: Store) -> None:
    program = read.parse(SEVEN)
    report = partition(program, trace=True, padding=Padding(arguments=True))
    assert report.numbered is not None and report.side_table.arguments[0].padded_shape == (8, 6)
    outcome = search(read.parse(report.numbered), program, report.side_table, store=store)
    assert outcome.finding is None and outcome.checked > 4
