"""What the table of ops refuses, rule by rule, and that decompositions compute what the numpy references say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from passes.execute.executor import Executor
from passes.moe import reference
from passes.moe.decompose import Place
from passes.moe.ops import OPS, Call, problem
from passes.program.read import parse
from passes.sharding.mesh import Mesh
from tests.moe.calls import GOOD, function, good, types

Array = np.ndarray[Any, Any]
RUN = Executor("interpreter")


@pytest.mark.parametrize("name", OPS)
def test_good_uses_break_no_rule(name: str) -> None:
    assert problem(good(name)) == ""


def other(name: str, value: str, text: str) -> Call:
    """The good use of op ``name`` with another type of one operand or result."""
    call = good(name)
    names = [*call.op.operands, *call.op.results]
    every = [*call.operands, *call.results]
    every[names.index(value)] = types(text)[0]
    count = len(call.operands)
    return replace(call, operands=tuple(every[:count]), results=tuple(every[count:]))


def both_sparse(a: str) -> Call:
    return Call(OPS["sparse_matmul"], {"is_input_a_sparse": True, "is_input_b_sparse": True, "nnz": 0},
                types(a, "1x6x5x7xf32", "1x1x1x6xf32"), types("1x6x4x7xf32"))


BAD: dict[str, tuple[Call, str]] = {
    "operands": (replace(good("sparse_matmul"), operands=types("2x3x4x5xf32")),
                 "sparse_matmul has 3 operands (a, b, mask), not 1"),
    "results": (replace(good("all_to_all_dispatch"), results=types("1x6x4x5xf32")),
                "all_to_all_dispatch has 2 results (dispatched, metadata), not 1"),
    "no flag": (good("sparse_matmul", is_input_b_sparse=False),
                "is_input_a_sparse and is_input_b_sparse are both false; without a mask it is a plain matmul"),
    "nnz": (good("sparse_matmul", nnz=-1), "nnz is -1 and must be 0 or more"),
    "rank": (other("sparse_matmul", "a", "2x3x5xf32"), "a has 3 dimensions and must have 4"),
    "b": (other("sparse_matmul", "b", "2x6x5x7xf32"), "b has shape [2, 6, 5, 7] and must be [1, experts, K, N]"),
    "contracted": (other("sparse_matmul", "b", "1x6x4x7xf32"),
                   "a has 5 columns and the experts of b 4 rows; they must be equal"),
    "experts of a": (both_sparse("1x5x4x5xf32"),
                     "a is about 5 experts (dimension 1) and b about 6; they must be equal"),
    "both": (both_sparse("2x6x4x5xf32"),
             "with both inputs sparse a must be [1, experts, M, K] and has shape [2, 6, 4, 5]"),
    "mask": (other("sparse_matmul", "mask", "1x1x6x6xf32"),
             "mask has shape [1, 1, 6, 6] and must have [2, 3, 1, 6], a truth value for each block of a and expert"),
    "product": (other("sparse_matmul", "result", "2x3x6x4x7xf32"), "result has shape [2, 3, 6, 4, 7] and must have "
                "[2, 3, 1, 6, 4, 7], the product of each block and expert"),
    "elements": (other("sparse_matmul", "b", "1x6x5x7xbf16"), "b holds bf16 and must hold f32, as a does"),
    "num_devices": (good("all_to_all_dispatch", num_devices=0), "num_devices is 0 and must be 1 or more"),
    "cluster_axis": (good("all_to_all_dispatch", cluster_axis=2), "cluster_axis is 2 and must be 0 or 1"),
    "mapping": (other("all_to_all_dispatch", "mapping", "6x2xi32"),
                "mapping has shape [6, 2] and must be [1, 1, experts, devices]"),
    "ring": (other("all_to_all_dispatch", "mapping", "1x1x6x3xi32"),
             "num_devices is 2 and must divide the 3 devices of mapping: rings are parts of the mesh"),
    "row": (other("all_to_all_dispatch", "x", "3x4x2x5xf32"),
            "x has shape [3, 4, 2, 5] and must be [B, S, 1, H] or [B, 1, S, H]"),
    "indices": (other("all_to_all_dispatch", "indices", "3x1x4x2xi32"),
                "indices has shape [3, 1, 4, 2] and must have [3, 4, 1, 2], the shape of x but for the last dimension"),
    "integers": (other("all_to_all_dispatch", "indices", "3x4x1x2xf32"),
                 "indices holds f32; the numbers of experts are integers"),
    "selected": (other("all_to_all_dispatch", "indices", "3x4x1x7xi32"),
                 "every token selects 7 experts and mapping has only 6"),
    "dispatched": (other("all_to_all_dispatch", "dispatched", "1x3x4x5xf32"),
                   "dispatched has shape [1, 3, 4, 5] and must have [1, 6, 4, 5], the tokens of 2 devices"),
    "metadata": (other("all_to_all_dispatch", "metadata", "1x6x4x1xi32"),
                 "metadata has shape [1, 6, 4, 1] and must have [1, 6, 4, 2], the tokens of 2 devices"),
    "reduction_size": (good("moe_expert_token_remap", reduction_size=0), "reduction_size is 0 and must be 1 or more"),
    "scored": (other("moe_expert_token_remap", "mapping", "1x1x4x2xi32"),
               "scores has 6 experts and mapping 4; they must be equal"),
    "tokens scored": (other("moe_expert_token_remap", "metadata", "1x5x2x2xi32"),
                      "metadata has shape [1, 5, 2, 2] and must have [1, 6, 2, 2], the tokens of scores"),
    "share": (other("moe_expert_token_remap", "mapping_out", "1x6x2x4xf32"),
              "mapping_out is about 4 experts, which is no even share of the 6 of mapping"),
    "remapped": (other("moe_expert_token_remap", "mapping_out", "1x5x2x6xf32"),
                 "mapping_out has shape [1, 5, 2, 6] and must have [1, 6, 2, 6], the tokens of scores"),
    "reduced": (other("moe_expert_token_remap", "reduced", "1x1x2x6xf32"),
                "reduced has shape [1, 1, 2, 6] and must have [1, 1, 3, 6], one row for each 5 of 12 tokens"),
    "output_shard_dim": (good("all_to_all_combine", output_shard_dim=0), "output_shard_dim is 0 and must be 1 or 2"),
    "experts of y": (other("all_to_all_combine", "y", "4x8x4x5xf32"),
                     "y is about 4 experts, which is no even share of the 6 of mapping"),
    "tokens of y": (other("all_to_all_combine", "y", "6x8x2x5xf32"),
                    "y has 16 tokens (dimensions 1 and 2) and metadata 32; they must be equal"),
    "slots": (good("all_to_all_combine", num_experts_per_tok=2),
              "num_experts_per_tok is 2 and metadata names 3 experts for each token"),
    "second": (good("all_to_all_combine", output_shard_dim=2),
               "output_shard_dim is 2, so y must be [experts, 1, tokens, H] and has shape [6, 8, 4, 5]"),
    "divides": (other("all_to_all_combine", "y", "6x1x32x5xf32"),
                "the 1 tokens in dimension 1 of y must divide by num_devices = 2"),
    "combined": (other("all_to_all_combine", "combined", "3x8x4x5xf32"),
                 "combined has shape [3, 8, 4, 5] and must have [3, 4, 4, 5], a "
                 "slot for each selected expert, and a device's part of dimension 1"),
}


@pytest.mark.parametrize("case", BAD)
def test_each_rule_has_a_sentence(case: str) -> None:
    call, sentence = BAD[case]
    assert problem(call) == sentence


def test_every_op_is_tried() -> None:
    assert {call.op.name for call, _ in BAD.values()} == set(OPS) == set(GOOD)


# -- what they compute -------------------------------------------------------------------------------------------------


def whole(*shape: int, seed: int = 0) -> Array:
    """Whole numbers, whose products and sums are exact."""
    return np.random.default_rng(seed).integers(-8, 8, shape).astype(np.float32)


MODES = {
    "b": (False, True, (2, 3, 4, 5), (2, 3, 1, 6), (2, 3, 1, 6, 4, 7)),
    "a": (True, False, (3, 6, 4, 5), (1, 1, 3, 6), (3, 6, 4, 7)),
    "both": (True, True, (1, 6, 4, 5), (1, 1, 1, 6), (1, 6, 4, 7)),
}


@pytest.mark.parametrize("mode", MODES)
def test_sparse_matmul(mode: str) -> None:
    """The mask holds counts; what it leaves out may be NaN in both inputs, and its weights infinite."""
    a_sparse, b_sparse, a_shape, mask_shape, shape = MODES[mode]
    a, b, mask = whole(*a_shape), whole(1, 6, 5, 7, seed=1), np.abs(whole(*mask_shape, seed=2)) % 3
    mask.reshape(-1, 6)[:, 2] = 0
    b[0, 2] = np.inf
    if mode != "b":
        a[mask.reshape(a_shape[0], 6) == 0] = np.nan
    call = Call(OPS["sparse_matmul"], {"is_input_a_sparse": a_sparse, "is_input_b_sparse": b_sparse, "nnz": 0},
                types(*(f"{'x'.join(map(str, v.shape))}xf32" for v in (a, b, mask))),
                types(f"{'x'.join(map(str, shape))}xf32"))
    assert not problem(call)
    with np.errstate(invalid="ignore"):
        want = reference.sparse_matmul(a, b, mask, is_input_a_sparse=a_sparse, is_input_b_sparse=b_sparse)
    assert np.isfinite(want).all() and want.any()
    (found,) = RUN.run_global(parse(function(call), "m"), [a, b, mask])
    assert np.array_equal(found, want)


CLUSTERS = {
    "1x2": reference.Cluster(Mesh((("rows", 1), ("columns", 2))), "columns", ("rows", "columns")),
    "2x4 rows": reference.Cluster(Mesh((("rows", 2), ("columns", 4))), "rows", ("rows", "columns")),
    "2x4 columns": reference.Cluster(Mesh((("rows", 2), ("columns", 4))), "columns", ("rows", "columns")),
    "4x2": reference.Cluster(Mesh((("rows", 4), ("columns", 2))), "rows", ("rows", "columns")),
    "ring only": reference.Cluster(Mesh((("rows", 2), ("columns", 4))), "columns", ("columns",)),
}
E, K, H, B, S = 16, 3, 4, 2, 3


def spread(cluster: reference.Cluster, seed: int) -> tuple[list[Array], list[Array]]:
    """Tokens and selected experts of each device: alike at one ring position unless rings are on their own."""
    rng = np.random.default_rng(seed)
    groups = cluster.teams()
    x: dict[int, Array] = {}
    chosen: dict[int, Array] = {}
    for team in groups:
        tokens = rng.integers(-8, 8, (B, S, H)).astype(np.float32)
        indices = np.stack([rng.permutation(E)[:K] for _ in range(B * S)]).reshape(B, S, K).astype(np.int32)
        # Padding: no device owns numbers E and -1.
        indices[-1, -1], indices[0, 0] = E, -1
        for d in team:
            x[d], chosen[d] = tokens, indices
    order = range(cluster.mesh.device_count)
    return [x[d] for d in order], [chosen[d] for d in order]


def run(cluster: reference.Cluster, call: Call, inputs: list[list[Array]], poisoned: bool = False) -> list[list[Array]]:
    assert not problem(call), problem(call)
    place = Place(cluster.mesh, cluster.ring, cluster.experts)
    program = parse(function(call, place, poisoned=poisoned), "m")
    return Executor(isolated=False).run_per_device(program, inputs, cluster.mesh.device_count)


def type_of(array: Array) -> str:
    return "x".join(map(str, array.shape)) + ("xf32" if array.dtype == np.float32 else "xi32")


@pytest.mark.parametrize("name", CLUSTERS)
def test_on_every_device(name: str) -> None:
    """Dispatch, remap and combine on a mesh compute what the reference says for each device."""
    cluster = CLUSTERS[name]
    devices = cluster.mesh.device_count
    ring = {"num_devices": len(cluster.rings()[0]), "cluster_axis": int(cluster.ring == "columns")}
    x, chosen = spread(cluster, 0)
    mapping = [cluster.owner_table(E)[None, None]] * devices
    want, metadata = reference.dispatch(cluster, x, chosen, E, np.nan)
    inputs = [[v[:, :, None] for v in x], [v[:, :, None] for v in chosen], mapping]
    call = Call(OPS["all_to_all_dispatch"], ring, types(*(type_of(v[0]) for v in inputs)),
                types(type_of(want[0]), type_of(metadata[0])))
    found = run(cluster, call, inputs, poisoned=True)
    assert np.isnan(want).any()
    for d in range(devices):
        assert np.array_equal(found[0][d], want[d], equal_nan=True)
        assert np.array_equal(found[1][d], metadata[d])

    scores = [whole(*metadata[0].shape[:3], E, seed=3)] * devices
    share = len(cluster.local_experts(E, 0))
    remapped = [reference.remap(scores[d], metadata[d], cluster.local_experts(E, d), 4) for d in range(devices)]
    call = Call(OPS["moe_expert_token_remap"], {"reduction_size": 4},
                types(type_of(scores[0]), type_of(mapping[0]), type_of(metadata[0])),
                types(type_of(remapped[0][0]), f"1x1x{remapped[0][1].shape[2]}x{share}xi32"))
    found = run(cluster, call, [scores, mapping, metadata])
    for d in range(devices):
        assert np.array_equal(found[0][d], remapped[d][0])
        assert np.array_equal(found[1][d], remapped[d][1])

    y = [whole(share, *metadata[0].shape[1:3], H, seed=10 + d) for d in range(devices)]
    for d in range(devices):
        # What no token of the ring selected was never computed.
        wanted = (metadata[d][0][..., None] == cluster.local_experts(E, d)).any(2)
        y[d][~np.moveaxis(wanted, -1, 0)] = np.nan
    if cluster.experts != ("rows", "columns"):
        y = [y[next(r for r in cluster.teams() if d in r)[0]] for d in range(devices)]
    want = reference.combine(cluster, y, metadata, E)
    call = Call(OPS["all_to_all_combine"], {**ring, "num_experts_per_tok": K, "output_shard_dim": 1},
                types(type_of(y[0]), type_of(metadata[0]), type_of(mapping[0])), types(type_of(want[0])))
    (combined,) = run(cluster, call, [y, metadata, mapping])
    for d in range(devices):
        assert np.isfinite(want[d]).all()
        assert np.array_equal(combined[d], want[d])

    # The same tokens in one row: each device gets its part of that.
    rows = [v.reshape(share, 1, -1, H) for v in y]
    parts = [v.reshape(K, 1, -1, H) for v in want]
    call = Call(OPS["all_to_all_combine"], {**ring, "num_experts_per_tok": K, "output_shard_dim": 2},
                types(type_of(rows[0]), type_of(metadata[0]), type_of(mapping[0])), types(type_of(parts[0])))
    assert not problem(call)
    (combined,) = run(cluster, call, [rows, metadata, mapping])
    for d in range(devices):
        assert np.array_equal(combined[d], parts[d])


@pytest.mark.parametrize("name", CLUSTERS)
def test_the_references_make_a_dense_layer(name: str) -> None:
    """A chain of the four on a mesh, undefined slots NaN, is every token through its experts, in numpy alone."""
    cluster = CLUSTERS[name]
    devices = range(cluster.mesh.device_count)
    w1, w2 = whole(1, E, H, 5, seed=4), whole(1, E, 5, H, seed=5)
    x, chosen = spread(cluster, 6)
    tokens, metadata = reference.dispatch(cluster, x, chosen, E, np.nan)
    y = []
    for d in devices:
        local = cluster.local_experts(E, d)
        mask, _ = reference.remap(np.ones((*metadata[d].shape[:3], E), np.float32), metadata[d], local, 4)
        mask = mask[0][:, :, None]
        hidden = reference.sparse_matmul(tokens[d][0][:, :, None], w1[:, local], mask, is_input_a_sparse=False,
                                         is_input_b_sparse=True, undefined=np.nan)
        rows = mask.shape[0] * mask.shape[1]
        flat = hidden.reshape(rows, len(local), 1, 5)
        down = reference.sparse_matmul(np.maximum(flat, 0), w2[:, local], mask.reshape(1, 1, rows, -1),
                                       is_input_a_sparse=True, is_input_b_sparse=False, undefined=np.nan)
        y.append(np.moveaxis(down.reshape(*mask.shape[:2], len(local), H), 2, 0))
    out = reference.combine(cluster, y, metadata, E)
    for d in devices:
        for b, s, k in np.ndindex(B, S, K):
            e = chosen[d][b, s, k]
            dense = np.maximum(x[d][b, s] @ w1[0, e], 0) @ w2[0, e] if 0 <= e < E else np.zeros(H)
            assert np.array_equal(out[d][k, b, s], dense)


def test_whole_tensors_are_repeated_for_each_device() -> None:
    """Without a mesh a dispatch repeats the tokens, and a combine takes the first copy."""
    call = good("all_to_all_dispatch")
    x, chosen, mapping = whole(3, 4, 1, 5), (np.abs(whole(3, 4, 1, 2)) % 6).astype(np.int32), np.ones((1, 1, 6, 2))
    found = RUN.run_global(parse(function(call), "m"), [x, chosen, mapping.astype(np.int32)])
    for got, given in zip(found, (x, chosen), strict=True):
        assert np.array_equal(got, np.concatenate([given, given]).reshape(got.shape))
    call = good("all_to_all_combine")
    y, metadata = whole(6, 8, 4, 5, seed=3), (np.abs(whole(1, 8, 4, 3, seed=4)) % 7).astype(np.int32)
    (got,) = RUN.run_global(parse(function(call), "m"), [y, metadata, mapping.astype(np.int32)])
    for k, b, s in np.ndindex(3, 4, 4):
        e = metadata[0, b, s, k]
        assert np.array_equal(got[k, b, s], y[e, b, s] if e < 6 else np.zeros(5))
