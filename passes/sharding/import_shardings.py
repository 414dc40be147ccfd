"""Turns every spelling of sharding annotations into plain ``sdy``: meshes, shardings, rules, constraints, manual code.

Read are Shardy's strings in ``mhlo.frontend_attributes`` (``xla.sdy.*``), GSPMD's ``mhlo.sharding``, and the custom
calls that go with either (``@Sharding``, ``@SPMDFullToShardShape``, ``@xla.sdy.FuncResultSharding``,
``@tt.sharding_constraint`` and so on). GSPMD names no mesh; one is recovered from all tile assignments of the module.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from passes import _mlir
from passes.pipeline import runner
from passes.pipeline.base import Counters, Pass, Statistic
from passes.program.entry import Value, is_private, symbol_name
from passes.program.read import Program
from passes.sharding.importers import calls, manual
from passes.sharding.importers.annotations import Annotations, hlo_shardings, quoting
from passes.sharding.importers.frontend import ARGUMENTS, FRONTEND, MESHES, RESULTS
from passes.sharding.importers.hlo_sharding import HloSharding, Malformed
from passes.sharding.importers.mesh_table import MeshTable
from passes.sharding.importers.scan import (
    BARRIER,
    CONSTRAINTS,
    ENTRIES,
    EXITS,
    GROUP,
    OUTPUT,
    PARAMETERS,
    RESULT_SHARDING,
    Found,
    is_foreign,
    scan,
    title_of,
)
from passes.sharding.signature import SHARDING, by_attribute, write


def import_shardings(program: Program) -> bool:
    """Brings ``program`` into plain ``sdy`` if it has foreign annotations; returns whether it had.

    Raises:
      UserError: an annotation is malformed or cannot be expressed; placed at what carries it.
    """
    if not is_foreign(program):
        return False
    runner.run(program, f"builtin.module({ImportShardings.name})")
    return True


@dataclass(frozen=True)
class ImportShardings(Pass):
    """See the module's docstring."""

    name: ClassVar[str] = "import-shardings"
    summary: ClassVar[str] = "Turn all spellings of shardings (xla.sdy.*, mhlo.sharding, custom calls) into plain sdy"
    statistics: ClassVar[tuple[Statistic, ...]] = (
        Statistic("meshes", "meshes added to the module"),
        Statistic("values", "arguments and results of functions that got a sharding"),
        Statistic("ops", "ops that got a sharding or a sharding rule"),
        Statistic("constraints", "custom calls turned into sdy.sharding_constraint"),
        Statistic("result-shardings", "custom calls turned into shardings of function results"),
        Statistic("sharding-groups", "sdy.sharding_group ops made"),
        Statistic("barriers", "custom calls turned into sdy.propagation_barrier"),
        Statistic("manual-computations", "sdy.manual_computation ops made"),
    )
    before: ClassVar[str] = """\
func.func @main(%arg0: tensor<8x16xf32> {mhlo.sharding = "{devices=[4,1,2]<=[8] last_tile_dim_replicate}"},
                %arg1: tensor<16x8xf32> {mhlo.sharding = "{devices=[2,4]<=[4,2]T(1,0)}"}) -> tensor<8x8xf32> {
  %0 = stablehlo.dot_general %arg0, %arg1, contracting_dims = [1] x [0]
    : (tensor<8x16xf32>, tensor<16x8xf32>) -> tensor<8x8xf32>
  %1 = stablehlo.custom_call @Sharding(%0) {backend_config = "unspecified_dims=[1]",
    mhlo.sharding = "{devices=[4,1,2]<=[8] last_tile_dim_replicate}"} : (tensor<8x8xf32>) -> tensor<8x8xf32>
  return %1 : tensor<8x8xf32>
}
"""
    after: ClassVar[str] = """\
sdy.mesh @mesh = <["_axis_0"=4, "_axis_1"=2]>
func.func @main(%arg0: tensor<8x16xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"_axis_0"}, {}]>},
                %arg1: tensor<16x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"_axis_1"}, {"_axis_0"}]>})
    -> tensor<8x8xf32> {
  %0 = stablehlo.dot_general %arg0, %arg1, contracting_dims = [1] x [0]
    : (tensor<8x16xf32>, tensor<16x8xf32>) -> tensor<8x8xf32>
  %1 = sdy.sharding_constraint %0 <@mesh, [{"_axis_0"}, {?}]> : tensor<8x8xf32>
  return %1 : tensor<8x8xf32>
}
"""

    def run(self, module: Any, counters: Counters) -> None:
        """Rewrites ``module`` in place."""
        _Import(module, counters).run()


@dataclass(frozen=True)
class _Function:
    """A function, its name, and its arguments and results, whose attributes are written back at the end."""

    op: Any
    name: str
    values: dict[str, list[Value]]

    def title(self, key: str, value: Value) -> str:
        """How messages call an argument or result."""
        noun = "argument" if key == "arg_attrs" else "result"
        return f"{noun} {value.index} '{value.name}' of @{self.name}"

    def location(self, key: str, value: Value) -> Any:
        """Where messages about an argument or result point at."""
        if key == "arg_attrs":
            location = self.op.regions[0].blocks[0].arguments[value.index].location
            if _mlir.where_of(location) is not None:
                return location
        return self.op.location


class _Import:
    """One run over one module."""

    def __init__(self, module: Any, counters: Counters) -> None:
        self._module = module
        self._counters = counters
        self._table = MeshTable(module)
        self._annotations = Annotations(self._table)
        self._found: Found = scan(module)
        self._functions = [_Function(op, symbol_name(op), by_attribute(op)) for op in self._found.functions]

    def run(self) -> None:
        """The order matters: meshes come first, and manual computations read what their operands became."""
        module_shardings = self._module_shardings()
        self._find_meshes(module_shardings)
        self._rewrite_values(module_shardings)
        for op in self._found.ops:
            self._rewrite_op(op)
        said_manual = self._replace_calls()
        for function in self._functions:
            for key, values in function.values.items():
                if key in function.op.attributes or any(v.attributes for v in values):
                    write(function.op, key, values)
        inside = self._build_manual(said_manual)
        # Functions may go here, so nothing is done to them afterwards.
        manual.inline_bodies(inside, self._found.functions, self._found.called)
        self._counters.add("meshes", self._table.added)

    # -- the module ------------------------------------------------------------------------------------------------

    def _module_shardings(self) -> dict[str, list[tuple[HloSharding, ...]]]:
        """GSPMD's shardings of the entry's signature that stand on the module; its meshes in Shardy's form are added.

        Shardy's shardings of the signature, which older importers of TensorFlow put there, are written at once.
        """
        attributes = self._module.attributes
        found: dict[str, list[tuple[HloSharding, ...]]] = {"arg_attrs": [], "res_attrs": []}
        for attribute, key in ((PARAMETERS, "arg_attrs"), (OUTPUT, "res_attrs")):
            if attribute in attributes:
                found[key] = self._listed(attribute, key)
                del attributes[attribute]
        if FRONTEND in attributes:
            split = self._annotations.frontend.split(attributes[FRONTEND])
            self._define_meshes(split.texts.get(MESHES))
            self._signature(split.texts)
            if split.rest is None:
                del attributes[FRONTEND]
            elif split.texts:
                attributes[FRONTEND] = split.rest
        return found

    def _listed(self, name: str, key: str) -> list[tuple[HloSharding, ...]]:
        """The shardings in an attribute of the module: an array of strings, or one string, with a tuple if need be."""
        attribute, location = self._module.attributes[name], self._module.location
        if isinstance(attribute, _mlir.ir.ArrayAttr):
            found = [hlo_shardings(a, location, name) for a in attribute]
        else:
            found = [(sharding,) for sharding in hlo_shardings(attribute, location, name)]
        entry = self._entry()
        if entry is not None and len(found) != len(entry.values[key]):
            with quoting(name, str(attribute), location, "the module"):
                count = len(entry.values[key])
                raise Malformed(f"expected {count} shardings, as @{entry.name} has values, not {len(found)}")
        return found

    def _define_meshes(self, text: str | None) -> None:
        if text is None:
            return
        with quoting(MESHES, text, self._module.location, "the module"):
            for name, mesh in self._annotations.frontend.meshes(text).items():
                if self._table.named.get(name) == mesh:
                    continue
                if self._table.is_taken(name):
                    raise Malformed(f"@{name} is defined in the module already, as something else")
                self._table.define(name, mesh)

    def _signature(self, texts: dict[str, str]) -> None:
        for attribute, key in ((ARGUMENTS, "arg_attrs"), (RESULTS, "res_attrs")):
            function = self._entry()
            if attribute not in texts or function is None:
                continue
            values = function.values[key]
            with quoting(attribute, texts[attribute], self._module.location, "the module"):
                types = [v.type for v in values]
                shardings = self._annotations.frontend.per_value(attribute, texts[attribute], types)
            for value, sharding in zip(values, shardings, strict=True):
                value.attributes.setdefault(SHARDING, sharding)

    def _entry(self) -> _Function | None:
        """The function whose signature the module's attributes are about."""
        named = [f for f in self._functions if f.name == "main"]
        public = [f for f in self._functions if not is_private(f.op)]
        return next(iter(named or public), None)

    def _find_meshes(self, module_shardings: dict[str, list[tuple[HloSharding, ...]]]) -> None:
        """Recovers the meshes that GSPMD's shardings need, from all of them."""
        needed = [s for listed in module_shardings.values() for hlo in listed for s in hlo]
        for function in self._functions:
            for key, values in function.values.items():
                for value in values:
                    title, location = function.title(key, value), function.location(key, value)
                    needed += self._annotations.needs(value.attributes, location, title)
        for op in [*self._found.ops, *(op for ops in self._found.calls.values() for op in ops)]:
            needed += self._annotations.needs(op.attributes, op.location, title_of(op))
        self._annotations.converter.prepare(needed)

    # -- functions and ops -----------------------------------------------------------------------------------------

    def _rewrite_values(self, module_shardings: dict[str, list[tuple[HloSharding, ...]]]) -> None:
        entry = self._entry()
        for function in self._functions:
            for key, values in function.values.items():
                listed = module_shardings[key] if function is entry else []
                for value in values:
                    self._rewrite_value(function, key, value, listed[value.index] if listed else ())

    def _rewrite_value(self, function: _Function, key: str, value: Value, default: tuple[HloSharding, ...]) -> None:
        title, location = function.title(key, value), function.location(key, value)
        had = SHARDING in value.attributes
        hlo = self._annotations.rewrite_value(value, location, title)
        if default and SHARDING not in value.attributes:
            hlo = self._annotations.set_value(value, default, location, title)
        if SHARDING in value.attributes and not had:
            self._counters.add("values")
        if hlo is not None and hlo.group is not None and key == "arg_attrs":
            block = function.op.regions[0].blocks[0]
            calls.group(block.arguments[value.index], hlo.group, block.operations[0].operation)
            self._counters.add("sharding-groups")

    def _rewrite_op(self, op: Any) -> None:
        hlo = self._annotations.rewrite_op(op)
        self._counters.add("ops")
        for result, sharding in zip(op.results, hlo, strict=False):
            if sharding.group is not None:
                calls.group(result, sharding.group, op).move_after(op)
                self._counters.add("sharding-groups")

    def _replace_calls(self) -> dict[Any, HloSharding]:
        """Replaces the custom calls about one value each; returns what GSPMD's said of manual ones."""
        replace = calls.Calls(self._annotations, self._counters)
        results = {function.name: function.values["res_attrs"] for function in self._functions}
        for op in self._found.of(frozenset({RESULT_SHARDING})):
            replace.result_sharding(op, results)
        for op in self._found.of(frozenset({GROUP})):
            replace.group(op)
        for op in self._found.of(frozenset({BARRIER})):
            replace.barrier(op)
        for op in self._found.of(CONSTRAINTS):
            replace.constraint(op)
        return replace.manual

    def _build_manual(self, said_manual: dict[Any, HloSharding]) -> list[Any]:
        boundaries = self._found.of(ENTRIES | EXITS)
        if not boundaries:
            return []
        return manual.ManualComputations(self._annotations, said_manual, self._counters).build(boundaries)

