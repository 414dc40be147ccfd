"""An executor for benchmarks that verify one program many times: what the original computes is computed once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from passes.execute.executor import Executor, Shards
from passes.execute.job import Job

# Results kept; the cases of one program come one after another.
_KEPT = 4


@dataclass(frozen=True)
class Remembering(Executor):
    """Runs everything in this process, and a global program on the same inputs only once."""

    isolated: bool = False
    _results: dict[bytes, Shards] = field(default_factory=dict)

    def _run(self, job: Job) -> Shards:
        if job.kind != "global":
            return super()._run(job)
        key = _digest(job)
        if key not in self._results:
            while len(self._results) >= _KEPT:
                del self._results[next(iter(self._results))]
            self._results[key] = super()._run(job)
        return self._results[key]


def _digest(job: Job) -> bytes:
    found = hashlib.sha256(job.code)
    for shards in job.inputs:
        for array in shards:
            found.update(f"{array.dtype}{array.shape}".encode())
            found.update(array.tobytes())
    return found.digest()
