"""The four ops of a sparse mixture-of-experts layer as a table: attributes, operands, results and what holds of them.

| op | operands | results |
|---|---|---|
| `sparse_matmul` | a, b [1,E,K,N], mask | a @ b of each expert where the mask is not zero, else zero |
| `all_to_all_dispatch` | x [B,S,1,H] or [B,1,S,H], indices (K for H), mapping [1,1,E,D] | [1,B*n,S,H], [1,B*n,S,K] |
| `moe_expert_token_remap` | scores [.,B,S,E], mapping, metadata [.,B,S,K] | [.,B,S,E'], [1,1,ceil(B*S/R),E'] |
| `all_to_all_combine` | y [E',B*n,S,H], metadata, mapping | [K,B,S,H] |

Each is a ``stablehlo.composite`` named ``shlo.moe.NAME``. E' is E, or the experts of one device; n is `num_devices`,
the size of a ring: the devices that differ along mesh axis `cluster_axis`. What an op means is in `reference`; how it
is computed without a kernel in `decompose`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

NAMESPACE = "shlo.moe."


@dataclass(frozen=True)
class Type:
    """A tensor type: its shape and MLIR's name of its elements."""

    shape: tuple[int, ...]
    element: str

    def __str__(self) -> str:
        return "tensor<" + "".join(f"{size}x" for size in self.shape) + f"{self.element}>"

    @property
    def is_integer(self) -> bool:
        """Whether the elements are integers (of more than one bit)."""
        return self.element.lstrip("us").startswith("i") and self.element != "i1"


@dataclass(frozen=True)
class Attribute:
    """An attribute of an op: a whole number or a truth value; without ``default`` it has to be there."""

    name: str
    type: type
    default: int | bool | None = None


@dataclass(frozen=True)
class Call:
    """One use of an op of the table: its attributes, defaults included, and its types."""

    op: Op
    attributes: dict[str, int | bool]
    operands: tuple[Type, ...]
    results: tuple[Type, ...]

    def __getitem__(self, name: str) -> int:
        return int(self.attributes[name])


# What must hold; the sentence that says what does not, or the empty string.
Rule = Callable[[Call], str]


@dataclass(frozen=True)
class Op:
    """An op of the table; ``rules`` are checked in order, so that later ones may rely on earlier ones."""

    name: str
    attributes: tuple[Attribute, ...]
    operands: tuple[str, ...]
    results: tuple[str, ...]
    rules: tuple[Rule, ...]

    @property
    def composite(self) -> str:
        """The name of the composite."""
        return f"{NAMESPACE}{self.name}"


def problem(call: Call) -> str:
    """The first rule that ``call`` breaks, as a sentence; empty if it breaks none."""
    op = call.op
    for noun, wanted, there in (("operands", op.operands, call.operands), ("results", op.results, call.results)):
        if len(wanted) != len(there):
            return f"{op.name} has {len(wanted)} {noun} ({', '.join(wanted)}), not {len(there)}"
    return next((found for rule in op.rules if (found := rule(call))), "")


# -- rules of several ops ----------------------------------------------------------------------------------------------


def _expect(call: Call, value: str, shape: tuple[int, ...], why: str) -> str:
    """``value`` (an operand or result by name) has ``shape``."""
    there = _named(call, value).shape
    return "" if there == shape else f"{value} has shape {_show(there)} and must have {_show(shape)}, {why}"


def _named(call: Call, value: str) -> Type:
    names = (*call.op.operands, *call.op.results)
    return (*call.operands, *call.results)[names.index(value)]


def _show(shape: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, shape))}]"


def _rank_four(*values: str) -> Rule:
    def rule(call: Call) -> str:
        bad = next((v for v in values if len(_named(call, v).shape) != 4), None)
        return f"{bad} has {len(_named(call, bad).shape)} dimensions and must have 4" if bad else ""

    return rule


def _at_least(name: str, least: int) -> Rule:
    return lambda call: "" if call[name] >= least else f"{name} is {call[name]} and must be {least} or more"


def _one_of(name: str, *choices: int) -> Rule:
    listed = " or ".join(map(str, choices))
    return lambda call: "" if call[name] in choices else f"{name} is {call[name]} and must be {listed}"


def _integers(*values: str) -> Rule:
    def rule(call: Call) -> str:
        bad = next((v for v in values if not _named(call, v).is_integer), None)
        return f"{bad} holds {_named(call, bad).element}; the numbers of experts are integers" if bad else ""

    return rule


def _same_elements(*values: str) -> Rule:
    def rule(call: Call) -> str:
        first, *others = ((v, _named(call, v).element) for v in values)
        bad = next(((v, e) for v, e in others if e != first[1]), None)
        return f"{bad[0]} holds {bad[1]} and must hold {first[1]}, as {first[0]} does" if bad else ""

    return rule


def _mapping(call: Call) -> str:
    shape = _named(call, "mapping").shape
    good = len(shape) == 4 and shape[:2] == (1, 1)
    return "" if good else f"mapping has shape {_show(shape)} and must be [1, 1, experts, devices]"


def _ring(call: Call) -> str:
    devices, ring = _named(call, "mapping").shape[3], call["num_devices"]
    # One device stands for however many there will be.
    if devices % ring == 0 or ring == 1:
        return ""
    return f"num_devices is {ring} and must divide the {devices} devices of mapping: rings are parts of the mesh"


def _selected(call: Call) -> str:
    experts = _named(call, "mapping").shape[2]
    chosen = _named(call, "indices" if "indices" in call.op.operands else "metadata").shape[3]
    return "" if chosen <= experts else f"every token selects {chosen} experts and mapping has only {experts}"


def _share_of(experts: int, count: int, value: str) -> str:
    """``count`` is all of the experts or what one device has of them."""
    if count and experts % count == 0:
        return ""
    return f"{value} is about {count} experts, which is no even share of the {experts} of mapping"


# -- sparse_matmul -----------------------------------------------------------------------------------------------------


def _some_flag(call: Call) -> str:
    if call["is_input_a_sparse"] or call["is_input_b_sparse"]:
        return ""
    return "is_input_a_sparse and is_input_b_sparse are both false; without a mask it is a plain matmul"


def _experts_of_b(call: Call) -> str:
    shape = _named(call, "b").shape
    return "" if shape[0] == 1 else f"b has shape {_show(shape)} and must be [1, experts, K, N]"


def _contracted(call: Call) -> str:
    a, b = _named(call, "a").shape, _named(call, "b").shape
    return "" if a[3] == b[2] else f"a has {a[3]} columns and the experts of b {b[2]} rows; they must be equal"


def _experts_of_a(call: Call) -> str:
    a, b = _named(call, "a").shape, _named(call, "b").shape
    if not call["is_input_a_sparse"] or a[1] == b[1]:
        return ""
    return f"a is about {a[1]} experts (dimension 1) and b about {b[1]}; they must be equal"


def _both(call: Call) -> str:
    a = _named(call, "a").shape
    if not (call["is_input_a_sparse"] and call["is_input_b_sparse"]) or a[0] == 1:
        return ""
    return f"with both inputs sparse a must be [1, experts, M, K] and has shape {_show(a)}"


def _mask(call: Call) -> str:
    a, experts = _named(call, "a").shape, _named(call, "b").shape[1]
    if not call["is_input_a_sparse"]:
        return _expect(call, "mask", (a[0], a[1], 1, experts), "a truth value for each block of a and expert")
    return _expect(call, "mask", (1, 1, a[0], experts), "a truth value for each expert of each block of a")


def product_shape(a: tuple[int, ...], b: tuple[int, ...], a_sparse: bool) -> tuple[int, ...]:
    """The shape of a sparse product of ``a`` and ``b``."""
    return (a[0], b[1], a[2], b[3]) if a_sparse else (a[0], a[1], 1, b[1], a[2], b[3])


def _product(call: Call) -> str:
    a, b = _named(call, "a").shape, _named(call, "b").shape
    return _expect(
        call, "result", product_shape(a, b, bool(call["is_input_a_sparse"])), "the product of each block and expert"
    )


# -- dispatch ----------------------------------------------------------------------------------------------------------


def _one_row(call: Call) -> str:
    shape = _named(call, "x").shape
    return "" if 1 in shape[1:3] else f"x has shape {_show(shape)} and must be [B, S, 1, H] or [B, 1, S, H]"


def _indices(call: Call) -> str:
    x, there = _named(call, "x").shape, _named(call, "indices").shape
    return _expect(call, "indices", (*x[:3], there[3]), "the shape of x but for the last dimension")


def dispatched_shape(x: tuple[int, ...], ring: int, last: int) -> tuple[int, ...]:
    """The shape of a result of `all_to_all_dispatch`."""
    return (1, x[0] * ring, x[1] * x[2], last)


def _dispatched(call: Call) -> str:
    x, n = _named(call, "x").shape, call["num_devices"]
    why = f"the tokens of {n} devices"
    chosen = _named(call, "indices").shape[3]
    return _expect(call, "dispatched", dispatched_shape(x, n, x[3]), why) or _expect(
        call, "metadata", dispatched_shape(x, n, chosen), why
    )


# -- remap -------------------------------------------------------------------------------------------------------------


def _scored(call: Call) -> str:
    scores, experts = _named(call, "scores").shape, _named(call, "mapping").shape[2]
    if scores[3] == experts:
        return ""
    return f"scores has {scores[3]} experts and mapping {experts}; they must be equal"


def _tokens_scored(call: Call) -> str:
    scores, there = _named(call, "scores").shape, _named(call, "metadata").shape
    return _expect(call, "metadata", (*scores[:3], there[3]), "the tokens of scores")


def _remapped(call: Call) -> str:
    scores, there = _named(call, "scores").shape, _named(call, "mapping_out").shape
    tokens = math.prod(scores[:3])
    return (
        _share_of(scores[3], there[3], "mapping_out")
        or _expect(call, "mapping_out", (*scores[:3], there[3]), "the tokens of scores")
        or _expect(call, "reduced", (1, 1, math.ceil(tokens / call["reduction_size"]), there[3]),
                   f"one row for each {call['reduction_size']} of {tokens} tokens")
    )


# -- combine -----------------------------------------------------------------------------------------------------------


def _experts_of_y(call: Call) -> str:
    return _share_of(_named(call, "mapping").shape[2], _named(call, "y").shape[0], "y")


def _tokens_of_y(call: Call) -> str:
    y, metadata = _named(call, "y").shape, _named(call, "metadata").shape
    here, there = y[1] * y[2], math.prod(metadata[:3])
    return "" if here == there else f"y has {here} tokens (dimensions 1 and 2) and metadata {there}; they must be equal"


def _slots(call: Call) -> str:
    there = _named(call, "metadata").shape[3]
    if there == call["num_experts_per_tok"]:
        return ""
    return f"num_experts_per_tok is {call['num_experts_per_tok']} and metadata names {there} experts for each token"


def _sharded_dim(call: Call) -> str:
    y, dim, n = _named(call, "y").shape, call["output_shard_dim"], call["num_devices"]
    if dim == 2 and y[1] != 1:
        return f"output_shard_dim is 2, so y must be [experts, 1, tokens, H] and has shape {_show(y)}"
    if y[dim] % n:
        return f"the {y[dim]} tokens in dimension {dim} of y must divide by num_devices = {n}"
    return ""


def combined_shape(y: tuple[int, ...], chosen: int, dim: int, ring: int) -> tuple[int, ...]:
    """The shape of the result of `all_to_all_combine`."""
    shape = [chosen, *y[1:]]
    shape[dim] //= ring
    return tuple(shape)


def _combined(call: Call) -> str:
    y, dim, n = _named(call, "y").shape, call["output_shard_dim"], call["num_devices"]
    shape = combined_shape(y, call["num_experts_per_tok"], dim, n)
    return _expect(call, "combined", shape, f"a slot for each selected expert, and a device's part of dimension {dim}")


_RING = (Attribute("num_devices", int), Attribute("cluster_axis", int))
_RING_RULES = (_at_least("num_devices", 1), _one_of("cluster_axis", 0, 1))

SPARSE_MATMUL = Op(
    "sparse_matmul",
    (
        Attribute("is_input_a_sparse", bool, False), Attribute("is_input_b_sparse", bool, True),
        Attribute("nnz", int, 0),
    ),
    ("a", "b", "mask"), ("result",),
    (
        _some_flag, _at_least("nnz", 0), _rank_four("a", "b", "mask"), _experts_of_b, _contracted, _experts_of_a, _both,
        _mask, _product, _same_elements("a", "b", "result"),
    ),
)
DISPATCH = Op(
    "all_to_all_dispatch", _RING, ("x", "indices", "mapping"), ("dispatched", "metadata"),
    (
        *_RING_RULES, _rank_four("x", "indices"), _mapping, _ring, _one_row, _indices, _integers("indices", "metadata"),
        _selected, _dispatched, _same_elements("x", "dispatched"), _same_elements("indices", "metadata"),
    ),
)
REMAP = Op(
    "moe_expert_token_remap", (Attribute("reduction_size", int, 16),), ("scores", "mapping", "metadata"),
    ("mapping_out", "reduced"),
    (
        _at_least("reduction_size", 1), _rank_four("scores", "metadata", "mapping_out", "reduced"), _mapping, _scored,
        _tokens_scored, _integers("metadata"), _selected, _remapped, _same_elements("scores", "mapping_out"),
    ),
)
COMBINE = Op(
    "all_to_all_combine",
    (*_RING, Attribute("num_experts_per_tok", int), Attribute("output_shard_dim", int, 1)),
    ("y", "metadata", "mapping"), ("combined",),
    (
        *_RING_RULES, _one_of("output_shard_dim", 1, 2), _rank_four("y", "metadata"), _mapping, _ring, _experts_of_y,
        _tokens_of_y, _slots, _selected, _sharded_dim, _integers("metadata"), _combined,
        _same_elements("y", "combined"),
    ),
)
OPS: dict[str, Op] = {op.name: op for op in (SPARSE_MATMUL, DISPATCH, REMAP, COMBINE)}
