"""Indices that were computed in floats."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from passes.optimize.lint.findings import Check, Remark, Scope
from passes.optimize.lint.formats import FLOATS, exact_integers
from passes.optimize.lint.values import MOVES, definition, element, place, resolve

# Op -> its operands that are indices.
_INDICES: dict[str, Callable[[Any], list[Any]]] = {
    "stablehlo.gather": lambda op: [op.operands[1]],
    "stablehlo.dynamic_gather": lambda op: [op.operands[1]],
    "stablehlo.torch_index_select": lambda op: [op.operands[1]],
    "stablehlo.scatter": lambda op: [op.operands[len(op.results)]],
    "stablehlo.dynamic_slice": lambda op: list(op.operands)[1:],
    "stablehlo.dynamic_update_slice": lambda op: list(op.operands)[2:],
}
# Ops that make indices of indices. A select's predicate and a compare choose between indices; they are none.
_ARITHMETIC = MOVES | frozenset(f"stablehlo.{name}" for name in (
    "add", "clamp", "concatenate", "convert", "divide", "maximum", "minimum", "multiply", "pad", "remainder", "select",
    "shift_left", "shift_right_arithmetic", "shift_right_logical", "subtract"))


def float_index(op: Any, scope: Scope) -> Iterator[Remark]:
    """Indices of ``op`` that some convert from floats feeds."""
    origins = scope.memory.setdefault("float_index", {})
    found = [resolve(value, origins, _computed_from, _origin) for value in _INDICES[op.name](op)]
    # Several indices may have one origin; ops compare equal but have no hash that says so.
    found = [o for i, o in enumerate(found) if o is not None and o not in found[:i]]
    for convert in found:
        kind = element(convert.operands[0])
        yield Remark(
            f"indices of {op.name.partition('.')[2]} come from {kind}{place(convert)}, which holds integers up to "
            f"{exact_integers(kind):,} only, and NaN",
            "compute them in integers",
        )


def _computed_from(value: Any) -> list[Any]:
    """The indices that ``value`` is made of; none if it comes from floats, or from elsewhere."""
    op = definition(value)
    if op is None or op.name not in _ARITHMETIC or _is_from_floats(op):
        return []
    return list(op.operands)[1 if op.name == "stablehlo.select" else 0 :]


def _origin(value: Any, origins: list[Any]) -> Any:
    """The first convert from floats among what ``value`` is made of."""
    op = definition(value)
    if op is not None and _is_from_floats(op):
        return op
    return next((origin for origin in origins if origin is not None), None)


def _is_from_floats(op: Any) -> bool:
    return op.name == "stablehlo.convert" and element(op.operands[0]) in FLOATS


FLOAT_INDEX = Check(
    "float-index",
    "indices of gather, scatter, dynamic_slice and the like that were computed in floats",
    tuple(_INDICES),
    float_index,
)
