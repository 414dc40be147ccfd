"""Runs a traced per-device program, or a region of one, op by op and holds each value to the golden one.

Every op of a traced program (`partition.trace`) says which value of the global program its results are, and how they
lie. The per-device program runs op by op on virtual devices and each of those results is compared, shard by shard, with
the golden value. ``isolated``: what an op takes comes from the golden values, so nothing but the op itself and the
unmarked ops before it can be wrong. ``accumulated``: it takes what the ops before it made, as in a real run; an op that
fails there is tried in isolation too, for it may only amplify the rounding of others.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace
from typing import Literal

import ml_dtypes
import numpy as np

from passes.execute import stepwise
from passes.execute.compare import BIT_EQUAL, CLOSE, Comparison, Level, Tolerance, compare
from passes.execute.distance import Figures, is_float
from passes.execute.executor import Executor, Shards
from passes.execute.findings import Finding, Place, Reproduction, place_of
from passes.execute.golden import Golden, Progress
from passes.execute.noise import computed_in, rounding_noise
from passes.execute.shards import combine, compare_shards, fits, same_array, type_of
from passes.execute.stepwise import Step
from passes.execute.traced import Traced
from passes.execute.verify import assemble, cut
from passes.partition.trace import Held, number_of
from passes.program import purity
from passes.program.read import Program

Mode = Literal["isolated", "accumulated"]

# Ops whose rounding depends on the order of evaluation, or that hold such ops. Results of all others are the same bits
# on the same operands, in whatever parts they are computed.
_SUMS = frozenset(f"stablehlo.{name}" for name in (
    "all_reduce", "batch_norm_grad", "batch_norm_inference", "batch_norm_training", "case", "cholesky", "composite",
    "convolution", "custom_call", "dot", "dot_general", "fft", "if", "reduce", "reduce_scatter", "reduce_window",
    "scatter", "select_and_scatter", "triangular_solve", "while",
)) | {"func.call"}

# Types in which a sum of small integers rounds nowhere, whatever it passes through.
_WIDE = frozenset({"float32", "float64"})
_EXACT_BELOW = 2**23


# A value of the traced program by number -> its shards by device.
_Actual = dict[int, list[np.ndarray]]


class Walk:
    """One pass over a traced block.

    Attributes:
      actual: Values that later ops take, by device; at first the arguments.
      equal: Values found bit-equal to their golden ones.
      checked: How many values were compared.
      drifted: Ops that differ by more than their type allows though they are right by themselves.
    """

    def __init__(
        self, golden: Golden, traced: Traced, arguments: Shards, mode: Mode, executor: Executor, exact: bool
    ) -> None:
        self.golden, self.traced, self.mode, self.executor, self.exact = golden, traced, mode, executor, exact
        self.steps, self.frame = traced.steps, traced.frame
        self.known, self.partial = traced.known, traced.partial
        self.devices = self.frame.mesh.device_count
        self.tolerance: Tolerance | None = computed_in(golden.steps.program)
        self.actual: _Actual = dict(enumerate(arguments))
        self.equal = {v for v, shards in self.actual.items() if v in self.known and self._is_golden(v, shards)}
        self.checked = 0
        self.drifted: list[Place] = []

    def _is_golden(self, value: int, shards: list[np.ndarray]) -> bool:
        return all(map(same_array, shards, self._golden_shards(value)))

    # -- running -----------------------------------------------------------------------------------------------------

    def finish(self, progress: Progress) -> Finding | None:
        """Runs group after group until something differs."""
        waiting = deque(stepwise.groups(self.steps))
        while waiting:
            group = waiting.popleft()
            self._run(group)
            for position, step in enumerate(group):
                found = self._judge_step(step)
                if found is None:
                    continue
                if not found.excused:
                    return found
                # Right by itself: go on with what it should have been, so that what follows is judged by itself too.
                self.drifted.append(self._place(step))
                self._correct(step)
                group, rest = group[: position + 1], group[position + 1 :]
                if rest:
                    waiting.appendleft(rest)
                break
            self._forget(group)
            progress(group[-1].index + 1, len(self.steps.steps))
        return self._judge_returned()

    def _run(self, group: list[Step]) -> None:
        fed = self.known if self.mode == "isolated" else ()
        wanted = [v for step in group for v in step.outputs if self.steps.type(v) is not None]
        module = stepwise.fragment(self.steps, group, wanted, fed)
        got = self._execute(module.program, [self.shards(v) for v in module.arguments])
        self.actual.update(zip(wanted, got, strict=True))

    def _execute(self, program: Program, inputs: Shards) -> Shards:
        return self.executor.run_per_device(program, inputs, self.devices)

    def shards(self, value: int) -> list[np.ndarray]:
        """What an op that takes ``value`` is fed."""
        return self._golden_shards(value) if self.mode == "isolated" and value in self.known else self.actual[value]

    def _golden_shards(self, value: int) -> list[np.ndarray]:
        number, mark = self.known[value]
        return cut(self.golden.load(number), mark.sharding)

    def _correct(self, step: Step) -> None:
        for value in step.outputs:
            if value in self.known:
                self.actual[value] = self._golden_shards(value)
                self.equal.add(value)

    def _forget(self, group: list[Step]) -> None:
        """Frees what no later step takes."""
        end = group[-1].index
        for value in {v for step in group for v in (*step.inputs, *step.outputs)}:
            # An argument that is no golden value can be had from nowhere else.
            if self.steps.last_use[value] <= end and (value >= self.steps.arguments or value in self.known):
                self.actual.pop(value, None)

    # -- judging -----------------------------------------------------------------------------------------------------

    def _judge_step(self, step: Step) -> Finding | None:
        chain = self._chain(step)
        for value in step.outputs:
            if value in self.known and value in self.actual:
                compared = self._judge(value, self.actual[value], self._level(chain, value, self.mode))
                if compared is not None:
                    return self._finding(step, value, chain, compared)
        return None

    def _chain(self, step: Step) -> list[Step]:
        """The unmarked steps whose results reach ``step``, and ``step``."""
        return stepwise.ancestors(self.steps, step, self.known.__contains__)

    def _judge(self, value: int, shards: list[np.ndarray], level: Level) -> Comparison | None:
        """The refusal of a value's shards; ``None`` if they are right."""
        number, mark = self.known[value]
        self.checked += 1
        expected, title = self.golden.load(number), self._title(number)
        compared = compare_shards(title, expected, mark.sharding, shards, level, self._tolerance(number))
        if compared is None or compared.figures.bit_equal:
            self.equal.add(value)
        if compared is None or compared.ok or (level == CLOSE and self._rounding_explains(number, mark, shards)):
            return None
        return compared

    def _rounding_explains(self, number: int, mark: Held, shards: list[np.ndarray]) -> bool:
        """Whether a value is no further off than the original's op moves it when its operands move by a rounding.

        A long sum in a short type depends on its order by far more than its type's precision.
        """
        steps = self.golden.steps
        maker, expected = steps.maker(number), self.golden.load(number)
        if maker is None or not fits(expected, mark.sharding):
            return False
        parts = cut(expected, mark.sharding)
        if any(a.shape != b.shape or a.dtype != b.dtype for a, b in zip(parts, shards, strict=True)):
            return False
        whole = assemble(shards, mark.sharding, expected.shape)
        if not all(map(same_array, cut(whole, mark.sharding), shards)):
            return False
        module = stepwise.fragment(steps, [steps.steps[maker]], [number])
        inputs = [self.golden.load(v) for v in module.arguments]
        noise = []
        for moved in rounding_noise(module.program, inputs, [expected], self.executor, None):
            noise.append(moved[0])
            if compare(self._title(number), expected, whole, CLOSE, noise=noise).ok:
                return True
        return False

    def _tolerance(self, number: int) -> Tolerance | None:
        """What a golden value is held to if that is more than its type's tolerance; ``None`` for no more.

        In a real run roundings add up. A sum of n terms in a short type is off by about sqrt(n) roundings, more if it
        grows until the terms no longer count; wider types hide that behind their own tolerance.
        """
        steps = self.golden.steps
        found = self.tolerance if self.mode == "accumulated" else None
        type, maker = steps.type(number), steps.maker(number)
        if maker is None or type is None or not is_float(type.dtype) or type.dtype.itemsize > 2:
            return found
        taken = [t.count for v in steps.steps[maker].inputs if (t := steps.type(v)) is not None]
        terms = max(taken, default=1) / max(1, type.count)
        far = 2 * math.sqrt(max(1.0, terms)) * float(ml_dtypes.finfo(type.dtype).eps)
        return found if found is not None and found.relative_l2 > far else Tolerance(far, far, 4 * far)

    def _level(self, chain: list[Step], value: int, mode: Mode) -> Level:
        """Equal bits where the order of evaluation cannot matter, else close."""
        taken = {v for step in chain for v in step.inputs if v in self.known}
        if mode == "accumulated" and not taken <= self.equal:
            return CLOSE
        if not any(_sums(step) for step in chain):
            return BIT_EQUAL
        whole = (self.golden.load(self.known[v][0]) for v in (value, *taken))
        return BIT_EQUAL if self.exact and all(map(_holds_integers, whole)) else CLOSE

    def _judge_returned(self) -> Finding | None:
        steps, end = self.steps, len(self.steps.steps)
        for index, (value, (name, sharding)) in enumerate(zip(steps.returned, self.frame.results, strict=True)):
            expected = self.golden.load(self.golden.steps.returned[index])
            level = BIT_EQUAL if value in self.known and (self.mode == "isolated" or value in self.equal) else CLOSE
            self.checked += 1
            compared = compare_shards(
                name, expected, sharding, self.shards(value), level, self.tolerance
            )
            if compared is not None and not compared.ok:
                maker = steps.maker(value)
                chain = self._chain(steps.steps[maker]) if maker is not None and value not in self.known else []
                places = tuple(map(self._place, chain))
                return Finding("func.return", "", None, index, end, "", compared, self.mode, suspects=places)
        return None

    # -- telling -----------------------------------------------------------------------------------------------------

    def _finding(self, step: Step, value: int, chain: list[Step], compared: Comparison) -> Finding:
        alone = self._alone(step, value, chain)
        culprit, reason = step, compared
        for summands, verdict in alone.summands.items():
            if not verdict.ok:
                culprit, reason = summands, verdict
                break
        right = {v for s, verdict in alone.summands.items() if verdict.ok for v in s.outputs}
        suspects = stepwise.ancestors(self.steps, culprit, lambda v: v in self.known or v in right)[:-1]
        _, mark = self.known[value]
        twin = self.traced.by_number.get(mark.number)
        original = twin.name if twin is not None else ""
        place = self._place(culprit)
        return Finding(
            place.name, place.where, mark.number, mark.result, culprit.index, original, reason, self.mode,
            alone.verdict if self.mode == "accumulated" else None,
            tuple(map(self._place, suspects)), tuple(self._hints(alone)), reproduction=alone.reproduction,
        )

    def _alone(self, step: Step, value: int, chain: list[Step]) -> _Alone:
        """Runs ``step`` and the unmarked steps before it on golden values."""
        wanted = [v for s in chain for v in s.outputs if self.steps.type(v) is not None]
        module = stepwise.fragment(self.steps, chain, wanted, self.known)
        inputs = [self._golden_shards(v) if v in self.known else self.actual[v] for v in module.arguments]
        got = dict(zip(wanted, self._execute(module.program, inputs), strict=True))
        number, mark = self.known[value]
        expected, level = self.golden.load(number), self._level(chain, value, "isolated")
        equal = Comparison(self._title(number), type_of(expected), level, Figures(expected.size))
        title, allowed = self._title(number), self._tolerance(number)
        verdict = compare_shards(title, expected, mark.sharding, got[value], level, allowed) or equal
        if level == CLOSE and not verdict.ok and self._rounding_explains(number, mark, got[value]):
            verdict = replace(verdict, reason="")
        summands = {s: v for s in chain[:-1] if (v := self._summands(s, got, level)) is not None}
        shards = cut(expected, mark.sharding) if fits(expected, mark.sharding) else [expected] * self.devices
        outputs = [v for v in step.outputs if v in got]
        returning = stepwise.fragment(self.steps, chain, outputs, self.known).program
        found = Reproduction(returning, inputs, shards, got[value], outputs.index(value), self.devices)
        return _Alone(found, verdict, summands)

    def _summands(self, step: Step, values: _Actual, level: Level) -> Comparison | None:
        """Whether what ``step`` leaves on the devices adds up to the golden value; ``None`` if that is not known."""
        for value in step.outputs:
            if value in self.partial and value in values:
                number, mark = self.partial[value]
                expected = self.golden.load(number)
                whole = combine(values[value], mark, expected.shape)
                if whole is not None:
                    return compare(self._title(number), expected, whole, level, computed_in=self._tolerance(number))
        return None

    def _place(self, step: Step) -> Place:
        return place_of(self.steps, step)

    def _title(self, value: int) -> str:
        """A golden value for readers."""
        maker = self.golden.steps.maker(value)
        if maker is None:
            return self.frame.names[value]
        step = self.golden.steps.steps[maker]
        return f"{step.name} {number_of(step.op)}#{value - step.outputs[0]}"

    def _hints(self, alone: _Alone) -> list[str]:
        """What is known about steps whose results are summands."""
        found = []
        for step, verdict in alone.summands.items():
            mark = next(self.partial[v][1] for v in step.outputs if v in self.partial)
            axes = ", ".join(axis.text(self.frame.mesh) for axis in mark.reduced)
            what = f"{self._place(step)} makes summands of op {mark.number} over {axes}"
            found.append(f"{what}, which are {'right' if verdict.ok else 'wrong'}")
        return found


@dataclass(frozen=True)
class _Alone:
    """A step by itself: the program, the verdict about its result, and about the summands it takes."""

    reproduction: Reproduction
    verdict: Comparison
    summands: dict[Step, Comparison]


def _sums(step: Step) -> bool:
    return step.name in _SUMS or (step.name not in purity.RULES)


def _holds_integers(array: np.ndarray) -> bool:
    """Whether every sum and product of these is exact, with a good deal of room."""
    if not is_float(array.dtype):
        return True
    if array.dtype.name not in _WIDE or array.size == 0:
        return False
    largest = float(np.max(np.abs(array)))
    return math.isfinite(largest) and largest < _EXACT_BELOW and bool(np.all(array == np.rint(array)))


