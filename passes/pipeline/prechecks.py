"""Refuses programs that Shardy's passes would crash on, with the reason and the place.

Upstream's passes look up the entry function, walk the call graph and read function bodies without asking whether they
are there. What each pass dies of was measured with jaxlib 0.10.2 by running every pass on every kind of input; an
input a pass takes is let through.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from passes import _mlir
from passes.errors import UserError, Where
from passes.program import entry
from passes.program.read import Program
from passes.program.walk import each, named

# Ops that name a function, and the attribute they do it with.
_CALLS = {"func.call": "callee", "call": "callee", "stablehlo.composite": "decomposition"}


class Need(Enum):
    """Something a native pass takes for granted."""

    ENTRY = auto()
    BODIES = auto()
    ACYCLIC = auto()


NEEDS: dict[str, tuple[Need, ...]] = {
    "sdy-add-func-data-flow-edges": (Need.ENTRY,),
    "sdy-aggressive-propagate": (Need.ENTRY,),
    "sdy-basic-propagate": (Need.ENTRY,),
    "sdy-close-shardings": (Need.BODIES,),
    "sdy-export-pipeline": (Need.ENTRY, Need.BODIES),
    "sdy-flatten-call-graph": (Need.ACYCLIC,),
    "sdy-import-func-calls": (Need.ACYCLIC,),
    "sdy-import-pipeline": (Need.BODIES,),
    "sdy-inline-meshes": (Need.BODIES,),
    "sdy-insert-explicit-reshards": (Need.BODIES,),
    "sdy-lift-inlined-meshes": (Need.BODIES,),
    "sdy-op-priority-propagate": (Need.ENTRY,),
    "sdy-propagate-to-func-results": (Need.ENTRY, Need.BODIES),
    "sdy-propagation-pipeline": (Need.ENTRY, Need.BODIES, Need.ACYCLIC),
    "sdy-remove-sub-axes-in-input-output-shardings": (Need.ENTRY,),
    "sdy-update-non-divisible-input-output-shardings": (Need.BODIES,),
    "sdy-user-priority-propagate": (Need.ENTRY, Need.BODIES),
    "xla-sdy-round-trip-import-shardy-attrs": (Need.BODIES,),
}

# Pipelines that begin with symbol-dce: what no public function reaches does not matter to the rest.
_PRUNING = frozenset({"sdy-import-pipeline", "sdy-propagation-pipeline"})


@dataclass(frozen=True)
class _Functions:
    """The functions a pass will see, by name, and the calls in each as (op, name of the function called)."""

    bodies: dict[str, Any]
    calls: Callable[[str], list[tuple[Any, str]]]


def check_pass(module: Any, name: str) -> None:
    """Checks that the native pass ``name`` survives ``module`` (the ``builtin.module`` operation).

    Raises:
      UserError: it would kill the process; the message names the function.
    """
    needs = NEEDS.get(name, ())
    if not needs:
        return
    functions = _functions(module, pruned=name in _PRUNING)
    for need in needs:
        _CHECKS[need](functions)


def check_for_sdy(program: Program, *, static: bool = False) -> None:
    """Checks that sharding propagation can take ``program``; linear in its size.

    Args:
      static: The types are known to be static, which takes a look at every value to find out.

    Raises:
      UserError: no entry function, recursion, a call of a function without a body, or a type that is no tensor of
        static shape; placed at the function or op.
    """
    try:
        functions = _functions(program.module.operation, pruned=True)
        for check in _CHECKS.values():
            check(functions)
        if not static:
            _check_static(functions)
    except UserError as error:
        error.where = program.in_file(error.where) or Where(program.source)
        error.snippet = program.line_at(error.where)
        raise


def _functions(module: Any, *, pruned: bool) -> _Functions:
    every = {
        entry.symbol_name(op): op.operation
        for op in module.regions[0].blocks[0].operations
        if op.operation.name == "func.func"
    }
    known: dict[str, list[tuple[Any, str]]] = {}

    def calls(name: str) -> list[tuple[Any, str]]:
        if name not in known:
            known[name] = [
                (op, _mlir.ir.FlatSymbolRefAttr(op.attributes[_CALLS[op.name]]).value)
                for op in named(every[name], frozenset(_CALLS))
            ]
        return known[name]

    if not pruned:
        return _Functions(every, calls)
    kept: dict[str, Any] = {}
    pending = [name for name, function in every.items() if not entry.is_private(function)]
    while pending:
        name = pending.pop()
        if name in every and name not in kept:
            kept[name] = every[name]
            pending += [callee for _, callee in calls(name)]
    return _Functions({name: every[name] for name in every if name in kept}, calls)


def _check_entry(functions: _Functions) -> None:
    bodies = functions.bodies
    defined = [name for name, function in bodies.items() if not entry.is_declaration(function)]
    if not defined:
        raise UserError("the module is empty: it holds no public function with a body to propagate shardings in")
    if "main" not in defined and len(bodies) > 1:
        raise UserError(f"Shardy looks for a function @main, and the module has several others "
                        f"({', '.join('@' + name for name in bodies)}); rename the entry function to main")


def _check_bodies(functions: _Functions) -> None:
    for name, function in functions.bodies.items():
        if not entry.is_declaration(function):
            continue
        for caller in functions.bodies:
            for op, callee in functions.calls(caller):
                if callee == name:
                    raise _error(op, f"@{caller} calls @{name}, which has no body; give it one, or write the call as a "
                                 "stablehlo.custom_call")
        raise _error(function, f"function @{name} has no body; give it one, or remove it (symbol-dce does)")


def _check_acyclic(functions: _Functions) -> None:
    done: set[str] = set()
    for root in functions.bodies:
        path: dict[str, Any] = {}  # The functions being visited, with the calls of each still to follow.
        _enter(functions, root, path, done)
        while path:
            caller, rest = next(reversed(path.items()))
            op, callee = next(rest, (None, ""))
            if op is None:
                path.pop(caller)
                done.add(caller)
            elif callee in path:
                names = list(path)
                cycle = [*names[names.index(callee) :], callee]
                raise _error(op, f"recursion: {' calls '.join('@' + name for name in cycle)}; Shardy needs functions "
                             "that do not call themselves")
            else:
                _enter(functions, callee, path, done)


def _enter(functions: _Functions, name: str, path: dict[str, Any], done: set[str]) -> None:
    if name in functions.bodies and name not in done:
        path[name] = iter(functions.calls(name))


def _check_static(functions: _Functions) -> None:
    fine: set[Any] = set()
    for function in functions.bodies.values():
        for op in each(function):
            types = op.results.types
            if regions := op.regions:
                types += [a.type for region in regions for block in region for a in block.arguments]
            for type in types:
                if type in fine:
                    continue
                if reason := _unfit(type):
                    raise _error(op, f"'{op.name}' has a value of type {type}: {reason}")
                fine.add(type)


def _unfit(type: Any) -> str | None:
    ir = _mlir.ir
    if isinstance(type, ir.TupleType):
        return "sharding knows no tuples; return and pass several values instead"
    if not isinstance(type, ir.ShapedType):
        return None
    if not type.has_rank:
        return "sharding needs ranked tensors"
    if not type.has_static_shape:
        return "sharding needs static shapes; refine them first (stablehlo-refine-shapes)"
    return None


def _error(op: Any, message: str) -> UserError:
    return UserError(message, _mlir.where_of(op.location))


_CHECKS: dict[Need, Callable[[_Functions], None]] = {
    Need.ENTRY: _check_entry,
    Need.BODIES: _check_bodies,
    Need.ACYCLIC: _check_acyclic,
}
