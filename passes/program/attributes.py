"""Reads and writes the attributes that say of which sizes an op speaks: integers, lists and matrices of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from passes import _mlir


def integer(op: Any, name: str) -> int:
    """The integer attribute ``name``."""
    return int(_mlir.ir.IntegerAttr(op.attributes[name]).value)


def integers(op: Any, name: str) -> list[int]:
    """The integers of the array attribute ``name``, none if it is not there."""
    given = op.attributes.get(name)
    return [] if given is None else list(_mlir.ir.DenseI64ArrayAttr(given))


def set_integers(op: Any, name: str, values: Sequence[int]) -> None:
    """Makes ``values`` the array attribute ``name``."""
    op.attributes[name] = _mlir.ir.DenseI64ArrayAttr.get(list(values), _mlir.context())


def booleans(op: Any, name: str) -> list[bool]:
    """The truth values of the array attribute ``name``, none if it is not there."""
    return list(_mlir.ir.DenseBoolArrayAttr(op.attributes[name])) if name in op.attributes else []


def pairs(op: Any, name: str, rank: int) -> list[tuple[int, int]]:
    """The rows of the attribute ``name``, a matrix of two columns; ``rank`` rows of zeros if it is not there."""
    if name not in op.attributes:
        return [(0, 0)] * rank
    flat = list(_mlir.ir.DenseIntElementsAttr(op.attributes[name]))
    return list(zip(flat[::2], flat[1::2], strict=True))
