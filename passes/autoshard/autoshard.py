"""Chooses the sharding of a program: analyse, search, cost the best plans for real, compare with the usual plans."""

from __future__ import annotations

from dataclasses import dataclass, replace

from passes.autoshard.certificate import Certificate, certify
from passes.autoshard.classes import Classes
from passes.autoshard.dimensions import Dimensions, analyse
from passes.autoshard.given import given, the_mesh
from passes.autoshard.model import Model
from passes.autoshard.occupancy import Occupancy
from passes.autoshard.plans import Layout, Plan, Price
from passes.autoshard.rules_text import Dims, dims, rules_text
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

# Among so many of the best plans those are looked for that propagation cannot take otherwise.
_DOUBTED = 1000


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
    unknown_runs: int = 1, compare: bool = True, certify_seconds: float = 5.0,
) -> Outcome:
    """The best sharding of ``program`` that was found; the program stays as it is.

    Args:
      program: What is sharded in it stays as it is: arguments, results and constraints.
      mesh: Its devices; ``None`` takes the mesh that the program has.
      device: Of this kind.
      goal: What to look for.
      topology: How devices are joined, in place of what ``device`` says.
      lowered: How many of the plans that look best are lowered, to choose by what they really cost.
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
    choices = []
    for candidate in _distinct(model, found, lowered):
        text = text_of(model, candidate, program)
        real = _lower(source, program, text, model, unknown_runs)
        if real is not None:
            choices.append(Choice("autoshard", text, candidate.price, real, candidate.plan))
    # A preset would write over what is given.
    compare = compare and not model.given
    presets, refused = _presets(source, program, model, unknown_runs) if compare else ([], {})
    ranked = sorted([*choices, *presets], key=lambda c: goal.rank(_real_price(c.real)))
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
    """The meshes of so many devices with one axis ``x``, or with ``x`` and ``y``."""
    sizes = [(a, devices // a) for a in range(2, devices // 2 + 1) if devices % a == 0]
    return [Mesh((("x", devices),)), *[Mesh((("x", a), ("y", b))) for a, b in sizes]]


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


def text_of(model: Model, found: Found, program: Program) -> str:
    """``found`` as a rules file for ``program``."""
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
        with_dims(entry.results(function), body.returned), "\n".join(describe(model, found.plan)),
    )


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


def _distinct(model: Model, found: list[Found], count: int) -> list[Found]:
    """The first ``count`` that give arguments or results different layouts, half of them without doubt."""
    body = model.dimensions.graph.entry
    chosen: dict[tuple[Layout, ...], Found] = {}
    half, sure = (count + 1) // 2, (f for f in found[:_DOUBTED] if not model.in_doubt(f.plan))
    for candidates, enough in ((found, half), (sure, count), (found, count)):
        for candidate in candidates:
            if len(chosen) >= enough:
                break
            values = (*body.arguments, *body.returned)
            layouts = tuple([model.layout(model.class_of[v], candidate.plan) for v in values])
            chosen.setdefault(layouts, candidate)
    return list(chosen.values())


def _lower(source: bytes, program: Program, text: str, model: Model, runs: int) -> ProgramCost | None:
    copy = _copy(source, program)
    annotate(copy, rules_file.parse(text))
    try:
        return cost(copy, model.device, topology=model.topology, unknown_runs=runs)
    except UserError:
        return None


def _presets(
    source: bytes, program: Program, model: Model, runs: int
) -> tuple[list[Choice], dict[str, str]]:
    found, refused = [], {}
    for name, text in rules_file.presets().items():
        copy = _copy(source, program)
        try:
            annotate(copy, rules_file.parse(text, f"preset:{name}", model.mesh))
            real = cost(copy, model.device, topology=model.topology, unknown_runs=runs)
        except UserError as error:
            refused[name] = str(error).splitlines()[0]
            continue
        found.append(Choice(f"preset:{name}", text, None, real))
    return found, refused


def _real_price(real: ProgramCost) -> Price:
    e = real.estimate
    return Price(e.seconds, e.local, e.sent, e.memory.peak, e.memory.arguments)
