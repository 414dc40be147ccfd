"""Whole programs: the op tables put together, and meshes of one to three axes."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable
from dataclasses import dataclass

from passes.sharding.mesh import Mesh
from tests.generate import control_flow, elementwise, indexed, manual, movement, sums
from tests.generate.builder import Builder, Unit, Value, names, typed, types, version

KINDS: dict[Callable[[Builder], None], float] = {
    **elementwise.KINDS, **movement.KINDS, **sums.KINDS, **indexed.KINDS, **control_flow.KINDS,
}

# How many ops are drawn at most; with what they need, programs have two to three times as many.
OPS = 20


@dataclass(frozen=True)
class Generated:
    """A program.

    Attributes:
      text: The module.
      plain: The same without manual computations, for one device; all it says of shardings is in sharding rules.
      deader: The same with ops, and functions, that nothing needs.
      doubled: The same with loops that carry every value twice, and calls of copies of functions.
      mesh: Its mesh, which the module has under the name ``mesh``, or None.
      features: What it has of ``manual`` (computations) and ``rules``.
    """

    text: str
    plain: str
    deader: str
    doubled: str
    mesh: Mesh | None
    features: frozenset[str]


def add_ops(build: Builder, count: int) -> None:
    """Adds ``count`` ops, and what they need."""
    kinds = {**KINDS, **manual.KINDS} if build.unit.mesh is not None else KINDS
    for kind in build.choose.choices(list(kinds), list(kinds.values()), k=count):
        kind(build)


def random_mesh(choose: random.Random, most: int = 12, sizes: tuple[int, ...] = (1, 2, 2, 3, 4)) -> Mesh:
    """One to three axes; at most ``most`` devices, at times renumbered."""
    while True:
        axes = tuple(zip("xyz", choose.choices(sizes, k=choose.randint(1, 3)), strict=False))
        count = math.prod(size for _, size in axes)
        if count <= most:
            ids = tuple(choose.sample(range(count), count)) if choose.random() < 0.2 else ()
            return Mesh(axes, ids)


def generate(choose: random.Random, ops: int = OPS, exact: bool = True, mesh: Mesh | None = None) -> Generated:
    """A program of about ``ops`` drawn ops.

    Args:
      exact: All floats are integers that no order of a sum rounds, given small integers as arguments.
      mesh: Adds it, and now and then manual computations over its axes and sharding rules of the user's.
    """
    unit = Unit(exact, mesh)
    build = Builder(choose, unit, is_main=True)
    build.fresh(build.shape(2), "f32")
    add_ops(build, choose.randint(1, ops))
    ends = [build.choose.choice(build.scope[-12:]) for _ in range(choose.randint(1, 6))]
    text, plain, doubled = _text(build, ends), _text(build, ends, plain=True), _text(build, ends, which=1)
    features = frozenset(unit.features)
    build.is_main = False  # No more arguments: those of two functions that are compared are the same.
    add_ops(build, 3)
    return Generated(text, plain, _text(build, ends), doubled, mesh, features)


def _text(build: Builder, ends: list[Value], plain: bool = False, which: int = 0) -> str:
    unit = build.unit
    lines = [unit.plain.get(number, line) if plain else line for number, line in enumerate(build.lines)]
    body = "\n".join(lines)
    main = f"""func.func @main({typed(unit.arguments)}) -> ({types(ends)}) {{
{body}
return {names(ends)} : {types(ends)}
}}"""
    functions = [*unit.texts, *(re.sub(r"@f(\d+)\(", r"@g\1(", text, count=1) for text in unit.texts if which)]
    lines = ["module {", *([_mesh(unit.mesh)] if unit.mesh else []), main, *functions, "}\n"]
    return version("\n".join(lines), which)


def _mesh(mesh: Mesh) -> str:
    axes = ", ".join(f'"{name}"={size}' for name, size in mesh.axes)
    ids = f", device_ids={list(mesh.device_ids)}" if mesh.device_ids else ""
    return f"sdy.mesh @mesh = <[{axes}]{ids}>"


def seeded(seed: int, ops: int = OPS, exact: bool | None = None, on_mesh: bool = False) -> Generated:
    """The program of ``seed``; every other one is exact if that is not asked for."""
    choose = random.Random(f"program {seed}")
    mesh = random_mesh(choose) if on_mesh else None
    return generate(choose, ops, seed % 2 == 0 if exact is None else exact, mesh)
