"""Plans a propagated module: explicit reshards and collectives by Shardy, under rules that our lowering can carry out.

Where an op cannot be lowered as planned (it has no row, or its guard objects), the plan is made again with that op
replicated: its operands are gathered, every device runs all of it, its results are cut. That is slower, reported, and
never wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from passes.partition import rows
from passes.partition.choices import CHOICES
from passes.partition.exchanges import MOVES, keep_split
from passes.partition.localize import Localizer, error_for
from passes.partition.misfits import RESHAPE, joins_many, replicate_misfits
from passes.partition.picks import rewrite_picks
from passes.partition.planned import LOWERINGS
from passes.partition.shardings import ShardingMap
from passes.pipeline import runner
from passes.program.entry import find_entry
from passes.program.read import Program
from passes.program.walk import each, operations
from passes.sharding.mesh import Mesh
from passes.sharding.op_rule_table import Support, unknown
from passes.sharding.op_rules import RULE, populate
from passes.sharding.sharding_rule import decode, encode

_INSERT = "sdy-insert-explicit-reshards{enable-full-version=true}"
_RESHARDS = f"builtin.module(func.func({_INSERT}))"
PIPELINE = f"builtin.module(func.func({_INSERT},sdy-reshard-to-collectives))"

# What the rows can lower beyond local types.
SUPPORT = Support(
    gather_from_shards=True, scatter_into_shards=True, slice_from_shards=True, update_into_shards=True,
    complete_by_region=True,
)

# What sets the rules that depend on how operands and results lie: of ops that may be lowered in several ways, and of
# those that Shardy cannot plan as they are.
_BY_SHARDINGS = CHOICES | dict.fromkeys(MOVES, keep_split) | {RESHAPE: replicate_misfits}

_MOVES = frozenset(LOWERINGS)

# Each round replicates the ops that the last one could not lower. Replicating an op can only hand its neighbours more
# replicated operands, so two rounds suffice in practice; the bound turns a surprise into an error.
_ROUNDS = 8


@dataclass(frozen=True)
class Replicated:
    """An op around which the plan replicates: where it stands and why."""

    op: str
    where: str
    reason: str


def plan(program: Program, mesh: Mesh, meshes: dict[str, Mesh]) -> tuple[Localizer, list[Replicated]]:
    """Plans ``program``, which is propagated, in place.

    Returns:
      A localizer that has read the planned shardings and found every op fit for lowering, and the ops that had to be
      replicated to get there.

    Raises:
      UserError: an op cannot be planned even with everything about it replicated.
    """
    _rule(program, mesh, meshes)
    replicated: dict[int, Replicated] = {}
    for _ in range(_ROUNDS):
        ruled = program.module
        # In the worker, so that the module as it is before stays; nearly always it is not needed again.
        runner.run(program, PIPELINE)
        localizer, problems = _audit(program, mesh, meshes)
        if not problems:
            return localizer, list(replicated.values())
        _replicate(program, ruled, problems, replicated)
    op, reason = problems[0]
    raise localizer.error(op, f"{reason}, and no plan was found that avoids it")


def with_reshards(program: Program, mesh: Mesh, meshes: dict[str, Mesh]) -> ShardingMap:
    """How every value of ``program``, which is propagated, lies once reshards are explicit; they stay reshards."""
    _rule(program, mesh, meshes)
    runner.run(program, _RESHARDS)
    shardings = ShardingMap(mesh, meshes)
    shardings.read_function(find_entry(program))
    return shardings


def _rule(program: Program, mesh: Mesh, meshes: dict[str, Mesh]) -> None:
    """Gives each op the rule that it is planned by."""
    rewrite_picks(find_entry(program), mesh, meshes)
    populate(program, SUPPORT)
    # Other functions are decompositions of composites, which are planned by themselves.
    wanted = [op for op in each(find_entry(program)) if _settle(op)]
    _choose(wanted, mesh, meshes)


def _settle(op: Any) -> bool:
    """Leaves on ``op`` a rule that planning may rely on, unmarked, because no reshards are made around marked ones.

    Returns:
      Whether it depends on shardings as well.
    """
    attributes, name = op.attributes, op.name
    given = attributes.get(RULE)
    if given is None:
        return False
    row = rows.ROWS.get(name)
    rule, is_users = decode(given)
    if is_users:
        # The same op on a part permutes within the part.
        attributes[RULE] = encode(rule.replicating(rule.permutation))
    elif row is None or row.needs_users_rule:
        attributes[RULE] = encode(unknown(op))
    return name in _BY_SHARDINGS and (name != RESHAPE or joins_many(rule))


def _choose(wanted: list[Any], mesh: Mesh, meshes: dict[str, Mesh]) -> None:
    """Fixes the rules of the ops ``wanted``, which follow from how the program is sharded."""
    if not wanted:
        return
    shardings = ShardingMap(mesh, meshes)
    shardings.read_around(wanted)
    for op in wanted:
        rule, _ = decode(op.attributes[RULE])
        chosen = _BY_SHARDINGS[op.name](shardings, op, rule)
        if chosen is not rule:
            op.attributes[RULE] = encode(chosen)


def _audit(program: Program, mesh: Mesh, meshes: dict[str, Mesh]) -> tuple[Localizer, list[tuple[Any, str]]]:
    localizer = Localizer(program, ShardingMap(mesh, meshes))
    return localizer, localizer.audit(find_entry(program))


def _replicate(
    program: Program, ruled: Any, problems: list[tuple[Any, str]], replicated: dict[int, Replicated]
) -> None:
    """Goes back to the module before planning (``ruled``) with the ops of ``problems`` replicated.

    They get a rule with a factor of its own for every dimension: upstream does not enforce replication of a factor that
    shares its dimension with others.
    """
    wanted = {op.results[0]: (op, reason) for op, reason in problems if len(op.results)}
    found = {}
    for place, op in enumerate(_unmoved(program.module)):
        if len(op.results) and op.results[0] in wanted and place not in replicated:
            _, reason = wanted.pop(op.results[0])
            found[place] = Replicated(str(op.name), str(program.where(op) or program.source), reason)
    for op, reason in problems:
        if not len(op.results) or op.results[0] in wanted:
            raise error_for(program, op, reason)
    replicated |= found
    program.module = ruled
    for place, op in enumerate(_unmoved(program.module)):
        if place in found:
            op.attributes[RULE] = encode(unknown(op))


def _unmoved(module: Any) -> list[Any]:
    """The ops of ``module`` that are no moves: planning puts these between the others and leaves those in order."""
    return operations(module, without=_MOVES)
