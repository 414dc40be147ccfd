"""Makes what moves tokens the part of one device: a composite on local types, in a manual computation."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from passes import _mlir
from passes.moe.composites import Decompositions, create, fail
from passes.moe.decompose import Place
from passes.moe.ops import COMBINE, DISPATCH, REMAP, Call, Type
from passes.moe.team import Team
from passes.sharding.mesh import Sharding, sharding_to_attr

# For each operand or result, dimension -> the axes it is split over.
Split = dict[int, tuple[str, ...]]


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


@dataclass(frozen=True)
class Placing:
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
