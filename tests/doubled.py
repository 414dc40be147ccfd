"""The same program in double precision: rounding then hides nothing that matters.

A train step in f32 may differ from its partitioned form by far more than one rounding (batch statistics, clipped
gradients), and so may hide a small mistake. In f64 the same step agrees to 1e-12 or is wrong.
"""

from __future__ import annotations

# Infinities and NaNs are written as bit patterns of their type.
_PATTERNS = {
    "0xFF800000": "0xFFF0000000000000",
    "0x7F800000": "0x7FF0000000000000",
    "0x7FC00000": "0x7FF8000000000000",
    "0xFF80": "0xFFF0000000000000",
    "0x7F80": "0x7FF0000000000000",
}


def doubled(text: str) -> str:
    """``text`` with f32 and bf16 replaced by f64 throughout."""
    for single, double in _PATTERNS.items():
        text = text.replace(f"dense<{single}>", f"dense<{double}>")
    return text.replace("bf16", "f64").replace("f32", "f64")
