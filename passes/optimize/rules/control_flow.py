"""Branches whose way is known and loops: what does not change is not carried around."""

from __future__ import annotations

from typing import Any

from passes import _mlir
from passes.optimize.rewriting import Rule, Site
from passes.program.walk import terminator


def _known_branch(site: Site) -> Any | None:
    """The ops of the branch taken move to the place of the op."""
    number = site.splat(site.operands[0])
    if number is None:
        return None
    regions = site.op.regions
    if site.name == "if":
        index = 0 if number else 1
    else:
        # The specification's rule for an index out of range: the last branch.
        index = int(number) if 0 <= number < len(regions) else len(regions) - 1
    block = regions[index].blocks[0]
    if [value.type for value in terminator(block).operands] != [result.type for result in site.op.results]:
        return None
    return site.unwrap(block)


def _same_in_every_branch(site: Site) -> Any | None:
    """A result that every branch takes from outside, and the same there, is that value."""
    if site.carries_more:
        return None
    ends = [terminator(region.blocks[0]) for region in site.op.regions]
    changed = False
    for result, *values in zip(site.op.results, *(end.operands for end in ends), strict=True):
        first = values[0]
        if all(value == first for value in values) and first.type == result.type and not _is_inside(first, site.op):
            changed = _use_instead(result, first) or changed
    return changed or None


def _is_inside(value: Any, op: Any) -> bool:
    """Whether ``value``, used at the end of a region of ``op``, is defined there too."""
    owner = value.owner
    parent = owner.owner if isinstance(owner, _mlir.ir.Block) else owner.operation.parent
    return bool(parent.operation == op)


def _use_instead(value: Any, other: Any) -> bool:
    """Replaces ``value`` by ``other``; returns whether it was used."""
    if next(value.uses, None) is None:
        return False
    value.replace_all_uses_with(other)
    return True


def _loop_that_never_runs(site: Site) -> Any | None:
    owner = terminator(site.op.regions[0].blocks[0]).operands[0].owner
    if isinstance(owner, _mlir.ir.Block) or owner.name != "stablehlo.constant":
        return None
    return list(site.operands) if site.sweep.splat(owner.operation) == 0 else None


def _invariant_carries(site: Site) -> Any | None:
    """What the body returns as it got it is the value before the loop, in the loop and after it.

    It is captured then instead of carried, and the carry is dead. Not so in a program with shardings: a value that is
    captured lies in the loop as it does outside.
    """
    if site.sweep.annotated or site.carries_more:
        return None
    condition, body = (region.blocks[0] for region in site.op.regions)
    changed, again = False, True
    # A carry that takes over another one's value is found once that one is.
    while again:
        again, returned = False, list(terminator(body).operands)
        for index, value in enumerate(site.operands):
            argument, result = body.arguments[index], site.op.results[index]
            if returned[index] in (argument, value) and value.type == result.type:
                for same in (condition.arguments[index], argument, result):
                    again = _use_instead(same, value) or again
        changed = changed or again
    return changed or None


_CONSTANT = frozenset(("constant",))

RULES = (
    Rule("known-branch", ("if", "case"), "if true", "its branch", "the other branches never run", _known_branch,
         _CONSTANT),
    Rule("branches-agree", ("if", "case"), "a result every branch takes from outside", "that value",
         "whichever branch runs", _same_in_every_branch),
    Rule("loop-never-runs", ("while",), "while false", "its operands", "the condition is false from the start",
         _loop_that_never_runs),
    Rule("invariant-carry", ("while",), "a value a loop carries unchanged", "the value before the loop",
         "by induction over the iterations", _invariant_carries),
)
