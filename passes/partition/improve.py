"""Brings functions and composites back into a lowered program, and makes its collectives fewer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from passes import _mlir
from passes.optimize.cse import Cse
from passes.optimize.dead_ops import DeadOps
from passes.partition.cancel_moves import CancelMoves
from passes.partition.combine_collectives import CombineCollectives
from passes.partition.delay_reductions import DelayReductions
from passes.partition.hoist_gathers import HoistGathers
from passes.partition.meetings import may_meet, will_meet
from passes.partition.merge_collectives import MergeCollectives
from passes.partition.outline import Flat, Keep, Outliner
from passes.partition.summary import Calls, collectives, volume
from passes.pipeline import runner
from passes.pipeline.base import Pass
from passes.pipeline.options import RunOptions
from passes.program.read import Program


@dataclass(frozen=True)
class Communication:
    """What may be done about collectives once they are there.

    Attributes:
      reorder_sums: Whether floating-point sums over devices may be added in another order where that saves reductions.
      combine: Up to how many bytes independent collectives are combined into one; 0 leaves them alone.
      hoist: Whether loops gather what they do not change once, before they run, for the memory of the whole.
    """

    reorder_sums: bool = True
    combine: int = 0
    hoist: bool = False


_DEFAULTS = Communication()
# Verifying after each of these takes as long as it does; what they leave is verified once.
_UNVERIFIED = RunOptions(verify_each=False)


@dataclass(frozen=True)
class _Attempt:
    """A finished module: what it sends, which composites are flat in it, what the passes over collectives did.

    Attributes:
      may_meet: Whether its collectives might have become fewer in one function.
    """

    may_meet: bool
    volume: tuple[float, int]
    collectives: Calls
    module: Any
    flat: tuple[Flat, ...]
    changes: dict[str, int]


def improve(
    program: Program, outliner: Outliner, communication: Communication | None
) -> tuple[tuple[Flat, ...], dict[str, int], Calls]:
    """Brings functions and composites back and makes less of the collectives.

    What passes over collectives find is in one function. So functions that talk stay inlined, or all do, if that is the
    way to move less data; neither is tried where nothing can come of it, and not all are kept where something must.

    Returns:
      The composites that are left flat, what was done about collectives (`Report.changes`), and which are left.
    """
    spare = _copy(program.module) if outliner.has_calls and communication else None
    best = _attempt(program, outliner, Keep.LOCAL if _is_sure(outliner, communication) else Keep.ALL, communication)
    others = outliner.alternatives(best.may_meet) if spare is not None and best.volume > (0, 0) else []
    for keep in others:
        program.module = spare if keep is others[-1] else _copy(spare)
        # Of those that move no less, the first one keeps most functions.
        best = min(best, _attempt(program, outliner, keep, communication), key=lambda attempt: attempt.volume)
    program.module = best.module
    return best.flat, best.changes, best.collectives


def _is_sure(outliner: Outliner, communication: Communication | None) -> bool:
    """Whether less is moved for sure if functions that talk stay inlined."""
    # What combines collectives may have others to combine then.
    return communication is not None and not communication.combine and will_meet(outliner)


def _attempt(program: Program, outliner: Outliner, keep: Keep, communication: Communication | None) -> _Attempt:
    flat = outliner.outline(keep)
    # Others gather and combine what has nothing to do with each other.
    everywhere = communication is not None and (communication.hoist or communication.combine > 0)
    meet = keep is Keep.ALL and communication is not None and (everywhere or may_meet(program.module))
    changes = _run(program, communication)
    found = collectives(program.module)
    return _Attempt(meet, volume(found), found, program.module, flat, changes)


def _copy(module: Any) -> Any:
    """A copy of a module, in less time and memory than its bytecode takes."""
    copy = _mlir.ir.Module.create(module.operation.location)
    for key in module.operation.attributes:
        copy.operation.attributes[key] = module.operation.attributes[key]
    point = _mlir.ir.InsertionPoint(copy.body)
    for view in module.body.operations:
        view.operation.clone(ip=point)
    return copy


def improvements(communication: Communication | None = _DEFAULTS) -> list[Pass]:
    """The passes that end partitioning: equal ops are one, and, with ``communication``, collectives become fewer."""
    passes: list[Pass] = [Cse(), DeadOps()]
    if communication is not None:
        reorder = communication.reorder_sums
        passes += [CancelMoves(), MergeCollectives(reorder), DelayReductions(reorder)]
        if communication.hoist:
            passes.append(HoistGathers())
        if communication.combine:
            passes.append(CombineCollectives(communication.combine))
    return passes


def _run(program: Program, communication: Communication | None) -> dict[str, int]:
    """Runs `improvements`; what they did to collectives."""
    passes = improvements(communication)
    result = runner.run(program, f"builtin.module({','.join(own.to_text() for own in passes)})", _UNVERIFIED)
    shown = {own.name for own in passes[2:]}
    return {
        f"{ran.name}.{count.name}": count.value
        for ran in result.statistics
        if ran.name in shown
        for count in ran.counts
        if count.value
    }
