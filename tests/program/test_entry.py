"""Which function is the entry, and what its arguments and results are called."""

from __future__ import annotations

import pytest

from passes.errors import UserError
from passes.program.entry import arguments, find_entry, functions, is_declaration, is_private, results, symbol_name
from passes.program.read import Program, parse

BODY = "(%a: tensor<4xf32>) -> tensor<4xf32> { return %a : tensor<4xf32> }"


def program(*names: str) -> Program:
    return parse("\n".join(f"func.func {name}{BODY}" for name in names), "model.mlir")


@pytest.mark.parametrize(
    ("names", "asked", "found"),
    [
        (("@main",), None, "main"),
        (("@forward",), None, "forward"),
        (("@g", "@main", "@h"), None, "main"),
        (("@g", "private @main"), None, "main"),
        (("@forward", "private @helper"), None, "forward"),
        (("@main", "private @helper"), "helper", "helper"),
        (('@"my model"',), "my model", "my model"),
    ],
)
def test_entry(names: tuple[str, ...], asked: str | None, found: str) -> None:
    given = program(*names)
    assert symbol_name(find_entry(given, asked)) == found


@pytest.mark.parametrize(
    ("names", "asked", "message"),
    [
        (("@g", "@h"), None, "no function @main; name the entry function with --entry, one of @g, @h"),
        (("private @g", "private @h"), None, "no function @main; name the entry function with --entry, one of @g, @h"),
        (("@main", "private @h"), "k", "no function @k with a body; the module has @main, @h"),
    ],
)
def test_no_entry(names: tuple[str, ...], asked: str | None, message: str) -> None:
    with pytest.raises(UserError) as caught:
        find_entry(program(*names), asked)
    assert caught.value.render() == f"model.mlir: error: {message}"


@pytest.mark.parametrize("text", ["module {}", "// nothing", "func.func private @main(tensor<4xf32>)"])
def test_nothing_to_enter(text: str) -> None:
    with pytest.raises(UserError, match="the module is empty: it holds no function with a body"):
        find_entry(parse(text))


def test_functions() -> None:
    given = parse(f"func.func @a{BODY}\nsdy.mesh @m = <[\"x\"=2]>\nfunc.func private @b(tensor<4xf32>)")
    found = [(symbol_name(f), is_private(f), is_declaration(f)) for f in functions(given.module)]
    assert found == [("a", False, False), ("b", True, True)]


def test_signature() -> None:
    given = parse("""
      sdy.mesh @mesh = <["x"=2]>
      func.func @main(
          %a: tensor<4xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}]>} loc("params['w']"),
          %b: tensor<i32>,
          %c: tensor<2xbf16> loc("x"("model.py":3:1)))
          -> (tensor<4xf32> {jax.result_info = "['loss']"}, tensor<i32>) {
        return %a, %b : tensor<4xf32>, tensor<i32>
      }""")
    entry = find_entry(given)
    assert [(v.index, v.name, str(v.type)) for v in arguments(entry)] == [
        (0, "params['w']", "tensor<4xf32>"), (1, "arg1", "tensor<i32>"), (2, "x", "tensor<2xbf16>")]
    assert [(v.index, v.name, str(v.type)) for v in results(entry)] == [
        (0, "['loss']", "tensor<4xf32>"), (1, "result1", "tensor<i32>")]
    assert [list(v.attributes) for v in arguments(entry)] == [["sdy.sharding"], [], []]
    assert str(arguments(entry)[0].attributes["sdy.sharding"]) == '#sdy.sharding<@mesh, [{"x"}]>'
