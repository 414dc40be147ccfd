"""The ``.mlir`` harness itself: the same files pass under lit and in process, and a wrong CHECK fails under both."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

TESTS = Path(__file__).resolve().parent
BODY = "func.func @main(%a: tensor<4xf32>) -> tensor<4xf32> {\n  return %a : tensor<4xf32>\n}\n"

# Name of the file -> (RUN and CHECK lines, whether they hold).
FILES = {
    "right": ("// RUN: shlo-opt %s | filecheck %s\n// CHECK: func.func @main(\n", True),
    "wrong_check": ("// RUN: shlo-opt %s | filecheck %s\n// CHECK: func.func @other(\n", False),
    "wrong_not": ("// RUN: shlo-opt %s | filecheck %s\n// CHECK-NOT: func.func\n", False),
    "second_line_fails": ("// RUN: shlo-opt %s > %t\n// RUN: not shlo-opt %s\n", False),
    "first_of_a_pipe_fails": ("// RUN: shlo-opt %s.gone | shlo-opt %s\n", False),
    "after_and": ("// RUN: shlo-opt %s -o %t && filecheck %s < %t\n// CHECK: @other(\n", False),
    "expected_failure": ("// RUN: not shlo-opt %s.gone 2>&1 | filecheck %s\n// CHECK: No such file\n", True),
    "errors_stay_out_of_pipes": ("// RUN: shlo-opt %s --dump-pass-pipeline | filecheck %s\n"
                                 "// CHECK: builtin.module(\n", False),
    "merged_errors": ("// RUN: shlo-opt %s --dump-pass-pipeline 2>&1 | filecheck %s\n"
                      "// CHECK: builtin.module()\n", True),
    "errors_to_a_file": ("// RUN: shlo-opt %s --dump-pass-pipeline 2> %t > %t.out\n// RUN: filecheck %s < %t\n"
                         "// CHECK: builtin.module()\n// CHECK-NOT: func\n", True),
    "continued": ("// RUN: shlo-opt %s \\\n// RUN:   | filecheck %s --check-prefix=OTHER\n// OTHER: @main\n", True),
    "continued_wrong": ("// RUN: shlo-opt %s \\\n// RUN:   | filecheck %s --check-prefix=OTHER\n// OTHER: @x\n", False),
    "folder": ("// RUN: shlo-opt %S/right.mlir | filecheck %s\n// CHECK: @main\n", True),
    "other_commands": ("// RUN: cat %s | shlo-opt - | shlo opt | filecheck %s\n// CHECK: @main\n", True),
    "no_run_line": ("// CHECK: @main\n", False),
}
RIGHT = {name for name, (_, holds) in FILES.items() if holds}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A suite with every file of `FILES`, and one in a folder of inputs, which is no test."""
    place = tmp_path_factory.mktemp("suite")
    for name, (lines, _) in FILES.items():
        (place / f"{name}.mlir").write_text(lines + BODY)
    (place / "inputs").mkdir()
    (place / "inputs" / "no_test.mlir").write_text(BODY)
    (place / "lit.cfg.py").write_text(
        f"lit_config.load_config(config, {str(TESTS / 'lit.cfg.py')!r})\n"
        f"config.test_source_root = {str(place)!r}\nconfig.test_exec_root = {str(place / 'run')!r}\n"
    )
    return place


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS)])}


def lit(*words: str) -> dict[str, str]:
    """What lit says of each file, by name."""
    script = "import sys; from lit.main import main; main()"
    done = subprocess.run([sys.executable, "-c", script, "-a", "-j", "2", *words], capture_output=True, text=True,
                          env=environment(), check=False)
    verdicts = {}
    for line in done.stdout.splitlines():
        verdict, _, rest = line.partition(": ")
        if verdict in ("PASS", "FAIL", "UNRESOLVED") and ".mlir" in rest:
            verdicts[Path(rest.split(" :: ")[1].split(".mlir")[0]).name] = verdict
    assert verdicts, done.stdout + done.stderr
    return verdicts


def test_lit_tells_right_from_wrong(folder: Path) -> None:
    verdicts = lit(str(folder))
    assert set(verdicts) == set(FILES)
    assert {name for name, verdict in verdicts.items() if verdict == "PASS"} == RIGHT
    assert verdicts["no_run_line"] == "UNRESOLVED"


def test_pytest_tells_right_from_wrong(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "conftest", "-p", "no:cacheprovider", "-rA", "-W", "error",
         "-c", os.devnull, "--rootdir", str(folder), str(folder)],
        capture_output=True, text=True, env=environment(), cwd=folder, check=False,
    )  # fmt: skip
    verdicts = {
        Path(line.split()[1].split(".mlir")[0]).name: line.split()[0]
        for line in done.stdout.splitlines()
        if line.startswith(("PASSED", "FAILED"))
    }
    assert set(verdicts) == set(FILES), done.stdout + done.stderr
    assert {name for name, verdict in verdicts.items() if verdict == "PASSED"} == RIGHT, done.stdout


def test_the_suite_s_own_files_pass_under_lit() -> None:
    """pytest collects and runs them by itself."""
    files = {p.stem for p in TESTS.rglob("*.mlir") if "inputs" not in p.parts}
    verdicts = lit(str(TESTS))
    assert files <= set(verdicts)
    assert {name for name, verdict in verdicts.items() if verdict != "PASS"} == set()


@pytest.fixture(scope="module")
def conftest() -> ModuleType:
    spec = importlib.util.spec_from_file_location("harness", TESTS / "conftest.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_native_code_prints_is_captured(conftest: ModuleType) -> None:
    def body() -> int:
        print("result")
        os.write(2, b"from native code\n")
        print("from Python", file=sys.stderr)
        return 5

    assert conftest._captured(body) == (5, b"result\n", b"from native code\nfrom Python\n")
    assert conftest._captured(body, merge=True) == (5, b"from native code\nfrom Python\nresult\n", b"")


def test_an_internal_error_is_no_expected_failure(conftest: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conftest, "_in_process", lambda words: lambda: int(words[1]))
    conftest.execute("not shlo 1", {})
    for line in ("not shlo 0", "not shlo 70", "shlo 1", "shlo 0 | shlo 1", "shlo 1 | shlo 0", "shlo 0 && shlo 1"):
        with pytest.raises(conftest.RunFailure):
            conftest.execute(line, {})
