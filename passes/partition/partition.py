"""From an annotated global program to the per-device program with explicit StableHLO collectives.

Normalise (flatten composites and calls, legalize chlo), factor mesh axes into primes, propagate, plan, localize,
clean up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache
from typing import Any

from passes import _mlir
from passes.partition.composites import kept_whole
from passes.partition.compute import Work, flops
from passes.partition.finish import finish
from passes.partition.forms import has_local_types
from passes.partition.improve import Communication, improve
from passes.partition.localize import localize_function
from passes.partition.manual import new_groups, settle
from passes.partition.outline import CALL, COMPOSITE, Outliner
from passes.partition.pad_dimensions import Padding, pad_dimensions
from passes.partition.padding_choice import Choice, merged
from passes.partition.plan import plan
from passes.partition.prime_axes import PrimeMesh, factor_axes
from passes.partition.report import Report
from passes.partition.reshards import reshards
from passes.partition.rolls import rewrite_shifts
from passes.partition.side_table import Entry, SideTable
from passes.partition.summary import traffic
from passes.partition.trace import number_operations, write_shardings
from passes.pipeline import runner
from passes.pipeline.collection import uncollected
from passes.pipeline.options import RunOptions
from passes.pipeline.prechecks import check_for_sdy
from passes.program import entry, write
from passes.program.read import Program
from passes.program.walk import named
from passes.sharding.divisibility import check_signatures, drop_indivisible, indivisible
from passes.sharding.mesh import Sharding, meshes, sharding_from_attr
from passes.sharding.propagate import PropagateOptions, PropagateReport, propagate
from passes.sharding.signature import by_attribute, shardings
from passes.sharding.tuples import NAMES
from passes.sharding.tuples import dissolve as dissolve_tuples

# Ours inlines in linear time, all calls but those that say something of shardings. MLIR's takes every call, and time in
# proportion to calls times ops.
NORMALISE = (
    "builtin.module(func.func(stablehlo-legalize-composite-to-call{except=EXCEPT}),inline,native-inline,symbol-dce,"
    "func.func(chlo-legalize-to-stablehlo))"
)
# What these leave is verified when Shardy's worker reads it.
_UNVERIFIED = RunOptions(verify_each=False)
_COMMUNICATION = Communication()
_PADDING = Padding()


@uncollected()
def partition(
    program: Program,
    entry_name: str | None = None,
    *,
    trace: bool = False,
    options: PropagateOptions | None = None,
    communication: Communication = _COMMUNICATION,
    padding: Padding = _PADDING,
    keep_functions: bool = True,
) -> Report:
    """Turns ``program``, which carries ``sdy`` shardings, into its per-device program in place.

    The module keeps the entry function, under its name, and what it calls and its composites are made of; it gets
    ``mhlo.num_partitions``. Partition ids number the devices.

    Args:
      entry_name: The entry function; ``None`` finds it.
      trace: Keeps on each op which op of the global program it came from (`trace`) and reports that program. Equal ops
        are then not merged, for they come from different ones, functions are inlined, composites without a rule are
        flat, and collectives stay as they were planned.
      options: How to propagate.
      communication: What may be done about collectives.
      padding: Which dimensions may be padded. With padded arguments or results the side table has their padded shapes.
      keep_functions: Keeps calls, of one function for each way in which its callers are planned, unless the program
        would move more data than without.

    Raises:
      UserError: the module has no mesh or several, an argument does not divide, or an op cannot be partitioned.
    """
    function = entry.find_entry(program, entry_name)
    if has_local_types(program):
        raise program.error(
            "the module is a per-device program already: its types are local, and its shardings are of the global "
            "tensors (--keep-sdy wrote it); partition the global program instead", function
        )
    dissolve_tuples(program, named(program.module, NAMES))
    check_for_sdy(program)
    _keep_only(program, function)
    outliner = Outliner(program)
    kept = frozenset({COMPOSITE, CALL} if keep_functions else {COMPOSITE})
    outliner.flatten(frozenset() if trace else kept)
    runner.run(program, NORMALISE.replace("EXCEPT", ",".join(kept_whole(program))), _UNVERIFIED)
    # Before axes are factored, so that errors name the user's.
    check_signatures(program, padding.allowed)
    _refuse_unreduced(program)
    settle(program)
    rewrite_shifts(program)
    name, prime = _the_mesh(program, factor_axes(program.module))
    propagation, padded, shapes = _propagate(program, options or PropagateOptions(), padding, prime)
    side_table = _side_table(program, name, prime, shapes)
    if trace:
        number_operations(program.module)
    numbered = write.to_bytecode(program.module) if trace else None
    whole = flops(program.module)
    localizer, replicated = plan(program, prime.mesh, meshes(program.module))
    localizer.traced = trace
    planned = reshards(program, localizer.shardings, prime)
    function = entry.find_entry(program)
    localize_function(localizer, function)
    if trace:
        write_shardings(program.module, localizer.shardings, prime)
    unaliased = finish(program, function, prime.mesh.device_count)
    flat, changes, collectives = improve(program, outliner, None if trace else communication)
    named_groups = localizer.emit.axes_of_groups | new_groups(collectives, prime.mesh)
    axes_of_groups = {
        attr: tuple(a.text(prime.original) for a in prime.restore_axes(tuple(a.name for a in axes)))
        for attr, axes in named_groups.items()
    }
    moved = traffic(collectives, axes_of_groups)
    work = Work(whole, flops(program.module), prime.mesh.device_count)
    fetched = dict(localizer.emit.fetched)
    return Report(
        side_table, moved, replicated, propagation, unaliased, axes_of_groups, changes, planned, work, fetched, flat,
        padded, numbered,
    )


def _keep_only(program: Program, function: Any) -> None:
    """Makes every function but ``function`` private, so that inlining and symbol-dce leave it alone."""
    private = _mlir.ir.StringAttr.get("private", _mlir.context())
    for other in entry.functions(program.module):
        if other != function:
            other.attributes["sym_visibility"] = private


def _refuse_unreduced(program: Program) -> None:
    """Nothing here adds up what arguments or constraints state to be summands."""
    function = entry.find_entry(program)
    rest = "is unreduced, which cannot be partitioned here; shlo shard passes it on"
    for key, given in shardings(function).items():
        for index in (i for i, attr in enumerate(given) if attr is not None and _is_unreduced(attr)):
            raise program.error(f"'{by_attribute(function)[key][index].name}' {rest}", function)
    for op in named(function, frozenset({"sdy.sharding_constraint", "sdy.reshard"})):
        if _is_unreduced(op.attributes["sharding"]):
            raise program.error(f"a constraint {rest}", op)


def _is_unreduced(sharding: Any) -> bool:
    return any(True for _ in _mlir.sdy.TensorShardingAttr(sharding).unreduced_axes)


def _the_mesh(program: Program, primes: dict[str, PrimeMesh]) -> tuple[str, PrimeMesh]:
    if not primes:
        raise program.error("the module has no mesh: give it one with --rules, or annotate it with `shlo shard`")
    if len({prime.original for prime in primes.values()}) > 1:
        names = ", ".join(f"@{name}" for name in primes)
        raise program.error(f"the module has several different meshes ({names}); partition needs exactly one")
    return next(iter(primes.items()))


# The global shapes of arguments and of results.
_Shapes = tuple[list[tuple[int, ...]], list[tuple[int, ...]]]


def _propagate(
    program: Program, options: PropagateOptions, padding: Padding, prime: PrimeMesh
) -> tuple[PropagateReport, tuple[Choice, ...], _Shapes]:
    """Propagates, and pads or leaves whole what does not divide; the shapes are those from before."""
    function = entry.find_entry(program)
    stated = frozenset(
        (kind, index)
        for kind, given in zip(("argument", "result"), shardings(function).values(), strict=True)
        for index, sharding in enumerate(given)
        if sharding is not None
    )
    propagation = propagate(program, replace(options, keep_indivisible=True, static=True))
    _drop_barriers(program)
    function = entry.find_entry(program)
    shapes = tuple(
        [tuple(_mlir.ir.RankedTensorType(type).shape) for type in types]
        for types in entry.value_types(function).values()
    )
    uneven = indivisible(program)
    if not uneven:
        return propagation, (), (shapes[0], shapes[1])
    padded = pad_dimensions(program.module.operation, function, padding, stated, around=[op for op, _ in uneven])
    is_padded = any(not choice.reason for choice in padded)
    dropped = tuple(
        replace(d, axes=tuple(axis.text(prime.original) for axis in prime.restore_axes(d.axes)))
        for d in drop_indivisible(program, None if is_padded else uneven)
    )
    return replace(propagation, dropped=dropped), merged(padded), (shapes[0], shapes[1])


def _drop_barriers(program: Program) -> None:
    """What shardings were not to pass is an identity once they are there; the plan moves what lies otherwise behind."""
    for op in named(program.module, frozenset({"sdy.propagation_barrier"})):
        op.results[0].replace_all_uses_with(op.operands[0])
        op.erase()


def _side_table(program: Program, mesh_name: str, prime: PrimeMesh, shapes: _Shapes) -> SideTable:
    function = entry.find_entry(program)
    named = {mesh_name: prime.mesh} | meshes(program.module)

    @cache
    def restored(attr: Any) -> Sharding:
        return prime.restore(sharding_from_attr(attr, named))

    def entries(values: Iterable[entry.Value], shapes: list[tuple[int, ...]]) -> tuple[Entry, ...]:
        return tuple(_entry(v, shape, restored, prime) for v, shape in zip(values, shapes, strict=True))

    arguments, results = entry.arguments(function), entry.results(function)
    return SideTable(prime.original, entries(arguments, shapes[0]), entries(results, shapes[1]))


def _entry(
    value: entry.Value, shape: tuple[int, ...], restored: Callable[[Any], Sharding], prime: PrimeMesh
) -> Entry:
    type = _mlir.ir.RankedTensorType(value.type)
    padded = tuple(type.shape)
    attr = value.attributes.get("sdy.sharding")
    sharding = restored(attr) if attr is not None else Sharding(prime.original, ((),) * len(padded))
    return Entry(
        value.index, value.name, str(type.element_type), shape, sharding,
        padded if padded != shape else None,
    )
