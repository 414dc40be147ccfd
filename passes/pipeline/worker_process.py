"""The worker process as its parent sees it: requests go in, replies and what it prints come out, and it may die."""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from passes.errors import UserError
from passes.pipeline import wire

# How a native check, an assertion or a crash handler begins what it writes on its way down.
_LAST_WORDS = re.compile(
    rb"LLVM ERROR: |F\d{4} \d\d:\d\d:\d\d|[FE]0000 00:00:|\*\*\* |Fatal Python error|terminate called|PC: @|"
    rb"    @ +0x|Stack dump:|PLEASE submit a bug report|free\(\): |malloc|double free|munmap_chunk|corrupted |"
    rb"WARNING: All log messages before absl::InitializeLog|.*Assertion `"
)
_CHECK = re.compile(r"(?:LLVM ERROR: )?(?:F\d{4} [\d:.]+ +\d+ )?(?:\S*/)?(?:([\w.]+:\d+)\] )?(.*)")


@dataclass(frozen=True)
class Death:
    """How a worker ended in the middle of a run.

    Attributes:
      how: The signal, exit status or time limit.
      check: The native check that failed, if one was printed.
      from_outside: Whether somebody else killed it: the system for want of memory, or a user.
    """

    how: str
    check: str = ""
    from_outside: bool = False

    def __str__(self) -> str:
        return f"{self.how}: {self.check}" if self.check else self.how


class Worker:
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
        self._ready = False
        self._closed = False

    @property
    def pid(self) -> int:
        """The worker's process id."""
        return self._process.pid

    def alive(self) -> bool:
        """Whether the process can take a request."""
        return not self._closed and self.owner == os.getpid() and self._process.poll() is None

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
        output = Output(silent)
        try:
            if not self._ready:
                self._start()
            with contextlib.suppress(BrokenPipeError):
                wire.send(self._requests, request, blob)
            end = self._wait(on_event, output, None if timeout is None else time.monotonic() + timeout)
        except BaseException:
            # An interrupt, or an error in a callback: the worker is in the middle of something nobody waits for.
            self.close()
            raise
        self._drain(output)
        if isinstance(end, wire.Frame):
            output.finish()
            return end
        how = self._last_exit(end, timeout)
        return Death(how, _condensed(output.last_words()), how == signal.SIGKILL.name)

    def _start(self) -> None:
        """Waits until the worker is ready; what it takes for that is no part of anybody's time limit."""
        output = Output(silent=True, hold=True)
        if self._wait(lambda _: None, output, None) == "end":
            self._drain(output)
            lines = output.last_words().strip().splitlines() or [self._last_exit("end", None)]
            raise UserError(f"the worker process for native passes does not start ({lines[-1]}); "
                            "--no-isolation runs them in this process")
        self._ready = True

    def _wait(
        self, on_event: Callable[[wire.Frame], None], output: Output, deadline: float | None
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
                    if frame.data["event"] in ("ready", "done", "error", "bug"):
                        return frame
                    self._drain(output)
                    on_event(frame)

    def _drain(self, output: Output) -> bool:
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
            self.close()
            return f"no end after {timeout:g} seconds"
        code = self._process.wait()
        self.close()
        return signal.Signals(-code).name if code < 0 else f"exit status {code}"

    def close(self) -> None:
        """Ends the process, whatever it is doing, and releases the pipes; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        for descriptor in (self._requests, self._replies, self._output):
            os.close(descriptor)
        if self.owner != os.getpid():
            self._process.returncode = 0  # Another process's child: not ours to wait for.
            return
        self._process.kill()
        self._process.wait()


class Output:
    """Passes on what the worker prints, whole lines at once, but holds back what looks like its last words.

    Args:
      silent: Drop what is not held back.
      hold: Hold back everything.
    """

    def __init__(self, silent: bool, hold: bool = False) -> None:
        self._silent = silent
        self._hold = hold
        self._rest = b""
        self._held = b""

    def feed(self, chunk: bytes) -> None:
        """Takes the next piece of output."""
        if self._held or self._hold:
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


_current: Worker | None = None


def running() -> Worker | None:
    """The worker that runs now, if there is one."""
    return _current if _current is not None and _current.alive() else None


def current() -> Worker:
    """The process's worker, started if there is none that lives."""
    global _current
    if _current is None or not _current.alive():
        if _current is not None:
            _current.close()
        _current = Worker()
    return _current


@atexit.register
def shut_down() -> None:
    """Ends the worker, if there is one."""
    global _current
    if _current is not None:
        _current.close()
        _current = None
