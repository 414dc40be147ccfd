"""What `shlo explain` says about a tensor, as data: printed as text, or as JSON with the same words.

  %0 (add): f32[8x16] P('y', None)

  dimension 0 of 8 is split over 'y':
    given   argument 1 'arg1', dimension 0                                                       rules.toml:4:1
    step 1  %0 (add), dimension 0           add: operand 1 -> result 0, factor i of ...          model.mlir:4:8

  not taken:
    'x' on dimension 0, which argument 0 'arg0' has on dimension 0, given
      at add (model.mlir:4:8), factor i of ([i, j], [i, j])->([i, j])
      because 'y' has priority 0 and 'x' priority 1; the lower number goes first
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

# Conflicts that are printed before the rest is counted only, and steps of a chain, half of them from either end.
_CONFLICTS, _STEPS = 8, 40

# One line of a chain: when, what, how, where.
_Row = tuple[str, str, str, str]


@dataclass(frozen=True)
class Link:
    """One place an axis was at on its way; all fields but ``dimension`` are words, empty where there is nothing to say.

    Attributes:
      when: ``given`` for the annotation, ``from`` if it is not known, ``step N`` behind it.
      tensor, dimension: Where the axis was then.
      how: How it came there: the op, and the factor of its rule.
      where: The place in a file of the annotation or op.
    """

    when: str
    tensor: str
    dimension: int
    how: str
    where: str

    def row(self) -> _Row:
        """The cells of its line."""
        return self.when, f"{self.tensor}, dimension {self.dimension}", self.how, self.where


@dataclass(frozen=True)
class Way:
    """How ``axis`` came to dimension ``dimension``, which has ``size`` elements; ``chain`` starts at the annotation.

    ``complete`` is false if propagation did not note where from; the chain then starts where its notes do.
    """

    dimension: int
    size: int
    axis: str
    complete: bool
    chain: tuple[Link, ...]

    def lines(self, full: bool) -> list[str]:
        """The chain as text; of a long one both ends, unless ``full``."""
        rows = [link.row() for link in self.chain]
        if len(rows) - 1 > _STEPS and not full:
            kept = _STEPS // 2
            left_out = ("...", f"{len(rows) - 1 - 2 * kept} steps more", "--full shows them", "")
            rows = [*rows[: kept + 1], left_out, *rows[-kept:]]
        return [f"dimension {self.dimension} of {self.size} is split over '{self.axis}':", *_aligned(rows)]


@dataclass(frozen=True)
class NotTaken:
    """Axes that a neighbour has and the tensor has not.

    Attributes:
      axes: Which.
      dimension: The dimension of the tensor they could be on.
      neighbour, neighbour_dimension: The tensor that has them, and where.
      since: Since when, or that it was given them.
      op, where: The op where the two meet, and its place.
      factor, rule: What the two dimensions have in common: a factor of that op's rule.
      because: Why they were not taken.
    """

    axes: tuple[str, ...]
    dimension: int
    neighbour: str
    neighbour_dimension: int
    since: str
    op: str
    where: str
    factor: str
    rule: str
    because: str

    def lines(self) -> list[str]:
        """It as text."""
        axes, place = ", ".join(f"'{axis}'" for axis in self.axes), f" ({self.where})" if self.where else ""
        return [
            f"  {axes} on dimension {self.dimension}, which {self.neighbour} has on dimension "
            f"{self.neighbour_dimension}, {self.since}",
            f"    at {self.op}{place}, factor {self.factor} of {self.rule}",
            f"    because {self.because}",
        ]


@dataclass(frozen=True)
class Answer:
    """All about one tensor.

    Attributes:
      tensor: As the user knows it.
      type: Its type, as in ``f32[8x16]``; empty for what is no tensor.
      spec: Its PartitionSpec; ``None`` if it is whole on every device.
      copy: Which of how many copies of what was asked for, from 1: a function called twice is there twice.
      notes: What else is to be said, in sentences.
      axes: One way for each axis on each dimension.
      not_taken: What it might have got.
    """

    tensor: str
    type: str = ""
    spec: str | None = None
    copy: tuple[int, int] = (1, 1)
    notes: tuple[str, ...] = ()
    axes: tuple[Way, ...] = field(default=())
    not_taken: tuple[NotTaken, ...] = field(default=())

    def lines(self, *, full: bool = False) -> list[str]:
        """It as text; ``full`` prints long chains whole."""
        number, copies = self.copy
        title = f"{f'copy {number} of {copies}: ' if copies > 1 else ''}{self.tensor}"
        if not self.type:
            return [" ".join((title, *self.notes))]
        if self.spec is None:
            lines = [f"{title}: {self.type} is whole on every device: no axis reached it", *self.notes]
        else:
            lines = [f"{title}: {self.type} {self.spec}"]
            for way in self.axes:
                lines += ["", *way.lines(full)]
            for note in self.notes:
                lines += ["", note]
        if self.not_taken:
            lines += ["", "not taken:"]
            for conflict in self.not_taken[:_CONFLICTS]:
                lines += conflict.lines()
            if len(self.not_taken) > _CONFLICTS:
                lines.append(f"  and {len(self.not_taken) - _CONFLICTS} more")
        return lines

    def to_json(self) -> dict[str, Any]:
        """Its fields by their names."""
        found = asdict(self)
        number, copies = self.copy
        at = {"tensor": self.tensor, "type": self.type, "spec": self.spec, "copy": number, "copies": copies}
        return at | {key: found[key] for key in ("notes", "axes", "not_taken")}


def _aligned(rows: Sequence[_Row]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    padded = ([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[3]] for row in rows)
    return [f"  {'  '.join(cells)}".rstrip() for cells in padded]
