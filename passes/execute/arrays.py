"""Tensor types as numpy sees them, and arrays on disk for passing between processes.

Arrays travel as raw bytes beside a JSON description: ``.npy`` forgets which type bf16, f8 or i4 elements are, and a
pickle would run what it holds.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from passes import _mlir
from passes.errors import UserError

# MLIR element type -> numpy type name; the names after the plain ones are ml_dtypes'.
NUMPY_NAMES = {
    "f16": "float16", "f32": "float32", "f64": "float64",
    "i1": "bool", "i8": "int8", "i16": "int16", "i32": "int32", "i64": "int64",
    "ui8": "uint8", "ui16": "uint16", "ui32": "uint32", "ui64": "uint64",
    "complex<f32>": "complex64", "complex<f64>": "complex128",
    "bf16": "bfloat16",
    "i2": "int2", "ui2": "uint2", "i4": "int4", "ui4": "uint4",
    "f4E2M1FN": "float4_e2m1fn",
    "f8E3M4": "float8_e3m4", "f8E4M3": "float8_e4m3", "f8E4M3FN": "float8_e4m3fn",
    "f8E4M3FNUZ": "float8_e4m3fnuz", "f8E4M3B11FNUZ": "float8_e4m3b11fnuz",
    "f8E5M2": "float8_e5m2", "f8E5M2FNUZ": "float8_e5m2fnuz", "f8E8M0FNU": "float8_e8m0fnu",
}
_MLIR_NAMES = {numpy: mlir for mlir, numpy in NUMPY_NAMES.items()}


def dtype_of(name: str) -> np.dtype[Any]:
    """The numpy type of MLIR element type ``name`` (``f32``, ``bf16``, ``complex<f32>``).

    Raises:
      UserError: numpy has no such type.
    """
    numpy_name = NUMPY_NAMES.get(name)
    if numpy_name is None:
        raise UserError(f"cannot execute a program with elements of type {name}; it can be one of {_known()}")
    return _numpy_type(numpy_name)


def mlir_name(dtype: np.dtype[Any]) -> str:
    """The MLIR element type of ``dtype``, the inverse of `dtype_of`.

    Raises:
      UserError: StableHLO has no such type.
    """
    name = _MLIR_NAMES.get(dtype.name)
    if name is None:
        raise UserError(f"an array of numpy type {dtype.name} is no StableHLO tensor; element types: {_known()}")
    return name


def _known() -> str:
    return ", ".join(NUMPY_NAMES)


def _numpy_type(name: str) -> np.dtype[Any]:
    return np.dtype(getattr(ml_dtypes, name, name))


@dataclass(frozen=True)
class TensorType:
    """A static tensor type: shape in elements and MLIR's element type name."""

    shape: tuple[int, ...]
    element: str

    @property
    def dtype(self) -> np.dtype[Any]:
        """The numpy element type."""
        return dtype_of(self.element)

    @property
    def count(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    def __str__(self) -> str:
        return f"tensor<{''.join(f'{s}x' for s in self.shape)}{self.element}>"


def tensor_type(type: Any) -> TensorType | None:
    """``ir.Type`` as a `TensorType`; ``None`` if it is no tensor of static shape."""
    ir = _mlir.ir
    if not isinstance(type, ir.RankedTensorType) or not type.has_static_shape:
        return None
    return TensorType(tuple(type.shape), str(type.element_type))


def same_bits(left: np.ndarray, right: np.ndarray) -> bool:
    """Whether two arrays of one type and shape hold the same bytes (so -0.0 differs from 0.0)."""
    return np.ascontiguousarray(left).tobytes() == np.ascontiguousarray(right).tobytes()


def most_visible(dtype: np.dtype[Any]) -> Any:
    """An element of ``dtype`` that shows in what is computed from it: NaN, or the largest number."""
    if dtype.kind == "b":
        return True
    try:
        return ml_dtypes.iinfo(dtype).max
    except ValueError:
        return np.array(np.nan).astype(dtype)


# XLA's CPU backend takes memory that starts on such an address as it is, without a copy.
_ALIGNED = 64


def save_arrays(path: Path, arrays: list[np.ndarray]) -> None:
    """Writes ``arrays`` one behind the other to ``path`` and their types, shapes and places to ``path.json``."""
    described = []
    with path.open("wb") as file:
        for array in arrays:
            file.seek(-file.tell() % _ALIGNED, 1)
            described.append({"dtype": array.dtype.name, "shape": list(array.shape), "at": file.tell()})
            np.ascontiguousarray(array).reshape(-1).view(np.uint8).tofile(file)
    path.with_name(path.name + ".json").write_text(json.dumps(described))


def load_arrays(path: Path, *, mapped: bool = False) -> list[np.ndarray]:
    """Reads what `save_arrays` wrote; ``mapped``: as views of the file, which cannot be written to."""
    described = json.loads(path.with_name(path.name + ".json").read_text())
    memory = np.asarray(np.memmap(path, np.uint8, "r")) if mapped and path.stat().st_size else None
    arrays = []
    for entry in described:
        dtype, shape = _numpy_type(entry["dtype"]), tuple(entry["shape"])
        at, size = entry["at"], math.prod(shape) * dtype.itemsize
        part = np.fromfile(path, np.uint8, size, offset=at) if memory is None else memory[at : at + size]
        arrays.append(part.view(dtype).reshape(shape))
    return arrays
