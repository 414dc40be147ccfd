"""Factors mesh axes into primes, so that no native pass ever meets a part of an axis.

Upstream takes the stride of a sub-axis such as ``"x":(1)2`` wrong in several places. A mesh ``"x"=4`` is rewritten to
``"x.0"=2, "x.1"=2`` before planning; every sharding then names whole axes only. `PrimeMesh.restore` folds prime axes
back into what the user wrote.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from passes import _mlir
from passes.errors import UserError
from passes.program.entry import symbol_name
from passes.program.walk import each
from passes.sharding.mesh import Axis, Mesh, Sharding, axis_from_attr, mesh_from_attr
from passes.sharding.signature import SHARDING


def prime_factors(size: int) -> list[int]:
    """The prime factors of ``size``, smallest first; empty for 1."""
    factors, divisor = [], 2
    while divisor * divisor <= size:
        while size % divisor == 0:
            factors.append(divisor)
            size //= divisor
        divisor += 1
    return [*factors, size] if size > 1 else factors


@dataclass(frozen=True)
class PrimeMesh:
    """A user's mesh beside its factored form.

    ``factors`` holds for each user axis the names and sizes of its prime axes, major to minor; an axis of size 1 or of
    prime size keeps its name.
    """

    original: Mesh
    factors: tuple[tuple[str, tuple[tuple[str, int], ...]], ...]

    @cached_property
    def mesh(self) -> Mesh:
        """The factored mesh, with the same devices in the same order."""
        return Mesh(tuple(axis for _, parts in self.factors for axis in parts), self.original.device_ids)

    @cached_property
    def _parts(self) -> dict[str, tuple[tuple[str, int], ...]]:
        return dict(self.factors)

    @cached_property
    def _origin(self) -> dict[str, Axis]:
        origin = {}
        for name, parts in self.factors:
            before = 1
            for part, size in parts:
                origin[part] = Axis(name, before, size)
                before *= size
        return origin

    def expand(self, axis: Axis) -> tuple[str, ...]:
        """The prime axes that make up ``axis`` of the user's mesh, major to minor.

        Raises:
          UserError: the part does not fall on the boundaries of the factorisation.
        """
        names, before = [], 1
        for name, size in self._parts[axis.name]:
            if axis.pre_size <= before < axis.pre_size * axis.size:
                names.append(name)
            before *= size
        if _product(self._parts[axis.name], names) != axis.size:
            raise UserError(
                f"the sub-axis \"{axis.name}\":({axis.pre_size}){axis.size} does not fit the other sub-axes of "
                f"\"{axis.name}\" in this module; split the axis in the mesh instead"
            )
        return tuple(names)

    def restore(self, sharding: Sharding) -> Sharding:
        """A sharding on the factored mesh as one on the user's, neighbouring parts of an axis joined."""
        return Sharding(self.original, tuple(self.restore_axes(tuple(a.name for a in axes)) for axes in sharding.dims))

    def restore_axes(self, names: tuple[str, ...]) -> tuple[Axis, ...]:
        """Prime axes as axes of the user's mesh, neighbouring parts joined."""
        joined: list[Axis] = []
        for name in names:
            part = self._origin[name]
            last = joined[-1] if joined else None
            if last and last.name == part.name and last.pre_size * last.size == part.pre_size:
                joined[-1] = Axis(last.name, last.pre_size, last.size * part.size)
            else:
                joined.append(part)
        return tuple(joined)


def _product(parts: tuple[tuple[str, int], ...], names: list[str]) -> int:
    product = 1
    for name, size in parts:
        if name in names:
            product *= size
    return product


def factor_mesh(mesh: Mesh, cuts: dict[str, set[int]] | None = None) -> PrimeMesh:
    """Factors every axis of ``mesh``.

    Args:
      cuts: For each axis the ``pre_size`` values at which sub-axes in the module begin or end; the order of the prime
        factors is chosen so that these fall between factors where the axis allows it.
    """
    taken = set(mesh.sizes)
    factors: list[tuple[str, tuple[tuple[str, int], ...]]] = []
    for name, size in mesh.axes:
        sizes = _ordered_factors(size, (cuts or {}).get(name, set()))
        if len(sizes) <= 1:
            factors.append((name, ((name, size),)))
            continue
        parts = []
        for i, part in enumerate(sizes):
            fresh = f"{name}.{i}"
            while fresh in taken:
                fresh += "_"
            taken.add(fresh)
            parts.append((fresh, part))
        factors.append((name, tuple(parts)))
    return PrimeMesh(mesh, tuple(factors))


def _ordered_factors(size: int, cuts: set[int]) -> list[int]:
    """Prime factors of ``size`` in an order whose running products hit every cut that can be hit."""
    factors, done = [], 1
    for cut in sorted(c for c in cuts if size % c == 0):
        if cut % done == 0:
            factors += prime_factors(cut // done)
            done = cut
    return factors + prime_factors(size // done)


class _Rewriter:
    """Rewrites every ``sdy`` attribute of a module onto factored meshes; equal attributes are translated once.

    A mesh without axes can only say "replicated"; ``instead`` is the mesh that says so in its place. One that names a
    device, which front ends write on callbacks, says that this device alone computes a value: here all do, and such a
    sharding, which has no dimensions, becomes ``None``.
    """

    def __init__(self, meshes: dict[str, PrimeMesh], instead: str) -> None:
        self.meshes = meshes
        self.instead = instead
        self.cache: dict[Any, Any] = {}

    def attribute(self, attr: Any) -> Any:
        if attr not in self.cache:
            self.cache[attr] = self._translate(attr)
        return self.cache[attr]

    def _translate(self, attr: Any) -> Any:
        ir, sdy, context = _mlir.ir, _mlir.sdy, _mlir.context()
        if sdy.TensorShardingAttr.isinstance(attr):
            return self._sharding(sdy.TensorShardingAttr(attr))
        if sdy.TensorShardingPerValueAttr.isinstance(attr):
            shardings = [self.attribute(s) for s in sdy.TensorShardingPerValueAttr(attr).shardings]
            # Of values of one op all are on one device, or none is.
            if any(sharding is None for sharding in shardings):
                return None
            return sdy.TensorShardingPerValueAttr.get(shardings, context=context)
        if isinstance(attr, ir.ArrayAttr):
            return ir.ArrayAttr.get([self.attribute(a) for a in attr], context=context)
        if isinstance(attr, ir.DictAttr) and SHARDING in attr:
            translated = {a.name: self.attribute(a.attr) for a in attr}
            return ir.DictAttr.get({k: a for k, a in translated.items() if a is not None}, context=context)
        return attr

    def _sharding(self, attr: Any) -> Any:
        sdy, ir, context = _mlir.sdy, _mlir.ir, _mlir.context()
        reference = attr.mesh_or_ref
        if sdy.MeshAttr.isinstance(reference):
            raise UserError(f"a sharding carries its mesh inline ({attr}); run the module through `shlo shard` first")
        name = ir.FlatSymbolRefAttr(reference).value
        prime = self.meshes[name]
        if not prime.original.axes and prime.original.device_ids:
            return None
        dims = []
        for dimension in attr.dimension_shardings:
            d = sdy.DimensionShardingAttr(dimension)
            axes = self._axes(d.axes, prime)
            # An axis of size one has no factors; a dimension that is closed and whole may have no priority.
            priority = d.priority if axes or not d.is_closed else None
            dims.append(sdy.DimensionShardingAttr.get(axes, d.is_closed, priority, context=context))
        if not prime.original.axes:
            name = self.instead
        return sdy.TensorShardingAttr.get(
            name, dims, self._axes(attr.replicated_axes, prime), self._axes(attr.unreduced_axes, prime), context=context
        )

    def _axes(self, axes: Any, prime: PrimeMesh) -> list[Any]:
        sdy, context = _mlir.sdy, _mlir.context()
        return [
            sdy.AxisRefAttr.get(name, context=context)
            for a in axes
            for name in prime.expand(axis_from_attr(a, prime.original))
        ]


# Where shardings may stand: on any op, on function arguments and results, and in sdy's own ops.
_ON_SOME = (SHARDING, "arg_attrs", "res_attrs", "sharding", "in_shardings", "out_shardings", "out_sharding")


@cache
def _says_more(name: str) -> bool:
    """Whether an op called ``name`` may say something of shardings in attributes of its own."""
    return name == "func.func" or name.startswith("sdy.")


def factor_axes(module: Any) -> dict[str, PrimeMesh]:
    """Rewrites all meshes of ``module`` to prime axes, with every sharding that refers to them.

    Returns:
      Mesh name -> `PrimeMesh`. Meshes without axes are gone if there is another; a module whose axes are all prime
      already is left as it is otherwise.
    """
    sdy, context = _mlir.sdy, _mlir.context()
    mesh_ops = [op.operation for op in module.body.operations if op.operation.name == "sdy.mesh"]
    annotated = _annotated(module)
    cuts = _sub_axis_cuts(annotated, {symbol_name(op): mesh_from_attr(op.attributes["mesh"]) for op in mesh_ops})
    primes = {}
    for op in mesh_ops:
        name = symbol_name(op)
        prime = factor_mesh(mesh_from_attr(op.attributes["mesh"]), cuts.get(name))
        primes[name] = prime
        if prime.mesh != prime.original:
            axes = [sdy.MeshAxisAttr.get(n, s, context=context) for n, s in prime.mesh.axes]
            op.attributes["mesh"] = sdy.MeshAttr.get(axes, list(prime.mesh.device_ids), context=context)
    instead = next((name for name, p in primes.items() if p.original.axes), next(iter(primes), ""))
    if all(p.mesh == p.original and (p.original.axes or name == instead) for name, p in primes.items()):
        return primes
    rewriter = _Rewriter(primes, instead)
    for op, keys in annotated:
        _rewrite(op, keys, rewriter, primes)
    for op in mesh_ops:
        if symbol_name(op) != instead and not primes[symbol_name(op)].original.axes:
            del primes[symbol_name(op)]
            op.erase()
    return primes


def _rewrite(op: Any, keys: list[str], rewriter: _Rewriter, primes: dict[str, PrimeMesh]) -> None:
    """Rewrites what ``op`` says of shardings under ``keys``; a constraint that says nothing then goes."""
    attributes = op.attributes
    for key in keys:
        translated = rewriter.attribute(attributes[key])
        if translated is not None:
            attributes[key] = translated
        elif op.name == "sdy.sharding_constraint":
            op.results[0].replace_all_uses_with(op.operands[0])
            op.erase()
            return
        else:
            del attributes[key]
    if "manual_axes" in attributes:
        attributes["manual_axes"] = _manual_axes(attributes["manual_axes"], primes)


def _manual_axes(attr: Any, primes: dict[str, PrimeMesh]) -> Any:
    ir, sdy, context = _mlir.ir, _mlir.sdy, _mlir.context()
    manual = sdy.ManualAxesAttr(attr)
    names = [manual[i] for i in range(len(manual))]
    expanded = []
    for name in names:
        prime = next((p for p in primes.values() if name in p.original.sizes), None)
        expanded += list(prime.expand(prime.original.axis(name))) if prime else [name]
    return sdy.ManualAxesAttr.get([ir.StringAttr.get(n, context) for n in expanded], context=context)


def _annotated(module: Any) -> list[tuple[Any, list[str]]]:
    """The ops of ``module`` that say something of shardings, with the attributes in which they do."""
    found = []
    for op in each(module):
        attributes = op.attributes
        if _says_more(op.name):
            found.append((op, [key for key in _ON_SOME if key in attributes]))
        elif SHARDING in attributes:
            found.append((op, [SHARDING]))
    return found


def _sub_axis_cuts(
    annotated: list[tuple[Any, list[str]]], meshes: dict[str, Mesh]
) -> dict[str, dict[str, set[int]]]:
    """The places at which sub-axes in ``annotated`` ops start and end, by mesh and axis."""
    ir = _mlir.ir
    cuts: dict[str, dict[str, set[int]]] = {}
    seen: set[Any] = set()

    def visit(attr: Any) -> None:
        if attr in seen:
            return
        seen.add(attr)
        sdy = _mlir.sdy
        if sdy.TensorShardingAttr.isinstance(attr):
            sharding = sdy.TensorShardingAttr(attr)
            if sdy.MeshAttr.isinstance(sharding.mesh_or_ref):
                return
            name = ir.FlatSymbolRefAttr(sharding.mesh_or_ref).value
            for dimension in sharding.dimension_shardings:
                for reference in sdy.DimensionShardingAttr(dimension).axes:
                    axis = axis_from_attr(reference, meshes[name])
                    if axis.size != meshes[name].sizes[axis.name]:
                        cuts.setdefault(name, {}).setdefault(axis.name, set()).update(
                            {axis.pre_size, axis.pre_size * axis.size}
                        )
        elif sdy.TensorShardingPerValueAttr.isinstance(attr):
            for sharding in sdy.TensorShardingPerValueAttr(attr).shardings:
                visit(sharding)
        elif isinstance(attr, ir.ArrayAttr):
            for element in attr:
                visit(element)
        elif isinstance(attr, ir.DictAttr) and SHARDING in attr:
            visit(attr[SHARDING])

    for op, keys in annotated:
        for key in keys:
            visit(op.attributes[key])
    return cuts


