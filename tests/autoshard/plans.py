"""Plans of example programs by name: what tests of the model and of choosing need."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from passes.autoshard.autoshard import prepare
from passes.autoshard.lowering import text_of
from passes.autoshard.model import Model
from passes.autoshard.plans import Plan
from passes.autoshard.search import Found
from passes.cost import device
from passes.cost.program_cost import ProgramCost, cost
from passes.program import read
from passes.program.read import Program
from passes.sharding import rules_file
from passes.sharding.annotate import annotate

EXAMPLES = Path(__file__).parents[2] / "examples"
V5E = device.load("tpu_v5e")
MESH = rules_file.parse_mesh("data=2,model=4")


@dataclass(frozen=True)
class Example:
    """A program and its model on `MESH`."""

    path: str
    model: Model

    def program(self) -> Program:
        """A new copy of the program."""
        return read.read(self.path)

    def plan(self, *actions: str) -> Plan:
        """``x.0 data``: dimension 0 of x, and all that has its colour, over data."""
        colours = {title: c for c, titles in enumerate(self.model.dimensions.titles) for title in titles}
        axes = [name for name, _ in MESH.axes]
        pairs = (action.split() for action in actions)
        return tuple((colours[title], axes.index(axis)) for title, axis in pairs)

    def lowered(self, plan: Plan) -> ProgramCost:
        """What the program of ``plan`` really costs."""
        program = self.program()
        text = text_of(self.model, Found(plan, self.model.price(plan)), program)
        annotate(program, rules_file.parse(text))
        return cost(program, V5E)


@cache
def example(name: str) -> Example:
    """The example program ``decoder/train_step``, say."""
    path = str(EXAMPLES / f"{name}.mlir")
    return Example(path, prepare(read.read(path), MESH, V5E))
