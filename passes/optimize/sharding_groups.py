"""Which values a program ties together: those of one sharding group get one sharding between them."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

from passes import _mlir
from passes.program.walk import named

_GROUP = "sdy.sharding_group"
# What puts a value in a group; the second one where it says so.
_STATE = frozenset({_GROUP, "stablehlo.custom_call"})
_GROUP_ID = re.compile(r'xla\.sdy\.sharding_group_id = "(\d+)')


def sharding_groups(module: Any) -> dict[Any, frozenset[int]]:
    """The ids of the groups that each value of ``module`` is put in."""
    found: dict[Any, set[int]] = defaultdict(set)
    for op in named(module, _STATE):
        group = _group(op)
        if group is not None:
            found[op.operands[0]].add(group)
    return {value: frozenset(groups) for value, groups in found.items()}


def _group(op: Any) -> int | None:
    if op.name == _GROUP:
        return int(_mlir.ir.IntegerAttr(op.attributes["group_id"]).value)
    if "mhlo.frontend_attributes" in op.attributes:
        found = _GROUP_ID.search(str(op.attributes["mhlo.frontend_attributes"]))
        return int(found[1]) if found else None
    return None
