"""Finds the entry function and describes its signature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from passes import _mlir
from passes.program.read import Program


@dataclass(frozen=True)
class Value:
    """An argument or result of the entry function.

    Attributes:
      index: Its position.
      name: The name its front end gave it (pytree path), or ``arg0`` / ``result0``.
      type: ``ir.Type``.
      attributes: Its argument or result attributes by name.
    """

    index: int
    name: str
    type: Any
    attributes: dict[str, Any]


def functions(module: Any) -> list[Any]:
    """All ``func.func`` ops at the top of the module, as operations, in order."""
    return [op.operation for op in module.body.operations if op.operation.name == "func.func"]


def symbol_name(op: Any) -> str:
    """The name of a symbol op (function or mesh)."""
    return str(_mlir.ir.StringAttr(op.attributes["sym_name"]).value)


def is_private(function: Any) -> bool:
    """Whether the function is visible inside its module only."""
    attributes = function.attributes
    return "sym_visibility" in attributes and _mlir.ir.StringAttr(attributes["sym_visibility"]).value != "public"


def is_declaration(function: Any) -> bool:
    """Whether the function has no body."""
    return len(function.regions[0].blocks) == 0


def find_entry(program: Program, name: str | None = None) -> Any:
    """The entry function: ``name`` if given, else ``main``, else the only public function with a body.

    Raises:
      UserError: there is none, or several public functions and no ``main``.
    """
    defined = [f for f in functions(program.module) if not is_declaration(f)]
    by_name = {symbol_name(f): f for f in defined}
    if not by_name:
        raise program.error("the module is empty: it holds no function with a body")
    if name is not None:
        if name not in by_name:
            raise program.error(f"no function @{name} with a body; the module has {_list(by_name)}")
        return by_name[name]
    if "main" in by_name:
        return by_name["main"]
    public = [n for n, f in by_name.items() if not is_private(f)]
    if len(public) != 1:
        choices = _list(public or by_name)
        raise program.error(f"no function @main; name the entry function with --entry, one of {choices}")
    return by_name[public[0]]


def arguments(function: Any) -> list[Value]:
    """The function's arguments with their names from debug locations (JAX writes pytree paths there)."""
    attributes = value_attributes(function, "arg_attrs", len(function.regions[0].blocks[0].arguments))
    return [
        Value(i, _location_name(a.location) or f"arg{i}", a.type, attributes[i])
        for i, a in enumerate(function.regions[0].blocks[0].arguments)
    ]


def results(function: Any) -> list[Value]:
    """The function's results with their names from ``jax.result_info``."""
    types = _mlir.ir.FunctionType(_mlir.ir.TypeAttr(function.attributes["function_type"]).value).results
    attributes = value_attributes(function, "res_attrs", len(types))
    return [Value(i, _result_name(attributes[i]) or f"result{i}", t, attributes[i]) for i, t in enumerate(types)]


def value_attributes(function: Any, key: str, count: int) -> list[dict[str, Any]]:
    """The attributes of each of ``count`` arguments (``key`` is ``arg_attrs``) or results (``res_attrs``)."""
    if key not in function.attributes:
        return [{} for _ in range(count)]
    dictionaries = (_mlir.ir.DictAttr(d) for d in _mlir.ir.ArrayAttr(function.attributes[key]))
    return [{named.name: named.attr for named in d} for d in dictionaries]


def value_attribute(function: Any, key: str, name: str, count: int) -> list[Any]:
    """The attribute ``name`` of each of ``count`` arguments or results (`value_attributes`); ``None`` where it lacks.

    A tenth of the time that reading all of their attributes takes.
    """
    if key not in function.attributes:
        return [None] * count
    found = []
    for dictionary in map(_mlir.ir.DictAttr, _mlir.ir.ArrayAttr(function.attributes[key])):
        # Its own `get` makes dictionaries.
        found.append(dictionary[name] if name in dictionary else None)  # noqa: SIM401
    return found


def set_value_attribute(function: Any, key: str, name: str, given: dict[int, Any], count: int) -> None:
    """Sets the attribute ``name`` of those of ``count`` arguments or results that ``given`` has one for."""
    ir, context = _mlir.ir, _mlir.context()
    empty = ir.DictAttr.get({}, context=context)
    each = list(ir.ArrayAttr(function.attributes[key])) if key in function.attributes else [empty] * count
    for index, attribute in given.items():
        kept = {named.name: named.attr for named in ir.DictAttr(each[index])}
        each[index] = ir.DictAttr.get(kept | {name: attribute}, context=context)
    function.attributes[key] = ir.ArrayAttr.get(each, context=context)


def value_types(function: Any) -> dict[str, list[Any]]:
    """The types of the function's arguments and results by the attribute that holds what is said of them."""
    type = _mlir.ir.FunctionType(_mlir.ir.TypeAttr(function.attributes["function_type"]).value)
    return {"arg_attrs": list(type.inputs), "res_attrs": list(type.results)}


def _location_name(location: Any) -> str | None:
    return str(location.name_str) if isinstance(location, _mlir.ir.NameLoc) else None


def _result_name(attributes: dict[str, Any]) -> str | None:
    info = attributes.get("jax.result_info")
    return str(_mlir.ir.StringAttr(info).value) or None if info is not None else None


def _list(names: Any) -> str:
    return ", ".join(f"@{n}" for n in names)
