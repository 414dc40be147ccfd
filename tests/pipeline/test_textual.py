"""Textual pipelines: the grammar, printing back, checks with places."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from passes.errors import UserError
from passes.pipeline import textual
from passes.pipeline.textual import PassUse, Pipeline

_names = st.from_regex(r"[a-z][a-z0-9]{0,6}(-[a-z0-9]{1,4}){0,2}", fullmatch=True)
_plain = st.from_regex(r"[A-Za-z0-9_.,:/-]{1,8}", fullmatch=True)
_spaced = st.from_regex(r"[A-Za-z0-9_.,() =]{0,8}", fullmatch=True)
_values = st.recursive(
    st.one_of(_plain, _spaced.map(lambda s: f'"{s}"'), _spaced.map(lambda s: f"'{s}'")),
    lambda inner: st.lists(st.tuples(_names, inner), min_size=1, max_size=3).map(
        lambda options: "{" + " ".join(f"{n}={v}" for n, v in options) + "}"
    ),
    max_leaves=4,
)
_options = st.lists(st.tuples(_names, _values), max_size=3).map(lambda given: " ".join(f"{n}={v}" for n, v in given))
_anchors = st.sampled_from(["builtin.module", "func.func", "any", "stablehlo.while"])
_items = st.recursive(
    st.builds(PassUse, _names, _options),
    lambda inner: st.builds(Pipeline, _anchors, st.lists(inner, max_size=3).map(tuple)),
    max_leaves=8,
)
_pipelines = st.builds(Pipeline, _anchors, st.lists(_items, max_size=4).map(tuple))


@settings(deadline=None, max_examples=50)
@given(_pipelines)
def test_a_printed_pipeline_reads_as_the_same(pipeline: Pipeline) -> None:
    assert textual.read(str(pipeline)) == pipeline


@settings(deadline=None, max_examples=50)
@given(_pipelines, st.data())
def test_spaces_around_punctuation_do_not_matter(pipeline: Pipeline, data: st.DataObject) -> None:
    # Only outside of braces, where text belongs to the options.
    spaced, depth = "", 0
    for char in str(pipeline):
        depth += (char == "{") - (char == "}")
        between = char in "()," and not depth
        spaced += f"{data.draw(st.sampled_from(['', ' ', chr(10)]))}{char} " if between else char
    assert textual.read(spaced) == pipeline


@settings(deadline=None)
@given(st.text(alphabet="ab.,(){}'\" =\n", max_size=30))
def test_any_text_is_read_or_refused_with_its_place(text: str) -> None:
    try:
        pipeline = textual.read(text)
    except UserError as error:
        assert error.where is not None and error.where.line and error.where.column
        assert error.snippet is not None and error.where.column <= len(error.snippet) + 1
    else:
        assert textual.read(str(pipeline)) == pipeline


@pytest.mark.parametrize(("options", "values"), [
    ("", {}),
    ("a=1 b=x,y", {"a": "1", "b": "x,y"}),
    ("a", {"a": ""}),
    ("a b=2", {"a": "", "b": "2"}),
    ("c=\"quoted str\" d={nested x=1}", {"c": "quoted str", "d": "nested x=1"}),
    ("c='a \"b\" c'", {"c": 'a "b" c'}),
    ("a={x y},{z w}", {"a": "{x y},{z w}"}),
    ("a=it's b=1", {"a": "it's", "b": "1"}),
    ("a=1 a=2", {"a": "2"}),
    ("a={b={c={d}}}", {"a": "b={c={d}}"}),
])
def test_options(options: str, values: dict[str, str]) -> None:
    assert PassUse("p", options).values() == values


def test_uses_come_with_their_anchors_in_order() -> None:
    pipeline = textual.read("builtin.module(a,func.func(b,any(c)),d{x=1})")
    assert [(anchors, str(use)) for anchors, use in pipeline.uses()] == [
        (("builtin.module",), "a"),
        (("builtin.module", "func.func"), "b"),
        (("builtin.module", "func.func", "any"), "c"),
        (("builtin.module",), "d{x=1}"),
    ]


@pytest.mark.parametrize(("text", "column", "message"), [
    ("", 1, "expected a pass name at the end"),
    ("cse", 1, "write builtin.module(cse)"),
    ("cse,dead-ops", 1, "write builtin.module(cse,dead-ops)"),
    ("builtin.module(cse", 1, "'builtin.module(' is never closed"),
    ("builtin.module(func.func(cse)", 1, "'builtin.module(' is never closed"),
    ("builtin.module(cse))", 20, "')' without a matching '('"),
    ("builtin.module(cse{a=1)", 19, "'{' is never closed"),
    ("builtin.module(cse{a}b)", 22, "expected ',' or ')' instead of 'b'"),
    ("builtin.module(cse,)", 20, "expected a pass name instead of ')'"),
    ("builtin.module(,cse)", 16, "expected a pass name instead of ','"),
    ("builtin.module(cse(dead-ops))", 16, "the options of a pass go in braces: cse{...}"),
    ("builtin.module(cse),builtin.module(cse)", 21, "a pipeline has one root"),
    ("func.func(cse)", 1, "write builtin.module(func.func(cse))"),
    ("builtin.module(cze)", 16, "unknown pass 'cze'; did you mean 'cse'"),
    ("builtin.module(sdy-propagation-pipelin)", 16, "did you mean 'sdy-propagation-pipeline'"),
    ("builtin.module(cse,qqqqqqqq)", 20, "unknown pass 'qqqqqqqq'; --list-passes lists all"),
    ("builtin.module(cse{nope=1})", 16, "pass 'cse' has no option 'nope'"),
    ("builtin.module(dead-ops{keep-calls=perhaps})", 16, "takes true or false, not 'perhaps'"),
    ("builtin.module(canonicalize{nope=1})", 16, "pass 'canonicalize' has no option 'nope'; it has: "),
    ("builtin.module(canonicalize{max-iterations=x})", 16, "option 'max-iterations' of pass 'canonicalize': 'x' value"),
    ("builtin.module(sdy-propagation-pipeline{nope=1})", 16, "'sdy-propagation-pipeline' has no option 'nope'"),
    ("builtin.module(sdy-reshard-to-collectives)", 16, "write func.func(sdy-reshard-to-collectives)"),
    ("builtin.module(func.func(sdy-close-shardings))", 26, "runs on builtin.module, not on func.func"),
    # The native parser aborts the process on this one.
    ("builtin.module(func.func(sdy-propagation-pipeline))", 26, "is a pipeline for builtin.module"),
    ("builtin.module(func.fun(canonicalize))", 25, "the anchor 'func.fun' is no op of the bindings"),
    ("builtin.module(" * 100, 961, "nested more than 64 deep"),
])
def test_refusals_have_a_place(text: str, column: int, message: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError) as caught:
        textual.parse(text)
    assert message in caught.value.message
    assert "\n" not in caught.value.message
    assert str(caught.value.where) == f"<pass-pipeline>:1:{column}"
    assert caught.value.snippet == text
    assert capfd.readouterr().err == ""


def test_the_place_is_in_the_line_of_the_pass() -> None:
    with pytest.raises(UserError) as caught:
        textual.parse("builtin.module(\n  cse,\n  cze\n)")
    assert str(caught.value.where) == "<pass-pipeline>:3:3"
    assert caught.value.snippet == "  cze"


@pytest.mark.parametrize("text", [
    "builtin.module(cse,func.func(sdy-reshard-to-collectives{keep-redundant-reshards=true}),dead-ops{keep-calls=true},"
    "any(canonicalize))",
    "builtin.module()",
    "builtin.module(func.func(cse,canonicalize{max-iterations=3 disable-patterns=a,b}),native-cse)",
    "builtin.module(builtin.module(func.func(cse)))",
    "builtin.module(native-inline{default-pipeline=canonicalize{max-iterations=3}})",
])
def test_good_pipelines_come_back_as_written(text: str) -> None:
    assert str(textual.parse(text)) == text


def test_flags_are_nested_under_the_anchor_they_need() -> None:
    flags = [
        ("cse", ""),
        ("sdy-reshard-to-collectives", "keep-redundant-reshards=true"),
        ("sdy-drop-sharding-rules", ""),
        ("dead-ops", " keep-calls=true "),
        ("native-cse", ""),
    ]
    assert str(textual.from_flags(flags)) == (
        "builtin.module(cse,func.func(sdy-reshard-to-collectives{keep-redundant-reshards=true},"
        "sdy-drop-sharding-rules),dead-ops{keep-calls=true},native-cse)"
    )


@pytest.mark.parametrize(("flag", "message"), [
    (("cze", ""), "shlo: error: unknown pass 'cze'; did you mean 'cse'"),
    (("cse", "nope=1"), "shlo: error: pass 'cse' has no option 'nope'"),
    (("canonicalize", "nope=1"), "shlo: error: pass 'canonicalize' has no option 'nope'"),
])
def test_bad_flags(flag: tuple[str, str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        textual.from_flags([flag])
    assert caught.value.render().startswith(message)


def test_passes_of_ours_are_checked_without_bindings() -> None:
    script = (
        "import sys; from passes.pipeline import textual; from passes.errors import UserError\n"
        "textual.parse('builtin.module(cse,func.func(dead-ops{keep-calls=true}))')\n"
        "try: textual.parse('builtin.module(cse{nope=1})')\n"
        "except UserError as error: print(error.message)\n"
        "print('jaxlib' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0].startswith("pass 'cse' has no option 'nope'")
    assert done.stdout.splitlines()[1] == "False"
