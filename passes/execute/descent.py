"""Goes into the loop or branch that a search found wrong: the iteration, or the branch taken, and the op inside.

The regions of the global program and of the traced one run side by side. ``isolated``: every iteration of the traced
loop takes what the global one carried; ``accumulated``: it takes what its own iterations carried. The first one that
returns something else is walked op by op, like a program, and so on into what it holds.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from passes.execute import regions, stepwise
from passes.execute.compare import Level
from passes.execute.executor import Shards
from passes.execute.findings import Finding, place_of
from passes.execute.golden import Golden
from passes.execute.shards import compare_shards
from passes.execute.stepwise import Step, Steps
from passes.execute.traced import Frame, Traced
from passes.execute.verify import cut
from passes.execute.walk import Walk
from passes.partition.trace import number_of
from passes.sharding.mesh import Sharding


def descend(walk: Walk, found: Finding) -> Finding:
    """``found``, or the op that is wrong inside the loop or branch that ``found`` names."""
    if found.index >= len(walk.steps.steps):
        return found
    step = walk.steps.steps[found.index]
    twin, enter = walk.traced.twin(step), _ENTER.get(step.name)
    if enter is None or twin is None or not _alike(walk, twin, step):
        return found
    return enter(walk, twin, step, found)


def _alike(walk: Walk, twin: Step, step: Step) -> bool:
    """Whether the regions of two ops take and return the same, so that they can be compared."""
    same = twin.name == step.name and len(twin.op.operands) == len(step.op.operands)
    return same and all(value in walk.known for value in step.outputs)


def _into_loop(walk: Walk, twin: Step, step: Step, found: Finding) -> Finding:
    count = len(step.op.operands)
    carry = [walk.golden.load(v) for v in twin.taken[:count]]
    local = [walk.shards(v) for v in step.taken[:count]]
    truth = (("condition", Sharding(walk.frame.mesh, ())),)
    condition = _Region.of(walk, twin, step, regions.CONDITION, truth)
    body = _Region.of(walk, twin, step, regions.BODY, _results(walk, step))
    if not (condition.runnable() and body.runnable()):
        return found
    for number in itertools.count():
        for region in (condition, body):
            expected, got = region.expected(carry), region.got(local)
            wrong = region.differs(expected, got, found.comparison.level)
            inside = region.search(carry, local) if wrong else None
            if inside is not None:
                part = "the condition of " if region is condition else ""
                return inside.inside(f"{part}iteration {number} of {place_of(walk.steps, step)}")
            if region is condition and not expected[0]:
                hint = f"each of its {number} iterations is right by itself; what is wrong adds up"
                return replace(found, hints=(*found.hints, hint))
        carry = expected
        # After an iteration whose ops are right by themselves, as after such an op.
        local = body.cut(expected) if walk.mode == "isolated" or wrong else got
    raise AssertionError


def _into_branch(walk: Walk, twin: Step, step: Step, found: Finding) -> Finding:
    index = regions.branch(step, walk.golden.load(twin.taken[0]))
    region = _Region.of(walk, twin, step, index, _results(walk, step))
    inside = region.search([], []) if region.runnable() else None
    return found if inside is None else inside.inside(f"branch {index} of {place_of(walk.steps, step)}")


_ENTER: dict[str, Callable[[Walk, Step, Step, Finding], Finding]] = {
    "stablehlo.while": _into_loop, "stablehlo.case": _into_branch, "stablehlo.if": _into_branch,
}


def _results(walk: Walk, step: Step) -> tuple[tuple[str, Sharding], ...]:
    """What a region of ``step`` returns, as its results lie."""
    return tuple((f"result {n}", walk.known[v][1].sharding) for n, v in enumerate(step.outputs))


@dataclass(frozen=True)
class _Region:
    """A region of the global program beside that of the traced one.

    Attributes:
      walk: The walk through what is around it.
      golden: The global one's ops.
      outside: Values around it that are its last arguments, by their numbers there.
      traced: The ops of the traced one, and what they stand for.
      taken: The same for the traced one.
    """

    walk: Walk
    golden: Steps
    outside: tuple[int, ...]
    traced: Traced
    taken: tuple[int, ...]

    @staticmethod
    def of(walk: Walk, twin: Step, step: Step, index: int, results: tuple[tuple[str, Sharding], ...]) -> _Region:
        """Region ``index`` of both."""
        steps, taken = stepwise.region(walk.steps, step, index)
        golden, outside = stepwise.region(
            walk.golden.steps, twin, index, [walk.known[v][0] for v in taken if v in walk.known]
        )
        carried = golden.arguments - len(outside)
        place = {value: carried + n for n, value in enumerate(outside)}
        layouts = [walk.known[v][1].sharding for v in step.outputs]
        frame = Frame(
            walk.frame.mesh,
            (
                *((n, layouts[n]) for n in range(carried)),
                *((place[walk.known[v][0]], walk.known[v][1].sharding) if v in walk.known else None for v in taken),
            ),
            results,
            (*(f"carried value {n}" for n in range(carried)), *(f"outer value {v}" for v in outside)),
            {key: place[value] for value in outside for key in _marks_of(walk, value)},
        )
        return _Region(walk, golden, outside, Traced(steps, golden, frame), taken)

    def runnable(self) -> bool:
        """Whether all that goes in and comes out can be handed over."""
        return regions.runnable(self.golden) and regions.runnable(self.traced.steps)

    def expected(self, carry: list[np.ndarray]) -> list[np.ndarray]:
        """What the global region returns."""
        return self._evaluate(carry, whole=False).results()

    def _evaluate(self, carry: list[np.ndarray], *, whole: bool) -> Golden:
        return regions.evaluate(
            self.walk.golden, self.golden, self.outside, carry, self.walk.executor, whole=whole
        )

    def got(self, local: Shards) -> Shards:
        """What the traced region returns."""
        steps, arguments = self.traced.steps, self._arguments(local)
        made = [v for v in dict.fromkeys(steps.returned) if v >= steps.arguments]
        found = dict(enumerate(arguments))
        if made:
            module = stepwise.fragment(steps, steps.steps, made)
            inputs = [arguments[v] for v in module.arguments]
            results = self.walk.executor.run_per_device(module.program, inputs, self.walk.devices)
            found.update(zip(made, results, strict=True))
        return [found[v] for v in steps.returned]

    def _arguments(self, local: Shards) -> Shards:
        return [*local, *(self.walk.shards(v) for v in self.taken)]

    def cut(self, values: list[np.ndarray]) -> Shards:
        """Returned values as the devices should hold them."""
        return [cut(value, how) for value, (_, how) in zip(values, self.traced.frame.results, strict=True)]

    def differs(self, expected: list[np.ndarray], got: Shards, level: Level) -> bool:
        """Whether what the devices returned is refused at ``level``."""
        for value, shards, (name, how) in zip(expected, got, self.traced.frame.results, strict=True):
            compared = compare_shards(name, value, how, shards, level, self.walk.tolerance)
            if compared is not None and not compared.ok:
                return True
        return False

    def search(self, carry: list[np.ndarray], local: Shards) -> Finding | None:
        """The first op inside that is wrong on these values."""
        walk = self.walk
        golden = self._evaluate(carry, whole=True)
        inner = Walk(golden, self.traced, self._arguments(local), walk.mode, walk.executor, walk.exact)
        found = inner.finish(lambda done, total: None)
        walk.checked += inner.checked
        walk.drifted += inner.drifted
        return None if found is None else descend(inner, found)


def _marks_of(walk: Walk, value: int) -> list[tuple[int | None, int]]:
    """What marks in the traced program say that stand for a golden value."""
    steps, outside = walk.golden.steps, walk.frame.outside
    maker = steps.maker(value)
    if maker is not None:
        step = steps.steps[maker]
        return [(number_of(step.op), value - step.outputs[0])]
    return [(None, value)] if outside is None else [key for key, place in outside.items() if place == value]
