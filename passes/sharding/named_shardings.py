"""Rules from the shardings of a JAX function, without importing jax: all that is asked of them is their attributes.

    lowered = jax.jit(f, in_shardings=...).lower(...)
    shardings = [NamedSharding(mesh, P("data", None)), None, ...]       # one per argument of the module
    annotate(program, from_named_shardings(shardings))

A sharding has ``mesh`` (with ``shape``, ordered sizes by axis name) and ``spec`` (per dimension ``None``, an axis or a
tuple of axes). Dimensions behind the end of a spec are whole; ``UNCONSTRAINED`` ones are open to propagation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from passes.errors import UserError
from passes.sharding.mesh import Mesh
from passes.sharding.rules import DimRule, Entry, Layout, Rules, Selector

Shardings = Sequence[Any] | Mapping[str, Any]


def from_named_shardings(arguments: Shardings, results: Shardings = ()) -> Rules:
    """The rules that put arguments and results where the given ``NamedSharding`` objects say.

    Args:
      arguments, results: One sharding for each argument and result of the module's entry function in order (the leaves
        of the function's pytrees), or a mapping from names, as `shlo shard --names` lists them, to shardings. Whatever
        has no ``spec``, such as ``None``, leaves its value to propagation.

    Raises:
      UserError: there is no sharding at all, they are on different meshes, or one names an axis its mesh has not.
    """
    titled = [*_titled(arguments, "argument"), *_titled(results, "result")]
    meshes = {title: _mesh(sharding.mesh) for title, sharding in titled}
    if not meshes:
        raise UserError("none of the shardings has a mesh and a spec; pass NamedSharding objects")
    (first, mesh), *others = meshes.items()
    for title, other in others:
        if other != mesh:
            raise UserError(f"{title} is on the mesh {_text(other)} and {first} on {_text(mesh)}; one mesh is needed")
    for title, sharding in titled:
        for axis in _axes(sharding.spec):
            if axis not in mesh.sizes:
                raise UserError(f"the spec of {title} names axis '{axis}', and the mesh is {_text(mesh)}")
    return Rules(mesh, _entries(arguments), _entries(results), source="<named shardings>")


def _items(shardings: Shardings) -> list[tuple[Selector, str, Any]]:
    """Selector, name and sharding of each value that has a sharding."""
    if isinstance(shardings, Mapping):
        listed = [(Selector(match=name), f"'{name}'", s) for name, s in shardings.items()]
    else:
        listed = [(Selector(indices=(i,)), str(i), s) for i, s in enumerate(shardings)]
    return [item for item in listed if hasattr(item[2], "spec") and hasattr(item[2], "mesh")]


def _titled(shardings: Shardings, noun: str) -> list[tuple[str, Any]]:
    return [(f"{noun} {name}", sharding) for _, name, sharding in _items(shardings)]


def _entries(shardings: Shardings) -> tuple[Entry, ...]:
    return tuple(Entry(selector, _layout(sharding.spec)) for selector, _, sharding in _items(shardings))


def _layout(spec: Any) -> Layout:
    unreduced = tuple(sorted(getattr(spec, "unreduced", None) or ()))
    return Layout(tuple(map(_dim, spec)), unreduced=unreduced, may_be_short=True)


def _dim(entry: Any) -> DimRule:
    if entry is None:
        return DimRule()
    if isinstance(entry, str):
        return DimRule((entry,))
    # jax marks with an object of its own what is left to propagation.
    return DimRule(tuple(entry)) if isinstance(entry, Iterable) else DimRule(is_open=True)


def _axes(spec: Any) -> list[str]:
    return [axis for entry in spec for axis in _dim(entry).axes]


def _mesh(mesh: Any) -> Mesh:
    axes = tuple((str(name), int(size)) for name, size in mesh.shape.items())
    # An abstract mesh has no devices.
    devices = getattr(mesh, "devices", None)
    ids = tuple(int(d.id) for d in devices.flatten()) if devices is not None else ()
    return Mesh(axes, () if ids == tuple(range(len(ids))) else ids)


def _text(mesh: Mesh) -> str:
    return ", ".join(f"{name}={size}" for name, size in mesh.axes)
