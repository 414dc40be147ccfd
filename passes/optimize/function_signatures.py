"""Moves what all calls of a function agree on out of its signature: constant arguments, equal ones, passed-on results.

A private function that gets the same constant from every call holds the constant itself; one that gets the same value
twice takes it once; a result that is an argument, or a constant, is not returned: callers have it already. What this
leaves unused, in callers and callees, is left to ``dead-ops``.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from passes import _mlir
from passes.optimize import calls, slots
from passes.optimize.calls import Signature
from passes.pipeline.base import Counters, Pass, Statistic, option
from passes.program.entry import value_attributes
from passes.program.walk import terminator


@dataclass(frozen=True)
class FunctionSignatures(Pass):
    """See the module's docstring."""

    name: ClassVar[str] = "function-signatures"
    summary: ClassVar[str] = "Take constant and duplicate arguments and passed-on results out of function signatures"
    statistics: ClassVar[tuple[Statistic, ...]] = (
        Statistic("constant-arguments", "arguments replaced by the constant that every call passed"),
        Statistic("duplicate-arguments", "arguments replaced by another one that is equal at every call"),
        Statistic("forwarded-results", "results replaced at every call by the argument or constant they are"),
    )
    before: ClassVar[str] = """\
func.func @main(%arg0: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
  %cst = stablehlo.constant dense<2.0> : tensor<4xf32>
  %0:2 = call @scale(%arg0, %cst, %arg0) : (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>)
    -> (tensor<4xf32>, tensor<4xf32>)
  return %0#0, %0#1 : tensor<4xf32>, tensor<4xf32>
}
func.func private @scale(%arg0: tensor<4xf32>, %arg1: tensor<4xf32>, %arg2: tensor<4xf32>)
    -> (tensor<4xf32>, tensor<4xf32>) {
  %0 = stablehlo.multiply %arg0, %arg1 : tensor<4xf32>
  %1 = stablehlo.add %0, %arg2 : tensor<4xf32>
  return %1, %arg2 : tensor<4xf32>, tensor<4xf32>
}
"""
    after: ClassVar[str] = """\
func.func @main(%arg0: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
  %cst = stablehlo.constant dense<2.0> : tensor<4xf32>
  %0 = call @scale(%arg0) : (tensor<4xf32>) -> tensor<4xf32>
  return %0, %arg0 : tensor<4xf32>, tensor<4xf32>
}
func.func private @scale(%arg0: tensor<4xf32>) -> tensor<4xf32> {
  %cst = stablehlo.constant dense<2.0> : tensor<4xf32>
  %0 = stablehlo.multiply %arg0, %cst : tensor<4xf32>
  %1 = stablehlo.add %0, %arg0 : tensor<4xf32>
  return %1 : tensor<4xf32>
}
"""

    constant_limit: int = option(64, "the most elements of a constant that is moved and is no splat")

    def run(self, module: Any, counters: Counters) -> None:
        """Changes results from callees to callers, then arguments from callers to callees, so that chains unwind."""
        functions, found, edges = calls.graph(module)
        changeable = calls.changeable(functions, found)
        order = [name for group in calls.callees_first(edges) for name in group]
        targets = {
            name: _Target(functions[name], found.sites[name], counters, self.constant_limit)
            for name in order
            if name in changeable and _is_plain(functions[name], found.sites[name])
        }
        for target in targets.values():
            target.forward_results()
        for target in reversed(targets.values()):
            target.unify_arguments()
        for target in targets.values():
            target.shrink()


def _is_plain(function: Any, sites: list[Any]) -> bool:
    """Whether the function is one block and no call of it says more than whom it calls."""
    return len(function.regions[0].blocks) == 1 and all(list(site.attributes) == ["callee"] for site in sites)


@dataclass
class _Target:
    """A function whose signature may change, with all calls of it."""

    function: Any
    sites: list[Any]
    counters: Counters
    constant_limit: int
    gone_arguments: set[int] = field(default_factory=set)
    gone_results: set[int] = field(default_factory=set)

    @property
    def block(self) -> Any:
        return self.function.regions[0].blocks[0]

    def forward_results(self) -> None:
        """Replaces the results that callers know already, in the callers."""
        positions = {argument: index for index, argument in enumerate(self.block.arguments)}
        end = terminator(self.block)
        attributes = value_attributes(self.function, "res_attrs", len(end.operands))
        for index in range(len(end.operands)):
            # Read one by one: a function that calls itself may return what has just been replaced.
            value = end.operands[index]
            # What a front end noted about the result of a function inside the program serves nothing.
            if not attributes[index].keys() <= {"jax.result_info"}:
                continue
            if value in positions:
                for site in self.sites:
                    site.results[index].replace_all_uses_with(site.operands[positions[value]])
            elif self._constant(value) is not None:
                for site in self.sites:
                    constant = value.owner.clone(ip=_mlir.ir.InsertionPoint(site))
                    site.results[index].replace_all_uses_with(constant.result)
            else:
                continue
            self.gone_results.add(index)
            self.counters.add("forwarded-results")

    def unify_arguments(self) -> None:
        """Replaces the arguments all calls agree on, in the function."""
        arguments = list(self.block.arguments)
        attributes = value_attributes(self.function, "arg_attrs", len(arguments))
        passed = [list(site.operands) for site in self.sites]
        first: dict[Hashable, int] = {}
        for index, argument in enumerate(arguments):
            if attributes[index]:
                continue
            # A call from inside that passes the argument on agrees with any other.
            given = [operands[index] for operands in passed if operands[index] != argument]
            constants = [constant for value in given if (constant := self._constant(value)) is not None]
            if given and len(constants) == len(given) and len(set(constants)) == 1:
                constant = given[0].owner.clone(ip=_mlir.ir.InsertionPoint.at_block_begin(self.block))
                self._replace(index, argument, constant.result, "constant-arguments")
                continue
            same = first.setdefault((argument.type, *(operands[index] for operands in passed)), index)
            if same != index:
                self._replace(index, argument, arguments[same], "duplicate-arguments")

    def _replace(self, index: int, argument: Any, value: Any, statistic: str) -> None:
        argument.replace_all_uses_with(value)
        self.gone_arguments.add(index)
        self.counters.add(statistic)

    def _constant(self, value: Any) -> Any | None:
        """The attribute of the constant that ``value`` is; ``None`` if it is none, is large or says more than that."""
        owner = value.owner
        if isinstance(owner, _mlir.ir.Block) or owner.name != "stablehlo.constant":
            return None
        attributes = owner.attributes
        if list(attributes) != ["value"]:
            return None
        try:
            found = attributes["value"]
        except TypeError:
            # The bindings cannot hand out dense complex numbers.
            return None
        if not isinstance(found, _mlir.ir.DenseElementsAttr):
            return None
        return found if found.is_splat or len(found) <= self.constant_limit else None

    def shrink(self) -> None:
        """Takes what was replaced out of the function's signature and of all calls."""
        declared = calls.function_type(self.function)
        kept = Signature(
            [i for i in range(len(declared.inputs)) if i not in self.gone_arguments],
            [i for i in range(len(declared.results)) if i not in self.gone_results],
        )
        if kept.keeps_all(self.function):
            return
        if self.gone_results:
            slots.keep_operands(terminator(self.block), kept.results)
        for site in self.sites:
            calls.shrink_call(site, kept, _nothing)
        calls.shrink_function(self.function, kept, _nothing)


def _nothing(value: Any) -> None:
    """What dies here has no uses left, annotations included."""
