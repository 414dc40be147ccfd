"""``shlo show``: JSON for scripts, pictures of more than two dimensions, long meshes, and names as a newcomer types."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from passes.cli.show import _draw_in_colour
from passes.sharding.picture import Grid

MODULE = """sdy.mesh @mesh = <["a"=2, "b"=2, "c"=2]>
func.func @main(%x: tensor<4x6x8xbf16> {sdy.sharding = #sdy.sharding<@mesh, [{"a"}, {"c"}, {"b"}]>},
                %odd: tensor<3xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"a"}]>}) -> tensor<4x6x8xbf16> {
  %0 = stablehlo.add %x, %x {sdy.sharding = #sdy.sharding_per_value<[<@mesh, [{"a"}, {}, {"b"}]>]>} : tensor<4x6x8xbf16>
  %1 = sdy.sharding_constraint %0 <@mesh, [{}, {}, {"b", "c"}]> : tensor<4x6x8xbf16>
  return %1 : tensor<4x6x8xbf16>
}
"""


def test_json_has_what_the_table_has(shlo: Callable[..., Any]) -> None:
    result = shlo("show", "--all", "--json", stdin=MODULE)
    data = json.loads(result.out)
    assert data["meshes"] == {"mesh": {"a": 2, "b": 2, "c": 2}}
    by_value = {t["value"]: t for t in data["tensors"]}
    assert by_value["%x"]["local_shape"] == [2, 3, 4]
    assert by_value["%x"]["bytes_per_device"] == 2 * 3 * 4 * 2
    assert by_value["%0"]["spec"] == "P('a', None, 'b')"
    assert by_value["%1"]["spec"] == "P(None, None, ('b', 'c'))"
    assert by_value["%1"]["where"] == "<stdin>:5:8"
    assert (by_value["%odd"]["divides"], by_value["%odd"]["local_shape"]) == (False, [3])
    assert by_value[""]["kind"] == "result"


def test_further_dimensions_get_a_picture_each(shlo: Callable[..., Any]) -> None:
    result = shlo("show", "--visualize", "%x", stdin=MODULE)
    assert result.out.splitlines() == [
        "argument arg0: bf16[4x6x8] P('a', 'c', 'b')",
        "dimension 0 at 0:2",
        "┌───┬───┐",
        "│ 0 │ 2 │",
        "├───┼───┤",
        "│ 1 │ 3 │",
        "└───┴───┘",
        "dimension 0 at 2:4",
        "┌───┬───┐",
        "│ 4 │ 6 │",
        "├───┼───┤",
        "│ 5 │ 7 │",
        "└───┴───┘",
    ]


def test_rich_draws_the_same_boxes(capsys: pytest.CaptureFixture[str]) -> None:
    boxes = tuple(tuple(f"{row},{column}" * 4 for column in range(12)) for row in range(2))
    grid = Grid("", boxes, ((0,) * 12, (1,) * 12))
    assert _draw_in_colour(grid)
    assert capsys.readouterr().out.splitlines() == grid.lines()


def test_what_is_whole_or_does_not_divide_is_said(shlo: Callable[..., Any]) -> None:
    assert shlo("show", "--visualize", "result0", stdin=MODULE).out.endswith("every device holds all of it\n")
    assert "do not divide" in shlo("show", "--visualize", "%odd", stdin=MODULE).out


def test_large_meshes_are_elided(shlo: Callable[..., Any]) -> None:
    text = """sdy.mesh @mesh = <["a"=64, "b"=32]>
    func.func @main(%x: tensor<64xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"a"}]>}) {
      return
    }"""
    lines = shlo("show", "--visualize", "%x", stdin=text).out.splitlines()
    assert lines[2].startswith("│ 0,1,2,3,4,5,... (32 devices) │")
    assert "│ ... │" in lines[2]
    assert lines[2].count("│") == 17


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--visualize", "%7"), "no tensor is called %7"),
        (("--match", "%zz"), "no tensor is like %zz"),
        (("--entry", "other"), "no function @other"),
    ],
)
def test_unknown_names_are_errors(shlo: Callable[..., Any], words: tuple[str, ...], message: str) -> None:
    result = shlo("show", *words, stdin=MODULE)
    assert (result.code, result.out) == (1, "")
    assert message in result.err


def test_a_program_without_a_mesh(shlo: Callable[..., Any]) -> None:
    result = shlo("show", stdin="func.func @main(%a: tensor<4xf32>) -> tensor<4xf32> {\n return %a : tensor<4xf32>\n}")
    assert result.out.startswith("no mesh: every tensor is whole on every device\n")


def test_other_spellings_of_shardings_are_read(shlo: Callable[..., Any]) -> None:
    text = """module attributes {mhlo.num_partitions = 2 : i32} {
      func.func @main(%x: tensor<4xf32> {mhlo.sharding = "{devices=[2]<=[2]}"}) -> tensor<4xf32> {
        %0 = stablehlo.abs %x : tensor<4xf32>
        return %0 : tensor<4xf32>
      }
    }"""
    data = json.loads(shlo("show", "--json", stdin=text).out)
    assert data["tensors"][0]["local_shape"] == [2]
    assert "is split over" in shlo("explain", "--value", "%0", stdin=text).out
    assert shlo("diff", "-", "/dev/null", stdin=text).code == 1
