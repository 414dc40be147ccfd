"""What passes took out: places without the bindings, and the report."""

from __future__ import annotations

from typing import Any

from passes import _mlir
from passes.errors import Where
from passes.pipeline import removals
from passes.pipeline.base import Counters, Removal
from passes.pipeline.options import PassStatistics, Removed
from passes.program.read import Program
from tests.pipeline.programs import program


def location(text: str) -> object:
    subject = program(f"func.func @main() {{\n  return loc({text})\n}}\n")
    return first_op(subject).location


def first_op(subject: Program) -> Any:
    return next(iter(subject.module.body.operations[0].operation.regions[0].blocks[0])).operation


def collected(*texts: str) -> list[tuple[Where | None, str, int]]:
    found = removals.collect(Removal("x.op", location(text), "why") for text in texts)
    return [(r.where, r.name, r.count) for r in found]


def test_a_place_is_the_line_of_a_location() -> None:
    line = (Where("a.py", 3), "", 4)
    same = ('"a.py":3:1', '"f"("a.py":3:2)', 'fused["b", "a.py":3:3]', 'callsite("a.py":3:4 at "b.py":1:1)')
    assert collected(*same) == [line]


def test_without_a_line_it_is_the_first_name() -> None:
    assert collected('"f"', 'fused[unknown, "f"]', 'callsite("f" at "g")', "unknown") == [(None, "f", 3), (None, "", 1)]


def test_ops_of_one_line_and_name_are_counted_together_and_others_are_not() -> None:
    where = location('"a.py":3:1')
    found = removals.collect([Removal(*r) for r in (
        ("x.a", where, "w"), ("x.b", where, "w"), ("x.a", where, "v"), ("x.a", where, "w"))])
    assert [(r.op, r.why, r.count) for r in found] == [("x.a", "w", 2), ("x.b", "w", 1), ("x.a", "v", 1)]


REMOVED = (
    Removed("small", "x.a", Where("m.py", 1), "", 3),
    Removed("large", "x.a", Where("m.py", 1), "", 5),
    Removed("large", "x.b", Where("m.py", 1), "", 1500),
    Removed("large", "x.a", Where("m.py", 2), "", 7),
    Removed("large", "x.c", None, "layer", 9),
    Removed("large", "x.d", None, "", 1),
)


def report(limit: int, *found: Removed) -> str:
    return removals.report([PassStatistics((), "p", removals=found)], limit)


def test_reasons_and_places_come_with_most_ops_first() -> None:
    assert report(10, *REMOVED) == """\
p: 1,525 ops removed
  1,522  large (1,500 x.b, 12 x.a, 9 x.c, 1 x.d)
    1,505  m.py:1: 1,500 x.b, 5 x.a
        9  layer: x.c
        7  m.py:2: x.a
        1  unknown places: x.d
      3  small (x.a)
        3  m.py:1: x.a
"""


def test_places_beyond_the_limit_are_counted() -> None:
    assert report(2, *REMOVED).splitlines()[2:5] == [
        "    1,505  m.py:1: 1,500 x.b, 5 x.a", "        9  layer: x.c", "        8  at 2 other places"]
    assert report(0, *REMOVED).splitlines()[1:] == [
        "  1,522  large (1,500 x.b, 12 x.a, 9 x.c, 1 x.d)", "      3  small (x.a)"]


def test_one_op_and_none() -> None:
    assert report(1, Removed("w", "x.a", None, "f", 1)).startswith("p: 1 op removed\n")
    assert report(1) == "p: 0 ops removed\n"


def test_many_kinds_of_ops_are_cut_short() -> None:
    many = [Removed("w", f"x.{i}", None, "f", 10 - i) for i in range(6)]
    assert "(10 x.0, 9 x.1, 8 x.2, 7 x.3, 11 others)" in report(1, *many)


def test_counters_note_the_op_before_it_goes() -> None:
    subject = program("func.func @main(%a: tensor<4xf32>) {\n  %0 = stablehlo.negate %a : tensor<4xf32>\n  return\n}\n")
    op = first_op(subject)
    counters = Counters((), explain=True)
    counters.removed(op, "why")
    op.erase()
    assert counters.removals is not None
    assert removals.collect(counters.removals) == (Removed("why", "stablehlo.negate", Where("-", 2), "", 1),)
    assert _mlir.where_of(counters.removals[0].location) == Where("-", 2, 8)
