"""A training step of a sparse layer: gradients are those of the numpy reference, on one device and on meshes."""

from __future__ import annotations

import numpy as np
import pytest

from passes.errors import UserError
from passes.execute.verify import assemble, cut
from passes.moe.configuration import Configuration
from passes.moe.layer_reference import layer
from passes.moe.layers import Shape, parameters
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


# GPT-OSS of 120B, GLM and Qwen3 have the layers of others in other sizes.
NAMES = ["mixtral-8x7b", "olmoe-1b-7b", "gpt-oss-20b", "glm-4.5", "deepseek-v3", "kimi-k2", "qwen2-57b-a14b"]


@pytest.mark.parametrize("name", NAMES)
def test_gradients(name: str) -> None:
    """By tokens and by each parameter, along random directions, against differences in 64 bits."""
    check(SMALL[name], values(SMALL[name]))


def test_gradients_beyond_the_limit() -> None:
    """GPT-OSS's gate and up are clamped: nothing comes back from where they are."""
    c = SMALL["gpt-oss-20b"]
    given = values(c)
    given["gate_up"] *= 12
    first = np.einsum("th,ehi->tei", given["x"], given["gate_up"]) + given["gate_up_bias"]
    assert 0.05 < np.mean(np.abs(first) > 7) < 0.5
    check(c, given)


def check(c: Configuration, given: Arrays) -> None:
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


@pytest.mark.parametrize(("mesh", "name"), [*((mesh, "mixtral-8x7b") for mesh in MESHES), *(
    ("both axes", name) for name in ("gpt-oss-20b", "glm-4.5", "deepseek-v3", "qwen2-57b-a14b"))])
def test_every_device_takes_its_part_of_the_step(mesh: str, name: str) -> None:
    """With NaN in all that is undefined. Weights and their gradients stay where the experts are."""
    axes, options = MESHES[mesh]
    c = SMALL[name]
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
    held = 4 if mesh == "data" else 2
    names = list(parameters(c))
    matrices = [i for i, name in enumerate(names) if name in ("w1", "w2", "w3", "gate_up", "down")]
    assert {table.arguments[2 + i].local_shape[0] for i in matrices} == {held}
    assert {table.results[2 + i].local_shape[0] for i in matrices} == {held}


def test_a_bias_for_the_selection_alone_stays() -> None:
    """Which experts are selected has no gradient."""
    c = SMALL["deepseek-v3"]
    given = values(c)
    found = RUN.run_global(parse(train_step(c, Shape(TOKENS), 1.0), "step.mlir"), list(given.values()))
    after = dict(zip(list(given)[2:], found[2:], strict=True))
    assert np.array_equal(after["correction_bias"], given["correction_bias"])
    assert not np.array_equal(after["router"], given["router"])


def test_refused() -> None:
    with pytest.raises(UserError, match="a training step has no padding: 9 tokens are no multiple of 8, or blocks"):
        train_step(SMALL["mixtral-8x7b"], Shape(9, multiple=8), 0.1)
