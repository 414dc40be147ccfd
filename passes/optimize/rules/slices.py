"""Slices, pads and concatenations: what selects everything, and selections of selections."""

from __future__ import annotations

from typing import Any

from passes.optimize.rewriting import Rule, Site, int_array
from passes.optimize.rules.shapes import broadcast

Bounds = tuple[list[int], list[int], list[int]]


def bounds(op: Any) -> Bounds:
    """Starts, limits and strides of a slice."""
    attributes = op.attributes
    return list(attributes["start_indices"]), list(attributes["limit_indices"]), list(attributes["strides"])


def _slice(site: Site, x: Any, starts: list[int], limits: list[int], strides: list[int]) -> Any:
    return site.create("slice", [x], site.type, start_indices=int_array(starts), limit_indices=int_array(limits),
                       strides=int_array(strides))


def _no_op_slice(site: Site) -> Any | None:
    x = site.operands[0]
    # All of the elements of a dimension can only be selected in order.
    return x if x.type == site.type and site.tensor.shape is not None else None


def _slice_of_slice(site: Site) -> Any | None:
    inner = site.maker(site.operands[0], "slice")
    if inner is None or site.tensor.shape is None:
        return None
    (low, _, step), (start, _, stride) = bounds(inner), bounds(site.op)
    starts = [a + s * b for a, s, b in zip(low, step, start, strict=True)]
    strides = [s * t for s, t in zip(step, stride, strict=True)]
    limits = [
        a + (n - 1) * t + 1 if n else a for a, t, n in zip(starts, strides, site.tensor.shape, strict=True)
    ]
    return _slice(site, inner.operands[0], starts, limits, strides)


def _slice_of_concatenate(site: Site) -> Any | None:
    """A slice that lies within one of the concatenated values."""
    inner = site.maker(site.operands[0], "concatenate")
    if inner is None or site.tensor.shape is None:
        return None
    dimension = inner.attributes["dimension"].value
    starts, limits, strides = bounds(site.op)
    offset = 0
    for x in inner.operands:
        shape = site.tensor_of(x).shape
        if shape is None:
            return None
        size = shape[dimension]
        if offset <= starts[dimension] and limits[dimension] <= offset + size:
            starts[dimension] -= offset
            limits[dimension] -= offset
            return _slice(site, x, starts, limits, strides)
        offset += size
    return None


def _slice_of_broadcast(site: Site) -> Any | None:
    """A slice that cuts repeated dimensions only is a smaller broadcast."""
    inner = site.maker(site.operands[0], "broadcast_in_dim")
    if inner is None or site.tensor.shape is None:
        return None
    x, whole = inner.operands[0], site.tensor_of(site.operands[0]).shape
    source, dims = site.tensor_of(x).shape, list(inner.attributes["broadcast_dimensions"])
    if source is None or whole is None:
        return None
    if any(site.tensor.shape[d] != whole[d] and source[i] != 1 for i, d in enumerate(dims)):
        return None
    return broadcast(site, x, dims)


def _dynamic_slice_of_all(site: Site) -> Any | None:
    """Indices are clamped so that the slice lies inside: one of full size starts at zero."""
    x = site.operands[0]
    return x if x.type == site.type and site.tensor.shape is not None else None


def _known_starts(site: Site, indices: list[Any], whole: tuple[int, ...], size: tuple[int, ...]) -> list[int] | None:
    """The clamped start indices if they do not depend on anything; an index where only one is possible does not."""
    starts = []
    for value, n, m in zip(indices, whole, size, strict=True):
        index = 0 if n == m else site.splat(value)
        if index is None:
            return None
        starts.append(min(max(int(index), 0), n - m))
    return starts


def _dynamic_slice_at_known(site: Site) -> Any | None:
    x = site.operands[0]
    whole, size = site.tensor_of(x).shape, site.tensor.shape
    if whole is None or size is None:
        return None
    starts = _known_starts(site, site.operands[1:], whole, size)
    if starts is None:
        return None
    return _slice(site, x, starts, [a + n for a, n in zip(starts, size, strict=True)], [1] * len(size))


def _update_of_all(site: Site) -> Any | None:
    update = site.operands[1]
    return update if update.type == site.type and site.tensor.shape is not None else None


def _concatenate_one(site: Site) -> Any | None:
    """Values without elements add nothing; the one that is left is the result."""
    dimension = site.op.attributes["dimension"].value
    kept = [x for x in site.operands if (shape := site.tensor_of(x).shape) is None or shape[dimension]]
    if len(kept) == 1 and kept[0].type == site.type:
        return kept[0]
    if not kept or len(kept) == len(site.operands):
        return None
    return site.create("concatenate", kept, site.type, dimension=site.op.attributes["dimension"])


def _concatenate_flat(site: Site) -> Any | None:
    attribute = site.op.attributes["dimension"]
    flat: list[Any] = []
    for x in site.operands:
        inner = site.maker(x, "concatenate")
        inlined = inner is not None and inner.attributes["dimension"] == attribute and site.is_used_once(x)
        flat += inner.operands if inner is not None and inlined else [x]
    if len(flat) == len(site.operands):
        return None
    return site.create("concatenate", flat, site.type, dimension=attribute)


def _concatenate_neighbours(site: Site) -> Any | None:
    """Slices of one value that continue each other are one slice of it."""
    attribute = site.op.attributes["dimension"]
    # The value as it stands (none once it was joined), and what it is a slice of, with its bounds.
    parts: list[tuple[Any | None, Any | None, Bounds]] = []
    for x in site.operands:
        op = site.maker(x, "slice")
        part = (x, None, ([], [], [])) if op is None else (x, op.operands[0], bounds(op))
        if parts and _continues(parts[-1], part, attribute.value):
            _, source, (starts, limits, strides) = parts[-1]
            limits[attribute.value] = part[2][1][attribute.value]
            parts[-1] = None, source, (starts, limits, strides)
        else:
            parts.append(part)
    if len(parts) == len(site.operands):
        return None
    values = [_joined(site, source, *bounds) if x is None else x for x, source, bounds in parts]
    return values[0] if len(values) == 1 else site.create("concatenate", values, site.type, dimension=attribute)


def _joined(site: Site, source: Any, starts: list[int], limits: list[int], strides: list[int]) -> Any:
    shape = [b - a for a, b in zip(starts, limits, strict=True)]
    return site.create("slice", [source], site.shaped(shape), start_indices=int_array(starts),
                       limit_indices=int_array(limits), strides=int_array(strides))


def _continues(left: tuple[Any, Any, Bounds], right: tuple[Any, Any, Bounds], dimension: int) -> bool:
    (_, source, (starts, limits, strides)), (_, other, (start, limit, stride)) = left, right
    if source is None or other is None or source != other or any(step != 1 for step in (*strides, *stride)):
        return False
    return limits[dimension] == start[dimension] and all(
        d == dimension or (starts[d] == start[d] and limits[d] == limit[d]) for d in range(len(starts)))


def _no_op_pad(site: Site) -> Any | None:
    x = site.operands[0]
    padding = [site.integers(f"edge_padding_{side}") for side in ("low", "high")]
    shape = site.tensor.shape
    if shape is None or x.type != site.type or any(map(any, padding)):
        return None
    inner = site.integers("interior_padding")
    return x if all(n <= 1 or not between for n, between in zip(shape, inner, strict=True)) else None


_MOVES = "every element of the result is the same element of x"

_CONSTANT = frozenset(("constant",))

RULES = (
    Rule("slice-all", ("slice",), "slice x, all of it", "x", _MOVES, _no_op_slice),
    Rule("slice-slice", ("slice",), "slice (slice x)", "slice x", _MOVES, _slice_of_slice, frozenset(("slice",))),
    Rule("slice-concatenate", ("slice",), "slice (concatenate x, y) within x", "slice x", _MOVES,
         _slice_of_concatenate, frozenset(("concatenate",))),
    Rule("slice-broadcast", ("slice",), "slice (broadcast x) along repeated dimensions", "broadcast x", _MOVES,
         _slice_of_broadcast, frozenset(("broadcast_in_dim",))),
    Rule("dynamic-slice-all", ("dynamic_slice",), "dynamic_slice x, all of it", "x",
         "start indices are clamped to the only possible ones", _dynamic_slice_of_all),
    Rule("dynamic-slice-known", ("dynamic_slice",), "dynamic_slice x at constant indices", "slice x",
         "clamped as the specification says", _dynamic_slice_at_known, _CONSTANT),
    Rule("update-all", ("dynamic_update_slice",), "dynamic_update_slice x with all of y", "y",
         "start indices are clamped to the only possible ones", _update_of_all),
    Rule("concatenate-one", ("concatenate",), "concatenate x, and values without elements", "x", _MOVES,
         _concatenate_one),
    Rule("concatenate-concatenate", ("concatenate",), "concatenate (concatenate x, y), z", "concatenate x, y, z",
         _MOVES, _concatenate_flat, frozenset(("concatenate",))),
    Rule("concatenate-slices", ("concatenate",), "concatenate of slices of x that continue each other", "slice x",
         _MOVES, _concatenate_neighbours, frozenset(("slice",))),
    Rule("pad-nothing", ("pad",), "pad x by nothing", "x", _MOVES, _no_op_pad),
)
