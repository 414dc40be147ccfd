"""Runs a pipeline in a worker process, so that native code that dies does not take this process with it.

One worker serves all runs; it is started at the first. If it dies, the run is repeated step by step in a fresh one to
learn which pass it was and what the program looked like before it, and the death becomes a `NativeFailure` with a
reproducer file.
"""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import os
import re
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any

from passes import _mlir
from passes._mlir import Diagnostic
from passes.errors import NativeFailure, UserError, Where
from passes.pipeline import native, registry, reproducer, textual, wire
from passes.pipeline.execution import Unit, units
from passes.pipeline.options import PassStatistics, RunOptions
from passes.pipeline.textual import Pipeline
from passes.program.read import Program
from passes.program.write import to_bytecode

# How a native check, an assertion or a crash handler begins what it writes on its way down.
_LAST_WORDS = re.compile(
    rb"LLVM ERROR: |F\d{4} \d\d:\d\d:\d\d|[FE]0000 00:00:|\*\*\* |Fatal Python error|terminate called|PC: @|"
    rb"    @ +0x|Stack dump:|PLEASE submit a bug report|free\(\): |malloc|double free|munmap_chunk|corrupted |"
    rb"WARNING: All log messages before absl::InitializeLog|.*Assertion `"
)
_CHECK = re.compile(r"(?:LLVM ERROR: )?(?:F\d{4} [\d:.]+ +\d+ )?(?:\S*/)?(?:([\w.]+:\d+)\] )?(.*)")


@dataclasses.dataclass(frozen=True)
class Death:
    """How a worker ended in the middle of a run: ``how`` in words, and the native check that failed, if any."""

    how: str
    check: str = ""

    def __str__(self) -> str:
        return f"{self.how}: {self.check}" if self.check else self.how


def run_isolated(
    program: Program, pipeline: Pipeline, options: RunOptions, report: Callable[[Diagnostic], None]
) -> tuple[PassStatistics, ...]:
    """Runs ``pipeline`` on ``program`` in the worker and gives ``program`` the module that comes back.

    Raises:
      NativeFailure: the worker died or took too long; ``program`` is as before.
      UserError: as `execution.execute`; ``program`` is as before.
    """
    blob = to_bytecode(program.module)
    end = _attempt(blob, pipeline, options, report)
    if isinstance(end, Death):
        raise _explain(program, blob, pipeline, options, end)
    try:
        program.module = _mlir.ir.Module.parse(end.blob, _mlir.context())
    except _mlir.ir.MLIRError as error:
        raise UserError(f"the pipeline left an invalid module: {' '.join(str(error).split())}",
                        Where(program.source)) from None
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
        "options": dataclasses.asdict(options),
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
        end = _worker().exchange(request, blob, on_event, options.timeout, silent=on_step is not None)
    if isinstance(end, Death):
        return end
    if end.data["event"] == "error":
        raise wire.decode_error(end.data["error"])
    if end.data["event"] == "bug":
        raise RuntimeError(f"a pass raised in the worker process:\n{end.data['traceback']}")
    return end


def _explain(program: Program, blob: bytes, pipeline: Pipeline, options: RunOptions, death: Death) -> NativeFailure:
    """The error for a worker that died on ``pipeline``, naming the pass, with its reproducer written."""
    found = _locate(blob, pipeline, options)
    if found is None:
        text, name, what = str(pipeline), "pipeline", f"the pipeline {pipeline}"
    else:
        unit, blob, again = found
        death = again if not death.check else death
        text, name, what = unit.text(), unit.use.name, f"pass '{unit.use.name}'"
        if unit.own is None and (inner := _inside(unit, blob, options)):
            blob, text = inner.blob, inner.text
            what = f"pass '{inner.name}' (of '{name}')"
    path, trouble = _save(blob, text, options, name)
    message = f"{what} died in native code ({death})"
    return NativeFailure(
        f"{message}; reproduce with: shlo-opt --run-reproducer {path}" if path else f"{message}; {trouble}",
        Where(program.source),
    )


def _locate(blob: bytes, pipeline: Pipeline, options: RunOptions) -> tuple[Unit, bytes, Death] | None:
    """Repeats the run pass by pass: the one that dies and the module before it; ``None`` if none dies this time."""
    steps: list[tuple[int, bytes]] = []

    def on_step(index: int, before: bytes) -> None:
        steps[:] = [(index, before)]

    plain = RunOptions(verify_each=options.verify_each, timeout=options.timeout)
    try:
        end = _attempt(blob, pipeline, plain, lambda _: None, on_step)
    except UserError:
        return None
    if not isinstance(end, Death) or not steps:
        return None
    index, before = steps[0]
    return units(pipeline)[index], before, end


@dataclasses.dataclass(frozen=True)
class _Inner:
    name: str
    text: str
    blob: bytes


def _inside(unit: Unit, blob: bytes, options: RunOptions) -> _Inner | None:
    """For a native pipeline that died: which of its passes it was, if that dies on its own too."""
    expanded = native.expansion(registry.native_name(unit.use.name), unit.use.options)
    if expanded is None:
        return None
    known = _registered_only(textual.read(expanded))
    found = _locate(blob, known, options) if known.items else None
    return _Inner(found[0].use.name, found[0].text(), found[1]) if found else None


def _registered_only(pipeline: Pipeline) -> Pipeline:
    """The pipeline without passes that only exist inside native pipelines, with native passes named as such."""
    items: list[Any] = []
    for item in pipeline.items:
        if isinstance(item, Pipeline):
            items.append(_registered_only(item))
        elif native.anchor(item.name):
            hidden = item.name in registry.OWN_PASSES
            items.append(dataclasses.replace(item, name=registry.NATIVE_PREFIX + item.name) if hidden else item)
    return dataclasses.replace(pipeline, items=tuple(items))


def _save(blob: bytes, pipeline: str, options: RunOptions, name: str) -> tuple[str, str]:
    """Writes the reproducer; returns its path, or ``""`` and why there is none."""
    try:
        module = _mlir.ir.Module.parse(blob, _mlir.context())
        text = reproducer.compose(str(module), pipeline, options.verify_each)
        return reproducer.write(options.crash_reproducer, text, name), ""
    except _mlir.ir.MLIRError:
        return "", "no reproducer: the module before it is not valid"
    except UserError as error:
        return "", f"{error.message} ({error.where})"


class _Worker:
    """A worker process and the pipes to it."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        for_requests, self._requests = os.pipe()
        self._replies, for_replies = os.pipe()
        self._output, for_output = os.pipe()
        environment = dict(os.environ)
        # The worker finds this very package, wherever it was imported from and whatever the current folder holds.
        root = str(Path(__file__).resolve().parents[2])
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (root, environment.get("PYTHONPATH"))))
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "passes.pipeline.worker", str(for_requests), str(for_replies)],
            stdin=subprocess.DEVNULL,
            stdout=for_output,
            stderr=for_output,
            pass_fds=(for_requests, for_replies),
            env=environment,
        )
        for descriptor in (for_requests, for_replies, for_output):
            os.close(descriptor)
        os.set_blocking(self._output, False)

    def alive(self) -> bool:
        """Whether the process can take a request."""
        return self.owner == os.getpid() and self._process.poll() is None

    def exchange(
        self,
        request: dict[str, Any],
        blob: bytes,
        on_event: Callable[[wire.Frame], None],
        timeout: float | None,
        *,
        silent: bool,
    ) -> wire.Frame | Death:
        """Sends a request and waits for its last reply; what the worker prints goes to standard error meanwhile."""
        output = _Output(silent)
        try:
            with contextlib.suppress(BrokenPipeError):
                wire.send(self._requests, request, blob)
            end = self._wait(on_event, output, None if timeout is None else time.monotonic() + timeout)
        except BaseException:
            # An interrupt, or an error in a callback: the worker is in the middle of something nobody waits for.
            self.close(kill=True)
            raise
        self._drain(output)
        if isinstance(end, wire.Frame):
            output.finish()
            return end
        how = self._last_exit(end, timeout)
        return Death(how, _condensed(output.last_words()))

    def _wait(
        self, on_event: Callable[[wire.Frame], None], output: _Output, deadline: float | None
    ) -> wire.Frame | str:
        """The last reply, or ``"end"`` if the worker is gone, or ``"timeout"``."""
        buffer = wire.Buffer()
        with selectors.DefaultSelector() as selector:
            selector.register(self._replies, selectors.EVENT_READ)
            selector.register(self._output, selectors.EVENT_READ)
            while True:
                remaining = None if deadline is None else deadline - time.monotonic()
                ready = {key.fd for key, _ in selector.select(remaining)} if remaining is None or remaining > 0 else ()
                if not ready:
                    return "timeout"
                if self._output in ready and not self._drain(output):
                    selector.unregister(self._output)
                if self._replies not in ready:
                    continue
                chunk = os.read(self._replies, 1 << 20)
                if not chunk:
                    return "end"
                for frame in buffer.feed(chunk):
                    if frame.data["event"] in ("done", "error", "bug"):
                        return frame
                    self._drain(output)
                    on_event(frame)

    def _drain(self, output: _Output) -> bool:
        """Forwards what is in the output pipe; false once it is closed."""
        while True:
            try:
                chunk = os.read(self._output, 1 << 16)
            except BlockingIOError:
                return True
            if not chunk:
                return False
            output.feed(chunk)

    def _last_exit(self, end: str, timeout: float | None) -> str:
        if end == "timeout":
            self.close(kill=True)
            return f"no end after {timeout:g} seconds"
        code = self._process.wait()
        self.close()
        return signal.Signals(-code).name if code < 0 else f"exit status {code}"

    def close(self, kill: bool = False) -> None:
        """Ends the process and releases the pipes."""
        for descriptor in (self._requests, self._replies, self._output):
            with contextlib.suppress(OSError):
                os.close(descriptor)
        if self.owner != os.getpid():
            self._process.returncode = 0  # Another process's child: not ours to wait for.
            return
        if kill:
            self._process.kill()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class _Output:
    """Passes on what the worker prints, whole lines at once, but holds back what looks like its last words."""

    def __init__(self, silent: bool) -> None:
        self._silent = silent
        self._rest = b""
        self._held = b""

    def feed(self, chunk: bytes) -> None:
        """Takes the next piece of output."""
        if self._held:
            self._held += chunk
            return
        lines = (self._rest + chunk).splitlines(keepends=True)
        self._rest = lines.pop() if lines and not lines[-1].endswith(b"\n") else b""
        fatal = next((i for i, line in enumerate(lines) if _LAST_WORDS.match(line)), len(lines))
        self._forward(b"".join(lines[:fatal]))
        self._held = b"".join(lines[fatal:])
        if self._held:
            self._held, self._rest = self._held + self._rest, b""

    def finish(self) -> None:
        """The worker lives: nothing was its last words."""
        self._forward(self._held + self._rest)
        self._held = self._rest = b""

    def last_words(self) -> str:
        """What was held back when the worker died."""
        return (self._held or self._rest).decode(errors="replace")

    def _forward(self, data: bytes) -> None:
        if self._silent or not data:
            return
        sys.stderr.flush()
        with contextlib.suppress(OSError):
            while data:
                data = data[os.write(2, data) :]


def _condensed(last_words: str) -> str:
    """The check that failed, in one line: ``Check failed: funcOp Failed to lookup function: main (utils.cc:1143)``."""
    for line in last_words.splitlines():
        if re.search(r"Check failed|LLVM ERROR|Assertion|terminate called|free\(\)|corrupt", line):
            match = _CHECK.match(line.strip())
            place, text = (match[1], match[2]) if match else (None, line.strip())
            text = text if len(text) <= 300 else text[:297] + "..."
            return f"{text} ({place})" if place else text
    return ""


_lock = Lock()
_current: _Worker | None = None


def _worker() -> _Worker:
    """The process's worker, started if there is none that lives."""
    global _current
    if _current is None or not _current.alive():
        if _current is not None:
            _current.close()
        _current = _Worker()
    return _current


@atexit.register
def shut_down() -> None:
    """Ends the worker, if there is one."""
    global _current
    if _current is not None:
        _current.close()
        _current = None
