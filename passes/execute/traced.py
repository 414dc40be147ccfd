"""Which values of the global program a traced per-device program, or a region of one, holds, by its marks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from passes.execute.stepwise import Step, Steps
from passes.partition.side_table import SideTable
from passes.partition.trace import Held, held, number_of
from passes.sharding.mesh import Mesh, Sharding


@dataclass(frozen=True)
class Frame:
    """What a traced block takes and returns.

    Attributes:
      mesh: The devices.
      arguments: For each argument of the block, which value of the golden block it is, and how that lies; ``None`` if
        that is not known.
      results: The name of each returned value, and how it lies.
      names: Names of the golden block's arguments.
      outside: Of a region: what marks say of values from outside -> which argument of the golden block that is.
    """

    mesh: Mesh
    arguments: tuple[tuple[int, Sharding] | None, ...]
    results: tuple[tuple[str, Sharding], ...]
    names: tuple[str, ...]
    outside: Mapping[tuple[int | None, int], int] | None = None


def frame_of(table: SideTable) -> Frame:
    """The frame of an entry function."""
    return Frame(
        table.mesh,
        tuple((entry.index, entry.sharding) for entry in table.arguments),
        tuple((entry.name, entry.sharding) for entry in table.results),
        tuple(entry.name for entry in table.arguments),
    )


@dataclass
class Traced:
    """A traced block, taken apart, and its golden counterpart.

    Attributes:
      steps: Its ops.
      golden: The ops of the counterpart.
      frame: What it takes and returns.
      known: Value -> the golden value it is, and how it lies.
      partial: The same for values that devices hold summands of.
      by_number: The counterpart's ops by their number in the global program.

    Raises:
      UserError: the two, and the frame, do not belong together.
    """

    steps: Steps
    golden: Steps
    frame: Frame
    known: dict[int, tuple[int, Held]] = field(default_factory=dict)
    partial: dict[int, tuple[int, Held]] = field(default_factory=dict)
    by_number: dict[int | None, Step] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.steps.arguments != len(self.frame.arguments) or self.golden.arguments != len(self.frame.names):
            raise self.steps.program.error("the program, its side table and the global program differ in arguments")
        self.by_number = {number_of(step.op): step for step in self.golden.steps}
        for value, entry in enumerate(self.frame.arguments):
            if entry is not None:
                golden, sharding = entry
                self.known[value] = golden, Held(None, golden, sharding)
        for step in self.steps.steps:
            self._read_marks(step)
        # Inside a manual computation no op stands for one of the global program.
        expected = any(not step.name.startswith("sdy.") for step in self.golden.steps)
        if self.frame.outside is None and expected and self.steps.steps and len(self.known) == self.steps.arguments:
            raise self.steps.program.error(
                "no op says which op of the global program it stands for; write the program with shlo partition --trace"
            )

    def twin(self, step: Step) -> Step | None:
        """The op of the counterpart that ``step`` stands for, if it stands for a whole one."""
        number = number_of(step.op)
        return None if number is None else self.by_number.get(number)

    def _read_marks(self, step: Step) -> None:
        try:
            marks = held(step.op, self.frame.mesh)
        except (KeyError, ValueError, TypeError):
            raise self.steps.program.error("its marks were not written for this side table's mesh", step.op) from None
        for value, mark in zip(step.outputs, marks, strict=True):
            golden = None if mark is None else self._golden_value(step, mark)
            if mark is not None and golden is not None:
                (self.partial if mark.reduced else self.known)[value] = golden, mark

    def _golden_value(self, step: Step, mark: Held) -> int | None:
        maker = None if mark.number is None else self.by_number.get(mark.number)
        if maker is not None and mark.result < len(maker.outputs):
            return maker.outputs[mark.result]
        if self.frame.outside is not None:
            # What a region takes from outside, moved.
            return self.frame.outside.get((mark.number, mark.result))
        if mark.number is None:
            return mark.result
        raise self.steps.program.error(
            f"it stands for op {mark.number}, which the global program does not have; shlo partition --trace "
            "writes the two that belong together", step.op,
        )
