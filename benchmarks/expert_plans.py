"""Plans that experts would write for the models of autoshard_models, with the axes of a mesh in every sensible role.

The presets of the package go by names that many programs have, know two axes, and leave embeddings whole. These plans
know the models: vocabularies, experts, kernels of convolutions, edges of graphs and caches are split where that is
usual. They are ordinary rules files, which `python benchmarks/autoshard_rows.py --plan CASE` prints.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from passes.sharding.mesh import Mesh

# What an array is -> a regular expression on its name, and its rank in one layer. The last one that fits holds.
KINDS: dict[str, tuple[str, int]] = {
    "vector": (r"\[", 1),
    "matrix": (r"\[", 2),
    "reads": (r"\['(wq|wk|wv|gate|up)'\]$", 2),
    "writes": (r"\['(wo|down)'\]$", 2),
    "patches": (r"\['patches'\]$", 2),
    "embedding": (r"\['embedding'\]$", 2),
    "head": (r"\['head'\]$", 2),
    "expert_reads": (r"\['experts'\]\['(gate|up)'\]$", 3),
    "expert_writes": (r"\['experts'\]\['down'\]$", 3),
    "kernel": (r"\[", 4),
    "kernel_reads": (r"\['(blocks|first|last)'\].*\['in'\]$|\['groups'\].*\['middle'\]$", 4),
    "kernel_writes": (r"\['(blocks|first|last|groups)'\].*\['out'\]$", 4),
    "stem": (r"\['stem'\]$", 4),
    "last": (r"^(params|mu|nu|result\['\w+'\])\['last'\]$", 4),
    "cache": (r"cache('\])?\['[kv]'\]$", 5),
    "nodes": (r"^nodes$", 2),
    "edges": (r"^edges$", 2),
    "ends": (r"^(senders|receivers)$", 1),
    "tokens": (r"^(tokens|targets)$", 2),
    "labels": (r"^(labels|tokens)$", 1),
    "times": (r"^inputs$", 2),
    "images": (r"^(images|targets)$", 4),
}
# Parameters of equal layers are stacked along a first dimension.
_STACKED = r".*\['(layers|rounds)'\]\['"

# A norm's product stays in shards of the sequence until a block gathers them, as preset:sequence_parallel has it.
_SEQUENCE = """[[constraints]]
op = "multiply"
location = "*norm*/mul"
rank = 3
dims = [{batch}, {model}, ""]
optional = true
"""


@dataclass(frozen=True)
class Plan:
    """A plan in roles.

    Attributes:
      title: Its name.
      dims: Kind -> for each dimension a role: ``a`` all axes, ``d`` those of the batch, ``m`` the others, ``-`` whole;
        ``A`` and ``D`` the same with a priority behind all others, for what is only stored in shards.
      roles: Whether ``d`` and ``m`` occur, so that there is one for each way of giving axes these roles.
      sequence: Whether norms stay in shards of the sequence over ``m``.
    """

    title: str
    dims: dict[str, str]
    roles: bool = True
    sequence: bool = False


_WHOLE = {"vector": "-", "matrix": "--", "expert_reads": "---", "expert_writes": "---", "kernel": "----"}
_BATCH_ALL = {"tokens": "a-", "labels": "a", "images": "a---", "times": "a-", "cache": "-a---"}
_BATCH = {"tokens": "d-", "labels": "d", "images": "d---", "times": "d-", "cache": "-d-m-"}
_STORED = {
    "vector": "A", "matrix": "A-", "writes": "-A", "patches": "-A", "embedding": "-A", "head": "A-",
    "expert_reads": "-A-", "expert_writes": "--A", "kernel": "---A", "last": "--A-",
}
_TENSOR = {
    "reads": "-m", "writes": "m-", "embedding": "m-", "head": "-m", "expert_reads": "--m", "expert_writes": "-m-",
    "kernel_reads": "---m", "kernel_writes": "--m-",
}
_BOTH = {
    "vector": "D", "matrix": "D-", "reads": "Dm", "writes": "mD", "patches": "-D", "embedding": "mD", "head": "Dm",
    "expert_reads": "-Dm", "expert_writes": "-mD", "kernel": "---D", "kernel_reads": "--Dm", "kernel_writes": "--mD",
    "last": "--D-",
}
_GRAPH = {"nodes": "--", "edges": "a-", "ends": "a", "tokens": "--"}
_GRAPH_TENSOR = {"nodes": "--", "edges": "d-", "ends": "d", "tokens": "--"}

_DENSE = [
    Plan("data parallel", {**_WHOLE, **_BATCH_ALL}, roles=False),
    Plan("FSDP", {**_STORED, **_BATCH_ALL}, roles=False),
    Plan("Megatron", {**_WHOLE, **_TENSOR, **_BATCH}),
    Plan("Megatron + FSDP", {**_BOTH, **_BATCH}),
]
_SEQUENCES = [
    Plan("Megatron + sequence", {**_WHOLE, **_TENSOR, **_BATCH, "tokens": "dm"}, sequence=True),
    Plan("Megatron + FSDP + sequence", {**_BOTH, **_BATCH, "tokens": "dm"}, sequence=True),
]
_EXPERTS = {"expert_reads": "m--", "expert_writes": "m--"}
PLANS: dict[str, list[Plan]] = {
    "dense": [*_DENSE, *_SEQUENCES],
    # Their classes are few and do not divide.
    "vision": [
        Plan(plan.title, {**plan.dims, "head": "D-" if "FSDP" in plan.title else "--"}, plan.roles) for plan in _DENSE
    ],
    "mixture": [
        *_DENSE, *_SEQUENCES,
        Plan("expert", {**_WHOLE, **_EXPERTS, **_BATCH_ALL}),
        Plan("expert + FSDP", {**_STORED, "expert_reads": "mD-", "expert_writes": "m-D", **_BATCH_ALL}),
        Plan("expert + Megatron + FSDP", {**_BOTH, "expert_reads": "mD-", "expert_writes": "m-D", **_BATCH}),
    ],
    "decode": [
        Plan("data parallel", {**_WHOLE, **_BATCH_ALL}, roles=False),
        Plan("FSDP", {**_STORED, **_BATCH_ALL}, roles=False),
        Plan("Megatron", {**_WHOLE, **_TENSOR, **_BATCH}),
        Plan("Megatron + FSDP", {**_BOTH, **_BATCH}),
        Plan("Megatron over all", {
            **_WHOLE, **{kind: dims.replace("m", "a") for kind, dims in _TENSOR.items()}, "cache": "---a-",
            "labels": "-",
        }, roles=False),
    ],
    "graph": [
        Plan("edges", {**_WHOLE, **_GRAPH}, roles=False),
        Plan("edges + FSDP", {**_STORED, "reads": "-A", "writes": "A-", **_GRAPH}, roles=False),
        Plan("edges + Megatron", {**_WHOLE, **_TENSOR, **_GRAPH_TENSOR}),
        Plan("edges + Megatron + FSDP", {**_BOTH, **_GRAPH_TENSOR}),
        Plan("edges and nodes", {**_WHOLE, **_GRAPH, "nodes": "a-", "tokens": "a-"}, roles=False),
    ],
}


def plans(family: str, mesh: Mesh) -> Iterator[tuple[str, str]]:
    """Title and rules file of each plan of a family; roles go to the first axes and the last, in every such way."""
    names = [name for name, _ in mesh.axes]
    roles = [(names[:i], names[i:]) for i in range(1, len(names))]
    roles += [(names[i:], names[:i]) for i in range(1, len(names))]
    for plan in PLANS[family]:
        for batch, model in roles if plan.roles else roles[:1]:
            title = f"{plan.title} ({'+'.join(batch)}, {'+'.join(model)})" if plan.roles else plan.title
            yield title, rules(plan, mesh, batch, model)


def rules(plan: Plan, mesh: Mesh, batch: Sequence[str], model: Sequence[str]) -> str:
    """``plan`` as a rules file, with these axes in its roles; results are stored like the arguments they replace."""
    everything = [name for name, _ in mesh.axes]
    axes = {"a": everything, "d": batch, "m": model, "-": (), "A": _late(everything), "D": _late(batch)}
    lines = [f"mesh = {{ {', '.join(f'{name} = {size}' for name, size in mesh.axes)} }}", ""]
    for kind, (pattern, rank) in KINDS.items():
        if kind in plan.dims:
            dims = [_dim(axes[role]) for role in plan.dims[kind]]
            lines += _entries(pattern, rank, dims, kind)
    if plan.sequence:
        lines.append(_SEQUENCE.format(batch=_dim(batch), model=_dim(model)))
    return "\n".join(lines)


def _entries(pattern: str, rank: int, dims: list[str], kind: str) -> Iterator[str]:
    """Entries for arguments and for results, in one layer and stacked."""
    if pattern.startswith("^") or kind == "cache":
        stacks: tuple[tuple[str, list[str]], ...] = ((pattern, []),)
    else:
        stacks = ((f"^(?!{_STACKED}).*({pattern})", []), (f"^(?={_STACKED}).*({pattern})", ['""']))
    for section in ("arguments", "results"):
        for regex, front in stacks:
            yield f"[[{section}]]"
            yield f"regex = '''{regex}'''"
            yield f"rank = {rank + len(front)}"
            yield f"dims = [{', '.join([*front, *dims])}]"
            yield "optional = true\n"


def _late(axes: Sequence[str]) -> list[str]:
    """``axes`` of which propagation hears after all without a priority."""
    return [*axes[:-1], f"{axes[-1]}:p1"]


def _dim(axes: Sequence[str]) -> str:
    quoted = [f'"{name}"' for name in axes]
    return f"[{', '.join(quoted)}]" if len(quoted) > 1 else quoted[0] if quoted else '""'
