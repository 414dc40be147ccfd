"""Moves between layouts: bytes by the ring laws, and where the order of axes costs a permutation."""

from __future__ import annotations

import pytest

from passes.autoshard.moving import Mover
from passes.autoshard.plans import Layout
from tests.autoshard.plans import MESH, V5E

# A tensor of 800 bytes; axis 0 has 2 devices, axis 1 has 4.
MOVES: list[tuple[Layout, Layout, float]] = [
    (((0,), ()), ((0,), ()), 0),
    (((), ()), ((0, 1), ()), 0),
    (((0, 1), ()), ((0,), ()), 3 * 100),
    (((0,), ()), ((), (0,)), 400 / 2),
    # The major axis goes, so the shards of the minor one change places first.
    (((0, 1), ()), ((1,), ()), 100 + 100),
    (((0, 1), ()), ((1, 0), ()), 100),
]


@pytest.mark.parametrize(("source", "target", "sent"), MOVES)
def test_moves_send_what_their_collectives_do(source: Layout, target: Layout, sent: float) -> None:
    assert Mover(MESH, V5E).move(800, source, target)[1] == sent


SUMS: list[tuple[Layout, tuple[int, ...], Layout, float]] = [
    (((), ()), (0,), ((), ()), 2 / 2 * 800),
    (((), ()), (0,), ((0,), ()), 1 / 2 * 800),
    # What is scattered is the minor part.
    (((0,), ()), (1,), ((0, 1), ()), 3 / 4 * 400),
    (((0,), ()), (1,), ((1, 0), ()), 3 / 4 * 400 + 100),
]


@pytest.mark.parametrize(("made", "summed", "lies", "sent"), SUMS)
def test_partial_sums_are_scattered_where_the_result_is_split(
    made: Layout, summed: tuple[int, ...], lies: Layout, sent: float
) -> None:
    assert Mover(MESH, V5E).complete(800, made, summed, lies)[1] == sent
