"""Who calls which function, whose signatures may change, and how a function and its calls lose arguments and results.

Only the signature of a private function that is named by nothing but ``func.call`` ops may change, and only if no
attribute on it or on a call might count arguments or results in a way that is not known here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from passes import _mlir
from passes.optimize import slots
from passes.program import purity
from passes.program.entry import is_declaration, is_private, symbol_name


@dataclass
class Calls:
    """What the ops seen so far refer to.

    Attributes:
      sites: The ``func.call`` ops by the name of the function they call.
      named: The functions named in any other way, by a composite or custom call or an op that is not known.
    """

    sites: dict[str, list[Any]] = field(default_factory=dict)
    named: set[str] = field(default_factory=set)

    def add(self, op: Any) -> list[str]:
        """Takes note of ``op``; returns the functions it refers to."""
        found = purity.callees(op)
        if op.name == "func.call":
            self.sites.setdefault(found[0], []).append(op)
        else:
            self.named.update(found)
        return found

    def add_inside(self, op: Any) -> list[str]:
        """Takes note of all ops inside ``op``, itself included; returns the functions they refer to."""
        return [name for inner in purity.not_plain(op) for name in self.add(inner)]


def functions(module: Any) -> dict[str, Any]:
    """The functions at the top of ``module`` by name, in order."""
    top = (view.operation for view in module.regions[0].blocks[0])
    return {symbol_name(op): op for op in top if op.name == "func.func"}


def graph(module: Any) -> tuple[dict[str, Any], Calls, dict[str, set[str]]]:
    """The functions of ``module``, all that refers to one, and what each of them refers to."""
    found, calls = functions(module), Calls()
    edges = {name: set(calls.add_inside(function)) for name, function in found.items()}
    for view in module.regions[0].blocks[0]:
        if view.operation.name != "func.func":
            calls.add_inside(view.operation)
    return found, calls, edges


def is_entry(function: Any) -> bool:
    """Whether ``function`` may be called from outside: ``@main`` may, as when an entry function is looked for."""
    return symbol_name(function) == "main" or not is_private(function)


def changeable(functions: dict[str, Any], calls: Calls) -> set[str]:
    """The names of the functions whose signature may change."""
    return {
        name
        for name, function in functions.items()
        if name in calls.sites
        and name not in calls.named
        and not is_entry(function)
        and not is_declaration(function)
        and _is_countless(function, _FUNCTION_ATTRIBUTES)
        and all(_is_countless(site, _CALL_ATTRIBUTES) for site in calls.sites[name])
    }


_PER_VALUE = frozenset({"arg_attrs", "res_attrs"})
_FUNCTION_ATTRIBUTES = _PER_VALUE | {"function_type"}
_CALL_ATTRIBUTES = _PER_VALUE | {"sdy.sharding"}


def _is_countless(op: Any, known: frozenset[str]) -> bool:
    """Whether no attribute of ``op`` counts arguments or results, but for those that are ``known`` to."""
    attributes = op.attributes
    # A front end writes into an argument's attributes the number of the result that may take its memory.
    if "arg_attrs" in attributes and "aliasing_output" in str(attributes["arg_attrs"]):
        return False
    return all(key in known or _says_one_thing(key, attributes[key]) for key in attributes)


def _says_one_thing(key: str, attribute: Any) -> bool:
    """Whether ``attribute`` is a name, a flag or a text, and no sharding, of which a text may hold several."""
    plain = (_mlir.ir.UnitAttr, _mlir.ir.BoolAttr, _mlir.ir.FlatSymbolRefAttr, _mlir.ir.StringAttr)
    if isinstance(attribute, plain) or key == "mhlo.frontend_attributes":
        return "sharding" not in key and "sharding" not in str(attribute)
    return False


@dataclass(frozen=True)
class Signature:
    """The positions of the arguments and results of a function that stay."""

    arguments: list[int]
    results: list[int]

    def keeps_all(self, function: Any) -> bool:
        """Whether nothing of the function's signature goes."""
        declared = function_type(function)
        return len(self.arguments) == len(declared.inputs) and len(self.results) == len(declared.results)


def function_type(function: Any) -> Any:
    """The ``ir.FunctionType`` of a function."""
    return _mlir.ir.FunctionType(_mlir.ir.TypeAttr(function.attributes["function_type"]).value)


def shrink_call(call: Any, kept: Signature, release: Callable[[Any], None]) -> Any:
    """Replaces ``call`` by one with the operands and results that stay; returns it."""
    attributes = {key: call.attributes[key] for key in call.attributes}
    _shrink_per_value(attributes, kept)
    if "sdy.sharding" in attributes:
        sharding = slots.kept_shardings(attributes.pop("sdy.sharding"), kept.results)
        if sharding is not None:
            attributes["sdy.sharding"] = sharding
    new = _mlir.ir.Operation.create(
        call.name,
        results=[call.results[i].type for i in kept.results],
        operands=[call.operands[i] for i in kept.arguments],
        attributes=attributes,
        loc=call.location,
        ip=_mlir.ir.InsertionPoint(call),
    )
    slots.replace_results(call, new, kept.results, release)
    return new


def shrink_function(function: Any, kept: Signature, release: Callable[[Any], None]) -> None:
    """Takes arguments that are dead, and results that its terminator no longer returns, out of a function."""
    declared = function_type(function)
    inputs, results = declared.inputs, declared.results
    shrunk = _mlir.ir.FunctionType.get(
        [inputs[i] for i in kept.arguments], [results[i] for i in kept.results], context=function.context
    )
    attributes = {key: function.attributes[key] for key in _PER_VALUE if key in function.attributes}
    _shrink_per_value(attributes, kept)
    gone = set(range(len(inputs))).difference(kept.arguments)
    slots.erase_arguments(function.regions[0].blocks[0], gone, release)
    function.attributes["function_type"] = _mlir.ir.TypeAttr.get(shrunk, context=function.context)
    for key, value in attributes.items():
        function.attributes[key] = value


def _shrink_per_value(attributes: dict[str, Any], kept: Signature) -> None:
    for key, positions in (("arg_attrs", kept.arguments), ("res_attrs", kept.results)):
        if key in attributes:
            each = list(_mlir.ir.ArrayAttr(attributes[key]))
            attributes[key] = _mlir.ir.ArrayAttr.get([each[i] for i in positions], context=attributes[key].context)


def cycles(edges: dict[str, set[str]]) -> set[str]:
    """The functions that call themselves, directly or through others."""
    return {name for group in callees_first(edges) for name in group if len(group) > 1 or name in edges[name]}


def callees_first(edges: dict[str, set[str]]) -> list[list[str]]:
    """The functions, each after all it calls; those that call each other in a cycle stand in one group.

    ``edges`` has the names each function refers to. Tarjan's algorithm, with a stack of its own: call chains are
    longer than Python's.
    """
    groups: list[list[str]] = []
    index: dict[str, int] = {}
    lowest: dict[str, int] = {}
    path: list[str] = []
    for root in edges:
        if root in index:
            continue
        stack = [(root, iter(edges[root]))]
        while stack:
            name, rest = stack[-1]
            if name not in index:
                index[name] = lowest[name] = len(index)
                path.append(name)
            for callee in rest:
                if callee not in edges:
                    continue
                if callee not in index:
                    stack.append((callee, iter(edges[callee])))
                    break
                lowest[name] = min(lowest[name], lowest.get(callee, lowest[name]))
            else:
                stack.pop()
                if stack:
                    above = stack[-1][0]
                    lowest[above] = min(lowest[above], lowest[name])
                if lowest[name] == index[name]:
                    group: list[str] = []
                    while name not in group[-1:]:
                        group.append(path.pop())
                        # What is in a finished group is no way back into one that is open.
                        del lowest[group[-1]]
                    groups.append(group)
    return groups
