"""Every model's layer, dense and sparse, is its numpy reference; configurations say what they must."""

from __future__ import annotations

import pytest

from passes.errors import UserError
from passes.moe.configuration import CONFIGURATIONS, Configuration, Router
from passes.moe.layer_reference import layer, route
from passes.moe.layers import Shape, module, parameters
from passes.program.read import parse
from tests.moe.layer_programs import CLOSE, SMALL, distance, inputs, whole

# Decode, prefill, ragged with chunks, one after the other.
SHAPES = (Shape(1), Shape(32, reduction_size=8), Shape(13, multiple=2, reduction_size=4), Shape(128))


@pytest.mark.parametrize("name", SMALL)
def test_dense_and_sparse_are_the_reference(name: str) -> None:
    c, shape = SMALL[name], SHAPES[list(SMALL).index(name) % len(SHAPES)]
    given = inputs(c, shape.tokens)
    want = layer(c, given["x"], given)
    assert distance(whole("dense", c, shape, given), want) < CLOSE
    assert distance(whole("sparse", c, shape, given), want) < CLOSE


def test_all_configurations_differ_in_what_they_compute() -> None:
    """One set of tokens and, as far as they have them, parameters: no two layers say the same."""
    seen = []
    for c in SMALL.values():
        given = inputs(c, 4, seed=3)
        found = (c.router, c.activation, c.weights, c.biases, c.shared, c.shared_gate)
        seen.append((found, layer(c, given["x"], given)))
    for i, (kind, values) in enumerate(seen):
        assert all(kind == other or distance(values, more) > 1e-3 for other, more in seen[:i])
    assert len({kind for kind, _ in seen}) == 7  # the two sizes of GPT-OSS are one kind, and Mixtral and Qwen3 are


def test_group_limited_routing_keeps_to_the_groups() -> None:
    c = SMALL["deepseek-v3"]
    given = inputs(c, 64)
    _, indices = route(c, given["x"], given)
    groups = indices // (c.experts // c.router.groups)
    assert max(len(set(row)) for row in groups.tolist()) <= c.router.kept_groups
    free = route(Configuration("free", c.experts, c.chosen, c.hidden, c.intermediate, Router("sigmoid")),
                 given["x"], given)[1]
    assert (free != indices).any()


def test_several_layers() -> None:
    text = module("sparse", SMALL["olmoe-1b-7b"], Shape(8), layers=3)
    program = parse(text, "m.mlir")
    assert text.count('composite "shlo.moe.all_to_all_dispatch"') == 3
    # One decomposition for all layers.
    assert text.count("func.func private @all_to_all_dispatch") == 1
    assert program.module.operation.verify()
    assert 'loc("layers[2].w1")' in text


def test_published_sizes() -> None:
    """The numbers of parameters that are published: 671e9 in DeepSeek V3, 1e12 in Kimi K2, most in the experts."""
    published = {"deepseek-v3": 671e9, "kimi-k2": 1.04e12, "mixtral-8x7b": 46.7e9, "gpt-oss-120b": 117e9}
    for name, total in published.items():
        c = CONFIGURATIONS[name]
        count = 0
        for shape in parameters(c).values():
            size = 1
            for n in shape:
                size *= n
            count += size
        assert 0.95 * total < count * (c.layers - c.dense_layers) < total


REFUSED = {
    "chosen": (lambda: Configuration("m", 4, 5, 8, 8), "m: 5 of 4 experts cannot be chosen"),
    "groups": (lambda: Configuration("m", 6, 2, 8, 8, Router(groups=4)),
               "m: 6 experts do not form 4 groups of which 1 are kept"),
    "too few": (lambda: Configuration("m", 8, 3, 8, 8, Router(groups=4)), "m: 1 groups have fewer than 3 experts"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    make, message = REFUSED[case]
    with pytest.raises(UserError) as found:
        make()
    assert found.value.message == message
