"""A program to run pipelines on."""

from __future__ import annotations

from passes.program import read
from passes.program.read import Program

TEXT = """\
sdy.mesh @mesh = <["x"=2]>
func.func @main(%arg0: tensor<8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}]>}) -> tensor<8xf32> {
  %0 = stablehlo.add %arg0, %arg0 : tensor<8xf32>
  %1 = stablehlo.add %arg0, %arg0 : tensor<8xf32>
  %2 = stablehlo.multiply %0, %1 : tensor<8xf32>
  return %2 : tensor<8xf32>
}
"""

# A native pass that is not proven and leaves the program alone; a pipeline with it runs in the worker.
UNPROVEN = "func.func(sdy-drop-sharding-rules)"


def program(text: str = TEXT) -> Program:
    """The program as read from a file called ``in.mlir``."""
    return read.parse(text, "in.mlir")
