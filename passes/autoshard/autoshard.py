"""Chooses the sharding of a program: analyse, search, cost the best plans for real, compare with the usual plans."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from passes.autoshard import pins
from passes.autoshard.certificate import Certificate, certify, value_of
from passes.autoshard.classes import Classes
from passes.autoshard.dimensions import analyse
from passes.autoshard.given import given, the_mesh
from passes.autoshard.lowering import Choice, Lowering, copy_of
from passes.autoshard.model import Model
from passes.autoshard.occupancy import Occupancy
from passes.autoshard.search import TIE, Found, Goal, search
from passes.autoshard.stored import stored
from passes.cost.device import Device
from passes.cost.estimate import estimate
from passes.cost.graph import read_graph
from passes.partition.partition import NORMALISE
from passes.partition.plan import SUPPORT
from passes.pipeline import runner
from passes.pipeline.prechecks import check_for_sdy
from passes.program import entry, write
from passes.program.read import Program
from passes.program.walk import named
from passes.sharding.mesh import Mesh
from passes.sharding.op_rules import populate
from passes.sharding.tuples import NAMES
from passes.sharding.tuples import dissolve as dissolve_tuples

# How many limits are tried where what was lowered does not fit, and how many plans are lowered for each.
_TRIES, _MORE = 4, 2
# What a plan costs by the model is at most so much more than what it really costs.
_PROMISED = 1.05


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
      certificate: How much better the plan could be that the model finds best; ``None`` if that was not asked for, or
        if the model says that nothing fits.
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
        return self.goal.fits(self.best.lowered)


def prepare(program: Program, mesh: Mesh, device: Device, topology: str | None = None, runs: int = 1) -> Model:
    """The model of ``program``, which is flattened and gets sharding rules on the way.

    Raises:
      UserError: a tensor has a dynamic shape, or a value is something else than a tensor.
    """
    dissolve_tuples(program, named(program.module, NAMES))
    check_for_sdy(program)
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
        are once one costs hardly more than the model says of the next, and of large programs no more than two.
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
    model = prepare(copy_of(source, program), mesh, device, topology, unknown_runs)
    lowering = Lowering(model, source, program, unknown_runs)
    found, certificate = _look(model, goal, certify_seconds)
    # Of plans that the model thinks too large it knows least memory, and no better ones; large programs take long.
    few = pins.is_large(model) or not goal.fits(found[0].price)
    count = min(lowered, _MORE) if few and not alternatives else lowered
    lowering.lower(found, count, goal, alternatives)
    considered = len(found) + _until_one_fits(lowering, goal, found[0])
    _lower_stored(lowering, goal)
    # A preset would write over what is given.
    presets, refused = lowering.presets() if compare and not model.given else ([], {})
    if not any(goal.fits(choice.lowered) for choice in (*lowering.choices, *presets)):
        # What takes least memory is the answer, and how much that is.
        goal = replace(goal, objective="memory")
        found, certificate = _look(model, goal, certify_seconds)
        considered += len(found)
        lowering.lower(found, _MORE, goal)
    ranked = _ranked(goal, lowering.choices, presets)
    if not ranked:
        raise program.error("no plan that was found can be lowered")
    others = [choice for choice in ranked[1:] if choice in lowering.choices]
    return Outcome(ranked[0], others, presets, refused, model, considered, goal, certificate)


def _look(model: Model, goal: Goal, certify_seconds: float) -> tuple[list[Found], Certificate | None]:
    """The plans found, in the order in which they are to be lowered, and what is certain about the best."""
    found = search(model, goal)
    if not certify_seconds:
        return _to_lower(found, goal), None
    certificate = certify(model, found[0], goal, certify_seconds)
    if certificate.best != found[0]:
        found.insert(0, certificate.best)
    # If nothing fits by the model, a plan that really does is within no part of anything.
    certain = certificate if goal.fits(certificate.best.price) or goal.objective == "memory" else None
    return _to_lower(found, goal), certain


def _to_lower(found: list[Found], goal: Goal) -> list[Found]:
    """``found``, which is best first, as it is to be lowered.

    What `Goal.sparing` prefers comes first, then the plan of fewest actions that is equal in the objective: what the
    model says is not that exact, and simple plans come out of lowering as they went in.
    """
    best = value_of(goal, found[0].price)
    equal = [f for f in found if goal.fits(f.price) and value_of(goal, f.price) <= (1 + TIE) * best] or found[:1]
    first = [goal.sparing(found, lambda plan: plan.price), min(equal, key=lambda plan: len(plan.plan))]
    return list({id(plan): plan for plan in (*first, *found)}.values())


def _until_one_fits(lowering: Lowering, goal: Goal, first: Found) -> int:
    """Lowers more plans while the model thinks of the ``first`` that it fits and none does, or the other way round.

    What lowered programs take may be more or less than the model says, so limits are tried that differ from the real
    one by the same part. Returns how many plans were priced for that.
    """
    considered, aim = 0, goal
    for _ in range(_TRIES):
        fits = any(goal.fits(choice.lowered) for choice in lowering.choices)
        if goal.limit is None or not lowering.choices or fits == aim.fits(first.price):
            break
        least = min(lowering.choices, key=lambda choice: choice.lowered.peak)
        said = least.price.peak if least.price is not None else 0.0
        aim = replace(goal, limit=goal.limit * said / least.lowered.peak)
        found = _to_lower(search(lowering.model, aim), aim)
        considered, first = considered + len(found), found[0]
        if not lowering.lower(found, _MORE, goal):
            break
    return considered


def _lower_stored(lowering: Lowering, goal: Goal) -> None:
    """Lowers the plan that stores everything in shards too, where by the model it is not much worse than what was."""
    plan = stored(lowering.model)
    price = lowering.model.price(plan)
    best = min([choice.lowered for choice in lowering.choices], key=goal.rank, default=None)
    if best is None or not goal.fits(best) or value_of(goal, price) <= _PROMISED * value_of(goal, best):
        lowering.lower([Found(plan, price)], 1, goal)


def _ranked(goal: Goal, choices: list[Choice], presets: list[Choice]) -> list[Choice]:
    """All of these, the answer first and then by ``goal``; for time, no preset that fits is faster than the answer."""
    ranked = sorted([*choices, *presets], key=lambda choice: goal.rank(choice.lowered))
    if not ranked:
        return []
    usual = min([choice.lowered.seconds for choice in presets if goal.fits(choice.lowered)], default=math.inf)
    able = [choice for choice in ranked if choice is ranked[0] or choice.lowered.seconds <= usual]
    first = goal.sparing(able, lambda choice: choice.lowered)
    return [first, *[choice for choice in ranked if choice is not first]]


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
    first = prepare(copy_of(source, program), shapes[0], device, topology, unknown_runs)
    share = replace(goal, seconds=goal.seconds / len(shapes))
    found = [(mesh, search(first.on(mesh), share)[0]) for mesh in shapes]
    return sorted(found, key=lambda f: goal.rank(f[1].price))
