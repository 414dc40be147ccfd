"""Attaches the sharding rules of a rules file to custom calls and composites.

  [[rules]]
  custom_call = "flash"
  rule = "b s, b t -> b s"

  stablehlo.custom_call @flash(%a, %b) {sdy.sharding_rule = #sdy.op_sharding_rule<([i, j], [i, k])->([i, j]) {i=8, j=4,
    k=4} need_replication={k}, custom>}

The mark ``custom`` says that the rule is the user's: Shardy leaves it where it is, and so do we.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from passes import _mlir
from passes.errors import UserError
from passes.program.read import Program
from passes.program.walk import named
from passes.sharding.op_rules import RULE, TARGETS, target_of
from passes.sharding.op_selection import LISTED
from passes.sharding.rule_notation import NotationError
from passes.sharding.rules import OpRule, glob
from passes.sharding.sharding_rule import Rule, decode, encode


@dataclass(frozen=True)
class Ruled:
    """An operation and the rule that it is to get."""

    op: Any
    rule: Rule


def choose(program: Program, rules: tuple[OpRule, ...]) -> list[Ruled]:
    """For each custom call and composite the last of ``rules`` that is for it and fits it.

    Raises:
      UserError: a rule is for nothing in the program, or none of those for an operation fits it.
    """
    if not rules:
        return []
    kinds = {name: kind for kind, (name, _) in TARGETS.items()}
    calls = [(op, kinds[op.name]) for op in named(program.module, frozenset(kinds))]
    for rule in rules:
        _require_some(rule, [t for op, kind in calls if kind == rule.kind and (t := target_of(op, kind)) is not None])
    found = []
    for op, kind in calls:
        target = target_of(op, kind) or ""
        candidates = [r for r in rules if r.kind == kind and glob(r.target).match(target)]
        if candidates:
            found.append(Ruled(op, _last_fitting(program, op, target, candidates)))
    return found


def attach(ruled: list[Ruled]) -> None:
    """Writes the rules."""
    for item in ruled:
        item.op.attributes[RULE] = encode(item.rule, is_custom=True)


def is_ruled(op: Any) -> bool:
    """Whether ``op`` carries a rule of the user's."""
    attributes = op.attributes
    return RULE in attributes and decode(attributes[RULE])[1]


def _require_some(rule: OpRule, targets: list[str]) -> None:
    pattern = glob(rule.target)
    if rule.optional or any(map(pattern.match, targets)):
        return
    known = list(dict.fromkeys(targets))
    noun = "custom call" if rule.kind == "custom_call" else "composite"
    more = f" and {len(known) - LISTED} more" if len(known) > LISTED else ""
    there = f"they are {', '.join(known[:LISTED])}{more}" if known else f"the program has no {noun}s"
    raise UserError(f'{rule.kind} "{rule.target}" names no {noun}; {there}', rule.where)


def _last_fitting(program: Program, op: Any, target: str, candidates: list[OpRule]) -> Rule:
    ranked = _mlir.ir.RankedTensorType
    last = candidates[-1]
    title = f"{op.name} '{target}' at {program.where(op) or program.source}"
    values = [*op.operands, *op.results]
    if not all(isinstance(v.type, ranked) for v in values):
        raise UserError(f"{title} has an operand or result that is no tensor; it cannot have a rule", last.where)
    if not len(op.operands) or not len(op.results):
        raise UserError(f"{title} has no operands or no results; it cannot have a rule", last.where)
    operands, results = ([tuple(v.type.shape) for v in side] for side in (op.operands, op.results))
    problem = ""
    for candidate in reversed(candidates):
        try:
            return candidate.notation.rule(operands, results)
        except NotationError as error:
            problem = problem or str(error)
    shapes = ", ".join("x".join(map(str, s)) or "scalar" for s in operands)
    raise UserError(f"the rule does not fit {title} ({shapes}): {problem}", last.where)
