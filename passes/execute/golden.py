"""Golden values: every value a program computes, kept on disk, so that nothing is computed twice.

A value's key is a hash of how it came about: the op's text, the keys of what it takes, the bits of the inputs, the
engine and its version. So the same op on the same values is found again in any run and any program, a second run
starts no engine, and one that was interrupted goes on where it was. In memory are the inputs and one group of steps.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

import numpy as np

from passes import _mlir
from passes.errors import UserError
from passes.execute import stepwise
from passes.execute.executor import Executor
from passes.execute.stepwise import Step, Steps
from passes.execute.store import Damaged, Store, Stored, digest_of
from passes.program import write
from passes.program.purity import Effect, Effects

# Called with how many of how many steps are done.
Progress = Callable[[int, int], None]

# How often a run starts over because a stored value turned out damaged; each time at least one is made again.
_TRIES = 10


@dataclass
class Golden:
    """The values of one run.

    Attributes:
      steps: The program.
      inputs: Its arguments.
      store: Where the values lie.
      kept: Value number -> where it lies; results of matched steps and the returned values.
      computed: How many steps were executed; the others were found.
    """

    steps: Steps
    inputs: list[np.ndarray]
    store: Store
    kept: dict[int, Stored]
    computed: int

    def load(self, value: int) -> np.ndarray:
        """A value by number.

        Raises:
          UserError: it was damaged since it was written; the next run makes it again.
        """
        if value < self.steps.arguments:
            return self.inputs[value]
        try:
            return self.store.load(self.kept[value])
        except Damaged:
            raise UserError(f"a value in {self.store.folder} was damaged meanwhile; run again") from None

    def results(self) -> list[np.ndarray]:
        """What the program returns."""
        return [self.load(value) for value in self.steps.returned]

    def digest(self, value: int) -> str:
        """The digest of a value's type and bits; the same for equal values."""
        return digest_of(self.inputs[value]) if value < self.steps.arguments else self.kept[value].digest


def evaluate(
    steps: Steps,
    inputs: list[np.ndarray],
    store: Store,
    executor: Executor,
    *,
    match: str | None = None,
    progress: Progress | None = None,
) -> Golden:
    """Computes the values of a program that are not in ``store`` yet, and writes an index of them there.

    Args:
      match: A glob; values are kept only of steps whose op name, location or label it matches. Others are removed once
        nothing takes them any more.

    Raises:
      UserError: a value cannot be handed over, or the engine refuses a step.
      NativeFailure: the engine died.
    """
    stepwise.require_runnable(steps)
    for _ in range(_TRIES):
        run = _Run(steps, inputs, store, executor, match, progress)
        try:
            golden = run.finish()
        except Damaged:
            continue
        store.write_text(f"index-{_hash(*run.keys)[:16]}.json", _index(golden, executor))
        return golden
    raise UserError(f"values in {store.folder} are damaged as soon as they are written; is the disk full or faulty?")


class _Run:
    """One attempt; values are looked up once, at its start."""

    def __init__(
        self, steps: Steps, inputs: list[np.ndarray], store: Store, executor: Executor, match: str | None,
        progress: Progress | None,
    ) -> None:
        self.steps, self.inputs, self.store, self.executor = steps, inputs, store, executor
        self.progress = progress or (lambda done, total: None)
        self.keys = keys(steps, inputs, executor)
        chosen = [s for s in steps.steps if match is None or matches(steps, s, match)]
        self.wanted = {v for s in chosen for v in s.outputs if steps.type(v) is not None}
        self.wanted |= {v for v in steps.returned if v >= steps.arguments}
        self.known: dict[int, Stored | None] = {}
        for step, key in zip(steps.steps, self.keys, strict=True):
            self.known.update(zip(step.outputs, store.find(key) or (None,) * len(step.outputs), strict=True))
        self.holders: Counter[str] = Counter()
        self.computed = 0

    def finish(self) -> Golden:
        """Runs the groups that are needed; raises `Damaged` if a stored value was found to be bad."""
        steps = self.steps
        groups = list(stepwise.groups(steps))
        needed = self._needed(groups)
        for index, group in enumerate(groups):
            if index in needed:
                self._run(group)
            self.progress(group[-1].index + 1, len(steps.steps))
        for value in steps.returned:
            self._value(value)  # Damage shows when a value is read, and this one will be.
        kept = {v: stored for v, stored in self.known.items() if v in self.wanted and stored is not None}
        return Golden(steps, self.inputs, self.store, kept, self.computed)

    def _needed(self, groups: list[list[Step]]) -> set[int]:
        """The groups that have to run: they make a wanted value that is not there, or something such a group takes.

        A group runs whole or not at all, so that every run of the program executes the same modules.
        """
        needed: set[int] = set()
        missing = {v for v in self.wanted if self.known[v] is None}
        for index in reversed(range(len(groups))):
            if any(v in missing for step in groups[index] for v in step.outputs):
                needed.add(index)
                taken = {v for step in groups[index] for v in step.inputs if v >= self.steps.arguments}
                missing |= {v for v in taken if self.known[v] is None}
        return needed

    def _run(self, group: list[Step]) -> None:
        steps, end = self.steps, group[-1].index
        made = [v for step in group for v in step.outputs]
        leaving = [v for v in made if v in self.wanted or steps.last_use[v] > end]
        module = stepwise.fragment(steps, group, leaving)
        arrays = [self._value(v) for v in module.arguments]
        results = self.executor.run_global(module.program, arrays)
        del arrays
        for value in leaving:
            # Popped, so that each is freed as soon as it is written.
            self.known[value] = self._keep(value, results.pop(0))
        recorded = {self.keys[s.index]: tuple(self.known[v] for v in s.outputs) for s in group}
        self.store.record(recorded)
        self.computed += len(group)
        self._release({v for step in group for v in (*step.inputs, *step.outputs)}, end)

    def _value(self, value: int) -> np.ndarray:
        if value < self.steps.arguments:
            return self.inputs[value]
        stored = self.known[value]
        assert stored is not None
        return self.store.load(stored)

    def _keep(self, value: int, array: np.ndarray) -> Stored:
        stored = self.store.put(array)
        self.holders[stored.digest] += 1
        return stored

    def _release(self, values: set[int], end: int) -> None:
        """Removes those of ``values`` that nothing wants and no step after ``end`` takes, if this run wrote them."""
        for value in values - self.wanted:
            stored = self.known.get(value)
            if stored is None or self.steps.last_use[value] > end:
                continue
            self.holders[stored.digest] -= 1
            if self.holders[stored.digest] == 0 and stored.digest in self.store.written:
                self.store.drop(stored)


def keys(steps: Steps, inputs: list[np.ndarray], executor: Executor) -> list[str]:
    """The key of every step: a hash of how its results come about."""
    engine = f"{executor.engine} jaxlib {_mlir.jaxlib_version()}"
    of_values = [_hash(engine, digest_of(array)) for array in inputs]
    effects = Effects(steps.program.module.operation)
    texts: dict[str, str] = {}
    # An op's text names its resources and does not hold them; the module does.
    whole = cache(lambda: hashlib.sha256(write.to_bytecode(steps.program.module)).hexdigest())
    found = []
    for step in steps.steps:
        parts = [engine, _text(step), *(texts[name] for name in _functions(steps, step, texts))]
        if "dense_resource" in parts[1]:
            parts.append(whole())
        parts += [of_values[v] for v in step.taken]
        if effects.of(step.op) in (Effect.UNIQUE, Effect.EFFECT):
            parts.append(f"step {step.index}")
        key = _hash(*parts)
        found.append(key)
        of_values += [_hash(key, str(result)) for result in range(len(step.outputs))]
    return found


def _text(step: Step) -> str:
    """The op in text, its operands left out."""
    # A clone by itself: printing an op inside a function costs as much as printing the function.
    return _printed(step.op.clone())


def _printed(op: Any) -> str:
    return str(op.get_asm(print_generic_op_form=True, use_local_scope=True, assume_verified=True))


def _functions(steps: Steps, step: Step, texts: dict[str, str]) -> list[str]:
    """The functions that a step refers to, whose texts are added to ``texts``."""
    found = stepwise.referenced(steps, [step])
    for name in found.keys() - texts.keys():
        texts[name] = _printed(found[name])
    return sorted(found)


def matches(steps: Steps, step: Step, pattern: str) -> bool:
    """Whether a glob matches a step's op name (with or without its dialect), file position or label."""
    where = str(steps.program.where(step.op) or "")
    label = _mlir.name_of(step.op.location)
    return any(fnmatchcase(text, pattern) for text in (step.name, step.name.partition(".")[2], where, label))


def _index(golden: Golden, executor: Executor) -> str:
    """What was kept, for readers: each step with its place in the source, and where its results lie."""
    steps = golden.steps
    listed = []
    for step in steps.steps:
        found = [golden.kept.get(v) for v in step.outputs]
        if any(found):
            results = [s and {"type": str(s.type), "file": f"values/{s.digest[:2]}/{s.digest}.npy"} for s in found]
            where = stepwise.describe(steps.program, step.op)
            listed.append({"step": step.index, "op": step.name, "where": where, "results": results})
    data = {"program": steps.program.source, "executor": executor.title, "jaxlib": _mlir.jaxlib_version()}
    return json.dumps({**data, "values": listed}, indent=1) + "\n"


def _hash(*parts: str) -> str:
    hasher = hashlib.sha256()
    for part in parts:
        hasher.update(f"{len(part)}:{part};".encode())
    return hasher.hexdigest()
