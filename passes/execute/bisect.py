"""Finds the op of a per-device program at which it stops computing what the global program does.

Every op of a traced program (`partition.trace`) says which value of the global program its results are, and how they
lie. The per-device program runs op by op on virtual devices and each of those results is compared, shard by shard, with
the golden value. ``isolated``: what an op takes comes from the golden values, so nothing but the op itself and the
unmarked ops before it can be wrong. ``accumulated``: it takes what the ops before it made, as in a real run; an op that
fails there is tried in isolation too, for it may only amplify the rounding of others.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import ml_dtypes
import numpy as np

from passes.execute import golden as golden_values
from passes.execute import inputs as input_kinds
from passes.execute import stepwise
from passes.execute.arrays import TensorType, mlir_name, same_bits
from passes.execute.compare import BIT_EQUAL, CLOSE, Comparison, Level, Tolerance, compare
from passes.execute.distance import Figures, is_float
from passes.execute.executor import Executor, Shards
from passes.execute.golden import Golden, Progress
from passes.execute.noise import computed_in, rounding_noise
from passes.execute.stepwise import Step, Steps
from passes.execute.store import Store
from passes.execute.verify import assemble, cut
from passes.partition.side_table import SideTable
from passes.partition.trace import Held, held, number_of
from passes.program import purity
from passes.program.read import Program
from passes.sharding.mesh import Sharding

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


@dataclass(frozen=True)
class Place:
    """An op of the traced program: its position in the entry block, its name, and where it comes from."""

    index: int
    name: str
    where: str

    def __str__(self) -> str:
        return f"{self.name} (op {self.index}{f', {self.where}' if self.where else ''})"


@dataclass(frozen=True)
class Reproduction:
    """An op, with the unmarked ops before it, as a program, and what it was run on.

    Attributes:
      program: Its entry ``main`` takes ``inputs`` and returns the op's results.
      inputs: ``inputs[argument][device]``, cut from golden values.
      expected: The golden shards of the result that differs, by device.
      got: What it gave.
      result: Which of the op's results that is.
      devices: How many devices run it.
    """

    program: Program
    inputs: Shards
    expected: list[np.ndarray]
    got: list[np.ndarray]
    result: int
    devices: int


@dataclass(frozen=True)
class Finding:
    """The first op whose result is not what the global program says.

    Attributes:
      op_name: Its name; ``func.return`` if only what is returned differs.
      where: Its place in the source: file position and label.
      number: The number of the op of the global program it stands for; ``None`` for arguments and what is returned.
      result: Which of that op's results, or which argument or returned value.
      index: Its position in the traced program's entry block.
      original: The name of the op it stands for; empty without a number.
      comparison: How the result differs, and on which device.
      mode: How the ops were fed, or ``content`` for two global programs.
      isolated: In mode ``accumulated``, the verdict about the op fed golden values; it failed that, too.
      suspects: Ops between the last values that were right and this one. One of them may be what is wrong.
      hints: What is known about the suspects.
      reproduction: The op by itself; ``None`` for ``func.return``.
    """

    op_name: str
    where: str
    number: int | None
    result: int
    index: int
    original: str
    comparison: Comparison
    mode: str
    isolated: Comparison | None = None
    suspects: tuple[Place, ...] = ()
    hints: tuple[str, ...] = ()
    reproduction: Reproduction | None = field(default=None, repr=False, compare=False)

    @property
    def excused(self) -> bool:
        """Whether the op is right by itself and only passes on what was wrong before it."""
        return self.isolated is not None and self.isolated.ok

    def headline(self) -> str:
        """The op in one line."""
        place = f" at {self.where}" if self.where else ""
        how = "probably was" if self.mode == "content" else "stands for"
        stands = f", which {how} op {self.number} of the original ({self.original})" if self.number is not None else ""
        return f"first difference: {self.op_name} (op {self.index}){place}{stands}"

    def to_json(self) -> dict[str, Any]:
        """The finding as JSON data, without arrays."""
        plain = ("op_name", "where", "number", "result", "index", "original", "mode", "hints")
        return {
            **{key: getattr(self, key) for key in plain},
            "comparison": self.comparison.to_json(),
            "isolated": self.isolated and self.isolated.to_json(),
            "suspects": [vars(place) for place in self.suspects],
        }


@dataclass(frozen=True)
class Outcome:
    """What a search through a program found.

    Attributes:
      finding: The first op that is wrong, if one is.
      checked: How many results were compared.
      drifted: In mode ``accumulated``, ops that differ by more than their type allows though they are right by
        themselves: they amplify the rounding of what they take.
      how: What ran where, on which inputs.
    """

    finding: Finding | None
    checked: int
    drifted: tuple[Place, ...]
    how: str


def bisect_traced(
    numbered: Program,
    traced: Program,
    side_table: SideTable,
    *,
    inputs: str = "exact",
    seed: int = 0,
    mode: Mode = "isolated",
    executor: Executor | None = None,
    store: Store | None = None,
    progress: Progress | None = None,
) -> Finding | None:
    """The first op of a traced per-device program whose result differs from the global program's; ``None`` if none.

    Args: as `search`; raises as it does.
    """
    found = search(
        numbered, traced, side_table, inputs=inputs, seed=seed, mode=mode, executor=executor, store=store,
        progress=progress,
    )
    return found.finding


def search(
    numbered: Program,
    traced: Program,
    side_table: SideTable,
    *,
    inputs: str = "exact",
    seed: int = 0,
    mode: Mode = "isolated",
    executor: Executor | None = None,
    store: Store | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Compares a traced per-device program with the global one, op by op, up to the first difference.

    Args:
      numbered: The global program with its ops numbered, as `partition` reports it.
      traced: The per-device program with its marks.
      side_table: How its arguments and results lie.
      inputs: A kind of `inputs.KINDS`, or a ``.npz`` or ``.npy`` file.
      mode: How ops are fed, see the module.
      store: Keeps golden values; ``None`` for a temporary folder.
      progress: Called while the per-device program runs.

    Raises:
      UserError: the programs and the side table do not belong together, or an op cannot be executed.
      NativeFailure: the engine died.
    """
    if store is None:
        import tempfile

        with tempfile.TemporaryDirectory(prefix="shlo-bisect-") as folder:
            return search(
                numbered, traced, side_table, inputs=inputs, seed=seed, mode=mode, executor=executor,
                store=Store(Path(folder)), progress=progress,
            )
    executor = executor or Executor()
    given = input_kinds.make(numbered, inputs, seed)
    values = golden_values.evaluate(stepwise.take_apart(numbered), given.arrays, store, executor)
    run = _Search(values, stepwise.take_apart(traced), side_table, mode, executor, inputs == "exact")
    how = f"{side_table.mesh.device_count} virtual devices ({executor.title}), {given.description}, {mode}"
    finding = run.finish(progress or (lambda done, total: None))
    return Outcome(finding, run.checked, tuple(run.drifted), how)


# A value of the traced program by number -> its shards by device.
_Actual = dict[int, list[np.ndarray]]


class _Search:
    """One pass over the traced program.

    Attributes:
      known: Value of the traced program -> the golden value it is, and how it lies.
      partial: The same for values that devices hold summands of.
      equal: Values found bit-equal to their golden ones.
    """

    def __init__(
        self, golden: Golden, steps: Steps, table: SideTable, mode: Mode, executor: Executor, exact: bool
    ) -> None:
        self.golden, self.steps, self.table, self.mode, self.executor = golden, steps, table, mode, executor
        self.exact = exact
        self.devices = table.mesh.device_count
        self.tolerance: Tolerance | None = computed_in(golden.steps.program)
        self.by_number = {number_of(s.op): s for s in golden.steps.steps}
        self.known: dict[int, tuple[int, Held]] = {}
        self.partial: dict[int, tuple[int, Held]] = {}
        self.actual: _Actual = {}
        self.equal: set[int] = set()
        self.checked = 0
        self.drifted: list[Place] = []
        self._read_arguments()
        for step in steps.steps:
            self._read_marks(step)
        if steps.steps and len(self.known) == steps.arguments:
            raise steps.program.error(
                "no op says which op of the global program it stands for; write the program with shlo partition --trace"
            )

    def _read_arguments(self) -> None:
        if self.steps.arguments != len(self.table.arguments) or self.steps.arguments != self.golden.steps.arguments:
            raise self.steps.program.error("the program, its side table and the global program differ in arguments")
        for entry in self.table.arguments:
            self.known[entry.index] = entry.index, Held(None, entry.index, entry.sharding)
            self.actual[entry.index] = cut(self.golden.inputs[entry.index], entry.sharding)
            self.equal.add(entry.index)

    def _read_marks(self, step: Step) -> None:
        try:
            marks = held(step.op, self.table.mesh)
        except (KeyError, ValueError, TypeError):
            raise self.steps.program.error("its marks were not written for this side table's mesh", step.op) from None
        for value, mark in zip(step.outputs, marks, strict=True):
            if mark is None:
                continue
            golden = self._golden_value(step, mark)
            (self.partial if mark.reduced else self.known)[value] = golden, mark

    def _golden_value(self, step: Step, mark: Held) -> int:
        if mark.number is None:
            return mark.result
        maker = self.by_number.get(mark.number)
        if maker is None or mark.result >= len(maker.outputs):
            raise self.steps.program.error(
                f"it stands for op {mark.number}, which the global program does not have; shlo partition --trace "
                "writes the two that belong together", step.op,
            )
        return maker.outputs[mark.result]

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
        got = self._execute(module.program, [self._shards(v) for v in module.arguments])
        self.actual.update(zip(wanted, got, strict=True))

    def _execute(self, program: Program, inputs: Shards) -> Shards:
        return self.executor.run_per_device(program, inputs, self.devices)

    def _shards(self, value: int) -> list[np.ndarray]:
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
            if self.steps.last_use[value] <= end:
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
        if maker is None or not _fits(expected, mark.sharding):
            return False
        parts = cut(expected, mark.sharding)
        if any(a.shape != b.shape or a.dtype != b.dtype for a, b in zip(parts, shards, strict=True)):
            return False
        whole = assemble(shards, mark.sharding, expected.shape)
        if not all(map(_same, cut(whole, mark.sharding), shards)):
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
        for index, (value, entry) in enumerate(zip(steps.returned, self.table.results, strict=True)):
            expected = self.golden.load(self.golden.steps.returned[index])
            level = BIT_EQUAL if value in self.known and (self.mode == "isolated" or value in self.equal) else CLOSE
            self.checked += 1
            compared = compare_shards(
                entry.name, expected, entry.sharding, self._shards(value), level, self.tolerance
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
        original = self.by_number[mark.number].name if mark.number is not None else ""
        place = self._place(culprit)
        return Finding(
            place.name, place.where, mark.number, mark.result, culprit.index, original, reason, self.mode,
            alone.verdict if self.mode == "accumulated" else None,
            tuple(map(self._place, suspects)), tuple(self._hints(alone)), alone.reproduction,
        )

    def _alone(self, step: Step, value: int, chain: list[Step]) -> _Alone:
        """Runs ``step`` and the unmarked steps before it on golden values."""
        wanted = [v for s in chain for v in s.outputs if self.steps.type(v) is not None]
        module = stepwise.fragment(self.steps, chain, wanted, self.known)
        inputs = [self._golden_shards(v) for v in module.arguments]
        got = dict(zip(wanted, self._execute(module.program, inputs), strict=True))
        number, mark = self.known[value]
        expected, level = self.golden.load(number), self._level(chain, value, "isolated")
        equal = Comparison(self._title(number), _type_of(expected), level, Figures(expected.size))
        title, allowed = self._title(number), self._tolerance(number)
        verdict = compare_shards(title, expected, mark.sharding, got[value], level, allowed) or equal
        if level == CLOSE and not verdict.ok and self._rounding_explains(number, mark, got[value]):
            verdict = replace(verdict, reason="")
        summands = {s: v for s in chain[:-1] if (v := self._summands(s, got, level)) is not None}
        shards = cut(expected, mark.sharding) if _fits(expected, mark.sharding) else [expected] * self.devices
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
            return self.table.arguments[value].name
        step = self.golden.steps.steps[maker]
        return f"{step.name} {number_of(step.op)}#{value - step.outputs[0]}"

    def _hints(self, alone: _Alone) -> list[str]:
        """What is known about steps whose results are summands."""
        found = []
        for step, verdict in alone.summands.items():
            mark = next(self.partial[v][1] for v in step.outputs if v in self.partial)
            axes = ", ".join(axis.text(self.table.mesh) for axis in mark.reduced)
            what = f"{self._place(step)} makes summands of op {mark.number} over {axes}"
            found.append(f"{what}, which are {'right' if verdict.ok else 'wrong'}")
        return found


@dataclass(frozen=True)
class _Alone:
    """A step by itself: the program, the verdict about its result, and about the summands it takes."""

    reproduction: Reproduction
    verdict: Comparison
    summands: dict[Step, Comparison]


def place_of(steps: Steps, step: Step) -> Place:
    """Where a step stands."""
    return Place(step.index, step.name, stepwise.describe(steps.program, step.op))


def compare_shards(
    name: str,
    expected: np.ndarray,
    sharding: Sharding,
    shards: Sequence[np.ndarray],
    level: Level,
    computed_in: Tolerance | None = None,
) -> Comparison | None:
    """Holds the shards of a value, by device, to the golden value; ``None`` if all bits are equal.

    A refused comparison names the first device whose shard breaks the claim.
    """
    if not _fits(expected, sharding):
        reason = f"a value of type {_type_of(expected)} does not divide as {sharding.spec()}"
        return Comparison(name, _type_of(expected), level, Figures(expected.size, expected.size), reason)
    parts = cut(expected, sharding)
    odd = [d for d, (part, shard) in enumerate(zip(parts, shards, strict=True)) if not _same(part, shard)]
    if not odd:
        return None
    each = {d: compare(name, parts[d], shards[d], level, computed_in=computed_in) for d in odd}
    refused = [d for d in odd if not each[d].ok]
    if any(part.shape != shard.shape or part.dtype != shard.dtype for part, shard in zip(parts, shards, strict=True)):
        return replace(each[odd[0]], device=odd[0])
    whole = compare(name, expected, assemble(list(shards), sharding, expected.shape), level, computed_in=computed_in)
    if not refused:
        return whole
    # Replicas may disagree where the devices that count first are right.
    return replace(each[refused[0]] if whole.ok else whole, device=refused[0])


def _same(left: np.ndarray, right: np.ndarray) -> bool:
    return left.shape == right.shape and left.dtype == right.dtype and same_bits(left, right)


def _fits(array: np.ndarray, sharding: Sharding) -> bool:
    return len(sharding.dims) == array.ndim and all(
        size % sharding.factor(dim) == 0 for dim, size in enumerate(array.shape)
    )


# How summands on devices combine, by the op that does it.
_COMBINE: dict[str, Any] = {
    "stablehlo.add": np.add, "stablehlo.maximum": np.maximum, "stablehlo.minimum": np.minimum,
    "stablehlo.multiply": np.multiply,
}


def combine(shards: Sequence[np.ndarray], mark: Held, shape: tuple[int, ...]) -> np.ndarray | None:
    """The global value that the summands on devices add up to; ``None`` if they do not fit or cannot be combined."""
    operation = _COMBINE.get(mark.kind)
    local = mark.sharding.local_shape(shape) if len(shape) == len(mark.sharding.dims) else None
    if operation is None or any(shard.shape != local for shard in shards):
        return None
    whole = list(shards)
    for members in mark.sharding.mesh.groups(mark.reduced):
        total = shards[members[0]]
        for device in members[1:]:
            total = operation(total, shards[device])
        for device in members:
            whole[device] = total
    return assemble(whole, mark.sharding, shape)


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


def _type_of(array: np.ndarray) -> str:
    return str(TensorType(array.shape, mlir_name(array.dtype)))
