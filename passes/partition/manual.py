"""Manual computations: code written for one device, with the collectives it needs.

Along the manual axes its types are local already; what is left to localize are the free axes, if there are any. On the
mesh data=2, model=4

  %0 = sdy.manual_computation(%x) in_shardings=[<@mesh, [{"model", "data"}]>] out_shardings=[<@mesh, [{"data"}]>]
      manual_axes={"model"} (%a: tensor<4xf32>) {
    %1 = "stablehlo.all_reduce"(%a) ...  // [{"data"}]
    sdy.return %1 : tensor<4xf32>
  } : (tensor<16xf32>) -> tensor<4xf32>

has `%x` in parts of 2 and becomes `%0 = "stablehlo.all_reduce"(%x) ... : tensor<2xf32>`. The op stays until everything
is lowered (`dissolve`): one value inside may be two results that lie differently, and has one sharding until then.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from passes import _mlir
from passes.partition.shardings import MANUAL, Axes, manual_axes
from passes.partition.summary import COLLECTIVES, Calls
from passes.partition.trace import MARKS
from passes.program.entry import symbol_name
from passes.program.read import Program
from passes.program.splice import splice
from passes.program.walk import named, operations
from passes.sharding.mesh import Axis, Mesh, meshes

if TYPE_CHECKING:
    from passes.partition.localize import Localizer

# In these a channel alone means "sum over all partitions"; with this attribute groups name devices.
_GLOBAL_IDS = "use_global_device_ids"
_TAKES_GLOBAL_IDS = frozenset(f"stablehlo.{name}" for name in ("all_gather", "all_reduce", "reduce_scatter"))


# -- the computation ---------------------------------------------------------------------------------------------------


def lower(localizer: Localizer, op: Any) -> None:
    """manual_computation: operands and results lie as in_shardings and out_shardings say, the body runs as it is.

    Along the axes that are not manual it is lowered like the code around it.
    """
    shardings, body = localizer.shardings, op.regions[0].blocks[0]
    localizer.match_operands(op, shardings.listed(op, "in_shardings"))
    for value in body.arguments:
        localizer.localize_value(value)
    manual = manual_axes(op)
    outside = localizer.emit.manual
    localizer.emit.manual = (*outside, *map(shardings.mesh.axis, manual))
    localizer.block(body, [shardings.without(attr, manual) for attr in shardings.listed(op, "out_shardings")])
    localizer.emit.manual = outside
    localizer.in_place(op)


def dissolve(module: Any) -> None:
    """Puts the body of every manual computation of a lowered module in the place of the op."""
    for op in named(module, frozenset({MANUAL})):
        for inner in operations(op):
            _remove_marks(inner)
        splice(op, op.regions[0].blocks[0], op.operands)


def _remove_marks(op: Any) -> None:
    """No value of the global program is what a device holds inside a manual computation."""
    attributes = op.attributes
    for key in MARKS:
        if key in attributes:
            del attributes[key]


# -- collectives of the program ----------------------------------------------------------------------------------------


def collective_lower(localizer: Localizer, op: Any) -> None:
    """The groups name devices of the whole mesh and stay; the channel is made unique."""
    localizer.in_place(op)
    op.attributes["channel_handle"] = localizer.emit.channel_handle()


def new_groups(found: Calls, mesh: Mesh) -> dict[Any, Axes]:
    """The axes behind the replica groups of collectives, for those that are groups over whole axes of ``mesh``."""
    attrs = {op.attributes["replica_groups"] for op, _ in found if "replica_groups" in op.attributes}
    return {attr: axes for attr in attrs if (axes := _spanned(attr, mesh))}


def _exchanging(op: Any) -> Any:
    """The attribute that says which devices exchange data."""
    attributes = op.attributes
    return attributes["replica_groups" if "replica_groups" in attributes else "source_target_pairs"]


# A program has many collectives and few different groups.
@functools.lru_cache(maxsize=1024)
def _groups(attr: Any) -> tuple[tuple[int, ...], ...]:
    """The devices that exchange data, group by group; pairs for a permute."""
    dense = _mlir.ir.DenseIntElementsAttr(attr)
    rows, size = _mlir.ir.RankedTensorType(dense.type).shape
    numbers = [int(n) for n in dense]
    # Groups of unequal size are filled up with -1.
    return tuple(tuple(n for n in numbers[row * size : (row + 1) * size] if n >= 0) for row in range(rows))


@functools.lru_cache(maxsize=1024)
def _differing(attr: Any, mesh: Mesh) -> tuple[str, ...]:
    """The mesh axes along which the devices of some group differ."""

    def differ(axis: Axis) -> bool:
        return any(len({mesh.coordinate(device, axis) for device in group}) > 1 for group in _groups(attr))

    return tuple(name for name, _ in mesh.axes if differ(mesh.axis(name)))


def _spanned(attr: Any, mesh: Mesh) -> Axes:
    """The axes whose collective has these groups; none for groups over parts of axes."""
    axes = tuple(map(mesh.axis, _differing(attr, mesh)))
    same = set(map(frozenset, _groups(attr))) == set(map(frozenset, mesh.groups(axes)))
    return axes if same else ()


# -- before planning ---------------------------------------------------------------------------------------------------


def settle(program: Program) -> None:
    """Settles what ``program`` does as one of several devices before it is planned: refuses what means nothing.

    Collectives of each device with itself go: front ends write the bodies of computations that are manual over axes of
    size 1, without the computation.

    Raises:
      UserError: a collective or a partition_id stands outside of manual computations, or speaks of axes that are not
        manual around it.
    """
    mesh = next((mesh for mesh in meshes(program.module).values() if mesh.axes), None)
    if mesh is None or not named(program.module, _OBJECTIONS):
        return
    idle: dict[Any, None] = {}
    for op, place in _with_decompositions(program.module):
        objection = _OBJECTIONS.get(op.name)
        if objection is _exchange and _moves_nothing(op, mesh):
            idle[op] = None
        elif objection is not None and (reason := objection(op, mesh, _axes_around(place))):
            raise program.error(f"cannot partition '{op.name}': {reason}", op)
    for op in idle:
        for result, operand in zip(op.results, op.operands, strict=True):
            result.replace_all_uses_with(operand)
        op.erase()


def _with_decompositions(module: Any) -> Iterator[tuple[Any, Any]]:
    """The ops of ``module``, each with the op whose place in the program is also its own.

    A composite that stays whole stands for its decomposition, which is a function of its own, once for each composite.
    """
    ir = _mlir.ir
    kept = named(module, {"stablehlo.composite"})
    bodies: dict[str, list[Any]] = {ir.FlatSymbolRefAttr(op.attributes["decomposition"]).value: [] for op in kept}
    for view in module.body.operations:
        function = view.operation
        within = bodies.get(symbol_name(function)) if function.name == "func.func" else None
        if within is None:
            yield from ((op, op) for op in operations(function))
        else:
            within += operations(function)
    for op in kept:
        inside = bodies[ir.FlatSymbolRefAttr(op.attributes["decomposition"]).value]
        yield from ((inner, op) for inner in inside if inner.name in _OBJECTIONS)


def _exchange(op: Any, mesh: Mesh, manual: frozenset[str] | None) -> str:
    """A collective of the program exchanges data along manual axes only."""
    if manual is None:
        return "it moves data between devices and does not stand in a manual computation"
    if not _names_devices(op):
        return (
            "its groups name replicas, of which there is one, not the devices of the mesh; give it a channel_handle"
            + (f" and {_GLOBAL_IDS}" if op.name in _TAKES_GLOBAL_IDS else "")
        )
    strangers = {d for group in _groups(_exchanging(op)) for d in group} - set(mesh.devices)
    if strangers:
        return f"its groups name device {min(strangers)}, which the mesh does not have"
    free = [name for name in _differing(_exchanging(op), mesh) if name not in manual]
    if free:
        return f"its groups differ along {_listed(free)}, which is not manual around it"
    return ""


def _place(op: Any, mesh: Mesh, manual: frozenset[str] | None) -> str:
    """Devices that hold the same part would see different numbers unless every axis is manual."""
    if manual is None:
        return "it tells devices apart and does not stand in a manual computation"
    free = [name for name, size in mesh.axes if size > 1 and name not in manual]
    return f"it tells devices apart along {_listed(free)}, which is not manual around it" if free else ""


def _listed(axes: list[str]) -> str:
    return " and ".join(f"'{name}'" for name in axes)


def _moves_nothing(op: Any, mesh: Mesh) -> bool:
    """Whether every device hears from itself only, and takes that as it is."""
    if [v.type for v in op.operands] != [v.type for v in op.results]:
        return False
    return {frozenset(group) for group in _groups(_exchanging(op))} == {frozenset({d}) for d in mesh.devices}


def _axes_around(op: Any) -> frozenset[str] | None:
    """The axes that are manual where ``op`` stands; ``None`` outside of manual computations."""
    names: set[str] = set()
    inside, parent = False, op.parent
    while parent is not None and parent.operation.name != "func.func":
        if parent.operation.name == MANUAL:
            inside = True
            names.update(manual_axes(parent.operation))
        parent = parent.operation.parent
    return frozenset(names) if inside else None


def _names_devices(op: Any) -> bool:
    if op.name in _TAKES_GLOBAL_IDS and _GLOBAL_IDS not in op.attributes:
        return False
    attributes = op.attributes
    return "channel_handle" in attributes and _mlir.stablehlo.ChannelHandle(attributes["channel_handle"]).handle > 0


def _host(op: Any, mesh: Mesh, manual: frozenset[str] | None) -> str:
    """What each device takes from the host or gives to it is for the program that was written to say."""
    return "it talks to the host, which would have to know each device's part; take it out or pass its tensors along"


def _over_replicas(op: Any, mesh: Mesh, manual: frozenset[str] | None) -> str:
    return "it sums over replicas, of which there is one; use an all_reduce in a manual computation"


def _beside(op: Any, mesh: Mesh, manual: frozenset[str] | None) -> str:
    return "it starts a function beside the program; call the function instead"


_OBJECTIONS: dict[str, Callable[[Any, Mesh, frozenset[str] | None], str]] = {
    **dict.fromkeys(COLLECTIVES, _exchange),
    "stablehlo.partition_id": _place,
    **dict.fromkeys((f"stablehlo.{name}" for name in ("infeed", "outfeed", "recv", "send")), _host),
    "stablehlo.cross-replica-sum": _over_replicas,
    **dict.fromkeys(("stablehlo.async_done", "stablehlo.async_start"), _beside),
}
