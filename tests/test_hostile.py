"""The mutator of ``benchmarks/hostile.py``: a seed is an input, damage is bounded, and what is watched for is seen."""

from __future__ import annotations

import random

import pytest

from benchmarks import hostile


@pytest.mark.parametrize("kind", hostile.KINDS)
def test_a_seed_is_an_input(kind: str) -> None:
    attacks = [hostile.KINDS[kind](random.Random("0")) for _ in range(2)]
    assert attacks[0] == attacks[1] != hostile.KINDS[kind](random.Random("1"))


def test_damage_differs_and_is_bounded() -> None:
    data = b'func.func @main(%a: tensor<4x8xf32>) -> tensor<4x8xf32> { return %a : tensor<4x8xf32> }'
    made = {hostile.damaged(data, random.Random(seed)) for seed in range(200)}
    assert len(made) > 100
    assert max(map(len, made)) < 10**7


def test_what_is_strange() -> None:
    ours = "start /usr/bin/python3 -P -m passes.pipeline.worker 3"
    seen = ["write /work/x/out.mlir", "write /etc/passwd", "os.system rm", ours,
            "start /bin/sh"]
    assert hostile._strange(seen, "/work/x") == ["write /etc/passwd", "os.system rm", "start /bin/sh"]
