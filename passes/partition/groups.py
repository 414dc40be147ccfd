"""Who takes part in a StableHLO collective and what its region computes, as data that collectives are compared by."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator
from typing import Any

from passes.program import purity
from passes.program.walk import named

_CHANNEL_TYPE = re.compile(r"type = (\d+)")

# The attributes of a collective that are its own; any other is somebody's note on the op.
OWN_ATTRIBUTES = frozenset((
    "all_gather_dim", "channel_handle", "replica_groups", "scatter_dimension", "use_global_device_ids",
))


def group_key(op: Any) -> tuple[Hashable, ...]:
    """What two collectives have in common that run among the same devices: groups, and what their numbers mean.

    The id of a channel is left out; it tells transfers apart.
    """
    attributes = op.attributes
    channel = _CHANNEL_TYPE.findall(str(attributes["channel_handle"])) if "channel_handle" in attributes else ()
    return attributes["replica_groups"], tuple(channel), "use_global_device_ids" in attributes


def combiner(op: Any) -> str | None:
    """The op that the region of a reduction is (``stablehlo.add``, ...), if it is one of its two arguments alone."""
    block = op.regions[0].blocks[0]
    inside = [view.operation for view in block]
    if len(inside) != 2 or len(block.arguments) != 2:
        return None
    only = inside[0]
    plain = list(only.operands) == list(block.arguments) and not len(only.attributes)
    return str(only.name) if plain and list(inside[1].operands) == list(only.results) else None


def is_plain(op: Any) -> bool:
    """Whether the op is a collective of one operand that carries no attributes but its own."""
    return len(op.results) == 1 and OWN_ATTRIBUTES.issuperset(op.attributes)


def is_used_once(op: Any) -> bool:
    """Whether the first result of the op has just one use."""
    uses = iter(op.results[0].uses)
    return next(uses, None) is not None and next(uses, None) is None


def blocks(op: Any) -> Iterator[Any]:
    """The blocks of ``op`` in which collectives may stand, outer ones first: of functions, loops and branches."""
    found: dict[Any, None] = {}
    for inner in (op, *named(op, _WITH_BLOCKS)):
        if inner == op or inner.block in found:
            found |= dict.fromkeys(block for region in inner.regions for block in region)
    return iter(found)


def in_blocks(op: Any, names: frozenset[str]) -> list[list[Any]]:
    """The ops called one of ``names``, in order, of each of the `blocks` of ``op`` that has some."""
    found: dict[Any, list[Any]] = {}
    for inner in named(op, names):
        found.setdefault(inner.block, []).append(inner)
    return [found[block] for block in blocks(op) if block in found]


_WITH_BLOCKS = frozenset({"builtin.module", "func.func"}) | {
    name for name in purity.CAPTURING if name.rpartition(".")[2] in ("case", "if", "while")
}
