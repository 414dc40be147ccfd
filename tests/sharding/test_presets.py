"""The plans that come along: on the decoder's train step, by XLA's partitioner and by ours, with their bytes."""

from __future__ import annotations

import json
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import pytest

from passes.cost import device
from passes.cost.program_cost import cost
from passes.errors import UserError
from passes.execute.verify import verify
from passes.partition.partition import partition
from passes.partition.report import Report
from passes.program.entry import arguments, find_entry
from passes.program.read import Program, parse, read
from passes.program.types import byte_size
from passes.sharding.annotate import annotate
from passes.sharding.mesh import Mesh
from passes.sharding.propagate import PropagateOptions, propagate
from passes.sharding.rules_file import load, presets
from passes.sharding.summary import summarize

LANGUAGE_MODEL = str(Path(__file__).parents[2] / "benchmarks" / "autoshard_models" / "small" / "llama2.mlir")
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


def test_fully_sharded_parameters_are_gathered_and_activations_stay() -> None:
    # Each parameter is gathered for the forward and for the backward pass, and its gradient scattered: 3 (n - 1) / n.
    program = read(LANGUAGE_MODEL)
    parameters = sum(byte_size(a.type) for a in arguments(find_entry(program)) if a.name.startswith("params"))
    annotate(program, load("preset:fsdp"))
    found = cost(program, device.load("tpu_v5e"))
    assert found.estimate.sent <= 3 * 7 / 8 * parameters
    assert found.redundancy is not None and found.redundancy < 1.01


@pytest.mark.parametrize("name", ["fsdp", "megatron_fsdp"])
def test_what_is_stored_in_shards_over_data_leaves_the_axis_to_the_batch(name: str) -> None:
    program = read(LANGUAGE_MODEL)
    annotate(program, load(f"preset:{name}"))
    kinds = {traffic.kind for traffic in partition(program).traffic}
    assert kinds == {"all_gather", "reduce_scatter", "all_reduce"}


def test_the_mesh_can_be_another() -> None:
    program = read(TRAIN_STEP)
    annotate(program, load("preset:megatron", Mesh((("data", 1), ("model", 2)))))
    assert partition(program).side_table.mesh.axes == (("data", 1), ("model", 2))


# Names as front ends write them, the shape, and how megatron lays it out.
NAMES = [
    # JAX pytrees: our examples, Flax with and without scanned layers, NNX, Haiku.
    ("params['attention']['wq']", "8x8", "P(None, 'model')"),
    ("params['q']", "4x8x8x8", "P(None, 'model', None, None)"),
    ("params['attention']['qkv']['w']", "3x8x8x8", "P(None, 'model', None, None)"),
    ("params['mlp']['in']['b']", "8", "P('model')"),
    ("params['mlp']['out']['w']", "8x8", "P('model', None)"),
    ("params['block_0']['attn']['query']['kernel']", "8x8x8", "P(None, 'model', None)"),
    ("params['block_0']['attn']['query']['bias']", "8x8", "P('model', None)"),
    ("params['block_0']['attn']['out']['kernel']", "8x8x8", "P('model', None, None)"),
    ("params['block_0']['Dense_0']['kernel']", "8x8", "P(None, 'model')"),
    ("params['block_0']['Dense_1']['kernel']", "8x8", "P('model', None)"),
    ("params['layers']['attn']['value']['kernel']", "4x8x8x8", "P(None, None, 'model', None)"),
    ("params['layers']['mlp']['up_proj']['kernel']", "4x8x8", "P(None, None, 'model')"),
    ("state['blocks'][0]['mlp']['up_proj']['kernel'].value", "8x8", "P(None, 'model')"),
    ("params['transformer/h0_attn/query']['w']", "8x8", "P(None, 'model')"),
    ("params['model']['layers']['0']['mlp']['down_proj']['kernel']", "8x8", "P('model', None)"),
    # Keras and keras-hub.
    ("transformer_layer_0/self_attention/key/kernel", "8x8x8", "P(None, 'model', None)"),
    ("transformer_layer_0/self_attention/attention_output/kernel", "8x8x8", "P('model', None, None)"),
    ("transformer_layer_0/feedforward_intermediate_dense/kernel", "8x8", "P(None, 'model')"),
    ("transformer_layer_0/feedforward_gate_dense/kernel", "8x8", "P(None, 'model')"),
    ("transformer_layer_0/feedforward_output_dense/kernel", "8x8", "P('model', None)"),
    ("token_embedding/embeddings", "8x8", "P(None, None)"),
    # torch, whose weights are transposed: Llama, GPT-2, BERT, and names of torch.export.
    ("model.layers.0.self_attn.q_proj.weight", "8x8", "P('model', None)"),
    ("model.layers.0.self_attn.o_proj.weight", "8x8", "P(None, 'model')"),
    ("model.layers.0.mlp.gate_proj.weight", "8x8", "P('model', None)"),
    ("model.layers.0.block_sparse_moe.gate.weight", "8x8", "P(None, None)"),
    ("model.norm.weight", "8", "P(None)"),
    ("transformer.h.0.attn.c_attn.weight", "8x8", "P('model', None)"),
    ("transformer.h.0.attn.c_attn.bias", "8", "P('model')"),
    ("transformer.h.0.attn.c_proj.weight", "8x8", "P(None, 'model')"),
    ("transformer.h.0.mlp.c_fc.weight", "8x8", "P('model', None)"),
    ("transformer.wte.weight", "8x8", "P(None, None)"),
    ("transformer.wpe.weight", "8x8", "P(None, None)"),
    ("blocks.0.mlp.up.weight", "8x8", "P('model', None)"),
    ("blocks.0.mlp.down.weight", "8x8", "P(None, 'model')"),
    ("bert.encoder.layer.0.attention.self.query.weight", "8x8", "P('model', None)"),
    ("bert.encoder.layer.0.intermediate.dense.weight", "8x8", "P('model', None)"),
    ("bert.encoder.layer.0.attention.output.dense.weight", "8x8", "P(None, 'model')"),
    ("p_model_layers_0_self_attn_q_proj_weight", "8x8", "P('model', None)"),
    # Inputs.
    ("idx", "8x8", "P('data', None)"),
    ("batch['input_ids']", "8x8", "P('data', None)"),
]


def named_program(names: list[tuple[str, str]]) -> Program:
    arguments = ", ".join(f"%a{i}: tensor<{shape}xf32> loc({json.dumps(n)})" for i, (n, shape) in enumerate(names))
    return parse(f"func.func @main({arguments}) {{ return }}")


def test_the_names_of_front_ends() -> None:
    program = named_program([(name, shape) for name, shape, _ in NAMES])
    report = annotate(program, load("preset:megatron"))
    found = {a.name: a.sharding.spec() for a in report.arguments}
    assert found == {name: spec for name, _, spec in NAMES}
    assert not report.warnings


@pytest.mark.parametrize("name", ["megatron", "megatron_fsdp", "sequence_parallel"])
def test_tensor_parallel_plans_shard_the_same_weights(name: str) -> None:
    report = annotate(named_program([(n, shape) for n, shape, _ in NAMES[:-2]]), load(f"preset:{name}"))
    split = {a.name for a in report.arguments if "model" in a.sharding.spec()}
    assert split == {n for n, _, spec in NAMES if "model" in spec}


@pytest.mark.parametrize(("example", "name"), [
    ("gpt", "megatron"), ("gpt", "megatron_fsdp"), ("gpt", "fsdp"), ("scan_layers", "megatron"),
    ("scan_layers", "fsdp"), ("moe", "expert_parallel"),
])
def test_other_examples_by_their_names(example: str, name: str) -> None:
    original, device = (read(str(Path(TRAIN_STEP).parents[1] / example / "train_step.mlir")) for _ in range(2))
    report = annotate(device, load(f"preset:{name}"))
    assert not report.warnings
    weights = [a for a in report.arguments if a.name.startswith("params") and len(a.sharding.dims) >= 2]
    split = [a for a in weights if any(a.sharding.dims)]
    assert len(split) >= len(weights) - 1
    found = verify(original, device, partition(device).side_table)
    assert found.ok, found.lines()


def test_a_plan_that_shards_no_weight_says_so(shlo: Callable[..., Any]) -> None:
    result = shlo("shard", TRAIN_STEP, "--rules", "preset:expert_parallel", "-o", "/dev/null")
    assert result.code == 0
    (line,) = result.err.splitlines()
    text = presets()["expert_parallel"].splitlines()
    lines = [n for n, line in enumerate(text, start=1) if "expert" in line and line.startswith("regex")]
    assert line == (
        "preset:expert_parallel: warning: nothing in this program goes by the names of weights of experts "
        f"(lines {', '.join(map(str, lines))}); `shlo show --names` lists the names it has"
    )
    assert shlo("shard", TRAIN_STEP, "--rules", "preset:megatron", "-o", "/dev/null").err == ""


def test_a_program_without_names_is_told_what_to_do() -> None:
    program = parse("func.func @main(%a: tensor<4xf32>) { return }")
    with pytest.raises(UserError, match="none of the entries applies") as refused:
        annotate(program, load("preset:megatron"))
    assert "its arguments carry none, only positions: export it with them" in refused.value.message
    named = parse('func.func @main(%a: tensor<4xf32> loc("w")) { return }')
    with pytest.raises(UserError) as refused:
        annotate(named, load("preset:megatron"))
    assert "positions" not in refused.value.message


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
