"""Sharding rules as users write them: einsum-like, as JAX does, or in Shardy's own form.

  "b h s d, b h t d -> b h s t"      dimensions with the same letter are split alike; results follow the arrow
  "... i, i j -> ... j"              leading dimensions, as many as there are; "...1" is another such group
  "(a b) c -> a b c"                 one dimension made of two factors, the major one first

What stands in operands only cannot be split, unless it is listed as a reduction: then every device makes a summand.
What stands in results only cannot be split either.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping as Sizes
from collections.abc import Sequence
from dataclasses import dataclass, field

from passes import _mlir
from passes.sharding.sharding_rule import Mapping, Rule, decode

SHARDY = "#sdy.op_sharding_rule<"
Shape = tuple[int, ...]
_TOKEN = re.compile(r"\s*(?:(?P<dots>\.\.\.\d*)|(?P<factor>[^\W\d_]\w*)|(?P<bracket>[()])|(?P<other>\S))")


class NotationError(ValueError):
    """A rule that cannot be read, or does not fit its operation; the message is a sentence."""


@dataclass(frozen=True)
class Tensor:
    """How one tensor is written: ``group`` is the digits behind its leading ``...`` (``None`` without one)."""

    dims: tuple[tuple[str, ...], ...]
    group: str | None = None


@dataclass(frozen=True)
class Notation:
    """A rule before it meets an operation.

    Attributes:
      operands, results: The tensors; both empty if ``shardy`` holds the rule.
      sizes: The sizes of factors that were given.
      reduction, need_replication, permutation, blocked: The factors of each kind.
      shardy: The rule in Shardy's own form.
    """

    operands: tuple[Tensor, ...] = ()
    results: tuple[Tensor, ...] = ()
    sizes: Sizes[str, int] = field(default_factory=dict)
    reduction: frozenset[str] = frozenset()
    need_replication: frozenset[str] = frozenset()
    permutation: frozenset[str] = frozenset()
    blocked: frozenset[str] = frozenset()
    shardy: str = ""

    def rule(self, operands: Sequence[Shape], results: Sequence[Shape]) -> Rule:
        """The rule of an operation whose tensors have these shapes.

        Raises:
          NotationError: it does not fit.
        """
        if self.shardy:
            return _fitting(_parse_shardy(self.shardy), operands, results)
        written = (*_side(self.operands, operands, "operand"), *_side(self.results, results, "result"))
        titles = _titles(len(operands), len(results))
        tensors = [_expand(t, s, title) for t, s, title in zip(written, (*operands, *results), titles, strict=True)]
        sizes = self._sizes(tensors, [*operands, *results], titles)
        numbers = {factor: i for i, factor in enumerate(sizes)}
        mappings = [tuple(tuple(numbers[f] for f in dim) for dim in tensor) for tensor in tensors]

        def numbered(factors: frozenset[str]) -> frozenset[int]:
            return frozenset(numbers[f] for f in factors)

        rule = Rule(
            tuple(sizes.values()), tuple(mappings[: len(operands)]), tuple(mappings[len(operands) :]),
            numbered(self.reduction), numbered(self.need_replication), numbered(self.permutation),
            numbered(self.blocked),
        )
        return _safe(rule)

    def _sizes(self, tensors: list[_Dims], shapes: list[Shape], titles: list[str]) -> dict[str, int]:
        """The size of each factor in the order of appearance; of two sizes of a whole dimension the smaller one."""
        found: dict[str, int] = {f: 0 for tensor in tensors for dim in tensor for f in dim}
        for tensor, shape in zip(tensors, shapes, strict=True):
            for dim, size in zip(tensor, shape, strict=True):
                if len(dim) == 1:
                    found[dim[0]] = min(found[dim[0]] or size, size)
        for factor, size in self.sizes.items():
            if found[factor] not in (0, size):
                raise NotationError(f"factor '{factor}' is given the size {size} and its dimension has {found[factor]}")
            found[factor] = size
        for tensor, shape, title in zip(tensors, shapes, titles, strict=True):
            for d, (dim, size) in enumerate(zip(tensor, shape, strict=True)):
                if len(dim) > 1:
                    _complete(dim, size, found, f"{title} dimension {d}")
        return found


_Dims = tuple[tuple[str, ...], ...]


def parse(text: str, **more: object) -> Notation:
    """Reads a rule; ``more`` holds the other fields of `Notation`: factor sizes and kinds.

    Raises:
      NotationError: it cannot be read, or lists a factor it has not.
    """
    if text.lstrip().startswith(SHARDY):
        if given := [key for key, value in more.items() if value]:
            raise NotationError(f"a rule in Shardy's form says itself what {' and '.join(given)} would")
        return Notation(shardy=text.strip())
    left, arrow, right = text.partition("->")
    if not arrow or "->" in right:
        raise NotationError("a rule has one arrow between operands and results, as in 'i k, k j -> i j'")
    operands, results = (tuple(map(_parse_tensor, side.split(","))) for side in (left, right))
    notation = Notation(operands, results, **more)  # type: ignore[arg-type]
    _check_kinds(notation)
    return notation


def _parse_tensor(text: str) -> Tensor:
    dims: list[tuple[str, ...]] = []
    group: str | None = None
    open_bracket: list[str] | None = None
    for token in _TOKEN.finditer(text):
        kind, word = token.lastgroup, token[0].strip()
        if kind == "factor" and open_bracket is not None:
            open_bracket.append(word)
        elif kind == "factor":
            dims.append((word,))
        elif kind == "dots":
            if dims or open_bracket is not None or group is not None:
                raise NotationError("'...' stands for leading dimensions and comes first in a tensor")
            group = str(int(word[3:] or 0))
        elif kind == "bracket" and (word == "(") == (open_bracket is None):
            if open_bracket is not None:
                if len(open_bracket) < 2:
                    raise NotationError(f"brackets join two factors or more, not '({' '.join(open_bracket)})'")
                dims.append(tuple(open_bracket))
            open_bracket = [] if word == "(" else None
        else:
            raise NotationError(f"'{word}' is not expected in '{text.strip()}'; a factor is a letter, or a name")
    if open_bracket is not None:
        raise NotationError(f"a bracket is not closed in '{text.strip()}'")
    twice = [f for f, count in Counter(f for dim in dims for f in dim).items() if count > 1]
    if twice:
        raise NotationError(f"factor '{twice[0]}' stands twice in one tensor, '{text.strip()}'")
    return Tensor(tuple(dims), group)


def _check_kinds(notation: Notation) -> None:
    present = {f for tensor in (*notation.operands, *notation.results) for dim in tensor.dims for f in dim}
    kinds = {
        "reduction": notation.reduction, "need_replication": notation.need_replication,
        "permutation": notation.permutation, "blocked_propagation": notation.blocked,
        "sizes": frozenset(notation.sizes),
    }
    for kind, factors in kinds.items():
        if missing := sorted(factors - present):
            raise NotationError(f"{kind} names factor '{missing[0]}', which the rule has not")
    exclusive = [notation.reduction, notation.need_replication, notation.permutation]
    twice = [f for f, count in Counter(f for factors in exclusive for f in factors).items() if count > 1]
    if twice:
        raise NotationError(f"factor '{twice[0]}' is of one kind: reduction, need_replication or permutation")
    in_results = {f for tensor in notation.results for dim in tensor.dims for f in dim}
    if kept := sorted(notation.reduction & in_results):
        raise NotationError(f"factor '{kept[0]}' is reduced and stands in a result")


def _expand(tensor: Tensor, shape: Shape, title: str) -> _Dims:
    """The dimensions of a tensor of ``shape``, leading ones named for their group and number."""
    leading = len(shape) - len(tensor.dims)
    if leading < 0 or (leading and tensor.group is None):
        rank = f"{'at least ' if tensor.group is not None else ''}{_dimensions(len(tensor.dims))}"
        raise NotationError(f"{title} has {_dimensions(len(shape))} and the rule gives it {rank}")
    # No user can write such a name.
    return (*((f"...{tensor.group}.{d}",) for d in range(leading)), *tensor.dims)


def _complete(dim: tuple[str, ...], size: int, found: dict[str, int], title: str) -> None:
    """Checks a dimension of several factors; the one whose size is not known gets what the others leave."""
    unknown = [f for f in dim if not found[f]]
    known = math.prod(found[f] for f in dim if found[f])
    if len(unknown) > 1:
        raise NotationError(f"the sizes of factors '{unknown[0]}' and '{unknown[1]}' are not known; give one in sizes")
    if unknown:
        found[unknown[0]], rest = divmod(size, known)
        known = size - rest
    if known != size:
        raise NotationError(f"{title} has size {size}, which factors ({' '.join(dim)}) do not make up")


def _safe(rule: Rule) -> Rule:
    """What only operands have, and is not reduced, or only results have, is needed whole."""
    read, written = ({f for m in side for dim in m for f in dim} for side in (rule.operands, rule.results))
    return rule.replicating((read ^ written) - rule.reduction)


def _side(written: tuple[Tensor, ...], shapes: Sequence[Shape], noun: str) -> tuple[Tensor, ...]:
    """The tensors of one side; nothing written at all means one scalar or no tensor, as the operation has it."""
    if written == (Tensor(()),) and not shapes:
        return ()
    _check_count(noun, len(written), len(shapes))
    return written


def _check_count(noun: str, written: int, there: int) -> None:
    if written != there:
        raise NotationError(f"it has {_count(there, noun)} and the rule has {written}")


def _titles(operands: int, results: int) -> list[str]:
    return [*(f"operand {i}" for i in range(operands)), *(f"result {i}" for i in range(results))]


def _dimensions(count: int) -> str:
    return _count(count, "dimension")


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _parse_shardy(text: str) -> Rule:
    with _mlir.collect_diagnostics() as diagnostics:
        try:
            return decode(_mlir.ir.Attribute.parse(text, _mlir.context()))[0]
        except (_mlir.ir.MLIRError, ValueError):
            reason = diagnostics[0].message if diagnostics else "it does not parse"
            raise NotationError(f"not a rule in Shardy's form: {reason}") from None


def _fitting(rule: Rule, operands: Sequence[Shape], results: Sequence[Shape]) -> Rule:
    """``rule``, if it fits an operation whose tensors have these shapes."""
    _check_count("operand", len(rule.operands), len(operands))
    _check_count("result", len(rule.results), len(results))
    tensors: tuple[Mapping, ...] = (*rule.operands, *rule.results)
    titles = _titles(len(operands), len(results))
    for mapping, shape, title in zip(tensors, (*operands, *results), titles, strict=True):
        if len(mapping) != len(shape):
            raise NotationError(f"{title} has {_dimensions(len(shape))} and the rule gives it {len(mapping)}")
        for d, (dim, size) in enumerate(zip(mapping, shape, strict=True)):
            if math.prod(rule.sizes[f] for f in dim) > size:
                raise NotationError(f"{title} dimension {d} has size {size}, less than the factors of the rule")
    return rule


def suggestion(operands: Sequence[Shape], results: Sequence[Shape]) -> str:
    """A rule for tensors of these shapes to start from: a letter of its own for every dimension."""
    count = 0

    def tensor(shape: Shape) -> str:
        nonlocal count
        first, count = count, count + len(shape)
        return " ".join(map(_letter, range(first, count)))

    left, right = (", ".join(map(tensor, shapes)) for shapes in (operands, results))
    return f"{left} -> {right}"


def _letter(number: int) -> str:
    return chr(ord("a") + number % 26) + (str(number // 26) if number >= 26 else "")
