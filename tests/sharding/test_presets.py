"""The plans that come along: on the decoder's train step, by XLA's partitioner and by ours, with their bytes."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import pytest

from passes.errors import UserError
from passes.execute.verify import verify
from passes.partition.partition import Report, partition
from passes.program.entry import arguments, find_entry
from passes.program.read import Program, parse, read
from passes.program.types import byte_size
from passes.sharding.annotate import annotate
from passes.sharding.mesh import Mesh
from passes.sharding.propagate import PropagateOptions, propagate
from passes.sharding.rules_file import load, presets
from passes.sharding.summary import summarize

TRAIN_STEP = str(Path(__file__).parents[2] / "examples" / "decoder" / "train_step.mlir")

# Weights (4 bytes each): q and o 64 x 128, k and v 64 x 64, gate, up and down 64 x 192, two norms of 64; a velocity for
# each; x and target of 8 x 32 x 64.
MATRICES, NORMS, BATCH = 4 * (2 * 64 * 128 + 2 * 64 * 64 + 3 * 64 * 192), 4 * 2 * 64, 4 * 2 * 8 * 32 * 64
# Per plan: bytes of arguments per device, and which collectives over which axes carry it.
EXPECTED: dict[str, tuple[int, set[tuple[str, str]]]] = {
    "data_parallel": (2 * (MATRICES + NORMS) + BATCH // 8, {("all_reduce", "data")}),
    "expert_parallel": (2 * (MATRICES + NORMS) + BATCH // 8, {("all_reduce", "data,expert")}),
    "fsdp": (
        2 * (MATRICES + NORMS) // 8 + BATCH // 8,
        {("all_gather", "data"), ("reduce_scatter", "data"), ("all_reduce", "data")},
    ),
    "megatron": (2 * (MATRICES // 4 + NORMS) + BATCH // 2, {("all_reduce", "data"), ("all_reduce", "model")}),
    "megatron_fsdp": (
        2 * (MATRICES // 8 + NORMS) + BATCH // 2,
        {("all_gather", "data"), ("reduce_scatter", "data"), ("all_reduce", "data"), ("all_reduce", "model")},
    ),
    "sequence_parallel": (
        2 * (MATRICES // 4 + NORMS) + BATCH // 8,
        {("all_gather", "model"), ("reduce_scatter", "model"), ("all_reduce", "data"), ("all_reduce", "data,model")},
    ),
    "zero1": (
        (MATRICES + NORMS) * 9 // 8 + BATCH // 8,
        {("all_gather", "data"), ("reduce_scatter", "data"), ("all_reduce", "data")},
    ),
}


def local_bytes(program: Program) -> int:
    """The bytes of the arguments of a per-device program."""
    return sum(byte_size(a.type) for a in arguments(find_entry(program)))


def table_bytes(report: Report) -> int:
    """The bytes of one device's arguments by the side table; the model is in f32."""
    return sum(4 * prod(e.sharding.local_shape(e.global_shape)) for e in report.side_table.arguments)


def test_every_preset_is_expected() -> None:
    assert list(presets()) == sorted(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_on_the_decoders_train_step(name: str) -> None:
    size, collectives = EXPECTED[name]
    original, sharded, device = (read(TRAIN_STEP) for _ in range(3))
    annotate(sharded, load(f"preset:{name}"))
    propagate(sharded, PropagateOptions(reshards=False))
    found = verify(original, sharded, xla_partition=True)
    assert found.ok, found.lines()
    annotate(device, load(f"preset:{name}"))
    report = partition(device)
    found = verify(original, device, report.side_table)
    assert found.ok, found.lines()
    assert not report.replicated
    assert {(t.kind, ",".join(t.axes)) for t in report.traffic} == collectives
    summed = sum(row.local_bytes for row in summarize(sharded).arguments)
    assert (local_bytes(device), table_bytes(report), summed) == (size, size, size)


def test_the_mesh_can_be_another() -> None:
    program = read(TRAIN_STEP)
    annotate(program, load("preset:megatron", Mesh((("data", 1), ("model", 2)))))
    assert partition(program).side_table.mesh.axes == (("data", 1), ("model", 2))


def test_torch_names_and_their_transposed_weights() -> None:
    program = parse("""
func.func @main(%a: tensor<8x4xf32> loc("model.layers.0.self_attn.q_proj.weight"),
                %b: tensor<4x8xf32> loc("model.layers.0.self_attn.o_proj.weight"),
                %c: tensor<4xf32> loc("model.norm.weight")) { return }""")
    report = annotate(program, load("preset:megatron"))
    assert [a.sharding.spec() for a in report.arguments] == ["P('model', None)", "P(None, 'model')", "P(None)"]


def test_a_program_with_other_names_is_refused() -> None:
    with pytest.raises(UserError, match="none of the entries applies"):
        annotate(parse("func.func @main(%a: tensor<4xf32>) { return }"), load("preset:megatron"))


def test_on_the_command_line(shlo: Callable[..., Any]) -> None:
    result = shlo("partition", TRAIN_STEP, "--rules", "preset:fsdp", "--mesh", "data=4", "-o", "-")
    assert result.code == 0
    assert "mesh data=4: 4 devices" in result.err
    for words, message in (
        (("--rules", "preset:mega"), "there is no preset 'mega'; there are data_parallel, expert_parallel, fsdp,"),
        (("--mesh", "data=4"), "--mesh goes with --rules"),
        (("--rules", "preset:fsdp", "--mesh", "data"), "--mesh takes axes with sizes, as in data=2,model=4, not"),
        (("--rules", "preset:fsdp", "--mesh", "data=2,data=4"), "--mesh names axis 'data' twice"),
        (("--rules", "preset:fsdp", "--mesh", "data=0"), "--mesh: the size of mesh axis 'data' must be 1 or more"),
        (("--rules", "preset:fsdp", "--mesh", "x=8"), "preset:fsdp:"),
    ):
        result = shlo("shard", TRAIN_STEP, *words)
        assert result.code == 1
        assert message in result.err
