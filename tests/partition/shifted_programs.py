"""Programs whose ops move elements along a dimension that stays split: the dimension, its size, and what moves how.

Each is a list of ops on one argument ``%a`` (and a scalar ``%v``), so that one compilation executes many settings.
"""

from __future__ import annotations

import random
from collections.abc import Iterable


def function(type: str, lines: Iterable[tuple[str, ...]], dims: str, mesh: str, more: str = "") -> str:
    """A module with ``mesh`` whose first argument lies as ``dims`` say; returns what every line makes.

    ``lines`` are (op, type of its result), and ops to put before.
    """
    body, names, types = [], [], []
    for i, (line, result, *setup) in enumerate(lines):
        body += [*setup, f"  %r{i} = {line}"]
        names.append(f"%r{i}")
        types.append(result)
    sharding = f"#sdy.sharding<@mesh, [{dims}]>"
    return (
        f"sdy.mesh @mesh = <{mesh}>\n"
        f"func.func @main(%a: {type} {{sdy.sharding = {sharding}}}, %v: tensor<f32>{more})"
        f" -> ({', '.join(types)}) {{\n"
        f"  %zero = stablehlo.constant dense<0.0> : tensor<f32>\n  %one = stablehlo.constant dense<1.0> : tensor<f32>\n"
        + "\n".join(body) + f"\n  return {', '.join(names)} : {', '.join(types)}\n}}"
    )


def slices(size: int, shards: int, count: int, seed: int) -> list[tuple[str, str]]:
    """Random slices of dimension 0 whose results divide by ``shards``."""
    choose, found = random.Random(seed), []
    while len(found) < count:
        stride = choose.choice((1, 1, 2, 3))
        start = choose.randrange(size)
        results = choose.randrange(1, size // shards + 1) * shards
        limit = start + (results - 1) * stride + 1
        if limit <= size:
            result = f"tensor<{results}x2xf32>"
            line = f"stablehlo.slice %a [{start}:{limit}:{stride}, 0:2] : (tensor<{size}x2xf32>) -> {result}"
            found.append((line, result))
    return found


def pads(size: int, shards: int, count: int, seed: int) -> list[tuple[str, str]]:
    """Random padding of dimension 0, negative too and between elements, whose results divide by ``shards``."""
    choose, found = random.Random(seed), []
    while len(found) < count:
        low, high, interior = choose.randint(-4, 9), choose.randint(-4, 9), choose.choice((0, 0, 1, 2))
        results = size + low + high + (size - 1) * interior
        if results > 0 and results % shards == 0 and results // shards % (interior + 1) == 0:
            other = choose.choice((0, 0, 1))
            result = f"tensor<{results}x{2 + other}xf32>"
            line = f"stablehlo.pad %a, %v, low = [{low}, 0], high = [{high}, {other}], interior = [{interior}, 0]"
            found.append((f"{line} : (tensor<{size}x2xf32>, tensor<f32>) -> {result}", result))
    return found


def windows(size: int, shards: int, count: int, seed: int) -> list[tuple[str, str]]:
    """Random sums over windows of dimension 0, started from ``%v``, whose results divide by ``shards``."""
    choose, found = random.Random(seed), []
    while len(found) < count:
        window, stride, dilation = choose.randint(1, 4), choose.choice((1, 1, 2)), choose.choice((1, 1, 2))
        base, low, high = choose.choice((1, 1, 2)), choose.randint(-1, 4), choose.randint(-1, 4)
        reach, padded = (window - 1) * dilation + 1, (size - 1) * base + 1 + low + high
        results = (padded - reach) // stride + 1
        if reach > padded or results % shards or results // shards * stride % base:
            continue
        result = f"tensor<{results}x2xf32>"
        reducer, initial = choose.choice(REDUCERS)
        if reducer == "add" and initial == "%v" and (low > 0 or high > 0):
            continue
        line = f"""{reducer}"(%a, {initial}) <{{
    window_dimensions = array<i64: {window}, 1>, window_strides = array<i64: {stride}, 1>,
    window_dilations = array<i64: {dilation}, 1>, base_dilations = array<i64: {base}, 1>,
    padding = dense<[[{low}, {high}], [0, 0]]> : tensor<2x2xi64>}}> : (tensor<{size}x2xf32>, tensor<f32>) -> {result}"""
        found.append((_reducing(line), result))
    return found


# Initial values other than the neutral one count once per window, so they must not stand for padding too.
REDUCERS = (("add", "%zero"), ("add", "%v"), ("maximum", "%v"), ("minimum", "%v"), ("multiply", "%one"))


def _reducing(line: str) -> str:
    """``add"(...) <...> : type`` as a reduce_window with that reducer."""
    reducer, _, rest = line.partition('"')
    settings, _, type = rest.rpartition(" : (")
    return f"""\"stablehlo.reduce_window\"{settings} ({{
    ^bb0(%x: tensor<f32>, %y: tensor<f32>):
      %z = stablehlo.{reducer} %x, %y : tensor<f32>
      stablehlo.return %z : tensor<f32>
    }}) : ({type}"""


def convolutions(size: int, shards: int, count: int, seed: int) -> list[tuple[str, str]]:
    """Random convolutions along dimension 0 of ``%a`` with a kernel cut from ``%k``."""
    choose, found = random.Random(seed), []
    while len(found) < count:
        window, stride, dilation = choose.randint(1, 4), choose.choice((1, 1, 2)), choose.choice((1, 1, 2))
        base, low, high = choose.choice((1, 1, 2)), choose.randint(-1, 4), choose.randint(-1, 4)
        reach, padded = (window - 1) * dilation + 1, (size - 1) * base + 1 + low + high
        results = (padded - reach) // stride + 1
        if reach > padded or results % shards or results // shards * stride % base:
            continue
        result, reverse = f"tensor<{results}x3xf32>", choose.choice(("true", "false"))
        line = f"""stablehlo.convolution(%a, %k{window}) dim_numbers = [0, b, f]x[0, i, o]->[0, b, f],
    window = {{stride = [{stride}], pad = [[{low}, {high}]], lhs_dilate = [{base}], rhs_dilate = [{dilation}],
    reverse = [{reverse}]}} {{batch_group_count = 1 : i64, feature_group_count = 1 : i64}}
    : (tensor<{size}x1x2xf32>, tensor<{window}x2x3xf32>) -> tensor<{results}x1x3xf32>"""
        found.append((line, result.replace("x3x", "x1x3x")))
    return found


KERNELS = "".join(f", %k{n}: tensor<{n}x2x3xf32>" for n in range(1, 5))


def rolls(size: int, count: int, seed: int) -> list[tuple[str, ...]]:
    """Dimension 0 of ``%a`` rolled, or shifted with ``%v`` coming in, by random distances."""
    choose, type = random.Random(seed), f"tensor<{size}x2xf32>"
    found: list[tuple[str, ...]] = []
    for i in range(count):
        by = choose.randrange(1, size)
        inner, outer = f"tensor<{size - by}x2xf32>", f"tensor<{by}x2xf32>"
        head = f"stablehlo.slice %a [0:{size - by}, 0:2] : ({type}) -> {inner}"
        outside = choose.choice((
            f"stablehlo.slice %a [{size - by}:{size}, 0:2] : ({type}) -> {outer}",
            f"stablehlo.broadcast_in_dim %v, dims = [] : (tensor<f32>) -> {outer}",
            f"stablehlo.constant dense<2.0> : {outer}",
        ))
        joined = f"stablehlo.concatenate %o{i}, %h{i}, dim = 0 : ({outer}, {inner}) -> {type}"
        setup = f"%o{i} = {outside}\n  %h{i} = {head}\n"
        found.append((joined, type, setup))
    return found


def running(size: int) -> list[tuple[str, str]]:
    """Sums, products and maxima of all elements up to one, or from it on, along dimension 0, 1 or both."""
    found, end = [], size - 1
    for reducer, initial in (("add", "%zero"), ("multiply", "%one"), ("maximum", "%v")):
        for windows, padding in (
            (f"{size}, 1", f"[{end}, 0], [0, 0]"),
            (f"{size}, 1", f"[0, {end}], [0, 0]"),
            (f"{size}, 2", f"[{end}, 0], [1, 0]"),
            (f"1, {2}", "[0, 0], [0, 1]"),
        ):
            result = f"tensor<{size}x2xf32>"
            line = f"""{reducer}"(%a, {initial}) <{{window_dimensions = array<i64: {windows}>,
    padding = dense<[{padding}]> : tensor<2x2xi64>}}> : (tensor<{size}x2xf32>, tensor<f32>) -> {result}"""
            found.append((_reducing(line), result))
    return found


def scattered(size: int, shards: int) -> list[tuple[str, str, str]]:
    """Gradients of maximum pooling along dimension 0, with windows that overlap and windows that do not."""
    found = []
    for i, (window, stride) in enumerate(((2, 2), (1, 1), (2, 1), (3, 2), (3, 3))):
        results = (size - window) // stride + 1
        while results % shards:
            results -= 1
        source = f"tensor<{results}x2xf32>"
        setup = f"  %s{i} = stablehlo.slice %a [0:{results}, 0:2] : (tensor<{size}x2xf32>) -> {source}\n"
        result = f"tensor<{size}x2xf32>"
        line = f"""\"stablehlo.select_and_scatter\"(%a, %s{i}, %zero) <{{
    window_dimensions = array<i64: {window}, 1>, window_strides = array<i64: {stride}, 1>}}> ({{
    ^bb0(%x: tensor<f32>, %y: tensor<f32>):
      %z = stablehlo.compare GE, %x, %y : (tensor<f32>, tensor<f32>) -> tensor<i1>
      stablehlo.return %z : tensor<i1>
    }}, {{
    ^bb0(%x: tensor<f32>, %y: tensor<f32>):
      %z = stablehlo.add %x, %y : tensor<f32>
      stablehlo.return %z : tensor<f32>
    }}) : (tensor<{size}x2xf32>, {source}, tensor<f32>) -> {result}"""
        if results > 0 and (results - 1) * stride + window <= size and results == (size - window) // stride + 1:
            found.append((line, result, setup))
    return found
