"""Runs one pass on inline IR, and the StableHLO interpreter on what goes in and comes out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

from passes import _mlir
from passes.pipeline.base import Counters, Pass


class Optimized(NamedTuple):
    """What a pass made of a program: its text, the counters that are not zero, the verified module."""

    text: str
    counters: dict[str, int]
    module: Any

    def count(self, op: str) -> int:
        """How often ``op`` stands in the text as a whole word."""
        return sum(line.split("(")[0].split().count(op) for line in self.text.replace('"', " ").splitlines())


def optimize(own: Pass, text: str) -> Optimized:
    """Runs ``own`` on ``text``; a second run must find nothing left to do."""
    module = _mlir.ir.Module.parse(text, _mlir.context())
    counters = Counters(own.statistics)
    own.run(module.operation, counters)
    assert module.operation.verify()
    result = str(module)
    again = Counters(own.statistics)
    own.run(module.operation, again)
    assert not any(again.values()), f"a second run still did {again} on\n{result}"
    assert str(module) == result
    return Optimized(result, {name: count for name, count in counters.items() if count}, module)


def evaluate(module: Any, inputs: list[np.ndarray[Any, Any]]) -> list[bytes]:
    """The bytes of the results of ``@main`` in the StableHLO interpreter."""
    attributes = [
        _mlir.ir.DenseElementsAttr.get(value, signless=value.dtype.kind != "u", context=_mlir.context())
        for value in inputs
    ]
    return [np.array(result).tobytes() for result in _mlir.stablehlo.eval_module(module, attributes)]


@pytest.fixture(name="optimize")
def _optimize() -> Callable[[Pass, str], Optimized]:
    """`optimize` as a fixture."""
    return optimize


@pytest.fixture(name="evaluate")
def _evaluate() -> Callable[[Any, list[np.ndarray[Any, Any]]], list[bytes]]:
    """`evaluate` as a fixture."""
    return evaluate
