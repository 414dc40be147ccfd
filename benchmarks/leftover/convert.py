"""Which conversions between element types keep every value."""

from __future__ import annotations

import re

# Element type -> (bits of the exponent, bits of the fraction).
_FLOATS = {"f16": (5, 10), "bf16": (8, 7), "f32": (8, 23), "f64": (11, 52)}
_INTEGER = re.compile(r"(ui|si|i)(\d+)$")


def is_lossless(source: str, target: str) -> bool:
    """Whether every ``source`` value is a ``target`` value, so that converting there and back changes nothing."""
    if source == target:
        return True
    if source in _FLOATS:
        return target in _FLOATS and all(a <= b for a, b in zip(_FLOATS[source], _FLOATS[target], strict=True))
    whole = _INTEGER.match(source)
    if whole is None:
        return False
    signed, bits = _range(whole)
    other = _INTEGER.match(target)
    if other is not None:
        target_signed, target_bits = _range(other)
        return target_bits >= bits and (target_signed or not signed)
    return target in _FLOATS and bits <= _FLOATS[target][1] + 1 and bits < 2 ** (_FLOATS[target][0] - 1)


def _range(found: re.Match[str]) -> tuple[bool, int]:
    """Whether negative numbers exist, and the bits of the largest number; ``i1`` is a truth value."""
    width = int(found[2])
    if width == 1 or found[1] == "ui":
        return False, width
    return True, width - 1
