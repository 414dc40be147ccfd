"""A child process that runs jobs, because XLA and the interpreter abort the whole process on some bad modules.

The parent writes a job into a folder and sends one line ``{"engine": ..., "folder": ...}``; the child answers with one
line when the results are in the folder. Arrays are files of raw bytes; nothing is ever unpickled. The child is started
once and serves all jobs of its parent; after it dies, the next job starts another.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
from importlib import import_module
from pathlib import Path
from typing import IO, Any

import numpy as np

from passes.errors import NativeFailure, UserError
from passes.execute.job import Job, load_job, load_results, save_results

# Engine name -> module with `execute(job)`.
ENGINES = {"xla": "passes.execute.xla_cpu", "interpreter": "passes.execute.interpreter"}


class Child:
    """One running child. ``log`` collects what native code writes to its stderr."""

    def __init__(self) -> None:
        self.log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by stop()
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONPATH": os.pathsep.join(_search_path())}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "passes.execute.child"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, env=environment,
        )

    def alive(self) -> bool:
        """Whether it can take a job."""
        return self.process.poll() is None

    def stop(self) -> None:
        """Ends it, whatever it is doing."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.log):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()

    def ask(self, request: dict[str, Any], timeout: float | None) -> dict[str, Any] | None:
        """Sends one request and waits for its answer; ``None`` if the child died. Raises TimeoutError."""
        assert self.process.stdin is not None and self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            self.process.stdin.flush()
        if not select.select([self.process.stdout], [], [], timeout)[0]:
            raise TimeoutError
        line = self.process.stdout.readline()
        return json.loads(line) if line else None

    def last_words(self) -> str:
        """What the child wrote to stderr that says why it died: the first fatal line, else the last line."""
        self.log.seek(0)
        lines = [line for line in self.log.read().decode(errors="replace").splitlines() if line.strip()]
        fatal = [line for line in lines if line.startswith(("F", "LLVM ERROR", "Fatal")) or "Check fail" in line]
        return (fatal or lines[-1:] or [""])[0].strip()


_lock = threading.Lock()
_running: list[Child] = []


def _search_path() -> list[str]:
    """The child must find this package even if it is not installed."""
    return [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]


@atexit.register
def stop_all() -> None:
    """Ends the child, if there is one."""
    while _running:
        _running.pop().stop()


def _child() -> Child:
    if _running and not _running[0].alive():
        stop_all()
    if not _running:
        _running.append(Child())
    return _running[0]


def run(engine: str, job: Job, timeout: float | None = None) -> list[list[np.ndarray]]:
    """Runs ``job`` on ``engine`` in the child.

    Args:
      timeout: Seconds after which the child is ended; ``None`` waits for ever.

    Raises:
      UserError: the engine refused the job.
      NativeFailure: the child died or ran out of time.
    """
    with _lock, tempfile.TemporaryDirectory(prefix="shlo-run-") as name:
        child = _child()
        job.save(Path(name))
        try:
            answer = child.ask({"engine": engine, "folder": name}, timeout)
        except TimeoutError:
            stop_all()
            raise NativeFailure(f"{engine} did not finish within {timeout:g} s") from None
        except KeyboardInterrupt:
            stop_all()
            raise
        if answer is None:
            raise _death(engine, job, child)
        if "error" in answer:
            raise UserError(answer["error"])
        return load_results(Path(name))


def _death(engine: str, job: Job, child: Child) -> NativeFailure:
    code = child.process.wait()
    words = child.last_words()
    stop_all()
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"
    with tempfile.NamedTemporaryFile(prefix="shlo-reproducer-", suffix=".mlirbc", delete=False) as file:
        file.write(job.code)
    reason = f": {words}" if words else ""
    return NativeFailure(f"the process that ran the program on {engine} {how}{reason}; its module is in {file.name}")


@functools.cache
def engine_module(name: str) -> Any:
    """The module that implements an engine."""
    return import_module(ENGINES[name])


def _serve() -> None:
    # Native code may print; the answers get a descriptor of their own and stdout becomes stderr.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        folder = Path(request["folder"])
        try:
            save_results(folder, engine_module(request["engine"]).execute(load_job(folder)))
            answer = {}
        except UserError as error:
            answer = {"error": error.message}
        answers.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    _serve()
