"""Every StableHLO op that the bindings register has a row, or a reason in `WITHOUT_ROW`; every row has a program."""

from __future__ import annotations

import inspect

import pytest

from passes import _mlir
from passes.errors import UserError
from passes.execute.executor import Executor
from passes.partition.partition import partition
from passes.partition.rows import ROWS, WITHOUT_ROW
from passes.partition.summary import COLLECTIVES
from passes.program import read
from tests.partition.variant_programs import ALL_PROGRAMS, ops_of

MESH = 'sdy.mesh @mesh = <["x"=2, "y"=2]>\n'

# Rows without a program of the matrix: what the plan inserts, and what stands in manual computations only
# (test_manual.py, test_manual_ops.py). rng has a test of its own below, for no two runs draw the same.
ELSEWHERE = COLLECTIVES | {"stablehlo.partition_id", "stablehlo.rng"}


def registered() -> set[str]:
    """The names of all StableHLO ops of the installed bindings."""
    classes = (c for _, c in inspect.getmembers(_mlir.stablehlo, inspect.isclass))
    return {c.OPERATION_NAME for c in classes if getattr(c, "OPERATION_NAME", "").startswith("stablehlo.")}


def test_every_op_has_a_row_or_a_reason() -> None:
    names = registered()
    assert len(names) > 100
    assert sorted(names - ROWS.keys() - WITHOUT_ROW.keys()) == []
    assert sorted(WITHOUT_ROW.keys() & ROWS.keys()) == []
    assert sorted(WITHOUT_ROW.keys() - names) == []
    assert all(reason.endswith(".") for reason in WITHOUT_ROW.values())


def test_every_row_has_a_program() -> None:
    covered = set().union(*map(ops_of, ALL_PROGRAMS.values()))
    rows = {name for name in ROWS if name.startswith("stablehlo.")}
    assert sorted(rows - covered - ELSEWHERE) == []


REFUSED = {
    "stablehlo.infeed": """
  %t = stablehlo.create_token : !stablehlo.token
  %0:2 = "stablehlo.infeed"(%t) <{infeed_config = ""}> : (!stablehlo.token) -> (tensor<8xf32>, !stablehlo.token)""",
    "stablehlo.outfeed": """
  %t = stablehlo.create_token : !stablehlo.token
  %0 = "stablehlo.outfeed"(%a, %t) <{outfeed_config = ""}> : (tensor<8xf32>, !stablehlo.token) -> !stablehlo.token""",
    "stablehlo.send": """
  %t = stablehlo.create_token : !stablehlo.token
  %0 = "stablehlo.send"(%a, %t) <{channel_handle = #stablehlo.channel_handle<handle = 1, type = 2>,
      is_host_transfer = true}> : (tensor<8xf32>, !stablehlo.token) -> !stablehlo.token""",
    "stablehlo.recv": """
  %t = stablehlo.create_token : !stablehlo.token
  %0:2 = "stablehlo.recv"(%t) <{channel_handle = #stablehlo.channel_handle<handle = 1, type = 3>,
      is_host_transfer = true}> : (!stablehlo.token) -> (tensor<8xf32>, !stablehlo.token)""",
    "stablehlo.cross-replica-sum": """
  %0 = "stablehlo.cross-replica-sum"(%a) <{replica_groups = dense<[[0]]> : tensor<1x1xi64>}> : (tensor<8xf32>)
      -> tensor<8xf32>
  return %0 : tensor<8xf32>""",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_device_could_do_for_all_is_refused(name: str) -> None:
    assert "Refused" in WITHOUT_ROW[name]
    body = REFUSED[name] if "return" in REFUSED[name] else REFUSED[name] + "\n  return %a : tensor<8xf32>"
    text = (
        f'{MESH}func.func @main(%a: tensor<8xf32> {{sdy.sharding = #sdy.sharding<@mesh, [{{"x"}}]>}}) -> tensor<8xf32>'
        f" {{{body}\n}}"
    )
    with pytest.raises(UserError, match=f"cannot partition '{name}'"):
        partition(read.parse(text))


RNG = """func.func @main(%a: tensor<8x6xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {}]>}) -> tensor<8x6xf32> {
  %l = stablehlo.constant dense<0.0> : tensor<f32>
  %h = stablehlo.constant dense<1.0> : tensor<f32>
  %s = stablehlo.constant dense<[8, 6]> : tensor<2xi64>
  %r = stablehlo.rng %l, %h, %s, distribution = UNIFORM : (tensor<f32>, tensor<f32>, tensor<2xi64>) -> tensor<8x6xf32>
  %0 = stablehlo.multiply %a, %r : tensor<8x6xf32>
  return %0 : tensor<8x6xf32>
}"""


def test_devices_that_share_a_part_share_its_random_numbers() -> None:
    import numpy as np

    program = read.parse(MESH + RNG)
    report = partition(program)
    assert [t.kind for t in report.traffic] == ["all_reduce"]
    ones = [np.ones((4, 6), np.float32)] * 4
    ((first, second, third, fourth),) = Executor().run_per_device(program, [ones], 4)
    assert first.tobytes() == second.tobytes()
    assert third.tobytes() == fourth.tobytes()
    assert first.tobytes() != third.tobytes()
    assert 0 <= first.min() < first.max() < 1
