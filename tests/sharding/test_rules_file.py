"""The rules file: what it may say, and one line for everything else."""

from __future__ import annotations

import string
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from passes.errors import UserError, Where
from passes.sharding.mesh import MAX_DEVICES, Mesh
from passes.sharding.rules import DimRule, Selector
from passes.sharding.rules_file import load, parse

MESH = "mesh = { data = 2, model = 4 }\n"


def test_everything_a_file_may_say() -> None:
    rules = parse(
        MESH
        + """
[[arguments]]
match = "params['*']['wq']"
dims = ["", "model"]

[[arguments]]
regex = "^x$"
dims = [["data", "model"], "?", []]

[[arguments]]
index = 3
dims = ["data"]

[[results]]
index = [0, 2]
dims = []""",
        "r.toml",
    )
    assert rules.mesh == Mesh((("data", 2), ("model", 4)))
    by_match, by_regex, by_index = rules.arguments
    assert by_match.selector == Selector(match="params['*']['wq']")
    assert by_match.layout.dims == (DimRule(), DimRule(("model",)))
    assert by_match.where == Where("r.toml", 4, 1)
    assert by_regex.selector == Selector(regex="^x$")
    assert by_regex.layout.dims == (DimRule(("data", "model")), DimRule((), True), DimRule())
    assert by_index.selector == Selector(indices=(3,))
    assert rules.results[0].selector == Selector(indices=(0, 2))
    assert rules.results[0].layout.dims == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"model?"', DimRule(("model",), True)),
        ('["data", "model?"]', DimRule(("data", "model"), True)),
        ('["data", "model", "?"]', DimRule(("data", "model"), True)),
        ('"?"', DimRule((), True)),
        ('["?"]', DimRule((), True)),
        ("[]", DimRule()),
        ('""', DimRule()),
        ('"model:p2"', DimRule(("model",), False, 2)),
        ('"model?:p0"', DimRule(("model",), True, 0)),
        ('"?:p1"', DimRule((), True, 1)),
        ('["data", "model:p1"]', DimRule(("data", "model"), False, 1)),
    ],
)
def test_one_dimension(text: str, expected: DimRule) -> None:
    assert parse(f"{MESH}[[arguments]]\nindex = 0\ndims = [{text}]").arguments[0].layout.dims == (expected,)


def test_the_order_of_mesh_axes_is_kept() -> None:
    assert parse("[mesh]\nz = 2\na = 3\nm = 1").mesh.axes == (("z", 2), ("a", 3), ("m", 1))


@pytest.mark.parametrize(
    ("match", "name", "matches"),
    [
        ("params['*']['wq']", "params['layer0']['wq']", True),
        ("params['*']['wq']", "params['layer0']['wk']", False),
        ("[0]", "[0]", True),
        ("[01]", "0", False),
        ("layer?", "layer7", True),
        ("layer?", "layer17", False),
        ("x", "xx", False),
        ("*", "", True),
        ("a.c", "abc", False),
        ("a*c", "a\nc", True),
        ("a", "a\n", False),
        ("**a**", "bab", True),
    ],
)
def test_match_is_a_pattern_for_the_whole_name(match: str, name: str, matches: bool) -> None:
    pattern = Selector(match=match).compiled()
    assert pattern is not None
    assert bool(pattern.search(name)) is matches


ENTRY = MESH + "\n[[arguments]]\n"


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("", "no mesh is given", 0),
        ("mesh = { }", "the mesh is empty", 1),
        ("\nmesh = 3", "mesh takes axis names with sizes", 2),
        ("[mesh]\ndata = 2\nmodel = 0", "the size of mesh axis 'model' must be 1 or more, not 0", 3),
        ("mesh = { data = true }", "must be a whole number, not true or false", 1),
        ("mesh = { data = 2.5 }", "must be a whole number, not 2.5", 1),
        ("mesh = { 'a b' = 2 }", "'a b' cannot name a mesh axis", 1),
        (f"mesh = {{ a = {MAX_DEVICES}, b = 2 }}", "more than", 1),
        (MESH + "\n[[argument]]\nindex = 0\ndims = []", "unknown key 'argument'; did you mean 'arguments'?", 3),
        (MESH + "colour = 1", "unknown key 'colour'; known are mesh, arguments, results", 2),
        (MESH + "arguments = 3", "arguments takes tables; start each one with a line [[arguments]]", 2),
        (ENTRY + "macth = '*'\ndims = []", "unknown key 'macth'; did you mean 'match'?", 4),
        (ENTRY + "dims = []", "this [[arguments]] entry selects nothing", 4),
        (ENTRY + "match = '*'", "this [[arguments]] entry has no dims", 4),
        (ENTRY + "match = '*'\nregex = '.'\ndims = []", "has match and regex", 6),
        (ENTRY + "match = 3\ndims = []", "match takes a text, not 3", 4),
        (ENTRY + "regex = '('\ndims = []", "not a regular expression", 4),
        (ENTRY + "index = -1\ndims = []", "index takes a position from 0", 4),
        (ENTRY + "index = [0, 'a']\ndims = []", "index takes a position from 0", 4),
        (ENTRY + "index = 0\ndims = 'data'", "dims takes a list with one entry per dimension, not a text", 5),
        (ENTRY + "index = 0\ndims = [3]", "an entry of dims is", 5),
        (ENTRY + "index = 0\ndims = [['data', ['model']]]", "an entry of dims is", 5),
        (ENTRY + "index = 0\ndims = ['dta']", "the mesh has no axis 'dta'; it has 'data', 'model'", 5),
        (ENTRY + "index = 0\ndims = ['data', ['model', 'data']]", "axis 'data' is used 2 times in one tensor", 5),
        (ENTRY + "index = 0\ndims = []\n[[arguments]]\nindex = 1\ndims = ['x']", "the mesh has no axis 'x'", 8),
        (ENTRY + "index = 0\ndims = ['model:p']", "the mesh has no axis 'model:p'", 5),
        (ENTRY + "index = 0\ndims = [['data:p1', 'model']]", "the mesh has no axis 'data:p1'", 5),
        (ENTRY + "index = 0\ndims = [':p1']", "':p1' gives a priority to a dimension that is whole and closed", 5),
        (ENTRY + "index = 0\ndims = []\nreplicated = 3", "replicated takes a text or a list of texts, not 3", 6),
        (ENTRY + "index = 0\ndims = []\nreplicated = 'x'", "the mesh has no axis 'x'", 6),
        (ENTRY + "index = 0\ndims = ['data']\nunreduced = 'data'", "axis 'data' can stand once in dims, replicated", 6),
        (ENTRY + "index = 0\ndims = []\noptional = 1", "optional is true or false, not 1", 6),
        (ENTRY + "rank = -1\ndims = []", "rank takes a number from 0, not -1", 4),
        (ENTRY + "index = 0\ndims = [", "not TOML: ", 5),
        ("mesh = { data = 2", "not TOML: ", 1),
        ("a = 1979-13-01", "not TOML: ", 1),
    ],
)
def test_mistakes_are_told_at_their_line(text: str, message: str, line: int) -> None:
    with pytest.raises(UserError) as caught:
        parse(text, "r.toml")
    assert message in caught.value.message
    assert caught.value.where is not None
    assert (caught.value.where.file, caught.value.where.line) == ("r.toml", line)


def test_a_caret_points_at_the_key() -> None:
    with pytest.raises(UserError) as caught:
        parse(ENTRY + "  match = '*'\n  dims = ['dta']", "r.toml")
    assert caught.value.render().splitlines()[1:] == ["  dims = ['dta']", "  ^"]


def test_a_missing_file_and_one_that_is_no_text(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read the file"):
        load(str(tmp_path / "none.toml"))
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"mesh = 1\n\xff\xfe")
    with pytest.raises(UserError, match="not text") as caught:
        load(str(binary))
    assert caught.value.where == Where(str(binary), 2)


KEYS = st.sampled_from(
    ["mesh", "arguments", "results", "match", "regex", "index", "dims", "data", "x", "rank", "type", "replicated",
     "op", "nth", "result", "custom_call", "rule", "sizes", "reduction", "optional", "location"]
)
SCALARS = st.one_of(
    st.integers(-2, 9),
    st.sampled_from(["true", '""', '"data"', '"?"', '"data?"', '"["', "1.5", "1979-05-27", "10000000000000000000000"]),
).map(str)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        st.dictionaries(KEYS, inner, max_size=3).map(
            lambda table: "{ " + ", ".join(f"{k} = {v}" for k, v in table.items()) + " }"
        ),
    ),
    max_leaves=6,
)
LINES = st.one_of(
    st.builds("{} = {}".format, KEYS, VALUES),
    st.sampled_from(["[[arguments]]", "[[results]]", "[mesh]", "mesh = { data = 2 }", "dims = []", "# no"]),
    st.sampled_from(["[[constraints]]", "[[groups]]", "[[rules]]", "custom_call = 'f'", "rule = 'a (b c) -> ... a'"]),
    st.text("ab ().,->1_", max_size=12).map("rule = '{}'".format),
    st.text(string.printable, max_size=12),
    st.sampled_from(['"a\\nb" = 1', 'mesh = { "a\\nb" = 2 }', "match = \"\\n\"", "regex = '*'"]),
)


@settings(max_examples=400, deadline=None)
@given(st.one_of(st.lists(LINES, max_size=8).map("\n".join), st.text(max_size=60)))
def test_no_text_is_a_traceback(text: str) -> None:
    try:
        parse(text)
    except UserError as error:
        assert "\n" not in error.message
        assert error.render()


@pytest.mark.parametrize("text", ["a = " + "[" * 5000, "a = " + "9" * 5000, "a = " + "{ a = " * 5000])
def test_texts_that_break_toml_readers(text: str) -> None:
    with pytest.raises(UserError):
        parse(text)


def test_parts_of_regular_expressions_have_names() -> None:
    rules = parse(MESH + """
[names]
into = '''wq|wk
  |wv'''
[[arguments]]
regex = "^(?&into)$"
dims = ["", "model"]
about = "weights of attention"
[[arguments]]
match = "(?&into)"
dims = ["data"]
""")
    named, literal = rules.arguments
    assert named.selector.regex == "^(?:wq|wk|wv)$"
    assert named.about == "weights of attention"
    assert (literal.selector.match, literal.about) == ("(?&into)", "")


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ('names = "x"\n', 2, "names takes names with parts of regular expressions"),
        ("[names]\na = 3\n", 2, "names takes names with parts of regular expressions"),
        ('[names]\na = "x"\n[[arguments]]\nregex = "(?&b)"\ndims = []', 5, "[names] has no 'b'; it has 'a'"),
        ('[[arguments]]\nregex = "(?&b)"\ndims = []', 3, "[names] has no 'b'; it has none"),
        ('[names]\na = "("\n[[arguments]]\nregex = "(?&a)"\ndims = []', 5, "not a regular expression"),
        ('[[arguments]]\nregex = "x"\nabout = 3\ndims = []', 4, "about"),
    ],
)
def test_names_that_are_not(text: str, line: int, message: str) -> None:
    with pytest.raises(UserError) as refused:
        parse(MESH + text, "r.toml")
    assert message in refused.value.message
    assert refused.value.where is not None
    assert (refused.value.where.file, refused.value.where.line) == ("r.toml", line)
