"""In which order propagation has to hear of the actions of a plan.

An action is heard after those before it that want its axis in some op or value, so that propagation, too, leaves the
axis to them.
"""

from __future__ import annotations

import itertools
from collections import Counter

from passes.autoshard.classes import Classes
from passes.autoshard.plans import Action, Layout, Plan


class Rounds:
    """Rounds of propagation for plans of one program on one mesh."""

    def __init__(self, classes: Classes) -> None:
        self._classes = classes
        # Pairs of colours that are in one op, and in how many.
        self._meetings: Counter[tuple[int, int]] = Counter()
        for ops in classes.ops:
            for pair in itertools.permutations(ops.colours, 2):
                self._meetings[pair] += ops.times

    def of_values(self, number: int, layout: Layout, plan: Plan) -> tuple[int, ...]:
        """For each dimension of the values of class ``number``, which lie by ``layout``, its round."""
        rounds, colours = self._of_actions(plan), self._classes.values[number].colours
        dims = [[(colours[d], axis) for axis in axes] for d, axes in enumerate(layout)]
        return tuple([self._one([a for a in actions if a in rounds], rounds) for actions in dims])

    def _of_actions(self, plan: Plan) -> dict[Action, int]:
        rounds: dict[Action, int] = {}
        for action in plan:
            rounds[action] = max([at for other, at in rounds.items() if self._rivalry(action, other)], default=-1) + 1
        return rounds

    def _rivalry(self, one: Action, other: Action) -> int:
        """In how many ops two actions want one axis."""
        return self._meetings[one[0], other[0]] if one[1] == other[1] and one != other else 0

    def _one(self, actions: list[Action], rounds: dict[Action, int]) -> int:
        """The round for a dimension: that in which rivals change places with its actions in fewest ops."""
        def overtaken(chosen: int) -> int:
            return sum(
                self._rivalry(action, other) for action in actions for other, at in rounds.items()
                if (rounds[action] < at, rounds[action] > at) != (chosen < at, chosen > at)
            )

        return min(((overtaken(rounds[a]), rounds[a]) for a in actions), default=(0, 0))[1]
