from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from passes.errors import UserError
from passes.execute.reduction.reduce import NotInteresting, reduce
from passes.execute.reduction.search import Search
from passes.execute.reduction.state import State, open_state
from passes.program import read, write
from passes.program.read import Program
from passes.program.walk import operations

EXAMPLES = Path(__file__).parents[2] / "examples"

NESTED = """
func.func @main(%a: tensor<8x6xf32>, %n: tensor<i32>, %p: tensor<i1>) -> (tensor<8x6xf32>, tensor<8x6xf32>) {
  %one = stablehlo.constant dense<1> : tensor<i32>
  %x = call @twice(%a) : (tensor<8x6xf32>) -> tensor<8x6xf32>
  %0:2 = stablehlo.while(%i = %n, %v = %x) : tensor<i32>, tensor<8x6xf32>
  cond {
    %c = stablehlo.constant dense<3> : tensor<i32>
    %l = stablehlo.compare LT, %i, %c : (tensor<i32>, tensor<i32>) -> tensor<i1>
    stablehlo.return %l : tensor<i1>
  } do {
    %j = stablehlo.add %i, %one : tensor<i32>
    %w = "stablehlo.if"(%p) ({
      %t = stablehlo.tanh %v : tensor<8x6xf32>
      %s = stablehlo.sine %t : tensor<8x6xf32>
      stablehlo.return %s : tensor<8x6xf32>
    }, {
      %f = stablehlo.negate %v : tensor<8x6xf32>
      stablehlo.return %f : tensor<8x6xf32>
    }) : (tensor<i1>) -> tensor<8x6xf32>
    stablehlo.return %j, %w : tensor<i32>, tensor<8x6xf32>
  }
  return %0#1, %x : tensor<8x6xf32>, tensor<8x6xf32>
}
func.func private @twice(%a: tensor<8x6xf32>) -> tensor<8x6xf32> {
  %0 = stablehlo.add %a, %a : tensor<8x6xf32>
  %1 = stablehlo.cosine %0 : tensor<8x6xf32>
  return %1 : tensor<8x6xf32>
}
"""


def names(program: Program) -> list[str]:
    return [op.name for op in operations(program.module)]


def has(*wanted: str) -> Callable[[Program], bool]:
    return lambda program: set(wanted) <= set(names(program))


def text_of(program: Program) -> str:
    return write.to_text(program.module)


def example(path: str) -> Program:
    return read.read(str(EXAMPLES / path))


@pytest.mark.parametrize("kept", ["stablehlo.sine", "stablehlo.negate", "stablehlo.cosine", "stablehlo.compare"])
def test_only_the_op_that_matters_is_left(kept: str) -> None:
    reduced = reduce(read.parse(NESTED), has(kept))
    assert names(reduced) == ["builtin.module", "func.func", kept, "func.return"]


def test_dimensions_shrink_together() -> None:
    reduced = reduce(example("lm_head/train_step.mlir"), has("stablehlo.dot_general", "stablehlo.gather"))
    assert not re.search(r"\b(64|512)\b|[<x](64|512)x", text_of(reduced))
    assert len(names(reduced)) <= 6


def test_regions_go_where_they_are_not_needed_and_stay_where_they_are() -> None:
    reduced = reduce(read.parse(NESTED), has("stablehlo.while", "stablehlo.tanh"))
    assert "stablehlo.if" not in names(reduced) and "func.call" not in names(reduced)
    assert len(names(reduced)) <= 7


def test_what_is_dead_stays_if_it_is_of_interest() -> None:
    dead = "%d = stablehlo.floor %x : tensor<8x6xf32>"
    program = read.parse(NESTED.replace("return %0#1, %x", f"{dead}\nreturn %0#1, %x"))
    reduced = reduce(program, has("stablehlo.floor"))
    assert "stablehlo.floor" in names(reduced) and len(names(reduced)) == 4


def test_every_candidate_verifies_and_has_the_entry() -> None:
    seen: list[str] = []

    def interesting(program: Program) -> bool:
        assert program.module.operation.verify()
        seen.append(text_of(program))
        return "stablehlo.tanh" in names(program)

    reduced = reduce(read.parse(NESTED.replace("@main", "@serve")), interesting)
    assert all("@serve" in text for text in seen)
    # The program itself is looked at with its locations and without them.
    assert len(seen[1:]) == len(set(seen[1:])), "a program was judged twice"
    assert text_of(reduced) in seen


def test_same_outcome_each_time() -> None:
    outcomes = {text_of(reduce(example("lm_head/forward.mlir"), has("stablehlo.gather"))) for _ in range(2)}
    assert len(outcomes) == 1


def test_shardings_stay_with_the_values_that_are_cut() -> None:
    program = read.parse("""
sdy.mesh @m = <["x"=2]>
func.func @main(%a: tensor<4xf32>) -> tensor<4xf32> {
  %0 = stablehlo.tanh %a {sdy.sharding = #sdy.sharding_per_value<[<@m, [{"x"}]>]>} : tensor<4xf32>
  %1 = stablehlo.sine %0 : tensor<4xf32>
  %2 = stablehlo.cosine %1 {sdy.sharding = #sdy.sharding_per_value<[<@m, [{"x"}]>]>} : tensor<4xf32>
  return %2 : tensor<4xf32>
}""")
    reduced = reduce(program, lambda p: ".sine" in text_of(p) and text_of(p).count("sdy.sharding =") == 2)
    assert "(%arg0: tensor<1xf32> {sdy.sharding = #sdy.sharding<@m, [{\"x\"}]>})" in text_of(reduced)
    assert "stablehlo.tanh" not in names(reduced)


def test_donated_arguments_follow_their_results() -> None:
    program = read.parse("""
func.func @main(%a: tensor<4xf32> {tf.aliasing_output = 1 : i32}, %b: tensor<f32>) -> (tensor<f32>, tensor<4xf32>) {
  %0 = stablehlo.tanh %b : tensor<f32>
  %1 = stablehlo.sine %a : tensor<4xf32>
  return %0, %1 : tensor<f32>, tensor<4xf32>
}""")
    reduced = reduce(program, lambda p: "sine" in text_of(p) and "tf.aliasing_output" in text_of(p))
    assert "tf.aliasing_output = 0" in text_of(reduced)


def test_program_without_interest_is_an_error() -> None:
    with pytest.raises(NotInteresting, match="does not hold for the-file itself"):
        reduce(read.parse(NESTED, "the-file"), has("stablehlo.rng"))


def test_reason_why_the_program_cannot_be_judged() -> None:
    def interesting(program: Program) -> bool:
        raise UserError("no such pass")

    with pytest.raises(NotInteresting, match="no such pass"):
        reduce(read.parse(NESTED), interesting)


def test_programs_that_cannot_be_judged_are_not_of_interest() -> None:
    def interesting(program: Program) -> bool:
        if "stablehlo.while" not in names(program):
            raise UserError("this needs a loop")
        return True

    assert "stablehlo.while" in names(reduce(read.parse(NESTED), interesting))


class Interruption(Exception):
    pass


def interrupted(count: int, asked: list[str]) -> Callable[[Program], bool]:
    def interesting(program: Program) -> bool:
        if len(asked) == count:
            raise Interruption
        asked.append(text_of(program))
        return has("stablehlo.log")(program)

    return interesting


@pytest.mark.parametrize("count", [1, 2, 5, 11, 17, 23])
def test_interrupted_reduction_goes_on(tmp_path: Path, count: int) -> None:
    state = State(tmp_path)
    asked: list[str] = []
    with pytest.raises(Interruption):
        reduce(example("lm_head/forward.mlir"), interrupted(count, asked), state=state)
    resumed: list[str] = []
    reduced = reduce(example("lm_head/forward.mlir"), interrupted(-1, resumed), state=state)
    assert text_of(reduced) == text_of(reduce(example("lm_head/forward.mlir"), has("stablehlo.log")))
    assert not set(asked[1:]) & set(resumed)


def test_finished_reduction_asks_nothing(tmp_path: Path) -> None:
    state = State(tmp_path)
    first = reduce(example("lm_head/forward.mlir"), has("stablehlo.log"), state=state)

    def interesting(program: Program) -> bool:
        raise AssertionError("this is known")

    again = reduce(example("lm_head/forward.mlir"), interesting, state=state)
    assert text_of(again) == text_of(first)


def test_state_belongs_to_one_program_and_predicate(tmp_path: Path) -> None:
    open_state(str(tmp_path / "s"), b"a", "test")
    open_state(str(tmp_path / "s"), b"a", "test")
    for program, predicate in ((b"b", "test"), (b"a", "other")):
        with pytest.raises(UserError, match="another program or by another test"):
            open_state(str(tmp_path / "s"), program, predicate)


def test_state_does_not_take_a_folder_with_other_files(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("")
    with pytest.raises(UserError, match="holds no reduction"):
        open_state(str(tmp_path), b"a", "test")


def test_half_a_line_of_an_interrupted_run_is_harmless(tmp_path: Path) -> None:
    state = State(tmp_path)
    whole, half = "a" * 64, "b" * 64
    (tmp_path / "answers").write_text(f"\n{half} ")
    state.answer(whole, True)
    assert state.answers() == {whole: True}


def test_report_tells_of_progress() -> None:
    sizes: list[int] = []

    def report(search: Search) -> None:
        sizes.append(search.size.ops)

    reduce(read.parse(NESTED), has("stablehlo.sine"), report=report)
    assert sizes == sorted(sizes, reverse=True) and sizes[-1] == 4


def test_what_only_a_called_function_needs_is_reached() -> None:
    """The value of interest is dead once the calls around it are inlined."""
    program = read.parse("""
func.func @main(%a: tensor<4xf32>) -> tensor<4xf32> {
  %0:2 = call @outer(%a) : (tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>)
  return %0#0 : tensor<4xf32>
}
func.func private @outer(%a: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
  %0:2 = call @inner(%a) : (tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>)
  return %0#0, %0#1 : tensor<4xf32>, tensor<4xf32>
}
func.func private @inner(%a: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
  %0 = stablehlo.tanh %a : tensor<4xf32>
  %1 = stablehlo.sine %a : tensor<4xf32>
  return %0, %1 : tensor<4xf32>, tensor<4xf32>
}""")
    reduced = reduce(program, has("stablehlo.sine"))
    assert names(reduced) == ["builtin.module", "func.func", "stablehlo.sine", "func.return"]


DYNAMIC = """
func.func @main(%a: tensor<?xf32>, %c: tensor<4xcomplex<f32>>) -> (tensor<?xf32>, tensor<4xcomplex<f32>>) {
  %0 = stablehlo.tanh %a : tensor<?xf32>
  %1 = stablehlo.sine %0 : tensor<?xf32>
  %2 = stablehlo.exponential %c : tensor<4xcomplex<f32>>
  %3 = stablehlo.log %2 : tensor<4xcomplex<f32>>
  return %1, %3 : tensor<?xf32>, tensor<4xcomplex<f32>>
}"""


@pytest.mark.parametrize("kept", ["stablehlo.sine", "stablehlo.log"])
@pytest.mark.parametrize("tokens", ["", "%t = stablehlo.create_token : !stablehlo.token"])
def test_types_that_have_no_zero(kept: str, tokens: str) -> None:
    """A predicate that objects to new arguments asks for zeros, of which there are none for dynamic shapes."""
    program = read.parse(DYNAMIC.replace("  %0", f"  {tokens}\n  %0"))
    reduced = reduce(program, lambda p: kept in names(p) and "%arg2" not in text_of(p))
    assert kept in names(reduced) and len(names(reduced)) <= 5
