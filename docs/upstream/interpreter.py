"""Runs a module without arguments in StableHLO's interpreter: ``interpreter.py FILE``."""

import sys

from passes import _mlir
from passes.program.read import read

for result in _mlir.stablehlo.eval_module(read(sys.argv[1]).module, []):
    print(result)
