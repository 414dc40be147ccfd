"""``shlo moe``: a line per layer, and the program made sparse or as it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from passes.moe.sparsify import Sparsify
from passes.program.read import parse
from passes.program.write import to_text

Shlo = Callable[..., Any]
EXAMPLES = Path(__file__).parents[2] / "examples" / "moe"


def test_a_layer_is_made_sparse(shlo: Shlo, tmp_path: Path) -> None:
    out = tmp_path / "out.mlir"
    done = shlo("moe", EXAMPLES / "forward.mlir", "-o", out)
    assert done.code == 0
    assert done.err.endswith("(128 tokens, 2 of 8 experts) made sparse\n1 layer found, 1 made sparse\n")
    text = out.read_text()
    assert text.count("shlo.moe.sparse_matmul") == 3 and "func.call" not in text
    assert shlo("verify", EXAMPLES / "forward.mlir", out).code == 0


def test_what_is_left_is_written_as_it_was(shlo: Shlo) -> None:
    text = Sparsify.before.replace("%8 = stablehlo.tanh %7 :", "%8 = func.call @f(%7) : (tensor<5x3x6xf32>) ->") + """
func.func private @f(%x: tensor<5x3x6xf32>) -> tensor<5x3x6xf32> {
  %0 = stablehlo.reverse %x, dims = [0] : tensor<5x3x6xf32>
  return %0 : tensor<5x3x6xf32>
}
"""
    done = shlo("moe", "-", stdin=text)
    assert done.code == 0
    assert "left: stablehlo.reverse stands between its products and their sum" in done.err
    assert done.err.endswith("1 layer found, 0 made sparse\n")
    assert "call @f" in done.out


def test_only_a_report(shlo: Shlo) -> None:
    done = shlo("moe", "-", "--report", stdin=Sparsify.before)
    assert done.out == ""
    assert done.err == ("<stdin>:17:25: dense mixture of experts (5 tokens, 2 of 3 experts) made sparse\n"
                        "1 layer found, 1 made sparse\n")


def test_a_program_without_such_layers(shlo: Shlo) -> None:
    text = "func.func @main(%a: tensor<4xf32>) -> tensor<4xf32> {\n  return %a : tensor<4xf32>\n}\n"
    done = shlo("moe", "-", stdin=text)
    assert (done.code, done.err) == (0, "0 layers found, 0 made sparse\n")
    assert to_text(parse(done.out, "m").module) == to_text(parse(text, "m").module)
