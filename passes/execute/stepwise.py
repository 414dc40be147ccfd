"""A program's ops one by one: what each takes and makes, and modules that run some of them.

The ops at the top level of the entry function are the steps, once calls and composites are inlined; a loop or branch is
one step, whose regions can be taken apart in turn. A `Fragment` is a module of some steps:

  %3 = dot %1, %w                          func @main(%1, %w, %b) -> (%3, %4) {
  %4 = add %3, %b        steps 3, 4 ->       %3 = dot %1, %w
                                             %4 = add %3, %b
                                             return %3, %4 }
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from passes import _mlir
from passes.errors import UserError
from passes.execute.arrays import NUMPY_NAMES, TensorType, tensor_type
from passes.pipeline import runner
from passes.program import purity, read, write
from passes.program.entry import find_entry, functions, is_declaration, symbol_name
from passes.program.read import Program
from passes.program.walk import operations

# A step's round trip through the engine costs 30 ms, compiling it 10 ms: steps travel in groups.
_STEPS_TOGETHER = 128
# What a group takes and makes may weigh, in bytes: it is in memory at the same time, in either process.
_BYTES_TOGETHER = 128 << 20

# Without what it would simplify by itself: every op is looked at.
_INLINE = (
    "builtin.module(func.func(stablehlo-legalize-composite-to-call),native-inline{default-pipeline=},symbol-dce)"
)


@dataclass(frozen=True)
class Step:
    """One op at the top level of the entry function.

    Attributes:
      index: Its position in the block.
      op: The op.
      taken: Numbers of the values it takes: operands, then what its regions capture, as often as they stand there.
      outputs: Numbers of its results.
    """

    index: int
    op: Any
    taken: tuple[int, ...]
    outputs: tuple[int, ...]

    @cached_property
    def inputs(self) -> tuple[int, ...]:
        """What it takes, each value once."""
        return tuple(dict.fromkeys(self.taken))

    @property
    def name(self) -> str:
        """The op's name."""
        return str(self.op.name)


@dataclass
class Steps:
    """The entry function of a program, taken apart.

    Attributes:
      program: The program; it owns the ops.
      values: Every top-level value, arguments first; a value's place here is its number.
      numbers: Value -> number.
      arguments: How many of the values are arguments.
      steps: The ops in program order, without the terminator.
      returned: Numbers of the values the function returns.
      last_use: Value number -> the position of the last step that takes it; behind all steps if it is returned, -1 if
        nothing takes it.
    """

    program: Program
    values: list[Any]
    numbers: dict[Any, int]
    arguments: int
    steps: list[Step]
    returned: tuple[int, ...]
    last_use: list[int]

    def type(self, value: int) -> TensorType | None:
        """The type of a value, ``None`` if it cannot leave a module: tokens, dynamic shapes, quantized elements."""
        found = tensor_type(self.values[value].type)
        return found if found is not None and found.element in NUMPY_NAMES else None

    def size(self, value: int) -> int:
        """The bytes of a value."""
        type = self.type(value)
        return 0 if type is None else math.prod(type.shape) * type.dtype.itemsize

    def maker(self, value: int) -> int | None:
        """The position of the step that makes a value; ``None`` for arguments."""
        return None if value < self.arguments else self._makers[value - self.arguments]

    def __post_init__(self) -> None:
        self._makers = [step.index for step in self.steps for _ in step.outputs]


def inlined(program: Program, entry: str | None = None) -> Program:
    """A copy of ``program`` whose entry function has no calls or composites; other functions stay private.

    Raises:
      UserError: there is no entry function.
    """
    name = symbol_name(find_entry(program, entry))
    copy = read.parse(write.to_bytecode(program.module), program.source)
    # For the places of its ops in the text.
    copy.text = program.text
    private = _mlir.ir.StringAttr.get("private", _mlir.context())
    for function in functions(copy.module):
        if symbol_name(function) != name:
            function.attributes["sym_visibility"] = private
    runner.run(copy, _INLINE)
    return copy


def take_apart(program: Program, entry: str | None = None) -> Steps:
    """The steps of ``program``'s entry function, whose calls stay calls; `inlined` removes them first.

    Raises:
      UserError: there is no entry function.
    """
    block = find_entry(program, entry).regions[0].blocks[0]
    return _steps(program, list(block.arguments), block)


def region(steps: Steps, step: Step, index: int, besides: Sequence[int] = ()) -> tuple[Steps, tuple[int, ...]]:
    """A region of a step, taken apart.

    Its arguments are those of its block, then the values from outside that it takes, then the values ``besides``.

    Returns:
      The steps, and the numbers in ``steps`` of the values that are its last arguments.
    """
    block = step.op.regions[index].blocks[0]
    taken = (v for view in block.operations for v in _taken(view.operation, steps.numbers))
    outside = (*dict.fromkeys(taken), *besides)
    values = [*block.arguments, *(steps.values[v] for v in outside)]
    return _steps(steps.program, values, block), outside


def _steps(program: Program, values: list[Any], block: Any) -> Steps:
    """The ops of ``block``, which may take ``values``."""
    # The first of those that are there twice counts.
    numbers = {value: number for number, value in reversed(list(enumerate(values)))}
    arguments = len(values)
    steps: list[Step] = []
    last_use = [-1] * arguments
    ops = [view.operation for view in block.operations]
    for index, op in enumerate(ops[:-1]):
        taken = tuple(_taken(op, numbers))
        for number in taken:
            last_use[number] = index
        outputs = range(len(values), len(values) + len(op.results))
        values += op.results
        numbers.update(zip(op.results, outputs, strict=True))
        last_use += [-1] * len(outputs)
        steps.append(Step(index, op, taken, tuple(outputs)))
    returned = tuple(numbers[v] for v in ops[-1].operands)
    for number in returned:
        last_use[number] = len(steps)
    return Steps(program, values, numbers, arguments, steps, returned, last_use)


def _taken(op: Any, numbers: dict[Any, int]) -> Iterator[int]:
    """The numbers of the values of ``numbers`` that ``op`` and its regions take."""
    for inner in operations(op) if op.regions else (op,):
        for value in inner.operands:
            if value in numbers:
                yield numbers[value]


def groups(steps: Steps) -> Iterator[list[Step]]:
    """All steps in program order, cut into groups that are worth a round trip and fit in memory.

    No group ends while a value is alive that cannot leave a module.
    """
    group: list[Step] = []
    inside: set[int] = set()
    weight, stuck = 0, -1
    for step in steps.steps:
        values = {*step.inputs, *step.outputs}
        full = len(group) >= _STEPS_TOGETHER or weight + sum(map(steps.size, values - inside)) > _BYTES_TOGETHER
        if group and full and stuck < step.index:
            yield group
            group, weight, inside = [], 0, set()
        group.append(step)
        weight += sum(map(steps.size, values - inside))
        inside |= values
        stuck = max([stuck, *(steps.last_use[v] for v in step.outputs if steps.type(v) is None)])
    if group:
        yield group


@dataclass(frozen=True)
class Fragment:
    """A module that runs some steps.

    Attributes:
      program: The module; its entry is ``main``.
      arguments: Numbers of the values it takes, in order.
      results: Numbers of the values it returns, in order.
    """

    program: Program
    arguments: tuple[int, ...]
    results: tuple[int, ...]


def fragment(steps: Steps, some: Sequence[Step], wanted: Sequence[int], fed: Collection[int] = ()) -> Fragment:
    """A module that runs ``some`` steps (in program order) and returns the ``wanted`` of their results.

    Args:
      fed: Values that steps take as arguments even where one of ``some`` makes them.
    """
    ir = _mlir.ir
    made: set[int] = set()
    taken: dict[int, None] = {}
    for step in some:
        taken.update((v, None) for v in step.inputs if v in fed or v not in made)
        made.update(step.outputs)
    for value in taken:
        if steps.type(value) is None:
            what = f"a value of type {steps.values[value].type}"
            raise steps.program.error(f"cannot run this op by itself: it takes {what}", some[0].op)
    with _mlir.context(), ir.Location.unknown():
        module = ir.Module.create()
        for key in steps.program.module.operation.attributes:
            module.operation.attributes[_name(key)] = steps.program.module.operation.attributes[_name(key)]
        _copy_symbols(steps, some, module)
        _write_main(steps, some, tuple(taken), wanted, fed, module)
    return Fragment(Program(module, steps.program.source), tuple(taken), tuple(wanted))


def _name(key: Any) -> str:
    """The name in an attribute dictionary's iteration, which yields names in some releases and pairs in others."""
    return str(getattr(key, "name", key))


def _copy_symbols(steps: Steps, some: Sequence[Step], module: Any) -> None:
    """Copies what ops refer to by name: meshes and so on, and the functions that ``some`` use."""
    ir = _mlir.ir
    needed = referenced(steps, some)
    point = ir.InsertionPoint(module.body)
    for view in steps.program.module.body.operations:
        op = view.operation
        if op.name != "func.func" or symbol_name(op) in needed:
            op.clone(point)


def referenced(steps: Steps, some: Iterable[Step]) -> dict[str, Any]:
    """The functions that ``some`` refer to, also through others, by name."""
    by_name = {symbol_name(f): f for f in functions(steps.program.module)}
    found: dict[str, Any] = {}
    waiting = [step.op for step in some]
    while waiting:
        for inner in operations(waiting.pop()):
            for name in purity.callees(inner):
                if name in by_name and name not in found:
                    found[name] = by_name[name]
                    if not is_declaration(by_name[name]):
                        waiting.append(by_name[name])
    return found


def _write_main(
    steps: Steps, some: Sequence[Step], taken: Sequence[int], wanted: Sequence[int], fed: Collection[int], module: Any
) -> None:
    ir = _mlir.ir
    types = ir.FunctionType.get([steps.values[v].type for v in taken], [steps.values[v].type for v in wanted])
    attributes = {"sym_name": ir.StringAttr.get("main"), "function_type": ir.TypeAttr.get(types)}
    main = ir.Operation.create("func.func", regions=1, attributes=attributes, ip=ir.InsertionPoint(module.body))
    # Without names: those of the original's arguments would be names of others here.
    block = main.regions[0].blocks.append(*types.inputs, arg_locs=[ir.Location.unknown()] * len(taken))
    inside = {v: block.arguments[i] for i, v in enumerate(taken)}
    computed: dict[int, Any] = {}
    point = ir.InsertionPoint(block)
    for step in some:
        clone = step.op.clone(point)
        _rewire(steps, clone, inside)
        for number, value in zip(step.outputs, clone.results, strict=True):
            computed[number] = value
            if number not in fed:
                inside[number] = value
    ir.Operation.create("func.return", operands=[computed[v] for v in wanted], ip=point)


def _rewire(steps: Steps, clone: Any, inside: dict[int, Any]) -> None:
    """Has ``clone``, which still takes values of the original, take those of its own function."""
    for op in operations(clone) if clone.regions else (clone,):
        for position, value in enumerate(op.operands):
            number = steps.numbers.get(value)
            if number is not None:
                op.operands[position] = inside[number]


def ancestors(steps: Steps, step: Step, known: Callable[[int], bool]) -> list[Step]:
    """The steps whose results reach ``step`` without passing a value that is ``known``, and ``step``, in order."""
    found = {step.index}
    waiting = [step]
    while waiting:
        for value in waiting.pop().inputs:
            maker = steps.maker(value)
            if maker is not None and maker not in found and not known(value):
                found.add(maker)
                waiting.append(steps.steps[maker])
    return [steps.steps[index] for index in sorted(found)]


def describe(program: Program, op: Any) -> str:
    """Where ``op`` comes from: its file position, or the name its front end gave it; empty if it has neither."""
    return " ".join(dict.fromkeys(filter(None, (str(program.where(op) or ""), _mlir.name_of(op.location)))))


def require_runnable(steps: Steps) -> None:
    """Checks that the values a function takes and returns can be handed over.

    Raises:
      UserError: one cannot.
    """
    for value in (*range(steps.arguments), *steps.returned):
        if steps.type(value) is None:
            raise UserError(f"cannot run op by op: the entry takes or returns {steps.values[value].type}")
