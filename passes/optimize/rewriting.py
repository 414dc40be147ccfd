"""Applies rewrite rules to a module in one sweep from the first op to the last.

An op is reached after all it uses, so its operands are in their final form already, and what a rule makes of it is
looked at again at once. What becomes unused goes at once too, so that "nothing else uses it" means just that. Where a
value is left to one op above, rules that wait for this are tried there, and if one applies all is swept again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from passes import _mlir
from passes.optimize.elements import Tensor, describe, splat_attribute, splat_of
from passes.pipeline.base import Counters
from passes.program import purity
from passes.program.walk import operations

Apply = Callable[["Site"], "Any | None"]


@dataclass(frozen=True)
class Rule:
    """One entry of the rule table.

    Attributes:
      name: What statistics, ``skip`` and ``--explain-removed`` call it.
      ops: The ops it looks at, without the dialect (StableHLO's).
      pattern, result: What becomes what, in the notation of the reference page.
      why: Why the result has the same bits.
      apply: Returns the value that replaces the op's result (a list for an op with several), ``True`` if it changed
        the op in place, or ``None`` if the rule does not apply; it has changed nothing then.
      takes: Ops (without the dialect) one of which has to define an operand for the rule to have a chance; without
        any, the rule is tried on every op. Only there to save time.
      needs: The pass option that has to be set for the rule to apply; ``""`` for an exact one.
    """

    name: str
    ops: tuple[str, ...]
    pattern: str
    result: str
    why: str
    apply: Apply
    takes: frozenset[str] = frozenset()
    needs: str = ""


class Site:
    """An op a rule is tried on, with what rules ask again and again.

    Attributes:
      op: The operation.
      name: Its name without the dialect.
      operands: Its operands.
      type: The type of its first result.
      sweep: The sweep it is reached in.
    """

    __slots__ = ("name", "op", "operands", "sweep", "type")

    def __init__(self, op: Any, name: str, operands: list[Any], type: Any, sweep: Sweep) -> None:
        self.op = op
        self.name = name
        self.operands = operands
        self.type = type
        self.sweep = sweep

    @property
    def tensor(self) -> Tensor:
        """The type of the first result as data."""
        return self.sweep.tensor(self.type)

    def tensor_of(self, value: Any) -> Tensor:
        """The type of ``value`` as data."""
        return self.sweep.tensor(value.type)

    @property
    def carries_more(self) -> bool:
        """Whether the op has attributes that are none of its own; what they say would be lost with it."""
        return _carries_more(self.op)

    def maker(self, value: Any, name: str) -> Any | None:
        """The op that defines ``value`` if it is a ``stablehlo`` op called ``name``."""
        found = self.sweep.makers.get(value)
        return found[1] if found is not None and found[0] == name else None

    def maker_of(self, value: Any) -> tuple[str, Any] | None:
        """Name (without the dialect) and op of what defines ``value``, if rules look at ops of that name."""
        return self.sweep.makers.get(value)

    def splat(self, value: Any) -> float | int | bool | None:
        """The number that all elements of ``value`` are known to be."""
        op = self.maker(value, "constant")
        return None if op is None else self.sweep.splat(op)

    def constant(self, value: Any) -> Any | None:
        """The attribute of the constant ``value``."""
        op = self.maker(value, "constant")
        return None if op is None else self.sweep.attribute(op)

    def is_used_once(self, value: Any) -> bool:
        """Whether nothing but one operand of one op uses ``value``."""
        uses = iter(value.uses)
        return next(uses, None) is not None and next(uses, None) is None

    def integers(self, name: str) -> list[int]:
        """The integer-array attribute ``name`` of the op."""
        return list(self.op.attributes[name])

    def create(self, name: str, operands: Sequence[Any], type: Any, **attributes: Any) -> Any:
        """The result of a new StableHLO op right before this one, at its location."""
        return self.sweep.create(self.op, name, operands, type, attributes)

    def copy(self, op: Any, operands: Sequence[Any], type: Any) -> Any:
        """The result of an op like ``op``, attributes and all, on other operands; placed right before this one."""
        attributes = {key: op.attributes[key] for key in op.attributes}
        return self.sweep.create(self.op, op.name.partition(".")[2], operands, type, attributes)

    def unwrap(self, block: Any) -> list[Any] | None:
        """Moves the ops of ``block``, in a region of this op, to the place of this op; returns what the block returns.

        Nothing is moved, and ``None`` returned, if the op carries attributes that would be lost with it.
        """
        return None if self.carries_more else self.sweep.unwrap(self.op, block)

    def fill(self, type: Any, value: float | int | bool) -> Any:
        """A constant of ``type`` with ``value`` everywhere."""
        return self.create("constant", (), type, value=splat_attribute(type, value))

    def shaped(self, shape: Iterable[int], type: Any | None = None) -> Any:
        """The type of the first result (or ``type``) with another shape."""
        element = (self.type if type is None else type).element_type
        return self.sweep.shaped(tuple(shape), element)


def int_array(values: Iterable[int]) -> Any:
    """``values`` as the attribute that dimension lists are."""
    return _mlir.ir.DenseI64ArrayAttr.get(list(values), context=_mlir.context())


class Sweep:
    """One run over a module.

    Attributes:
      makers: What defines a value: the op's name without the dialect and the op. Only of ops with one result, and
        only of those above the current op. Entries go with their ops.
      options: The options of the pass by name.
      annotated: Whether the module carries shardings.
    """

    def __init__(
        self, rules: Mapping[str, Sequence[Rule]], counters: Counters, options: Mapping[str, Any], annotated: bool
    ) -> None:
        self.makers: dict[Any, tuple[str, Any]] = {}
        self.options = options
        self.annotated = annotated
        self._rules = rules
        self._counters = counters
        self._tensors: dict[Any, Tensor] = {}
        self._attributes: dict[Any, Any] = {}
        self._shaped: dict[Any, Any] = {}
        self._splats: dict[Any, float | int | bool | None] = {}
        self._created: list[Any] = []
        self._changes = 0
        # Values that lost a use to what is gone, and are left to one op.
        self._left_to_one: list[Any] = []
        self._chances: dict[tuple[str, ...], tuple[Rule, ...]] = {}

    def function(self, body: Any) -> None:
        """Sweeps the region ``body`` of a function until there is nothing to do."""
        self._region(body)
        while self._look_back():
            self._region(body)

    def _look_back(self) -> bool:
        """Tries the rules for ops that have become the only ones to use a value; returns whether any applied."""
        values, self._left_to_one = self._left_to_one, []
        before = self._changes
        for value in values:
            # One whose op is gone is no key any more.
            if value in self.makers and (use := next(value.uses, None)) is not None:
                self._ops([use.owner])
        return self._changes > before

    def _region(self, region: Any) -> None:
        for block in region:
            self._ops(list(block))

    def _ops(self, waiting: list[Any]) -> None:
        # Popped one by one, because a handle must not outlive an op that is erased.
        waiting.reverse()
        while waiting:
            op = waiting.pop().operation
            dialect, _, name = op.name.partition(".")
            if dialect == "stablehlo":
                waiting += self._visit(op, name)
            elif len(op.regions):
                self._inside(op)

    def _inside(self, op: Any) -> None:
        for region in op.regions:
            self._region(region)

    def _visit(self, op: Any, name: str) -> list[Any]:
        """Tries the rules for ``op``; returns what is to be looked at next, last first."""
        found = self._rewritten(op, name)
        if found is None and name in _WITH_REGIONS:
            # What its regions return may be simple now: the same value from every branch, or what a loop began with.
            found = self._from_inside(op, name)
        if found is not None:
            return found
        results = op.results
        if len(results) == 1:
            self.makers[results[0]] = name, op
        return []

    def _from_inside(self, op: Any, name: str) -> list[Any] | None:
        """`_rewritten` after the regions of ``op``; they are swept again where it changed what they work on."""
        while True:
            self._inside(op)
            before = self._changes
            found = self._rewritten(op, name)
            if found is not None or self._changes == before:
                return found

    def _rewritten(self, op: Any, name: str) -> list[Any] | None:
        """What is to be looked at next in the place of ``op``, last first; ``None`` if the op stays."""
        if name not in self._rules:
            return None
        operands, makers = list(op.operands), self.makers
        key = (name, *(makers[value][0] if value in makers else "" for value in operands))
        rules = self._chances.get(key)
        if rules is None:
            rules = self._chances[key] = self._with_a_chance(*key)
        if not rules:
            return None
        results = op.results
        site = Site(op, name, operands, results[0].type if len(results) else None, self)
        for rule in rules:
            found = rule.apply(site)
            if found is True:
                self._changes += 1
                self._counters.add(rule.name)
            elif found is not None and self._replace(site, rule, found):
                created, self._created = self._created, []
                created.reverse()
                return created
            else:
                self._discard()
        return None

    def _with_a_chance(self, name: str, *makers: str) -> tuple[Rule, ...]:
        """The rules for ops called ``name`` whose operands are made by ops called ``makers``."""
        return tuple(rule for rule in self._rules[name] if not rule.takes or not rule.takes.isdisjoint(makers))

    def _replace(self, site: Site, rule: Rule, found: Any) -> bool:
        """Puts ``found`` in the place of the op's results; declines where that would lose something."""
        values = found if isinstance(found, list) else [found]
        op = site.op
        results = list(op.results)
        if _carries_more(op) or any(a.type != b.type for a, b in zip(results, values, strict=True)):
            return False
        if self.annotated and any(map(_is_grouped, results)):
            return False
        self._changes += 1
        self._counters.add(rule.name)
        self._counters.removed(op, f"{rule.pattern} is {rule.result}")
        for result, value in zip(results, values, strict=True):
            result.replace_all_uses_with(value)
        used = [*site.operands, *(self._forget_inside(op) if site.name in _WITH_REGIONS else ())]
        op.erase()
        for value in used:
            self.release(value)
        return True

    def _forget_inside(self, op: Any) -> list[Any]:
        """Takes what is defined in the regions of ``op`` out of `makers`; returns what they use from outside."""
        inside = operations(op)[1:]
        used = [value for inner in inside for value in inner.operands]
        for inner in inside:
            for result in inner.results:
                self.makers.pop(result, None)
        return [value for value in dict.fromkeys(used) if value in self.makers]

    def release(self, value: Any) -> None:
        """Erases the op that defines ``value`` if nothing uses it any more, and what only that op used."""
        waiting = [value]
        while waiting:
            value = waiting.pop()
            maker = self.makers.get(value)
            if maker is None:
                continue
            uses = value.uses
            first = next(uses, None)
            if first is not None:
                owner = first.owner
                if all(use.owner == owner for use in uses):
                    self._left_to_one.append(value)
                continue
            op = maker[1]
            if op.name not in purity.REGIONLESS:
                continue
            del self.makers[value]
            waiting += op.operands
            self._counters.removed(op, "only what was simplified used it")
            op.erase()

    def _discard(self) -> None:
        """Erases what a rule made before it, or `_replace`, thought better of it."""
        while self._created:
            self._created.pop().erase()

    def create(self, before: Any, name: str, operands: Sequence[Any], type: Any, attributes: dict[str, Any]) -> Any:
        """The result of a new StableHLO op before ``before``."""
        ir = _mlir.ir
        op = ir.Operation.create(
            f"stablehlo.{name}", results=[type], operands=list(operands), attributes=attributes,
            loc=before.location, ip=ir.InsertionPoint(before),
        )
        self._created.append(op)
        return op.result

    def unwrap(self, op: Any, block: Any) -> list[Any]:
        """See `Site.unwrap`."""
        inside = [view.operation for view in block]
        end = inside.pop()
        values = list(end.operands)
        end.erase()
        for inner in inside:
            inner.move_before(op)
        self._created += inside
        return values

    def tensor(self, type: Any) -> Tensor:
        """``type`` as data."""
        found = self._tensors.get(type)
        if found is None:
            found = self._tensors[type] = describe(type)
        return found

    def shaped(self, shape: tuple[int, ...], element: Any) -> Any:
        """The tensor type of this shape and element type."""
        found = self._shaped.get((shape, element))
        if found is None:
            ir = _mlir.ir
            found = ir.RankedTensorType.get(list(shape), element, loc=ir.Location.unknown(element.context))
            self._shaped[shape, element] = found
        return found

    def attribute(self, op: Any) -> Any | None:
        """The value of a constant op; ``None`` for complex numbers, which the bindings cannot hand out."""
        try:
            return op.attributes["value"]
        except TypeError:
            return None

    def splat(self, op: Any) -> float | int | bool | None:
        """The one value of a constant op."""
        attribute = self.attribute(op)
        if attribute not in self._splats:
            self._splats[attribute] = splat_of(attribute)
        return self._splats[attribute]


_WITH_REGIONS = frozenset(name.partition(".")[2] for name in purity.CAPTURING)

# The attributes that belong to the ops rules look at; any other is somebody's note on the op, such as a sharding.
_OWN_ATTRIBUTES = frozenset((
    "broadcast_dimensions", "compare_type", "comparison_direction", "dimension", "dimensions", "edge_padding_high",
    "edge_padding_low", "index", "interior_padding", "iota_dimension", "is_stable", "limit_indices", "permutation",
    "slice_sizes", "start_indices", "strides", "value",
))


def _is_grouped(value: Any) -> bool:
    """Whether ``value`` is in a sharding group; what replaces it may be in another one already."""
    return any(use.owner.name in ("sdy.sharding_group", "stablehlo.custom_call") for use in value.uses)


def _carries_more(op: Any) -> bool:
    """Whether ``op`` has attributes that are none of its own; what they say would be lost."""
    return not _OWN_ATTRIBUTES.issuperset(op.attributes)
