"""Manual computations, executed: against XLA's partitioner on the same module, and against plain programs.

The modules are JAX's (`inputs/manual/generate.py`). Inputs are small integers held in floats, so that bit-equality is
the right claim.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from passes import _mlir
from passes.errors import UserError
from passes.execute.compare import BIT_EQUAL
from passes.execute.verify import verify
from passes.partition.partition import partition
from passes.partition.report import Report
from passes.partition.summary import COLLECTIVES
from passes.partition.trace import MARKS, NUMBER
from passes.program import read, write
from passes.program.walk import operations
from passes.sharding.import_shardings import import_shardings
from passes.sharding.mesh import Mesh, meshes
from tests.partition.random_shardings import annotate_arguments

INPUTS = Path(__file__).parent / "inputs" / "manual"
REFERENCES = sorted(INPUTS.glob("*.reference.mlir"))
MODULES = sorted(set(INPUTS.glob("*.mlir")) - set(REFERENCES))
SEEDS = range(2)


def _channels(program: read.Program) -> list[int]:
    return [
        _mlir.stablehlo.ChannelHandle(op.attributes["channel_handle"]).handle
        for op in operations(program.module)
        if op.name in COLLECTIVES
    ]


def _partitioned(path: Path) -> tuple[read.Program, Report]:
    program = read.read(str(path))
    report = partition(program)
    assert not [op.name for op in operations(program.module) if op.name.startswith("sdy.")]
    channels = _channels(program)
    assert len(set(channels)) == len(channels)
    return program, report


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_it_computes_what_xlas_partitioner_does(path: Path) -> None:
    original = read.read(str(path))
    program, report = _partitioned(path)
    found = verify(original, program, report.side_table, inputs="exact", level=BIT_EQUAL)
    assert found.ok, found.lines()


@pytest.mark.parametrize("path", REFERENCES, ids=lambda path: path.name.removesuffix(".reference.mlir"))
def test_it_computes_what_the_plain_program_does(path: Path) -> None:
    plain = read.read(str(path))
    program, report = _partitioned(path.with_name(path.name.replace(".reference", "")))
    found = verify(plain, program, report.side_table, inputs="exact", seed=1, level=BIT_EQUAL)
    assert found.ok, found.lines()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_operands_may_lie_anyhow(path: Path) -> None:
    original = read.read(str(path))
    (mesh,) = meshes(original.module).values()
    for seed in SEEDS:
        program = read.read(str(path))
        shardings = annotate_arguments(program, mesh, seed)
        report = partition(program)
        found = verify(original, program, report.side_table, inputs="exact", seed=seed, level=BIT_EQUAL)
        assert found.ok, (shardings, found.lines())


def test_shard_map_in_gspmds_spelling() -> None:
    path = Path(__file__).parents[1] / "sharding" / "inputs" / "gspmd_shard_map_multi.mlir"
    original, program = read.read(str(path)), read.read(str(path))
    import_shardings(program)
    report = partition(program)
    found = verify(original, program, report.side_table, inputs="exact", level=BIT_EQUAL)
    assert found.ok, found.lines()


def test_no_permute_crosses_a_manual_axis() -> None:
    program, _ = _partitioned(INPUTS / "moved.mlir")
    mesh = Mesh((("a", 2), ("b", 2), ("c", 2)))
    (permute,) = [op for op in operations(program.module) if op.name == "stablehlo.collective_permute"]
    flat = list(_mlir.ir.DenseIntElementsAttr(permute.attributes["source_target_pairs"]))
    pairs = list(zip(flat[::2], flat[1::2], strict=True))
    assert [p for p in pairs if p[0] != p[1]]
    assert all(mesh.coordinate(s, mesh.axis("a")) == mesh.coordinate(t, mesh.axis("a")) for s, t in pairs)


def test_collectives_with_oneself_go() -> None:
    program, _ = _partitioned(INPUTS / "size_one.mlir")
    assert not _channels(program)


def test_groups_are_reported_by_their_axes() -> None:
    _, report = _partitioned(INPUTS / "compound.mlir")
    assert {(t.kind, t.axes) for t in report.traffic} == {
        ("all_gather", ("data", "model")),
        ("all_reduce", ("data", "model")),
        ("all_to_all", ("model",)),
        ("collective_permute", ()),
        ("reduce_scatter", ("data",)),
    }


def test_tracing_leaves_values_inside_unnamed() -> None:
    program = read.read(str(INPUTS / "mlp_partial.mlir"))
    assert partition(program, trace=True).numbered is not None
    assert not any(mark in write.to_text(program.module) for mark in MARKS)
    # Outside of manual computations, ops keep their numbers.
    program = read.read(str(INPUTS / "mlp_partial_grad.mlir"))
    partition(program, trace=True)
    assert NUMBER in write.to_text(program.module)


def test_a_free_axis_that_does_not_divide_is_taken_off() -> None:
    text = _MANUAL.format(
        body=f"%c = sdy.sharding_constraint %x <@mesh, [{{\"data\"}}, {{}}]> : {_PART}\n" + _reduced("%c"), part=_PART
    )
    original, program = read.parse(text), read.parse(text)
    report = partition(program)
    lines = "\n".join(report.lines())
    assert "not padded: dimension of 12 for 8 shards" in lines
    assert "sdy.reshard (3x8): dimension 0 of 3 does not divide by 'data'" in lines
    found = verify(original, program, report.side_table, inputs="exact", level=BIT_EQUAL)
    assert found.ok, found.lines()


# -- errors ------------------------------------------------------------------------------------------------------------

_PART = "tensor<3x8xf32>"
_MANUAL = """
sdy.mesh @mesh = <["data"=2, "model"=4]>
func.func @main(%a: tensor<12x8xf32>) -> tensor<12x8xf32> {{
  %0 = sdy.manual_computation(%a) in_shardings=[<@mesh, [{{"model", ?}}, {{?}}]>]
      out_shardings=[<@mesh, [{{"model", ?}}, {{?}}]>] manual_axes={{"model"}} (%x: {part}) {{
    {body}
    sdy.return %r : {part}
  }} : (tensor<12x8xf32>) -> tensor<12x8xf32>
  return %0 : tensor<12x8xf32>
}}
"""
_ALONG_MODEL = "[[0, 1, 2, 3], [4, 5, 6, 7]]> : tensor<2x4xi64>"
_CHANNEL = "channel_handle = #stablehlo.channel_handle<handle = 1, type = 1>"


def _reduced(operand: str, groups: str = _ALONG_MODEL, settings: str = f"{_CHANNEL}, use_global_device_ids") -> str:
    return (
        f'%r = "stablehlo.all_reduce"({operand}) <{{{settings}, replica_groups = dense<{groups}}}> ({{\n'
        "^bb0(%l: tensor<f32>, %m: tensor<f32>):\n  %s = stablehlo.add %l, %m : tensor<f32>\n"
        f"  stablehlo.return %s : tensor<f32>\n}}) : ({_PART}) -> {_PART}"
    )


_NUMBERED = f"""%p = stablehlo.partition_id : tensor<ui32>
    %f = stablehlo.convert %p : (tensor<ui32>) -> tensor<f32>
    %r = stablehlo.broadcast_in_dim %f, dims = [] : (tensor<f32>) -> {_PART}"""
REFUSED = {
    "along a free axis": (
        _MANUAL.format(body=_reduced("%x", "[[0, 4], [1, 5], [2, 6], [3, 7]]> : tensor<4x2xi64>"), part=_PART),
        "cannot partition 'stablehlo.all_reduce': its groups differ along 'data', which is not manual around it",
    ),
    "replicas": (
        _MANUAL.format(body=_reduced("%x", settings="channel_handle = #stablehlo.channel_handle<handle = 0, type = 0>"),
                       part=_PART),
        "its groups name replicas, of which there is one, not the devices of the mesh; give it a channel_handle and "
        "use_global_device_ids",
    ),
    "devices that are not there": (
        _MANUAL.format(body=_reduced("%x", "[[0, 1, 2, 3, 4, 5, 6, 7, 8]]> : tensor<1x9xi64>"), part=_PART),
        "its groups name device 8, which the mesh does not have",
    ),
    "outside": (
        f'sdy.mesh @mesh = <["data"=2, "model"=4]>\nfunc.func @main(%x: {_PART}) -> {_PART} {{\n{_reduced("%x")}\n'
        f"return %r : {_PART}\n}}",
        "it moves data between devices and does not stand in a manual computation",
    ),
    "this device's number": (
        _MANUAL.format(body=_NUMBERED, part=_PART),
        "cannot partition 'stablehlo.partition_id': it tells devices apart along 'data', which is not manual around it",
    ),
    "this device's number outside": (
        f'sdy.mesh @mesh = <["data"=2, "model"=4]>\nfunc.func @main(%x: {_PART}) -> {_PART} {{\n{_NUMBERED}\n'
        f"return %r : {_PART}\n}}",
        "it tells devices apart and does not stand in a manual computation",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_means_nothing_is_refused_at_its_place(name: str) -> None:
    text, message = REFUSED[name]
    with pytest.raises(UserError) as caught:
        partition(read.parse(text, "x.mlir"))
    assert message in caught.value.message
    assert caught.value.where is not None
    line = text.splitlines()[caught.value.where.line - 1]
    assert "stablehlo.all_reduce" in line or "stablehlo.partition_id" in line
