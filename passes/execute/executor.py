"""Executors: one interface over the engines, from programs and numpy arrays to numpy arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from passes.errors import UserError
from passes.execute import child, prepare, processes
from passes.execute.arrays import TensorType, tensor_type
from passes.execute.job import Job, Kind
from passes.program.entry import Value, arguments, find_entry, results
from passes.program.read import Program

# Engine -> its name in reports.
TITLES = {"xla": "XLA CPU", "interpreter": "StableHLO interpreter", "plugin": "PJRT plugin"}

# ``per_device[value][device]``: the shard of an argument or result that a device holds.
Shards = list[list[np.ndarray]]


@dataclass(frozen=True)
class Executor:
    """Runs programs on one engine.

    Attributes:
      engine: A name in `child.ENGINES`; ``plugin:PLATFORM`` for a PJRT plugin.
      isolated: Whether native code runs in a child process, so that its death is an error and not ours.
      timeout: Seconds until an isolated run is given up; ``None`` waits for ever.
      processes: How many processes share the devices of a per-device program (XLA's CPU backend only).
    """

    engine: str = "xla"
    isolated: bool = True
    timeout: float | None = None
    processes: int = 1

    @property
    def title(self) -> str:
        """The engine as reports name it."""
        name, _, platform = self.engine.partition(":")
        together = f", {self.processes} processes" if self.processes > 1 else ""
        return TITLES[name] + (f" {platform}" if platform else "") + together

    def place(self, program: Program) -> str:
        """Where `run_global` runs ``program``, in words."""
        devices = prepare.manual_devices(program)
        return f"{devices} virtual devices, partitioned by XLA" if devices else f"one device ({self.title})"

    def run_global(self, program: Program, inputs: list[np.ndarray], *, entry: str | None = None) -> list[np.ndarray]:
        """Runs a global program on one device; inputs and results in the order of the entry's signature.

        A program with parts written for each device (manual computations) is partitioned by the engine instead, as one
        device cannot run it.

        Raises:
          UserError: the program has types that cannot be executed, the inputs do not fit its signature, or the engine
            refuses it.
          NativeFailure: the engine died.
        """
        devices = prepare.manual_devices(program)
        if devices:
            return self.run_partitioned(program, inputs, devices, entry=entry)
        check_inputs(program, [[x] for x in inputs], entry)
        found = self._run(Job("global", prepare.global_code(program, entry), 1, [[x] for x in inputs]))
        return [shards[0] for shards in found]

    def run_per_device(self, program: Program, inputs: Shards, devices: int, *, entry: str | None = None) -> Shards:
        """Runs a per-device program on ``devices`` virtual devices.

        Args:
          inputs: ``inputs[argument][device]``.

        Returns:
          ``results[result][device]``. Raises as `run_global`.
        """
        check_inputs(program, inputs, entry)
        return self._run(Job("per-device", prepare.per_device_code(program, entry), devices, inputs))

    def run_partitioned(
        self, program: Program, inputs: list[np.ndarray], devices: int, *, entry: str | None = None
    ) -> list[np.ndarray]:
        """Has the engine partition a global program by its annotations, on ``devices`` virtual devices.

        This shares no code with `passes.partition`, which makes it an independent opinion. Inputs and results are
        global. Raises as `run_global`; the interpreter has no partitioner.
        """
        check_inputs(program, [[x] for x in inputs], entry)
        kind: Kind = "shardy" if prepare.has_shardy_meshes(program) else "gspmd"
        found = self._run(Job(kind, prepare.global_code(program, entry), devices, [[x] for x in inputs]))
        types = signature(program, entry)[1]
        # Devices hold equal parts, so a dimension that does not divide comes back padded.
        return [shards[0][tuple(slice(s) for s in t.shape)] for shards, t in zip(found, types, strict=True)]

    def _run(self, job: Job) -> Shards:
        if self.processes > 1 and job.kind == "per-device":
            return processes.run(job, self.processes, self.timeout)
        if self.isolated:
            return child.run(self.engine, job, self.timeout)
        found: Shards = child.execute(self.engine, job)
        return found


def signature(program: Program, entry: str | None = None) -> tuple[list[TensorType], list[TensorType]]:
    """The entry's argument and result types.

    Raises:
      UserError: one of them is no tensor of static shape, or its elements have no numpy type.
    """
    function = find_entry(program, entry)
    return (
        [_type(program, v, "argument", function) for v in arguments(function)],
        [_type(program, v, "result", function) for v in results(function)],
    )


def _type(program: Program, value: Value, role: str, function: object) -> TensorType:
    found = tensor_type(value.type)
    if found is None:
        raise program.error(
            f"cannot execute: {role} {value.index} ({value.name}) is {value.type}; only tensors of static shape can be",
            function,
        )
    try:
        _ = found.dtype
    except UserError as error:
        raise program.error(f"{error.message}; {role} {value.index} ({value.name}) is {found}", function) from None
    return found


def check_inputs(program: Program, inputs: Shards, entry: str | None = None) -> None:
    """Checks that ``inputs[argument][device]`` has the entry's argument types.

    Raises:
      UserError: an array is missing, too many, or of another type or shape.
    """
    function = find_entry(program, entry)
    values = arguments(function)
    if len(inputs) != len(values):
        raise program.error(f"the entry takes {len(values)} arguments; {len(inputs)} inputs are given", function)
    types, _ = signature(program, entry)
    for value, type, shards in zip(values, types, inputs, strict=True):
        for array in shards:
            if array.shape != type.shape or array.dtype != type.dtype:
                raise program.error(
                    f"argument {value.index} ({value.name}) is {type}; "
                    f"its input is {array.dtype.name} of shape {list(array.shape)}", function,
                )
