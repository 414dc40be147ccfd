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

from dataclasses import dataclass
from typing import Any, ClassVar

from passes import _mlir
from passes.errors import UserError
from passes.moe.capacity import rooms
from passes.moe.composites import Decompositions, moe_composites, read, remove_unused
from passes.moe.ops import SPARSE_MATMUL
from passes.moe.placing import Placing
from passes.moe.split_experts import is_inside, split_experts, split_rooms
from passes.moe.team import Team
from passes.pipeline.base import Counters, Pass, Statistic, option
from passes.sharding.mesh import Mesh, mesh_to_attr, meshes


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
        composites, moved = moe_composites(module), [room for room in rooms(module) if not is_inside(room.product)]
        if not composites and not moved:
            return
        name, team = self._team(module)
        split_rooms(moved, name, team)
        counters.add("moves", len({room.dispatch for room in moved}))
        decompositions, replaced = Decompositions(module, poisoned=self.poison), set()
        for composite in composites:
            call = read(composite)
            replaced.add(_mlir.ir.FlatSymbolRefAttr(composite.attributes["decomposition"]).value)
            if call.op is SPARSE_MATMUL:
                counters.add("products")
                if not is_inside(composite):
                    split_experts(composite, call, name, team)
                if self.poison:
                    composite.attributes["decomposition"] = decompositions.reference(call)
            elif not is_inside(composite):
                Placing(composite, call, name, team, decompositions).run()
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


class _Body:
    """A module operation in the form that `meshes` takes."""

    def __init__(self, module: Any) -> None:
        self.body = module.regions[0].blocks[0]
