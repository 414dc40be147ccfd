"""Rules as users write them, and what Shardy makes of the result."""

from __future__ import annotations

from typing import Any

import pytest

from passes.sharding.rule_notation import NotationError, parse, suggestion
from passes.sharding.sharding_rule import encode

Shapes = list[tuple[int, ...]]


def shown(text: str, operands: Shapes, results: Shapes, **more: Any) -> str:
    """The rule in Shardy's text form, without the frame."""
    attribute = str(encode(parse(text, **more).rule(operands, results)))
    return attribute.removeprefix("#sdy.op_sharding_rule<").removesuffix(">")


def factors(*names: str) -> frozenset[str]:
    return frozenset(names)


@pytest.mark.parametrize(
    ("text", "operands", "results", "more", "expected"),
    [
        ("a b, a b -> a b", [(8, 4)] * 2, [(8, 4)], {}, "([i, j], [i, j])->([i, j]) {i=8, j=4}"),
        (
            "i k, k j -> i j", [(8, 16), (16, 4)], [(8, 4)], {"reduction": factors("k")},
            "([i, j], [j, k])->([i, k]) {i=8, j=16, k=4} reduction={j}",
        ),
        # What only operands have is safe only if whole; so is what only results have.
        ("i k, k j -> i j", [(8, 16), (16, 4)], [(8, 4)], {},
         "([i, j], [j, k])->([i, k]) {i=8, j=16, k=4} need_replication={j}"),
        ("i -> i n", [(8,)], [(8, 3)], {}, "([i])->([i, j]) {i=8, j=3} need_replication={j}"),
        ("i, j -> i, j", [(8,), (4,)], [(8,), (4,)], {}, "([i], [j])->([i], [j]) {i=8, j=4}"),
        ("... d -> ... d", [(2, 3, 4)], [(2, 3, 4)], {}, "([i, j, k])->([i, j, k]) {i=2, j=3, k=4}"),
        ("... d, d -> ... d", [(4,), (4,)], [(4,)], {}, "([i], [i])->([i]) {i=4}"),
        ("...1 a, ...2 a -> ...1 a, ...2 a", [(2, 4), (3, 4)], [(2, 4), (3, 4)], {},
         "([i, j], [k, j])->([i, j], [k, j]) {i=2, j=4, k=3}"),
        ("(a b) c -> a b c", [(8, 4)], [(2, 4, 4)], {}, "([ij, k])->([i, j, k]) {i=2, j=4, k=4}"),
        ("(a b) -> (b a)", [(8,)], [(8,)], {"sizes": {"a": 2}, "permutation": factors("a")},
         "([ij])->([ji]) {i=2, j=4} permutation={i}"),
        ("i, -> i", [(8,), ()], [(8,)], {}, "([i], [])->([i]) {i=8}"),
        (" -> i", [()], [(8,)], {}, "([])->([i]) {i=8} need_replication={i}"),
        (" -> i", [], [(8,)], {}, "()->([i]) {i=8} need_replication={i}"),
        # As in JAX, of two sizes the smaller one.
        ("i -> i", [(8,)], [(4,)], {}, "([i])->([i]) {i=4}"),
        ("i j -> i j", [(8, 4)], [(8, 4)], {"need_replication": factors("j"), "blocked": factors("i")},
         "([i, j])->([i, j]) {i=8, j=4} need_replication={j} blocked_propagation={i}"),
        ("#sdy.op_sharding_rule<([i])->([i]) {i=8}>", [(8,)], [(8,)], {}, "([i])->([i]) {i=8}"),
    ],
)
def test_rules(text: str, operands: Shapes, results: Shapes, more: dict[str, Any], expected: str) -> None:
    assert shown(text, operands, results, **more) == expected


@pytest.mark.parametrize(
    ("text", "more", "message"),
    [
        ("a b", {}, "one arrow"),
        ("a -> b -> c", {}, "one arrow"),
        ("a 3b -> a", {}, "'3' is not expected in 'a 3b'"),
        ("a _ -> a", {}, "'_' is not expected"),
        ("a ... -> a", {}, "'...' stands for leading dimensions"),
        ("(a) -> a", {}, "brackets join two factors or more, not '(a)'"),
        ("(a b -> a b", {}, "a bracket is not closed"),
        ("(a (b c)) -> a b c", {}, "'(' is not expected"),
        ("a) -> a", {}, "')' is not expected"),
        ("a a -> a", {}, "factor 'a' stands twice in one tensor, 'a a'"),
        ("a -> a", {"reduction": factors("k")}, "reduction names factor 'k', which the rule has not"),
        ("a -> a", {"reduction": factors("a")}, "factor 'a' is reduced and stands in a result"),
        ("a b -> a", {"reduction": factors("b"), "permutation": factors("b")}, "factor 'b' is of one kind"),
        ("a -> a", {"sizes": {"b": 2}}, "sizes names factor 'b', which the rule has not"),
        ("#sdy.op_sharding_rule<([i])->([i]) {i=8}>", {"reduction": factors("i")}, "says itself what reduction would"),
    ],
)
def test_what_cannot_be_read(text: str, more: dict[str, Any], message: str) -> None:
    with pytest.raises(NotationError) as caught:
        parse(text, **more)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "operands", "results", "more", "message"),
    [
        ("a -> a", [(8,), (8,)], [(8,)], {}, "it has 2 operands and the rule has 1"),
        ("a -> a, a", [(8,)], [(8,)], {}, "it has 1 result and the rule has 2"),
        ("a -> a", [], [(8,)], {}, "it has 0 operands and the rule has 1"),
        ("a -> a b", [(8,)], [(8,)], {}, "result 0 has 1 dimension and the rule gives it 2 dimensions"),
        ("... a b -> a", [(8,)], [(8,)], {}, "operand 0 has 1 dimension and the rule gives it at least 2 dimensions"),
        ("(a b) -> (a b)", [(8,)], [(8,)], {}, "the sizes of factors 'a' and 'b' are not known"),
        ("(a b) -> a", [(8,)], [(3,)], {}, "operand 0 dimension 0 has size 8, which factors (a b) do not make up"),
        ("a -> a", [(8,)], [(8,)], {"sizes": {"a": 4}}, "factor 'a' is given the size 4 and its dimension has 8"),
        ("#sdy.op_sharding_rule<([i])->([i]) {i=8}>", [(8, 2)], [(8,)], {}, "operand 0 has 2 dimensions"),
        ("#sdy.op_sharding_rule<([i])->([i]) {i=8}>", [(4,)], [(8,)], {}, "less than the factors of the rule"),
        ("#sdy.op_sharding_rule<([i])->>", [(4,)], [(8,)], {}, "not a rule in Shardy's form: "),
    ],
)
def test_what_does_not_fit(
    text: str, operands: Shapes, results: Shapes, more: dict[str, Any], message: str
) -> None:
    with pytest.raises(NotationError) as caught:
        parse(text, **more).rule(operands, results)
    assert message in str(caught.value)


def test_a_suggestion_reads_and_splits_nothing() -> None:
    text = suggestion([(8, 4), ()], [(8,)])
    assert text == "a b,  -> c"
    rule = parse(text).rule([(8, 4), ()], [(8,)])
    assert rule.need_replication == {0, 1, 2}
    many = suggestion([(1,) * 30], [(1,)])
    assert many.endswith("-> e1")
    assert len(parse(many).rule([(1,) * 30], [(1,)]).sizes) == 31
