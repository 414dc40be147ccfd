"""Manual computations: parts written for each device, with collectives over groups of a mesh's axes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Talk:
    """A collective that is the last thing a device does.

    Attributes:
      text: The op.
      shape: Its local result.
      split: The dimension of the whole result that the axis splits, if any.
      factor: How many values each element sums.
      step: By how many devices blocks of rows move, 0 if they stay; None for those that sum them.
      is_first: Whether all devices get the first one's rows.
    """

    text: str
    shape: Shape
    split: int | None
    factor: int = 1
    step: int | None = 0
    is_first: bool = False


def _all_reduce(build: Builder, value: Value, axis: str, size: int) -> Talk:
    text = _collective("all_reduce", value, _attributes(build, axis), value.shape, _ADD)
    return Talk(text, value.shape, None, size, None)


def _all_gather(build: Builder, value: Value, axis: str, size: int) -> Talk:
    shape = (value.shape[0] * size, value.shape[1])
    return Talk(_collective("all_gather", value, f"all_gather_dim = 0 : i64, {_attributes(build, axis)}", shape), shape,
                None)


def _reduce_scatter(build: Builder, value: Value, axis: str, size: int) -> Talk:
    shape = (value.shape[0], value.shape[1] // size)
    attributes = f"scatter_dimension = 1 : i64, {_attributes(build, axis)}"
    return Talk(_collective("reduce_scatter", value, attributes, shape, _ADD), shape, 1, size, None)


def _all_to_all(build: Builder, value: Value, axis: str, size: int) -> Talk:
    shape = (value.shape[0] * size, value.shape[1] // size)
    attributes = (f"split_dimension = 1 : i64, concat_dimension = 0 : i64, split_count = {size} : i64, "
                  f"{_attributes(build, axis)}").removesuffix(", use_global_device_ids")
    return Talk(_collective("all_to_all", value, attributes, shape), shape, 1)


def _permute(build: Builder, value: Value, axis: str, size: int) -> Talk:
    assert build.unit.mesh is not None
    step = build.choose.randrange(size)
    pairs = [[group[i], group[(i + step) % size]] for group in groups(build.unit.mesh, axis) for i in range(size)]
    text = _collective("collective_permute", value, _attributes(build, axis, "source_target_pairs", pairs), value.shape)
    return Talk(text, value.shape, 0, step=step)


def _broadcast(build: Builder, value: Value, axis: str, size: int) -> Talk:
    attributes = _attributes(build, axis).removesuffix(", use_global_device_ids")
    return Talk(_collective("collective_broadcast", value, attributes, value.shape), value.shape, 0, is_first=True)


COLLECTIVES: tuple[Callable[[Builder, Value, str, int], Talk], ...] = (
    _all_reduce, _all_gather, _reduce_scatter, _all_to_all, _permute, _broadcast,
)


def manual(build: Builder) -> None:
    """A matrix split by rows over one axis; each device computes on its own, then talks along that axis."""
    mesh = build.unit.mesh
    if mesh is None or build.depth:
        return
    axis, size = build.choose.choice(mesh.axes)
    rows, width = size * build.choose.choice((1, 2)), size * build.choose.choice((1, 2, 3))
    element = build.element(("f32", "i32"))
    value = build.tame(build.need((rows, width), element), LIMITS.get(element, math.inf) / (8 * size))
    inside = build.inner(captures=False)
    argument = Value(build.name(), (rows // size, width), element, value.bound)
    own = inside.define(f"negate {argument.name} : {argument.type}", argument.shape, element, value.bound)
    found = build.choose.choice(COLLECTIVES)(inside, own, axis, size)
    result = tuple(n * size if d == found.split else n for d, n in enumerate(found.shape))
    (talked,) = inside.several(found.text, [Value("", found.shape, element, value.bound * found.factor)])
    out = ", ".join(f'{{"{axis}"}}' if d == found.split else "{}" for d in range(2))
    build.unit.features.add("manual")
    axes = f'manual_axes={{"{axis}"}}'
    (whole,) = build.several(f"""sdy.manual_computation({value.name}) in_shardings=[<@mesh, [{{"{axis}"}}, {{}}]>]
      out_shardings=[<@mesh, [{out}]>] {axes} ({argument.name}: {argument.type}) {{
      {inside.text()}
      sdy.return {talked.name} : {talked.type}
    }} : ({value.type}) -> {tensor(result, element)}""", [Value("", result, element, talked.bound)])
    build.unit.plain[len(build.lines) - 1] = _plain(value, whole, found, size)


def _plain(value: Value, whole: Value, found: Talk, size: int) -> str:
    """What the manual computation comes to, of whole tensors: ``whole`` from ``value``."""
    name, negated = whole.name, f"{whole.name}n"
    lines = [f"{negated} = stablehlo.negate {value.name} : {value.type}"]
    rows, width = value.shape
    if found.is_first:
        first = tensor((rows // size, width), value.element)
        lines += [
            f"{name}f = stablehlo.slice {negated} [0:{rows // size}, 0:{width}] : ({value.type}) -> {first}",
            f"{name} = stablehlo.concatenate {', '.join([f'{name}f'] * size)}, dim = 0 : "
            f"({', '.join([first] * size)}) -> {whole.type}",
        ]
    elif found.step is None:
        blocks, zero = tensor((size, rows // size, width), value.element), tensor((), value.element)
        lines += [
            f"{name}b = stablehlo.reshape {negated} : ({value.type}) -> {blocks}",
            f"{name}z = stablehlo.constant dense<{'-0.0' if value.is_float else '0'}> : {zero}",
            f"{name} = stablehlo.reduce({name}b init: {name}z) applies stablehlo.add across dimensions = [0] : "
            f"({blocks}, {zero}) -> {whole.type}",
        ]
    else:
        cut = (size - found.step) % size * (rows // size)  # Zero rows are a tensor too.
        behind, before = (tensor((n, width), value.element) for n in (rows - cut, cut))
        lines += [
            f"{name}b = stablehlo.slice {negated} [{cut}:{rows}, 0:{width}] : ({value.type}) -> {behind}",
            f"{name}a = stablehlo.slice {negated} [0:{cut}, 0:{width}] : ({value.type}) -> {before}",
            f"{name} = stablehlo.concatenate {name}b, {name}a, dim = 0 : ({behind}, {before}) -> {whole.type}",
        ]
    return "\n".join(lines)


KINDS = {manual: 1}
