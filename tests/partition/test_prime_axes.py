"""Mesh axes are factored into primes and folded back without a trace."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passes.errors import UserError
from passes.partition.prime_axes import factor_axes, factor_mesh, prime_factors
from passes.program import read, write
from passes.sharding.mesh import Mesh, Sharding

MODULE = """
sdy.mesh @mesh = <["x"=12, "y"=8]>
func.func @main(%a: tensor<24x16xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x":(1)3}, {?}p1], replicated={"y":(2)4}>},
                %w: tensor<16x24xf32> {sdy.sharding = #sdy.sharding<@mesh, [{}, {"y"}]>}) -> tensor<16x24xf32> {
  %0 = sdy.sharding_constraint %w <@mesh, [{"y":(1)2}, {"x"}]> : tensor<16x24xf32>
  return %0 : tensor<16x24xf32>
}
"""


@given(st.integers(1, 5000))
def test_prime_factors_multiply_back(size: int) -> None:
    factors = prime_factors(size)
    assert math.prod(factors) == size
    assert all(f > 1 and all(f % d for d in range(2, math.isqrt(f) + 1)) for f in factors)


def test_every_sharding_names_whole_prime_axes() -> None:
    program = read.parse(MODULE)
    factor_axes(program.module)
    text = write.to_text(program.module)
    assert '<["x.0"=3, "x.1"=2, "x.2"=2, "y.0"=2, "y.1"=2, "y.2"=2]>' in text
    assert '[{"x.0"}, {?}p1], replicated={"y.1", "y.2"}' in text
    assert '[{}, {"y.0", "y.1", "y.2"}]' in text
    assert '[{"y.0"}, {"x.0", "x.1", "x.2"}]' in text


def test_prime_axes_fold_back_to_what_the_user_wrote() -> None:
    prime = factor_mesh(Mesh((("x", 4), ("y", 8))))
    sharding = Sharding(prime.mesh, (tuple(map(prime.mesh.axis, ("y.1", "y.2"))), (prime.mesh.axis("x.0"),), ()))
    assert prime.restore(sharding).spec() == "P('y:(2)4', 'x:(1)2', None)"
    whole = Sharding(prime.mesh, (tuple(map(prime.mesh.axis, ("x.0", "x.1", "y.0", "y.1", "y.2"))),))
    assert prime.restore(whole).spec() == "P(('x', 'y'))"


@given(st.lists(st.sampled_from([1, 2, 3, 4, 6, 8]), min_size=1, max_size=3), st.data())
def test_expanding_and_restoring_an_axis_is_the_identity(sizes: list[int], data: st.DataObject) -> None:
    mesh = Mesh(tuple((f"a{i}", size) for i, size in enumerate(sizes)))
    prime = factor_mesh(mesh)
    name, size = data.draw(st.sampled_from(mesh.axes))
    axis = mesh.axis(name)
    assert prime.restore_axes(prime.expand(axis)) == ((axis,) if size > 1 else ())


def test_axes_of_prime_size_keep_their_names() -> None:
    prime = factor_mesh(Mesh((("x", 2), ("y", 1), ("z", 5))))
    assert prime.mesh == prime.original


def test_a_mesh_without_axes_gives_way_to_the_one_that_has_some() -> None:
    text = '''
sdy.mesh @none = <[]>
sdy.mesh @mesh = <["x"=2]>
func.func @main(%a: tensor<8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}]>},
                %b: tensor<8xf32> {sdy.sharding = #sdy.sharding<@none, [{}]>}) -> tensor<8xf32> {
  %0 = stablehlo.add %a, %b : tensor<8xf32>
  return %0 : tensor<8xf32>
}'''
    program = read.parse(text)
    assert list(factor_axes(program.module)) == ["mesh"]
    assert "@none" not in write.to_text(program.module)


def test_parts_that_cannot_coexist_are_refused_by_name() -> None:
    both = MODULE.replace('{"y":(1)2}, {"x"}', '{"x":(1)4}, {}')
    with pytest.raises(UserError, match=r'sub-axis "x":\(1\)'):
        factor_axes(read.parse(both).module)


def test_a_priority_goes_with_the_axis_of_size_one_that_it_was_given_to() -> None:
    """Shardy refuses one on a dimension that is closed and whole."""
    program = read.parse('''
sdy.mesh @mesh = <["x"=1, "y"=4]>
func.func @main(%a: tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}p1, {"y"}p2]>}) -> tensor<8x8xf32> {
  return %a : tensor<8x8xf32>
}''')
    factor_axes(program.module)
    text = write.to_text(read.parse(write.to_text(program.module)).module)
    assert "[{}, {" in text and "}p2]" in text and "p1" not in text
