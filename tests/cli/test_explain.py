"""``shlo explain --collective``: numbers, both shardings, the op that needs it; and rules files in the answers."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.partition.variant_programs import ALL_PROGRAMS

EXAMPLES = Path(__file__).parents[2] / "examples"
DECODER = (EXAMPLES / "decoder" / "forward.mlir", "--rules", EXAMPLES / "decoder" / "megatron.toml")
SCAN = (EXAMPLES / "scan_layers" / "forward.mlir", "--rules", EXAMPLES / "scan_layers" / "megatron_fsdp.toml")

DECODER_STEP = (EXAMPLES / "decoder" / "train_step.mlir", *DECODER[1:])
MOE = (EXAMPLES / "moe" / "forward.mlir", "--rules", EXAMPLES / "moe" / "expert_all.toml")

MODULE = """sdy.mesh @mesh = <["x"=2, "y"=2]>
func.func @main(%a: tensor<8x4xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {}]>},
                %b: tensor<8x4xf32> {sdy.sharding = #sdy.sharding<@mesh, [{}, {"y"}]>}) -> tensor<8x4xf32> {
  %0 = stablehlo.abs %b : tensor<8x4xf32>
  %1 = sdy.sharding_constraint %0 <@mesh, [{}, {}]> : tensor<8x4xf32>
  %2 = stablehlo.sine %1 : tensor<8x4xf32>
  return %2 : tensor<8x4xf32>
}
"""


def counts(text: str) -> dict[str, int]:
    """Collectives by kind in a report of `shlo partition`."""
    found: dict[str, int] = {}
    for line in text.splitlines():
        if match := re.match(r"  (\w+) +\S.* (\d+) x ", line):
            found[match[1]] = found.get(match[1], 0) + int(match[2])
    return found


@pytest.mark.parametrize("words", [DECODER_STEP, SCAN, MOE])
def test_collectives_are_numbered_as_planned_and_those_that_stay_are_counted(
    shlo: Callable[..., Any], words: tuple[Any, ...]
) -> None:
    """Sums that are reduced together later come from several places; each is explained, and said to go."""
    result = shlo("explain", *words, "--collectives")
    assert result.code == 0
    table, _, rest = result.out.partition("\n\n")
    head, *rows = table.splitlines()
    assert head.split() == ["collective", "over", "bytes", "per", "device", "from", "to", "for", "at"]
    assert [row.split()[0] for row in rows] == [str(n) for n in range(1, len(rows) + 1)]
    planned = dict(Counter(row.split()[1] for row in rows))
    assert counts(shlo("partition", *words, "--keep-sum-order", "-o", "/dev/null").err) == planned
    emitted = counts(shlo("partition", *words, "-o", "/dev/null").err)
    assert sum(emitted.values()) > 0
    found = json.loads(shlo("explain", *words, "--collectives", "--json").out)
    assert found["emitted"] == emitted
    assert dict(Counter(c["kind"] for c in found["collectives"])) == planned
    gone = [str(c["number"]) for c in found["collectives"] if c["taken_out"]]
    assert len(gone) == len(rows) - sum(emitted.values())
    if not gone:
        assert not rest
        return
    first, *reasons = rest.splitlines()
    made = ", ".join(f"{count} {kind}" for kind, count in sorted(emitted.items()))
    assert first == f"shlo partition emits {made}, for it takes out"
    assert reasons == [f"  {', '.join(gone)}: its sum is made before the reduction over devices"]


def test_a_reduction_names_the_split_operands_and_a_rules_line(shlo: Callable[..., Any]) -> None:
    result = shlo("explain", *DECODER, "--collective", "2")
    assert result.code == 0
    lines = result.out.splitlines()
    assert lines[0] == "collective 2: all_reduce over model, groups of 4 devices, 32,768 bytes from each device"
    assert lines[1].endswith("(dot_general) at jit(forward)/mlp/dot_general")
    assert lines[2] == (
        "  before  each device holds a summand: the operands lie as P('data', None, 'model'), P('model', None),"
    )
    assert lines[4] == "  after   P('data', None, None)"
    assert "megatron.toml:18:1" in result.out


def test_a_move_names_both_shardings_and_who_needs_it(shlo: Callable[..., Any]) -> None:
    result = shlo("explain", "--collective", "1", stdin=MODULE)
    lines = result.out.splitlines()
    assert lines[:5] == [
        "collective 1: all_gather over y, groups of 2 devices, 64 bytes from each device",
        "  value   %0 (abs) at <stdin>:4:8",
        "  before  P(None, 'y')",
        "  after   P(None, None)",
        "  for     %2 (sine) at <stdin>:6:8",
    ]
    assert "%2 (sine): f32[8x4] is whole on every device: no axis reached it" in lines


def test_a_constraint_is_named_as_the_root(shlo: Callable[..., Any]) -> None:
    text = MODULE.replace("<@mesh, [{}, {}]>", '<@mesh, [{"x"}, {}]>')
    result = shlo("explain", "--value", "%2", stdin=text)
    lines = result.out.splitlines()
    assert lines[3].split() == ["given", "%1", "(sdy.sharding_constraint),", "dimension", "0", "<stdin>:5:8"]


def test_several_questions_at_once(shlo: Callable[..., Any]) -> None:
    result = shlo("explain", *DECODER, "--arg", "x", "--arg", "params['mlp']['up']", "--result", "0")
    assert result.code == 0
    titles = [line for line in result.out.splitlines() if line.startswith(("argument", "result"))]
    assert [title.split(":")[0] for title in titles] == ["argument 9 'x'", "argument 8 'params['mlp']['up']'",
                                                         "result 0 'result'"]


def test_long_chains_show_their_ends(shlo: Callable[..., Any]) -> None:
    body = "\n".join(f"  %{i + 1} = stablehlo.sine %{i} : tensor<8xf32>" for i in range(100))
    text = f"""sdy.mesh @mesh = <["x"=2]>
    func.func @main(%a: tensor<8xf32> {{sdy.sharding = #sdy.sharding<@mesh, [{{"x"}}]>}}) -> tensor<8xf32> {{
      %0 = stablehlo.abs %a : tensor<8xf32>
    {body}
      return %100 : tensor<8xf32>
    }}"""
    short = shlo("explain", "--value", "%100", stdin=text).out.splitlines()
    assert [line.split()[:2] for line in short[23:26]] == [["step", "19"], ["...", "61"], ["step", "81"]]
    assert len(short) == 3 + 1 + 41
    full = shlo("explain", "--value", "%100", "--full", stdin=text).out.splitlines()
    assert [line.split()[1] for line in full[4:]] == [str(step) for step in range(101)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--collective", "3"), "there is no collective 3; the per-device program has 1, numbered from 1"),
        (("--collective", "0"), "there is no collective 0"),
        (("--collective", "x"), "takes a whole number, not 'x'"),
        (("--value", "2"), "'2' is no value; write it as the program does"),
        (("--arg", "arg7"), "there is no argument 'arg7'; there are arg"),
    ],
)
def test_bad_questions_are_errors(shlo: Callable[..., Any], words: tuple[str, ...], message: str) -> None:
    result = shlo("explain", *words, stdin=MODULE)
    assert (result.code, result.out) == (1, "")
    assert message in result.err


def test_a_program_without_collectives(shlo: Callable[..., Any]) -> None:
    text = MODULE.replace("sdy.sharding_constraint %0 <@mesh, [{}, {}]>", "stablehlo.negate %0")
    assert shlo("explain", "--collectives", stdin=text).out == "the per-device program has no collectives\n"
    assert "the per-device program has none" in shlo("explain", "--collective", "1", stdin=text).err


def test_json_has_the_words_of_the_text(shlo: Callable[..., Any]) -> None:
    result = shlo("explain", *DECODER, "--arg", "x", "--collective", "2", "--json")
    assert result.code == 0
    found = json.loads(result.out)
    assert list(found) == ["tensors", "collectives", "emitted"]
    first = found["tensors"][0]
    assert list(first) == ["tensor", "type", "spec", "copy", "copies", "notes", "axes", "not_taken"]
    assert (first["tensor"], first["type"]) == ("argument 9 'x'", "f32[8x32x64]")
    assert first["spec"] == "P('data', None, None)"
    (way,) = first["axes"]
    assert way == {
        "dimension": 0, "size": 8, "axis": "data", "complete": True, "chain": [{
            "when": "given", "tensor": "argument 9 'x'", "dimension": 0, "how": "",
            "where": f"{EXAMPLES / 'decoder' / 'megatron.toml'}:18:1",
        }],
    }
    (second,) = found["collectives"]
    assert (second["number"], second["kind"], second["axes"], second["group_size"]) == (2, "all_reduce", ["model"], 4)
    assert (second["before"], second["after"], second["taken_out"]) == (None, "P('data', None, None)", None)
    assert second["operands"] == ["P('data', None, 'model')", "P('model', None)"]
    text = shlo("explain", *DECODER, "--arg", "x", "--collective", "2").out
    for tensor in found["tensors"]:
        assert tensor["tensor"] in text
        assert all(link["where"] in text and link["how"] in text for way in tensor["axes"] for link in way["chain"])


def test_a_preset_and_another_mesh(shlo: Callable[..., Any]) -> None:
    result = shlo("explain", DECODER[0], "--rules", "preset:megatron", "--mesh", "data=4,model=2", "--arg", "x")
    assert result.code == 0
    assert "dimension 0 of 8 is split over 'data'" in result.out
    assert "preset:megatron:" in result.out


def test_what_an_op_fetches_is_no_value_of_the_program(shlo: Any) -> None:
    shifted = """sdy.mesh @mesh = <["x"=4]>
func.func @main(%a: tensor<64xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}]>}) -> tensor<64xf32> {
  %z = stablehlo.constant dense<0.0> : tensor<f32>
  %0 = stablehlo.pad %a, %z, low = [1], high = [-1], interior = [0] : (tensor<64xf32>, tensor<f32>) -> tensor<64xf32>
  return %0 : tensor<64xf32>
}
"""
    rows = shlo("explain", "-", "--collectives", stdin=shifted).out.splitlines()
    (line,) = [row for row in rows if "_permute" in row]
    assert line.split("  ")[-3:] == ["what it reads", "pad", "<stdin>:4:8"]


def test_choices_among_shards_are_for_their_reduction(shlo: Any) -> None:
    chosen = ALL_PROGRAMS["argmax"].replace(
        "%a: tensor<8x12xf32>", '%a: tensor<8x12xf32> {sdy.sharding = #sdy.sharding<@mesh, [{}, {"x"}]>}'
    )
    module = f'sdy.mesh @mesh = <["x"=2]>\n{chosen}'
    rows = [row for row in shlo("explain", "-", "--collectives", stdin=module).out.splitlines() if "all_gather" in row]
    assert len(rows) == 2
    assert all("P(None, 'x')  what it reads  reduce" in row for row in rows)
