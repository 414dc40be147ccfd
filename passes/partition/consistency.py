"""Checks a planned op against its sharding rule: may the same op, on local types, compute this device's part?

It may if along every factor all operands and results are split over the same axes, factors that need replication are
whole, and what is split along a reduction factor is reduced afterwards. The check stands between the plan and the
lowering so that a wrong plan becomes a reshard or an error, never a wrong program.
"""

from __future__ import annotations

from dataclasses import dataclass

from passes.sharding.mesh import Axis, Sharding
from passes.sharding.sharding_rule import Mapping, Rule

Axes = tuple[Axis, ...]


@dataclass(frozen=True)
class Verdict:
    """What the check found: ``problem`` is empty if the op can be localized.

    ``reduced`` are the axes over which the op's results are partial and must be reduced.
    """

    problem: str = ""
    reduced: Axes = ()


def check(
    rule: Rule, operands: tuple[Sharding | None, ...], results: tuple[Sharding | None, ...], creates: bool
) -> Verdict:
    """Whether an op with ``rule`` is consistent under these shardings (``None``: replicated).

    Args:
      creates: Whether dimensions that stand in a result only are made by the op (broadcasts) and may thus be split.
    """
    try:
        inputs = [project(m, s, rule.sizes) for m, s in zip(rule.operands, operands, strict=True)]
        outputs = [project(m, s, rule.sizes) for m, s in zip(rule.results, results, strict=True)]
    except IndivisibleError as error:
        return Verdict(str(error))
    # The local op does not permute either.
    replicated = rule.need_replication | rule.permutation
    reduced: Axes = ()
    for factor in range(len(rule.sizes)):
        seen_in = [p[factor] for p in inputs if factor in p]
        seen_out = [p[factor] for p in outputs if factor in p]
        seen = {*seen_in, *seen_out}
        if seen <= {()}:
            continue
        if len(seen) > 1:
            return Verdict(f"factor {factor} is split differently: {_show(seen)}")
        (axes,) = seen
        if factor in replicated:
            return Verdict(f"factor {factor} needs replication and is split over {_show(seen)}")
        if not seen_out:
            if factor not in rule.reduction:
                return Verdict(f"factor {factor} is split over {_show(seen)} and has no place in the result")
            reduced += axes
        elif not seen_in and not creates:
            return Verdict(f"factor {factor} is split over {_show(seen)} in the result only")
    return Verdict(reduced=reduced)


class IndivisibleError(ValueError):
    """Axes of a dimension do not fall on the boundaries of its factors."""


def project(mapping: Mapping, sharding: Sharding | None, sizes: tuple[int, ...]) -> dict[int, Axes]:
    """The axes along which each factor of a tensor is split; a factor without axes maps to ``()``.

    ``mapping`` lists for each dimension its factors, major to minor; ``sizes`` are factor sizes in elements.
    Axes of a dimension go to its factors major to minor; a minor factor is split only once the major ones are used up.

    Raises:
      IndivisibleError: an axis does not divide what is left of its factor.
    """
    found: dict[int, Axes] = {}
    for dim, factors in enumerate(mapping):
        axes = sharding.dims[dim] if sharding is not None else ()
        for factor in factors:
            room, taken = sizes[factor], 0
            while taken < len(axes) and room > 1:
                if room % axes[taken].size:
                    raise IndivisibleError(f"axis {axes[taken].name} does not divide a factor of dimension {dim}")
                room //= axes[taken].size
                taken += 1
            found[factor] = axes[:taken]
            axes = axes[taken:]
            if room > 1 and axes:
                raise IndivisibleError(f"dimension {dim} is split across a factor boundary")
        if axes:
            raise IndivisibleError(f"dimension {dim} is split more than its factors allow")
    return found


def _show(seen: set[Axes]) -> str:
    return " and ".join(sorted("(" + ", ".join(a.name for a in axes) + ")" for axes in seen))
