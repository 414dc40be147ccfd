"""From an annotated global program to the per-device program with explicit StableHLO collectives.

Normalise (flatten composites and calls, legalize chlo), factor mesh axes into primes, propagate, plan, localize,
clean up.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from passes import _mlir
from passes.optimize.cse import Cse
from passes.optimize.dead_ops import DeadOps
from passes.partition.cancel_moves import CancelMoves
from passes.partition.combine_collectives import CombineCollectives
from passes.partition.composites import kept_whole
from passes.partition.compute import Work, flops
from passes.partition.delay_reductions import DelayReductions
from passes.partition.forms import has_local_types
from passes.partition.hoist_gathers import HoistGathers
from passes.partition.localize import localize_function
from passes.partition.manual import dissolve, new_groups, settle
from passes.partition.merge_collectives import MergeCollectives
from passes.partition.outline import CALL, COMPOSITE, Flat, Keep, Outliner
from passes.partition.pad_dimensions import Padding, pad_dimensions
from passes.partition.padding_choice import Choice, merged
from passes.partition.plan import Replicated, plan
from passes.partition.prime_axes import PrimeMesh, factor_axes
from passes.partition.reshards import Reshard, reshards
from passes.partition.rolls import rewrite_shifts
from passes.partition.side_table import Entry, SideTable
from passes.partition.summary import Traffic, local_shapes, traffic, volume
from passes.partition.trace import number_operations, remove_marks, write_shardings
from passes.pipeline import runner
from passes.pipeline.base import Pass
from passes.pipeline.prechecks import check_for_sdy
from passes.program import entry, write
from passes.program.read import Program
from passes.program.walk import named, operations
from passes.sharding.divisibility import check_signatures, drop_indivisible, grouped
from passes.sharding.mesh import Mesh, Sharding, meshes, sharding_from_attr
from passes.sharding.propagate import PropagateOptions, PropagateReport, propagate
from passes.sharding.tuples import NAMES
from passes.sharding.tuples import dissolve as dissolve_tuples

# Ours inlines in linear time, all calls but those that say something of shardings. MLIR's takes every call, and time in
# proportion to calls times ops.
NORMALISE = (
    "builtin.module(func.func(stablehlo-legalize-composite-to-call{except=EXCEPT}),inline,native-inline,symbol-dce,"
    "func.func(chlo-legalize-to-stablehlo))"
)


@dataclass(frozen=True)
class Communication:
    """What may be done about collectives once they are there.

    Attributes:
      reorder_sums: Whether floating-point sums over devices may be added in another order where that saves reductions.
      combine: Up to how many bytes independent collectives are combined into one; 0 leaves them alone.
      hoist: Whether loops gather what they do not change once, before they run, for the memory of the whole.
    """

    reorder_sums: bool = True
    combine: int = 0
    hoist: bool = False


_DEFAULTS = Communication()
_PADDING = Padding()

_WAYS = {"strips": "in strips from other shards", "gathered": "by gathering it", "local": "from the shard itself"}
# How many lines a summary has on what the plan moves.
_MOST_RESHARDS = 8
_MOST_SHAPES = 12


@dataclass(frozen=True)
class Report:
    """What partitioning did.

    Attributes:
      side_table: How arguments and results lie, for runtimes.
      traffic: Collectives by kind and group size.
      replicated: Ops around which the plan replicates.
      propagation: What propagation reported: ops without a rule, axes dropped from dimensions they do not divide.
      unaliased: Arguments whose donation was dropped because the result now has another type.
      axes_of_groups: The mesh axes behind each ``replica_groups`` attribute, as users write them.
      changes: What the passes over collectives did: the statistics that are not zero, ``pass.statistic`` -> count.
      fetched: Where ops move elements along split dimensions, how often they were there or came in which way
        (`Emitter.fetched`).
      reshards: What the plan moves between devices, and for which ops.
      work: What is computed, and how much of that on several devices alike.
      flat: Composites that are none any more, because the plan does something in them that the device alone cannot.
      padding: Which dimensions that do not divide are padded, and which are whole because that is cheaper.
      numbered: With tracing, the global program as bytecode, its ops numbered; annotated, but not yet planned.
    """

    side_table: SideTable
    traffic: list[Traffic]
    replicated: list[Replicated]
    propagation: PropagateReport
    unaliased: list[str]
    axes_of_groups: dict[Any, tuple[str, ...]]
    changes: dict[str, int]
    reshards: list[Reshard]
    work: Work
    fetched: dict[str, int] = field(default_factory=dict)
    flat: tuple[Flat, ...] = ()
    padding: tuple[Choice, ...] = ()
    numbered: bytes | None = None

    def lines(self) -> list[str]:
        """The report for a terminal: the mesh, collectives with their bytes, and whatever did not go as planned."""
        mesh = self.side_table.mesh
        shape = " x ".join(f"{name}={size}" for name, size in mesh.axes)
        found = [f"mesh {shape}: {mesh.device_count} devices; collectives, with bytes each device puts in:"]
        found += [
            f"  {t.kind:<19}{','.join(t.axes) or f'{t.group_size} devices':<16}{t.count:>5} x{t.bytes:>16,} B"
            for t in self.traffic
        ]
        if not self.traffic:
            found.append("  none")
        if self.fetched:
            ways = ", ".join(f"{self.fetched[way]} {words}" for way, words in _WAYS.items() if self.fetched.get(way))
            found.append(f"ops that move elements along a split dimension fetch them: {ways}")
        found += self._changes()
        if self.reshards:
            found.append("planned for these ops, most frequent first:")
            found += [f"  {reshard}" for reshard in self.reshards[:_MOST_RESHARDS]]
        if (more := len(self.reshards) - _MOST_RESHARDS) > 0:
            found.append(f"  and {more} more, which --json lists")
        if shapes := local_shapes(self.side_table):
            found += ["local shapes:", *shapes[:_MOST_SHAPES]]
            if (more := len(shapes) - _MOST_SHAPES) > 0:
                found.append(f"  and {more} more, which --json lists")
        if self.work.whole:
            found.append(str(self.work))
        found += [f"replicated around {r.op} at {r.where}: {r.reason}" for r in self.replicated]
        found += [f"{where or 'note'}: {message}" for where, message in self.propagation.unruled]
        found += self.propagation.advice()
        found += map(str, self.padding)
        found += [f"not split: {line}" for line in grouped(self.propagation.dropped)]
        found += [str(flat) for flat in self.flat]
        found += [f"donation dropped: '{name}' and its result have different local types" for name in self.unaliased]
        return found

    def _changes(self) -> list[str]:
        moves, sums, combined = "cancel-moves", "delay-reductions", "combine-collectives"
        found = []
        if cancelled := sum(count for name, count in self.changes.items() if name.startswith(f"{moves}.")):
            found.append(f"{cancelled} slices beside collectives came to less communication")
        if delayed := self.changes.get(f"{sums}.delayed"):
            made = self.changes[f"{sums}.made"]
            found.append(
                f"{delayed} sums over devices are added up first and reduced by {made}; this changes the order of "
                "floating-point additions (--keep-sum-order leaves it)"
            )
        if count := self.changes.get("hoist-gathers.hoisted"):
            size = self.changes["hoist-gathers.bytes"]
            found.append(f"gathered before loops, not in every turn: {count}, which keeps {size:,} B while these run")
        if count := self.changes.get("merge-collectives.merged"):
            found.append(f"{count} collectives are done by the next one, over the axes of both")
        if count := self.changes.get(f"{combined}.combined"):
            found.append(f"{count} collectives are combined into {self.changes[f'{combined}.made']}")
        return found

def partition(
    program: Program,
    entry_name: str | None = None,
    *,
    trace: bool = False,
    options: PropagateOptions | None = None,
    communication: Communication = _DEFAULTS,
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
    runner.run(program, NORMALISE.replace("EXCEPT", ",".join(kept_whole(program))))
    # Before axes are factored, so that errors name the user's.
    check_signatures(program, padding.allowed)
    _refuse_unreduced(program)
    settle(program)
    rewrite_shifts(program)
    name, prime = _the_mesh(program, factor_axes(program.module))
    propagation, padded, shapes = _propagate(program, options or PropagateOptions(), padding, prime)
    side_table = _side_table(program, name, prime, shapes)
    number_operations(program.module)
    numbered = write.to_bytecode(program.module) if trace else None
    whole = flops(program.module)
    localizer, replicated = plan(program, prime.mesh, meshes(program.module))
    planned = reshards(program, localizer.shardings, prime)
    function = entry.find_entry(program)
    localize_function(localizer, function)
    if trace:
        write_shardings(program.module, localizer.shardings, prime)
    else:
        remove_marks(program.module)
    unaliased = _clean(program, function, prime)
    flat, changes = _outline(program, outliner, None if trace else communication)
    named_groups = localizer.emit.axes_of_groups | new_groups(program.module, prime.mesh)
    axes_of_groups = {
        attr: tuple(a.text(prime.original) for a in prime.restore_axes(tuple(a.name for a in axes)))
        for attr, axes in named_groups.items()
    }
    moved = traffic(program.module, axes_of_groups)
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
    given = [(f"'{v.name}'", v.attributes.get("sdy.sharding"), function)
             for v in (*entry.arguments(function), *entry.results(function))]
    given += [("a constraint", op.attributes["sharding"], op)
              for op in named(function, frozenset({"sdy.sharding_constraint", "sdy.reshard"}))]
    for title, attr, op in given:
        if attr is not None and list(_mlir.sdy.TensorShardingAttr(attr).unreduced_axes):
            raise program.error(f"{title} is unreduced, which cannot be partitioned here; shlo shard passes it on", op)


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
    signature = (entry.arguments(function), entry.results(function))
    stated = frozenset(
        (kind, value.index)
        for kind, values in zip(("argument", "result"), signature, strict=True)
        for value in values
        if "sdy.sharding" in value.attributes
    )
    propagation = propagate(program, replace(options, keep_indivisible=True))
    function = entry.find_entry(program)
    shapes = tuple(
        [tuple(_mlir.ir.RankedTensorType(value.type).shape) for value in values]
        for values in (entry.arguments(function), entry.results(function))
    )
    padded = pad_dimensions(program.module.operation, function, padding, stated)
    dropped = tuple(
        replace(d, axes=tuple(axis.text(prime.original) for axis in prime.restore_axes(d.axes)))
        for d in drop_indivisible(program)
    )
    return replace(propagation, dropped=dropped), merged(padded), (shapes[0], shapes[1])


def _side_table(program: Program, mesh_name: str, prime: PrimeMesh, shapes: _Shapes) -> SideTable:
    function = entry.find_entry(program)
    named = {mesh_name: prime.mesh} | meshes(program.module)

    def entries(values: Iterable[entry.Value], shapes: list[tuple[int, ...]]) -> tuple[Entry, ...]:
        return tuple(_entry(v, shape, named, prime) for v, shape in zip(values, shapes, strict=True))

    arguments, results = entry.arguments(function), entry.results(function)
    return SideTable(prime.original, entries(arguments, shapes[0]), entries(results, shapes[1]))


def _entry(value: entry.Value, shape: tuple[int, ...], named: dict[str, Mesh], prime: PrimeMesh) -> Entry:
    type = _mlir.ir.RankedTensorType(value.type)
    padded = tuple(type.shape)
    attr = value.attributes.get("sdy.sharding")
    sharding = sharding_from_attr(attr, named) if attr is not None else Sharding(prime.mesh, ((),) * len(padded))
    return Entry(
        value.index, value.name, str(type.element_type), shape, prime.restore(sharding),
        padded if padded != shape else None,
    )


# -- after lowering ----------------------------------------------------------------------------------------------------


def _clean(program: Program, function: Any, prime: PrimeMesh) -> list[str]:
    """Removes every trace of ``sdy``, verifies, and drops what the lowering left unused."""
    module = program.module
    dissolve(module)
    for op in operations(module):
        attributes = op.attributes
        for key in ("sdy.sharding", "sdy.sharding_rule"):
            if key in attributes:
                del attributes[key]
    for op in list(module.body.operations):
        if op.operation.name == "sdy.mesh":
            op.operation.erase()
    unaliased = _strip_signature(function)
    i32 = _mlir.ir.IntegerType.get_signless(32, _mlir.context())
    module.operation.attributes["mhlo.num_partitions"] = _mlir.ir.IntegerAttr.get(i32, prime.mesh.device_count)
    module.operation.attributes["mhlo.num_replicas"] = _mlir.ir.IntegerAttr.get(i32, 1)
    _verify(program)
    return unaliased


def _outline(
    program: Program, outliner: Outliner, communication: Communication | None
) -> tuple[tuple[Flat, ...], dict[str, int]]:
    """Brings functions and composites back and makes less of the collectives; composites left flat, what was done.

    What passes over collectives find is in one function. So functions that talk stay inlined, or all do, if that is the
    way to move less data.
    """
    flattened = write.to_bytecode(program.module) if outliner.has_calls and communication else b""

    def attempt(keep: Keep) -> tuple[tuple[float, int], Any, tuple[Flat, ...], dict[str, int]]:
        if keep is not Keep.ALL:
            program.module = _mlir.ir.Module.parse(flattened, _mlir.context())
        flat = outliner.outline(keep)
        changes = _improve(program, communication)
        return volume(program.module), program.module, flat, changes

    best = attempt(Keep.ALL)
    if flattened and best[0] > (0, 0) and best[0] > (least := attempt(Keep.NONE))[0]:
        local = attempt(Keep.LOCAL)
        best = least if least[0] < local[0] else local
    _, program.module, flat, changes = best
    return flat, changes


def improvements(communication: Communication | None = _DEFAULTS) -> list[Pass]:
    """The passes that end partitioning: equal ops are one, and, with ``communication``, collectives become fewer."""
    passes: list[Pass] = [Cse(), DeadOps()]
    if communication is not None:
        reorder = communication.reorder_sums
        passes += [CancelMoves(), MergeCollectives(reorder), DelayReductions(reorder)]
        if communication.hoist:
            passes.append(HoistGathers())
        if communication.combine:
            passes.append(CombineCollectives(communication.combine))
    return passes


def _improve(program: Program, communication: Communication | None) -> dict[str, int]:
    """Runs `improvements`; what they did to collectives."""
    passes = improvements(communication)
    result = runner.run(program, f"builtin.module({','.join(own.to_text() for own in passes)})")
    shown = {own.name for own in passes[2:]}
    return {
        f"{ran.name}.{count.name}": count.value
        for ran in result.statistics
        if ran.name in shown
        for count in ran.counts
        if count.value
    }


def _strip_signature(function: Any) -> list[str]:
    """Drops shardings from the signature, and donations whose argument and result no longer have one type."""
    ir, context = _mlir.ir, _mlir.context()
    arguments, results = entry.arguments(function), entry.results(function)
    unaliased = []
    kept = []
    for value in arguments:
        attributes = {k: a for k, a in value.attributes.items() if not k.startswith("sdy.")}
        alias = attributes.get("tf.aliasing_output")
        if alias is not None and results[ir.IntegerAttr(alias).value].type != value.type:
            del attributes["tf.aliasing_output"]
            unaliased.append(value.name)
        kept.append(ir.DictAttr.get(attributes, context=context))
    if "arg_attrs" in function.attributes:
        function.attributes["arg_attrs"] = ir.ArrayAttr.get(kept, context=context)
    if "res_attrs" in function.attributes:
        stripped = [{k: a for k, a in r.attributes.items() if not k.startswith("sdy.")} for r in results]
        function.attributes["res_attrs"] = ir.ArrayAttr.get(
            [ir.DictAttr.get(d, context=context) for d in stripped], context=context
        )
    return unaliased


def _verify(program: Program) -> None:
    """Verifies the lowered module; what it finds is a defect of the lowering, told as an error with the op's place."""
    with _mlir.collect_diagnostics() as diagnostics:
        try:
            program.module.operation.verify()
        except _mlir.ir.MLIRError:
            first = next((d for d in diagnostics if d.severity == "error"), None)
            reason = first.message if first else "the module does not verify"
            raise program.error(f"the lowering made an invalid op ({reason}); please report this module") from None
