"""Closed forms of collectives, and the vendor's laws of a Wormhole ring and line."""

from __future__ import annotations

import pytest

from passes.cost import device
from passes.cost.laws import load, sent


@pytest.mark.parametrize("n", [2, 3, 4, 8, 32])
def test_bytes_sent_are_the_closed_forms(n: int) -> None:
    size = 840
    assert sent("all_reduce", n) * size == pytest.approx(2 * (n - 1) / n * size)
    assert sent("all_gather", n) * size == pytest.approx((n - 1) * size)
    assert sent("reduce_scatter", n) * size == pytest.approx((n - 1) / n * size)
    # An all_reduce is a reduce_scatter and an all_gather of what is left of it.
    assert sent("all_reduce", n) == pytest.approx(sent("reduce_scatter", n) + sent("all_gather", n) / n)


def test_alone_there_is_nothing_to_send() -> None:
    assert all(sent(kind, 1) == 0 for kind in ("all_reduce", "all_gather", "all_to_all", "collective_permute"))


def test_an_all_to_all_on_a_ring_is_a_quarter_of_gathering_what_all_hold() -> None:
    for n in (4, 8, 16):
        assert load("all_to_all", "ring", n) == n / 4
        assert load("all_to_all", "switch", n) == (n - 1) / n


MB = 1 << 20


@pytest.mark.parametrize(("topology", "kind", "expected"), [
    ("ring", "all_gather", 4.47e-6 + 2.50e-6 * 4 + 7 * MB / 20.8e9),
    ("ring", "reduce_scatter", 3.23e-6 + 3.06e-6 * 4 + 7 / 8 * MB / 16.7e9),
    ("ring", "all_reduce", 9.07e-6 + 5.25e-6 * 4 + 2 * 7 / 8 * MB / 18.4e9),
    ("ring", "all_to_all", 2.99e-6 + 3.40e-6 * 4 + 16 / 8 * MB / 16.5e9),
    ("line", "all_gather", 4.47e-6 + 1.91e-6 * 7 + 7 * MB / 11.8e9),
    ("line", "all_reduce", 9.07e-6 + 5.82e-6 * 7 + 2 * 7 / 8 * MB / 10.9e9),
])
def test_wormhole_laws_are_the_published_ones(topology: str, kind: str, expected: float) -> None:
    wormhole = device.load("wormhole_t3000")
    assert wormhole.collective(kind, tuple(range(8)), MB, topology) == pytest.approx(expected, rel=1e-12)


def test_groups_beyond_a_node_go_over_the_network() -> None:
    h100 = device.load("h100")
    inside = h100.collective("all_reduce", (0, 1, 2, 3, 4, 5, 6, 7), 1 << 28)
    across = h100.collective("all_reduce", (0, 8, 16, 24, 32, 40, 48, 56), 1 << 28)
    assert across / inside == pytest.approx(450 / 50, rel=0.05)
