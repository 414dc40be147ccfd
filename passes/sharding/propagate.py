"""Propagates the shardings users stated over the whole program, with Shardy, honouring the corrected sharding rules.

  func.func @main(%a: tensor<8x4xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {?}]>}) -> tensor<8x4xf32> {
    %0 = stablehlo.add %a, %a : tensor<8x4xf32>

becomes

  func.func @main(%a: tensor<8x4xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {}]>}) -> (tensor<8x4xf32> {...}) {
    %0 = stablehlo.add %a, %a {sdy.sharding = #sdy.sharding_per_value<[<@mesh, [{"x"}, {}]>]>} : tensor<8x4xf32>

Every sharding left is closed, a value without one is replicated, and every sharded dimension is divisible.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from passes import _mlir
from passes.errors import Where
from passes.pipeline import prechecks, runner
from passes.pipeline.options import RunOptions
from passes.program.entry import find_entry
from passes.program.read import Program
from passes.program.walk import named
from passes.sharding import branches, composites, decouple, function_names, op_rules, signature, tuples
from passes.sharding.divisibility import NOWHERE, Dropped, Indivisible, check_signatures, drop_indivisible
from passes.sharding.keep_edges import KeepEdges
from passes.sharding.mesh import meshes
from passes.sharding.signature import SHARDING

# Shardy's own pipeline (as `sdy-propagation-pipeline` prints it) without what we do ourselves: sharding rules are
# written before it, so that propagation finds the corrected ones, and the last propagation takes away all but those
# marked custom; the partition stage inserts reshards.
_BEFORE = """
symbol-dce, sdy-lift-inlined-meshes, sdy-remove-size-one-axes, sdy-propagate-sharding-from-func-to-call,
sdy-constant-or-scalar-splitter, sdy-manual-axes-cleanup, sdy-add-data-flow-edges,
sdy-flatten-call-graph, symbol-dce, sdy-import-func-calls, symbol-dce,
sdy-apply-sharding-constraints, sdy-sharding-group-import, sdy-pre-order-funcs"""
# Propagation in the order of priorities may stop short where values pass through one region into another (seen at calls
# in loops and in called functions); there a second one goes on to the fixed point.
_PROPAGATE = "sdy-user-priority-propagate{{keep-sharding-rules={keep} {options}}}"
_PROPAGATE_ON = "sdy-aggressive-propagate{{keep-sharding-rules={keep} {options}}}"
_AFTER = """
sdy-export-named-computations, sdy-propagate-to-func-results, sdy-unflatten-call-graph, symbol-dce,
sdy-insert-func-call-reshards, func.func(sdy-constant-or-scalar-merger), func.func(sdy-sink-data-flow-edges),
sdy-remove-sharding-groups, sdy-close-shardings
"""

# Verifying after each pass takes longer than the passes do; what they leave is verified when it is read.
_UNVERIFIED = RunOptions(verify_each=False)

# How to settle what several axes want of one dimension; Shardy's names.
STRATEGIES = ("aggressive", "basic", "basic-then-aggressive")


# What propagation does not see as it is.
_SPECIAL = frozenset({composites.COMPOSITE, branches.IF, *decouple.REWRITES, *tuples.NAMES})
# What ties a value outside of a region to one inside, or values together wherever they stand.
_FLOW = frozenset({
    "func.call", "sdy.manual_computation", "sdy.named_computation", "sdy.sharding_group", "stablehlo.case",
    "stablehlo.optimization_barrier", "stablehlo.while",
})


@dataclass(frozen=True)
class PropagateOptions:
    """How to propagate.

    Attributes:
      keep_sharding_rules: Leaves the rules on the operations; without it only rules the module brought along stay.
      conservative: Propagates nothing that would split an axis or leave shards in another order.
      strategy: One of `STRATEGIES`: whether an axis stops at every op where two dimensions want it (basic), or only
        where both are in one tensor (aggressive).
      reshards: Writes sharding constraints, and what calls need, as ``sdy.reshard``, from which the partition stage
        plans. Without it they are ``sdy.sharding_constraint``, which is what XLA and JAX read.
      keep_indivisible: Leaves axes on dimensions that they do not divide, for the caller to pad, drop or refuse, in
        signatures too.
      static: The caller has made sure that all types are static (`pipeline.prechecks`).
    """

    keep_sharding_rules: bool = False
    conservative: bool = False
    strategy: str = "aggressive"
    reshards: bool = True
    keep_indivisible: bool = False
    static: bool = False

    def for_shardy(self) -> str:
        """The options of Shardy's propagation passes."""
        return f"conservative-propagation={str(self.conservative).lower()} propagation-strategy={self.strategy}"


@dataclass(frozen=True)
class PropagateReport:
    """What a user should know about a propagation.

    Attributes:
      unruled: For each operation without a sharding rule, where it is and how it will be treated.
      dropped: The axes taken off dimensions they do not divide.
      rules_to_write: Entries of a rules file that would give the custom calls and composites among them a rule.
    """

    unruled: tuple[tuple[Where | None, str], ...] = ()
    dropped: tuple[Dropped, ...] = ()
    rules_to_write: tuple[str, ...] = ()

    def advice(self) -> list[str]:
        """How to give operations without a rule one, as lines to paste into a rules file."""
        if not self.rules_to_write:
            return []
        first = "a rule in the rules file would change that; give dimensions that are split alike one letter:"
        return [first, *(f"  {line}" for entry in self.rules_to_write for line in entry.split("\n"))]


def propagate(
    program: Program, options: PropagateOptions | None = None, *, entry: str | None = None
) -> PropagateReport:
    """Propagates shardings over ``program`` in place.

    Propagating again changes nothing, but that values without a sharding may get what is left of one from which axes
    that do not divide were taken. Functions and calls stay; a function called with different shardings becomes several.

    Args:
      program: Its module may be replaced; handles into it are dead afterwards.
      options: See `PropagateOptions`.
      entry: The name of the entry function; found if not given.

    Raises:
      UserError: an argument or result of a public function is sharded over axes that do not divide it, or the program
        is none that Shardy takes (`pipeline.prechecks`).
    """
    options = options or PropagateOptions()
    function = find_entry(program, entry)
    with _prepared(program, Indivisible(signature=options.keep_indivisible)):
        nested = _has_nested_flow(program, function)
        with function_names.entry_as_main(program, function):
            unruled, entries = _run_shardy(program, options, _PROPAGATE_ON if nested else None)
        decouple.merge(_tidy(program, options))
        signature.close(program)
    dropped = () if options.keep_indivisible else tuple(drop_indivisible(program))
    return PropagateReport(unruled, dropped, entries)


@contextmanager
def _prepared(program: Program, allowed: Indivisible = NOWHERE) -> Iterator[None]:
    """Takes apart what propagation does not see as it is, so that the body can propagate over ``program``.

    Whoever propagates, for the result or to say why it is so, does so in here: neither can see another program. What is
    a call or a case in the body is a composite or an if again afterwards.

    Raises:
      UserError: an argument or result of a public function is sharded over axes that do not divide it, where
        that is not ``allowed``.
    """
    special = named(program.module, _SPECIAL)
    if tuples.dissolve(program, special):
        special = named(program.module, _SPECIAL)
    check_signatures(program, allowed)
    ifs, found = ([op for op in special if op.name == name] for name in (branches.IF, composites.COMPOSITE))
    if meshes(program.module):
        decouple.decouple(special)
    with composites.as_calls(program, found), branches.as_cases(program, ifs):
        yield


def propagate_noting(
    program: Program, function: Any, options: PropagateOptions, before: Callable[[Any], None]
) -> None:
    """Propagates over ``program`` and stops there, with notes of each step on the ops (`keep_edges`).

    Calls stay named computations, every call with a copy of its function, and values that cross regions have data-flow
    edges. ``before`` gets the module before the first step. ``function`` is the entry function.

    Raises:
      UserError: see `propagate`.
    """
    noting = f"{options.for_shardy()} debug-propagation-edge-sharding=true"
    with _prepared(program), function_names.entry_as_main(program, function), _mlir.record_diagnostics():
        prechecks.check_for_sdy(program)
        rules = op_rules.pipeline(conservative=options.conservative)
        runner.run(program, f"builtin.module({rules},{_BEFORE})", _UNVERIFIED)
        before(program.module)
        both = (step.format(options=noting, keep="true") for step in (_PROPAGATE, _PROPAGATE_ON))
        runner.run(program, f"builtin.module({','.join(f'{step},{KeepEdges.name}' for step in both)})", _UNVERIFIED)


def _has_nested_flow(program: Program, function: Any) -> bool:
    """Whether values flow through a region inside of another one or of another function than ``function``."""
    flow = named(program.module, _FLOW)
    return any(op.parent != function or op.name == "sdy.sharding_group" for op in flow)


def _run_shardy(
    program: Program, options: PropagateOptions, then: str | None
) -> tuple[tuple[tuple[Where | None, str], ...], tuple[str, ...]]:
    """Propagates, and by ``then`` once more if given.

    Returns:
      The operations without a rule of their own, and the entries that would give them one.
    """
    prechecks.check_for_sdy(program, static=options.static)
    rules = op_rules.pipeline(conservative=options.conservative)
    keep = str(options.keep_sharding_rules).lower()
    first = _PROPAGATE.format(options=options.for_shardy(), keep="true" if then else keep)
    rounds = f"{first},{then.format(options=options.for_shardy(), keep=keep)}" if then else first
    # What Shardy warns of is in the report.
    with function_names.kept(program), _mlir.record_diagnostics():
        result = runner.run(program, f"builtin.module({rules},{_BEFORE},{rounds},{_AFTER})", _UNVERIFIED)
    unruled = op_rules.unruled(result)
    entries = tuple(dict.fromkeys(u.rule_to_write for u in unruled if u.rule_to_write))
    return tuple((u.where, u.message) for u in unruled), entries


def _tidy(program: Program, options: PropagateOptions) -> list[Any]:
    """Takes away what propagation leaves behind: its own kind of constant, a copy of the mesh.

    Returns the constants and iotas of the program.
    """
    replace = {"sdy.constant": "stablehlo.constant"}
    if options.reshards:
        replace["sdy.sharding_constraint"] = "sdy.reshard"
    else:
        replace["sdy.reshard"] = "sdy.sharding_constraint"
    roots = []
    for op in named(program.module, frozenset({*replace, *decouple.ROOTS, "sdy.mesh"})):
        if op.name == "sdy.mesh":
            if "stablehlo.mesh" in op.attributes:
                del op.attributes["stablehlo.mesh"]
            continue
        kept = _replace(op, replace[op.name]) if op.name in replace else op
        if kept.name in decouple.ROOTS:
            roots.append(kept)
    return roots


def _replace(op: Any, name: str) -> Any:
    """Puts an op called ``name``, otherwise the same, in the place of ``op``, which has one result and no regions.

    Returns the new op.
    """
    ir = _mlir.ir
    try:
        given = {key: op.attributes[key] for key in op.attributes}
    except TypeError:
        # The bindings cannot hand out an attribute of complex numbers; text can. A sharding cannot go through text, for
        # it names a mesh that stands outside of the op.
        bare = op.clone()
        sharding = bare.attributes.get(SHARDING)
        if sharding is not None:
            del bare.attributes[SHARDING]
        text = bare.get_asm(print_generic_op_form=True, enable_debug_info=True, use_local_scope=True)
        new = ir.Operation.parse(text.replace(f'"{op.name}"', f'"{name}"', 1), context=_mlir.context())
        if sharding is not None:
            new.operation.attributes[SHARDING] = sharding
        ir.InsertionPoint(op).insert(new)
    else:
        types, before = [op.results[0].type], ir.InsertionPoint(op)
        new = ir.Operation.create(name, types, list(op.operands), given, loc=op.location, ip=before)
    op.results[0].replace_all_uses_with(new.results[0])
    op.erase()
    return new.operation
