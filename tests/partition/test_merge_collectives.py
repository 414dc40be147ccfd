"""Merged collectives compute the same on every device, in whichever order the axes come."""

from __future__ import annotations

import itertools

import pytest

from passes.partition.merge_collectives import crossed
from tests.partition.collective_programs import all_gather, all_reduce, changed_and_executed, reduce_scatter

# Devices that differ in one bit of their number, and in two.
BITS = {
    bit: f"dense<{[[d, d | 1 << bit] for d in range(8) if not d >> bit & 1]}> : tensor<4x2xi64>" for bit in range(3)
}
PAIR = "dense<[[0, 2, 4, 6], [1, 3, 5, 7]]> : tensor<2x4xi64>"
ORDERS = list(itertools.permutations((0, 1, 2), 2))


def executed(*body: str, argument: str, result: str) -> tuple[list[str], list[str]]:
    lines = "\n".join(body)
    text = f"func.func @main(%x: {argument}) -> {result} {{\n{lines}\nreturn %1 : {result}\n}}"
    return changed_and_executed(text, "merge-collectives")


@pytest.mark.parametrize(("first", "second"), ORDERS)
def test_gathers(first: int, second: int) -> None:
    before, after = executed(
        f"%0 = {all_gather('%x', 'tensor<3x2xf32>', 'tensor<3x4xf32>', BITS[first], 1)}",
        f"%1 = {all_gather('%0', 'tensor<3x4xf32>', 'tensor<3x8xf32>', BITS[second], 1)}",
        argument="tensor<3x2xf32>", result="tensor<3x8xf32>",
    )
    assert (len(before), after) == (2, ["all_gather"])


@pytest.mark.parametrize(("first", "second"), ORDERS)
def test_scattered_sums(first: int, second: int) -> None:
    before, after = executed(
        f"%0 = {reduce_scatter('%x', 'tensor<8xf32>', 'tensor<4xf32>', BITS[first])}",
        f"%1 = {reduce_scatter('%0', 'tensor<4xf32>', 'tensor<2xf32>', BITS[second])}",
        argument="tensor<8xf32>", result="tensor<2xf32>",
    )
    assert (len(before), after) == (2, ["reduce_scatter"])


@pytest.mark.parametrize("body", ["add", "maximum", "multiply"])
def test_sums_over_three_axes_become_one(body: str) -> None:
    t = "tensor<3xi32>"
    before, after = executed(
        f"%a = {all_reduce('%x', t, BITS[2], body)}", f"%b = {all_reduce('%a', t, BITS[0], body)}",
        f"%1 = {all_reduce('%b', t, BITS[1], body)}", argument=t, result=t,
    )
    assert (len(before), after) == (3, ["all_reduce"])


def test_groups_of_more_axes() -> None:
    t = "tensor<3xf32>"
    _, after = executed(
        f"%0 = {all_reduce('%x', t, PAIR)}", f"%1 = {all_reduce('%0', t, BITS[0])}", argument=t, result=t
    )
    assert after == ["all_reduce"]


def test_groups_that_share_devices_stay() -> None:
    t = "tensor<3xf32>"
    before, after = executed(
        f"%0 = {all_reduce('%x', t, PAIR)}", f"%1 = {all_reduce('%0', t, BITS[1])}", argument=t, result=t
    )
    assert before == after


@pytest.mark.parametrize(
    ("outer", "inner", "found"),
    [
        ([[0, 2], [1, 3]], [[0, 1], [2, 3]], [[0, 1, 2, 3]]),
        ([[0, 1]], [[0], [1]], [[0, 1]]),
        ([[0, 1]], [[0, 1]], None),
        ([[0, 1]], [[0, 2], [1, 3]], None),
        ([[0, 1], [2, 3]], [[1, 2], [3, 0]], None),
        ([[0, 1], [2, -1]], [[0, 2], [1, -1]], None),
    ],
)
def test_crossed(outer: list[list[int]], inner: list[list[int]], found: list[list[int]] | None) -> None:
    assert crossed(outer, inner) == found

