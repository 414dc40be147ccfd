"""Chooses the sharding of a program: analyse, search, cost the best plans for real, compare with the usual plans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace

from passes.autoshard import pins
from passes.autoshard.certificate import Certificate, certify, value_of
from passes.autoshard.classes import Classes
from passes.autoshard.dimensions import Dimensions, analyse
from passes.autoshard.given import given, the_mesh
from passes.autoshard.model import Model
from passes.autoshard.occupancy import Occupancy
from passes.autoshard.plans import Plan, Price
from passes.autoshard.rules_text import Dims, constraint_entries, dims, rules_text
from passes.autoshard.search import Found, Goal, search
from passes.cost.device import Device
from passes.cost.estimate import estimate
from passes.cost.graph import read_graph
from passes.cost.program_cost import ProgramCost, cost
from passes.errors import UserError
from passes.partition.partition import NORMALISE
from passes.partition.plan import SUPPORT
from passes.pipeline import runner
from passes.program import entry, read, write
from passes.program.read import Program
from passes.sharding import rules_file
from passes.sharding.annotate import annotate
from passes.sharding.mesh import Mesh
from passes.sharding.op_rules import populate
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


@dataclass(frozen=True)
class Outcome:
    """What was chosen.

    Attributes:
      best: The answer.
      others: Other plans that were lowered, best first.
      presets: The usual plans that fit the program.
      refused: The usual plans that do not, with the reason.
      model: What priced plans.
      considered: How many plans were priced.
      goal: What was looked for in the end: least memory, if nothing was found that fits.
      certificate: How much better the plan could be that the model finds best; ``None`` if that was not asked for.
    """

    best: Choice
    others: list[Choice]
    presets: list[Choice]
    refused: dict[str, str]
    model: Model
    considered: int
    goal: Goal
    certificate: Certificate | None = None

    @property
    def fits(self) -> bool:
        """Whether the answer takes no more memory than the limit."""
        return self.goal.limit is None or self.best.real.estimate.memory.peak <= self.goal.limit


def prepare(program: Program, mesh: Mesh, device: Device, topology: str | None = None, runs: int = 1) -> Model:
    """The model of ``program``, which is flattened and gets sharding rules on the way.

    Raises:
      UserError: a tensor has a dynamic shape.
    """
    pins.mark(program)
    runner.run(program, NORMALISE.replace("EXCEPT", ""))
    populate(program, SUPPORT)
    graph = read_graph(program, unknown_runs=runs)
    whole = estimate(graph, device, topology)
    function = entry.find_entry(program)
    kept = given(graph, function, mesh)
    classes = Classes(analyse(graph, function), whole.fusions, kept)
    return Model(classes, Occupancy(classes, whole.memory), mesh, device, topology, kept)


def choose(
    program: Program, mesh: Mesh | None, device: Device, goal: Goal, *, topology: str | None = None, lowered: int = 4,
    alternatives: bool = False, unknown_runs: int = 1, compare: bool = True, certify_seconds: float = 5.0,
) -> Outcome:
    """The best sharding of ``program`` that was found; the program stays as it is.

    Args:
      program: What is sharded in it stays as it is: arguments, results and constraints.
      mesh: Its devices; ``None`` takes the mesh that the program has.
      device: Of this kind.
      goal: What to look for.
      topology: How devices are joined, in place of what ``device`` says.
      lowered: How many of the plans that look best are lowered at most, to choose by what they really cost; no more
        are once one costs hardly more than the model says of the next.
      alternatives: Lowers that many in any case.
      unknown_runs: How often a loop runs whose text does not tell.
      compare: Whether the presets are lowered too; a preset that is better is the answer.
      certify_seconds: How long to look for a proof that no plan is much better; better plans that turn up are lowered
        too.

    Raises:
      UserError: there is no mesh, or the program has another one or shardings that cannot be kept.
    """
    mesh = the_mesh(program, mesh)
    source = write.to_bytecode(program.module)
    model = prepare(_copy(source, program), mesh, device, topology, unknown_runs)
    found, certificate = _look(model, goal, certify_seconds)
    if goal.limit is not None and found[0].price.peak > goal.limit and goal.objective != "memory":
        # What fits best is the answer, and how much it needs.
        goal = replace(goal, objective="memory")
        found, certificate = _look(model, goal, certify_seconds)

    def rank(choice: Choice) -> tuple[float, ...]:
        return goal.rank(_real_price(choice.real))

    choices: list[Choice] = []
    for candidate in _distinct(found, lowered):
        if choices and not alternatives and _is_sure(min(choices, key=rank), candidate, goal):
            break
        choice = _lower(source, program, model, candidate, goal, unknown_runs)
        if choice is not None:
            choices.append(choice)
    # A preset would write over what is given.
    compare = compare and not model.given
    presets, refused = _presets(source, program, model, unknown_runs) if compare else ([], {})
    ranked = sorted([*choices, *presets], key=rank)
    if not ranked:
        raise program.error("no plan that was found can be lowered")
    return Outcome(ranked[0], [c for c in ranked[1:] if c in choices], presets, refused, model, len(found), goal,
                   certificate)


def _look(model: Model, goal: Goal, certify_seconds: float) -> tuple[list[Found], Certificate | None]:
    """The plans found, best first, and what is certain about the first."""
    found = search(model, goal)
    if not certify_seconds:
        return found, None
    certificate = certify(model, found[0], goal, certify_seconds)
    if certificate.best != found[0]:
        found.insert(0, certificate.best)
    return found, certificate


def mesh_shapes(devices: int) -> list[Mesh]:
    """The meshes of so many devices with one axis ``data``, or with ``data`` and ``model``, as presets call them."""
    sizes = [(a, devices // a) for a in range(2, devices // 2 + 1) if devices % a == 0]
    return [Mesh((("data", devices),)), *[Mesh((("data", a), ("model", b))) for a, b in sizes]]


def ranked_meshes(
    program: Program, shapes: list[Mesh], device: Device, goal: Goal, *, topology: str | None = None,
    unknown_runs: int = 1,
) -> list[tuple[Mesh, Found]]:
    """``shapes`` with the best plan of each by the model, best first; ``goal.seconds`` is for all together."""
    source = write.to_bytecode(program.module)
    first = prepare(_copy(source, program), shapes[0], device, topology, unknown_runs)
    share = replace(goal, seconds=goal.seconds / len(shapes))
    found = [(mesh, search(first.on(mesh), share)[0]) for mesh in shapes]
    return sorted(found, key=lambda f: goal.rank(f[1].price))


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
    whole = Operations(_copy(source, program))

    def text(chosen: list[pins.Pin]) -> str:
        return text_of(model, found, program, constraint_entries(model.mesh, whole.all, chosen))

    def annotated(chosen: list[pins.Pin]) -> Program:
        copy = _copy(source, program)
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


def _copy(source: bytes, program: Program) -> Program:
    return replace(read.parse(source, program.source), text=program.text)


def _is_sure(best: Choice, following: Found, goal: Goal) -> bool:
    """Whether ``best``, which fits, costs hardly more than the model says of the next plan."""
    real = _real_price(best.real)
    fits = goal.limit is None or real.peak <= goal.limit
    return fits and value_of(goal, real) <= _CLOSE * value_of(goal, following.price)


def _distinct(found: list[Found], count: int) -> list[Found]:
    """The first ``count`` whose prices differ in three digits: others split something small otherwise, if anything."""
    chosen: dict[tuple[str, ...], Found] = {}
    for candidate in found:
        if len(chosen) >= count:
            break
        chosen.setdefault(tuple([f"{value:.3g}" for value in astuple(candidate.price)]), candidate)
    return list(chosen.values())


def _lower(source: bytes, program: Program, model: Model, candidate: Found, goal: Goal, runs: int) -> Choice | None:
    """``candidate`` lowered; ``None`` if that cannot be.

    With constraints it is what the model has priced; without them propagation may have found something better.
    """
    found = []
    for text in _texts(source, program, model, candidate):
        copy = _copy(source, program)
        try:
            annotate(copy, rules_file.parse(text))
            real = cost(copy, model.device, topology=model.topology, unknown_runs=runs)
        except UserError:
            continue
        found.append(Choice("autoshard", text, candidate.price, real, candidate.plan))
    return min(found, key=lambda c: goal.rank(_real_price(c.real)), default=None)


def _texts(source: bytes, program: Program, model: Model, candidate: Found) -> list[str]:
    plain = text_of(model, candidate, program)
    try:
        pinned = pinned_text(source, program, model, candidate)
    except UserError:
        return [plain]
    # A large program takes long to lower.
    return [pinned] if pins.is_large(model) else list(dict.fromkeys([pinned, plain]))


def _presets(
    source: bytes, program: Program, model: Model, runs: int
) -> tuple[list[Choice], dict[str, str]]:
    found: dict[bytes, Choice] = {}
    refused = {}
    for name, text in rules_file.presets().items():
        copy = _copy(source, program)
        try:
            annotate(copy, rules_file.parse(text, f"preset:{name}", model.mesh))
            annotated = write.to_bytecode(copy.module)
            if annotated in found:
                found[annotated] = replace(found[annotated], title=f"{found[annotated].title}, {name}")
                continue
            real = cost(copy, model.device, topology=model.topology, unknown_runs=runs)
        except UserError as error:
            refused[name] = str(error).splitlines()[0]
            continue
        found[annotated] = Choice(f"preset:{name}", text, None, real)
    return list(found.values()), refused


def _real_price(real: ProgramCost) -> Price:
    e = real.estimate
    return Price(e.seconds, e.local, e.sent, e.memory.peak, e.memory.arguments)
