"""The elements of dense attributes as they are stored."""

from __future__ import annotations

from typing import Any

import numpy as np

from passes import _mlir

# Element widths in bits whose raw buffer is one whole number of bytes per element, viewed as unsigned integers.
_VIEWS = {8: np.uint8, 16: np.uint16, 32: np.uint32, 64: np.uint64}


def bits(value: Any, type: Any) -> Any:
    """The constant's elements as unsigned integers of their width, ``None`` where the bindings show no whole bytes."""
    element = _mlir.ir.RankedTensorType(type).element_type
    width = getattr(element, "width", None)
    if width not in _VIEWS:
        return None
    try:
        return np.array(value).view(_VIEWS[width])
    except (TypeError, ValueError, RuntimeError):
        # bf16, f8 and the like have no numpy form in the bindings.
        return None
