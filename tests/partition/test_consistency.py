"""The check between plan and lowering: what may run on local types, and what may not."""

from __future__ import annotations

import pytest

from passes.partition.consistency import IndivisibleError, check, project
from passes.sharding.mesh import Mesh, Sharding
from passes.sharding.sharding_rule import Rule

MESH = Mesh((("x", 2), ("y", 2)))
X, Y = MESH.axis("x"), MESH.axis("y")
# ([i, k], [k, j]) -> ([i, j])
DOT = Rule((8, 8, 8), (((0,), (2,)), ((2,), (1,))), (((0,), (1,)),), reduction=frozenset({2}))


def sharding(*dims: tuple[object, ...]) -> Sharding:
    return Sharding(MESH, dims)  # type: ignore[arg-type]


def test_equal_factors_pass() -> None:
    verdict = check(DOT, (sharding((X,), ()), sharding((), (Y,))), (sharding((X,), (Y,)),), creates=False)
    assert (verdict.problem, verdict.reduced) == ("", ())


def test_a_split_contraction_is_reported_as_reduced() -> None:
    verdict = check(DOT, (sharding((), (X, Y)), sharding((X, Y), ())), (None,), creates=False)
    assert (verdict.problem, verdict.reduced) == ("", (X, Y))


@pytest.mark.parametrize(
    ("operands", "result", "problem"),
    [
        ((sharding((), (X,)), None), None, "factor 2 is split differently"),
        ((sharding((X,), ()), None), None, "factor 0 is split differently"),
        ((None, None), sharding((), (X,)), "factor 1 is split differently"),
        ((sharding((), (X, Y)), sharding((Y, X), ())), None, "factor 2 is split differently"),
    ],
)
def test_disagreement_is_a_problem(
    operands: tuple[Sharding | None, ...], result: Sharding | None, problem: str
) -> None:
    assert problem in check(DOT, operands, (result,), creates=False).problem


def test_replication_is_enforced() -> None:
    rule = DOT.replicating({0})
    assert "needs replication" in check(rule, (sharding((X,), ()), None), (sharding((X,), ()),), creates=False).problem


def test_a_permuted_factor_must_be_whole() -> None:
    rule = Rule((8,), (((0,),),), (((0,),),), permutation=frozenset({0}))
    assert "needs replication" in check(rule, (sharding((X,)),), (sharding((X,)),), creates=False).problem


def test_only_ops_that_create_dimensions_may_split_them() -> None:
    rule = Rule((8, 4), (((0,),),), (((0,), (1,)),))
    assert check(rule, (None,), (sharding((), (X,)),), creates=True).problem == ""
    assert "in the result only" in check(rule, (None,), (sharding((), (X,)),), creates=False).problem


def test_axes_fill_factors_from_the_major_one() -> None:
    assert project(((0, 1),), sharding((X, Y)), (2, 4)) == {0: (X,), 1: (Y,)}
    assert project(((0, 1),), sharding((X, Y)), (4, 2)) == {0: (X, Y), 1: ()}


@pytest.mark.parametrize("sizes", [(3, 4), (6, 2)])
def test_axes_that_cross_a_factor_boundary_are_refused(sizes: tuple[int, int]) -> None:
    with pytest.raises(IndivisibleError):
        project(((0, 1),), sharding((X, Y)), sizes)
