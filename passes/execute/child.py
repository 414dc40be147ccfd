"""A child process that runs jobs, because XLA and the interpreter abort the whole process on some bad modules.

The parent writes a job into a folder and sends one line ``{"engine": ..., "folder": ...}``; the child answers with one
line when the results are in the folder. Arrays are files of raw bytes; nothing is ever unpickled. The child is started
once and serves all jobs of its parent; after it dies, the next job starts another.
"""

from __future__ import annotations

import atexit
import contextlib
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
from passes.pipeline.lifetime import die_with_parent

# Engine name -> module with `execute(job)`.
ENGINES = {
    "xla": "passes.execute.xla_cpu",
    "interpreter": "passes.execute.interpreter",
    "plugin": "passes.execute.plugin",
}


# Virtual devices share few cores and wait for each other at collectives; XLA would abort the process after 40 s. A
# program whose devices wait in vain (collectives that do not match) ends after half an hour. Flags that a release does
# not know abort it at its start; they are then given up.
_flags = ["--xla_cpu_collective_call_terminate_timeout_seconds=1800"]


class Child:
    """One running child. ``log`` collects what native code writes to its stderr."""

    def __init__(self) -> None:
        self.log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by stop()
        environment = {
            **os.environ,
            "TF_CPP_MIN_LOG_LEVEL": "2",
            "PYTHONPATH": os.pathsep.join(_search_path()),
            # What the user sets comes last and wins.
            "XLA_FLAGS": " ".join([*_flags, os.environ.get("XLA_FLAGS", "")]),
        }
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
        self.send(request)
        return self.receive(timeout)

    def send(self, request: dict[str, Any]) -> None:
        """Sends one request; a child that died says so when its answer is received."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            self.process.stdin.flush()

    def receive(self, timeout: float | None) -> dict[str, Any] | None:
        """Waits for the answer to a request; ``None`` if the child died. Raises TimeoutError."""
        assert self.process.stdout is not None
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


def running() -> Child | None:
    """The child, if there is one."""
    return _running[0] if _running else None


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
        job.save(Path(name))
        try:
            answer = _exchange({"engine": engine, "folder": name}, timeout)
        except TimeoutError:
            stop_all()
            raise NativeFailure(f"{engine} did not finish within {timeout:g} s") from None
        except KeyboardInterrupt:
            stop_all()
            raise
        if answer is None:
            failure = death(f"the process that ran the program on {engine}", job, _running[0])
            stop_all()
            raise failure
        if "error" in answer:
            raise UserError(answer["error"])
        return load_results(Path(name))


def _exchange(request: dict[str, Any], timeout: float | None) -> dict[str, Any] | None:
    """Asks the child; ``None`` if it died for a reason other than flags it does not know."""
    answer = _child().ask(request, timeout)
    if answer is None and _flags and "Unknown flag" in _running[0].last_words():
        _flags.clear()
        stop_all()
        answer = _child().ask(request, timeout)
    return answer


def death(who: str, job: Job, child: Child) -> NativeFailure:
    """The error about ``child``, which died running ``job``; it keeps the job's module."""
    code = child.process.wait()
    words = child.last_words()
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"
    with tempfile.NamedTemporaryFile(prefix="shlo-reproducer-", suffix=".mlirbc", delete=False) as file:
        file.write(job.code)
    reason = f": {words}" if words else ""
    return NativeFailure(f"{who} {how}{reason}; its module is in {file.name}")


def execute(engine: str, job: Job) -> list[list[np.ndarray]]:
    """Runs ``job`` in this process. An engine may name what it runs on: ``plugin:PATH``."""
    name, _, argument = engine.partition(":")
    found: list[list[np.ndarray]] = import_module(ENGINES[name]).execute(job, *([argument] if argument else []))
    return found


def _run_request(request: dict[str, Any], job: Job) -> list[list[np.ndarray]]:
    if "seat" not in request:
        return execute(request["engine"], job)
    from passes.execute.xla_cpu import Seat, execute_seated

    return execute_seated(job, Seat(**request["seat"]))


def _serve() -> None:
    # A parent killed while native code runs here would leave this process running for nobody.
    die_with_parent()
    # Native code may print; the answers get a descriptor of their own and stdout becomes stderr.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        folder = Path(request["folder"])
        try:
            save_results(folder / request.get("into", ""), _run_request(request, load_job(folder)))
            answer = {}
        except UserError as error:
            answer = {"error": error.message}
        answers.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    _serve()
