"""Finds the foreign annotations of a module in one walk, and says quickly when there are none."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from passes import _mlir
from passes.program import purity
from passes.program.entry import functions, is_declaration
from passes.program.read import Program
from passes.program.walk import operations
from passes.sharding.importers.frontend import FRONTEND, MANUAL_AXES, PREFIX
from passes.sharding.importers.gspmd import HLO_SHARDING

PARAMETERS, OUTPUT = "mhlo.spmd_parameters_shardings", "mhlo.spmd_output_sharding"

CONSTRAINTS = frozenset({"Sharding", "tt.sharding_constraint"})
RESULT_SHARDING = "xla.sdy.FuncResultSharding"
GROUP = "xla.sdy.ShardingGroup"
BARRIER = "xla.sdy.PropagationBarrier"
# Custom calls through which values enter and leave code that is written for each device.
ENTRIES = frozenset({"SPMDFullToShardShape", "xla.sdy.GlobalToLocalShape"})
EXITS = frozenset({"SPMDShardToFullShape", "xla.sdy.LocalToGlobalShape"})
TARGETS = CONSTRAINTS | ENTRIES | EXITS | {RESULT_SHARDING, GROUP, BARRIER}
# What XLA itself does not know; the others it reads in its own way.
UNKNOWN_TO_XLA = ("tt.sharding_constraint",)

CUSTOM_CALLS = frozenset({"stablehlo.custom_call", "mhlo.custom_call"})
# One of these is in the text of every module with a foreign annotation.
_MARKS = ("mhlo.sharding", "mhlo.spmd_", PREFIX, "@Sharding", *(f"@{t}" for t in sorted(TARGETS - {"Sharding"})))


@dataclass
class Found:
    """The annotations of a module.

    Attributes:
      functions: Those with a body.
      ops: Ops that carry ``mhlo.sharding`` or front-end attributes of Shardy's, without the custom calls below.
      calls: The custom calls that are annotations, by target.
      called: How often each function is referred to.
    """

    functions: list[Any]
    ops: list[Any] = field(default_factory=list)
    calls: dict[str, list[Any]] = field(default_factory=dict)
    called: Counter[str] = field(default_factory=Counter)

    def of(self, targets: frozenset[str]) -> list[Any]:
        """The calls of ``targets``."""
        return [op for target, ops in self.calls.items() if target in targets for op in ops]


def scan(module: Any) -> Found:
    """Walks ``module``, an operation."""
    found = Found([])
    for op in operations(module)[1:]:
        name, attributes = op.name, op.attributes
        if name == "func.func":
            if not is_declaration(op):
                found.functions.append(op)
            continue
        if name in purity.CALLEE_ATTRIBUTES:
            found.called.update(purity.callees(op))
            if name in CUSTOM_CALLS and (target := target_of(op)) in TARGETS:
                found.calls.setdefault(target, []).append(op)
                continue
        frontend = str(attributes[FRONTEND]) if FRONTEND in attributes else ""
        # A call of manual code that carries its shardings is read with the calls around it.
        if HLO_SHARDING in attributes or (PREFIX in frontend and MANUAL_AXES not in frontend):
            found.ops.append(op)
    return found


def target_of(op: Any) -> str:
    """The target of a custom call."""
    return str(_mlir.ir.StringAttr(op.attributes["call_target_name"]).value)


def title_of(op: Any) -> str:
    """How messages call an op: a custom call by its target."""
    return f"@{target_of(op)}" if op.name in CUSTOM_CALLS else str(op.name)


def is_foreign(program: Program) -> bool:
    """Whether ``program`` has annotations that are no plain ``sdy``.

    Text that mentions none is not walked; whatever is not text costs a walk (about 1 us an op).
    """
    if program.text is not None:
        return any(mark in program.text for mark in _MARKS)
    module = program.module.operation
    if any(key in module.attributes for key in (PARAMETERS, OUTPUT)) or _mentions(module, FRONTEND):
        return True
    if any(_mentions(f, key) for f in functions(program.module) for key in ("arg_attrs", "res_attrs")):
        return True
    found = scan(module)
    return bool(found.ops or found.calls)


def _mentions(op: Any, key: str) -> bool:
    if key not in op.attributes:
        return False
    text = str(op.attributes[key])
    return PREFIX in text or HLO_SHARDING in text


def needs_import_for_xla(program: Program) -> bool:
    """Whether XLA could not execute ``program`` as it is, because it does not know one of its annotations."""
    if program.text is not None and not any(f"@{target}" in program.text for target in UNKNOWN_TO_XLA):
        return False
    return any(target in UNKNOWN_TO_XLA for target in scan(program.module.operation).calls)
