"""The worker process: deaths, limits, what it prints, and how it ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from passes.errors import EXIT_NATIVE, NativeFailure, UserError, Where
from passes.pipeline import reproducer, runner, wire, worker_process
from passes.pipeline.options import Count, PassFailure, PassStatistics, Remarked, Removed, RunOptions
from tests.pipeline.conftest import INPUTS
from tests.pipeline.programs import TEXT, UNPROVEN, program

SHARDED = 'sdy.mesh @mesh = <["x"=4, "y"=2]>\n'
ARGUMENT = "tensor<10x4xf32> {sdy.sharding = #sdy.sharding<@mesh, [{\"x\"}, {}]>}"

# Native passes and inputs that kill the process they run in (jaxlib 0.10.2), with the last words of the pass.
CRASHERS = {
    "a check fails": (
        f"{SHARDED}func.func @main(%a: {ARGUMENT}) -> tensor<10x4xf32> {{\n  return %a : tensor<10x4xf32>\n}}",
        "builtin.module(cse,sdy-convert-global-to-local)",
        "pass 'sdy-convert-global-to-local' died in native code (SIGABRT: Check failed: localType Failed to compute "
        "local type due to non-divisible sharding (convert_global_to_local.cc:77))",
    ),
    "memory is not there": (
        f"{SHARDED}func.func @main(%a: tensor<8xf32> {{sdy.sharding = #sdy.sharding<@mesh, [{{\"x\"}}]>}}, "
        "%c: tensor<f32>) -> tensor<16xf32> {\n"
        "  %0 = stablehlo.pad %a, %c, low = [4], high = [4], interior = [0] : (tensor<8xf32>, tensor<f32>) -> "
        "tensor<16xf32>\n  return %0 : tensor<16xf32>\n}",
        "builtin.module(sdy-convert-global-to-local)",
        "pass 'sdy-convert-global-to-local' died in native code (SIGSEGV)",
    ),
    "a division by zero is folded": (
        "func.func @main() -> tensor<i32> {\n  %0 = stablehlo.constant dense<1> : tensor<i32>\n"
        "  %1 = stablehlo.constant dense<0> : tensor<i32>\n  %2 = stablehlo.divide %0, %1 : tensor<i32>\n"
        "  return %2 : tensor<i32>\n}",
        "builtin.module(stablehlo-refine-shapes)",
        "pass 'stablehlo-refine-shapes' died in native code (SIGFPE)",
    ),
}


def fail(text: str, pipeline: str, **options: Any) -> NativeFailure:
    subject = program(text)
    before = subject.module.operation.get_asm(enable_debug_info=True)
    with pytest.raises(NativeFailure) as caught:
        runner.run(subject, pipeline, RunOptions(**options))
    assert subject.module.operation.get_asm(enable_debug_info=True) == before
    assert caught.value.exit_code == EXIT_NATIVE
    assert "\n" not in caught.value.message
    return caught.value


def reproducer_of(error: UserError) -> str:
    match = re.search(r"reproduce with: shlo-opt --run-reproducer (\S+)$", error.message)
    assert match is not None, error.message
    return match[1]


@pytest.fixture(autouse=True)
def _temporary_reproducers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


@pytest.mark.parametrize("name", CRASHERS)
def test_a_native_death_has_a_name_and_a_reproducer(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    text, pipeline, message = CRASHERS[name]
    error = fail(text, pipeline)
    assert error.message.startswith(message)
    assert str(error.where) == "in.mlir"
    recorded = reproducer.read(reproducer_of(error))
    again = fail(recorded.module_text, recorded.pipeline)
    assert again.message.partition(";")[0] == error.message.partition(";")[0]
    # No stack trace, no check in three lines of noise.
    assert capfd.readouterr().err == ""


@pytest.mark.usefixtures("samples")
@pytest.mark.parametrize("name", ["SIGABRT", "SIGSEGV", "SIGBUS", "SIGFPE", "SIGTERM", "SIGKILL"])
def test_signals(name: str) -> None:
    error = fail(TEXT, f"builtin.module({UNPROVEN},sample-tag,sample-die{{signal={name}}},cse)")
    assert error.message.startswith(f"pass 'sample-die' died in native code ({name})")
    recorded = reproducer.read(reproducer_of(error))
    assert recorded.pipeline == ("builtin.module(sample-die)" if name == "SIGABRT"
                                 else f"builtin.module(sample-die{{signal={name}}})")
    # The module is the one right before the pass: tagged, not yet merged.
    assert 'stablehlo.tag = "done"' in recorded.module_text
    assert recorded.module_text.count("stablehlo.add") == 2


@pytest.mark.usefixtures("samples")
@pytest.mark.parametrize(("words", "check", "printed"), [
    ("hello|LLVM ERROR: out of luck|#0 0x1234 f|", "out of luck", "hello\n"),
    ("F1123 07:06:1795417571.130807 10770 external/a/b.cc:7] Check failed: x == y (1 vs. 2)|*** Check failure",
     "Check failed: x == y (1 vs. 2) (b.cc:7)", ""),
    ("hello|python: a.cpp:3: void f(): Assertion `x' failed.|", "python: a.cpp:3: void f(): Assertion `x' failed.",
     "hello\n"),
    ("hello|free(): invalid pointer|", "free(): invalid pointer", "hello\n"),
    ("hello|world|", "", "hello\nworld\n"),
])
def test_last_words_are_condensed_and_the_rest_is_shown(
    words: str, check: str, printed: str, capfd: pytest.CaptureFixture[str]
) -> None:
    error = fail(TEXT, f"builtin.module({UNPROVEN},sample-die{{words=\"{words}\"}})")
    reason = f"SIGABRT: {check}" if check else "SIGABRT"
    assert error.message.startswith(f"pass 'sample-die' died in native code ({reason});")
    assert capfd.readouterr().err == printed


@pytest.mark.usefixtures("samples")
def test_a_death_from_outside_is_made_good(tmp_path: Path) -> None:
    subject = program()
    once = tmp_path / "once"
    runner.run(subject, f"builtin.module({UNPROVEN},sample-die{{signal=SIGKILL once={once}}},sample-tag)")
    assert 'stablehlo.tag = "done"' in str(subject.module)


@pytest.mark.usefixtures("samples")
def test_a_death_that_does_not_come_again_is_still_a_death(tmp_path: Path) -> None:
    pipeline = f"builtin.module({UNPROVEN},sample-die{{once={tmp_path / 'once'}}})"
    error = fail(TEXT, pipeline)
    assert error.message.startswith(f"a pass of {pipeline} died in native code (SIGABRT, but not when repeated)")
    assert reproducer.read(reproducer_of(error)).pipeline == pipeline


def test_the_reproducer_goes_where_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, pipeline, _ = CRASHERS["a check fails"]
    runner.run(program(), f"builtin.module({UNPROVEN})")
    monkeypatch.chdir(tmp_path)  # The worker stays in the folder it started in.
    assert reproducer_of(fail(text, pipeline, crash_reproducer="r.mlir")) == str(tmp_path / "r.mlir")
    error = fail(text, pipeline, crash_reproducer="absent/r.mlir")
    assert "cannot write the reproducer: No such file or directory" in error.message


def test_a_pass_inside_a_native_pipeline_is_named() -> None:
    # Shardy looks up every callee in the outermost module.
    text = "module {\n  module {\n    func.func @p(%a: tensor<f32>) -> tensor<f32> {\n      " \
        "%0 = call @p(%a) : (tensor<f32>) -> tensor<f32>\n      return %0 : tensor<f32>\n    }\n  }\n}"
    error = fail(text, "builtin.module(cse,sdy-import-pipeline)")
    assert re.match(
        r"pass '([\w-]+)' \(of 'sdy-import-pipeline'\) died in native code "
        r"\(SIGABRT: Check failed: funcOp Failed to lookup function: p \(utils.cc:\d+\)\); ", error.message
    )
    recorded = reproducer.read(reproducer_of(error))
    assert re.fullmatch(r"builtin.module\(sdy-[\w-]+\)", recorded.pipeline)
    assert "sdy-import-pipeline" not in recorded.pipeline
    fail(recorded.module_text, recorded.pipeline)


def test_a_worker_that_cannot_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ctypes.py").write_text("raise ImportError('not today')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    worker_process.shut_down()
    try:
        with pytest.raises(UserError) as caught:
            runner.run(program(), f"builtin.module({UNPROVEN})")
    finally:
        worker_process.shut_down()
    assert caught.value.message == (
        "the worker process for native passes does not start (ImportError: not today); "
        "--no-isolation runs them in this process"
    )
    assert capfd.readouterr().err == ""


@pytest.mark.usefixtures("samples")
def test_a_time_limit() -> None:
    error = fail(TEXT, f"builtin.module({UNPROVEN},sample-sleep)", timeout=0.5)
    assert error.message.startswith("pass 'sample-sleep' died in native code (no end after 0.5 seconds)")
    assert runner.run(program(), f"builtin.module({UNPROVEN})").isolated


@pytest.mark.usefixtures("samples")
def test_what_passes_print_comes_out_once_and_in_order(capfd: pytest.CaptureFixture[str]) -> None:
    options = RunOptions(print_before=("sample-tag",), print_after=("cse",))
    runner.run(program(), f"builtin.module({UNPROVEN},sample-tag{{loud=true}},cse)", options)
    out, err = capfd.readouterr()
    assert out == ""  # Standard output is for the program.
    kept = [line for line in err.splitlines() if line.startswith(("// -----//", "on "))]
    assert kept == [
        "// -----// IR Dump Before Tag: sample-tag{loud=true} //----- //",
        "on stdout",
        "on stderr",
        "// -----// IR Dump After Cse: cse //----- //",
    ]


def test_text_that_looks_like_last_words_is_shown_if_the_worker_lives(capfd: pytest.CaptureFixture[str]) -> None:
    output = worker_process.Output(silent=False)
    output.feed(b"one\nLLVM ERR")
    output.feed(b"OR: no, only text\ntwo\nthr")
    assert capfd.readouterr().err == "one\n"
    output.finish()
    assert capfd.readouterr().err == "LLVM ERROR: no, only text\ntwo\nthr"


def test_one_worker_serves_many_runs() -> None:
    runner.run(program(), f"builtin.module({UNPROVEN})")
    first = worker_process.running()
    with pytest.raises(PassFailure):
        runner.run(program("module {}"), "builtin.module(stablehlo-refine-shapes)")
    runner.run(program(), f"builtin.module({UNPROVEN})")
    assert worker_process.running() is first is not None


def test_a_worker_that_died_meanwhile_is_replaced() -> None:
    runner.run(program(), f"builtin.module({UNPROVEN})")
    worker = worker_process.running()
    assert worker is not None
    os.kill(worker.pid, signal.SIGKILL)
    runner.run(program(), f"builtin.module({UNPROVEN})")
    assert worker_process.running() not in (None, worker)


def test_unregistered_ops_survive_the_journey() -> None:
    from passes import _mlir
    from passes.program import read

    text = 'func.func @main() {\n  "foo.bar"() {a = #foo.b} : () -> ()\n  return\n}'
    subject = read.parse(text, "in.mlir", allow_unregistered=True)
    try:
        runner.run(subject, f"builtin.module({UNPROVEN})")
        assert '"foo.bar"() {a = #foo.b}' in str(subject.module)
    finally:
        _mlir.context().allow_unregistered_dialects = False
    # The next run in the same worker does not allow them any more.
    assert runner.run(program(), f"builtin.module({UNPROVEN})").isolated


PARENT = f"""
import signal
import sys
from passes.pipeline import registry, runner, worker_process
from passes.program import read
# A job in the background of a shell ignores it.
signal.signal(signal.SIGINT, signal.default_int_handler)
registry.OWN_PASSES["sample-sleep"] = "sample_passes:Sleep"
text = {TEXT!r}
runner.run(read.parse(text), "builtin.module({UNPROVEN})")
print(worker_process.running().pid, flush=True)
runner.run(read.parse(text), "builtin.module({UNPROVEN},sample-sleep)")
"""


def wait_for(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + 30
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_busy_worker_dies_with_its_parent(how: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(INPUTS), *sys.path))},
    ) as parent:
        assert parent.stdout is not None and parent.stderr is not None
        worker = int(parent.stdout.readline())
        assert parent.stderr.readline() == "asleep\n"
        parent.send_signal(how)
        parent.wait(timeout=30)
        parent.stderr.read()
    assert wait_for(lambda: gone(worker))


def test_an_idle_worker_ends_with_its_parent() -> None:
    script = PARENT.replace(",sample-sleep", "")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stderr == ""
    assert gone(int(done.stdout))


def test_shutting_down_leaves_nothing_behind() -> None:
    runner.run(program(), f"builtin.module({UNPROVEN})")
    worker = worker_process.running()
    assert worker is not None
    descriptors = len(os.listdir("/proc/self/fd"))
    worker_process.shut_down()
    assert gone(worker.pid)
    assert len(os.listdir("/proc/self/fd")) == descriptors - 3
    worker_process.shut_down()


def test_frames_come_back_from_any_pieces() -> None:
    read_end, write_end = os.pipe()
    wire.send(write_end, {"a": [1, "é"]}, b"\0\1")
    wire.send(write_end, {}, b"")
    os.close(write_end)
    with os.fdopen(read_end, "rb") as file:
        data = file.read()
    for size in (1, 3, len(data)):
        buffer = wire.Buffer()
        pieces = [data[at : at + size] for at in range(0, len(data), size)]
        frames = [frame for piece in pieces for frame in buffer.feed(piece)]
        assert frames == [wire.Frame({"a": [1, "é"]}, b"\0\1"), wire.Frame({}, b"")]


def test_errors_travel_whole() -> None:
    from passes._mlir import Diagnostic
    from passes.errors import Mismatch

    where = Where("f", 1, 2)
    diagnostic = Diagnostic("error", where, "m", (Diagnostic("note", None, "n"),))
    errors = [
        UserError("m"),
        Mismatch("m", where, snippet="s", notes=((None, "n"), (where, "o"))),
        PassFailure("m", where, pass_name="p", diagnostics=(diagnostic,)),
    ]
    for error in errors:
        back = wire.decode_error(wire.encode_error(error))
        assert type(back) is type(error)
        assert vars(back) == vars(error)
    removed = Removed("w", "o", Where("f", 2), "", 1)
    statistics = (PassStatistics(("builtin.module",), "p", (Count("n", "h", 3),)), PassStatistics(("a", "b"), "q"),
                  PassStatistics((), "r", removals=(removed, replace(removed, where=None, name="n"))),
                  PassStatistics((), "s", removals=()),
                  PassStatistics((), "t", remarks=(Remarked(Where("f", 2), ("w", "")), Remarked(None, ()))))
    assert wire.decode_statistics(wire.encode_statistics(statistics)) == statistics
