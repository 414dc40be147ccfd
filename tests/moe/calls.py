"""Modules with one custom call or composite of the table, for tests."""

from __future__ import annotations

from passes.moe.decompose import Place, decomposition
from passes.moe.ops import OPS, Call, Type

I32 = "i32"


def types(*texts: str) -> tuple[Type, ...]:
    """``4x1x1x8xf32`` as types."""
    return tuple(Type(tuple(map(int, t.split("x")[:-1])), t.split("x")[-1]) for t in texts)


# A good use of each op: attributes, operands, results.
GOOD: dict[str, tuple[dict[str, int | bool], tuple[Type, ...], tuple[Type, ...]]] = {
    "sparse_matmul": (
        {"is_input_a_sparse": False, "is_input_b_sparse": True, "nnz": 0},
        types("2x3x4x5xf32", "1x6x5x7xf32", "2x3x1x6xf32"), types("2x3x1x6x4x7xf32"),
    ),
    "all_to_all_dispatch": (
        {"num_devices": 2, "cluster_axis": 0}, types("3x4x1x5xf32", "3x4x1x2xi32", "1x1x6x2xi32"),
        types("1x6x4x5xf32", "1x6x4x2xi32"),
    ),
    "moe_expert_token_remap": (
        {"reduction_size": 5}, types("1x6x2x6xf32", "1x1x6x2xi32", "1x6x2x2xi32"), types("1x6x2x6xf32", "1x1x3x6xf32"),
    ),
    "all_to_all_combine": (
        {"num_devices": 2, "cluster_axis": 0, "num_experts_per_tok": 3, "output_shard_dim": 1},
        types("6x8x4x5xf32", "1x8x4x3xi32", "1x1x6x2xi32"), types("3x4x4x5xf32"),
    ),
}


def good(name: str, **changes: int | bool) -> Call:
    """The good use of op ``name`` with some attributes changed."""
    attributes, operands, results = GOOD[name]
    return Call(OPS[name], attributes | changes, operands, results)


def custom_call(call: Call, tuple: bool = False, more: str = "") -> str:
    """A module in which the front end's spelling of ``call`` is all there is; results are returned."""
    texts = ", ".join(f'{name} = "{value}"' for name, value in call.attributes.items())
    arguments = ", ".join(f"%a{i}: {t}" for i, t in enumerate(call.operands))
    operands = ", ".join(f"%a{i}" for i in range(len(call.operands)))
    ins, outs = (", ".join(map(str, side)) for side in (call.operands, call.results))
    plain = outs if len(call.results) == 1 else f"({outs})"
    count = len(call.results)
    head = f"%0{f':{count}' if count > 1 and not tuple else ''} = stablehlo.custom_call @tt.{call.op.name}({operands})"
    lines = [f"{head} {{{more}mhlo.frontend_attributes = {{{texts}}}}} : ({ins}) -> "
             + (f"tuple<{outs}>" if tuple else plain)]
    if tuple:
        lines += [f"%r{i} = stablehlo.get_tuple_element %0[{i}] : (tuple<{outs}>) -> {t}"
                  for i, t in enumerate(call.results)]
        names = [f"%r{i}" for i in range(count)]
    else:
        names = ["%0"] if count == 1 else [f"%0#{i}" for i in range(count)]
    body = "\n  ".join(lines)
    return f"func.func @main({arguments}) -> ({outs}) {{\n  {body}\n  return {', '.join(names)} : {outs}\n}}\n"


def function(call: Call, place: Place | None = None, *, poisoned: bool = False) -> str:
    """A module whose entry is the decomposition of ``call``."""
    text = decomposition(call, "main", place, poisoned=poisoned).replace("func.func private", "func.func public")
    return f"module attributes {{mhlo.num_partitions = {place.mesh.device_count if place else 1} : i32}} {{\n{text}}}"
