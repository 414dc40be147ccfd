"""Layers at small size with parameters and tokens, whole and on meshes."""

from __future__ import annotations

from typing import Any

import numpy as np

from passes.execute.executor import Executor
from passes.execute.verify import assemble, cut
from passes.moe.chain import Layer
from passes.moe.configuration import CONFIGURATIONS, Configuration
from passes.moe.layers import Form, Shape, module, parameters
from passes.moe.sparsify import Sparsify, sparsify
from passes.partition.partition import partition
from passes.partition.report import Report
from passes.pipeline import runner
from passes.pipeline.base import Counters
from passes.program.read import Program, parse

Array = np.ndarray[Any, Any]
RUN = Executor(isolated=False)
SMALL = {name: c.small() for name, c in CONFIGURATIONS.items()}
CLOSE = 2e-6


def inputs(c: Configuration, tokens: int, seed: int = 0) -> dict[str, Array]:
    """Tokens ``x`` and parameters, in the order of the arguments."""
    rng = np.random.default_rng(seed)
    shapes = {"x": (tokens, c.hidden)} | parameters(c)
    return {name: rng.standard_normal(shape).astype(np.float32) * 0.5 for name, shape in shapes.items()}


def whole(form: Form, c: Configuration, shape: Shape, given: dict[str, Array], run: Executor = RUN) -> Array:
    """What the layer computes on one device."""
    (found,) = run.run_global(parse(module(form, c, shape), "layer.mlir"), list(given.values()))
    return found


def on_mesh(text: str, mesh: str, shardings: dict[str, str]) -> Program:
    """The module with a mesh, and with shardings of arguments by name."""
    for name, dims in shardings.items():
        place = text.index(f'loc("{name}")')
        text = f"{text[:place]}{{sdy.sharding = #sdy.sharding<@mesh, [{dims}]>}} {text[place:]}"
    return parse(f"sdy.mesh @mesh = <[{mesh}]>\n{text}", "layer.mlir")


def spread(
    c: Configuration, shape: Shape, mesh: str, options: str, shardings: dict[str, str] | None = None
) -> tuple[Program, Report]:
    """The per-device program of the sparse layer, everything undefined NaN."""
    program = on_mesh(module("sparse", c, shape), mesh, shardings or {})
    runner.run(program, f"builtin.module(moe-expert-parallel{{poison=true {options}}})")
    return program, partition(program)


def per_device(program: Program, report: Report, given: dict[str, Array], run: Executor = RUN) -> Array:
    """What the per-device program computes on as many virtual devices, put together."""
    table = report.side_table
    parts = [cut(value, entry.sharding) for value, entry in zip(given.values(), table.arguments, strict=True)]
    found = run.run_per_device(program, parts, table.mesh.device_count)[0]
    return assemble(found, table.results[0].sharding, table.results[0].global_shape)


def distance(found: Array, want: Array) -> float:
    """The largest difference, relative to the largest value; NaN if something is NaN."""
    return float(np.abs(found - want).max() / np.abs(want).max())


def sparsified(text: str) -> tuple[Program, list[Layer], dict[str, int]]:
    """The program with its dense layers made sparse, what was found, and what was counted."""
    program = parse(text, "m.mlir")
    counters = Counters(Sparsify.statistics, explain=True)
    found = sparsify(program.module.operation, counters)
    assert program.module.operation.verify()
    return program, found, {name: count for name, count in counters.items() if count}
