"""What ops compute, as hashable keys: ops with equal keys compute equal values.

Values are left to the caller: a key holds whatever stands for the operands, be it the values themselves or numbers.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

from passes.optimize.normal_form import NORMAL_FORMS, Operands, Rule

Key = tuple[Hashable, ...]


def attributes_of(op: Any) -> tuple[Any, ...]:
    """The attributes of ``op``, or something as good for telling ops apart."""
    try:
        return tuple(op.attributes.items())
    except TypeError:
        # The bindings cannot hand out dense complex numbers. A detached copy prints in time of its own size.
        return (str(op.clone(ip=False)),)


@dataclass
class Structure:
    """Makes the keys of one program.

    Attributes:
      heads: A number for each distinct name, attributes and result types, so that keys hold none of these.
    """

    heads: dict[Hashable, int] = field(default_factory=dict)

    def key(self, op: Any, name: str, normal_form: Rule | None, operands: Operands) -> Key:
        """What ``op`` computes from ``operands``, regions aside."""
        types = tuple(op.results.types)
        attributes = attributes_of(op)
        if normal_form is not None:
            operands, attributes = normal_form(operands, attributes, types[0])
        return self.heads.setdefault((name, attributes, types), len(self.heads)), *operands

    def regions(self, op: Any, numbers: dict[Any, int]) -> Hashable:
        """The regions of ``op`` with every value defined inside replaced by its number in order of definition.

        A region of several blocks is equal to no other: which blocks follow which is nothing StableHLO has, and not
        looked at.
        """
        return tuple(
            tuple(self._block(block, numbers) for block in region) if len(region.blocks) == 1 else object()
            for region in op.regions
        )

    def _block(self, block: Any, numbers: dict[Any, int]) -> Hashable:
        for argument in block.arguments:
            numbers[argument] = len(numbers)
        lines: list[Hashable] = [tuple(argument.type for argument in block.arguments)]
        for view in block:
            op = view.operation
            name = op.name
            operands = tuple(numbers.get(value, value) for value in op.operands)
            lines.append((self.key(op, name, NORMAL_FORMS.get(name), operands), self.regions(op, numbers)))
            for result in op.results:
                numbers[result] = len(numbers)
        return tuple(lines)
