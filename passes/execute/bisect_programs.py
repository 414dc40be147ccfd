"""Finds the op of a transformed global program, or the pass of a pipeline, at which results begin to differ.

Two programs are matched by content: a value of the transformed one is right if any value of the original has its type
and bits. From a result that differs the search walks back through values that are not right; the first op among these
takes nothing but right values and makes something else.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from passes import _mlir
from passes.execute import golden as golden_values
from passes.execute import inputs as input_kinds
from passes.execute import regions, stepwise
from passes.execute.arrays import TensorType, mlir_name
from passes.execute.compare import BIT_EQUAL, Comparison, Level, compare
from passes.execute.distance import Figures
from passes.execute.executor import Executor, signature
from passes.execute.findings import Finding, Outcome, Reproduction, place_of
from passes.execute.golden import Golden, Progress
from passes.execute.stepwise import Step
from passes.execute.store import Store
from passes.pipeline import execution, runner, textual
from passes.program import read, write
from passes.program.entry import find_entry, results
from passes.program.read import Program

MODE = "content"


def search_programs(
    original: Program,
    transformed: Program,
    *,
    store: Store,
    entry: str | None = None,
    inputs: str = "normal",
    seed: int = 0,
    level: Level = BIT_EQUAL,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """The first op of ``transformed`` that makes a wrong value some result depends on; none if the results are equal.

    Args:
      store: Keeps the values of both programs; those they share are computed once.
      level: How equal results must be.

    Raises:
      UserError: the programs have different signatures, or an op cannot be executed.
      NativeFailure: the engine died.
    """
    executor = executor or Executor()
    if signature(original, entry) != signature(transformed, entry):
        raise transformed.error(f"the programs cannot be compared: {original.source} has another signature")
    given = input_kinds.make(original, inputs, seed, entry=entry)
    expected, got = (
        golden_values.evaluate(
            stepwise.take_apart(stepwise.inlined(p, entry), entry), given.arrays, store, executor, progress=progress
        )
        for p in (original, transformed)
    )
    how = f"one device ({executor.title}), {given.description}, values matched by content"
    names = [v.name for v in results(find_entry(original, entry))]
    for index, name in enumerate(names):
        compared = compare(
            name, expected.load(expected.steps.returned[index]), got.load(got.steps.returned[index]), level
        )
        if not compared.ok:
            found = _Match(expected, got, executor).finding(index, compared)
            return Outcome(found, len(got.steps.steps), (), how)
    return Outcome(None, len(got.steps.steps), (), how)


class _Match:
    """Two runs on the same inputs, and which values of the second the first has too."""

    def __init__(self, expected: Golden, got: Golden, executor: Executor) -> None:
        self.expected, self.got, self.executor = expected, got, executor
        self.right = {
            expected.digest(v) for v in (*range(expected.steps.arguments), *expected.kept)
        }

    def is_right(self, value: int) -> bool:
        """Whether the original has the value; one that was not kept counts, for it is no array."""
        return value not in self.got.kept or self.got.digest(value) in self.right

    def finding(self, index: int, compared: Comparison) -> Finding:
        """The first wrong op behind result ``index``, which ``compared`` refused."""
        value = self.got.steps.returned[index]
        if value < self.got.steps.arguments or self.is_right(value):
            hint = f"result {index} ({compared.name}) is another value of the original than it should be"
            return Finding(
                "func.return", "", None, index, len(self.got.steps.steps), "", compared, MODE, hints=(hint,)
            )
        step = self._first_wrong(value)
        twin = self._twin(step)
        return self._inside(step, twin) or self._describe(step, twin)

    def _first_wrong(self, value: int) -> Step:
        steps = self.got.steps
        makers, waiting = set(), [value]
        while waiting:
            maker = steps.maker(waiting.pop())
            if maker is not None and maker not in makers:
                makers.add(maker)
                waiting += [v for v in steps.steps[maker].inputs if v >= steps.arguments and not self.is_right(v)]
        return steps.steps[min(makers)]

    def _inside(self, step: Step, twin: Step | None) -> Finding | None:
        """The first wrong op inside a loop or branch that takes what its twin does; ``None`` if there is none."""
        enter = _ENTER.get(step.name)
        if enter is None or twin is None or twin.name != step.name or not self._take_the_same(step, twin):
            return None
        both = ((self.expected, twin), (self.got, step))
        taken_apart = (stepwise.region(g.steps, s, i)[0] for g, s in both for i in range(len(s.op.regions)))
        return enter(self, step, twin) if all(map(regions.runnable, taken_apart)) else None

    def _take_the_same(self, step: Step, twin: Step) -> bool:
        mine, theirs = (op.taken[: len(op.op.operands)] for op in (step, twin))
        return [self.got.digest(v) for v in mine] == [self.expected.digest(v) for v in theirs]

    def _into_loop(self, step: Step, twin: Step) -> Finding | None:
        place = place_of(self.got.steps, step)
        carry = [self.expected.load(v) for v in twin.taken[: len(twin.op.operands)]]
        for number in itertools.count():
            (go_on,), found = self._region(step, twin, regions.CONDITION, carry)
            if found is not None:
                return found.inside(f"the condition of iteration {number} of {place}")
            if not go_on:
                return None
            carry, found = self._region(step, twin, regions.BODY, carry)
            if found is not None:
                return found.inside(f"iteration {number} of {place}")
        raise AssertionError

    def _into_branch(self, step: Step, twin: Step) -> Finding | None:
        index = regions.branch(twin, self.expected.load(twin.taken[0]))
        found = self._region(step, twin, index, [])[1]
        return found and found.inside(f"branch {index} of {place_of(self.got.steps, step)}")

    def _region(
        self, step: Step, twin: Step, index: int, carry: list[np.ndarray]
    ) -> tuple[list[np.ndarray], Finding | None]:
        """What the original's region returns on ``carry``, and the first op that is wrong in the other one."""
        taken_apart = [stepwise.region(g.steps, s, index) for g, s in ((self.expected, twin), (self.got, step))]

        def run(whole: bool) -> list[Golden]:
            return [
                regions.evaluate(golden, *region, carry, self.executor, whole=whole)
                for golden, region in zip((self.expected, self.got), taken_apart, strict=True)
            ]

        expected, got = (golden.results() for golden in run(whole=False))
        for result, (a, b) in enumerate(zip(expected, got, strict=True)):
            compared = compare(f"result {result}", a, b, BIT_EQUAL)
            if not compared.ok:
                one, other = run(whole=True)
                return expected, _Match(one, other, self.executor).finding(result, compared)
        return expected, None

    def _describe(self, step: Step, twin: Step | None) -> Finding:
        value = next(v for v in step.outputs if not self.is_right(v))
        result = value - step.outputs[0]
        array = self.got.load(value)
        expected = None if twin is None else self.expected.load(twin.outputs[result])
        type = str(TensorType(array.shape, mlir_name(array.dtype)))
        if expected is None:
            reason = "no value of the original is equal to it"
            apart = Figures(array.size, array.size, pcc=None)
            compared = Comparison(f"result {result}", type, BIT_EQUAL, apart, reason)
        else:
            compared = compare(f"result {result}", expected, array, BIT_EQUAL)
        place = place_of(self.got.steps, step)
        module = stepwise.fragment(self.got.steps, [step], list(step.outputs))
        inputs = [[self.got.load(v)] for v in module.arguments]
        return Finding(
            place.name, place.where, None if twin is None else twin.index, result, step.index,
            "" if twin is None else twin.name, compared, MODE, hints=self._hints(step, twin),
            reproduction=Reproduction(
                module.program, inputs, [] if expected is None else [expected], [array], result, 1
            ),
        )

    def _twin(self, step: Step) -> Step | None:
        """The op of the original that ``step`` probably was: of its types, most like it in operands, name and label."""

        def types(golden: Golden, step: Step) -> list[str]:
            return [str(golden.steps.values[v].type) for v in step.outputs]

        label, wanted = _mlir.name_of(step.op.location), types(self.got, step)
        taken = [self.got.digest(v) for v in step.taken]
        best: tuple[int, Step] | None = None
        for other in self.expected.steps.steps:
            alike = other.name == step.name, bool(label) and _mlir.name_of(other.op.location) == label
            if not any(alike) or types(self.expected, other) != wanted:
                continue
            score = sum(alike) + 2 * sum(a == self.expected.digest(v) for a, v in zip(taken, other.taken, strict=False))
            if score > 1 and (best is None or score > best[0]):
                best = score, other
        return None if best is None else best[1]

    def _hints(self, step: Step, twin: Step | None) -> tuple[str, ...]:
        if twin is None or len(step.taken) != len(twin.taken):
            return ()
        found = []
        for index, (mine, theirs) in enumerate(zip(step.taken, twin.taken, strict=True)):
            if self.got.digest(mine) != self.expected.digest(theirs):
                maker = self.expected.steps.maker(theirs)
                what = (
                    f"argument {theirs}" if maker is None
                    else str(place_of(self.expected.steps, self.expected.steps.steps[maker]))
                )
                found.append(f"operand {index} should be what the original makes with {what}")
        return tuple(found)


_ENTER: dict[str, Callable[[_Match, Step, Step], Finding | None]] = {
    "stablehlo.while": _Match._into_loop, "stablehlo.case": _Match._into_branch, "stablehlo.if": _Match._into_branch,
}


@dataclass(frozen=True)
class PassFinding:
    """The first pass of a pipeline that changed the results.

    Attributes:
      index: Its position, from 0.
      text: The pipeline of it alone.
      before: The program before it.
      after: The program after it.
      comparison: The first result that differs.
      same_signature: Whether it left the number of results and their types.
    """

    index: int
    text: str
    before: Program
    after: Program
    comparison: Comparison
    same_signature: bool


def search_pipeline(
    program: Program,
    pipeline: str,
    *,
    entry: str | None = None,
    inputs: str = "normal",
    seed: int = 0,
    level: Level = BIT_EQUAL,
    executor: Executor | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> PassFinding | None:
    """Runs ``pipeline`` pass by pass and executes what each leaves; ``None`` if no pass changes the results.

    Args:
      say: Called with a line about each pass.

    Raises:
      UserError: the pipeline is malformed, a pass fails, or a program cannot be executed.
      NativeFailure: a pass or the engine died.
    """
    executor = executor or Executor()
    given = input_kinds.make(program, inputs, seed, entry=entry)
    names = [v.name for v in results(find_entry(program, entry))]
    expected = executor.run_global(program, given.arrays, entry=entry)
    before = write.to_bytecode(program.module)
    for index, unit in enumerate(execution.units(textual.parse(pipeline))):
        current = read.parse(before, program.source)
        runner.run(current, unit.text())
        after = write.to_bytecode(current.module)
        if after == before:
            say(f"{unit.use}: changes nothing")
            continue
        got = executor.run_global(current, given.arrays, entry=entry)
        wrong = _first_refused(names, expected, got, level)
        say(f"{unit.use}: {'results differ' if wrong else 'results equal'}")
        if wrong:
            same = [(a.shape, a.dtype) for a in got] == [(a.shape, a.dtype) for a in expected]
            return PassFinding(index, unit.text(), read.parse(before, program.source), current, wrong, same)
        before = after
    return None


def _first_refused(
    names: list[str], expected: list[np.ndarray], got: list[np.ndarray], level: Level
) -> Comparison | None:
    if len(expected) != len(got):
        reason = f"the program returns {len(got)} values instead of {len(expected)}"
        return Comparison("", "", level, Figures(0), reason)
    compared: Any = (compare(n, a, b, level) for n, a, b in zip(names, expected, got, strict=True))
    return next((c for c in compared if not c.ok), None)
