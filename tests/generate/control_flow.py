"""Ops with regions that capture, and functions: loops, branches, calls and composites, nested."""

from __future__ import annotations

import re
from dataclasses import replace

from tests.generate.builder import FLOATS, SMALL, Builder, Function, Value, names, two, typed, types

DEEPEST = 2


def _renamed(build: Builder, values: list[Value]) -> list[Value]:
    """Block arguments of the types of ``values``, whose floats are small."""
    return [replace(v, name=build.name(), bound=_small(build, v)) for v in values]


def _small(build: Builder, value: Value) -> float:
    return SMALL if build.unit.exact and value.element in FLOATS else value.bound


def _ends(build: Builder, wanted: list[Value]) -> list[Value]:
    """A value of each type, small again, as the next turn or the caller expects."""
    return [build.tame(build.need(v.shape, v.element), SMALL) for v in wanted]


def loop(build: Builder) -> None:
    """A loop of known or, through its counter's start, unknown count of turns."""
    from tests.generate.program import add_ops

    if build.depth >= DEEPEST:
        return
    starts = [build.tame(build.some(), SMALL) for _ in range(build.choose.choice((1, 1, 2, 3)))]
    counter = build.scalar(build.choose.choice(("0", "1")), "i32")
    carried = _renamed(build, [counter, *starts])
    body = build.inner(*carried)
    add_ops(body, build.choose.randint(1, 4))
    ends = _ends(body, starts)
    if build.chance(0.3):  # a value that is carried and never changed
        ends[0] = carried[1]
    one = body.scalar("1", "i32")
    following = body.define(f"add {carried[0].name}, {one.name} : tensor<i32>", (), "i32")
    head = build.inner(*carried)
    last = head.scalar(build.choose.choice(("1", "2", "3")), "i32")
    going = head.define(f"compare LT, {carried[0].name}, {last.name} : (tensor<i32>, tensor<i32>) -> tensor<i1>", (),
                        "i1")
    results = _twice(build, [counter, *starts], carried, head.text(), going.name, body.text(), [following, *ends])
    build.scope += [replace(value, name=result) for value, result in zip(carried, results, strict=True)]


def _twice(
    build: Builder, starts: list[Value], carried: list[Value], head: str, going: str, body: str, ends: list[Value]
) -> list[str]:
    """Adds a loop whose other version carries every value but the counter twice; returns its results' names."""
    name, count = build.name(), len(carried)
    inside = {*re.findall(r"(%\w+)(?::\S+)? =", body), *(value.name for value in carried[1:])}

    def again(text: str) -> str:
        """``text`` with other names for what the body defines, but for the counter."""
        return re.sub(r"%\w+", lambda found: f"{found[0]}_2" if found[0] in inside else found[0], text)

    pairs = [f"{c.name} = {s.name}" for c, s in zip(carried, starts, strict=True)]
    more = [f"{again(c.name)} = {s.name}" for c, s in zip(carried[1:], starts[1:], strict=True)]
    types_ = f"{types(carried)}{two('', f', {types(carried[1:])}')}"
    build.lines.append(f"""{name}:{two(str(count), str(2 * count - 1))} = stablehlo.while({", ".join(pairs)}{
        two("", ", " + ", ".join(more))}) : {types_}
      cond {{
        {head}
        stablehlo.return {going} : tensor<i1>
      }} do {{
        {body}
        {two("", again(body))}
        stablehlo.return {names(ends)}{two("", ", " + again(names(ends[1:])))} : {types_}
      }}""")
    # Every second result is read from the copy.
    return [f"{name}#{two(str(i), str(i + (count - 1) * (i % 2)))}" for i in range(count)]


def branch(build: Builder) -> None:
    """An if, or a case of one to three branches."""
    from tests.generate.program import add_ops

    if build.depth >= DEEPEST:
        return
    results = [build.some() for _ in range(build.choose.choice((1, 1, 2)))]
    is_case = build.chance(0.5)
    predicate = build.need((), "i32" if is_case else "i1")
    branches = []
    bounds: list[list[float]] = []
    for _ in range(build.choose.randint(1, 3) if is_case else 2):
        inside = build.inner()
        add_ops(inside, build.choose.randint(0, 3))
        ends = [inside.need(r.shape, r.element) for r in results]
        bounds.append([end.bound for end in ends])
        branches.append(f"{{\n{inside.text()}\nstablehlo.return {names(ends)} : {types(ends)}\n}}")
    found = [replace(r, bound=max(of)) for r, of in zip(results, zip(*bounds, strict=True), strict=True)]
    build.several(f'"stablehlo.{"case" if is_case else "if"}"({predicate.name}) ({", ".join(branches)}) : '
                  f"({predicate.type}) -> ({types(results)})", found)


def _function(build: Builder) -> Function:
    """A new private function of a few arguments."""
    from tests.generate.program import add_ops

    unit, choose = build.unit, build.choose
    arguments = _renamed(build, [build.some() for _ in range(choose.randint(1, 3))])
    body = build.inner(*arguments, captures=False)
    add_ops(body, choose.randint(1, 4))
    ends = [body.some() for _ in range(choose.randint(1, 2))]
    found = Function(f"f{len(unit.functions)}", tuple(arguments), tuple(ends))
    unit.texts.append(f"func.func private @{found.name}({typed(arguments)}) -> ({types(ends)}) {{\n{body.text()}\n"
                      f"return {names(ends)} : {types(ends)}\n}}")
    unit.functions.append(found)
    return found


def _called(build: Builder) -> tuple[Function, list[Value]]:
    known = build.unit.functions
    if known and (build.chance(0.6) or build.depth >= DEEPEST):
        function = build.choose.choice(known)
    else:
        function = _function(build)
    return function, _ends(build, list(function.arguments))


def _either(build: Builder, function: Function) -> str:
    """The function's name; in the other version of the program at times that of its copy."""
    return two(function.name, build.choose.choice((function.name, function.name.replace("f", "g"))))


def call(build: Builder) -> None:
    if build.depth >= DEEPEST and not build.unit.functions:
        return
    function, operands = _called(build)
    build.several(f"func.call @{_either(build, function)}({names(operands)}) : ({types(operands)}) -> "
                  f"({types(function.results)})", list(function.results))


def composite(build: Builder) -> None:
    if build.depth >= DEEPEST and not build.unit.functions:
        return
    function, operands = _called(build)
    build.several(f'"stablehlo.composite"({names(operands)}) <{{name = "gen.{function.name}", decomposition = '
                  f"@{_either(build, function)}, composite_attributes = {{}}, version = 0 : i32}}> : "
                  f"({types(operands)}) -> ({types(function.results)})", list(function.results))


KINDS = {loop: 1, branch: 1, call: 1, composite: 0.4}
