"""Printing the IR between passes (``--mlir-print-ir-*``) with the native printer, in MLIR's look and order."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from passes import _mlir
from passes.pipeline import native, registry
from passes.pipeline.options import RunOptions
from passes.pipeline.textual import PassUse

_HEADER = re.compile(r"// -----// IR Dump (Before|After) .*?: ([^\s{]+)")


@contextmanager
def printing(manager: Any, uses: Sequence[PassUse], options: RunOptions) -> Iterator[None]:
    """Makes ``manager``, which holds ``uses``, print what ``options`` ask for while it runs in the body."""
    before, after = _wanted(uses, options)
    if not (before or after):
        yield
        return
    sys.stderr.flush()
    with _one_thread():
        if _takes_all(uses, options, before, after):
            _enable(manager, options, before, after, options.tree_dir)
            yield
            return
        import tempfile

        # The native printer knows no selection of passes, so it prints to files of which the right ones are kept.
        with tempfile.TemporaryDirectory(prefix="shlo-ir-") as folder:
            _enable(manager, options, before, after, folder)
            try:
                yield
            finally:
                _keep(Path(folder), options)


def _wanted(uses: Sequence[PassUse], options: RunOptions) -> tuple[bool, bool]:
    """Whether any pass is to be printed before, and after."""
    after_all = options.print_after_all or (options.print_after_change and not options.print_after)
    names = {name for use in uses for name in _names(use)} if options.print_before or options.print_after else set()
    return (
        options.print_before_all or not names.isdisjoint(options.print_before),
        after_all or not names.isdisjoint(options.print_after),
    )


def _takes_all(uses: Sequence[PassUse], options: RunOptions, before: bool, after: bool) -> bool:
    """Whether printing around every pass of the manager prints what was asked for, and nothing else."""
    if len(uses) == 1 and len(_names(uses[0])) == 1:
        return True
    all_after = options.print_after_all or not options.print_after
    return (options.print_before_all or not before) and (all_after or not after)


def _names(use: PassUse) -> set[str]:
    """The names a pass may be asked for by: its own and, for a native pipeline, those of its passes."""
    if registry.own_pass(use.name):
        return {use.name}
    expanded = native.expansion(registry.native_name(use.name), use.options) or ""
    return {use.name, *re.findall(r"(?:^|[(,])([a-z][\w-]*)(?=[,{)]|$)", expanded)}


def _enable(manager: Any, options: RunOptions, before: bool, after: bool, folder: str | None) -> None:
    manager.enable_ir_printing(
        print_before_all=before,
        print_after_all=after,
        print_module_scope=options.print_module_scope,
        print_after_change=options.print_after_change,
        large_elements_limit=options.elide_larger_than,
        enable_debug_info=options.print_debuginfo,
        print_generic_op_form=options.print_generic,
        tree_printing_dir_path=folder,
    )


def _keep(folder: Path, options: RunOptions) -> None:
    files = sorted((p for p in folder.rglob("*") if p.is_file()), key=lambda p: (p.stat().st_mtime_ns, str(p)))
    for file in files:
        content = file.read_bytes()
        header = _HEADER.match(content[:400].decode(errors="replace"))
        if header is None or not _asked_for(header[1], header[2], options):
            continue
        if options.tree_dir is None:
            sys.stderr.flush()
            os.write(2, content)
        else:
            target = Path(options.tree_dir) / file.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)


def _asked_for(side: str, name: str, options: RunOptions) -> bool:
    if side == "Before":
        return options.print_before_all or name in options.print_before
    return options.print_after_all or name in options.print_after or (
        options.print_after_change and not options.print_after
    )


@contextmanager
def _one_thread() -> Iterator[None]:
    """Printing needs a context without threads; the order of what is printed would be left to chance."""
    context = _mlir.context()
    threaded = context.get_num_threads() > 1
    context.enable_multithreading(False)
    try:
        yield
    finally:
        if threaded:
            context.enable_multithreading(True)
