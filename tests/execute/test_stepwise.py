"""Programs taken apart into steps, and modules made of some of them."""

from __future__ import annotations

import numpy as np
import pytest

from passes.errors import UserError
from passes.execute import stepwise
from passes.execute.executor import Executor
from passes.program import read

CAPTURES = """
func.func private @f(%x: tensor<f32>) -> tensor<f32> {
  %0 = stablehlo.negate %x : tensor<f32>
  return %0 : tensor<f32>
}
func.func private @unused(%x: tensor<f32>) -> tensor<f32> {
  return %x : tensor<f32>
}
func.func @main(%p: tensor<i1>, %x: tensor<f32>) -> tensor<f32> {
  %0 = stablehlo.cosine %x : tensor<f32>
  %1 = "stablehlo.if"(%p) ({
    %2 = stablehlo.add %0, %x : tensor<f32>
    stablehlo.return %2 : tensor<f32>
  }, {
    %2 = func.call @f(%0) : (tensor<f32>) -> tensor<f32>
    stablehlo.return %2 : tensor<f32>
  }) : (tensor<i1>) -> tensor<f32>
  return %1 : tensor<f32>
}
"""

TOKENS = """
func.func @main(%x: tensor<f32>) -> tensor<f32> {
  %t = stablehlo.create_token : !stablehlo.token
  %0 = stablehlo.cosine %x : tensor<f32>
  %u = stablehlo.after_all %t, %t : !stablehlo.token
  %1 = stablehlo.sine %0 : tensor<f32>
  return %1 : tensor<f32>
}
"""


def test_what_regions_capture_counts_as_taken() -> None:
    steps = stepwise.take_apart(read.parse(CAPTURES))
    cosine, branch = steps.steps
    assert (cosine.inputs, cosine.outputs) == ((1,), (2,))
    assert (branch.taken, branch.inputs) == ((0, 2, 1, 2), (0, 2, 1))
    assert steps.returned == (3,)
    # The value numbers: the arguments are taken last by the branch, its result is returned.
    assert steps.last_use == [1, 1, 1, 2]


def test_a_fragment_takes_captured_values_and_brings_its_functions() -> None:
    steps = stepwise.take_apart(read.parse(CAPTURES))
    found = stepwise.fragment(steps, [steps.steps[1]], [3])
    assert found.arguments == (0, 2, 1)
    assert found.program.module.operation.verify()
    text = str(found.program.module)
    assert "@f" in text
    assert "@unused" not in text
    arrays = [np.array(False), np.array(2, np.float32), np.array(5, np.float32)]
    assert Executor("interpreter").run_global(found.program, arrays)[0] == -2


def test_fed_values_come_in_even_where_they_are_made() -> None:
    steps = stepwise.take_apart(read.parse(TOKENS))
    some = [steps.steps[1], steps.steps[3]]
    assert stepwise.fragment(steps, some, [2, 4]).arguments == (0,)
    assert stepwise.fragment(steps, some, [2, 4], fed={2}).arguments == (0, 2)


def test_groups_end_only_where_values_can_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stepwise, "_STEPS_TOGETHER", 1)
    steps = stepwise.take_apart(read.parse(TOKENS))
    assert [[s.name.partition(".")[2] for s in group] for group in stepwise.groups(steps)] == [
        ["create_token", "cosine", "after_all"], ["sine"],
    ]
    with pytest.raises(UserError, match=r"takes a value of type !stablehlo\.token"):
        stepwise.fragment(steps, [steps.steps[2]], [])


def test_groups_fit_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    program = read.parse(TOKENS.replace("f32", "4xf32").replace("tensor<f", "tensor<"))
    monkeypatch.setattr(stepwise, "_BYTES_TOGETHER", 40)
    steps = stepwise.take_apart(program)
    weights = [sum(steps.size(v) for s in g for v in {*s.inputs, *s.outputs}) for g in stepwise.groups(steps)]
    assert len(weights) == 2
    assert max(weights) <= 40


def test_calls_are_inlined_and_nothing_else_is_touched() -> None:
    dead = "%9 = stablehlo.sine %x : tensor<f32>"
    program = read.parse(CAPTURES.replace("%0 = stablehlo.cosine", f"{dead}\n  %0 = stablehlo.cosine"))
    steps = stepwise.take_apart(stepwise.inlined(program))
    assert [s.name for s in steps.steps] == ["stablehlo.sine", "stablehlo.cosine", "stablehlo.if"]
    assert "func.call" not in str(steps.program.module)
    assert "func.call" in str(program.module)


def test_steps_before_a_step_up_to_known_values() -> None:
    steps = stepwise.take_apart(read.parse(TOKENS))
    last = steps.steps[3]
    assert [s.index for s in stepwise.ancestors(steps, last, lambda value: False)] == [1, 3]
    assert [s.index for s in stepwise.ancestors(steps, last, {2}.__contains__)] == [3]


COMPOSITE = """
func.func private @double(%x: tensor<f32>) -> tensor<f32> {
  %0 = stablehlo.add %x, %x : tensor<f32>
  return %0 : tensor<f32>
}
func.func @main(%x: tensor<f32>) -> tensor<f32> {
  %0 = stablehlo.composite "mine.double" %x {decomposition = @double} : (tensor<f32>) -> tensor<f32>
  %1 = func.call @double(%0) : (tensor<f32>) -> tensor<f32>
  return %1 : tensor<f32>
}
"""


def test_calls_and_composites_are_taken_apart_too() -> None:
    program = read.parse(COMPOSITE)
    steps = stepwise.take_apart(stepwise.inlined(program))
    assert [step.name for step in steps.steps] == ["stablehlo.add", "stablehlo.add"]
    assert "stablehlo.composite" in program.text


def test_a_region_is_taken_apart_with_what_it_takes_from_outside() -> None:
    steps = stepwise.take_apart(read.parse(CAPTURES))
    inside, outside = stepwise.region(steps, steps.steps[1], 0)
    # Its block has no arguments; it takes the cosine and the second argument.
    assert outside == (2, 1) and inside.arguments == 2
    assert [step.name for step in inside.steps] == ["stablehlo.add"]
    assert (inside.steps[0].taken, inside.returned) == ((0, 1), (2,))
    found = stepwise.fragment(inside, inside.steps, inside.returned)
    (result,) = Executor().run_global(found.program, [np.array(x, np.float32) for x in (1, 2)])
    assert result == 3
    more, outside = stepwise.region(steps, steps.steps[1], 1, besides=[1])
    assert outside == (2, 1) and more.last_use[:2] == [0, -1]
