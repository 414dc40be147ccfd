"""What a rules file says, as data; `rules_file` reads one and documents its form."""

from __future__ import annotations

import re
from dataclasses import dataclass

from passes.errors import Where
from passes.sharding.mesh import Mesh
from passes.sharding.rule_notation import Notation


@dataclass(frozen=True)
class DimRule:
    """How one dimension is sharded.

    Attributes:
      axes: The axes it is split over, major to minor.
      is_open: Lets propagation add more.
      priority: When propagation takes it up: 0 first, ``None`` as 0.
    """

    axes: tuple[str, ...] = ()
    is_open: bool = False
    priority: int | None = None


@dataclass(frozen=True)
class Layout:
    """How a tensor lies on the mesh.

    Attributes:
      dims: One rule per dimension.
      replicated: Axes that propagation must not use for it.
      unreduced: Axes along which the devices hold summands of it.
      may_be_short: Dimensions behind the last rule are whole, as in JAX; else there is a rule for every dimension.
    """

    dims: tuple[DimRule, ...]
    replicated: tuple[str, ...] = ()
    unreduced: tuple[str, ...] = ()
    may_be_short: bool = False


@dataclass(frozen=True)
class Selector:
    """Which arguments or results an entry is about: those for which all that is set holds.

    Attributes:
      match: Pattern for the whole name with ``*`` and ``?``.
      regex: Regular expression searched for in the name.
      indices: Positions, from 0.
      type: Pattern for the type as MLIR writes it between the angle brackets: ``8x*xf32``.
      rank: The number of dimensions.
    """

    match: str | None = None
    regex: str | None = None
    indices: tuple[int, ...] | None = None
    type: str | None = None
    rank: int | None = None

    def compiled(self) -> re.Pattern[str] | None:
        """The expression to search names for, or ``None`` if any name will do."""
        if self.match is not None:
            return glob(self.match)
        return re.compile(self.regex) if self.regex is not None else None

    def __str__(self) -> str:
        if self.indices is not None:
            parts = [f"index {', '.join(map(str, self.indices))}"]
        else:
            parts = [f'{key} "{_shorten(text)}"' for key in ("match", "regex") if (text := getattr(self, key))]
        parts += [f'type "{_shorten(self.type)}"'] if self.type is not None else []
        parts += [f"rank {self.rank}"] if self.rank is not None else []
        return " and ".join(parts) or 'match ""'


@dataclass(frozen=True)
class OpSelector:
    """Which operation results, or operands, an entry is about: those for which all that is set holds.

    Attributes:
      op: Pattern for the op's name; ``stablehlo.`` may be left out.
      location: Pattern for a name in the op's location, or for ``file:line`` (the end of the path is enough).
      type, rank: As in `Selector`, of the result.
      composite, custom_call: Pattern for the composite's name or the custom call's target.
      nth: Positions, from 0, among what the rest selects.
      result: Which result of the op.
      operand: Which operand of the op, in place of a result: how it lies where the op reads it.
    """

    op: str | None = None
    location: str | None = None
    type: str | None = None
    rank: int | None = None
    composite: str | None = None
    custom_call: str | None = None
    nth: tuple[int, ...] | None = None
    result: int = 0
    operand: int | None = None


@dataclass(frozen=True)
class Entry:
    """One ``[[arguments]]`` or ``[[results]]`` entry.

    Attributes:
      where: Its place in the file.
      optional: Selecting nothing is no error.
      about: What the entry is about, in words. If no entry about it selects anything, the user is told.
    """

    selector: Selector
    layout: Layout
    where: Where | None = None
    optional: bool = False
    about: str = ""


@dataclass(frozen=True)
class Constraint:
    """One ``[[constraints]]`` entry: how results or operands of operations lie; otherwise as `Entry`."""

    selector: OpSelector
    layout: Layout
    where: Where | None = None
    optional: bool = False
    about: str = ""


@dataclass(frozen=True)
class Group:
    """One ``[[groups]]`` entry: arguments and operation results that are to be sharded alike."""

    arguments: tuple[str, ...] = ()
    selector: OpSelector | None = None
    where: Where | None = None


@dataclass(frozen=True)
class OpRule:
    """One ``[[rules]]`` entry: the sharding rule of custom calls or composites.

    Attributes:
      kind: ``custom_call`` or ``composite``.
      target: Pattern for the call target or the composite's name.
    """

    kind: str
    target: str
    notation: Notation
    where: Where | None = None
    optional: bool = False


@dataclass(frozen=True)
class Rules:
    """A rules file: its mesh, which all entries refer to, and the entries in order; later ones hold."""

    mesh: Mesh
    arguments: tuple[Entry, ...] = ()
    results: tuple[Entry, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    groups: tuple[Group, ...] = ()
    rules: tuple[OpRule, ...] = ()
    source: str = "<rules>"


def is_pattern(text: str) -> bool:
    """Whether ``text`` can stand for other texts than itself."""
    return "*" in text or "?" in text


def glob(pattern: str) -> re.Pattern[str]:
    """The expression for a whole text: ``*`` stands for any text, ``?`` for one character, all else for itself."""
    parts = ({"*": ".*", "?": "."}.get(c, re.escape(c)) for c in re.sub(r"\*+", "*", pattern))
    return re.compile(rf"\A{''.join(parts)}\Z", re.DOTALL)


def _shorten(text: str) -> str:
    shown = text if text.isprintable() else repr(text)[1:-1]
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
