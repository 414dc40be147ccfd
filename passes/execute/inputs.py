"""Inputs for a program from its signature: seeded, of a chosen kind, with indices that stay in range.

Each argument draws from its own stream (seed, position), so an argument keeps its values when others come or go.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import ml_dtypes
import numpy as np

from passes.errors import UserError, Where
from passes.execute.arrays import TensorType
from passes.execute.distance import is_float
from passes.execute.executor import signature
from passes.execute.grids import Grid, grids
from passes.execute.ranges import Domain, argument_domains
from passes.program.entry import Value, arguments, find_entry
from passes.program.read import Program

KINDS = {
    "normal": "normally distributed floats, scaled down by what products with them sum over, as initial weights are",
    "uniform": "floats from [-1, 1)",
    "exact": "small integers, also in floats, few enough that the program's sums of them round nowhere",
    "special": "normal, with NaN, infinities, -0.0, denormals and the extremes of each type mixed in",
    "out-of-range": "normal, with indices up to a dimension's size below zero and above the end",
}

# Without a domain of their own, integer arguments are step counters, ids or sizes: small, and fit to divide by.
_PLAIN_INTEGERS = Domain(1, 8)
_SPECIAL_SHARE = 0.05


@dataclass(frozen=True)
class Inputs:
    """Arrays for the entry's arguments, in order, and how to say what they are in a report."""

    arrays: list[np.ndarray]
    description: str


def make(
    program: Program,
    kind: str = "normal",
    seed: int = 0,
    *,
    entry: str | None = None,
    types: list[TensorType] | None = None,
) -> Inputs:
    """Inputs of ``kind`` (a key of `KINDS`), or those in a ``.npz`` or ``.npy`` file.

    Args:
      types: What to make for the first arguments of a per-device ``program``, of whose arguments the devices get parts;
        by default inputs have the types of all arguments.

    Raises:
      UserError: ``kind`` is neither a kind nor such a file; the file does not fit the signature; an argument has a type
        that cannot be executed; exact inputs are asked for with ``types``.
    """
    if kind == "exact" and types is not None:
        raise UserError("exact inputs follow the sums of one device; give a per-device program another kind, or a file")
    types = types if types is not None else signature(program, entry)[0]
    if kind not in KINDS:
        return Inputs(load(program, kind, types, entry=entry), f"inputs from {kind}")
    domains = argument_domains(program, entry)[: len(types)]
    chosen = grids(program, types, domains, entry) if kind == "exact" else [Grid(1)] * len(types)
    arrays = [
        _generate(type, kind, domain, grid, np.random.default_rng([seed, index]))
        for index, (type, domain, grid) in enumerate(zip(types, domains, chosen, strict=True))
    ]
    return Inputs(arrays, f"inputs {kind} seed {seed}")


def _generate(
    type: TensorType, kind: str, domain: Domain | None, grid: Grid, random: np.random.Generator
) -> np.ndarray:
    dtype = type.dtype
    if dtype.kind == "b":
        return random.integers(0, 2, type.shape).astype(bool)
    if domain is not None and domain.bounded:
        return _integers(type, domain.widened() if kind == "out-of-range" else domain, random)
    if not is_float(dtype):
        values = _integers(type, _PLAIN_INTEGERS, random)
        return _with_specials(values, _integer_specials(dtype), random) if kind == "special" else values
    values = _floats(type, kind, grid, random)
    if domain is not None and domain.low == 0:
        values = np.abs(values).astype(dtype)
    return _with_specials(values, _float_specials(dtype), random) if kind == "special" else values


def _integers(type: TensorType, domain: Domain, random: np.random.Generator) -> np.ndarray:
    low, high = domain.low or 0, domain.high if domain.high is not None else _PLAIN_INTEGERS.high
    assert high is not None
    dtype = type.dtype
    if not is_float(dtype) and dtype.kind != "b":
        info = ml_dtypes.iinfo(dtype)
        low, high = max(low, int(info.min)), min(high, int(info.max))
    return random.integers(low, max(low, high) + 1, type.shape).astype(dtype)


def _floats(type: TensorType, kind: str, grid: Grid, random: np.random.Generator) -> np.ndarray:
    if type.dtype.kind == "c":
        part = TensorType(type.shape, "f64")
        return (_floats(part, kind, grid, random) + 1j * _floats(part, kind, grid, random)).astype(type.dtype)
    if kind == "exact":
        return grid.draw(type, random)
    wide = np.float64 if type.dtype.itemsize > 4 else np.float32
    if kind == "uniform":
        values = random.random(type.shape, wide)
        values *= 2
        values -= 1
    else:
        values = random.standard_normal(type.shape, wide)
        values /= math.sqrt(_summed(type.shape))
    return values.astype(type.dtype, copy=False)


def _summed(shape: tuple[int, ...]) -> int:
    """Over how many elements a product with a weight of ``shape`` sums: all dimensions but the largest, at a guess."""
    count: int = math.prod(shape)
    return count // max(shape) if count and len(shape) > 1 else 1


def _with_specials(values: np.ndarray, specials: list[Any], random: np.random.Generator) -> np.ndarray:
    """``values`` with a share of their elements replaced, at least one of each special where there is room."""
    flat = values.reshape(-1).copy()
    count = min(flat.size, max(len(specials), int(flat.size * _SPECIAL_SHARE)))
    places = random.choice(flat.size, count, replace=False) if count else np.empty(0, int)
    for i, place in enumerate(places):
        flat[place] = specials[i % len(specials)]
    return flat.reshape(values.shape)


def _float_specials(dtype: np.dtype[Any]) -> list[Any]:
    part = np.dtype(f"f{dtype.itemsize // 2}") if dtype.kind == "c" else dtype
    info = ml_dtypes.finfo(part)
    with np.errstate(all="ignore"):
        candidates = [np.array(x).astype(part) for x in (math.nan, math.inf, -math.inf, -0.0)]
    candidates += [np.array(x, part) for x in (info.smallest_subnormal, -info.smallest_normal, info.max, info.min)]
    return [c.astype(dtype)[()] for c in candidates]


def _integer_specials(dtype: np.dtype[Any]) -> list[Any]:
    info = ml_dtypes.iinfo(dtype)
    return [dtype.type(int(info.min)), dtype.type(int(info.max)), dtype.type(0)]


def load(program: Program, path: str, types: list[TensorType], *, entry: str | None = None) -> list[np.ndarray]:
    """Inputs of ``types`` from ``path``: a ``.npz`` file with an array per argument (under its name, ``argN`` or
    ``N``), or a ``.npy`` file for the only argument.

    Raises:
      UserError: the file is missing, damaged, lacks an argument, or holds an array of another shape or type.
    """
    if not path.endswith((".npz", ".npy")):
        raise UserError(f"'{path}' is no kind of inputs; choose {', '.join(KINDS)}, or give a .npz or .npy file")
    arrays = _read(path)
    values = arguments(find_entry(program, entry))[: len(types)]
    return [_pick(path, arrays, v, t) for v, t in zip(values, types, strict=True)]


def _read(path: str) -> dict[str, np.ndarray]:
    if not Path(path).is_file():
        raise UserError("there is no such file", Where(path))
    try:
        # Never unpickle: an input file may come from anyone.
        with Path(path).open("rb") as file:
            found = np.load(file, allow_pickle=False)
            return {"0": found} if isinstance(found, np.ndarray) else {name: found[name] for name in found.files}
    except (OSError, ValueError, EOFError, BadZipFile, zlib.error) as error:
        raise UserError(f"damaged or unsupported numpy file: {error}", Where(path)) from None


def _pick(path: str, arrays: dict[str, np.ndarray], value: Value, type: TensorType) -> np.ndarray:
    keys = dict.fromkeys((value.name, f"arg{value.index}", str(value.index), f"arr_{value.index}"))
    found = next((arrays[key] for key in keys if key in arrays), None)
    if found is None:
        names = ", ".join(arrays)
        raise UserError(f"no array for argument {value.index}: none of {', '.join(keys)} is among {names}", Where(path))
    dtype = type.dtype
    # numpy stores types it does not know (bf16, f8) as raw bytes.
    if found.dtype.kind == "V" and found.dtype.itemsize == dtype.itemsize:
        found = found.view(dtype)
    if found.shape != type.shape or found.dtype != dtype:
        given = f"{found.dtype.name} of shape {list(found.shape)}"
        raise UserError(f"argument {value.index} ({value.name}) is {type}; the file has {given}", Where(path))
    return found
