"""Passes that do to the process they run in what native passes at times do; the tests register them."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from typing import Any, ClassVar

from passes import _mlir
from passes.errors import UserError
from passes.pipeline.base import Counters, Pass, Statistic, option


@dataclass(frozen=True)
class Tag(Pass):
    name: ClassVar[str] = "sample-tag"
    summary: ClassVar[str] = "Write an attribute onto the module"
    statistics: ClassVar[tuple[Statistic, ...]] = (
        Statistic("tags", "modules tagged"),
        Statistic("functions", "functions seen"),
    )
    before: ClassVar[str] = ""
    after: ClassVar[str] = ""

    text: str = option("done", "the attribute's value")
    also: tuple[str, ...] = option((), "names of further attributes")
    loud: bool = option(False, "print to both standard streams")
    times: int = option(1, "how often to count it")

    def run(self, module: Any, counters: Counters) -> None:
        for name in ("stablehlo.tag", *(f"stablehlo.{n}" for n in self.also)):
            module.attributes[name] = _mlir.ir.StringAttr.get(self.text, module.context)
        counters.add("tags", self.times)
        counters.add("functions", len(module.regions[0].blocks[0].operations))
        if self.loud:
            print("on stdout", flush=True)
            os.write(2, b"on stderr\n")


@dataclass(frozen=True)
class Remove(Pass):
    name: ClassVar[str] = "sample-remove"
    summary: ClassVar[str] = "Remove the ops of the first function that are unused and say why"
    before: ClassVar[str] = ""
    after: ClassVar[str] = ""

    why: str = option("unused", "the reason")

    def run(self, module: Any, counters: Counters) -> None:
        function = next(op.operation for op in module.regions[0].blocks[0] if op.operation.name == "func.func")
        unused = [view.operation for view in function.regions[0].blocks[0]
                  if len(view.operation.results) and next(view.operation.results[0].uses, None) is None]
        while unused:
            counters.removed(unused[-1], self.why)
            unused.pop().erase()


@dataclass(frozen=True)
class Refuse(Pass):
    name: ClassVar[str] = "sample-refuse"
    summary: ClassVar[str] = "Refuse the first op of the module"
    before: ClassVar[str] = ""
    after: ClassVar[str] = ""

    def run(self, module: Any, counters: Counters) -> None:
        op = module.regions[0].blocks[0].operations[0]
        raise UserError("refused", _mlir.where_of(op.location), notes=((_mlir.where_of(op.location), "as told"),))


@dataclass(frozen=True)
class Spoil(Pass):
    name: ClassVar[str] = "sample-spoil"
    summary: ClassVar[str] = "Give the first function the name of the second"
    before: ClassVar[str] = ""
    after: ClassVar[str] = ""

    def run(self, module: Any, counters: Counters) -> None:
        first, second = list(module.regions[0].blocks[0].operations)[:2]
        first.attributes["sym_name"] = second.attributes["sym_name"]


@dataclass(frozen=True)
class Break(Pass):
    name: ClassVar[str] = "sample-break"
    summary: ClassVar[str] = "Raise what nobody expects"
    before: ClassVar[str] = ""
    after: ClassVar[str] = ""

    def run(self, module: Any, counters: Counters) -> None:
        raise ZeroDivisionError("a bug")


@dataclass(frozen=True)
class Die(Pass):
    name: ClassVar[str] = "sample-die"
    summary: ClassVar[str] = "End the process by a signal, after some last words"
    before: ClassVar[str] = ""
    after: ClassVar[str] = ""

    signal: str = option("SIGABRT", "the signal")
    words: str = option("", "what to print to standard error first; | stands for a line break")
    once: str = option("", "do so only if this file does not exist, and create it")

    def run(self, module: Any, counters: Counters) -> None:
        if self.once:
            try:
                os.close(os.open(self.once, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                return
        os.write(2, self.words.replace("|", "\n").encode())
        signal.signal(getattr(signal, self.signal), signal.SIG_DFL) if self.signal != "SIGKILL" else None
        os.kill(os.getpid(), getattr(signal, self.signal))


@dataclass(frozen=True)
class Sleep(Pass):
    name: ClassVar[str] = "sample-sleep"
    summary: ClassVar[str] = "Take a minute"
    before: ClassVar[str] = ""
    after: ClassVar[str] = ""

    def run(self, module: Any, counters: Counters) -> None:
        os.write(2, b"asleep\n")
        time.sleep(60)
