"""Several processes that run one per-device program together, each with its share of the devices.

They are started for one job on this machine and talk over loopback as they would between machines; the results of their
devices are put together.
"""

from __future__ import annotations

import contextlib
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from passes.errors import NativeFailure, UserError
from passes.execute.child import Child, death
from passes.execute.job import Job, load_results


def run(job: Job, processes: int, timeout: float | None = None) -> list[list[np.ndarray]]:
    """Runs a per-device ``job`` in ``processes`` processes; returns ``results[result][device]``.

    Raises:
      UserError: the processes cannot share the devices equally, or XLA refuses the program.
      NativeFailure: a process died, or they ran out of time.
    """
    if job.devices % processes:
        raise UserError(f"{job.devices} devices cannot be shared equally by {processes} processes")
    with tempfile.TemporaryDirectory(prefix="shlo-run-") as name, _children(processes) as children:
        folder = Path(name)
        job.save(folder)
        address = f"127.0.0.1:{_free_port()}"
        for rank, child in enumerate(children):
            (folder / str(rank)).mkdir()
            seat = {"rank": rank, "processes": processes, "address": address}
            child.send({"engine": "xla", "folder": name, "into": str(rank), "seat": seat})
        _await(children, job, timeout)
        parts = [load_results(folder / str(rank)) for rank in range(processes)]
    return [[shard for part in parts for shard in part[index]] for index in range(len(parts[0]))]


@contextlib.contextmanager
def _children(count: int) -> Iterator[list[Child]]:
    children: list[Child] = []
    try:
        for _ in range(count):
            children.append(Child())
        yield children
    finally:
        for child in children:
            child.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _await(children: list[Child], job: Job, timeout: float | None) -> None:
    """Waits for all to succeed; the first that fails ends the wait, as the others would wait for it in vain."""
    end = None if timeout is None else time.monotonic() + timeout
    waiting = dict(enumerate(children))
    while waiting:
        for rank, child in list(waiting.items()):
            try:
                answer = child.receive(_POLL_SECONDS)
            except TimeoutError:
                continue
            if answer is None:
                raise death(f"process {rank} of {len(children)}", job, child)
            if "error" in answer:
                raise UserError(answer["error"])
            del waiting[rank]
        if end is not None and time.monotonic() > end:
            raise NativeFailure(f"{len(children)} processes did not finish within {timeout:g} s")


_POLL_SECONDS = 0.05
