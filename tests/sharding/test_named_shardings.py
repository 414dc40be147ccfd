"""Shardings of a JAX function, given as objects that look like JAX's."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from passes.errors import UserError
from passes.program.read import parse
from passes.program.write import to_text
from passes.sharding.annotate import annotate
from passes.sharding.named_shardings import from_named_shardings

MODULE = """
func.func @main(%a: tensor<8x16xf32> loc("a"), %b: tensor<8x16x4xf32> loc("b"), %c: tensor<8xf32> loc("c"))
    -> tensor<8x16xf32> {
  return %a : tensor<8x16xf32>
}"""
UNCONSTRAINED = object()


class Spec(tuple[Any, ...]):
    """A PartitionSpec: a tuple, with axes along which values are summands."""

    unreduced: frozenset[str] = frozenset()


@dataclass
class Device:
    id: int


@dataclass
class FakeMesh:
    shape: dict[str, int]
    ids: list[int] = field(default_factory=list)

    @property
    def devices(self) -> Any:
        sizes = tuple(self.shape.values())
        ids = self.ids or range(int(np.prod(sizes)))
        return np.array([Device(i) for i in ids], dtype=object).reshape(sizes)


@dataclass
class Sharding:
    mesh: Any
    spec: Any


@dataclass
class AbstractMesh:
    shape: dict[str, int]


MESH = FakeMesh({"data": 2, "model": 4})


def annotated(*given: Any, module: str = MODULE) -> str:
    program = parse(module)
    annotate(program, from_named_shardings(*given))
    assert program.module.operation.verify()
    return to_text(program.module)


def test_one_sharding_per_argument_and_result() -> None:
    arguments = [Sharding(MESH, Spec(["data"])), None, Sharding(MESH, Spec([("data", "model")]))]
    text = annotated(arguments, [Sharding(MESH, Spec([None, "model"]))])
    assert 'sdy.mesh @mesh = <["data"=2, "model"=4]>' in text
    assert '%arg0: tensor<8x16xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"data"}, {}]>}' in text
    assert "%arg1: tensor<8x16x4xf32>," in text
    assert '%arg2: tensor<8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"data", "model"}]>}' in text
    assert '-> (tensor<8x16xf32> {sdy.sharding = #sdy.sharding<@mesh, [{}, {"model"}]>})' in text
    assert "jax" not in sys.modules


def test_by_name_with_open_dimensions_and_summands() -> None:
    spec = Spec([UNCONSTRAINED, "model"])
    spec.unreduced = frozenset({"data"})
    text = annotated({"b": Sharding(AbstractMesh({"data": 2, "model": 4}), spec)})
    assert '#sdy.sharding<@mesh, [{?}, {"model"}, {}], unreduced={"data"}>' in text


def test_the_order_of_devices_is_kept() -> None:
    mesh = FakeMesh({"data": 2, "model": 2}, [0, 2, 1, 3])
    text = annotated([Sharding(mesh, Spec(["data"]))])
    assert 'sdy.mesh @mesh = <["data"=2, "model"=2], device_ids=[0, 2, 1, 3]>' in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([None], "none of the shardings has a mesh and a spec"),
        ([Sharding(MESH, Spec(["x"]))], "the spec of argument 0 names axis 'x', and the mesh is data=2, model=4"),
        (
            {"a": Sharding(MESH, Spec()), "b": Sharding(FakeMesh({"x": 8}), Spec())},
            "argument 'b' is on the mesh x=8 and argument 'a' on data=2, model=4; one mesh is needed",
        ),
        ([Sharding(MESH, Spec([None, None, "data"]))], "argument 0 'a' has shape 8x16, that is 2 dimensions, but dims"),
        ([None] * 3 + [Sharding(MESH, Spec())], "there is no argument 3; the program has 3"),
        ({"d": Sharding(MESH, Spec())}, 'match "d" selects no argument; the arguments are a, b, c'),
    ],
)
def test_what_does_not_fit(arguments: Any, message: str) -> None:
    with pytest.raises(UserError) as caught:
        annotated(arguments)
    assert message in caught.value.message
