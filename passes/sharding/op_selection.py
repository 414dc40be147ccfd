"""Finds the operation results that an entry of a rules file selects, or says what there is instead."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from passes import _mlir
from passes.errors import UserError, Where
from passes.program.entry import functions, is_declaration
from passes.program.read import Program
from passes.program.walk import operations
from passes.sharding.op_rules import TARGETS, target_of
from passes.sharding.rules import OpSelector, glob

# How many of the names there are an error lists.
LISTED = 12


@dataclass
class Operations:
    """The operations of a program that have a tensor of rank 1 or more as a result, in order.

    Regions that compute on scalars, such as that of a reduction, hold none of these.
    """

    program: Program
    _texts: dict[Any, tuple[str, ...]] = field(default_factory=dict)

    @cached_property
    def all(self) -> list[Any]:
        """Every one of them."""
        ranked = _mlir.ir.RankedTensorType
        defined = (f for f in functions(self.program.module) if not is_declaration(f))
        inside = (op for function in defined for op in operations(function)[1:])
        return [op for op in inside if any(isinstance(r.type, ranked) and r.type.rank for r in op.results)]

    def select(self, selector: OpSelector, where: Where | None, optional: bool = False) -> list[Any]:
        """The results that ``selector`` selects.

        Raises:
          UserError: there are none, and that is not ``optional``.
        """
        ops = self.select_ops(selector, where, optional)
        return [op.results[selector.result] for op in ops]

    def select_ops(self, selector: OpSelector, where: Where | None, optional: bool = False) -> list[Any]:
        """The operations whose result, or operand, ``selector`` selects.

        Raises:
          UserError: there are none, and that is not ``optional``.
        """
        found, said = self.all, "operations"
        for condition, text, test, shows in self._conditions(selector):
            kept = [op for op in found if test(op)]
            if not kept:
                if optional:
                    return []
                raise UserError(f"{condition} selects none of the {len(found)} {said}; {self._existing(found, shows)}",
                                where)
            found, said = kept, f"{said}{text}"
        if selector.operand is None:
            number, noun, having = selector.result, "result", [op for op in found if selector.result < len(op.results)]
        else:
            number, noun = selector.operand, "operand"
            having = [op for op in found if selector.operand < len(op.operands)]
        if not having:
            raise UserError(f"there is no {noun} {number} in any of the {len(found)} {said}", where)
        if selector.nth is None:
            return having
        for n in selector.nth:
            if n >= len(having):
                raise UserError(f"there is no match {n}; {len(having)} {noun}s match, counted from 0", where)
        return [having[n] for n in selector.nth]

    def _conditions(self, selector: OpSelector) -> Iterable[_Condition]:
        """What must hold, cheap conditions first: how an error calls it, what it adds, the test, what there is."""
        if selector.op is not None:
            name = glob(selector.op if "." in selector.op or "*" in selector.op else f"stablehlo.{selector.op}")
            yield f'op "{selector.op}"', f" that are {selector.op}", lambda op: bool(name.match(op.name)), _names
        for key, text in (("custom_call", selector.custom_call), ("composite", selector.composite)):
            if text is not None:
                yield f'{key} "{text}"', f' of {key} "{text}"', _is_target(key, text), _targets(key)
        if selector.rank is not None:
            yield f"rank {selector.rank}", f" of rank {selector.rank}", _has_rank(selector), _types(selector)
        if selector.type is not None:
            yield f'type "{selector.type}"', f" of type {selector.type}", _has_type(selector), _types(selector)
        if selector.location is not None:
            yield f'location "{selector.location}"', f' at "{selector.location}"', self._is_at(selector.location), (
                self.locations
            )

    def _is_at(self, location: str) -> Callable[[Any], bool]:
        whole, end = glob(location), glob(f"*/{location}")
        known: dict[Any, bool] = {}

        def test(op: Any) -> bool:
            key = op.location
            if key not in known:
                known[key] = any(whole.match(text) or end.match(text) for text in self.locations(op))
            return known[key]

        return test

    def locations(self, op: Any) -> tuple[str, ...]:
        """The names in the location of ``op`` and its ``file:line`` positions, outermost first."""
        key = op.location
        if key not in self._texts:
            self._texts[key] = tuple(dict.fromkeys(self._read(key)))
        return self._texts[key]

    def _read(self, location: Any) -> Iterable[str]:
        ir = _mlir.ir
        if isinstance(location, ir.NameLoc):
            yield str(location.name_str)
            yield from self._read(location.child_loc)
        elif isinstance(location, ir.FileLineColLoc):
            where = self.program.in_file(_mlir.where_of(location))
            if where is not None:
                yield f"{where.file}:{where.line}"
        elif isinstance(location, ir.CallSiteLoc):
            yield from self._read(location.callee)
            yield from self._read(location.caller)
        elif isinstance(location, ir.FusedLoc):
            for part in location.locations:
                yield from self._read(part)

    def _existing(self, found: list[Any], shows: Callable[[Any], Iterable[str]]) -> str:
        counts = Counter(text for op in found for text in shows(op))
        if not counts:
            return "there are none"
        listed = [f"{text} ({count})" if count > 1 else text for text, count in counts.most_common(LISTED)]
        more = f" and {len(counts) - LISTED} more" if len(counts) > LISTED else ""
        return f"there are {', '.join(listed)}{more}"


_Condition = tuple[str, str, Callable[[Any], bool], Callable[[Any], Iterable[str]]]

def type_text(type: Any) -> str:
    """A tensor type as MLIR writes it between the angle brackets: ``8x4xf32``."""
    return str(type).removeprefix("tensor<").removesuffix(">")


def type_pattern(text: str) -> Callable[[Any], bool]:
    """A test for types written as `type_text`; ``tensor<...>`` will do as well. Answers are kept."""
    pattern = glob(text.removeprefix("tensor<").removesuffix(">"))
    known: dict[Any, bool] = {}

    def test(type: Any) -> bool:
        if type not in known:
            known[type] = bool(pattern.match(type_text(type)))
        return known[type]

    return test


def _names(op: Any) -> Iterable[str]:
    return (str(op.name),)


def _is_target(kind: str, text: str) -> Callable[[Any], bool]:
    pattern = glob(text)
    return lambda op: bool(pattern.match(target_of(op, kind) or "")) and op.name == TARGETS[kind][0]


def _targets(kind: str) -> Callable[[Any], Iterable[str]]:
    return lambda op: filter(None, (target_of(op, kind),))


def _result(op: Any, selector: OpSelector) -> Any:
    return op.results[selector.result].type if selector.result < len(op.results) else None


def _has_rank(selector: OpSelector) -> Callable[[Any], bool]:
    return lambda op: getattr(_result(op, selector), "rank", None) == selector.rank


def _has_type(selector: OpSelector) -> Callable[[Any], bool]:
    test = type_pattern(selector.type or "")
    return lambda op: (type := _result(op, selector)) is not None and test(type)


def _types(selector: OpSelector) -> Callable[[Any], Iterable[str]]:
    return lambda op: (type_text(type),) if (type := _result(op, selector)) is not None else ()
