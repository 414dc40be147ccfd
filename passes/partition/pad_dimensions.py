"""Pads dimensions that their axes do not divide to the next multiple, on the annotated global program.

Every device then holds a part of one size, and the program computes the same: what is in the padding is garbage, which
stays there, is masked where an op would let it out, or is sliced off first. `padding_choice` says what is padded,
`padded_ops` what each op does with it.

  %1 = stablehlo.exponential %0  // tensor<7xf32>, [{"x"}] on an axis of 4
  %2 = stablehlo.reduce(%1 init: %c) applies stablehlo.add across dimensions = [0]

becomes

  %1 = stablehlo.exponential %0  // tensor<8xf32>
  %2 = stablehlo.select %within, %1, %nothing  // %within: iota < 7
  %3 = stablehlo.reduce(%2 init: %c) applies stablehlo.add across dimensions = [0]
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from passes import _mlir
from passes.partition.padded_ops import TREATMENTS
from passes.partition.padded_values import Shape, Values
from passes.partition.padding_choice import BARRIER, LOOP, Choice, Chooser, View
from passes.partition.shardings import ShardingMap
from passes.pipeline.base import Counters, Pass, Statistic, option
from passes.program import entry
from passes.program.walk import operations, terminator
from passes.sharding.divisibility import Indivisible
from passes.sharding.flow import BRANCHES
from passes.sharding.mesh import meshes
from passes.sharding.op_rules import RULE
from passes.sharding.sharding_rule import decode

_RULES = "builtin.module(func.func(sdy-populate-op-sharding-rules))"


@dataclass(frozen=True)
class Padding:
    """What may be padded.

    Attributes:
      arguments: Whether arguments and results of the entry function may.
      always: Whether everything that does not divide is, also where that costs more than it saves.
      poison: Fills padding with NaN, or the largest number, which shows if it gets out.
    """

    arguments: bool = False
    always: bool = False
    poison: bool = False

    @property
    def allowed(self) -> Indivisible:
        """Which shardings that do not divide can be had this way."""
        return Indivisible(self.arguments, True, "; or pad it with --pad-arguments")


@dataclass(frozen=True)
class PadDimensions(Pass):
    """``pad-dimensions``."""

    name: ClassVar[str] = "pad-dimensions"
    summary: ClassVar[str] = (
        "pads dimensions that their mesh axes do not divide, and masks or slices where that would be seen"
    )
    statistics: ClassVar[tuple[Statistic, ...]] = (
        Statistic("padded", "groups of dimensions that were padded"),
        Statistic("whole", "groups of dimensions that are to stay whole", changes=False),
        Statistic("masks", "operands whose padding is masked"),
        Statistic("slices", "values that are sliced back to their size"),
    )
    before: ClassVar[str] = """\
sdy.mesh @mesh = <["x"=4]>
func.func @main(%arg0: tensor<7x8xf32>) -> tensor<8xf32> {
  %0 = sdy.reshard %arg0 <@mesh, [{"x"}, {}]> : tensor<7x8xf32>
  %1 = stablehlo.exponential %0 {sdy.sharding = #sdy.sharding_per_value<[<@mesh, [{"x"}, {}]>]>} : tensor<7x8xf32>
  %cst = stablehlo.constant dense<0.000000e+00> : tensor<f32>
  %2 = stablehlo.reduce(%1 init: %cst) applies stablehlo.add across dimensions = [0]
    : (tensor<7x8xf32>, tensor<f32>) -> tensor<8xf32>
  return %2 : tensor<8xf32>
}
"""
    after: ClassVar[str] = """\
sdy.mesh @mesh = <["x"=4]>
func.func @main(%arg0: tensor<7x8xf32>) -> tensor<8xf32> {
  %cst = stablehlo.constant dense<0.000000e+00> : tensor<f32>
  %0 = stablehlo.pad %arg0, %cst, low = [0, 0], high = [1, 0], interior = [0, 0]
    : (tensor<7x8xf32>, tensor<f32>) -> tensor<8x8xf32>
  %1 = sdy.reshard %0 <@mesh, [{"x"}, {}]> : tensor<8x8xf32>
  %2 = stablehlo.exponential %1 {sdy.sharding = #sdy.sharding_per_value<[<@mesh, [{"x"}, {}]>]>} : tensor<8x8xf32>
  %3 = stablehlo.iota dim = 0 {sdy.sharding = #sdy.sharding_per_value<[<@mesh, [{"x"}]>]>} : tensor<8xi32>
  %c = stablehlo.constant {sdy.sharding = #sdy.sharding_per_value<[<@mesh, [{"x"}]>]>} dense<7> : tensor<8xi32>
  %4 = stablehlo.compare LT, %3, %c {sdy.sharding = #sdy.sharding_per_value<[<@mesh, [{"x"}]>]>}
    : (tensor<8xi32>, tensor<8xi32>) -> tensor<8xi1>
  %5 = stablehlo.broadcast_in_dim %4, dims = [0] {sdy.sharding = #sdy.sharding_per_value<[<@mesh, [{"x"}, {}]>]>}
    : (tensor<8xi1>) -> tensor<8x8xi1>
  %cst_0 = stablehlo.constant {sdy.sharding = #sdy.sharding_per_value<[<@mesh, [{"x"}, {}]>]>} dense<-0.000000e+00>
    : tensor<8x8xf32>
  %6 = stablehlo.select %5, %2, %cst_0 {sdy.sharding = #sdy.sharding_per_value<[<@mesh, [{"x"}, {}]>]>}
    : tensor<8x8xi1>, tensor<8x8xf32>
  %cst_1 = stablehlo.constant dense<0.000000e+00> : tensor<f32>
  %7 = stablehlo.reduce(%6 init: %cst_1) applies stablehlo.add across dimensions = [0]
    : (tensor<8x8xf32>, tensor<f32>) -> tensor<8xf32>
  return %7 : tensor<8xf32>
}
"""

    arguments: bool = option(False, "pads arguments and results of the entry function too")
    always: bool = option(False, "pads whatever does not divide, also where that costs more than it saves")
    poison: bool = option(False, "fills padding with NaN, or the largest number, which shows if it gets out")

    def run(self, module: Any, counters: Counters) -> None:
        """Pads in the entry function."""
        function = _entry(module)
        if function is not None:
            given = frozenset(
                (kind, value.index)
                for kind, values in (("argument", entry.arguments(function)), ("result", entry.results(function)))
                for value in values
            )
            padding = Padding(self.arguments, self.always, self.poison)
            pad_dimensions(module, function, padding, given, counters)


class _Body:
    """A module operation in the form that `meshes` and `functions` take."""

    def __init__(self, module: Any) -> None:
        self.body = module.regions[0].blocks[0]


def _entry(module: Any) -> Any:
    """The function that is not private, and annotated with the axes of one mesh."""
    body = _Body(module)
    public = [f for f in entry.functions(body) if not entry.is_private(f) and not entry.is_declaration(f)]
    return public[0] if len(public) == 1 and meshes(body) else None


def pad_dimensions(
    module: Any, function: Any, padding: Padding, stated: frozenset[tuple[str, int]], counters: Counters | None = None,
    *, around: list[Any] | None = None,
) -> list[Choice]:
    """Pads in ``function``, the entry function of the module operation ``module``, in place.

    Shardings that still do not divide afterwards belong to what stays whole.

    Args:
      stated: Arguments and results that users gave shardings, as ``("argument", 0)`` or ``("result", 0)``.
      around: The ops with shardings that do not divide; all ops are looked at if that is not known.

    Returns:
      What was decided.
    """
    counters = counters if counters is not None else Counters(PadDimensions.statistics)
    named = meshes(_Body(module))

    def made(ops: list[Any] | None) -> Chooser:
        shardings = ShardingMap(next(iter(named.values())), named)
        if ops is None:
            shardings.read_function(function)
        else:
            shardings.read_some(function, ops)
        return Chooser(function, shardings, padding.arguments, padding.always, stated)

    chooser = made(around)
    if chooser.is_needed():
        chooser = chooser if around is None else made(None)
        _choose_and_pad(module, chooser, Values(chooser.shardings, padding.poison, counters))
    for choice in chooser.choices:
        counters.add("whole" if choice.reason else "padded")
    return chooser.choices


def _choose_and_pad(module: Any, chooser: Chooser, values: Values) -> None:
    with _mlir.record_diagnostics():  # Shardy warns of every op without a rule
        _mlir.passmanager.PassManager.parse(_RULES, _mlir.context()).run(module)
    chooser.choose()
    if chooser.sizes:
        _Padder(chooser, values).function()
    _strip_rules(module)


def _strip_rules(module: Any) -> None:
    """Takes away the rules, which speak of sizes; users' own stay."""
    for op in operations(module):
        attributes = op.attributes
        if RULE in attributes and not decode(attributes[RULE])[1]:
            del attributes[RULE]


@dataclass
class _Padder:
    """Rewrites a function.

    Attributes:
      chooser: What was chosen.
      values: The values as they are now.
    """

    chooser: Chooser
    values: Values

    def function(self) -> None:
        """Pads everything that was chosen, and the signature."""
        ir, function = _mlir.ir, self.chooser.function
        block = function.regions[0].blocks[0]
        for value in block.arguments:
            self._pad(value)
        self._block(block)
        end = terminator(block)
        for index, value in enumerate(list(end.operands)):
            shape = self._wanted(("result", index), self.values.shape(value))
            end.operands[index] = self.values.resize(value, shape)
        signature = ir.FunctionType.get(
            [a.type for a in block.arguments], [v.type for v in end.operands], context=_mlir.context()
        )
        function.attributes["function_type"] = ir.TypeAttr.get(signature, context=_mlir.context())

    def _block(self, block: Any) -> None:
        """Pads in every op of ``block`` but its terminator."""
        for view in list(block.operations)[:-1]:
            op = view.operation
            if op.name == LOOP:
                self._loop(op)
            elif op.name in BRANCHES:
                self._branches(op)
            elif op.name == BARRIER:
                self._barrier(op)
            else:
                self._operation(op)

    def _operation(self, op: Any) -> None:
        operands = list(op.operands)
        view = self.chooser.known(op)
        sizes = {} if view is None else self._sizes(view)
        if view is not None and sizes:
            self._padded_operation(view, operands, sizes)
            return
        for index, value in enumerate(operands):
            if value in self.values.true:
                op.operands[index] = self.values.resize(value, self.values.true[value])

    def _sizes(self, view: View) -> dict[int, int]:
        """The factors of an op that are padded, with their sizes: as results want them, or operands if none has it."""
        chosen, sizes = self.chooser.sizes, {}
        for group in view.groups:
            found = next((chosen[slot] for slot in group.outputs or group.inputs if slot in chosen), None)
            if found is not None:
                sizes[group.number] = found
        return sizes

    def _padded_operation(self, view: View, operands: list[Any], sizes: dict[int, int]) -> None:
        """Computes ``view.op`` with the factors in ``sizes`` padded."""
        op, rule = view.op, view.rule
        results = [self.values.shape(value) for value in op.results]
        for index, (value, mapping) in enumerate(zip(operands, rule.operands, strict=True)):
            dims = {d: sizes[f[0]] for d, f in enumerate(mapping) if f and f[0] in sizes}
            value = self.values.resize(value, _with(self.values.shape(value), dims))
            for group in view.groups:
                if group.number in sizes and index in group.masks:
                    masked = tuple(d for d, f in enumerate(mapping) if f == (group.number,))
                    value = self.values.mask(value, masked, rule.sizes[group.number], group.masks[index])
            op.operands[index] = value
        TREATMENTS[op.name].adjust(op, rule, sizes, self.values.maker(op))
        for value, mapping, shape in zip(op.results, rule.results, results, strict=True):
            self.values.set(value, _with(shape, {d: sizes[f[0]] for d, f in enumerate(mapping) if f and f[0] in sizes}))

    # -- control flow ------------------------------------------------------------------------------------------------

    def _loop(self, op: Any) -> None:
        for index, result in enumerate(op.results):
            shape = self._wanted(result, self.values.shape(result))
            op.operands[index] = self.values.resize(op.operands[index], shape)
        condition, body = (region.blocks[0] for region in op.regions)
        for value in (*condition.arguments, *body.arguments):
            self._pad(value)
        self._block(condition)
        self._block(body)
        self._return(body, op.results)
        for value in op.results:
            self._pad(value)

    def _branches(self, op: Any) -> None:
        for region in op.regions:
            self._block(region.blocks[0])
            self._return(region.blocks[0], op.results)
        for value in op.results:
            self._pad(value)

    def _barrier(self, op: Any) -> None:
        for index, (value, result) in enumerate(zip(list(op.operands), op.results, strict=True)):
            op.operands[index] = self.values.resize(value, self._wanted(result, self.values.shape(result)))
            self._pad(result)

    def _return(self, block: Any, results: Iterable[Any]) -> None:
        end = terminator(block)
        for index, result in enumerate(results):
            value = end.operands[index]
            end.operands[index] = self.values.resize(value, self._wanted(result, self.values.shape(value)))

    def _wanted(self, value: Any, true: Shape) -> Shape:
        """The shape chosen for ``value`` (or a result of the function), whose true one is ``true``."""
        sizes = self.chooser.sizes
        return tuple(sizes.get((value, dim), size) for dim, size in enumerate(true))

    def _pad(self, value: Any) -> None:
        """Gives ``value`` the shape that was chosen for it."""
        self.values.set(value, self._wanted(value, self.values.shape(value)))


def _with(shape: Shape, changed: dict[int, int]) -> Shape:
    return tuple(changed.get(dim, size) for dim, size in enumerate(shape))
