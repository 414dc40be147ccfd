"""Number formats: which values an element type holds."""

from __future__ import annotations

import re
from typing import NamedTuple


class Float(NamedTuple):
    """A float format: ``significand`` bits, the leading one included, the largest value and the smallest above zero."""

    significand: int
    largest: float
    smallest: float


FLOATS = {
    "f64": Float(53, (2 - 2.0**-52) * 2.0**1023, 2.0**-1074),
    "f32": Float(24, (2 - 2.0**-23) * 2.0**127, 2.0**-149),
    "tf32": Float(11, (2 - 2.0**-10) * 2.0**127, 2.0**-136),
    "bf16": Float(8, (2 - 2.0**-7) * 2.0**127, 2.0**-133),
    "f16": Float(11, 65504, 2.0**-24),
    "f8E5M2": Float(3, 57344, 2.0**-16),
    "f8E5M2FNUZ": Float(3, 57344, 2.0**-17),
    "f8E4M3": Float(4, 240, 2.0**-9),
    "f8E4M3FN": Float(4, 448, 2.0**-9),
    "f8E4M3FNUZ": Float(4, 240, 2.0**-10),
    "f8E4M3B11FNUZ": Float(4, 30, 2.0**-13),
    "f8E3M4": Float(5, 15.5, 2.0**-6),
    "f6E2M3FN": Float(4, 7.5, 2.0**-3),
    "f6E3M2FN": Float(3, 28, 2.0**-4),
    "f4E2M1FN": Float(2, 6, 2.0**-1),
}
_INTEGER = re.compile(r"(u|s)?i(\d+)$")


class Integer(NamedTuple):
    """An integer format: the ``bits`` of its largest value, and whether it holds negative ones."""

    bits: int
    signed: bool


def integer(element: str) -> Integer | None:
    """The integer format called ``element``; ``i1`` is a truth value."""
    found = _INTEGER.match(element)
    if found is None:
        return None
    width = int(found[2])
    signed = found[1] != "u" and width > 1
    return Integer(width - signed, signed)


def holds(wide: str, narrow: str) -> bool:
    """Whether every value of ``narrow`` is one of ``wide``; of types that are neither integer nor float none is."""
    if wide == narrow:
        return True
    if narrow in FLOATS:
        return wide in FLOATS and _holds(FLOATS[wide], FLOATS[narrow])
    whole = integer(narrow)
    if whole is None:
        return False
    if wide in FLOATS:
        return whole.bits <= FLOATS[wide].significand and 1 << whole.bits <= FLOATS[wide].largest
    other = integer(wide)
    return other is not None and other.bits >= whole.bits and (other.signed or not whole.signed)


def _holds(wide: Float, narrow: Float) -> bool:
    fine = wide.significand >= narrow.significand and wide.smallest <= narrow.smallest
    return fine and wide.largest >= narrow.largest


def exact_integers(element: str) -> int:
    """Up to which magnitude a float type holds every integer."""
    return 1 << FLOATS[element].significand
