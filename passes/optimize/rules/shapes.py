"""Reshape, broadcast and transpose: pure data movement, composed where one op can do what two do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from passes.optimize.rewriting import Rule, Site, int_array

Shape = tuple[int, ...]


def factor_groups(first: Shape, second: Shape) -> list[tuple[list[int], list[int]]]:
    """The dimensions of two shapes of one size, cut into the smallest runs whose sizes multiply to the same.

    A reshape moves data inside a run only. Units stand with their left neighbour, leading ones with the first run. No
    size may be zero.

    >>> factor_groups((2, 3, 1, 4), (6, 2, 2))
    [([0, 1, 2], [0]), ([3], [1, 2])]
    """
    groups: list[tuple[list[int], list[int]]] = []
    shapes, at = (first, second), [0, 0]

    def take(side: int) -> None:
        members[side].append(at[side])
        sizes[side] *= shapes[side][at[side]]
        at[side] += 1

    def has(side: int) -> bool:
        return at[side] < len(shapes[side])

    while has(0) or has(1):
        members: tuple[list[int], list[int]] = ([], [])
        sizes = [1, 1]
        for side in (0, 1):
            if has(side):
                take(side)
        while sizes[0] != sizes[1]:
            take(0 if sizes[0] < sizes[1] else 1)
        for side in (0, 1):
            while has(side) and shapes[side][at[side]] == 1:
                take(side)
        groups.append(members)
    return groups


def fill_in(dims: Sequence[int | None], rank: int) -> list[int] | None:
    """Increasing dimensions below ``rank`` with those given kept and the others chosen; ``None`` if none fit."""
    result: list[int] = []
    for wanted in dims:
        # Those chosen sit as low as they can, which leaves all the room there is to those after them.
        least = result[-1] + 1 if result else 0
        if wanted is not None and wanted < least:
            return None
        result.append(least if wanted is None else wanted)
    return result if not result or result[-1] < rank else None


def _is_known(site: Site, *values: Any) -> bool:
    return site.tensor.shape is not None and all(site.tensor_of(v).shape is not None for v in values)


def _no_op_reshape(site: Site) -> Any | None:
    x = site.operands[0]
    return x if x.type == site.type else None


def _reshape_of_reshape(site: Site) -> Any | None:
    inner = site.maker(site.operands[0], "reshape")
    return None if inner is None else site.create("reshape", [inner.operands[0]], site.type)


def _reshape_of_broadcast(site: Site) -> Any | None:
    """The reshape moves to the small side, or disappears, where it only regroups what the broadcast repeats."""
    inner = site.maker(site.operands[0], "broadcast_in_dim")
    if inner is None or not _is_known(site, site.operands[0], inner.operands[0]):
        return None
    x = inner.operands[0]
    middle, target = site.tensor_of(site.operands[0]).shape, site.tensor.shape
    source, dims = site.tensor_of(x).shape, list(inner.attributes["broadcast_dimensions"])
    assert middle is not None and target is not None and source is not None
    if 0 in middle:
        return None
    fed = {d: i for i, d in enumerate(dims) if source[i] != 1}
    place: dict[int, int] = {}
    for left, right in factor_groups(middle, target):
        carrying = [d for d in left if d in fed]
        if not carrying:
            continue
        real_left, real_right = [d for d in left if middle[d] != 1], [d for d in right if target[d] != 1]
        if len(real_left) != 1 or len(real_right) != 1:
            return None
        place[fed[carrying[0]]] = real_right[0]
    placed = fill_in([place.get(i) for i in range(len(source))], len(target))
    if placed is not None:
        return broadcast(site, x, placed)
    if not site.is_used_once(site.operands[0]):
        return None
    small = site.create("reshape", [x], site.shaped(source[i] for i in sorted(place)))
    return broadcast(site, small, [place[i] for i in sorted(place)])


def broadcast(site: Site, x: Any, dims: Sequence[int]) -> Any:
    """The broadcast of ``x`` to the type of the first result."""
    return site.create("broadcast_in_dim", [x], site.type, broadcast_dimensions=int_array(dims))


def _broadcast_dims(site: Site) -> list[int]:
    return site.integers("broadcast_dimensions")


def _no_op_broadcast(site: Site) -> Any | None:
    x = site.operands[0]
    return x if x.type == site.type and _broadcast_dims(site) == list(range(len(x.type.shape))) else None


def _broadcast_is_reshape(site: Site) -> Any | None:
    x = site.operands[0]
    if not _is_known(site, x) or site.tensor_of(x).size != site.tensor.size or not site.tensor.size:
        return None
    dims, shape = _broadcast_dims(site), site.tensor_of(x).shape
    assert shape is not None
    real = [d for i, d in enumerate(dims) if shape[i] != 1]
    return site.create("reshape", [x], site.type) if real == sorted(real) else None


def _broadcast_of_broadcast(site: Site) -> Any | None:
    inner = site.maker(site.operands[0], "broadcast_in_dim")
    if inner is None:
        return None
    outer = _broadcast_dims(site)
    return broadcast(site, inner.operands[0], [outer[d] for d in inner.attributes["broadcast_dimensions"]])


def _broadcast_of_reshape(site: Site) -> Any | None:
    """A reshape that only adds or removes units is one with the broadcast, which places units freely."""
    inner = site.maker(site.operands[0], "reshape")
    if inner is None or not _is_known(site, site.operands[0], inner.operands[0]):
        return None
    x = inner.operands[0]
    source, middle = site.tensor_of(x).shape, site.tensor_of(site.operands[0]).shape
    assert source is not None and middle is not None
    real_source = [i for i, size in enumerate(source) if size != 1]
    real_middle = [i for i, size in enumerate(middle) if size != 1]
    if [source[i] for i in real_source] != [middle[i] for i in real_middle]:
        return None
    dims = _broadcast_dims(site)
    target = {i: dims[m] for i, m in zip(real_source, real_middle, strict=True)}
    assert site.tensor.shape is not None
    placed = fill_in([target.get(i) for i in range(len(source))], len(site.tensor.shape))
    return None if placed is None else broadcast(site, x, placed)


def _no_op_transpose(site: Site) -> Any | None:
    permutation = site.integers("permutation")
    return site.operands[0] if permutation == sorted(permutation) else None


def _transpose_of_transpose(site: Site) -> Any | None:
    inner = site.maker(site.operands[0], "transpose")
    if inner is None:
        return None
    first = list(inner.attributes["permutation"])
    both = int_array(first[d] for d in site.integers("permutation"))
    return site.create("transpose", [inner.operands[0]], site.type, permutation=both)


def _transpose_is_reshape(site: Site) -> Any | None:
    x = site.operands[0]
    if not _is_known(site, x):
        return None
    shape = site.tensor_of(x).shape
    assert shape is not None
    real = [d for d in site.integers("permutation") if shape[d] != 1]
    return site.create("reshape", [x], site.type) if real == sorted(real) else None


def _transpose_of_broadcast(site: Site) -> Any | None:
    inner = site.maker(site.operands[0], "broadcast_in_dim")
    if inner is None:
        return None
    permutation = site.integers("permutation")
    dims = [permutation.index(d) for d in inner.attributes["broadcast_dimensions"]]
    # XLA takes increasing dimensions only.
    return broadcast(site, inner.operands[0], dims) if dims == sorted(dims) else None


def _reverse_nothing(site: Site) -> Any | None:
    x = site.operands[0]
    shape = site.tensor.shape
    if shape is None:
        return None
    return x if all(shape[d] == 1 for d in site.integers("dimensions")) else None


def _reverse_twice(site: Site) -> Any | None:
    inner = site.maker(site.operands[0], "reverse")
    if inner is None or sorted(inner.attributes["dimensions"]) != sorted(site.integers("dimensions")):
        return None
    return inner.operands[0]


_MOVES = "every element of the result is the same element of x"

RULES = (
    Rule("reshape-nothing", ("reshape",), "reshape x to its own type", "x", _MOVES, _no_op_reshape),
    Rule("reshape-reshape", ("reshape",), "reshape (reshape x)", "reshape x", _MOVES, _reshape_of_reshape,
         frozenset(("reshape",))),
    Rule("reshape-broadcast", ("reshape",), "reshape (broadcast x) that regroups repeated dimensions only",
         "broadcast x", _MOVES, _reshape_of_broadcast, frozenset(("broadcast_in_dim",))),
    Rule("broadcast-nothing", ("broadcast_in_dim",), "broadcast x to its own type", "x", _MOVES, _no_op_broadcast),
    Rule("broadcast-reshape-units", ("broadcast_in_dim",), "broadcast x that adds units only", "reshape x", _MOVES,
         _broadcast_is_reshape),
    Rule("broadcast-broadcast", ("broadcast_in_dim",), "broadcast (broadcast x)", "broadcast x", _MOVES,
         _broadcast_of_broadcast, frozenset(("broadcast_in_dim",))),
    Rule("broadcast-reshape", ("broadcast_in_dim",), "broadcast (reshape x) that adds or removes units", "broadcast x",
         _MOVES, _broadcast_of_reshape, frozenset(("reshape",))),
    Rule("transpose-nothing", ("transpose",), "transpose x in its own order", "x", _MOVES, _no_op_transpose),
    Rule("transpose-transpose", ("transpose",), "transpose (transpose x)", "transpose x", _MOVES,
         _transpose_of_transpose, frozenset(("transpose",))),
    Rule("transpose-units", ("transpose",), "transpose x that moves units only", "reshape x", _MOVES,
         _transpose_is_reshape),
    Rule("transpose-broadcast", ("transpose",), "transpose (broadcast x) in increasing order", "broadcast x", _MOVES,
         _transpose_of_broadcast, frozenset(("broadcast_in_dim",))),
    Rule("reverse-nothing", ("reverse",), "reverse x along units", "x", _MOVES, _reverse_nothing),
    Rule("reverse-twice", ("reverse",), "reverse (reverse x) along the same dimensions", "x", _MOVES, _reverse_twice,
         frozenset(("reverse",))),
)
