"""The native passes of the bindings: which exist, where they run, and which may run inside this process.

The list is data (`native_passes`), so that ``--list-passes`` and error messages need no bindings; whether the installed
bindings have a pass, and which op it runs on, is asked of their own pipeline parser, because that moves between
releases.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import IO

from passes import _mlir
from passes.errors import UserError
from passes.pipeline.native_passes import NEEDS_REGISTERED_OPS, PIPELINES, PROVEN, SUMMARIES

MODULE_ANCHOR = "builtin.module"

# Options through which a pass runs further passes; the pass is as safe as those, so it counts as unproven with them.
_RUNS_OTHERS = re.compile(r"\b(default-pipeline|op-pipelines|pipeline)=")


@dataclass(frozen=True)
class NativePass:
    """A pass or pass pipeline that comes with the bindings.

    Attributes:
      name: Its name in pipelines.
      summary: One line on what it does.
      proven: Whether it is known not to kill the process it runs in.
      pipeline: Whether it stands for a sequence of passes.
    """

    name: str
    summary: str
    proven: bool
    pipeline: bool


@cache
def catalog() -> tuple[NativePass, ...]:
    """All native passes of the supported bindings by name; a release may lack some (`anchor` is ``None`` then)."""
    return tuple(NativePass(n, s, n in PROVEN, n in PIPELINES) for n, s in sorted(SUMMARIES.items()))


def is_proven(name: str, options: str = "") -> bool:
    """Whether the pass may run in this process: its input cannot make it abort, as far as is known."""
    if name in NEEDS_REGISTERED_OPS and _mlir.context().allow_unregistered_dialects:
        return False
    return name in PROVEN and not _RUNS_OTHERS.search(options)


def anchor(name: str) -> str | None:
    """The op the bindings run ``name`` on (``builtin.module`` also if any op will do); ``None``: they lack it."""
    return _mlir.native_pass_anchor(name)


def expansion(name: str, options: str = "") -> str | None:
    """The pipeline text a native pipeline stands for, or ``None`` if ``name`` is a single pass."""
    outer = anchor(name) or MODULE_ANCHOR
    text = str(_mlir.passmanager.PassManager.parse(f"{outer}({_with_options(name, options)})", _mlir.context()))
    inner = text.removeprefix(f"{outer}(")[:-1]
    return None if re.match(rf"{re.escape(name)}(\{{|$)", inner) else text


@lru_cache(maxsize=1024)
def check(name: str, options: str, anchors: tuple[str, ...], needed: str) -> None:
    """Checks that native pass ``name`` takes ``options`` and runs under ``anchors``; ``needed`` is its `anchor`.

    What was found good is remembered, for asking the bindings takes a temporary file.

    Raises:
      UserError: it does not; the message names what is wrong.
    """
    under = anchors[-1]
    _check_anchor_op(anchors)
    if under != MODULE_ANCHOR and needed == MODULE_ANCHOR and expansion(name) is not None:
        # The parser must not see this: it aborts the process on a pipeline whose passes need another anchor.
        raise UserError(f"'{name}' is a pipeline for {needed}; move it out of {under}(...)")
    text = _with_options(name, options)
    for outer in reversed(anchors):
        text = f"{outer}({text})"
    with captured_stderr() as noise:
        try:
            _mlir.passmanager.PassManager.parse(text, _mlir.context())
        except ValueError as error:
            raise UserError(_reason(name, options, under, f"{error}\n{noise()}")) from None


def _check_anchor_op(anchors: tuple[str, ...]) -> None:
    for op in anchors:
        if op != "any" and not _mlir.context().is_registered_operation(op):
            raise UserError(f"the anchor '{op}' is no op of the bindings; native passes under it would never run")


def _reason(name: str, options: str, under: str, said: str) -> str:
    if restricted := re.search(r"restricted to '([^']+)'", said):
        needed = restricted[1]
        if needed == MODULE_ANCHOR:
            return f"pass '{name}' runs on {needed}, not on {under}; move it out of {under}(...)"
        return f"pass '{name}' runs on {needed}, not on {under}; write {needed}({_with_options(name, options)})"
    if unknown := re.search(r"no such option (\S+)", said):
        return f"pass '{name}' has no option '{unknown[1]}'{_its_options(name)}"
    if value := re.search(r"for the --(\S+) option: (.*?)!?\s*$", said, re.MULTILINE):
        return f"option '{value[1]}' of pass '{name}': {value[2]}"
    said = re.sub(r"failed to add `.*", "", said, flags=re.DOTALL)
    return f"pass '{name}' does not take the options '{options}': {' '.join(said.split()) or 'rejected'}"


def _its_options(name: str) -> str:
    printed = str(_mlir.passmanager.PassManager.parse(f"{anchor(name)}({name})", _mlir.context()))
    names = re.findall(r"(?:[{ ])([a-z][\w-]*)=", printed) if expansion(name) is None else []
    return f"; it has: {', '.join(names)}" if names else ""


def _with_options(name: str, options: str) -> str:
    return f"{name}{{{options}}}" if options else name


@contextmanager
def captured_stderr() -> Iterator[Callable[[], str]]:
    """Keeps what native code writes to file descriptor 2 in the body; yields a function returning it as text."""
    import tempfile  # 5 ms that only pipelines with native passes need.

    sys.stderr.flush()
    saved = os.dup(2)
    file: IO[bytes]
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)

        def text() -> str:
            file.seek(0)
            return file.read().decode(errors="replace")

        try:
            yield text
        finally:
            os.dup2(saved, 2)
            os.close(saved)
