"""Annotation: what is written, what stays, and what is refused."""

from __future__ import annotations

import pytest

from passes.errors import UserError
from passes.program.read import Program
from passes.program.read import parse as parse_module
from passes.program.write import to_text
from passes.sharding.annotate import annotate
from passes.sharding.rules_file import parse

MESH = "mesh = { data = 2, model = 4 }\n"
BODY = """
func.func @main(%a: tensor<8x16xf32> loc("params['wq']"), %b: tensor<8x16xf32> loc("params['wk']"),
                %c: tensor<6xf32> loc("x"))
    -> (tensor<8x16xf32> {jax.result_info = "loss"}, tensor<6xf32>) {
  return %a, %c : tensor<8x16xf32>, tensor<6xf32>
}
"""


def program(text: str = BODY) -> Program:
    return parse_module(text, "m.mlir")


def annotated(rules: str, text: str = BODY) -> str:
    found = program(text)
    annotate(found, parse(MESH + rules, "r.toml"))
    assert found.module.operation.verify()
    return to_text(found.module)


def test_arguments_and_results_by_name_and_index() -> None:
    text = annotated("""
[[arguments]]
match = "params['*']"
dims = ["", "model"]
[[arguments]]
index = 2
dims = ["data?"]
[[results]]
match = "loss"
dims = [["data", "model"], ""]
""")
    assert 'sdy.mesh @mesh = <["data"=2, "model"=4]>' in text
    assert text.count('sdy.sharding = #sdy.sharding<@mesh, [{}, {"model"}]>') == 2
    assert '%arg2: tensor<6xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"data", ?}]>}' in text
    assert '{jax.result_info = "loss", sdy.sharding = #sdy.sharding<@mesh, [{"data", "model"}, {}]>}' in text


def test_arguments_by_rank_and_type() -> None:
    text = annotated("""
[[arguments]]
rank = 2
dims = ["", "model"]
[[arguments]]
match = "*"
type = "6x*"
dims = ["data"]
replicated = "model"
[[arguments]]
regex = "k"
type = "tensor<8x16xf32>"
dims = ["data:p1", "?"]
""")
    assert '%arg0: tensor<8x16xf32> {sdy.sharding = #sdy.sharding<@mesh, [{}, {"model"}]>}' in text
    assert '%arg1: tensor<8x16xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"data"}p1, {?}]>}' in text
    assert '%arg2: tensor<6xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"data"}], replicated={"model"}>}' in text


def test_the_last_entry_holds_and_only_it_has_to_fit() -> None:
    text = annotated("""
[[arguments]]
match = "*"
dims = ["model"]
[[arguments]]
regex = "^params"
dims = ["data", ""]
[[arguments]]
match = "x"
dims = [""]
""")
    assert text.count('[{"data"}, {}]') == 2
    assert '%arg2: tensor<6xf32> {sdy.sharding = #sdy.sharding<@mesh, [{}]>}' in text


def test_an_equal_mesh_is_used_and_a_different_one_left_alone() -> None:
    rule = "[[arguments]]\nindex = 0\ndims = ['data', '']"
    assert "#sdy.sharding<@m, " in annotated(rule, 'sdy.mesh @m = <["data"=2, "model"=4]>' + BODY)
    text = annotated(rule, 'sdy.mesh @mesh = <["x"=8]>' + BODY)
    assert 'sdy.mesh @mesh = <["x"=8]>' in text
    assert 'sdy.mesh @mesh_0 = <["data"=2, "model"=4]>' in text
    assert "#sdy.sharding<@mesh_0, " in text
    permuted = annotated(rule, 'sdy.mesh @mesh = <["data"=2, "model"=4], device_ids=[7, 6, 5, 4, 3, 2, 1, 0]>' + BODY)
    assert "#sdy.sharding<@mesh_0, " in permuted


def test_annotations_no_rule_names_stay() -> None:
    text = """
sdy.mesh @mesh = <["data"=2, "model"=4]>
func.func @main(%a: tensor<8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"data"}]>, tf.aliasing_output = 0 : i32},
                %b: tensor<8xf32>) -> tensor<8xf32> {
  return %a : tensor<8xf32>
}"""
    kept = annotated("[[arguments]]\nindex = 1\ndims = ['model']", text)
    assert '{sdy.sharding = #sdy.sharding<@mesh, [{"data"}]>, tf.aliasing_output = 0 : i32}' in kept
    assert '%arg1: tensor<8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"model"}]>}' in kept
    replaced = annotated("[[arguments]]\nindex = 0\ndims = ['model']", text)
    assert '{sdy.sharding = #sdy.sharding<@mesh, [{"model"}]>, tf.aliasing_output = 0 : i32}' in replaced


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (
            "[[arguments]]\nmatch = \"params['wx']\"\ndims = []",
            "match \"params['wx']\" selects no argument; the arguments are params['wq'], params['wk'], x",
        ),
        ("[[results]]\nregex = '^l0ss$'\ndims = []", 'regex "^l0ss$" selects no result; the results are loss, result1'),
        (
            "[[arguments]]\nmatch = 'params*'\nrank = 3\ndims = []",
            'match "params*" and rank 3 selects no argument; the arguments in question are of type 8x16xf32',
        ),
        (
            "[[results]]\ntype = '*xbf16'\ndims = []",
            'type "*xbf16" selects no result; the results in question are of type 8x16xf32, 6xf32',
        ),
        ("[[arguments]]\nindex = 3\ndims = []", "there is no argument 3; the program has 3"),
        (
            "[[arguments]]\nindex = 0\ndims = ['data']",
            "argument 0 'params['wq']' has shape 8x16, that is 2 dimensions, but dims has 1",
        ),
        (
            "[[arguments]]\nmatch = 'x'\ndims = ['', '']",
            "argument 2 'x' has shape 6, that is 1 dimension, but dims has 2",
        ),
        (
            "[[arguments]]\nmatch = 'x'\ndims = ['model']",
            "argument 2 'x' has shape 6: dimension 0 of 6 does not divide by axis 'model' of size 4; "
            "a size of 4 or 8 would do, or 3 or 6 shards",
        ),
        (
            "[[results]]\nindex = 1\ndims = [['data', 'model']]",
            "result 1 'result1' has shape 6: dimension 0 of 6 does not divide by the 8 shards of axes "
            "'data' of size 2 x 'model' of size 4; a size of 8 would do, or 6 shards",
        ),
    ],
)
def test_what_does_not_fit_is_refused_by_name_and_nothing_is_written(rules: str, message: str) -> None:
    found = program()
    before = to_text(found.module)
    with pytest.raises(UserError) as caught:
        annotate(found, parse(MESH + rules, "r.toml"))
    assert caught.value.message == message
    assert str(caught.value.where).startswith("r.toml:")
    assert to_text(found.module) == before


def test_a_long_list_of_names_shows_the_close_ones_first() -> None:
    arguments = ", ".join(f'%a{i}: tensor<4xf32> loc("layer{i}.weight")' for i in range(40))
    found = program(f'func.func @main({arguments}, %b: tensor<4xf32> loc("output.bias")) {{ return }}')
    with pytest.raises(UserError) as caught:
        annotate(found, parse(MESH + "[[arguments]]\nmatch = 'output.baas'\ndims = ['']"))
    assert "the arguments are output.bias, layer0.weight" in caught.value.message
    assert caught.value.message.endswith(" and 29 more")


def test_what_cannot_be_sharded() -> None:
    token = "func.func @main(%t: !stablehlo.token, %d: tensor<?x4xf32>) { return }"
    with pytest.raises(UserError, match="argument 0 'arg0' is no tensor"):
        annotate(program(token), parse(MESH + "[[arguments]]\nindex = 0\ndims = []"))
    with pytest.raises(UserError, match=r"has shape .x4: dimension 0 has no static size"):
        annotate(program(token), parse(MESH + "[[arguments]]\nindex = 1\ndims = ['data', '']"))


def test_the_entry_function_can_be_named() -> None:
    found = program("""
func.func @one(%a: tensor<8xf32>) { return }
func.func @two(%a: tensor<8xf32>) { return }""")
    rules = parse(MESH + "[[arguments]]\nindex = 0\ndims = ['data']")
    with pytest.raises(UserError, match="--entry"):
        annotate(found, rules)
    report = annotate(found, rules, "two")
    assert [(a.index, a.name, a.sharding.spec()) for a in report.arguments] == [(0, "arg0", "P('data')")]
    assert to_text(found.module).count("sdy.sharding =") == 1
