"""How a pipeline runs, and what comes out of a run beside the program."""

from __future__ import annotations

from dataclasses import dataclass, field

from passes._mlir import Diagnostic
from passes.errors import UserError, Where


@dataclass(frozen=True)
class RunOptions:
    """How a pipeline runs and what is reported on the way, mostly mlir-opt's flags of the same names.

    Attributes:
      verify_each: Verify the module after each pass.
      isolation: Run a pipeline with native passes that may kill the process in a worker process.
      print_before, print_after: Names of passes before and after which the IR is printed to standard error.
      print_before_all, print_after_all: Print the IR before and after each pass.
      print_after_change: Print the IR after a pass only if the pass changed it; alone, it covers all passes.
      print_module_scope: Print the whole module instead of the op the pass ran on.
      tree_dir: Print into files under this folder instead.
      print_generic, print_debuginfo, elide_larger_than: How IR is printed.
      timing: Print MLIR's timing report to standard error.
      statistics: Print what the passes counted to standard error. The native passes of jaxlib count nothing.
      explain_removed: Print which ops passes took out and why to standard error, with at most so many places for each
        reason; ``None`` saves the time to note them.
      note_removals: Note them without printing, for what reads `PassStatistics`.
      crash_reproducer: File for a reproducer if a pass fails or dies; without it, one is written to the temporary
        folder if a pass dies.
      timeout: Seconds a worker may take for the pipeline; ``None`` is no limit.
    """

    verify_each: bool = True
    isolation: bool = True
    print_before: tuple[str, ...] = ()
    print_after: tuple[str, ...] = ()
    print_before_all: bool = False
    print_after_all: bool = False
    print_after_change: bool = False
    print_module_scope: bool = False
    tree_dir: str | None = None
    print_generic: bool = False
    print_debuginfo: bool = False
    elide_larger_than: int | None = None
    timing: bool = False
    statistics: bool = False
    explain_removed: int | None = None
    note_removals: bool = False
    crash_reproducer: str | None = None
    timeout: float | None = None


@dataclass(frozen=True)
class Count:
    """One statistic of a pass that ran: ``name`` and ``help`` as declared, and the number."""

    name: str
    help: str
    value: int


@dataclass(frozen=True)
class Removed:
    """Ops of one name that a pass took out for one reason at one place: a line, or else the name a location carries."""

    why: str
    op: str
    where: Where | None
    name: str
    count: int


@dataclass(frozen=True)
class Remarked:
    """What a pass said about an op: its place, and words."""

    where: Where | None
    words: tuple[str, ...]


@dataclass(frozen=True)
class PassStatistics:
    """What one pass of a pipeline counted; ``anchors`` are those around it, outermost first.

    Attributes:
      removals: The ops the pass took out; ``None`` if nobody asked, or a native pass cannot say.
      remarks: What the pass said about ops.
    """

    anchors: tuple[str, ...]
    name: str
    counts: tuple[Count, ...] = ()
    removals: tuple[Removed, ...] | None = None
    remarks: tuple[Remarked, ...] = ()


@dataclass(frozen=True)
class RunResult:
    """A finished run.

    Attributes:
      statistics: Every pass that ran, in order, with its counts.
      diagnostics: What MLIR said on the way: warnings, remarks, and errors that did not stop a pass.
      isolated: Whether it ran in a worker process.
    """

    statistics: tuple[PassStatistics, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = field(default=())
    isolated: bool = False


class PassFailure(UserError):
    """A pass refused its input or left an invalid module; ``pass_name`` says which, ``diagnostics`` all MLIR said."""

    def __init__(
        self,
        message: str,
        where: Where | None = None,
        *,
        pass_name: str = "",
        snippet: str | None = None,
        notes: tuple[tuple[Where | None, str], ...] = (),
        diagnostics: tuple[Diagnostic, ...] = (),
    ) -> None:
        super().__init__(message, where, snippet=snippet, notes=notes)
        self.pass_name = pass_name
        self.diagnostics = diagnostics
