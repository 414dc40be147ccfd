"""The search for a smaller program: the best one so far, and attempts to improve on it.

An attempt edits a fresh copy of the best program. It succeeds if the copy verifies, is smaller and is still of
interest. Sizes are totally ordered, so every search ends.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from passes import _mlir
from passes.errors import UserError
from passes.execute.reduction import edits
from passes.execute.reduction.state import State
from passes.pipeline import runner
from passes.program.entry import find_entry, symbol_name
from passes.program.read import Program, parse
from passes.program.types import shape_of
from passes.program.walk import operations, terminator
from passes.program.write import PrintOptions, to_bytecode, to_text

# Whether a program still shows what is looked for. The program is the predicate's own to change. A `UserError` says
# that it cannot be judged, so that it is not of interest.
Predicate = Callable[[Program], bool]
# Changes a copy of the best program; False if there is nothing to change.
Edit = Callable[[Program], bool | None]

# What is of interest may lead to a result that no caller uses until the function is inlined or made the entry.
_CLEAN = "builtin.module(symbol-dce,dead-ops{keep-signatures=true})"
_STRIP = "builtin.module(strip-debuginfo)"


@dataclass(frozen=True, order=True)
class Size:
    """What "smaller" compares, most important first."""

    ops: int
    constants: int
    results: int
    arguments: int
    elements: int
    text: int


@dataclass
class Search:
    """One reduction.

    Attributes:
      best: The smallest interesting program so far, as bytecode.
      interesting: The predicate.
      entry: The name of the entry function.
      source: The program's name for messages.
      state: Keeps what was found on disk; ``None`` keeps nothing.
      report: Is told after each attempt.
      tidy: Whether dead ops and unused arguments go with each edit. They do unless they are of interest themselves.
      plain: Whether source locations go, on the same terms.
      tries: How many programs the predicate has judged.
      view: The best program to look at; another one after each success.
      size: Its size.
    """

    best: bytes
    interesting: Predicate
    entry: str
    source: str
    state: State | None = None
    report: Callable[[Search], None] | None = None
    tidy: bool = False
    plain: bool = False
    tries: int = 0
    view: Program = field(init=False)
    size: Size = field(init=False)
    _unregistered: bool = False
    _answers: dict[str, bool] = field(default_factory=dict)
    _digest: str = ""

    def __post_init__(self) -> None:
        # Reading sets it for all that follows.
        self._unregistered = bool(_mlir.context().allow_unregistered_dialects)
        if self.state is not None:
            self._answers |= self.state.answers()
        text = self._look()
        self.size, self._digest = measure(self.view, text), _digest(text)
        for name in ("plain", "tidy"):
            setattr(self, name, True)
            setattr(self, name, self.attempt(lambda program: None, same_size=True))

    def _look(self) -> str:
        self.view = self.program()
        return self._text(self.view)

    def program(self) -> Program:
        """A fresh copy of the best program."""
        return self._parse(self.best)

    def _parse(self, data: bytes) -> Program:
        program = parse(data, self.source, allow_unregistered=self._unregistered)
        program.has_debug_info = not self.plain
        return program

    def _text(self, program: Program) -> str:
        return to_text(program.module, PrintOptions(debuginfo=not self.plain))

    def function(self, program: Program | None = None) -> Any:
        """The entry function of a copy, or of the view."""
        return find_entry(program or self.view, self.entry)

    def attempt(self, edit: Edit, *, same_size: bool = False) -> bool:
        """Whether the best program, edited, is smaller and of interest; it is the best one then.

        With ``same_size`` it need not be smaller.
        """
        candidate = self.program()
        with _mlir.record_diagnostics():
            try:
                if edit(candidate) is False:
                    return False
                candidate.module.operation.verify()
                self._finish(candidate)
            except (UserError, _mlir.ir.MLIRError):
                return False
        text = self._text(candidate)
        size = measure(candidate, text)
        return (same_size or size < self.size) and self._judge(candidate, text, size)

    def _judge(self, candidate: Program, text: str, size: Size) -> bool:
        digest = _digest(text)
        if digest == self._digest:
            return True
        data = to_bytecode(candidate.module)
        known = self._answers.get(digest)
        accepted = self._ask(data, digest) if known is None else known
        if accepted:
            self.best, self.size, self._digest = data, size, digest
            self._look()
            if self.state is not None:
                self.state.keep(data)
        if known is None and self.report is not None:
            self.report(self)
        return accepted

    def _ask(self, data: bytes, digest: str) -> bool:
        self.tries += 1
        answer = self._answers[digest] = self._is_interesting(data)
        if self.state is not None:
            self.state.answer(digest, answer)
        return answer

    def _is_interesting(self, data: bytes) -> bool:
        try:
            return self.interesting(self._parse(data))
        except UserError:
            return False

    def _finish(self, program: Program) -> None:
        """Removes what an edit may have left without a use."""
        if self.plain:
            runner.run(program, _STRIP)
        if not self.tidy:
            return
        runner.run(program, _CLEAN)
        function = self.function(program)
        if unused := edits.unused_arguments(function):
            edits.drop_arguments(function, unused)
            program.module.operation.verify()


def copy(program: Program) -> Program:
    """The same program again."""
    unregistered = bool(_mlir.context().allow_unregistered_dialects)
    return parse(to_bytecode(program.module), program.source, allow_unregistered=unregistered)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def measure(program: Program, text: str) -> Size:
    """The size of ``program``, which prints as ``text``; ops count in every region, meshes and modules too."""
    ops = operations(program.module)
    constants = sum(map(edits.is_constant, ops))
    values = [result for op in ops for result in op.results]
    arguments = [a for block in edits.blocks(program.module) for a in block.arguments]
    results = sum(len(terminator(f.regions[0].blocks[0]).operands)
                  for f in edits.defined_functions(program.module))
    elements = sum(_elements(v) for v in (*values, *arguments))
    return Size(len(ops) - constants, constants, results, len(arguments), elements, len(text))


def _elements(value: Any) -> int:
    if not isinstance(value.type, _mlir.ir.RankedTensorType):
        return 0
    count = 1
    for size in shape_of(value):
        count *= max(size, 1)
    return count


def entry_name(program: Program, entry: str | None) -> str:
    """The name of the entry function."""
    return symbol_name(find_entry(program, entry))
