"""A training step of a sparse layer: gradients are those of the numpy reference, on one device and on meshes."""

from __future__ import annotations

import numpy as np
import pytest

from passes.errors import UserError
from passes.execute.verify import assemble, cut
from passes.moe.configuration import Configuration
from passes.moe.layer_reference import layer
from passes.moe.layers import Shape
from passes.moe.train import train_step
from passes.partition.partition import partition
from passes.pipeline import runner
from passes.program.read import parse
from tests.moe.layer_programs import RUN, SMALL, distance, inputs, on_mesh

Arrays = dict[str, np.ndarray]
TOKENS = 16


def values(c: Configuration) -> Arrays:
    given = inputs(c, TOKENS, seed=5)
    target = np.random.default_rng(6).standard_normal(given["x"].shape).astype(np.float32)
    return {"x": given.pop("x"), "target": target} | given


def loss(c: Configuration, given: Arrays) -> float:
    error = layer(c, given["x"], given) - given["target"]
    return float((error**2).sum() / 2)


@pytest.mark.parametrize("name", ["mixtral-8x7b", "olmoe-1b-7b"])
def test_gradients(name: str) -> None:
    """Normalised weights, and weights as they are; along random directions, by differences in 64 bits."""
    c = SMALL[name]
    given = values(c)
    found = RUN.run_global(parse(train_step(c, Shape(TOKENS), 1.0), "step.mlir"), list(given.values()))
    assert found[0] == pytest.approx(loss(c, given), rel=1e-6)
    # With a rate of one the step is the gradient.
    steps = dict(zip(list(given)[2:], found[2:], strict=True))
    gradients = {"x": found[1]} | {n: given[n].astype(np.float64) - after for n, after in steps.items()}
    rng = np.random.default_rng(7)
    for key, gradient in gradients.items():
        direction = rng.standard_normal(gradient.shape)
        direction /= np.linalg.norm(direction)
        ends = [loss(c, given | {key: given[key] + sign * 1e-5 * direction}) for sign in (1, -1)]
        slope = (ends[0] - ends[1]) / 2e-5
        assert float((gradient * direction).sum()) == pytest.approx(slope, rel=1e-3, abs=1e-4), key


MESHES = {
    "both axes": ('"rows"=2, "columns"=4', "ring=columns"),
    "data": ('"data"=2, "x"=4', "experts=x data=data"),
}


@pytest.mark.parametrize("mesh", MESHES)
def test_every_device_takes_its_part_of_the_step(mesh: str) -> None:
    """With NaN in all that is undefined. Weights and their gradients stay where the experts are."""
    axes, options = MESHES[mesh]
    c = SMALL["mixtral-8x7b"]
    given, text = values(c), train_step(c, Shape(TOKENS, multiple=8), 0.1)
    want = RUN.run_global(parse(text, "step.mlir"), list(given.values()))
    program = on_mesh(text, axes, {})
    runner.run(program, f"builtin.module(moe-expert-parallel{{poison=true {options}}})")
    report = partition(program)
    assert not report.flat and not report.replicated
    table = report.side_table
    parts = [cut(v, entry.sharding) for v, entry in zip(given.values(), table.arguments, strict=True)]
    found = RUN.run_per_device(program, parts, 8)
    for shards, entry, whole in zip(found, table.results, want, strict=True):
        assert distance(assemble(shards, entry.sharding, entry.global_shape), whole) < 2e-6, entry.name
    experts = 4 if mesh == "data" else 2
    assert [e.local_shape[0] for e in table.arguments[3:]] == [experts] * 3
    assert [e.local_shape[0] for e in table.results[3:]] == [experts] * 3


def test_refused() -> None:
    with pytest.raises(UserError, match="gpt-oss-20b: training steps are written for softmax routers, silu and sep"):
        train_step(SMALL["gpt-oss-20b"], Shape(8), 0.1)
    with pytest.raises(UserError, match="a training step has no padding: 9 tokens are no multiple of 8, or blocks"):
        train_step(SMALL["mixtral-8x7b"], Shape(9, multiple=8), 0.1)
