"""Writes sharding rules on operations: Shardy's own, corrected so that planning relies on nothing that is not so.

Shardy plans from these rules: propagation honours them and ``sdy-insert-explicit-reshards`` enforces them. `populate`
lets Shardy write its rule on every operation, then moves factors to ``need_replication`` where the same operation on
local types would be wrong:

  stablehlo.reduce ... argmax    {sdy.sharding_rule = #sdy.op_sharding_rule<(...) {i=8, j=8} reduction={j}>}
  stablehlo.reduce ... argmax    {sdy.sharding_rule = #sdy.op_sharding_rule<(...) {i=8, j=8} need_replication={j}>}

Operations without a rule get one; which and why stands in `op_rule_table`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from passes import _mlir
from passes.pipeline import runner
from passes.program.read import Program
from passes.program.walk import operations
from passes.sharding.op_rule_table import DEFAULT_POLICY, MISSING, POLICIES, WITHOUT_RULE, Support, unknown
from passes.sharding.rule_notation import suggestion
from passes.sharding.sharding_rule import decode, encode

RULE = "sdy.sharding_rule"

# The operations that users can give a rule: what a rules file calls them, the op, and the attribute that names one.
TARGETS = {"custom_call": ("stablehlo.custom_call", "call_target_name"), "composite": ("stablehlo.composite", "name")}


@dataclass(frozen=True)
class Unruled:
    """An operation nothing is known about, and a sentence that names it and says how it will be treated.

    ``rule_to_write`` is an entry of a rules file to start from, where one would help.
    """

    op: Any
    message: str
    rule_to_write: str = ""


def populate(
    program: Program, support: Support | None = None, *, conservative: bool = False, custom_stays: bool = False
) -> list[Unruled]:
    """Writes ``sdy.sharding_rule`` on every operation of ``program`` that has tensor dimensions.

    A rule the module brought along stays as it is.

    Args:
      program: Its operations must have static shapes.
      support: What the lowering can do; by default nothing beyond local types.
      conservative: Shardy's ``conservative-propagation``: leaves out factors that would need sub-axes or permutes.
      custom_stays: Leaves the mark ``custom`` on rules that have it. Propagation honours them either way, but no
        reshards are inserted around an operation whose rule is custom.

    The module may be replaced; handles into it are dead afterwards.

    Returns:
      The operations neither Shardy nor our table knows; their operands are gathered and they run replicated.
    """
    support = support or Support()
    _populate_natively(program, conservative)
    unruled = []
    for op in operations(program.module):
        attributes = op.attributes
        if RULE in attributes:
            _correct(op, attributes, support, custom_stays)
        elif (found := _add(op, attributes)) is not None:
            unruled.append(found)
    return unruled


def strip(program: Program) -> None:
    """Removes every ``sdy.sharding_rule`` from ``program``."""
    for op in operations(program.module):
        attributes = op.attributes
        if RULE in attributes:
            del attributes[RULE]


def _populate_natively(program: Program, conservative: bool) -> None:
    options = "{conservative-propagation=true}" if conservative else ""
    with _mlir.record_diagnostics():  # Shardy warns of every op without a rule; those get one
        text = f"builtin.module(func.func(sdy-populate-op-sharding-rules{options}))"
        runner.run(program, text)


def _correct(op: Any, attributes: Any, support: Support, custom_stays: bool) -> None:
    given, is_custom = decode(attributes[RULE])
    if is_custom:
        if not custom_stays:
            attributes[RULE] = encode(given)
        return
    corrected = POLICIES.get(op.name, DEFAULT_POLICY)(op, given, support)
    if corrected is not given:
        attributes[RULE] = encode(corrected)


def _add(op: Any, attributes: Any) -> Unruled | None:
    if op.name in WITHOUT_RULE:
        return None
    ranked = _mlir.ir.RankedTensorType
    types = [v.type for v in (*op.operands, *op.results)]
    if not any(isinstance(t, ranked) and t.rank for t in types):
        return None
    if not all(isinstance(t, ranked) for t in types):
        # Shardy takes no rule on an operation with a token or tuple.
        return Unruled(op, f"{_title(op)} has an operand or result that is no tensor; it cannot be sharded")
    make = MISSING.get(op.name)
    rule = make(op) if make is not None else None
    attributes[RULE] = encode(rule or unknown(op))
    if rule is not None:
        return None
    message = f"{_title(op)} has no sharding rule: its operands are gathered and every device runs all of it"
    return Unruled(op, message, _rule_to_write(op))


def _rule_to_write(op: Any) -> str:
    """The entry of a rules file that would give ``op`` a rule; it says no more than what dimensions there are."""
    kind = next((kind for kind, (name, _) in TARGETS.items() if name == op.name), None)
    if kind is None:
        return ""
    operands, results = ([tuple(v.type.shape) for v in values] for values in (op.operands, op.results))
    return f'[[rules]]\n{kind} = {json.dumps(target_of(op, kind))}\nrule = "{suggestion(operands, results)}"'


def target_of(op: Any, kind: str) -> str | None:
    """The call target or composite name of ``op``, if it is of that ``kind`` (a key of `TARGETS`)."""
    name, attribute = TARGETS[kind]
    return str(_mlir.ir.StringAttr(op.attributes[attribute]).value) if op.name == name else None


def _title(op: Any) -> str:
    """The operation as a user knows it: with its target where it has one."""
    for key in ("call_target_name", "name"):
        if key in op.attributes and isinstance(op.attributes[key], _mlir.ir.StringAttr):
            return f"{op.name} {_mlir.ir.StringAttr(op.attributes[key]).value!r}"
    return str(op.name)
