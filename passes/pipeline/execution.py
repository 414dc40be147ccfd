"""Executes a pipeline in this process: each pass in a native pass manager, ours and MLIR's alike.

Native pass managers verify, print the IR and take times around passes of ours just as around their own. Every pass
gets a manager of its own, so that a failure has a name; a report that spans passes (times, a tree of files) needs one
manager for all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from passes import _mlir
from passes._mlir import Diagnostic
from passes.errors import UserError
from passes.pipeline import prechecks, removals, reproducer, textual
from passes.pipeline.base import Counters, Pass
from passes.pipeline.diagnostics import one_line
from passes.pipeline.ir_printing import printing
from passes.pipeline.options import Count, PassFailure, PassStatistics, Remarked, RunOptions
from passes.pipeline.registry import native_name
from passes.pipeline.textual import ROOT_ANCHOR, PassUse, Pipeline


@dataclass(frozen=True)
class Unit:
    """One pass of a pipeline: the anchors around it, outermost first, and the pass itself if it is ours."""

    anchors: tuple[str, ...]
    use: PassUse
    own: Pass | None

    def text(self) -> str:
        """The pipeline of this pass alone."""
        text = str(self.own.to_text() if self.own else self.native_text())
        for anchor in reversed(self.anchors):
            text = f"{anchor}({text})"
        return text

    def native_text(self) -> str:
        """The native pass as the bindings know it."""
        return str(PassUse(native_name(self.use.name), self.use.options))


def units(pipeline: Pipeline) -> tuple[Unit, ...]:
    """The passes of ``pipeline`` in order. Passes in one nest see one function each, so they may run one by one."""
    return tuple(Unit(anchors, use, textual.own_pass(use)) for anchors, use in pipeline.uses())


def execute(
    module: Any,
    pipeline: Pipeline,
    options: RunOptions,
    *,
    report: Callable[[Diagnostic], None],
    before: Callable[[int], None] | None = None,
) -> tuple[PassStatistics, ...]:
    """Transforms ``module`` in place.

    Args:
      module: ``ir.Module``; after an exception it is in the state the failing pass left it in.
      pipeline: What to run.
      options: How; ``isolation``, ``timeout`` and ``statistics`` do not matter here.
      report: Called with each diagnostic that is not the reason of a failure.
      before: Called with the index of each pass before it runs.

    Returns:
      The statistics of each pass.

    Raises:
      PassFailure: a pass failed or the module it left does not verify.
      UserError: raised by a pass of ours.
    """
    every = units(pipeline)
    operation = module.operation
    if every:
        _precheck(operation, every[0])
    if (options.timing or options.tree_dir) and every and not before:
        return _together(operation, every, options, report)
    found: list[PassStatistics] = []
    for index, unit in enumerate(every):
        if index:
            _precheck(operation, unit)
        if before:
            before(index)
        found += _guarded(operation, unit, options, report)
    return tuple(found)


def _precheck(operation: Any, unit: Unit) -> None:
    if unit.own is None:
        prechecks.check_pass(operation, native_name(unit.use.name))


def _guarded(
    operation: Any, unit: Unit, options: RunOptions, report: Callable[[Diagnostic], None]
) -> list[PassStatistics]:
    if not options.crash_reproducer:
        return _run(operation, (unit,), options, report)
    untouched = operation.clone()
    try:
        return _run(operation, (unit,), options, report)
    except PassFailure as failure:
        text = reproducer.compose(str(untouched), unit.text(), options.verify_each)
        try:
            path = reproducer.write(options.crash_reproducer, text, unit.use.name)
            failure.notes += ((None, f"reproduce with: shlo-opt --run-reproducer {path}"),)
        except UserError as error:
            failure.notes += ((error.where, error.message),)
        raise


def _together(
    operation: Any, every: tuple[Unit, ...], options: RunOptions, report: Callable[[Diagnostic], None]
) -> tuple[PassStatistics, ...]:
    untouched = operation.clone()
    try:
        return tuple(_run(operation, every, options, report))
    except PassFailure:
        # One manager does not say which of its passes failed; running them one by one on the saved module does.
        plain = RunOptions(verify_each=options.verify_each, crash_reproducer=options.crash_reproducer)
        for unit in every:
            _guarded(untouched, unit, plain, lambda _: None)
        raise


def _run(
    operation: Any, every: Sequence[Unit], options: RunOptions, report: Callable[[Diagnostic], None]
) -> list[PassStatistics]:
    manager = _mlir.passmanager.PassManager(ROOT_ANCHOR, _mlir.context())
    manager.enable_verifier(options.verify_each)
    explain = options.note_removals or options.explain_removed is not None
    counters = [_add(manager, unit, explain=explain) for unit in every]
    with printing(manager, [u.use for u in every], options), _mlir.collect_diagnostics() as said:
        if options.timing:
            manager.enable_timing()
        try:
            manager.run(operation)
        except _mlir.ir.MLIRError as error:
            raise _failure(every, said, str(error), report) from None
        finally:
            del manager  # The destructor prints the times, which belong before anything a caller prints.
    for diagnostic in said:
        report(diagnostic)
    return [_statistics(unit, counted) for unit, counted in zip(every, counters, strict=True)]


def _add(manager: Any, unit: Unit, *, explain: bool) -> Counters:
    own = unit.own
    if own is None:
        text = unit.native_text()
        for anchor in reversed(unit.anchors[1:]):
            text = f"{anchor}({text})"
        manager.add(text)
        return Counters(())
    counters = Counters(own.statistics, explain=explain)

    def call(op: Any, _: Any) -> None:
        for module in _modules(op.operation, unit.anchors[1:]):
            own.run(module, counters)

    manager.add(call, name=type(own).__name__, argument=own.to_text(), description=own.summary)
    return counters


def _modules(root: Any, anchors: Sequence[str]) -> list[Any]:
    """The modules a pass of ours runs on under ``anchors``; it works on whole modules, also in a nest of functions."""
    found = [root]
    for anchor in anchors:
        if anchor == ROOT_ANCHOR:
            inner = [op.operation for module in found for op in module.regions[0].blocks[0].operations]
            found = [op for op in inner if op.name == ROOT_ANCHOR]
    return found


def _statistics(unit: Unit, counters: Counters) -> PassStatistics:
    declared = unit.own.statistics if unit.own else ()
    counts = tuple(Count(s.name, s.help, counters[s.name]) for s in declared)
    removed = None if counters.removals is None else removals.collect(counters.removals)
    remarks = tuple(Remarked(_mlir.where_of(r.location), r.words) for r in counters.remarks)
    return PassStatistics(unit.anchors, unit.use.name, counts, removed, remarks)


def _failure(
    every: Sequence[Unit], said: list[Diagnostic], error: str, report: Callable[[Diagnostic], None]
) -> PassFailure:
    errors = [d for d in said if d.severity == "error"]
    for diagnostic in said:
        if diagnostic.severity != "error":
            report(diagnostic)
    names = ", ".join(dict.fromkeys(unit.use.name for unit in every))
    if not errors:
        reason = " ".join(error.split()).removeprefix("Failure while executing pass pipeline").strip(": ")
        return PassFailure(f"pass '{names}' failed: {reason or 'it gave no reason'}", pass_name=names)
    first, *others = errors
    notes = [note for d in (first, *others) for note in (*([d] if d is not first else []), *d.notes)]
    return PassFailure(
        f"pass '{names}' failed: {one_line(first.message)}",
        first.where,
        pass_name=names,
        notes=tuple((note.where, one_line(note.message)) for note in notes),
        diagnostics=tuple(said),
    )
