"""``shlo moe FILE``: makes dense mixture-of-experts layers sparse, and says which it found and what became of them."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from passes.cli import common
from passes.errors import EXIT_OK

if TYPE_CHECKING:
    from passes.moe.chain import Layer
    from passes.program.read import Program


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's options."""
    common.add_input(parser)
    common.add_output(parser)
    parser.add_argument("--report", action="store_true", help="only say what would become of the layers")


def run(args: argparse.Namespace) -> int:
    """A line per layer on standard error; the program, its calls inlined, if a layer of it was made sparse."""
    from passes.cli.execution import copy_of

    program = common.read_input(args)
    given = copy_of(program)
    layers = _sparsify(program)
    for layer in layers:
        print(replace(layer, where=program.in_file(layer.where)), file=sys.stderr)
    sparse = sum(not layer.reason for layer in layers)
    print(f"{len(layers)} layer{'' if len(layers) == 1 else 's'} found, {sparse} made sparse", file=sys.stderr)
    if not args.report:
        common.write_module(args, program if sparse else given)
    return EXIT_OK


def _sparsify(program: Program) -> list[Layer]:
    from passes.moe.sparsify import Sparsify, sparsify
    from passes.pipeline import runner
    from passes.pipeline.base import Counters

    runner.run(program, "builtin.module(inline)")
    layers = sparsify(program.module.operation, Counters(Sparsify.statistics))
    runner.run(program, "builtin.module(cse,dead-ops)")
    return layers
