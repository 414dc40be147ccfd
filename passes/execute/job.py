"""What an engine is asked to run: one compiled unit of work, free of MLIR objects, so that it can cross to a child."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from passes.execute.arrays import load_arrays, save_arrays

Kind = Literal["global", "per-device", "shardy", "gspmd"]


@dataclass(frozen=True)
class Job:
    """A module and its inputs.

    Attributes:
      kind: ``global``: one device runs the program. ``per-device``: every device runs it on its own shards.
        ``shardy``, ``gspmd``: the engine splits the annotated global program itself, by annotations of this form.
      code: The module as MLIR bytecode or text; its entry function is ``main``.
      devices: How many devices run it.
      inputs: ``inputs[argument]`` is the list of its shards by device, or of the one global array.
    """

    kind: Kind
    code: bytes
    devices: int
    inputs: list[list[np.ndarray]]

    def save(self, folder: Path) -> None:
        """Writes the job into ``folder``; `load_job` reads it."""
        (folder / "code").write_bytes(self.code)
        widths = [len(shards) for shards in self.inputs]
        (folder / "job.json").write_text(json.dumps({"kind": self.kind, "devices": self.devices, "widths": widths}))
        save_arrays(folder / "inputs", [shard for shards in self.inputs for shard in shards])


def load_job(folder: Path) -> Job:
    """Reads what `Job.save` wrote; its inputs are views of the file, so that they are in memory once at most."""
    described = json.loads((folder / "job.json").read_text())
    inputs = _regroup(load_arrays(folder / "inputs", mapped=True), described["widths"])
    return Job(described["kind"], (folder / "code").read_bytes(), described["devices"], inputs)


def save_results(folder: Path, results: list[list[np.ndarray]]) -> None:
    """Writes the results of a job, ``results[result][device]``."""
    (folder / "widths.json").write_text(json.dumps([len(shards) for shards in results]))
    save_arrays(folder / "results", [shard for shards in results for shard in shards])


def load_results(folder: Path) -> list[list[np.ndarray]]:
    """Reads what `save_results` wrote."""
    return _regroup(load_arrays(folder / "results"), json.loads((folder / "widths.json").read_text()))


def _regroup(flat: list[np.ndarray], widths: list[int]) -> list[list[np.ndarray]]:
    items = iter(flat)
    return [[next(items) for _ in range(width)] for width in widths]
