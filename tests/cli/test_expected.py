"""``// expected-error {{...}}`` comments: where they point, what they match, and what is reported."""

from __future__ import annotations

import pytest

from passes._mlir import Diagnostic
from passes.cli import expected
from passes.errors import UserError, Where


def lines(text: str) -> list[tuple[str, int]]:
    return [(e.kind, e.line) for e in expected.read(text, "f.mlir")]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("// expected-error {{x}}", [("error", 1)]),
        ("\nop // expected-warning {{x}}", [("warning", 2)]),
        ("// expected-remark@+2 {{x}}", [("remark", 3)]),
        ("\n\n// expected-note@-1 {{x}}", [("note", 2)]),
        ("// expected-error@+1{{x}}  ", [("error", 2)]),
        ("// expected-error@12 {{x}}", [("error", 12)]),
        ("// expected-error@unknown {{x}}", [("error", 0)]),
        ("op\n// expected-error@above {{x}}\n// expected-error@above {{y}}", [("error", 1), ("error", 1)]),
        ("// expected-error@below {{x}}\n// expected-note@below {{y}}\nop", [("error", 3), ("note", 3)]),
        ("// expected-error@below {{x}}", [("error", 2)]),
        ("// expected-error {{x}} and more", []),
        ("// unexpected error {{x}}", []),
    ],
)
def test_where_comments_point(text: str, found: list[tuple[str, int]]) -> None:
    assert lines(text) == found


def test_lines_count_in_the_whole_file() -> None:
    (found,) = expected.read("op // expected-error {{x}}", "f.mlir", first_line=41)
    assert (found.line, found.comment) == (41, 41)


def said(severity: str, line: int, message: str, *notes: Diagnostic, file: str = "f.mlir") -> Diagnostic:
    return Diagnostic(severity, Where(file, line, 1) if line else None, message, notes)


def outcome(text: str, *diagnostics: Diagnostic, only_expected: bool = False) -> list[str]:
    comments = expected.read(text, "f.mlir")
    return [e.render() for e in expected.compare(comments, diagnostics, "f.mlir", only_expected=only_expected)]


def test_a_comment_is_met_by_a_diagnostic_of_its_kind_and_line_that_contains_its_text() -> None:
    text = "// expected-error {{type mismatch}}"
    assert outcome(text, said("error", 1, "op: type mismatch here")) == []
    missing = 'f.mlir:1: error: expected error "type mismatch" was not produced'
    assert outcome(text) == [missing]
    assert outcome(text, said("warning", 1, "type mismatch")) == [
        "f.mlir:1: error: unexpected warning: type mismatch", missing,
    ]
    assert outcome(text, said("error", 2, "type mismatch")) == [
        "f.mlir:2: error: unexpected error: type mismatch", missing,
    ]
    assert outcome(text, said("error", 1, "type miss")) == ["f.mlir:1: error: unexpected error: type miss", missing]


def test_each_comment_and_each_diagnostic_counts_once() -> None:
    text = "// expected-error {{x}}"
    assert outcome(text, said("error", 1, "x"), said("error", 1, "x")) == ["f.mlir:1: error: unexpected error: x"]
    twice = "// expected-error@3 {{x}}\n// expected-error@3 {{x}}"
    assert outcome(twice, said("error", 3, "x")) == ['f.mlir:2: error: expected error "x" was not produced']


def test_notes_count_as_diagnostics() -> None:
    text = "// expected-error {{x}}\n// expected-note {{prior use}}"
    assert outcome(text, said("error", 1, "x", said("note", 2, "prior use here"))) == []
    assert outcome("// expected-error {{x}}", said("error", 1, "x", said("note", 2, "prior use here"))) == [
        "f.mlir:2: error: unexpected note: prior use here"
    ]


def test_the_note_that_shows_the_op_may_stay_unexpected() -> None:
    shown = said("note", 1, "see current operation: %0 = ...")
    assert outcome("// expected-error {{x}}", said("error", 1, "x", shown)) == []
    assert outcome("// expected-note {{current operation: %0}}", shown) == []


def test_only_expected_lets_others_pass() -> None:
    assert outcome("", said("error", 1, "x"), only_expected=True) == []
    missing = ['f.mlir:1: error: expected error "x" was not produced']
    assert outcome("// expected-error {{x}}", only_expected=True) == missing


def test_unknown_place_and_other_files() -> None:
    text = "// expected-error@unknown {{x}}"
    assert outcome(text, said("error", 0, "x")) == []
    assert len(outcome(text, said("error", 1, "x"))) == 2
    assert outcome("// expected-error {{x}}", said("error", 1, "x", file="-")) == []
    assert outcome("// expected-error {{x}}", said("error", 1, "x", file="model.py")) == [
        "model.py:1:1: error: unexpected error: x", 'f.mlir:1: error: expected error "x" was not produced',
    ]


def test_regular_expressions_stand_in_inner_braces_only() -> None:
    text = "// expected-error-re {{got (a) {{[0-9]+|none}} of 4}}"
    assert outcome(text, said("error", 1, "got (a) 12 of 4")) == []
    assert outcome(text, said("error", 1, "got (a) none of 4")) == []
    assert len(outcome(text, said("error", 1, "got a 12 of 4"))) == 2
    assert len(outcome("// expected-error {{[0-9]+}}", said("error", 1, "12"))) == 2


def test_a_broken_expression_is_an_error_at_its_comment() -> None:
    with pytest.raises(UserError) as error:
        expected.read("\n  // expected-error-re {{ {{(}} }}", "f.mlir")
    assert error.value.render().startswith("f.mlir:2:6: error: expected-error-re holds no regular expression: ")
