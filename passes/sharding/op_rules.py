"""Writes sharding rules on operations: Shardy's own, corrected so that planning relies on nothing that is not so.

Shardy plans from these rules: propagation honours them and ``sdy-insert-explicit-reshards`` enforces them. After Shardy
has written its rule on every operation, `CorrectShardingRules` moves factors to ``need_replication`` where the same
operation on local types would be wrong:

  stablehlo.reduce ... argmax    {sdy.sharding_rule = #sdy.op_sharding_rule<(...) {i=8, j=8} reduction={j}>}
  stablehlo.reduce ... argmax    {sdy.sharding_rule = #sdy.op_sharding_rule<(...) {i=8, j=8} need_replication={j}>}

Operations without a rule get one; which and why stands in `op_rule_table`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from passes import _mlir
from passes.errors import Where
from passes.pipeline import runner
from passes.pipeline.base import Counters, Pass, Statistic, option
from passes.pipeline.options import RunResult
from passes.program.read import Program
from passes.program.walk import operations
from passes.sharding.op_rule_table import DEFAULT_POLICY, EXACT, MISSING, POLICIES, WITHOUT_RULE, Support, unknown
from passes.sharding.rule_notation import suggestion
from passes.sharding.sharding_rule import decode, encode

RULE = "sdy.sharding_rule"

# The operations that users can give a rule: what a rules file calls them, the op, and the attribute that names one.
TARGETS = {"custom_call": ("stablehlo.custom_call", "call_target_name"), "composite": ("stablehlo.composite", "name")}


@dataclass(frozen=True)
class Unruled:
    """An operation nothing is known about.

    Attributes:
      where: Its place, where known.
      message: A sentence that names it and says how it will be treated.
      rule_to_write: An entry of a rules file to start from, where one would help.
    """

    where: Where | None
    message: str
    rule_to_write: str = ""


@dataclass(frozen=True)
class CorrectShardingRules(Pass):
    """See the module's docstring."""

    name: ClassVar[str] = "correct-sharding-rules"
    summary: ClassVar[str] = "Correct the rules sdy-populate-op-sharding-rules wrote, and add those it has not"
    statistics: ClassVar[tuple[Statistic, ...]] = (
        Statistic("corrected", "rules that promised more than the op on local types keeps"),
        Statistic("added", "rules of ops that Shardy has none for"),
    )
    before: ClassVar[str] = """
func.func @main(%a: tensor<8x8xf32>) -> (tensor<4x8xf32>, tensor<8x8xf32>) {
  %0 = stablehlo.slice %a [0:4, 0:8] {sdy.sharding_rule = #sdy.op_sharding_rule<([i, j])->([i, j]) {i=8, j=8} permutation={i}>}
    : (tensor<8x8xf32>) -> tensor<4x8xf32>
  %1 = chlo.erf %a : tensor<8x8xf32> -> tensor<8x8xf32>
  return %0, %1 : tensor<4x8xf32>, tensor<8x8xf32>
}
"""  # noqa: E501
    after: ClassVar[str] = """
func.func @main(%a: tensor<8x8xf32>) -> (tensor<4x8xf32>, tensor<8x8xf32>) {
  %0 = stablehlo.slice %a [0:4, 0:8] {sdy.sharding_rule = #sdy.op_sharding_rule<([i, j])->([i, j]) {i=8, j=8} need_replication={i}>}
    : (tensor<8x8xf32>) -> tensor<4x8xf32>
  %1 = chlo.erf %a {sdy.sharding_rule = #sdy.op_sharding_rule<([i, j])->([i, j]) {i=8, j=8}>} : tensor<8x8xf32> -> tensor<8x8xf32>
  return %0, %1 : tensor<4x8xf32>, tensor<8x8xf32>
}
"""  # noqa: E501
    gather_from_shards: bool = option(False, "the lowering can gather from a dimension that is sharded")
    scatter_into_shards: bool = option(False, "the lowering can scatter into a dimension that is sharded")
    slice_from_shards: bool = option(False, "the lowering can do so for a dynamic_slice")
    update_into_shards: bool = option(False, "the lowering can do so for a dynamic_update_slice")
    complete_by_region: bool = option(False, "the lowering can complete partial results by the region of the op")

    def run(self, module: Any, counters: Counters) -> None:
        support = Support(**asdict(self))
        for op in operations(module, without=SETTLED):
            attributes = op.attributes
            given = attributes.get(RULE)
            if given is not None:
                counters.add("corrected", _correct(op, attributes, given, support))
            else:
                _add(op, attributes, counters)


# The operations that need no look: most of a program.
SETTLED = EXACT | WITHOUT_RULE


def pipeline(support: Support | None = None, *, conservative: bool = False) -> str:
    """The passes that write a rule on every operation that has tensor dimensions, to go into ``builtin.module(...)``.

    A rule the module brought along stays as it is, with its mark ``custom``: propagation honours it, but no reshards
    are inserted around the operation.

    Args:
      support: What the lowering can do; by default nothing beyond local types.
      conservative: Shardy's ``conservative-propagation``: leaves out factors that would need sub-axes or permutes.
    """
    support = support or Support()
    options = "{conservative-propagation=true}" if conservative else ""
    correct = CorrectShardingRules(**asdict(support))
    return f"func.func(sdy-populate-op-sharding-rules{options}),{correct.to_text()}"


def unruled(result: RunResult) -> list[Unruled]:
    """The operations neither Shardy nor our table knows, from a run of `pipeline`; they run replicated."""
    ours = (ran for ran in result.statistics if ran.name == CorrectShardingRules.name)
    return [Unruled(remark.where, *remark.words) for ran in ours for remark in ran.remarks]


def populate(program: Program, support: Support | None = None) -> list[Unruled]:
    """Runs `pipeline` on ``program``, whose operations must have static shapes.

    The module may be replaced; handles into it are dead afterwards.
    """
    with _mlir.record_diagnostics():  # Shardy warns of every op without a rule; those get one
        return unruled(runner.run(program, f"builtin.module({pipeline(support)})"))


def strip(program: Program) -> None:
    """Removes every ``sdy.sharding_rule`` from ``program``."""
    for op in operations(program.module):
        attributes = op.attributes
        if RULE in attributes:
            del attributes[RULE]


def _correct(op: Any, attributes: Any, given: Any, support: Support) -> bool:
    """Puts the corrected rule in the place of ``given``; says whether it is another one."""
    rule, is_users = decode(given)
    if is_users:
        return False
    corrected = POLICIES.get(op.name, DEFAULT_POLICY)(op, rule, support)
    if corrected is rule:
        return False
    attributes[RULE] = encode(corrected)
    return True


def _add(op: Any, attributes: Any, counters: Counters) -> None:
    ranked = _mlir.ir.RankedTensorType
    types = [v.type for v in (*op.operands, *op.results)]
    if not any(isinstance(t, ranked) and t.rank for t in types):
        return
    if not all(isinstance(t, ranked) for t in types):
        # Shardy takes no rule on an operation with a token or tuple.
        counters.remark(op, f"{_title(op)} has an operand or result that is no tensor; it cannot be sharded")
        return
    make = MISSING.get(op.name)
    rule = make(op) if make is not None else None
    message = f"{_title(op)} has no sharding rule: its operands are gathered and every device runs all of it"
    if not len(op.operands) or not len(op.results):
        # Shardy takes no rule on these either; what they take and give is whole.
        counters.remark(op, message)
        return
    attributes[RULE] = encode(rule or unknown(op))
    counters.add("added")
    if rule is None:
        counters.remark(op, message, _rule_to_write(op))


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
