"""Inputs that kill Shardy's passes are refused with their place; what a pass takes is let through."""

from __future__ import annotations

import pytest

from passes.errors import UserError
from passes.pipeline import prechecks, runner
from passes.program import read

MESH = 'sdy.mesh @mesh = <["x"=4, "y"=2]>\n'
T = "tensor<8xf32>"


def function(name: str, callee: str | None = None, visibility: str = "", type: str = T) -> str:
    call = f"  %0 = func.call @{callee}(%a) : ({type}) -> {type}\n" if callee else ""
    result = "%0" if callee else "%a"
    return f"func.func {visibility}@{name}(%a: {type}) -> {type} {{\n{call}  return {result} : {type}\n}}\n"


DECLARATION = f"func.func private @ext({T}) -> {T}\n"
PIPELINE = "builtin.module(sdy-propagation-pipeline)"

FATAL = {
    "empty": ("module {}", "in.mlir", "the module is empty"),
    "mesh only": (MESH, "in.mlir", "the module is empty"),
    "private only": (function("f", visibility="private "), "in.mlir", "no public function with a body"),
    "no main": (function("f") + function("g"), "in.mlir", "looks for a function @main, and the module has several"),
    "recursion": (
        function("main", "f") + function("f", "f", "private "), "in.mlir:6:8", "recursion: @f calls @f"),
    "main calls itself": (function("main", "main"), "in.mlir:2:8", "recursion: @main calls @main"),
    "mutual recursion": (
        function("main", "f") + function("f", "g", "private ") + function("g", "f", "private "),
        "in.mlir:10:8", "recursion: @f calls @g calls @f"),
    "called declaration": (DECLARATION + function("main", "ext"), "in.mlir:3:8", "@main calls @ext, which has no body"),
    "composite of a declaration": (
        DECLARATION + f"func.func @main(%a: {T}) -> {T} {{\n"
        f'  %0 = stablehlo.composite "a.b" %a {{decomposition = @ext}} : ({T}) -> {T}\n  return %0 : {T}\n}}',
        "in.mlir:3:8", "@main calls @ext, which has no body"),
}


@pytest.mark.parametrize("name", FATAL)
@pytest.mark.parametrize("isolation", [True, False])
def test_fatal_inputs_are_refused_by_the_runner(name: str, isolation: bool) -> None:
    text, where, message = FATAL[name]
    program = read.parse(text, "in.mlir")
    with pytest.raises(UserError) as caught:
        runner.run(program, PIPELINE, runner.RunOptions(isolation=isolation))
    assert caught.value.exit_code == 1
    assert message in caught.value.message
    assert str(caught.value.where) == where
    assert (caught.value.snippet is not None) == (":" in where)


@pytest.mark.parametrize("name", FATAL)
def test_fatal_inputs_are_refused_for_the_stages(name: str) -> None:
    text, where, message = FATAL[name]
    with pytest.raises(UserError) as caught:
        prechecks.check_for_sdy(read.parse(text, "in.mlir"))
    assert message in caught.value.message
    assert str(caught.value.where) == where


@pytest.mark.parametrize(("type", "message"), [
    ("tensor<?xf32>", "sharding needs static shapes"),
    ("tensor<*xf32>", "sharding needs ranked tensors"),
    (f"tuple<{T}, {T}>", "sharding knows no tuples"),
])
def test_types_that_cannot_be_sharded(type: str, message: str) -> None:
    program = read.parse(function("main", type=type), "in.mlir")
    with pytest.raises(UserError, match=message) as caught:
        prechecks.check_for_sdy(program)
    assert type in caught.value.message
    assert str(caught.value.where) == "in.mlir:1:1"


def test_a_dynamic_value_inside_a_region_is_found() -> None:
    text = (
        f"func.func @main(%a: {T}, %p: tensor<i1>) -> {T} {{\n"
        '  %0 = "stablehlo.if"(%p) ({\n'
        f"    %1 = tensor.cast %a : {T} to tensor<?xf32>\n"
        f"    stablehlo.return %a : {T}\n  }}, {{\n    stablehlo.return %a : {T}\n  }}) : (tensor<i1>) -> {T}\n"
        f"  return %0 : {T}\n}}"
    )
    with pytest.raises(UserError, match=r"'tensor.cast' has a value of type tensor<\?xf32>") as caught:
        prechecks.check_for_sdy(read.parse(text, "in.mlir"))
    assert str(caught.value.where) == "in.mlir:3:10"


@pytest.mark.parametrize("text", [
    MESH + function("main"),
    # What symbol-dce removes at the start of the pipeline may be as it likes.
    DECLARATION + function("main"),
    function("main") + function("f", "f", "private "),
    # A single function need not be called main; one called main may have company.
    function("f"),
    function("main") + function("g"),
    function("main", "f") + function("g", "f") + function("f", "h", "private ") + function("h", None, "private "),
])
def test_harmless_inputs_go_through(text: str) -> None:
    program = read.parse(text, "in.mlir")
    prechecks.check_for_sdy(program)
    runner.run(program, PIPELINE)
    assert "func.func" in str(program.module)


def test_a_pass_is_checked_on_the_program_it_will_see() -> None:
    # The declaration would kill sdy-close-shardings, but symbol-dce removes it first.
    program = read.parse(DECLARATION + function("main"), "in.mlir")
    with pytest.raises(UserError, match=r"function @ext has no body"):
        runner.run(program, "builtin.module(sdy-close-shardings)")
    runner.run(program, "builtin.module(symbol-dce,sdy-close-shardings)")
    assert "@ext" not in str(program.module)


def test_a_refusal_behind_the_first_pass_is_found_also_when_times_are_taken() -> None:
    # One manager runs all passes then, and dies; the repetition pass by pass says why.
    text, where, message = FATAL["recursion"]
    with pytest.raises(UserError) as caught:
        program = read.parse(text, "in.mlir")
        runner.run(program, "builtin.module(cse,sdy-flatten-call-graph)", runner.RunOptions(timing=True))
    assert (caught.value.exit_code, str(caught.value.where)) == (1, where)
    assert message in caught.value.message


def test_deep_call_chains_do_not_exhaust_the_stack() -> None:
    count = 3000
    text = function("main", "f0")
    text += "".join(function(f"f{i}", f"f{i + 1}", "private ") for i in range(count)) + function(f"f{count}")
    prechecks.check_for_sdy(read.parse(text, "in.mlir"))
