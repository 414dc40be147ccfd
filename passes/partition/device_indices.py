"""Computes indices that depend on nothing but which device it is, for every device."""

from __future__ import annotations

from collections.abc import Callable
from operator import add, mul
from typing import TYPE_CHECKING, Any

from passes import _mlir
from passes.program.types import shape_of

if TYPE_CHECKING:
    import numpy as np


class DeviceIndices:
    """The integer scalars of a per-device program, whatever ops they were computed with; each is looked at once."""

    def __init__(self) -> None:
        self._known: dict[Any, np.ndarray | None] = {}

    def of(self, value: Any, devices: int) -> np.ndarray | None:
        """The scalar ``value`` on each device; ``None`` if it depends on more than which device it is."""
        if value not in self._known:
            self._known[value] = self._compute(value, devices)
        return self._known[value]

    def _compute(self, value: Any, devices: int) -> np.ndarray | None:
        import numpy as np

        owner = value.owner
        element = _mlir.ir.RankedTensorType(value.type).element_type
        # Narrow integers might wrap around.
        if isinstance(owner, _mlir.ir.Block) or not isinstance(element, _mlir.ir.IntegerType) or element.width < 32:
            return None
        if shape_of(value) not in ([], [1]):
            return None
        if owner.name == "stablehlo.constant":
            return np.full(devices, int(np.array(_mlir.ir.DenseIntElementsAttr(owner.attributes["value"])).flat[0]))
        if owner.name == "stablehlo.partition_id":
            return np.arange(devices)
        if owner.name == "stablehlo.dynamic_slice":
            return self._looked_up(owner, devices)
        computed = _ARITHMETIC.get(owner.name)
        operands = [self.of(operand, devices) for operand in owner.operands] if computed else []
        if computed is None or any(operand is None for operand in operands):
            return None
        return computed(*operands)

    def _looked_up(self, op: Any, devices: int) -> np.ndarray | None:
        """An entry of a table by device."""
        import numpy as np

        table, place = op.operands[0].owner, self.of(op.operands[1], devices)
        if isinstance(table, _mlir.ir.Block) or table.name != "stablehlo.constant" or place is None:
            return None
        entries = np.array(_mlir.ir.DenseIntElementsAttr(table.attributes["value"]))
        return entries[np.clip(place, 0, len(entries) - 1)] if entries.ndim == 1 else None


# Op -> what it makes of indices, none of which is negative.
_ARITHMETIC: dict[str, Callable[..., np.ndarray]] = {
    "stablehlo.add": add,
    "stablehlo.convert": lambda index: index,
    "stablehlo.divide": lambda left, right: left // right.clip(min=1),
    "stablehlo.multiply": mul,
    "stablehlo.remainder": lambda left, right: left % right.clip(min=1),
    "stablehlo.reshape": lambda index: index,
}
