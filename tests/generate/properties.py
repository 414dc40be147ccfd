"""What must hold of every program: each function raises `Broken` where it does not.

The fuzzer (``benchmarks/fuzz.py``) checks all of these for many seeds, the tests for a few.
"""

from __future__ import annotations

import difflib
import random
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from passes import _mlir
from passes.execute.arrays import same_bits
from passes.execute.compare import BIT_EQUAL
from passes.execute.distance import is_float
from passes.execute.executor import Executor
from passes.execute.inputs import make
from passes.execute.verify import verify
from passes.optimize.cse import Cse
from passes.optimize.dead_ops import DeadOps
from passes.optimize.function_signatures import FunctionSignatures
from passes.optimize.inline import Inline
from passes.optimize.optimize import Optimize
from passes.optimize.simplify import Simplify
from passes.partition.partition import partition
from passes.pipeline.base import Counters, Pass
from passes.program import purity
from passes.program.entry import arguments, find_entry, functions, results
from passes.program.read import Program, parse
from passes.program.walk import operations
from passes.program.write import to_bytecode, to_portable, to_text
from passes.sharding.propagate import PropagateOptions, propagate
from tests.generate import edits
from tests.generate.program import Generated
from tests.partition.random_shardings import annotate_values

INTERPRETER = Executor("interpreter", isolated=False)

PASSES: tuple[Pass, ...] = (
    Cse(), Cse(sunk_constants="merge"), DeadOps(), FunctionSignatures(), Inline("trivial"),
    Inline("once"), Inline("all"), Simplify(), Optimize(), Optimize(inline="all"),
)


class Broken(AssertionError):
    """A property does not hold; the text says which, and of what."""


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise Broken(what)


def _same(one: str, other: str, what: str) -> None:
    lines = difflib.unified_diff(one.splitlines(), other.splitlines(), lineterm="", n=0)
    _require(one == other, f"{what}:\n" + "\n".join(lines))


def size(program: Program) -> int:
    return len(operations(program.module))


def _taken(program: Program) -> int:
    return sum(len(arguments(function)) for function in functions(program.module))


def changed(own: Pass, text: str) -> Program:
    """What ``own`` makes of ``text``, verified; a second run must find nothing to do, and nothing may grow."""
    program = parse(text)
    before, taken = size(program), _taken(program)
    _run(own, program)
    after = to_text(program.module)
    # Single passes may add constants, whose users' old operands dead-ops takes out; inlining is asked for.
    grows = not isinstance(own, (Cse, DeadOps)) and own != Optimize()
    # A constant that every call passes may be one inside of the function, too, instead of an argument.
    most = before + taken - _taken(program)
    _require(grows or size(program) <= most, f"{own.name} made {size(program)} ops of {before}")
    again = parse(after)
    _run(own, again)
    _same(after, to_text(again.module), f"{own.name} run again changed more")
    return program


def _run(own: Pass, program: Program) -> None:
    own.run(program.module.operation, Counters(own.statistics))
    _require(program.module.operation.verify(), f"{own.name} left an invalid module")


Arrays = Sequence[np.ndarray[Any, Any]]


def same_results(original: str, inputs: Arrays, others: dict[str, str]) -> None:
    """The programs in ``others``, each by the name of who made it, compute the bits that ``original`` does.

    All run as one program, which takes one context of MLIR's and one parse.
    """
    found = INTERPRETER.run_global(parse(_together([original, *others.values()])), list(inputs))
    count = len(found) // (1 + len(others))
    for number, who in enumerate(others, 1):
        for index, (want, have) in enumerate(zip(found[:count], found[number * count :], strict=False)):
            if not same_bits(_one_nan(want), _one_nan(have)):
                raise Broken(f"{who} changed result {index}:\n{want}\nbecame\n{have}")


def _together(texts: Sequence[str]) -> str:
    """A module whose main function calls those of all ``texts`` on its arguments, and returns what each does."""
    program = parse(texts[0])
    function = find_entry(program)
    ins, outs = ([str(value.type) for value in part(function)] for part in (arguments, results))
    given, count = ", ".join(f"%a{i}" for i in range(len(ins))), len(outs)
    bodies, calls, found = [], [], []
    for number, text in enumerate(texts):
        body = text.partition("module {\n")[2].rstrip().removesuffix("}")
        bodies.append(re.sub(r"@(\w+)", rf"@p{number}_\1", body))
        calls.append(f"%r{number}{f':{count}' if count > 1 else ''} = func.call @p{number}_main({given}) : "
                     f"({', '.join(ins)}) -> ({', '.join(outs)})")
        found += [f"%r{number}#{i}" for i in range(count)] if count > 1 else [f"%r{number}"]
    all_types, body = ", ".join(outs * len(texts)), "\n".join(calls)
    taken = ", ".join(f"%a{i}: {type}" for i, type in enumerate(ins))
    main = f"func.func @main({taken}) -> ({all_types}) {{\n{body}\nreturn {', '.join(found)} : {all_types}\n}}\n"
    return "".join([main, *bodies])


def _one_nan(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """``array`` with one NaN for all: what sign an operation gives it is not defined."""
    if not is_float(array.dtype):
        return array
    return np.where(np.isnan(array), np.array(np.nan).astype(array.dtype), array)


def optimizes(generated: Generated, seed: int) -> None:
    """Every pass, and passes in any order, keep every bit; what `edits` does is undone, and nothing is left to do."""
    choose = random.Random(f"optimize {seed}")
    original = parse(generated.text)
    text = to_text(original.module)
    optimized = to_text(changed(Optimize(), text).module)
    undoes(generated, text, optimized, choose)
    inputs = make(original, choose.choice(("exact", "normal", "special")), seed).arrays
    row = choose.sample(PASSES, choose.randint(1, 4))
    passed = text
    for own in row:
        passed = to_text(changed(own, passed).module)
    made = {"optimize": optimized, " then ".join(str(own) for own in row): passed}
    if choose.random() < 0.2:
        inlines(text)
    same_results(text, inputs, made | leaves_nothing(generated, text))


def undoes(generated: Generated, text: str, optimized: str, choose: random.Random) -> None:
    """Passes undo what `edits` does to the program ``text``, which optimized is ``optimized``."""
    _same(to_text(changed(DeadOps(), text).module), to_text(changed(DeadOps(), generated.deader).module),
          "dead-ops left ops that nothing needs")
    doubled = parse(text)
    edits.duplicate_ops(doubled, choose)
    merged = size(changed(Cse(), text))
    again = size(changed(Cse(), to_text(doubled.module)))
    _require(again == merged, f"cse left {again} ops where duplicates were added, {merged} without")
    renamed = to_text(changed(Optimize(), edits.renamed_functions(text)).module)
    _same("\n".join(_without_names(optimized)), "\n".join(_without_names(renamed)), "optimize depends on names")
    whole = Optimize(inline="all")
    inside, outside = size(changed(whole, wrapped(text))), size(changed(whole, text))
    _require(inside == outside, f"optimize leaves {inside} ops where main is called, {outside} where it is not")


def inlines(text: str) -> None:
    """Inlining all leaves no call, and makes nothing dead that dead-ops did not take before."""
    inlined = to_text(changed(Inline("all"), text).module)
    _require("call @" not in inlined, "calls are left where all are inlined")
    before = to_text(changed(DeadOps(), text).module)
    twice = size(changed(DeadOps(), to_text(changed(Inline("all"), before).module)))
    once = size(changed(DeadOps(), inlined))
    _require(twice == once, f"dead-ops left {twice} ops where it ran before inlining too, {once} where not")


def leaves_nothing(generated: Generated, text: str) -> dict[str, str]:
    """Loops that carry values twice and copies of functions leave no trace, and MLIR's own passes find nothing more.

    Returns the programs that still are to compute the same.
    """
    merged = changed(Cse(), text)
    once = changed(DeadOps(), to_text(merged.module))
    _require(size(native("trivial-dce,symbol-dce", once)) == size(once), "MLIR finds dead ops after dead-ops")
    # MLIR's cse removes some dead ops as well.
    fewer = size(native("cse,trivial-dce", merged)), size(native("trivial-dce", merged))
    _require(fewer[0] == fewer[1], f"MLIR's cse leaves {fewer[0]} ops of the {fewer[1]} that cse leaves")
    if "optimization_barrier" in text:  # What goes through two of them is apart on purpose.
        return {}
    twice = changed(DeadOps(), to_text(changed(Cse(), generated.doubled).module))
    left = size(twice), size(once)
    _require(left[0] == left[1], f"cse and dead-ops left {left[0]} ops where all comes twice, {left[1]} where not")
    return {"cse and dead-ops where all comes twice": to_text(twice.module)}


def native(pipeline: str, program: Program) -> Program:
    """What MLIR's passes make of ``program``, which stays as it is."""
    found = parse(to_bytecode(program.module))
    manager = _mlir.passmanager.PassManager.parse(f"builtin.module({pipeline})", context=_mlir.context())
    manager.run(found.module.operation)
    return found


def wrapped(text: str) -> str:
    """``text`` with a main function that calls what was main."""
    program = parse(text)
    function = find_entry(program)
    return edits.wrapped(text, *([str(v.type) for v in part(function)] for part in (arguments, results)))


def _without_names(text: str) -> list[str]:
    """The lines in the order of their text, with all functions called the same."""
    return sorted(re.sub(r"@[fh]\d+(_\d+)?", "@f", line) for line in text.splitlines())


def round_trips(text: str) -> None:
    """Printing, bytecode and, but for what it cannot hold, the portable artifact bring back the module."""
    first = to_text(parse(text).module)
    _require(to_text(parse(first).module) == first, "the text read back is another module")
    _require(to_text(parse(to_bytecode(parse(first).module)).module) == first, "bytecode read back is another module")
    _require(size(parse(to_portable(parse(first).module))) == size(parse(first)),
             "the portable artifact read back is another module")


def partitions(generated: Generated, seed: int) -> None:
    """Propagation is idempotent, and the per-device program computes the same bits, on equal meshes too."""
    assert generated.mesh is not None
    choose = random.Random(f"partition {seed}")
    program = parse(generated.text)
    annotate_values(program, generated.mesh, choose.randrange(1 << 30))
    text = to_text(program.module)
    round_trips(text)
    same_when_partitioned(text, generated.plain, seed)
    propagates(text)
    if choose.random() < 0.15:
        replicates(generated, seed)
    for edit in EDITS:
        other = edit(text) if choose.random() < 0.15 else None
        if other is not None:
            same_when_partitioned(other, generated.plain, seed)


EDITS: tuple[Callable[[str], str | None], ...] = (
    edits.with_axis_of_one, edits.with_split_axis, edits.with_permuted_devices, edits.renamed_functions, wrapped,
)


def replicates(generated: Generated, seed: int) -> None:
    """Where nothing is annotated, every device computes all, and nobody talks."""
    program = parse(generated.plain)
    report = partition(program)
    talk = [op.name for op in operations(program.module) if op.name in purity.COLLECTIVES]
    _require(not talk, f"nothing is annotated, and there are {talk}")
    _require(all(entry.sharding.is_replicated for entry in report.side_table.arguments), "arguments are split")
    same_when_partitioned(generated.plain, generated.plain, seed)


def propagates(text: str) -> None:
    """A propagated program propagated again has the same shardings.

    Where an axis was taken off that does not divide, values that have no sharding may get what is left of it.
    """
    once, found, dropped = text, [], False
    for _ in range(2):
        program = parse(once)
        dropped = bool(propagate(program, options=PropagateOptions(reshards=False)).dropped) or dropped
        once = to_text(program.module)
        found.append("\n".join(_shardings(program)))
    if dropped:
        later = iter(found[1].splitlines())
        _require(all(line in later for line in found[0].splitlines()), f"{found[0]}\n\nis not in\n\n{found[1]}")
    else:
        _same(*found, "propagated again it changed")


# Ops that may read more than their operands.
_CAPTURING = ("stablehlo.case", "stablehlo.if", "stablehlo.while")


def _shardings(program: Program) -> list[str]:
    """How the results of ops are split, in order.

    What constants alone make is left out: it may come once, or once for each user.
    """
    found: list[str] = []
    constant: set[Any] = set()
    for op in operations(program.module):
        if op.name not in _CAPTURING and all(value in constant for value in op.operands):
            constant.update(op.results)
        elif "sdy.sharding" in op.attributes:
            text = str(op.attributes["sdy.sharding"])
            if '{"' in text:
                found.append(f"{op.name} {text}")
    return found


def same_when_partitioned(text: str, plain: str, seed: int) -> None:
    """Partitioned and executed on virtual devices, ``text`` returns the bits that ``plain`` does on one."""
    program = parse(text)
    report = partition(program)
    found = verify(parse(plain), program, report.side_table, inputs="exact", seed=seed, level=BIT_EQUAL,
                   executor=INTERPRETER)
    _require(found.ok, " | ".join(found.lines()))
