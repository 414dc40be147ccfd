"""Every model's layer on every mesh, for one token and many: what `benchmarks/moe_layers.py` and a test go through."""

from __future__ import annotations

import functools
import random
from dataclasses import dataclass, replace

from passes.execute.executor import Executor
from passes.moe.layer_reference import layer
from passes.moe.layers import Shape, module
from passes.partition.partition import Report, partition
from passes.pipeline import runner
from passes.program.read import Program
from tests.moe.layer_programs import SMALL, Array, distance, inputs, on_mesh, per_device, spread, whole

# Axes, options, and how many devices share the tokens.
MESHES = {
    "1x2": ('"rows"=1, "columns"=2', "ring=columns", 2),
    "2x4, rings are columns": ('"rows"=2, "columns"=4', "ring=rows", 2),
    "2x4, rings are rows": ('"rows"=2, "columns"=4', "ring=columns", 4),
    "4x2, rings are columns": ('"rows"=4, "columns"=2', "ring=rows", 4),
    "4x2, rings are rows": ('"rows"=4, "columns"=2', "ring=columns", 2),
    "8": ('"x"=8', "", 8),
    "2x4, columns before rows": ('"rows"=2, "columns"=4', "experts=columns,rows ring=rows", 2),
    "2x4, rows are data": ('"rows"=2, "columns"=4', "experts=columns data=rows", 8),
}
# Decoding, prefill, and what divides by nothing.
TOKENS = (1, 32, 128, 13)
# As it is written sparse, in blocks of several tokens, and as moe-sparsify makes it of the dense layer.
FORMS = ("sparse", "blocks", "dense")


@dataclass(frozen=True)
class MeshCase:
    """One layer on one mesh."""

    model: str
    mesh: str
    tokens: int
    form: str

    def __str__(self) -> str:
        return f"{self.model}; {self.mesh}; {self.tokens} tokens; {self.form}"

    @property
    def shape(self) -> Shape:
        """Tokens padded to the devices that share them."""
        return Shape(self.tokens, multiple=MESHES[self.mesh][2], reduction_size=4 if self.form == "blocks" else 1)


def every_case() -> list[MeshCase]:
    """All cases, first one form of each model, mesh and number of tokens; a dense layer has no padding.

    Within that in an order without order, so that some of them are some of everything.
    """
    found = []
    layers = [(model, mesh, tokens) for model in SMALL for mesh in MESHES for tokens in TOKENS]
    random.Random(7).shuffle(layers)
    for turn in range(len(FORMS)):
        for number, (model, mesh, tokens) in enumerate(layers):
            form = FORMS[(number + turn) % len(FORMS)]
            if form != "dense" or tokens % MESHES[mesh][2] == 0:
                found.append(MeshCase(model, mesh, tokens, form))
    return found


def furthest(case: MeshCase, engine: str = "interpreter") -> float:
    """The largest difference from numpy's dense layer: on one device, dense and sparse, and by all devices' programs.

    Everything undefined is NaN there, and that nothing is gathered whole is checked.
    """
    program, report = partitioned(case)
    assert not report.flat and not report.replicated, report.lines()
    given, want = _reference(case.model, case.tokens)
    found = per_device(program, report, given, _executor(engine))
    # On one device padding is all there is to a mesh.
    shape = replace(case.shape, multiple=case.shape.padded // case.shape.reduction_size)
    return max(_on_one_device(case.model, shape, case.form, engine), distance(found, want))


def partitioned(case: MeshCase) -> tuple[Program, Report]:
    """The case's per-device program."""
    c, (mesh, options, _), shape = SMALL[case.model], MESHES[case.mesh], case.shape
    if case.form == "dense":
        program = on_mesh(module("dense", c, Shape(case.tokens)), mesh, {})
        runner.run(program, f"builtin.module(moe-sparsify,moe-expert-parallel{{poison=true {options}}},dead-ops)")
        return program, partition(program)
    return spread(c, shape, mesh, options)


@functools.cache
def _executor(engine: str) -> Executor:
    return Executor(engine)


@functools.cache
def _reference(model: str, tokens: int) -> tuple[dict[str, Array], Array]:
    given = inputs(SMALL[model], tokens)
    return given, layer(SMALL[model], given["x"], given)


@functools.cache
def _on_one_device(model: str, shape: Shape, form: str, engine: str) -> float:
    given, want = _reference(model, shape.tokens)
    if form == "dense":
        return distance(whole("dense", SMALL[model], Shape(shape.tokens), given, _executor(engine)), want)
    return distance(whole("sparse", SMALL[model], shape, given, _executor(engine)), want)
