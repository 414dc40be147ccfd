"""The call graph: callees first, whatever the cycles."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from passes.optimize.calls import callees_first, cycles


def test_chains_and_cycles() -> None:
    edges = {"main": {"f", "g"}, "f": {"g", "declared_elsewhere"}, "g": {"h"}, "h": {"g"}, "self": {"self"}}
    groups = callees_first(edges)
    assert [sorted(group) for group in groups] == [["g", "h"], ["f"], ["main"], ["self"]]
    assert cycles(edges) == {"g", "h", "self"}


def test_a_long_chain() -> None:
    edges = {f"f{i}": {f"f{i + 1}"} for i in range(50_000)}
    assert callees_first(edges)[-1] == ["f0"]
    edges["f49999"] = {"f0"}
    assert len(callees_first(edges)) == 1 and len(cycles(edges)) == 50_000


def reachable(edges: dict[str, set[str]], start: str) -> set[str]:
    found: set[str] = set()
    waiting = list(edges[start])
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += edges[name]
    return found


@given(st.lists(st.tuples(st.sampled_from("abcdefg"), st.sampled_from("abcdefg"))))
def test_every_graph(pairs: list[tuple[str, str]]) -> None:
    edges: dict[str, set[str]] = {name: set() for name in "abcdefg"}
    for caller, callee in pairs:
        edges[caller].add(callee)
    reached = {name: reachable(edges, name) for name in edges}
    seen: set[str] = set()
    for group in callees_first(edges):
        for name in group:
            assert {name, *(other for other in reached[name] if name in reached[other])} == {*group}
            assert reached[name] <= seen | {*group}
        seen.update(group)
    assert seen == edges.keys()
    assert cycles(edges) == {name for name in edges if name in reached[name]}
