"""Runs a pipeline in a worker process, so that native code that dies does not take this process with it.

If the worker dies, the run is repeated step by step in a fresh one to learn which pass it was and what the program
looked like before it, and the death becomes a `NativeFailure` with a reproducer file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from threading import Lock
from typing import Any

from passes import _mlir
from passes._mlir import Diagnostic
from passes.errors import NativeFailure, UserError, Where
from passes.pipeline import native, registry, reproducer, textual, wire, worker_process
from passes.pipeline.execution import units
from passes.pipeline.options import PassStatistics, RunOptions
from passes.pipeline.textual import PassUse, Pipeline
from passes.pipeline.worker_process import Death
from passes.program.read import Program
from passes.program.write import to_bytecode

_lock = Lock()


@dataclass(frozen=True)
class _Fatal:
    """A pass that kills the worker: what to call it, its pipeline, the module before it, and the death."""

    use: PassUse
    pipeline: str
    before: bytes
    death: Death


def run_isolated(
    program: Program, pipeline: Pipeline, options: RunOptions, report: Callable[[Diagnostic], None]
) -> tuple[PassStatistics, ...]:
    """Runs ``pipeline`` on ``program`` in the worker and gives ``program`` the module that comes back.

    Raises:
      NativeFailure: the worker died or took too long; ``program`` is as before.
      UserError: as `execution.execute`; ``program`` is as before.
    """
    worker_process.current()  # It starts up while the module is written.
    blob = to_bytecode(program.module)
    end = _attempt(blob, pipeline, options, report)
    if isinstance(end, Death):
        end = _explain(program, blob, pipeline, options, end)
    with _mlir.collect_diagnostics() as said:
        try:
            program.module = _mlir.ir.Module.parse(end.blob, _mlir.context())
        except _mlir.ir.MLIRError:
            reason = said[0] if said else None
            message = " ".join(reason.message.split()) if reason else "it does not verify"
            where = reason.where if reason else None
            raise UserError(f"the pipeline left an invalid module: {message}", where) from None
    return wire.decode_statistics(end.data["statistics"])


def _attempt(
    blob: bytes,
    pipeline: Pipeline,
    options: RunOptions,
    report: Callable[[Diagnostic], None],
    on_step: Callable[[int, bytes], None] | None = None,
) -> wire.Frame | Death:
    request = {
        "pipeline": str(pipeline),
        "options": asdict(options),
        "allow_unregistered": bool(_mlir.context().allow_unregistered_dialects),
        "own_passes": registry.OWN_PASSES,
        "step_by_step": on_step is not None,
    }

    def on_event(frame: wire.Frame) -> None:
        if frame.data["event"] == "diagnostic":
            report(wire.decode_diagnostic(frame.data["diagnostic"]))
        elif on_step:
            on_step(frame.data["index"], frame.blob)

    with _lock:
        end = worker_process.current().exchange(request, blob, on_event, options.timeout, silent=on_step is not None)
    if isinstance(end, Death):
        return end
    if end.data["event"] == "error":
        raise wire.decode_error(end.data["error"])
    if end.data["event"] == "bug":
        raise RuntimeError(f"a pass raised in the worker process:\n{end.data['traceback']}")
    return end


def _explain(
    program: Program, blob: bytes, pipeline: Pipeline, options: RunOptions, death: Death
) -> wire.Frame:
    """Repeats a run the worker died in; its result if the death came from outside, else raises `NativeFailure`."""
    again = _repeat(blob, pipeline, options)
    if isinstance(again, wire.Frame) and death.from_outside:
        return again
    if isinstance(again, _Fatal):
        what, check = f"pass '{again.use.name}'", death.check or again.death.check
        death = replace(again.death, check=check)
        if inner := _inside(again, options):
            what, again = f"pass '{inner.use.name}' (of '{again.use.name}')", inner
    else:
        what, again = f"a pass of {pipeline}", _Fatal(PassUse("pipeline"), str(pipeline), blob, death)
        death = replace(death, how=f"{death.how}, but not when repeated")
    message = f"{what} died in native code ({death}); {_save(again, options)}"
    raise NativeFailure(message, Where(program.source))


def _repeat(blob: bytes, pipeline: Pipeline, options: RunOptions) -> wire.Frame | _Fatal | None:
    """Runs ``pipeline`` pass by pass: its result, or the pass that dies; ``None`` if it dies before the first.

    Raises:
      UserError: a pass refuses what it is given, which only a run pass by pass finds out in time.
    """
    steps: list[tuple[int, bytes]] = []

    def on_step(index: int, before: bytes) -> None:
        steps[:] = [(index, before)]

    plain = RunOptions(verify_each=options.verify_each, timeout=options.timeout)
    end = _attempt(blob, pipeline, plain, lambda _: None, on_step)
    if not isinstance(end, Death):
        return end
    if not steps:
        return None
    unit = units(pipeline)[steps[0][0]]
    return _Fatal(unit.use, unit.text(), steps[0][1], end)


def _inside(fatal: _Fatal, options: RunOptions) -> _Fatal | None:
    """For a native pipeline: which of its passes it was, if that dies on its own too."""
    if fatal.use.name in registry.OWN_PASSES:
        return None
    expanded = native.expansion(registry.native_name(fatal.use.name), fatal.use.options)
    if expanded is None:
        return None
    try:
        found = _repeat(fatal.before, _registered_only(textual.read(expanded)), options)
    except UserError:
        return None
    return found if isinstance(found, _Fatal) else None


def _registered_only(pipeline: Pipeline) -> Pipeline:
    """The pipeline without passes that only exist inside native pipelines, with native passes named as such."""
    items: list[Any] = []
    for item in pipeline.items:
        if isinstance(item, Pipeline):
            items.append(_registered_only(item))
        elif native.anchor(item.name):
            hidden = item.name in registry.OWN_PASSES
            items.append(replace(item, name=registry.NATIVE_PREFIX + item.name) if hidden else item)
    return replace(pipeline, items=tuple(items))


def _save(fatal: _Fatal, options: RunOptions) -> str:
    """Writes the reproducer; returns the words that name it, or the reason why there is none."""
    try:
        module = _mlir.ir.Module.parse(fatal.before, _mlir.context())
        text = reproducer.compose(str(module), fatal.pipeline, options.verify_each)
        path = reproducer.write(options.crash_reproducer, text, fatal.use.name)
    except _mlir.ir.MLIRError:
        return "there is no reproducer, because the module before it is not valid"
    except UserError as error:
        return f"{error.message} ({error.where})"
    return f"reproduce with: shlo-opt --run-reproducer {path}"
