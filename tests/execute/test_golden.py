"""Golden values: the same bits as the whole program, nothing computed twice, whole whatever happens to the process."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from passes.execute import golden, inputs, stepwise
from passes.execute.arrays import same_bits
from passes.execute.executor import Executor
from passes.execute.store import Store
from passes.program import read

ROOT = Path(__file__).parents[2]
DECODER = ROOT / "examples" / "decoder" / "forward.mlir"

SMALL = """
func.func private @twice(%x: tensor<4xf32>) -> tensor<4xf32> {
  %0 = stablehlo.add %x, %x : tensor<4xf32>
  return %0 : tensor<4xf32>
}
func.func @main(%a: tensor<4xf32>, %b: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xbf16>, tensor<i32>) {
  %0 = stablehlo.subtract %a, %b : tensor<4xf32>
  %1 = stablehlo.subtract %b, %a : tensor<4xf32>
  %2 = func.call @twice(%0) : (tensor<4xf32>) -> tensor<4xf32>
  %3 = stablehlo.convert %1 : (tensor<4xf32>) -> tensor<4xbf16>
  %n = stablehlo.constant dense<3> : tensor<i32>
  %zero = stablehlo.constant dense<0> : tensor<i32>
  %4:2 = stablehlo.while(%i = %n, %x = %2) : tensor<i32>, tensor<4xf32>
    cond {
      %5 = stablehlo.compare GT, %i, %zero : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %5 : tensor<i1>
    } do {
      %one = stablehlo.constant dense<1> : tensor<i32>
      %5 = stablehlo.subtract %i, %one : tensor<i32>
      %6 = stablehlo.multiply %x, %0 : tensor<4xf32>
      stablehlo.return %5, %6 : tensor<i32>, tensor<4xf32>
    }
  return %4#1, %3, %4#0 : tensor<4xf32>, tensor<4xbf16>, tensor<i32>
}
"""


def _program(source: str | Path) -> read.Program:
    return read.parse(source) if isinstance(source, str) else read.read(str(source))


def _evaluate(source: str | Path, folder: Path, match: str | None = None, seed: int = 0) -> golden.Golden:
    program = _program(source)
    given = inputs.make(program, seed=seed).arrays
    steps = stepwise.take_apart(stepwise.inlined(program))
    return golden.evaluate(steps, given, Store(folder), Executor(), match=match)


def _whole(source: str | Path) -> list[np.ndarray]:
    program = _program(source)
    return Executor().run_global(program, inputs.make(program).arrays)


def _equal(left: list[np.ndarray], right: list[np.ndarray]) -> bool:
    return len(left) == len(right) and all(map(same_bits, left, right))


@pytest.mark.parametrize("source", [SMALL, DECODER], ids=["small", "decoder"])
def test_op_by_op_gives_the_bits_of_the_whole_program(source: str | Path, tmp_path: Path) -> None:
    assert _equal(_evaluate(source, tmp_path).results(), _whole(source))


@pytest.mark.parametrize("together", [1, 2, 1000])
def test_grouping_changes_no_bit(together: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stepwise, "_STEPS_TOGETHER", together)
    assert _equal(_evaluate(SMALL, tmp_path).results(), _whole(SMALL))


def test_a_second_run_starts_no_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = _evaluate(SMALL, tmp_path)
    monkeypatch.setattr(Executor, "run_global", lambda *_: pytest.fail("an engine was started"))
    second = _evaluate(SMALL, tmp_path)
    assert (first.computed, second.computed) == (len(first.steps.steps), 0)
    assert _equal(first.results(), second.results())


def test_other_inputs_and_other_operand_orders_are_other_values(tmp_path: Path) -> None:
    first = _evaluate(SMALL, tmp_path)
    assert _evaluate(SMALL, tmp_path, seed=1).computed > 0
    subtractions = [s for s in first.steps.steps if s.name == "stablehlo.subtract"]
    assert same_bits(first.load(subtractions[0].outputs[0]), -first.load(subtractions[1].outputs[0]))
    keys = golden.keys(first.steps, first.inputs, Executor())
    assert len(set(keys)) == len(keys)


def test_only_matching_values_and_results_are_kept(tmp_path: Path) -> None:
    found = _evaluate(SMALL, tmp_path, match="subtract")
    kept = {found.steps.steps[found.steps.maker(v) or 0].name for v in found.kept}
    assert kept == {"stablehlo.subtract", "stablehlo.while", "stablehlo.convert"}
    files = list(tmp_path.rglob("*.npy"))
    assert len(files) == len({s.digest for s in found.kept.values()})
    assert _equal(found.results(), _whole(SMALL))
    assert _evaluate(SMALL, tmp_path, match="subtract").computed == 0


def test_released_values_are_made_again_when_they_are_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stepwise, "_STEPS_TOGETHER", 1)
    _evaluate(SMALL, tmp_path, match="while")
    found = _evaluate(SMALL, tmp_path)
    assert len(found.kept) == sum(len(s.outputs) for s in found.steps.steps)
    assert _equal(found.results(), _whole(SMALL))


@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "empty"])
def test_damage_is_a_miss(damage: str, tmp_path: Path) -> None:
    first = _evaluate(SMALL, tmp_path)
    expected = first.results()
    for path in tmp_path.rglob("*.npy"):
        data = path.read_bytes()
        if damage == "remove":
            path.unlink()
        else:
            path.write_bytes({"flip": data[:-1] + bytes([data[-1] ^ 1]), "cut": data[:-1], "empty": b""}[damage])
    assert _equal(_evaluate(SMALL, tmp_path).results(), expected)


def test_a_torn_journal_line_is_no_line(tmp_path: Path) -> None:
    _evaluate(SMALL, tmp_path)
    journal = tmp_path / "journal.jsonl"
    lines = journal.read_text().rstrip("\n")
    journal.write_text(lines[:-20])
    assert _equal(_evaluate(SMALL, tmp_path).results(), _whole(SMALL))
    assert _evaluate(SMALL, tmp_path).computed == 0


def _kill_and_finish(kills: int, folder: Path, seed: int) -> None:
    """Ends runs of the command at random moments; what they leave must be whole, and the last run completes."""
    chance = random.Random(seed)
    command = [sys.executable, "-m", "passes.cli.main", "run", str(DECODER), "--save-intermediates", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    expected = _whole(DECODER)
    started = time.monotonic()
    clean = folder.with_name("clean")
    subprocess.run([*command[:-1], str(clean)], env=environment, check=True, stdout=subprocess.DEVNULL)
    lasts = time.monotonic() - started
    for _ in range(kills):
        run = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            run.wait(timeout=chance.uniform(0.2, lasts))
        except subprocess.TimeoutExpired:
            run.send_signal(signal.SIGKILL)
            run.wait()
        store = Store(folder)
        for path in folder.rglob("values/*/*.npy"):
            found = [s for results in store.computed.values() for s in results if s and s.digest == path.stem]
            # Files that no journal line names yet are whole as well.
            array = store.load(found[0]) if found else np.load(path, allow_pickle=False)
            assert array is not None
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert "executed op by op" in done.stdout
    found = _evaluate(DECODER, folder)
    assert found.computed == 0
    assert _equal(found.results(), expected)
    # The unfinished files of all who were ended are gone.
    assert not list((folder / "unfinished").iterdir())


def test_a_killed_run_leaves_nothing_broken(tmp_path: Path) -> None:
    _kill_and_finish(3, tmp_path / "killed", seed=1)


@pytest.mark.long
def test_twenty_killed_runs_leave_nothing_broken(tmp_path: Path) -> None:
    _kill_and_finish(20, tmp_path / "killed", seed=2)
