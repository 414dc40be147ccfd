"""Makes one function of private functions that are equal up to their names, and of the calls of them calls of that one.

Callees come before their callers, so that when two functions are compared their calls already name the functions that
stay, and equal chains of functions become one chain.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from passes import _mlir
from passes.optimize.structure import Structure
from passes.program import purity
from passes.program.entry import is_declaration, is_private, symbol_name
from passes.program.walk import named

# XLA's importer of shard_map finds its bodies by such names and insists on one call for each.
_ONE_CALL_EACH = "xla.sdy."


def bottom_up(functions: dict[str, Any], called: dict[str, list[str]]) -> Iterator[str]:
    """The names of ``functions``, each one after those it calls as far as recursion lets it."""
    seen: set[str] = set()
    for root in functions:
        stack = [(root, iter(called[root]))] if root not in seen else []
        seen.add(root)
        while stack:
            name, callees = stack[-1]
            for callee in callees:
                if callee in functions and callee not in seen:
                    seen.add(callee)
                    stack.append((callee, iter(called[callee])))
                    break
            else:
                stack.pop()
                yield name


def _named_otherwise(op: Any, top: Any) -> set[str]:
    """The functions ``op`` names in other places than those that can be renamed; ``top`` is the op around it."""
    if op.name in purity.CALLEE_ATTRIBUTES and top.name == "func.func":
        changeable = purity.CALLEE_ATTRIBUTES[op.name]
        return purity.symbols(purity.attributes(op, [key for key in op.attributes if key not in changeable]))
    return set(purity.callees(op))


@dataclass
class DuplicateFunctions:
    """The functions of one module, and which of them others stand for.

    Attributes:
      module: The module operation.
      structure: Compares them.
      functions: All functions by name.
      calls: The ops in each function that refer to functions.
      fixed: Functions that keep their name and place, such as public ones.
      replaced: Of the functions seen, the equal ones -> the function that stands for them.
    """

    module: Any
    structure: Structure
    functions: dict[str, Any] = field(default_factory=dict)
    calls: dict[str, list[Any]] = field(default_factory=dict)
    fixed: set[str] = field(default_factory=set)
    replaced: dict[str, str] = field(default_factory=dict)
    _first: dict[Hashable, str] = field(default_factory=dict)
    _looked_at: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, module: Any, structure: Structure) -> DuplicateFunctions:
        """The functions at the top of ``module``."""
        found = cls(module, structure)
        for op in (view.operation for view in module.regions[0].blocks[0]):
            if op.name == "func.func":
                name = symbol_name(op)
                found.functions[name] = op
                found.calls[name] = named(op, purity.CALLEE_ATTRIBUTES)
                if name == "main" or not is_private(op) or is_declaration(op) or _ONE_CALL_EACH in name:
                    found.fixed.add(name)
        return found

    @cached_property
    def _referred_to(self) -> set[str]:
        """Functions that are named where it is not known how to change that; most programs need not be asked."""
        top = (view.operation for view in self.module.regions[0].blocks[0])
        return {name for op in top for inner in purity.not_plain(op) for name in _named_otherwise(inner, op)}

    def in_order(self) -> Iterator[Any]:
        """The functions, callees first; the calls of each are made to name functions that stay before it is handed out.

        A function is not to be erased before the last one was handed out.
        """
        called = {name: [callee for call in calls for callee in purity.callees(call)]
                  for name, calls in self.calls.items()}
        done: set[str] = set()
        for name in bottom_up(self.functions, called):
            self._redirect(self.calls.pop(name))
            # A function called by one that is already done calls that one in turn: it is too late to rename the call.
            self.fixed.update(callee for callee in called[name] if callee not in done)
            done.add(name)
            yield self.functions[name]

    def _redirect(self, calls: list[Any]) -> None:
        for call in calls:
            for key in purity.CALLEE_ATTRIBUTES[call.name]:
                if key in call.attributes:
                    call.attributes[key] = self._renamed(call.attributes[key])

    def _renamed(self, reference: Any) -> Any:
        if isinstance(reference, _mlir.ir.ArrayAttr):
            return _mlir.ir.ArrayAttr.get([self._renamed(inner) for inner in reference], reference.context)
        name = _mlir.ir.FlatSymbolRefAttr(reference).value
        return _mlir.ir.FlatSymbolRefAttr.get(self.replaced.get(name, name), reference.context)

    def compare(self, function: Any) -> None:
        """Notes whether ``function`` is equal to one that was compared before and may be replaced by it."""
        name = symbol_name(function)
        if is_declaration(function) or not is_private(function):
            return
        head = tuple((key, value) for key, value in function.attributes.items() if key != "sym_name")
        first = self._first.setdefault(head, name)
        if first == name:
            return
        # Bodies are looked at only once there are two functions of one type, which keeps programs without any cheap.
        if first not in self._looked_at:
            self._looked_at.add(first)
            self._first[head, self.structure.regions(self.functions[first], {})] = first
        same = self._first.setdefault((head, self.structure.regions(function, {})), name)
        if same != name and name not in self.fixed and name not in self._referred_to:
            self.replaced[name] = same
