"""Manual computations: parts written for each device, with collectives over groups of a mesh's axes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

from passes.sharding.mesh import Mesh
from tests.generate.builder import LIMITS, Builder, Shape, Value, tensor


def groups(mesh: Mesh, axis: str) -> list[list[int]]:
    """The devices that differ along ``axis`` only, in its order."""
    sizes = [size for _, size in mesh.axes]
    place = [name for name, _ in mesh.axes].index(axis)
    found = []
    for index in itertools.product(*(range(1 if i == place else n) for i, n in enumerate(sizes))):
        positions = [[*index[:place], step, *index[place + 1 :]] for step in range(sizes[place])]
        found.append([mesh.devices[_flat(position, sizes)] for position in positions])
    return found


def _flat(position: list[int], sizes: list[int]) -> int:
    flat = 0
    for at, size in zip(position, sizes, strict=True):
        flat = flat * size + at
    return flat


def _attributes(build: Builder, axis: str, key: str = "replica_groups", pairs: list[list[int]] | None = None) -> str:
    mesh = build.unit.mesh
    assert mesh is not None
    listed = groups(mesh, axis) if pairs is None else pairs
    flag = ", use_global_device_ids" if key == "replica_groups" and pairs is None else ""
    return (f"channel_handle = #stablehlo.channel_handle<handle = 1, type = 1>, {key} = dense<{listed}> : "
            f"tensor<{len(listed)}x{len(listed[0])}xi64>{flag}")


_ADD = """({{
      ^bb0(%x: tensor<{element}>, %y: tensor<{element}>):
        %r = stablehlo.add %x, %y : tensor<{element}>
        stablehlo.return %r : tensor<{element}>
      }})"""


def _collective(op: str, value: Value, attributes: str, shape: Shape, body: str = "") -> str:
    return (f'"stablehlo.{op}"({value.name}) <{{{attributes}}}>{body.format(element=value.element)} : ({value.type}) '
            f"-> {tensor(shape, value.element)}")


def _all_reduce(build: Builder, value: Value, axis: str, size: int) -> tuple[str, Shape, int | None, float]:
    """Returns the op, the local shape and dimension 0, 1 or None that the result is split along, and its bound."""
    return _collective("all_reduce", value, _attributes(build, axis), value.shape, _ADD), value.shape, None, size


def _all_gather(build: Builder, value: Value, axis: str, size: int) -> tuple[str, Shape, int | None, float]:
    shape = (value.shape[0] * size, value.shape[1])
    attributes = f"all_gather_dim = 0 : i64, {_attributes(build, axis)}"
    return _collective("all_gather", value, attributes, shape), shape, None, 1


def _reduce_scatter(build: Builder, value: Value, axis: str, size: int) -> tuple[str, Shape, int | None, float]:
    shape = (value.shape[0], value.shape[1] // size)
    attributes = f"scatter_dimension = 1 : i64, {_attributes(build, axis)}"
    return _collective("reduce_scatter", value, attributes, shape, _ADD), shape, 1, size


def _all_to_all(build: Builder, value: Value, axis: str, size: int) -> tuple[str, Shape, int | None, float]:
    shape = (value.shape[0] * size, value.shape[1] // size)
    attributes = (f"split_dimension = 1 : i64, concat_dimension = 0 : i64, split_count = {size} : i64, "
                  f"{_attributes(build, axis)}").removesuffix(", use_global_device_ids")
    return _collective("all_to_all", value, attributes, shape), shape, 1, 1


def _permute(build: Builder, value: Value, axis: str, size: int) -> tuple[str, Shape, int | None, float]:
    assert build.unit.mesh is not None
    step = build.choose.randrange(size)
    pairs = [[group[i], group[(i + step) % size]] for group in groups(build.unit.mesh, axis) for i in range(size)]
    text = _collective("collective_permute", value, _attributes(build, axis, "source_target_pairs", pairs), value.shape)
    return text, value.shape, 0, 1


COLLECTIVES: tuple[Callable[[Builder, Value, str, int], tuple[str, Shape, int | None, float]], ...] = (
    _all_reduce, _all_gather, _reduce_scatter, _all_to_all, _permute,
)


def manual(build: Builder) -> None:
    """A matrix split by rows over one axis; each device computes on its own, then talks along that axis."""
    mesh = build.unit.mesh
    if mesh is None or build.depth:
        return
    axis, size = build.choose.choice(mesh.axes)
    rows = size * build.choose.choice((1, 2))
    width = build.choose.choice((size, 2 * size, 12))
    element = build.element(("f32", "i32"))
    value = build.tame(build.need((rows, width), element), LIMITS.get(element, math.inf) / (8 * size))
    inside = build.inner(captures=False)
    argument = Value(build.name(), (rows // size, width), element, value.bound)
    own = inside.define(f"negate {argument.name} : {argument.type}", argument.shape, element, value.bound)
    op, local, split, factor = build.choose.choice(COLLECTIVES)(inside, own, axis, size)
    result = tuple(n * size if d == split else n for d, n in enumerate(local))
    if width % size:
        return
    (talked,) = inside.several(op, [Value("", local, element, value.bound * factor)])
    out = ", ".join(f'{{"{axis}"}}' if d == split else "{}" for d in range(2))
    build.unit.features.add("manual")
    axes = f'manual_axes={{"{axis}"}}'
    build.several(f"""sdy.manual_computation({value.name}) in_shardings=[<@mesh, [{{"{axis}"}}, {{}}]>]
      out_shardings=[<@mesh, [{out}]>] {axes} ({argument.name}: {argument.type}) {{
      {inside.text()}
      sdy.return {talked.name} : {talked.type}
    }} : ({value.type}) -> {tensor(result, element)}""", [Value("", result, element, talked.bound)])


KINDS = {manual: 1}
