"""In which order propagation has to hear of the actions of a plan, and where no order will do.

An action is heard after those before it that want its axis in some op or value, so that propagation, too, leaves the
axis to them.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence

from passes.autoshard.classes import Classes, Ops
from passes.autoshard.plans import Action, Layout, Plan, about, allot


class Rounds:
    """Rounds of propagation for plans of one program on one mesh."""

    def __init__(self, classes: Classes, axis_sizes: Sequence[int]) -> None:
        self._classes, self._axis_sizes = classes, axis_sizes
        # Pairs of colours that are in one op, and in how many.
        self._meetings: Counter[tuple[int, int]] = Counter()
        for ops in classes.ops:
            for pair in itertools.permutations(ops.colours, 2):
                self._meetings[pair] += ops.times

    def of_values(self, number: int, layout: Layout, plan: Plan) -> tuple[int, ...]:
        """For each dimension of the values of class ``number``, which lie by ``layout``, its round."""
        return tuple([at for _, at in self._chosen(number, layout, self._of_actions(plan))])

    def in_doubt(self, layouts: dict[int, Layout], plan: Plan) -> bool:
        """Whether propagation may split some ops otherwise than the model does.

        A dimension of an argument that is split by several actions has one round for all; and where an op gives the
        major axis of a dimension to another action, propagation does not keep the minor one.

        Args:
          layouts: Of each class of arguments.
          plan: The plan.
        """
        rounds = self._of_actions(plan)
        return any(
            ops for k, layout in layouts.items() for ops, _ in self._chosen(k, layout, rounds)
        ) or any(self._without_major(ops, plan) for ops in self._classes.ops)

    def _without_major(self, ops: Ops, plan: Plan) -> bool:
        """Whether some dimension is split over a minor axis alone."""
        own = about(plan, ops.colours)
        layout = allot(self._axis_sizes, ops.use.factors, ops.use.rule.sizes, own)
        return any(
            axes and axes != tuple(axis for c, axis in own if c == colour)[: len(axes)]
            for colour, axes in zip(ops.use.factors, layout, strict=True)
        )

    def _chosen(self, number: int, layout: Layout, rounds: dict[Action, int]) -> list[tuple[int, int]]:
        colours = self._classes.values[number].colours
        dims = [[(colours[d], axis) for axis in axes] for d, axes in enumerate(layout)]
        return [self._one([a for a in actions if a in rounds], rounds) for actions in dims]

    def _of_actions(self, plan: Plan) -> dict[Action, int]:
        rounds: dict[Action, int] = {}
        for action in plan:
            rounds[action] = max([at for other, at in rounds.items() if self._rivalry(action, other)], default=-1) + 1
        return rounds

    def _rivalry(self, one: Action, other: Action) -> int:
        """In how many ops two actions want one axis."""
        return self._meetings[one[0], other[0]] if one[1] == other[1] and one != other else 0

    def _one(self, actions: list[Action], rounds: dict[Action, int]) -> tuple[int, int]:
        """The round for a dimension: that in which rivals change places with its actions in fewest ops; these first."""
        def overtaken(chosen: int) -> int:
            return sum(
                self._rivalry(action, other) for action in actions for other, at in rounds.items()
                if (rounds[action] < at, rounds[action] > at) != (chosen < at, chosen > at)
            )

        return min(((overtaken(rounds[a]), rounds[a]) for a in actions), default=(0, 0))
