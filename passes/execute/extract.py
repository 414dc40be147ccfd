"""Writes what a bisection found as files that run by themselves: the op, its inputs, what it gave and should give.

    op.mlir        the op with the unmarked ops before it, its constants and regions; `shlo run` runs it
    inputs.npz     its arguments; with several devices the argument of device D is argN.deviceD
    expected.npz   the result that differs, as the original has it
    got.npz        the same as the op makes it

A program that talks between devices is unrolled: it holds every op once for each device, and collectives are plain data
movement between these, so one device runs it.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from passes.errors import UserError, Where
from passes.execute import prepare, unroll
from passes.execute.findings import Reproduction
from passes.program import read, write
from passes.program.write import write_output

MODULE, INPUTS, EXPECTED, GOT = "op.mlir", "inputs.npz", "expected.npz", "got.npz"


def extract(found: Reproduction, folder: Path) -> list[Path]:
    """Writes the files into ``folder``, which is made if there is none; returns their paths.

    Raises:
      UserError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder: {error.strerror or error}", Where(str(folder))) from None
    module = _one_device(found) if found.devices > 1 else found.program.module.operation
    files: dict[str, str | bytes] = {
        MODULE: write.to_text(_Module(module)),
        # Arguments of the unrolled program are those of all devices in a row.
        INPUTS: _npz([shard for shards in found.inputs for shard in shards], "arg"),
        GOT: _npz(found.got, "result"),
    }
    if found.expected:
        files[EXPECTED] = _npz(found.expected, "result")
    for name, data in files.items():
        write_output(str(folder / name), data)
    return [folder / name for name in files]


class _Module:
    """A module operation in the form that `write.to_text` takes."""

    def __init__(self, operation: Any) -> None:
        self.operation = operation


def _one_device(found: Reproduction) -> Any:
    replicas = read.parse(prepare.per_device_code(found.program), found.program.source)
    return unroll.unroll(replicas.module, found.devices)


def _npz(arrays: list[np.ndarray], prefix: str) -> bytes:
    buffer = io.BytesIO()
    # By position: `inputs.load` takes argN for argument N.
    named = {f"{prefix}{index}": _storable(array) for index, array in enumerate(arrays)}
    np.savez(buffer, allow_pickle=False, **named)
    return buffer.getvalue()


def _storable(array: np.ndarray) -> np.ndarray:
    """The array in a type that numpy can write: others go as raw bytes, as numpy's own loader expects them back."""
    if array.dtype.isbuiltin == 1:
        return array
    return np.ascontiguousarray(array).reshape(array.shape).view(f"V{array.dtype.itemsize}")
