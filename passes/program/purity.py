"""What an op does besides computing its results: may it go when unused, may two equal ones become one?

The bindings cannot be asked for memory effects, so this is a table. An op it does not know is an effect and is never
touched. Ops with regions and calls are as pure as what they contain; `Effects` looks inside, across functions.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from enum import Enum
from functools import cached_property
from typing import Any

from passes import _mlir


class Effect(Enum):
    """What a pass may do with an op.

    PURE: it may go when its results are unused, and two equal ones compute the same.
    UNIQUE: it may go when unused, but two of them are never one: each draws its own random numbers, or keeps apart
      what it was put there to keep apart.
    ANNOTATION: it says something about its operand, even when its own result is unused; it goes together with the
      operand and makes nothing live. Equal ones may be merged.
    EFFECT: never touched.
    """

    PURE = 0
    ANNOTATION = 1
    UNIQUE = 2
    EFFECT = 3


def worst(effects: Iterable[Effect]) -> Effect:
    """The effect of doing all of ``effects`` inside one op; what an annotation inside describes goes with that op."""
    result = Effect.PURE
    for effect in effects:
        if effect is Effect.EFFECT:
            return effect
        if effect is Effect.UNIQUE:
            result = effect
    return result


Rule = Effect | Callable[[Any], Effect]


def _custom_call(op: Any) -> Effect:
    """The specification's default for ``has_side_effect`` is false; a token orders the call against others."""
    attributes = op.attributes
    if "has_side_effect" in attributes and _mlir.ir.BoolAttr(attributes["has_side_effect"]).value:
        return Effect.EFFECT
    if any(_is_token(value.type) for value in (*op.operands, *op.results)):
        return Effect.EFFECT
    target = str(_mlir.ir.StringAttr(attributes["call_target_name"]).value)
    return Effect.ANNOTATION if target in ANNOTATION_TARGETS else Effect.PURE


def _is_token(type: Any) -> bool:
    return str(type) in ("!stablehlo.token", "!mhlo.token")


# Custom calls that mean something to a partitioner or layout assignment and nothing to the values.
ANNOTATION_TARGETS = frozenset({"Sharding", "xla.sdy.FuncResultSharding", "xla.sdy.ShardingGroup", "LayoutConstraint"})

# Ops of StableHLO, and of MHLO under the same name. Collectives are pure: every device runs the same program, so all of
# them lose or merge the same ones. Ops with regions stand here for what they do outside their regions; a `while` that
# is unused goes even though it might not have terminated, as in XLA, which takes every loop to terminate.
# `rng_bit_generator` computes from its state operand only.
_HLO_PURE = """
  abs add and atan2 batch_norm_grad batch_norm_inference batch_norm_training bitcast_convert broadcast
  broadcast_in_dim cbrt ceil cholesky clamp compare complex concatenate constant convert convolution cosine
  count_leading_zeros divide dot dot_general dynamic_broadcast_in_dim dynamic_conv dynamic_gather dynamic_iota
  dynamic_pad dynamic_reshape dynamic_slice dynamic_update_slice einsum exponential exponential_minus_one fft floor
  gather get_dimension_size get_tuple_element imag iota is_finite log log_plus_one logistic maximum minimum multiply
  negate not or pad popcnt power real real_dynamic_slice reduce_precision remainder reshape reverse
  rng_bit_generator round_nearest_afz round_nearest_even rsqrt select set_dimension_size shift_left
  shift_right_arithmetic shift_right_logical sign sine slice sqrt subtract tan tanh torch_index_select transpose
  triangular_solve tuple unary_einsum uniform_dequantize uniform_quantize xor partition_id replica_id
  all_gather all_reduce all_to_all collective_broadcast collective_permute cross-replica-sum reduce_scatter
  case if map reduce reduce_window scatter select_and_scatter sort while composite return
"""
# Asynchronous ops do what their regions or callees do; two of them are never one, since a start belongs to its done.
_HLO_UNIQUE = "after_all async_done async_start create_token optimization_barrier rng"

_SDY_PURE = """
  all_gather all_reduce all_slice all_to_all collective_permute constant manual_computation named_computation
  propagation_barrier reduce_scatter replicated_to_unreduced reshard return sharded_to_unreduced
"""

# Op name -> what it does outside its regions and callees.
RULES: dict[str, Rule] = {
    **{f"{dialect}.{op}": Effect.PURE for dialect in ("stablehlo", "mhlo") for op in _HLO_PURE.split()},
    **{f"{dialect}.{op}": Effect.UNIQUE for dialect in ("stablehlo", "mhlo") for op in _HLO_UNIQUE.split()},
    "mhlo.async_update": Effect.UNIQUE,
    **{f"{dialect}.custom_call": _custom_call for dialect in ("stablehlo", "mhlo")},
    **{f"sdy.{op}": Effect.PURE for op in _SDY_PURE.split()},
    "sdy.sharding_constraint": Effect.ANNOTATION,
    "sdy.sharding_group": Effect.ANNOTATION,
    "func.call": Effect.PURE,
    "func.return": Effect.PURE,
}

# Dialects all of whose ops compute their results and nothing else.
PURE_DIALECTS = frozenset({"chlo", "arith", "math", "complex"})

# Op name -> the attributes in which it names functions.
CALLEE_ATTRIBUTES = {
    "func.call": ("callee",),
    **{f"{dialect}.composite": ("decomposition",) for dialect in ("stablehlo", "mhlo")},
    **{f"{dialect}.custom_call": ("called_computations",) for dialect in ("stablehlo", "mhlo")},
    "mhlo.async_start": ("called_computation",),
}

# Ops that are pure by their name alone, as long as their regions are.
PLAIN = frozenset(name for name, effect in RULES.items() if effect is Effect.PURE and name not in CALLEE_ATTRIBUTES)

COLLECTIVES = frozenset({
    *(f"{dialect}.{op}" for dialect in ("stablehlo", "mhlo") for op in (
        "all_gather", "all_reduce", "all_to_all", "collective_broadcast", "collective_permute", "reduce_scatter")),
    *(f"sdy.{op}" for op in (
        "all_gather", "all_reduce", "all_slice", "all_to_all", "collective_permute", "reduce_scatter", "reshard")),
})

# Ops whose regions may use values from outside; any other op's regions are taken to be closed.
CAPTURING = frozenset(f"{dialect}.{op}" for dialect in ("stablehlo", "mhlo") for op in (
    "all_reduce", "case", "if", "map", "reduce", "reduce_scatter", "reduce_window", "scatter", "select_and_scatter",
    "sort", "while"))

# Plain ops that have no regions, which need not be asked for any.
REGIONLESS = frozenset(
    name for name in PLAIN if name.startswith(("stablehlo.", "mhlo.")) and name not in CAPTURING
)


def not_plain(op: Any) -> list[Any]:
    """The ops inside ``op``, itself included, but for the `PLAIN` ones, which are most of a program; in pre-order.

    Blocks are looked through from here, which takes less time than a native walk that calls back for each op.
    """
    found = [] if op.name in PLAIN else [op]
    _collect_not_plain(op, found)
    return found


def _collect_not_plain(op: Any, found: list[Any]) -> None:
    for region in op.regions:
        for block in region:
            for view in block:
                name = view.name
                if name not in REGIONLESS:
                    inner = view.operation
                    if name not in PLAIN:
                        found.append(inner)
                    _collect_not_plain(inner, found)


_SYMBOL = re.compile(r'@(?:"((?:[^"\\]|\\.)*)"|([\w$.-]+))')


def rule(name: str) -> Rule:
    """The rule for ops called ``name``; `Effect.EFFECT` for an op the table does not know."""
    found = RULES.get(name)
    if found is None:
        return Effect.PURE if name.partition(".")[0] in PURE_DIALECTS else Effect.EFFECT
    return found


def is_known(name: str) -> bool:
    """Whether the table has a word on ops called ``name``; what an unknown op's regions mean is unknown too."""
    return name in RULES or name.partition(".")[0] in PURE_DIALECTS


def own_effect(op: Any) -> Effect:
    """What ``op`` does outside its regions and callees."""
    found = rule(op.name)
    return found if isinstance(found, Effect) else found(op)


def callees(op: Any) -> list[str]:
    """The names of the functions ``op`` refers to.

    For an op the table does not know that is every symbol in its attributes, because any of them may be a function.
    """
    name = op.name
    if name not in CALLEE_ATTRIBUTES and is_known(name):
        return []
    return sorted(symbols(attributes(op, CALLEE_ATTRIBUTES.get(name))))


def attributes(op: Any, names: Iterable[str] | None = None) -> list[Any]:
    """The attributes of ``op`` (those called ``names``, if given), but for dense complex numbers.

    The bindings cannot hand those out and raise TypeError.
    """
    found = op.attributes
    result = []
    for name in found if names is None else [name for name in names if name in found]:
        try:
            result.append(found[name])
        except TypeError:
            continue
    return result


def symbols(among: Iterable[Any]) -> set[str]:
    """The symbols that occur in the attributes ``among``, in strings inside them too; each one is looked at once."""
    opaque = (_mlir.ir.DenseElementsAttr, _mlir.ir.DenseResourceElementsAttr)
    return {
        quoted or plain
        for attribute in set(among)
        if not isinstance(attribute, opaque)
        for quoted, plain in _SYMBOL.findall(str(attribute))
    }


class Effects:
    """The effects of the ops of one module.

    Functions are summarized on the first question about a call of them, once each, with all that they call; the
    summaries stay right while ops are only merged or removed, since that adds no effect.

    Args:
      module: The module operation.
      kept: Names of ops to take for effects whatever the table says.
    """

    def __init__(self, module: Any, kept: frozenset[str] = frozenset()) -> None:
        self._module = module
        self._kept = kept
        self._summaries: dict[str, Effect] = {}

    def of(self, op: Any) -> Effect:
        """What ``op`` does, regions and callees included."""
        return self.with_regions(op, (self.of(inner.operation) for region in op.regions
                                      for block in region for inner in block))

    def with_regions(self, op: Any, inside: Iterable[Effect]) -> Effect:
        """`of` for a caller that knows the effects of the ops in ``op``'s regions."""
        own = Effect.EFFECT if op.name in self._kept else own_effect(op)
        if own in (Effect.EFFECT, Effect.ANNOTATION):
            return own
        return worst((own, *self._of_callees(op), *inside))

    def _of_callees(self, op: Any) -> list[Effect]:
        if op.name not in CALLEE_ATTRIBUTES:
            return []
        called = callees(op)
        self._summarize(called)
        return [self._summaries[name] for name in called]

    def _summarize(self, names: list[str]) -> None:
        """Adds what is missing of these functions: each one's own effect, spread from callees to callers, worst first.

        Recursion needs no care: a function in a cycle ends with the worst effect found anywhere in the cycle.
        """
        callers: dict[str, list[str]] = defaultdict(list)
        found: set[str] = set()
        pending = list(names)
        while pending:
            name = pending.pop()
            found.add(name)
            if name in self._summaries:
                continue
            self._summaries[name], called = self._own_summary(self._functions.get(name))
            for callee in called:
                callers[callee].append(name)
            pending += called
        for effect in (Effect.EFFECT, Effect.UNIQUE):
            reached = [name for name in found if self._summaries[name] is effect]
            while reached:
                for caller in callers[reached.pop()]:
                    if self._summaries[caller].value < effect.value:
                        self._summaries[caller] = effect
                        reached.append(caller)

    @cached_property
    def _functions(self) -> dict[str, Any]:
        top = (view.operation for view in self._module.regions[0].blocks[0])
        return {_mlir.ir.StringAttr(op.attributes["sym_name"]).value: op for op in top if op.name == "func.func"}

    def _own_summary(self, function: Any) -> tuple[Effect, set[str]]:
        """The effect of the ops in ``function``, without those of the functions they refer to, and these."""
        if function is None or not len(function.regions[0].blocks):
            return Effect.EFFECT, set()
        found: set[Effect] = set()
        called: set[str] = set()
        for op in not_plain(function):
            if op.name != "func.func":
                found.add(Effect.EFFECT if op.name in self._kept else own_effect(op))
                called.update(callees(op))
        return worst(found), called
