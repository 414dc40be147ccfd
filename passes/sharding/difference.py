"""Compares how the tensors of two annotated modules of one program lie: which differ, and what that does to bytes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from passes.errors import UserError
from passes.program.read import Program
from passes.sharding.tensors import Tensor, intermediates, signature


@dataclass(frozen=True)
class Pair:
    """One tensor in both modules."""

    left: Tensor
    right: Tensor

    @property
    def differs(self) -> bool:
        """Whether it lies differently; no sharding is as good as one that replicates."""
        return self.left.spec != self.right.spec or self._mesh(self.left) != self._mesh(self.right)

    @staticmethod
    def _mesh(tensor: Tensor) -> object:
        sharding = tensor.sharding
        return None if sharding is None or sharding.is_replicated else sharding.mesh


@dataclass(frozen=True)
class Difference:
    """Every tensor of two modules side by side.

    Attributes:
      pairs: Arguments, results, and what ops make.
      apart: Functions that only one of the modules has (propagation copies one that is called in several ways).
    """

    pairs: tuple[Pair, ...]
    apart: tuple[str, ...]

    def of(self, kind: str) -> list[Pair]:
        """The pairs of one kind: ``argument``, ``result`` or ``value``."""
        return [pair for pair in self.pairs if pair.left.kind == kind]


def compare(left: Program, right: Program, entry: str | None = None) -> Difference:
    """Compares two modules of one program; ops of ``sdy`` may differ between them.

    Raises:
      UserError: they are not the same program; the first tensor that differs is named.
    """
    pairs = _paired(left, right, signature(left, entry), signature(right, entry))
    inside_left, inside_right = _by_function(left), _by_function(right)
    for function, tensors in inside_left.items():
        if function in inside_right:
            pairs += _paired(left, right, tensors, inside_right[function])
    return Difference(tuple(pairs), tuple(sorted(inside_left.keys() ^ inside_right.keys())))


def _by_function(program: Program) -> dict[str, list[Tensor]]:
    found: dict[str, list[Tensor]] = {}
    for tensor in intermediates(program):
        if not tensor.op.startswith("sdy."):
            found.setdefault(tensor.function, []).append(tensor)
    return found


def _paired(left: Program, right: Program, ours: list[Tensor], theirs: list[Tensor]) -> list[Pair]:
    for a, b in zip(ours, theirs, strict=False):
        if (a.kind, a.op, a.dtype, a.shape) != (b.kind, b.op, b.dtype, b.shape):
            raise _not_the_same(left, right, f"{_title(a)} stands where {_title(b)} does")
    if len(ours) != len(theirs):
        rest, which = (ours, left) if len(ours) > len(theirs) else (theirs, right)
        raise _not_the_same(left, right, f"only {which.source} has {_title(rest[min(len(ours), len(theirs))])}")
    return [Pair(a, b) for a, b in zip(ours, theirs, strict=True)]


def _title(tensor: Tensor) -> str:
    shape = "x".join(map(str, tensor.shape))
    return f"{tensor.op or tensor.kind} {tensor.name} {tensor.dtype}[{shape}]"


def _not_the_same(left: Program, right: Program, how: str) -> UserError:
    return UserError(f"{left.source} and {right.source} are not the same program: {how}")


def total(tensors: Iterable[Tensor]) -> int:
    """Bytes on each device."""
    return sum(tensor.local_bytes for tensor in tensors)
