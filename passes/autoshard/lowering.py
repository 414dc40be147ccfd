"""Plans as they are lowered: their text as a rules file, what the lowered program costs, and the usual plans beside."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, replace

from passes.autoshard import pins
from passes.autoshard.certificate import value_of
from passes.autoshard.dimensions import Dimensions
from passes.autoshard.model import Model
from passes.autoshard.plans import Plan, Price
from passes.autoshard.rules_text import Dims, constraint_entries, dims, rules_text
from passes.autoshard.search import Found, Goal
from passes.cost.program_cost import ProgramCost, cost
from passes.errors import UserError
from passes.program import entry, read, write
from passes.program.read import Program
from passes.sharding import rules_file
from passes.sharding.annotate import annotate
from passes.sharding.op_selection import Operations

# A plan that costs no more than this, in terms of what the model says of the next one, is taken for the best.
_CLOSE = 1.05


@dataclass(frozen=True)
class Choice:
    """A plan that was lowered.

    Attributes:
      title: What it is called in a table.
      rules: It as a rules file.
      price: What the model said; ``None`` for a preset.
      real: What the lowered program costs.
      plan: Its actions; empty for a preset.
    """

    title: str
    rules: str
    price: Price | None
    real: ProgramCost
    plan: Plan = ()

    @property
    def lowered(self) -> Price:
        """What the lowered program costs, in the model's terms."""
        e = self.real.estimate
        return Price(e.seconds, e.local, e.sent, e.memory.peak, e.memory.arguments)


class Lowering:
    """Lowers plans of one program, each once.

    Attributes:
      model: What priced them.
      source: The program, as bytecode.
      program: It again; it stays as it is.
      runs: How often a loop runs whose text does not tell.
      choices: What was lowered.
    """

    def __init__(self, model: Model, source: bytes, program: Program, runs: int) -> None:
        self.model, self.source, self.program, self.runs = model, source, program, runs
        self.choices: list[Choice] = []
        self._tried: set[tuple[str, ...]] = set()

    def lower(self, found: Iterable[Found], count: int, goal: Goal, all: bool = False) -> list[Choice]:
        """Lowers the first ``count`` of ``found`` that differ; no more once one is sure to be the best, unless ``all``.

        Those differ whose prices do in three digits: others split something small otherwise, if anything.
        """
        new: list[Choice] = []
        tried = 0
        for candidate in found:
            price = tuple([f"{value:.3g}" for value in astuple(candidate.price)])
            if price in self._tried:
                continue
            if tried >= count or (new and not all and _is_sure(new, candidate, goal)):
                break
            self._tried.add(price)
            tried += 1
            new += self._lowered(candidate, goal)
        self.choices += new
        return new

    def _lowered(self, candidate: Found, goal: Goal) -> list[Choice]:
        """``candidate`` lowered; nothing if that cannot be.

        With constraints it is what the model has priced; without them propagation may have found something better.
        """
        found = []
        for text in self._texts(candidate):
            copy = copy_of(self.source, self.program)
            try:
                annotate(copy, rules_file.parse(text))
                real = cost(copy, self.model.device, topology=self.model.topology, unknown_runs=self.runs)
            except UserError:
                continue
            found.append(Choice("autoshard", text, candidate.price, real, candidate.plan))
        return sorted(found, key=lambda c: goal.rank(c.lowered))[:1]

    def _texts(self, candidate: Found) -> list[str]:
        plain = text_of(self.model, candidate, self.program)
        try:
            pinned = pinned_text(self.source, self.program, self.model, candidate)
        except UserError:
            return [plain]
        # A large program takes long to lower.
        return [pinned] if pins.is_large(self.model) else list(dict.fromkeys([pinned, plain]))

    def presets(self) -> tuple[list[Choice], dict[str, str]]:
        """The usual plans that fit the program, and why others do not."""
        found: dict[bytes, Choice] = {}
        refused = {}
        for name, text in rules_file.presets().items():
            copy = copy_of(self.source, self.program)
            try:
                annotate(copy, rules_file.parse(text, f"preset:{name}", self.model.mesh))
                annotated = write.to_bytecode(copy.module)
                if annotated in found:
                    found[annotated] = replace(found[annotated], title=f"{found[annotated].title}, {name}")
                    continue
                real = cost(copy, self.model.device, topology=self.model.topology, unknown_runs=self.runs)
            except UserError as error:
                refused[name] = str(error).splitlines()[0]
                continue
            found[annotated] = Choice(f"preset:{name}", text, None, real)
        return list(found.values()), refused


def text_of(model: Model, found: Found, program: Program, constraints: Sequence[str] = ()) -> str:
    """``found`` as a rules file for ``program``, with entries for ``constraints``."""
    function = entry.find_entry(program)
    body, classes = model.dimensions.graph.entry, model.class_of

    def with_dims(values: list[entry.Value], numbers: tuple[int, ...]) -> list[tuple[entry.Value, Dims]]:
        chosen = []
        for value, n in zip(values, numbers, strict=True):
            if n not in model.given or not model.given[n].closed:
                k = classes[n]
                layout, priorities = model.layout(k, found.plan), model.priorities(k, found.plan)
                chosen.append((value, dims(model.mesh, layout, priorities)))
        return chosen

    return rules_text(
        model.mesh, with_dims(entry.arguments(function), body.arguments),
        with_dims(entry.results(function), body.returned), "\n".join(describe(model, found.plan)), constraints,
    )


def pinned_text(source: bytes, program: Program, model: Model, found: Found) -> str:
    """`text_of` with the constraints without which some ops would be split otherwise.

    Raises:
      UserError: the program cannot be planned.
    """
    whole = Operations(copy_of(source, program))

    def text(chosen: list[pins.Pin]) -> str:
        return text_of(model, found, program, constraint_entries(model.mesh, whole.all, chosen))

    def annotated(chosen: list[pins.Pin]) -> Program:
        copy = copy_of(source, program)
        pins.mark(copy)
        annotate(copy, rules_file.parse(text(chosen)))
        return copy

    return text(pins.pins_of(model, found.plan, annotated))


def describe(model: Model, plan: Plan) -> list[str]:
    """The actions of ``plan`` in words."""
    return [
        f"{model.mesh.axes[axis][0]} splits {title(model.dimensions, colour)}" for colour, axis in plan
    ] or ["nothing is split: every device runs the whole program"]


def title(dimensions: Dimensions, colour: int) -> str:
    """A colour by its size and where it is found."""
    where = dimensions.titles[colour]
    more = f" and {len(where) - 2} more" if len(where) > 2 else ""
    return f"size {dimensions.sizes[colour]}: {', '.join(where[:2])}{more}"


def copy_of(source: bytes, program: Program) -> Program:
    """``program`` again, from its bytecode."""
    return replace(read.parse(source, program.source), text=program.text)


def _is_sure(choices: Sequence[Choice], following: Found, goal: Goal) -> bool:
    """Whether one of ``choices`` fits and costs hardly more than the model says of the next plan."""
    best = min([choice.lowered for choice in choices], key=goal.rank)
    return goal.fits(best) and value_of(goal, best) <= _CLOSE * value_of(goal, following.price)
