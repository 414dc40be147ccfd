"""Runs a pipeline on a program."""

from __future__ import annotations

from dataclasses import dataclass

from passes.pipeline.textual import Pipeline
from passes.program.read import Program


@dataclass(frozen=True)
class RunOptions:
    """How a pipeline runs and what is reported on the way; see `run`."""

    verify_each: bool = True
    isolation: bool = True
    print_before: tuple[str, ...] = ()
    print_after: tuple[str, ...] = ()
    print_before_all: bool = False
    print_after_all: bool = False
    print_after_change: bool = False
    print_module_scope: bool = False
    tree_dir: str | None = None
    timing: bool = False
    statistics: bool = False
    crash_reproducer: str | None = None
    timeout: float | None = None
    print_generic: bool = False
    print_debuginfo: bool = False
    elide_larger_than: int | None = None
