"""The values of a program that is being made, and how an op that is drawn finds or makes the operands it needs.

Floats of an *exact* program are integers with a known bound, so that sums in any order have the same bits; a value that
grows too large is clamped before it is used on.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from passes.sharding.mesh import Mesh

Shape = tuple[int, ...]

FLOATS = ("f32", "f64", "bf16")
INTEGERS = ("i32", "i64", "ui8")
# How often an element type is drawn.
ELEMENTS = {"f32": 8, "i32": 4, "i1": 2, "f64": 1, "bf16": 1, "i64": 1, "ui8": 1}
# Below these every integer has a float, with room for a sum of some values.
LIMITS = {"f32": 2.0**20, "f64": 2.0**45, "bf16": 64.0}
# What arguments, results of functions and values that loops carry are at most.
SMALL = 8.0
MOST_ELEMENTS = 400
SIZES = (1, 2, 3, 4, 4, 6, 8, 8, 12)

CONSTANTS = {
    "float": ("0.0", "-0.0", "1.0", "2.0", "-3.0"),
    "i32": ("0", "1", "-1", "3"), "i64": ("0", "1", "-1", "3"), "ui8": ("0", "1", "255"), "i1": ("true", "false"),
}
SPECIAL = {"f32": "0xFF800000", "f64": "0x7FF0000000000000", "bf16": "0x7FC0"}


@dataclass(frozen=True)
class Value:
    """A value in scope; ``bound`` is what a float is at most, and ``inf`` where nothing is known."""

    name: str
    shape: Shape
    element: str
    bound: float = math.inf

    @property
    def type(self) -> str:
        return tensor(self.shape, self.element)

    @property
    def is_float(self) -> bool:
        return self.element in FLOATS


def tensor(shape: Sequence[int], element: str) -> str:
    """The text of a tensor type."""
    return f"tensor<{''.join(f'{size}x' for size in shape)}{element}>"


@dataclass(frozen=True)
class Function:
    """A function that can be called: the values it takes and returns (names mean nothing)."""

    name: str
    arguments: tuple[Value, ...]
    results: tuple[Value, ...]


@dataclass
class Unit:
    """The module that is being made: its functions, the arguments of its main function, and its next free name."""

    exact: bool
    mesh: Mesh | None = None
    functions: list[Function] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    arguments: list[Value] = field(default_factory=list)
    names: int = 0
    features: set[str] = field(default_factory=set)
    # Line of main -> what stands there in the program for one device.
    plain: dict[int, str] = field(default_factory=dict)


@dataclass
class Builder:
    """One block that ops are added to.

    Attributes:
      choose: Makes all choices.
      scope: The values that ops may take, the oldest first.
      depth: How many regions and functions it is inside.
      is_main: Whether new arguments can be added, as the block is that of the main function.
    """

    choose: random.Random
    unit: Unit
    scope: list[Value] = field(default_factory=list)
    depth: int = 0
    is_main: bool = False
    lines: list[str] = field(default_factory=list)

    def chance(self, probability: float) -> bool:
        return self.choose.random() < probability

    def name(self) -> str:
        self.unit.names += 1
        return f"%v{self.unit.names}"

    def element(self, among: Sequence[str] = tuple(ELEMENTS)) -> str:
        return self.choose.choices(among, [ELEMENTS[e] for e in among])[0]

    def shape(self, rank: int | None = None) -> Shape:
        """A shape of few elements."""
        rank = self.choose.choice((0, 1, 2, 2, 2, 3)) if rank is None else rank
        found = [self.choose.choice(SIZES) for _ in range(rank)]
        while math.prod(found) > MOST_ELEMENTS:
            found[self.choose.randrange(rank)] = self.choose.choice(SIZES[:4])
        return tuple(found)

    def value(self, fits: Callable[[Value], bool] = lambda _: True) -> Value | None:
        """A value in scope that ``fits``, one of the last few at most times."""
        found = [value for value in self.scope if fits(value)]
        if not found:
            return None
        return self.choose.choice(found[-4:] if self.chance(0.7) else found)

    def some(self, elements: Sequence[str] = tuple(ELEMENTS), rank: int = 0) -> Value:
        """A value of one of these elements and at least this rank, a new one if there is none."""
        found = self.value(lambda v: v.element in elements and len(v.shape) >= rank)
        if found is None or self.chance(0.05):
            return self.fresh(self.shape(max(rank, self.choose.choice((1, 2, 2, 3)))), self.element(elements))
        return found

    def need(self, shape: Shape, element: str) -> Value:
        """A value of exactly this type: one in scope, or another one's elements, or a new one."""
        found = self.value(lambda v: (v.shape, v.element) == (shape, element))
        if found is not None and self.chance(0.8):
            return found
        alike = self.value(lambda v: v.element == element and math.prod(v.shape) == math.prod(shape))
        if alike is not None and self.chance(0.5):
            return self.define(f"reshape {alike.name} : ({alike.type}) -> {tensor(shape, element)}", shape, element,
                               alike.bound)
        return self.fresh(shape, element)

    def fresh(self, shape: Shape, element: str) -> Value:
        """A new argument, where there can be one, or constant."""
        if self.is_main and len(self.unit.arguments) < 6 and self.chance(0.8):
            bound = SMALL if element in FLOATS and self.unit.exact else math.inf
            found = Value(f"%a{len(self.unit.arguments)}", shape, element, bound)
            self.unit.arguments.append(found)
            self.scope.append(found)
            return found
        return self.constant(shape, element)

    def constant(self, shape: Shape, element: str) -> Value:
        """A constant, of one number at most times, or an iota."""
        kind = "float" if element in FLOATS else element
        if shape and element != "i1" and self.chance(0.3):
            dim = self.choose.randrange(len(shape))
            return self.define(f"iota dim = {dim} : {tensor(shape, element)}", shape, element, float(shape[dim]))
        numbers = list(CONSTANTS[kind])
        if not self.unit.exact and element in SPECIAL:
            numbers.append(SPECIAL[element])
        text = self.choose.choice(numbers)
        if 1 < math.prod(shape) <= 24 and self.chance(0.3):
            text = self._elements(shape, numbers)
        if shape and not text.startswith("[") and self.chance(0.5):
            return self.spread(text, shape, element)
        return self.define(f"constant dense<{text}> : {tensor(shape, element)}", shape, element,
                           3.0 if self.unit.exact else math.inf)

    def spread(self, text: str, shape: Shape, element: str) -> Value:
        """The number ``text`` in all places."""
        scalar = self.scalar(text, element)
        return self.define(f"broadcast_in_dim {scalar.name}, dims = [] : ({scalar.type}) -> {tensor(shape, element)}",
                           shape, element, scalar.bound)

    def _elements(self, shape: Shape, numbers: Sequence[str]) -> str:
        if not shape:
            return self.choose.choice(numbers)
        return f"[{', '.join(self._elements(shape[1:], numbers) for _ in range(shape[0]))}]"

    def scalar(self, text: str, element: str) -> Value:
        """The constant ``text`` of no dimensions."""
        bound = abs(float(text)) if element in FLOATS and not text.startswith("0x") else math.inf
        return self.define(f"constant dense<{text}> : {tensor((), element)}", (), element, bound)

    def tame(self, value: Value, most: float | None = None) -> Value:
        """``value``, clamped if an exact program's float may be more than ``most``, or than may be summed."""
        most = LIMITS.get(value.element, math.inf) / 2 if most is None else most
        if not (self.unit.exact and value.is_float) or value.bound <= most:
            return value
        limit = float(math.floor(min(most, SMALL)))
        low, high = self.scalar(f"{-limit}", value.element), self.scalar(f"{limit}", value.element)
        return self.define(f"clamp {low.name}, {value.name}, {high.name} : ({low.type}, {value.type}, {high.type}) -> "
                           f"{value.type}", value.shape, value.element, limit)

    def define(self, text: str, shape: Shape, element: str, bound: float = math.inf) -> Value:
        """Adds the StableHLO op ``text``, without the dialect's name, of one result."""
        found = Value(self.name(), shape, element, bound)
        self.lines.append(f"{found.name} = stablehlo.{text}")
        self.scope.append(found)
        return found

    def several(self, text: str, results: Sequence[Value]) -> list[Value]:
        """Adds the op ``text``, with its dialect's name, whose results are like ``results``."""
        name = self.name()
        many = len(results) > 1
        self.lines.append(f"{name}{f':{len(results)}' if many else ''} = {text}" if results else text)
        found = [Value(f"{name}#{i}" if many else name, r.shape, r.element, r.bound) for i, r in enumerate(results)]
        self.scope += found
        return found

    def inner(self, *arguments: Value, captures: bool = True) -> Builder:
        """The builder of a region or a function's body."""
        scope = [*(self.scope if captures else ()), *arguments]
        return Builder(self.choose, self.unit, scope, self.depth + 1)

    def text(self) -> str:
        return "\n".join(self.lines)


def two(plain: str, doubled: str) -> str:
    """A text that the program and its other version, in which loops and functions come twice, spell differently."""
    return f"«{plain}|{doubled}»"


_TWO = re.compile("«([^«|»]*)\\|([^«|»]*)»")


def version(text: str, which: int) -> str:
    """``text`` as the program (0) or its other version (1) has it."""
    count = 1
    while count:  # The innermost first.
        text, count = _TWO.subn(lambda pair: pair[1 + which], text)
    return text


def names(values: Sequence[Value]) -> str:
    return ", ".join(value.name for value in values)


def types(values: Sequence[Value]) -> str:
    return ", ".join(value.type for value in values)


def typed(values: Sequence[Value]) -> str:
    """``values`` as a block's or function's arguments."""
    return ", ".join(f"{value.name}: {value.type}" for value in values)
