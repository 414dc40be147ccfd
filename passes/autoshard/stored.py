"""The plan that stores every argument in as many shards as there are devices: fully sharded data parallelism.

It is found by what is split and not by names, so that any program has one. Once lowered it costs what the model says,
nearly, for little moves but what is gathered before it is used; of plans that look better the model promises more.
"""

from __future__ import annotations

from collections import Counter

from passes.autoshard.model import Model
from passes.autoshard.plans import Action, Plan

# Work is split as well as it can be with at most this much more.
_CLOSE = 1.01


def stored(model: Model) -> Plan:
    """The plan whose first actions split the work, axis by axis, and whose others split what is still whole."""
    plan: Plan = ()
    for axis in sorted(range(len(model.axis_sizes)), key=lambda axis: -model.axis_sizes[axis]):
        grown = [(model.price((*plan, action)), action) for action in model.actions if action[1] == axis]
        least = min([price.local for price, _ in grown], default=0.0)
        close = [(price.seconds, action) for price, action in grown if price.local <= _CLOSE * least]
        plan += tuple([action for _, action in sorted(close)[:1]])
    return (*plan, *[action for action in by_bytes(model) if action not in plan])


def by_bytes(model: Model) -> list[Action]:
    """The actions of ``model``, those first that split most of its arguments."""
    size: Counter[int] = Counter()
    for k, count in model.occupancy.arguments.items():
        values = model.classes.values[k]
        for c in set(values.colours):
            size[c] += count * values.bytes
    return sorted(model.actions, key=lambda action: (-size[action[0]], action))
