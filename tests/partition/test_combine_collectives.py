"""Combined collectives compute the same on every device; which ones are combined, and up to how many bytes."""

from __future__ import annotations

import random

import pytest

from passes.execute import prepare
from passes.execute.verify import verify
from passes.partition.improve import Communication
from passes.partition.partition import partition
from passes.program import read
from passes.sharding.annotate import annotate
from passes.sharding.rules_file import load
from tests.doubled import doubled
from tests.partition.collective_programs import COLUMNS, all_gather, all_reduce, changed_and_executed
from tests.test_examples import EXAMPLES

T, D, W, G = "tensor<4x8xf32>", "tensor<4x8xf64>", "tensor<2x3xf32>", "tensor<8x3xf32>"


def program(*body: str, returned: str, types: str) -> str:
    lines = "\n".join(body)
    return f"func.func @main(%x: {T}, %y: {T}, %v: {W}, %w: {W}, %d: {D}) -> ({types}) {{\n{lines}\n" \
           f"return {returned} : {types}\n}}"


COMBINED = {
    "sums, with a use between": (
        program(
            f"%0 = {all_reduce('%x', T)}", f"%1 = stablehlo.negate %0 : {T}", f"%2 = {all_reduce('%v', W)}",
            f"%3 = stablehlo.sine %y : {T}", f"%4 = {all_reduce('%3', T)}",
            returned="%1, %2, %4", types=f"{T}, {W}, {T}",
        ),
        1,
    ),
    "gathers": (
        program(
            f"%0 = {all_gather('%v', W, G)}", f"%1 = stablehlo.negate %0 : {G}", f"%2 = {all_gather('%w', W, G)}",
            returned="%1, %2", types=f"{G}, {G}",
        ),
        1,
    ),
    "maxima": (
        program(
            f"%0 = {all_reduce('%x', T, body='maximum')}", f"%1 = {all_reduce('%v', W, body='maximum')}",
            returned="%0, %1", types=f"{T}, {W}",
        ),
        1,
    ),
    "two chains": (
        program(
            f"%0 = {all_reduce('%x', T)}", f"%1 = {all_reduce('%0', T, COLUMNS)}",
            f"%2 = {all_reduce('%y', T)}", f"%3 = {all_reduce('%2', T, COLUMNS)}",
            returned="%1, %3", types=f"{T}, {T}",
        ),
        2,
    ),
    "chains that would lock each other": (
        program(
            f"%0 = {all_reduce('%x', T)}", f"%1 = {all_reduce('%0', T, COLUMNS)}",
            f"%2 = {all_reduce('%y', T, COLUMNS)}", f"%3 = {all_reduce('%2', T)}",
            returned="%1, %3", types=f"{T}, {T}",
        ),
        4,
    ),
    "other bodies, groups and types": (
        program(
            f"%0 = {all_reduce('%x', T)}", f"%1 = {all_reduce('%x', T, body='maximum')}",
            f"%2 = {all_reduce('%x', T, COLUMNS)}", f"%3 = {all_reduce('%d', D)}",
            returned="%0, %1, %2, %3", types=f"{T}, {T}, {T}, {D}",
        ),
        4,
    ),
    "used in a branch": (
        program(
            f"%0 = {all_reduce('%x', T)}", "%i = stablehlo.constant dense<0> : tensor<i32>",
            '%1 = "stablehlo.case"(%i) ({', f"%5 = stablehlo.negate %0 : {T}", f"stablehlo.return %5 : {T}",
            f"}}, {{ stablehlo.return %y : {T} }}) : (tensor<i32>) -> {T}", f"%2 = {all_reduce('%y', T)}",
            returned="%1, %2", types=f"{T}, {T}",
        ),
        1,
    ),
    "in a branch": (
        program(
            "%i = stablehlo.constant dense<0> : tensor<i32>", '%0:2 = "stablehlo.case"(%i) ({',
            f"%1 = {all_reduce('%x', T)}", f"%2 = {all_reduce('%y', T)}", f"stablehlo.return %1, %2 : {T}, {T}",
            f"}}, {{ stablehlo.return %y, %x : {T}, {T} }}) : (tensor<i32>) -> ({T}, {T})",
            returned="%0#0, %0#1", types=f"{T}, {T}",
        ),
        1,
    ),
}


@pytest.mark.parametrize("executor", ["xla", "interpreter"])
@pytest.mark.parametrize("case", COMBINED)
def test_combined_collectives_compute_the_same(case: str, executor: str) -> None:
    text, count = COMBINED[case]
    _, after = changed_and_executed(text, "combine-collectives", executor)
    assert len(after) == count


def test_xla_itself_runs_a_combined_all_reduce(monkeypatch: pytest.MonkeyPatch) -> None:
    """Execution replaces small reductions by gathers with a fixed order; here XLA gets them as they are."""
    monkeypatch.setattr(prepare, "_LARGEST_GROUP", 1)
    text, count = COMBINED["sums, with a use between"]
    assert len(changed_and_executed(text, "combine-collectives")[1]) == count


@pytest.mark.parametrize(("limit", "count"), [(127, 3), (128, 3), (256, 2), (1 << 20, 1)])
def test_no_more_bytes_than_asked_for(limit: int, count: int) -> None:
    """Reductions of 128, 128, 24 and 24 bytes, filled up in order."""
    text = program(
        *(f"%{n} = {all_reduce(f'%{v}', t)}" for n, (v, t) in enumerate([("x", T), ("y", T), ("v", W), ("w", W)])),
        returned="%0, %1, %2, %3", types=f"{T}, {T}, {W}, {W}",
    )
    _, after = changed_and_executed(text, f"combine-collectives{{bytes={limit}}}")
    assert len(after) == count


@pytest.mark.parametrize("seed", range(12))
def test_random_programs(seed: int) -> None:
    """Ops and collectives on random values: combined in whatever circle-free way, the program computes the same."""
    choose = random.Random(seed)
    values, lines = ["%x", "%y"], []
    for number in range(30):
        one, other = choose.choice(values), choose.choice(values)
        lines.append(
            choose.choice([
                f"%{number} = {all_reduce(one, T, body='maximum')}",
                f"%{number} = {all_reduce(one, T, COLUMNS, body='maximum')}",
                f"%{number} = stablehlo.maximum {one}, {other} : {T}",
                f"%{number} = stablehlo.subtract {one}, {other} : {T}",
            ])
        )
        values.append(f"%{number}")
    text = program(*lines, returned=", ".join(values[-8:]), types=", ".join([T] * 8))
    before, after = changed_and_executed(text, "combine-collectives")
    assert len(after) <= len(before)


@pytest.mark.parametrize("plan", ["decoder/dp", "gpt/megatron_fsdp"])
def test_train_steps(plan: str) -> None:
    """As many bytes in fewer collectives; in double precision, where a mistake cannot hide behind rounding."""
    path = EXAMPLES / plan.split("/")[0] / "train_step.mlir"
    text = doubled(path.read_text())
    programs, reports = [], []
    for limit in (0, 1 << 21):
        per_device = read.parse(text, str(path))
        annotate(per_device, load(str(EXAMPLES / f"{plan}.toml")))
        reports.append(partition(per_device, communication=Communication(combine=limit)))
        programs.append(per_device)
    alone, combined = ({(t.kind, t.axes): t for t in report.traffic} for report in reports)
    assert {key: t.bytes for key, t in alone.items()} == {key: t.bytes for key, t in combined.items()}
    assert sum(t.count for t in combined.values()) < sum(t.count for t in alone.values())
    assert "collectives are combined into" in "\n".join(reports[1].lines())
    found = verify(read.parse(text, str(path)), programs[1], reports[1].side_table)
    assert found.ok, found.lines()
    assert max(result.figures.relative_l2 for result in found.results) < 1e-12
