"""What a plan moves between devices, and for which op: the moves and sums that planning inserted, before lowering.

  2 x all_gather for dot_general, from P('model', None) to P(None, None), first at model.py:20
  4 x all_reduce of dot_general, over model, first at model.py:31
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from passes import _mlir
from passes.partition.outline import is_bound
from passes.partition.planned import LOWERINGS, REDUCES, out_sharding, reduced_axes
from passes.partition.prime_axes import PrimeMesh
from passes.partition.shardings import ShardingMap
from passes.program.read import Program
from passes.program.walk import named


@dataclass(frozen=True)
class Reshard:
    """Moves, or sums over devices, that the plan has for ops of one kind.

    Attributes:
      kind: ``all_gather``, ``all_reduce``, ``all_slice``, ...
      op: The op that reads what is moved (``return`` for results), or whose sum is completed.
      change: What it does to the tensor: how it lies before and after, or the axes that are summed over.
      count: How many there are.
      where: The first one's place; empty if the program does not say.
    """

    kind: str
    op: str
    change: str
    count: int
    where: str

    def __str__(self) -> str:
        word = "of" if f"sdy.{self.kind}" in REDUCES else "for"
        place = f", first at {self.where}" if self.where else ""
        return f"{self.count} x {self.kind} {word} {self.op}, {self.change}{place}"

    def to_json(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


def reshards(program: Program, shardings: ShardingMap, prime: PrimeMesh) -> list[Reshard]:
    """What the plan of ``program``, which is not lowered yet, moves; most frequent first."""
    counts: dict[tuple[str, str, str], int] = {}
    first: dict[tuple[str, str, str], Any] = {}
    changes: dict[Any, str] = {}
    for op in named(program.module, frozenset(LOWERINGS)):
        key = (op.name.removeprefix("sdy."), *_purpose(op, shardings, prime, changes))
        counts[key] = counts.get(key, 0) + 1
        first.setdefault(key, op)
    found = [Reshard(*key, n, str(program.where(first[key]) or "")) for key, n in counts.items()]
    return sorted(found, key=lambda r: -r.count)


def _purpose(op: Any, shardings: ShardingMap, prime: PrimeMesh, changes: dict[Any, str]) -> tuple[str, str]:
    """For which op ``op`` is there, and what it changes; ``changes`` remembers the words for that."""
    if op.name in REDUCES:
        axes = ",".join(a.text(prime.original) for a in prime.restore_axes(tuple(reduced_axes(op))))
        return _name(_maker(op.operands[0]), "an argument"), f"over {axes}"
    key = (shardings.attr(op.operands[0]), out_sharding(op), op.results[0].type)
    if key not in changes:
        before, after = (shardings.parse(attr) or shardings.whole(key[2]) for attr in key[:2])
        changes[key] = f"from {prime.restore(before).spec()} to {prime.restore(after).spec()}"
    return _name(_reader(op.results[0]), "nothing"), changes[key]


def _maker(value: Any) -> Any:
    """The op that ``value`` comes from; ``None`` for an argument. Moves and bounds of functions are looked through."""
    while not isinstance(value.owner, _mlir.ir.Block):
        op = value.owner.operation
        if op.name not in LOWERINGS and not is_bound(op):
            return op
        value = op.operands[value.result_number if is_bound(op) else 0]
    return None


def _reader(value: Any) -> Any:
    """The op that reads ``value`` in the end, behind the moves, which the plan had in mind when it put them there."""
    while (use := next(iter(value.uses), None)) is not None:
        op = use.owner.operation
        if op.name not in LOWERINGS and not is_bound(op):
            return op
        value = op.results[use.operand_number if is_bound(op) else 0]
    return None


def _name(op: Any, otherwise: str) -> str:
    return otherwise if op is None else str(op.name.rpartition(".")[2])
