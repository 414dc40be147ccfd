"""Spreads the experts of sparse layers over a mesh: what moves tokens becomes the part of one device.

On a mesh rows=2, columns=4, with `experts=rows,columns ring=columns`

  %d:2 = stablehlo.composite "shlo.moe.all_to_all_dispatch" %x, %indices, %mapping {num_devices = 1, ...}
    : (tensor<32x1x1x8xf32>, ...) -> (tensor<1x32x1x8xf32>, ...)

becomes

  %d:2 = sdy.manual_computation(%x, %indices) in_shardings=[<@mesh, [{"columns"}, {}, {}, {}]>, ...]
      out_shardings=[<@mesh, [{}, {}, {}, {}]>, ...] manual_axes={"rows", "columns"} (%x: tensor<8x1x1x8xf32>, ...) {
    %m = stablehlo.constant dense<...> : tensor<1x1xEx8xi32>     // who owns which expert
    %0:2 = stablehlo.composite "shlo.moe.all_to_all_dispatch" %x, %indices, %m {num_devices = 4, ...}
    sdy.return %0#0, %0#1
  }

Tokens are split along the ring (and over `data` axes), the experts of what is combined over `experts`; propagation
takes that to the weights. The sparse products in between stay, constrained to be split over experts. An op that says
num_devices = 4 already, as front ends write it, repeats its tokens so often, and keeps them whole.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from passes import _mlir
from passes.errors import UserError
from passes.moe.capacity import Room, rooms
from passes.moe.composites import Decompositions, create, fail, moe_composites, read, remove_unused, sharding_rule
from passes.moe.decompose import Place
from passes.moe.ops import COMBINE, DISPATCH, REMAP, SPARSE_MATMUL, Call, Type
from passes.moe.roles import dot_of
from passes.pipeline.base import Counters, Pass, Statistic, option
from passes.program.types import shape_of
from passes.sharding.mesh import Mesh, Sharding, mesh_to_attr, meshes, sharding_to_attr
from passes.sharding.op_rules import RULE
from passes.sharding.sharding_rule import Rule, encode

# For each operand or result, dimension -> the axes it is split over.
Split = dict[int, tuple[str, ...]]


@dataclass(frozen=True)
class ExpertParallel(Pass):
    """See the module's docstring."""

    name: ClassVar[str] = "moe-expert-parallel"
    summary: ClassVar[str] = "Spread the experts of sparse mixture-of-experts layers over mesh axes"
    statistics: ClassVar[tuple[Statistic, ...]] = (
        Statistic("placed", "composites that became the part of one device"),
        Statistic("moves", "one-hot moves of tokens to experts, constrained to be split over experts"),
        Statistic("products", "sparse products, which stay and are split by their rules", changes=False),
    )
    before: ClassVar[str] = """\
sdy.mesh @mesh = <["x"=2]>
func.func @main(%x: tensor<4x1x1x8xf32>, %indices: tensor<4x1x1x2xi32>, %mapping: tensor<1x1x6x1xi32>)
    -> (tensor<1x4x1x8xf32>, tensor<1x4x1x2xi32>) {
  %0:2 = stablehlo.composite "shlo.moe.all_to_all_dispatch" %x, %indices, %mapping {composite_attributes =
    {cluster_axis = 0 : i64, num_devices = 1 : i64}, decomposition = @dispatch}
    : (tensor<4x1x1x8xf32>, tensor<4x1x1x2xi32>, tensor<1x1x6x1xi32>) -> (tensor<1x4x1x8xf32>, tensor<1x4x1x2xi32>)
  return %0#0, %0#1 : tensor<1x4x1x8xf32>, tensor<1x4x1x2xi32>
}
func.func private @dispatch(%x: tensor<4x1x1x8xf32>, %indices: tensor<4x1x1x2xi32>, %mapping: tensor<1x1x6x1xi32>)
    -> (tensor<1x4x1x8xf32>, tensor<1x4x1x2xi32>) {
  %0 = stablehlo.reshape %x : (tensor<4x1x1x8xf32>) -> tensor<1x4x1x8xf32>
  %1 = stablehlo.reshape %indices : (tensor<4x1x1x2xi32>) -> tensor<1x4x1x2xi32>
  return %0, %1 : tensor<1x4x1x8xf32>, tensor<1x4x1x2xi32>
}
"""
    after: ClassVar[str] = """\
sdy.mesh @mesh = <["x"=2]>
func.func @main(%arg0: tensor<4x1x1x8xf32>, %arg1: tensor<4x1x1x2xi32>, %arg2: tensor<1x1x6x1xi32>) ->
  (tensor<1x4x1x8xf32>, tensor<1x4x1x2xi32>) {
  %0:2 = sdy.manual_computation(%arg0, %arg1) in_shardings=[<@mesh, [{"x"}, {}, {}, {}]>, <@mesh, [{"x"}, {}, {},
    {}]>] out_shardings=[<@mesh, [{}, {}, {}, {}]>, <@mesh, [{}, {}, {}, {}]>] manual_axes={"x"} (%arg3:
      tensor<2x1x1x8xf32>, %arg4: tensor<2x1x1x2xi32>) {
    %c = stablehlo.constant dense<[[[[1, 0], [1, 0], [1, 0], [0, 1], [0, 1], [0, 1]]]]> : tensor<1x1x6x2xi32>
    %1:2 = stablehlo.composite "shlo.moe.all_to_all_dispatch" %arg3, %arg4, %c {composite_attributes =
      {cluster_axis = 0 : i64, num_devices = 2 : i64}, decomposition = @all_to_all_dispatch, sdy.sharding_rule =
        #sdy.op_sharding_rule<([i, j, k, l], [m, n, o, p], [q, r, s, t])->([u, v, w, x], [y, z, z_1, z_2]) {i=2,
          j=1, k=1, l=8, m=2, n=1, o=1, p=2, q=1, r=1, s=6, t=2, u=1, v=4, w=1, x=8, y=1, z=4, z_1=1, z_2=2}
            need_replication={i, j, k, l, m, n, o, p, q, r, s, t, u, v, w, x, y, z, z_1, z_2}, custom>} :
              (tensor<2x1x1x8xf32>, tensor<2x1x1x2xi32>, tensor<1x1x6x2xi32>) -> (tensor<1x4x1x8xf32>,
                tensor<1x4x1x2xi32>)
    sdy.return %1#0, %1#1 : tensor<1x4x1x8xf32>, tensor<1x4x1x2xi32>
  } : (tensor<4x1x1x8xf32>, tensor<4x1x1x2xi32>) -> (tensor<1x4x1x8xf32>, tensor<1x4x1x2xi32>)
  return %0#0, %0#1 : tensor<1x4x1x8xf32>, tensor<1x4x1x2xi32>
}
func.func private @all_to_all_dispatch(%arg0: tensor<2x1x1x8xf32>, %arg1: tensor<2x1x1x2xi32>, %arg2:
  tensor<1x1x6x2xi32>) -> (tensor<1x4x1x8xf32>, tensor<1x4x1x2xi32>) {
  %0 = stablehlo.reshape %arg0 : (tensor<2x1x1x8xf32>) -> tensor<1x2x1x8xf32>
  %1 = stablehlo.reshape %arg1 : (tensor<2x1x1x2xi32>) -> tensor<1x2x1x2xi32>
  %2 = "stablehlo.all_gather"(%0) <{all_gather_dim = 1 : i64, channel_handle = #stablehlo.channel_handle<handle =
    100001, type = 1>, replica_groups = dense<[[0, 1]]> : tensor<1x2xi64>, use_global_device_ids}> :
      (tensor<1x2x1x8xf32>) -> tensor<1x4x1x8xf32>
  %3 = "stablehlo.all_gather"(%1) <{all_gather_dim = 1 : i64, channel_handle = #stablehlo.channel_handle<handle =
    100002, type = 1>, replica_groups = dense<[[0, 1]]> : tensor<1x2xi64>, use_global_device_ids}> :
      (tensor<1x2x1x2xi32>) -> tensor<1x4x1x2xi32>
  %c = stablehlo.constant dense<0> : tensor<1x4x1x2xi32>
  %4 = stablehlo.compare GE, %3, %c : (tensor<1x4x1x2xi32>, tensor<1x4x1x2xi32>) -> tensor<1x4x1x2xi1>
  %c_0 = stablehlo.constant dense<6> : tensor<1x4x1x2xi32>
  %5 = stablehlo.compare LT, %3, %c_0 : (tensor<1x4x1x2xi32>, tensor<1x4x1x2xi32>) -> tensor<1x4x1x2xi1>
  %6 = stablehlo.and %4, %5 : tensor<1x4x1x2xi1>
  %7 = stablehlo.iota dim = 1 : tensor<6x2xi32>
  %8 = stablehlo.partition_id : tensor<ui32>
  %9 = stablehlo.convert %8 : (tensor<ui32>) -> tensor<i32>
  %10 = stablehlo.broadcast_in_dim %9, dims = [] : (tensor<i32>) -> tensor<6x2xi32>
  %11 = stablehlo.compare EQ, %7, %10 : (tensor<6x2xi32>, tensor<6x2xi32>) -> tensor<6x2xi1>
  %12 = stablehlo.reshape %arg2 : (tensor<1x1x6x2xi32>) -> tensor<6x2xi32>
  %c_1 = stablehlo.constant dense<0> : tensor<6x2xi32>
  %13 = stablehlo.compare NE, %12, %c_1 : (tensor<6x2xi32>, tensor<6x2xi32>) -> tensor<6x2xi1>
  %14 = stablehlo.and %11, %13 : tensor<6x2xi1>
  %c_2 = stablehlo.constant dense<false> : tensor<i1>
  %15 = stablehlo.reduce(%14 init: %c_2) applies stablehlo.or across dimensions = [1] : (tensor<6x2xi1>,
    tensor<i1>) -> tensor<6xi1>
  %16 = stablehlo.convert %15 : (tensor<6xi1>) -> tensor<6xi32>
  %17 = "stablehlo.gather"(%16, %3) <{dimension_numbers = #stablehlo.gather<collapsed_slice_dims = [0],
    start_index_map = [0], index_vector_dim = 4>, slice_sizes = array<i64: 1>}> : (tensor<6xi32>,
      tensor<1x4x1x2xi32>) -> tensor<1x4x1x2xi32>
  %c_3 = stablehlo.constant dense<0> : tensor<1x4x1x2xi32>
  %18 = stablehlo.compare NE, %17, %c_3 : (tensor<1x4x1x2xi32>, tensor<1x4x1x2xi32>) -> tensor<1x4x1x2xi1>
  %19 = stablehlo.and %6, %18 : tensor<1x4x1x2xi1>
  %c_4 = stablehlo.constant dense<false> : tensor<i1>
  %20 = stablehlo.reduce(%19 init: %c_4) applies stablehlo.or across dimensions = [3] : (tensor<1x4x1x2xi1>,
    tensor<i1>) -> tensor<1x4x1xi1>
  %21 = stablehlo.broadcast_in_dim %20, dims = [0, 1, 2] : (tensor<1x4x1xi1>) -> tensor<1x4x1x8xi1>
  %cst = stablehlo.constant dense<0.000000e+00> : tensor<1x4x1x8xf32>
  %22 = stablehlo.select %21, %2, %cst : tensor<1x4x1x8xi1>, tensor<1x4x1x8xf32>
  return %22, %3 : tensor<1x4x1x8xf32>, tensor<1x4x1x2xi32>
}
"""

    mesh: tuple[str, ...] = option((), "the mesh as AXIS=SIZE, major to minor, for a program that has none")
    experts: tuple[str, ...] = option((), "mesh axes the experts are split over, major to minor; all axes if not given")
    ring: str = option("", "the one of them along which devices exchange tokens; the last if not given")
    data: tuple[str, ...] = option((), "further axes that the tokens are split over")
    poison: bool = option(False, "NaN in whatever a kernel may leave undefined, to show that nothing reads it")

    def run(self, module: Any, counters: Counters) -> None:
        """Rewrites ``module`` in place."""
        composites, moved = moe_composites(module), [room for room in rooms(module) if not _inside(room.product)]
        if not composites and not moved:
            return
        name, team = self._team(module)
        _split_rooms(moved, name, team)
        counters.add("moves", len({room.dispatch for room in moved}))
        decompositions, replaced = Decompositions(module, poisoned=self.poison), set()
        for composite in composites:
            call = read(composite)
            replaced.add(_mlir.ir.FlatSymbolRefAttr(composite.attributes["decomposition"]).value)
            if call.op is SPARSE_MATMUL:
                counters.add("products")
                if not _inside(composite):
                    _split_experts(composite, call, name, team)
                if self.poison:
                    composite.attributes["decomposition"] = decompositions.reference(call)
            elif not _inside(composite):
                _Placing(composite, call, name, team, decompositions).run()
                counters.add("placed")
                counters.removed(composite, "became the part of one device")
                composite.erase()
        remove_unused(module, replaced, counters)

    def _team(self, module: Any) -> tuple[str, Team]:
        """The module's mesh, by name, and what the options make of its axes."""
        named = {name: mesh for name, mesh in meshes(_Body(module)).items() if mesh.axes}
        if not named and self.mesh:
            named = self._new_mesh(module)
        if len(named) != 1:
            raise UserError(f"moe-expert-parallel needs a program with one mesh, or mesh=; it has {len(named)}")
        ((name, mesh),) = named.items()
        experts = self.experts or tuple(axis for axis, _ in mesh.axes if axis not in self.data)
        for axis in (*experts, *self.data, *([self.ring] if self.ring else [])):
            if axis not in mesh.sizes:
                raise UserError(f"the mesh has no axis '{axis}'; its axes: {', '.join(mesh.sizes)}")
        if not experts or set(experts) & set(self.data):
            raise UserError("the experts need an axis of their own: give experts=AXES that are not in data")
        ring = self.ring or experts[-1]
        if ring not in experts:
            raise UserError(f"ring '{ring}' is none of the axes of the experts ({', '.join(experts)})")
        return name, Team(mesh, experts, ring, self.data)


    def _new_mesh(self, module: Any) -> dict[str, Mesh]:
        """Gives the module the mesh of the options."""
        ir, context = _mlir.ir, _mlir.context()
        axes: list[tuple[str, int]] = []
        for text in self.mesh:
            name, _, size = text.partition("=")
            if not name or not size.isdigit() or int(size) < 1 or name in dict(axes):
                given = ",".join(self.mesh)
                raise UserError(f"mesh={given} is no list of axes with their sizes, as in rows=2,columns=4")
            axes.append((name, int(size)))
        mesh = Mesh(tuple(axes))
        attributes = {"sym_name": ir.StringAttr.get("mesh", context), "mesh": mesh_to_attr(mesh)}
        start = ir.InsertionPoint.at_block_begin(module.regions[0].blocks[0])
        ir.Operation.create("sdy.mesh", attributes=attributes, loc=ir.Location.unknown(context), ip=start)
        return {"mesh": mesh}


@dataclass(frozen=True)
class Team:
    """A mesh and what its axes are for."""

    mesh: Mesh
    experts: tuple[str, ...]
    ring: str
    data: tuple[str, ...]

    def size(self, axes: tuple[str, ...]) -> int:
        """The number of parts that ``axes`` make."""
        return math.prod(self.mesh.sizes[a] for a in axes)

    def indivisible(self, experts: int) -> str:
        """What is wrong if so many experts cannot be split over the devices, or nothing."""
        parts = self.size(self.experts)
        if experts % parts == 0:
            return ""
        choices = ", ".join(str(n) for n in range(1, experts + 1) if experts % n == 0)
        axes = ", ".join(f"{a}={self.mesh.sizes[a]}" for a in self.experts)
        return f"{experts} experts do not divide by the {parts} devices along {axes}; they divide by {choices}"

    @property
    def cluster_axis(self) -> int:
        """The number of the ring's axis."""
        return [name for name, _ in self.mesh.axes].index(self.ring)


class _Body:
    """A module operation in the form that `meshes` takes."""

    def __init__(self, module: Any) -> None:
        self.body = module.regions[0].blocks[0]


def _inside(op: Any) -> bool:
    """Whether ``op`` stands in a manual computation: it is the part of one device already."""
    parent = op.parent
    while parent is not None:
        if parent.operation.name == "sdy.manual_computation":
            return True
        parent = parent.operation.parent
    return False


def _split_experts(product: Any, call: Call, mesh_name: str, team: Team) -> None:
    """Has a sparse product split over experts, its other dimensions open.

    What a device gets from a dispatch is meant for its experts and differs from device to device, so the axes of the
    experts must not split anything else of the product.

    Raises:
      UserError: the experts do not divide.
    """
    if RULE not in product.attributes:
        product.attributes[RULE] = encode(sharding_rule(call), is_custom=True)
    if found := team.indivisible(call.operands[1].shape[1]):
        fail(product, call.op, found)
    expert = 1 if call["is_input_a_sparse"] else 3
    weights = _constrained(product.operands[1], 1, mesh_name, team, _mlir.ir.InsertionPoint(product))
    product.operands[1] = weights
    result = product.results[0]
    users = [(use.owner.operation, use.operand_number) for use in result.uses]
    if any(user.name == _CONSTRAINT for user, _ in users):
        return
    made = _constrained(result, expert, mesh_name, team, _mlir.ir.InsertionPoint.after(product))
    for user, number in users:
        user.operands[number] = made


def _split_rooms(moved: list[Room], mesh_name: str, team: Team) -> None:
    """Has what was moved to experts split over experts, and so the products that read it: the weights stay.

    Raises:
      UserError: the experts do not divide.
    """
    made: dict[Any, Any] = {}
    for room in moved:
        if found := team.indivisible(room.experts):
            raise UserError(f"one-hot dispatch: {found}", _mlir.where_of(room.dispatch.location))
        value = room.product.operands[room.side]
        if value not in made:
            room.dispatch.attributes[RULE] = _move_rule(room.dispatch, room.moved)
            made[value] = _constrained(value, room.expert, mesh_name, team, _mlir.ir.InsertionPoint(room.product))
        room.product.operands[room.side] = made[value]


def _move_rule(dispatch: Any, expert: int) -> Any:
    """The sharding rule of a one-hot move whose result has experts along ``expert``: those do not spread through it.

    The one-hots keep their groups of tokens on the devices; what they move changes from groups to experts.
    """
    dot, rank = dot_of(dispatch), dispatch.results[0].type.rank
    sizes = [*shape_of(dispatch.results[0]), *(shape_of(dispatch.operands[0])[d] for d in dot.contract[0])]
    maps = []
    for side in (0, 1):
        factors = {pair[side]: factor for factor, pair in enumerate(dot.sources()) if pair[side] is not None}
        factors |= {d: rank + i for i, d in enumerate(dot.contract[side])}
        maps.append(tuple((factors[d],) for d in range(len(factors))))
    result = tuple((d,) for d in range(rank))
    rule = Rule(tuple(sizes), tuple(maps), (result,), reduction=frozenset(range(rank, len(sizes))),
                blocked=frozenset({expert}))
    return encode(rule, is_custom=True)


_CONSTRAINT = "sdy.sharding_constraint"


def _constrained(value: Any, dim: int, mesh_name: str, team: Team, point: Any) -> Any:
    """``value`` with dimension ``dim`` split over the axes of the experts, made at ``point``."""
    owner = value.owner
    if not isinstance(owner, _mlir.ir.Block) and owner.operation.name == _CONSTRAINT:
        return value
    rank = value.type.rank
    dims = tuple(tuple(map(team.mesh.axis, team.experts)) if d == dim else () for d in range(rank))
    closed = tuple(d == dim for d in range(rank))
    attr = sharding_to_attr(mesh_name, Sharding(team.mesh, dims), closed)
    return _mlir.ir.Operation.create(
        _CONSTRAINT, [value.type], [value], {"sharding": attr}, loc=value.location, ip=point
    ).results[0]


# -- how the operands and results of each op lie -----------------------------------------------------------------------


def _dispatch(call: Call, team: Team, tokens: tuple[str, ...]) -> tuple[list[Split], list[Split]]:
    return [{0: tokens}, {0: tokens}, {}], [{1: team.data}, {1: team.data}]


def _remap(call: Call, team: Team, tokens: tuple[str, ...]) -> tuple[list[Split], list[Split]]:
    dim = _token_dim(call.operands[0])
    whole: Split = {dim: team.data}
    return [whole, {}, whole], [{**whole, 3: team.experts}, {2: team.data, 3: team.experts}]


def _combine(call: Call, team: Team, tokens: tuple[str, ...]) -> tuple[list[Split], list[Split]]:
    dim = call["output_shard_dim"]
    return [{0: team.experts, dim: team.data}, {_token_dim(call.operands[1]): team.data}, {}], [{dim: tokens}]


def _token_dim(type: Type) -> int:
    """The major one of dimensions 1 and 2 that there is more than one token along."""
    return 1 if type.shape[1] > 1 else 2


_LAYOUTS: dict[str, Callable[[Call, Team, tuple[str, ...]], tuple[list[Split], list[Split]]]] = {
    DISPATCH.name: _dispatch, REMAP.name: _remap, COMBINE.name: _combine,
}


# -- the part of one device --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Placing:
    """One composite on its way into a manual computation."""

    composite: Any
    call: Call
    mesh_name: str
    team: Team
    decompositions: Decompositions

    def run(self) -> None:
        """Puts the manual computation in the composite's place; the composite is left without uses."""
        call, team, ir = self.call, self.team, _mlir.ir
        self._check_experts()
        repeats = "num_devices" in call.attributes and call["num_devices"] > 1
        if repeats:
            self._check_repeats()
        tokens = team.data if repeats else (*team.data, team.ring)
        operands, results = _LAYOUTS[call.op.name](call, team, tokens)
        local = self._local(operands, results)
        own = call.op.operands.index("mapping")
        # Front ends state who owns what where they know of several devices.
        given = [i for i in range(len(operands)) if i != own or repeats]
        values = [self.composite.operands[i] for i in given]
        made = self._manual(values, [operands[i] for i in given], results)
        types = [ir.Type.parse(str(local.operands[i]), _mlir.context()) for i in given]
        location = self.composite.location
        block = made.regions[0].blocks.append(*types, arg_locs=[location] * len(types))
        inner = dict(zip(given, block.arguments, strict=True))
        point = ir.InsertionPoint(block)
        if own not in inner:
            inner[own] = self._mapping(point)
        place = Place(team.mesh, team.ring, team.experts)
        stated = dict.fromkeys([n.name for n in ir.DictAttr(self.composite.attributes["composite_attributes"])])
        part = create(
            local, [inner[i] for i in range(len(operands))], self.decompositions, point, location, place=place,
            stated=stated, more={key: self.composite.attributes[key] for key in self.composite.attributes
                                 if key.startswith("shlo.moe.")},
        )
        ir.Operation.create("sdy.return", operands=list(part.results), loc=location, ip=point)
        for old, new in zip(self.composite.results, made.results, strict=True):
            old.replace_all_uses_with(new)

    def _check_experts(self) -> None:
        experts = self.call.operands[self.call.op.operands.index("mapping")].shape[2]
        if found := self.team.indivisible(experts):
            fail(self.composite, self.call.op, found)
        if self.team.cluster_axis > 1:
            fail(self.composite, self.call.op, f"ring '{self.team.ring}' is axis {self.team.cluster_axis} of the mesh; "
                                               "rings run along the first or second axis")

    def _check_repeats(self) -> None:
        n, team = self.call["num_devices"], self.team
        size = team.size((team.ring,))
        if n != size:
            fail(self.composite, self.call.op, f"num_devices is {n} and the ring along '{team.ring}' has {size} "
                                               "devices")
        if self.call["cluster_axis"] != team.cluster_axis:
            fail(self.composite, self.call.op, f"cluster_axis is {self.call['cluster_axis']} and ring '{team.ring}' is "
                                               f"axis {team.cluster_axis} of the mesh")
        if team.data:
            fail(self.composite, self.call.op, f"its tokens are repeated for num_devices = {n} devices and cannot be "
                                               "split over data axes as well")
        devices = self.call.operands[self.call.op.operands.index("mapping")].shape[3]
        if devices != team.mesh.device_count:
            fail(self.composite, self.call.op, f"mapping has {devices} devices and the mesh {team.mesh.device_count}")

    def _local(self, operands: list[Split], results: list[Split]) -> Call:
        """The use of the op that one device makes."""
        team, own = self.team, self.call.op.operands.index("mapping")
        parts = [self._part(t, split, n)
                 for t, split, n in zip(self.call.operands, operands, self.call.op.operands, strict=True)]
        mapping = parts[own]
        parts[own] = replace(mapping, shape=(*mapping.shape[:3], team.mesh.device_count), element=(
            mapping.element if mapping.shape[3] == team.mesh.device_count else "i32"))
        found = [self._part(t, split, n)
                 for t, split, n in zip(self.call.results, results, self.call.op.results, strict=True)]
        attributes = dict(self.call.attributes)
        if "num_devices" in attributes:
            attributes |= {"num_devices": team.size((team.ring,)), "cluster_axis": team.cluster_axis}
        if self.call.op is REMAP:
            self._check_chunks(parts[0])
        return Call(self.call.op, attributes, tuple(parts), tuple(found))

    def _check_chunks(self, scores: Type) -> None:
        """Chunks of tokens lie on one device each."""
        tokens, size = math.prod(scores.shape[:3]), self.call["reduction_size"]
        if tokens % size and self.team.size(self.team.data) > 1:
            fail(self.composite, self.call.op, f"the {tokens} tokens of a device do not divide by reduction_size = "
                                               f"{size}")

    def _part(self, type: Type, split: Split, name: str) -> Type:
        shape = list(type.shape)
        for dim, axes in split.items():
            parts = self.team.size(axes)
            if shape[dim] % parts:
                near = math.ceil(shape[dim] / parts) * parts
                fail(self.composite, self.call.op, f"dimension {dim} of {name} has size {shape[dim]}, which does not "
                                                   f"divide by the {parts} devices along {', '.join(axes)}; pad it to "
                                                   f"{near}")
            shape[dim] //= parts
        return replace(type, shape=tuple(shape))

    def _manual(self, values: list[Any], operands: list[Split], results: list[Split]) -> Any:
        ir, sdy, context = _mlir.ir, _mlir.sdy, _mlir.context()
        ins = [self._sharding(v, split) for v, split in zip(values, operands, strict=True)]
        outs = [self._sharding(v, split) for v, split in zip(self.composite.results, results, strict=True)]
        axes = [ir.StringAttr.get(name, context) for name, _ in self.team.mesh.axes]
        attributes = {
            "in_shardings": sdy.TensorShardingPerValueAttr.get(ins, context=context),
            "out_shardings": sdy.TensorShardingPerValueAttr.get(outs, context=context),
            "manual_axes": sdy.ManualAxesAttr.get(axes, context=context),
        }
        return ir.Operation.create(
            "sdy.manual_computation", [v.type for v in self.composite.results], values, attributes, regions=1,
            loc=self.composite.location, ip=ir.InsertionPoint(self.composite),
        )

    def _sharding(self, value: Any, split: Split) -> Any:
        mesh = self.team.mesh
        dims = tuple(tuple(map(mesh.axis, split.get(d, ()))) for d in range(value.type.rank))
        return sharding_to_attr(self.mesh_name, Sharding(mesh, dims))

    def _mapping(self, point: Any) -> Any:
        """The table of who owns which expert, made at ``point``."""
        from passes.moe.reference import Cluster

        team, ir = self.team, _mlir.ir
        experts = self.call.operands[self.call.op.operands.index("mapping")].shape[2]
        table = Cluster(team.mesh, team.ring, team.experts).owner_table(experts)[None, None]
        value = ir.DenseElementsAttr.get(table, context=_mlir.context())
        return ir.Operation.create(
            "stablehlo.constant", [value.type], attributes={"value": value}, loc=self.composite.location, ip=point
        ).results[0]
