"""``shlo shard``: IR on standard output, words on standard error, bad input in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
DECODER = EXAMPLES / "decoder" / "forward.mlir"
MEGATRON = EXAMPLES / "decoder" / "megatron.toml"

MODULE = """sdy.mesh @mesh = <["x"=4, "y"=2]>
func.func @main(%a: tensor<8x6xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {}]>}) -> tensor<6x6xf32> {
  %0 = sdy.sharding_constraint %a <@mesh, [{"y", ?}, {}]> : tensor<8x6xf32>
  %1 = stablehlo.slice %0 [0:6, 0:6] : (tensor<8x6xf32>) -> tensor<6x6xf32>
  %2 = stablehlo.custom_call @foo(%1) : (tensor<6x6xf32>) -> tensor<6x6xf32>
  return %2 : tensor<6x6xf32>
}
"""


def test_rules_in_annotated_program_out(shlo: Callable[..., Any]) -> None:
    result = shlo("shard", DECODER, "--rules", MEGATRON)
    assert (result.code, result.err) == (0, "")
    assert 'sdy.mesh @mesh = <["data"=2, "model"=4]>' in result.out
    assert result.out.count("sdy.sharding = #sdy.sharding_per_value<") > 50
    assert "loc(" in result.out  # the input carried locations
    again = shlo("shard", stdin=result.stdout)
    assert again.stdout == result.stdout


def test_annotations_only(shlo: Callable[..., Any], tmp_path: Path) -> None:
    out = tmp_path / "out.mlir"
    result = shlo("shard", DECODER, "--rules", MEGATRON, "--no-propagate", "-o", out)
    assert (result.code, result.out, result.err) == (0, "", "")
    assert out.read_text().count("sdy.sharding = #sdy.sharding<") == 10
    assert "sharding_per_value" not in out.read_text()


def test_summary_goes_to_standard_error(shlo: Callable[..., Any]) -> None:
    result = shlo("shard", DECODER, "--rules", MEGATRON, "--summary", "-o", "/dev/null")
    assert result.out == ""
    lines = result.err.splitlines()
    assert lines[0] == "mesh @mesh: data=2, model=4 (8 devices)"
    assert "params['mlp']['down']        f32[192x64]   P('model', None)       12,288" in lines
    assert lines[-1].endswith("tensors inside are sharded")


def test_the_modules_own_annotations_with_warnings(shlo: Callable[..., Any]) -> None:
    result = shlo("shard", stdin=MODULE)
    assert result.code == 0
    assert "sdy.sharding_constraint" in result.out
    assert "sdy.reshard" not in result.out
    assert result.err.splitlines() == [
        "<stdin>:5:8: warning: stablehlo.custom_call 'foo' has no sharding rule: its operands are gathered and every "
        "device runs all of it",
        "a rule in the rules file would change that; give dimensions that are split alike one letter:",
        "  [[rules]]",
        '  custom_call = "foo"',
        '  rule = "a b -> c d"',
    ]


def test_what_does_not_divide_is_a_warning_with_its_place(shlo: Callable[..., Any]) -> None:
    result = shlo("shard", stdin=MODULE.replace('{"y", ?}', '{"x"}'))
    assert result.code == 0
    assert "<stdin>:4:8: warning: stablehlo.slice (6x6): dimension 0 of 6 does not divide by 'x'; replicated there" in (
        result.err.splitlines()
    )


def test_many_warnings_are_cut_short(shlo: Callable[..., Any]) -> None:
    calls = "\n".join(f"%{i} = stablehlo.custom_call @f{i}(%a) : (tensor<4xf32>) -> tensor<4xf32>" for i in range(14))
    result = shlo("shard", stdin=f"func.func @main(%a: tensor<4xf32>) {{\n{calls}\nreturn\n}}")
    assert result.code == 0
    lines = result.err.splitlines()
    assert len(lines) == 11 + 1 + 3 * 14
    assert lines[10] == "warning: and 4 more like the last"


def test_rules_stay_if_asked_for(shlo: Callable[..., Any]) -> None:
    assert "sdy.sharding_rule" not in shlo("shard", stdin=MODULE).out
    assert "sdy.sharding_rule" in shlo("shard", "--keep-sharding-rules", stdin=MODULE).out


def test_an_entry_of_another_name(shlo: Callable[..., Any]) -> None:
    text = MODULE.replace("@main", "@forward") + "func.func @other(%a: tensor<4xf32>) { return }\n"
    refused = shlo("shard", stdin=text)
    assert refused.code == 1
    assert "--entry" in refused.err
    result = shlo("shard", "--entry", "forward", stdin=text)
    assert result.code == 0
    assert "func.func @forward" in result.out
    assert "@main" not in result.out


BAD = {
    "no rules to write": (MODULE, None, ("--no-propagate",), "shlo: error: --no-propagate without --rules"),
    "missing rules": (MODULE, None, ("--rules", "none.toml"), "none.toml: error: cannot read the file"),
    "typo in a key": (MODULE, "mesh = { x = 2 }\n[[argument]]", (), "RULES:2:3: error: unknown key 'argument'"),
    "no such axis": (
        MODULE, "mesh = { x = 2 }\n[[arguments]]\nindex = 0\ndims = ['y', '']", (),
        "RULES:4:1: error: the mesh has no axis 'y'; it has 'x'",
    ),
    "no such argument": (
        MODULE, "mesh = { x = 2 }\n[[arguments]]\nmatch = 'b'\ndims = []", (),
        'RULES:3:1: error: match "b" selects no argument; the arguments are arg0',
    ),
    "does not divide": (
        MODULE, "mesh = { x = 4 }\n[[arguments]]\nindex = 0\ndims = ['', 'x']", (),
        "RULES:3:1: error: argument 0 'arg0' has shape 8x6: dimension 1 of 6 does not divide by axis 'x' of size 4; "
        "a size of 4 or 8 would do, or 3 or 6 shards",
    ),
    "own annotation does not divide": (
        MODULE.replace('[{"x"}, {}]', '[{}, {"x"}]'), None, (),
        "FILE:2:1: error: argument 0 'arg0' of @main has shape 8x6: dimension 1 of 6 does not divide by axis 'x'",
    ),
    "empty module": ("module {}", None, (), "FILE: error: the module is empty"),
    "recursion": (
        "func.func @main(%a: tensor<4xf32>) -> tensor<4xf32> {\n"
        "  %0 = call @main(%a) : (tensor<4xf32>) -> tensor<4xf32>\n  return %0 : tensor<4xf32>\n}", None, (),
        "FILE:2:8: error: recursion: @main calls @main",
    ),
    "called declaration": (
        "func.func private @f(tensor<4xf32>) -> tensor<4xf32>\nfunc.func @main(%a: tensor<4xf32>) -> tensor<4xf32> {\n"
        "  %0 = call @f(%a) : (tensor<4xf32>) -> tensor<4xf32>\n  return %0 : tensor<4xf32>\n}", None, (),
        "FILE:3:8: error: @main calls @f, which has no body",
    ),
    "dynamic shape": ("func.func @main(%a: tensor<?xf32>) { return }", None, (), "FILE:1:1: error: argument 0 'arg0'"),
    "mesh that is not there": (
        MODULE.replace("sdy.mesh @mesh", "sdy.mesh @other"), None, (),
        "FILE:2:1: error: 'func.func' op arg 0 - unknown mesh: @mesh",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name: str, shlo: Callable[..., Any], tmp_path: Path) -> None:
    text, rules, options, expected = BAD[name]
    module, toml, out = tmp_path / "m.mlir", tmp_path / "r.toml", tmp_path / "out.mlir"
    module.write_text(text)
    out.write_text("as before")
    if rules is not None:
        toml.write_text(rules)
        options = (*options, "--rules", str(toml))
    result = shlo("shard", module, "-o", out, *options)
    said = result.err.replace(str(module), "FILE").replace(str(toml), "RULES")
    assert said.startswith(expected)
    assert (result.code, result.out, out.read_text()) == (1, "", "as before")
    assert "Traceback" not in said


def test_two_inputs_from_standard_input(shlo: Callable[..., Any]) -> None:
    result = shlo("shard", "--rules", "-", stdin=MODULE)
    assert result.code == 1
    assert "standard input" in result.err
