"""Finds the tensors a user asks about, by value, name or place, and explains them (`wording`)."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any

from passes import _mlir
from passes.errors import UserError, Where
from passes.program.entry import Value, arguments, find_entry, functions, is_declaration, results, symbol_name
from passes.program.read import Program
from passes.program.value_names import ValueNames, find_value
from passes.program.walk import operations
from passes.sharding.flow import Output, Tensor, tensor_of
from passes.sharding.origins.record import Origins, record
from passes.sharding.propagate import PropagateOptions
from passes.sharding.wording import Teller, callee

# What is printed of one kind before the rest is counted only.
_COPIES, _LISTED = 8, 12


@dataclass(frozen=True)
class _Place:
    """A value of the program as it was read: result ``index`` of op number ``op``, or what a function's block holds.

    ``kind`` is ``value`` (then ``op`` counts), ``body`` (argument ``index`` of the region of op number ``op``),
    ``argument`` or ``result`` of ``function``.
    """

    kind: str
    index: int
    op: int = 0
    function: str = ""


class Explainer:
    """Explains tensors of one program; making it propagates over the program, whose module is then used up.

    Args:
      given_at: Where arguments and results (kind and index) were annotated: lines of a rules file.

    Raises:
      UserError: see `propagate.propagate`.
    """

    def __init__(
        self,
        program: Program,
        options: PropagateOptions | None = None,
        entry: str | None = None,
        given_at: dict[tuple[str, int], Where] | None = None,
    ) -> None:
        self._given_at = given_at or {}
        function = find_entry(program, entry)
        self._entry = symbol_name(function)
        self._signature = {"argument": arguments(function), "result": results(function)}
        names = ValueNames(program)
        ops = operations(program.module)
        self._names = [names.of_results(op) for op in ops]
        self._numbers = {op: number for number, op in enumerate(ops)}
        self._program = program
        self._places: list[_Place] = []
        self._function = function
        self._options, self._wanted_entry = options, entry

    # -- which tensors ---------------------------------------------------------------------------------------------

    def ask_value(self, text: str) -> None:
        """Asks about the value called ``text`` (`value_names.find_value`)."""
        self._places.append(self._place_of(find_value(self._program, text, self._function)))

    def ask_named(self, kind: str, text: str) -> None:
        """Asks about the argument or result (``kind``) that is called ``text`` or has that position.

        Raises:
          UserError: there is none; the closest names are given.
        """
        values: list[Value] = self._signature[kind]
        found = [v.index for v in values if v.name == text]
        if not found and text.isdecimal() and int(text) < len(values):
            found = [int(text)]
        if not found and kind == "argument" and text.startswith("%"):
            self.ask_value(text)
            return
        if not found:
            names = list(dict.fromkeys(v.name for v in values))
            close = difflib.get_close_matches(text, names, n=_LISTED, cutoff=0.5) or names[:_LISTED]
            more = f" (of {len(names)})" if len(names) > len(close) else ""
            raise UserError(f"there is no {kind} '{text}'; there are {', '.join(close) or 'none'}{more}")
        self._places += [_Place(kind, index, function=self._entry) for index in found]

    def ask_location(self, text: str) -> None:
        """Asks about every value made at ``text``: ``file:line[:column]``, ``:line``, or the name of a location.

        Raises:
          UserError: no op is there; close ones are given.
        """

        known: dict[str, None] = {}
        asked = len(self._places)
        for op, number in self._numbers.items():
            if not len(op.results):
                continue
            where = self._program.where(op)
            texts = [str(where), f"{where.file}:{where.line}", f":{where.line}"] if where is not None else []
            if label := _mlir.name_of(op.location):
                texts.append(label)
            if text in texts:
                self._places += [_Place("value", i, number) for i in range(len(op.results))]
            known.update(dict.fromkeys(t for t in texts if not t.startswith(":")))
        if len(self._places) == asked:
            close = difflib.get_close_matches(text, known, n=3, cutoff=0.5)
            hint = f"; close are {', '.join(close)}" if close else ""
            raise UserError(f"no op of the program is at '{text}'{hint}")

    def ask_source(self, op: str, index: int, number: int | None) -> None:
        """Asks about result ``index`` of op ``number``, or about an ``argument`` or ``result`` of the program."""
        if op in ("argument", "result"):
            self._places.append(_Place(op, index, function=self._entry))
        elif number is not None:
            self._places.append(_Place("value", index, number))

    def describe(self, op: str, index: int, number: int | None) -> str:
        """What `ask_source` asks about, as the user knows it."""
        if op in ("argument", "result"):
            return f"{op} {index} '{self._signature[op][index].name}'"
        short = op.removeprefix("stablehlo.")
        return f"{self._names[number][index]} ({short})" if number is not None else short

    def _place_of(self, value: Any) -> _Place:
        owner = value.owner
        if not isinstance(owner, _mlir.ir.Block):
            return _Place("value", value.result_number, self._numbers[owner.operation])
        parent = owner.owner.operation
        if parent.name == "func.func":
            return _Place("argument", value.arg_number, function=symbol_name(parent))
        if parent.name == "stablehlo.while":
            return _Place("value", value.arg_number, self._numbers[parent])
        if parent.name == "sdy.manual_computation":
            return _Place("body", value.arg_number, self._numbers[parent])
        raise UserError(f"the argument of a region of {parent.name} is no tensor of the program that could be sharded")

    # -- answers ---------------------------------------------------------------------------------------------------

    def answer(self, *, full: bool = False) -> list[str]:
        """Propagates, and explains what was asked about; ``full`` prints long chains whole."""
        origins = record(self._program, self._options, self._wanted_entry)
        teller = Teller(self._program, origins, self._names, self._signature, self._given_at, full)
        lines: list[str] = []
        for place in dict.fromkeys(self._places):
            tensors = list(dict.fromkeys(_tensors(origins, place, self._entry)))
            if not tensors:
                never = f"{teller.place(place.kind, place.index, place.op)} is never computed"
                lines += [*([""] if lines else []), never]
            for number, tensor in enumerate(tensors[:_COPIES]):
                copy = f"copy {number + 1} of {len(tensors)}: " if len(tensors) > 1 else ""
                lines += [*([""] if lines else []), *teller.explain(tensor, copy)]
            if len(tensors) > _COPIES:
                lines.append(f"and {len(tensors) - _COPIES} more copies")
        return lines


def _tensors(origins: Origins, place: _Place, entry: str) -> list[Tensor]:
    """What ``place`` became: several if its function is called several times, or a constant got a copy for each use."""
    if place.kind == "value":
        return [tensor_of(op.results[place.index]) for op in origins.copies.get(place.op, [])]
    if place.kind == "body":
        blocks = (op.regions[0].blocks[0] for op in origins.copies.get(place.op, []))
        return [tensor_of(block.arguments[place.index]) for block in blocks]
    defined = {symbol_name(f): f for f in functions(origins.program.module) if not is_declaration(f)}
    if place.function in defined or place.function == entry:
        # The entry function alone is left as a function, and may go by another name.
        function = defined.get(place.function) or find_entry(origins.program)
        if place.kind == "result":
            return [Output(function, place.index)]
        return [function.regions[0].blocks[0].arguments[place.index]]
    calls = [op for ops in origins.copies.values() for op in ops if op.name == "sdy.named_computation"]
    return [tensor_of(op.regions[0].blocks[0].arguments[place.index]) for op in calls if callee(op) == place.function]
