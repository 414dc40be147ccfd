"""What a search for a difference finds: an op, where it stands, how its result differs, and the op by itself."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from passes.execute import stepwise
from passes.execute.compare import Comparison
from passes.execute.executor import Shards
from passes.execute.stepwise import Step, Steps
from passes.program.read import Program


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
      index: Its position in the block it stands in, which is the entry function's or the last of ``within``.
      original: The name of the op it stands for; empty without a number.
      comparison: How the result differs, and on which device.
      mode: How the ops were fed, or ``content`` for two global programs.
      isolated: In mode ``accumulated``, the verdict about the op fed golden values; it failed that, too.
      suspects: Ops between the last values that were right and this one. One of them may be what is wrong.
      hints: What is known about the suspects.
      within: The iterations of loops and the branches that it stands in, the outermost first.
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
    within: tuple[str, ...] = ()
    reproduction: Reproduction | None = field(default=None, repr=False, compare=False)

    @property
    def excused(self) -> bool:
        """Whether the op is right by itself and only passes on what was wrong before it."""
        return self.isolated is not None and self.isolated.ok

    def inside(self, place: str) -> Finding:
        """The finding as one in a region of an op around it, at ``place``."""
        name = "stablehlo.return" if self.op_name == "func.return" else self.op_name
        return replace(self, op_name=name, within=(place, *self.within))

    def headline(self) -> str:
        """The op in one line."""
        place = f" at {self.where}" if self.where else ""
        how = "probably was" if self.mode == "content" else "stands for"
        stands = f", which {how} op {self.number} of the original ({self.original})" if self.number is not None else ""
        inside = "".join(f", in {outer}" for outer in reversed(self.within))
        return f"first difference: {self.op_name} (op {self.index}){place}{inside}{stands}"

    def to_json(self) -> dict[str, Any]:
        """The finding as JSON data, without arrays."""
        plain = ("op_name", "where", "number", "result", "index", "original", "mode", "hints", "within")
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


def place_of(steps: Steps, step: Step) -> Place:
    """Where a step stands."""
    return Place(step.index, step.name, stepwise.describe(steps.program, step.op))
