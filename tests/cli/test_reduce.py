from __future__ import annotations

import importlib
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from passes.errors import EXIT_INPUT, EXIT_OK
from passes.pipeline import registry, worker_process

INPUTS = Path(__file__).parent / "inputs"
EXAMPLES = Path(__file__).parents[2] / "examples"
LM_HEAD = EXAMPLES / "lm_head" / "forward.mlir"
VOCABULARY = str(EXAMPLES / "lm_head" / "vocabulary.toml")
# It compiles nothing, which is what tiny programs spend their time on.
QUICK = ("--executor", "interpreter")
SCALED = Path(__file__).parents[1] / "execute" / "inputs" / "scaled_layer.mlir"

Shlo = Callable[..., Any]


def test_line(words: str) -> str:
    """A command that looks with Python for ``words`` in its file."""
    code = f"import sys; sys.exit(0 if {words!r} in open(sys.argv[1]).read() else 7)"
    return f"{shlex.quote(sys.executable)} -S -c {shlex.quote(code)}"


test_line.__test__ = False  # type: ignore[attr-defined] # It is no test, whatever its name.


@pytest.fixture
def careless(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Registers the pass ``sum-for-max`` here and for a worker of its own."""
    monkeypatch.syspath_prepend(str(INPUTS))
    monkeypatch.setenv("PYTHONPATH", str(INPUTS))
    importlib.import_module("careless_passes")
    monkeypatch.setitem(registry.OWN_PASSES, "sum-for-max", "careless_passes:SumForMax")
    worker_process.shut_down()
    yield
    worker_process.shut_down()


def test_command(shlo: Shlo, tmp_path: Path) -> None:
    result = shlo("reduce", LM_HEAD, "--test", test_line("stablehlo.exponential"), "-o", tmp_path / "out.mlir")
    assert result.code == EXIT_OK
    text = (tmp_path / "out.mlir").read_text()
    assert text.count("stablehlo.") == 1 and "stablehlo.exponential" in text
    assert result.err.startswith(f"{LM_HEAD}: 53 ops reduced to 4; ") and result.err.count("\n") == 1


def test_braces_are_the_file(shlo: Shlo, tmp_path: Path) -> None:
    result = shlo("reduce", LM_HEAD, "--test", f"{test_line('stablehlo.log')} {{}} {{}}.unused")
    assert result.code == EXIT_OK and "stablehlo.log" in result.out


def test_command_that_does_not_hold(shlo: Shlo) -> None:
    result = shlo("reduce", LM_HEAD, "--test", test_line("stablehlo.rng"))
    assert result.code == EXIT_INPUT and not result.out
    assert "the test does not hold" in result.err


@pytest.mark.parametrize(("options", "message"), [
    (["--test", "/no/such/command {}"], "cannot run '/no/such/command': No such file or directory"),
    (["--test", "'"], "cannot read the command"),
    (["--test", " "], "the command is empty"),
    ([], "one of the arguments --test --mismatch"),
    (["--mismatch", "no-such-pass"], "builtin.module(no-such-pass)"),
    (["--error", "(", "builtin.module(cse)"], "'(' is no regular expression"),
    (["--error", "x"], "--error: expected 2 arguments"),
    (["--crash", "builtin.module(cse)", "--rules", "x.toml"], "--rules and --mesh go with --mismatch-partition"),
    (["--mismatch-partition", "--mesh", "data=2"], "--mesh goes with --rules"),
    (["--mismatch-partition", "--rules", VOCABULARY, "--mesh", "q=2"], "the mesh has no axis 'model'; it has 'q'"),
    (["--mismatch-partition"], "the module has no mesh"),
    (["--test", "true", "--state", "/dev/null/x"], "cannot use the folder"),
])
def test_bad_usage(shlo: Shlo, options: list[str], message: str) -> None:
    result = shlo("reduce", LM_HEAD, *options)
    assert result.code == EXIT_INPUT and not result.out
    assert message in result.err


def test_shell_characters_mean_nothing(shlo: Shlo, tmp_path: Path) -> None:
    victim = tmp_path / "made-by-a-shell"
    shlo("reduce", LM_HEAD, "--test", f"true ; touch {victim}")
    assert not victim.exists()


def test_command_that_hangs_is_ended_with_its_children(shlo: Shlo, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    line = f"sh -c 'sleep 1000 & echo $! > {note}; wait'"
    result = shlo("reduce", LM_HEAD, "--test", line, "--timeout", "1")
    assert result.code == EXIT_INPUT and "'sh' did not finish within 1 s" in result.err
    assert has_ended(int(note.read_text()))


def has_ended(pid: int) -> bool:
    """Whether a process that got its signal is gone, or a zombie nobody waits for, before long."""
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def test_error_text(shlo: Shlo) -> None:
    dividing = """
func.func @main(%a: tensor<8xf32>) -> tensor<8xf32> {
  %0 = stablehlo.tanh %a : tensor<8xf32>
  %1 = "mine.no_such_op"(%0) : (tensor<8xf32>) -> tensor<8xf32>
  %2 = stablehlo.sine %1 : tensor<8xf32>
  return %2 : tensor<8xf32>
}"""
    result = shlo(
        "reduce", "--allow-unregistered-dialect", "--error", "failed to legalize",
        "builtin.module(stablehlo-legalize-to-vhlo)", stdin=dividing,
    )
    assert result.code == EXIT_OK, result.err
    assert "no_such_op" in result.out and "tanh" not in result.out and "sine" not in result.out


DIVIDES = """
func.func @main(%a: tensor<i32>, %b: tensor<4xf32>) -> (tensor<i32>, tensor<4xf32>) {
  %0 = stablehlo.constant dense<1> : tensor<i32>
  %1 = stablehlo.constant dense<0> : tensor<i32>
  %2 = stablehlo.divide %0, %1 : tensor<i32>
  %3 = stablehlo.add %2, %a : tensor<i32>
  %4 = stablehlo.tanh %b : tensor<4xf32>
  return %3, %4 : tensor<i32>, tensor<4xf32>
}"""


def test_native_death(shlo: Shlo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    result = shlo("reduce", "--crash", "builtin.module(stablehlo-refine-shapes)", stdin=DIVIDES)
    assert result.code == EXIT_OK, result.err
    assert result.out.count("stablehlo.divide") == 1
    assert "stablehlo.add" not in result.out and "stablehlo.tanh" not in result.out
    assert not list(tmp_path.glob("*reproducer*")), "a reproducer for each death"


def test_native_death_stays_the_same_one(shlo: Shlo, tmp_path: Path) -> None:
    """The shards of the reduced program must not become too small to divide, which the same pass dies of too."""
    sharded = tmp_path / "sharded.mlir"
    shlo("shard", EXAMPLES / "lm_head" / "forward.mlir", "--rules", EXAMPLES / "lm_head" / "hidden.toml", "-o", sharded)
    pipeline = "builtin.module(sdy-convert-global-to-local)"
    before = shlo("opt", sharded, f"--pass-pipeline={pipeline}")
    reduced = shlo("reduce", sharded, "--crash", pipeline)
    assert reduced.code == EXIT_OK, reduced.err
    after = shlo("opt", f"--pass-pipeline={pipeline}", stdin=reduced.out)
    place = re.compile(r"\(SIG.*\(\w+\.cc:\d+\)\)")
    assert place.search(before.err)[0] == place.search(after.err)[0]  # type: ignore[index]
    assert reduced.out.count(" = stablehlo.") <= 2


def test_program_that_survives(shlo: Shlo) -> None:
    result = shlo("reduce", LM_HEAD, "--crash", "builtin.module(cse)")
    assert result.code == EXIT_INPUT and "no native code dies in builtin.module(cse)" in result.err


@pytest.mark.usefixtures("careless")
def test_mismatch(shlo: Shlo) -> None:
    result = shlo("reduce", SCALED, "--mismatch", "builtin.module(sum-for-max)", *QUICK)
    assert result.code == EXIT_OK, result.err
    assert result.out.count(" = stablehlo.") <= 2
    assert "stablehlo.maximum" in result.out


def test_mismatch_of_a_right_pipeline(shlo: Shlo) -> None:
    result = shlo("reduce", LM_HEAD, "--mismatch", "builtin.module(cse,dead-ops)")
    assert result.code == EXIT_INPUT and "the test does not hold" in result.err


def test_mismatch_partition_of_a_right_program(shlo: Shlo) -> None:
    result = shlo("reduce", LM_HEAD, "--mismatch-partition", "--rules", VOCABULARY)
    assert result.code == EXIT_INPUT and "the test does not hold" in result.err


def test_mismatch_partition(shlo: Shlo, monkeypatch: pytest.MonkeyPatch) -> None:
    """An all_reduce that adds where it must take the maximum."""
    from passes.execute.reduction import predicates
    from passes.program.read import Program
    from tests.cli.inputs.careless_passes import SumForMax

    right = predicates.partition

    def wrong(program: Program, entry: str | None = None) -> Any:
        report = right(program, entry)
        SumForMax().run(program.module.operation, None)  # type: ignore[arg-type]
        return report

    monkeypatch.setattr(predicates, "partition", wrong)
    result = shlo("reduce", SCALED, "--mismatch-partition", *QUICK)
    assert result.code == EXIT_OK, result.err
    assert "sdy.mesh" in result.out and result.out.count(" = stablehlo.") < 15


def test_state_is_resumed(shlo: Shlo, tmp_path: Path) -> None:
    words = ["reduce", LM_HEAD, "--test", test_line("stablehlo.log"), "--state", tmp_path / "state"]
    first, second = shlo(*words), shlo(*words)
    assert first.code == second.code == EXIT_OK
    assert second.out == first.out
    assert "; 0 programs tested" in second.err and "; 0 programs tested" not in first.err
    other = shlo(*words[:3], test_line("stablehlo.add"), *words[4:])
    assert other.code == EXIT_INPUT and "another program or by another test" in other.err


def test_no_progress_where_nobody_looks(shlo: Shlo) -> None:
    assert "\r" not in shlo("reduce", LM_HEAD, "--test", test_line("stablehlo.log")).err


def test_progress_on_a_terminal(tmp_path: Path) -> None:
    import pty

    controller, terminal = pty.openpty()
    words = [sys.executable, "-m", "passes.cli.main", "reduce", str(LM_HEAD), "--test", test_line("stablehlo.log")]
    root = Path(__file__).parents[2]
    done = subprocess.run(words, stdout=subprocess.DEVNULL, stderr=terminal, cwd=root, check=False)
    os.close(terminal)
    shown = os.read(controller, 1_000_000).decode()
    os.close(controller)
    assert done.returncode == EXIT_OK
    assert "\r4 ops, " in shown and " programs tested\x1b[K" in shown


def test_killed_reduction_goes_on(tmp_path: Path) -> None:
    """Killed whenever a few more answers are known, the reduction ends where it would have ended."""
    state, out = tmp_path / "state", tmp_path / "out.mlir"
    words = [sys.executable, "-m", "passes.cli.main", "reduce", str(LM_HEAD), "--test", test_line("stablehlo.log"),
             "--state", str(state), "-o", str(out)]
    root = Path(__file__).parents[2]
    for known in (1, 6, 13, 21):
        process = subprocess.Popen(words, stderr=subprocess.DEVNULL, cwd=root)
        while process.poll() is None and answers(state) < known:
            time.sleep(0.002)
        process.kill()
        process.wait()
    assert not out.exists()
    before = answers(state)
    subprocess.run(words, stderr=subprocess.DEVNULL, cwd=root, check=True)
    assert answers(state) > before >= 21
    assert out.read_text().count(" = stablehlo.") == 1 and "stablehlo.log" in out.read_text()


def answers(state: Path) -> int:
    """How many programs a reduction knows about."""
    path = state / "answers"
    return path.read_text().count("\n") if path.exists() else 0
