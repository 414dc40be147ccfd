"""The two entry points: subcommands, exit codes, and what a user sees when something breaks."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import passes
from passes.cli import main as cli
from passes.errors import Mismatch, NativeFailure, UserError, Where

MODULE = "func.func @main(%a: tensor<4xf32>) -> tensor<4xf32> {\n  return %a : tensor<4xf32>\n}\n"


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable[[], Any]], None]]:
    """``command(body)`` installs a subcommand ``probe`` that calls ``body``."""

    def install(body: Callable[[], Any]) -> None:
        module = ModuleType("probe")
        module.__dict__.update(add_arguments=lambda parser: None, run=lambda args: body())
        monkeypatch.setitem(sys.modules, "probe", module)
        monkeypatch.setitem(cli.SUBCOMMANDS, "probe", ("probe", "calls the test back"))

    yield install


def raising(error: BaseException) -> Callable[[], Any]:
    def body() -> None:
        raise error

    return body


def test_help_names_every_subcommand(shlo: Callable[..., Any]) -> None:
    result = shlo("--help")
    assert result.code == 0 and not result.stderr
    listed = re.findall(r"^  (\w+) ", result.out, re.MULTILINE)
    assert listed == list(cli.SUBCOMMANDS)


def test_every_subcommand_keeps_the_contract(shlo: Callable[..., Any]) -> None:
    for name in cli.SUBCOMMANDS:
        result = shlo(name, "--help")
        assert result.code == 0, result.err
        assert result.out.startswith(f"usage: shlo {name} [options]")


def test_no_command_prints_the_help_where_errors_go(shlo: Callable[..., Any]) -> None:
    result = shlo()
    assert (result.code, result.stdout) == (1, b"")
    assert result.err == shlo("--help").out


def test_an_unknown_command_names_the_closest(shlo: Callable[..., Any]) -> None:
    assert shlo("verfy") == (1, b"", b"shlo: error: unknown command 'verfy'; did you mean 'verify'?\n")
    assert shlo("xyzzy") == (1, b"", b"shlo: error: unknown command 'xyzzy'; see shlo --help\n")
    assert shlo("--xyzzy") == (1, b"", b"shlo: error: unknown option '--xyzzy'; see shlo --help\n")


def test_versions(shlo: Callable[..., Any]) -> None:
    for words in (("--version",), ("opt", "--version"), ("opt", "-version")):
        result = shlo(*words)
        assert result.code == 0
        ours, jaxlib, stablehlo = result.out.splitlines()
        assert ours == f"stablehlo-passes {passes.__version__}"
        assert re.fullmatch(r"jaxlib \d+\.\d+.*", jaxlib)
        assert re.fullmatch(r"StableHLO \d+\.\d+\.\d+", stablehlo)


@pytest.mark.parametrize(("error", "code"), [(UserError, 1), (Mismatch, 2), (NativeFailure, 3)])
def test_user_errors_are_printed_with_their_place_and_code(
    error: type[UserError], code: int, shlo: Callable[..., Any], command: Callable[..., None]
) -> None:
    command(raising(error("it is wrong; do this", Where("f.mlir", 2, 3), snippet="ab c")))
    assert shlo("probe") == (code, b"", b"f.mlir:2:3: error: it is wrong; do this\nab c\n  ^\n")


def test_the_exit_code_of_a_command_is_the_process_s(shlo: Callable[..., Any], command: Callable[..., None]) -> None:
    command(lambda: 2)
    assert shlo("probe").code == 2


def test_an_interrupt_is_quiet(shlo: Callable[..., Any], command: Callable[..., None]) -> None:
    command(raising(KeyboardInterrupt()))
    assert shlo("probe") == (130, b"", b"")


def test_a_bug_is_one_line_and_a_saved_traceback(
    shlo: Callable[..., Any], command: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SHLO_TRACEBACK", raising=False)
    command(raising(KeyError("lost\nkey")))
    result = shlo("probe")
    assert (result.code, result.stdout) == (70, b"")
    line = re.fullmatch(r"shlo: internal error: KeyError: .*; please report it with (\S+) \(.*\)\n", result.err)
    assert line, result.err
    saved = Path(line[1])
    try:
        assert "Traceback" in saved.read_text() and "raising" not in result.err
    finally:
        saved.unlink()


def test_the_traceback_is_shown_when_asked_for(
    shlo: Callable[..., Any], command: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHLO_TRACEBACK", "1")
    command(raising(ValueError("broken")))
    result = shlo("probe")
    assert result.code == 70
    assert 'raise error\nValueError: broken\nshlo: internal error: ValueError: broken; ' in result.err
    Path(re.findall(r"report it with (\S+)", result.err)[0]).unlink()


def test_a_reader_that_leaves_early_is_no_error(tmp_path: Path) -> None:
    source = tmp_path / "m.mlir"
    source.write_text(MODULE)
    process = subprocess.Popen(
        [sys.executable, "-m", "passes.cli.main", "opt", str(source)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout and process.stderr
    process.stdout.close()
    with process.stderr:
        assert process.stderr.read() == b""
    assert process.wait() == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    source = tmp_path / "m.mlir"
    source.write_text(MODULE)
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "passes.cli.main", "opt", str(source)],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )
    assert (done.returncode, done.stderr) == (1, "<stdout>: error: cannot write the result: No space left on device\n")


@pytest.mark.parametrize(("entry", "words"), [("console", ["opt"]), ("console_opt", [])])
def test_installed_commands_end_cleanly(entry: str, words: list[str], tmp_path: Path) -> None:
    """They skip the interpreter's own end, so the whole output, handlers at exit and the exit code are checked."""
    long = "".join(f"func.func @f{i}(%a: tensor<4xf32>) -> tensor<4xf32> {{ return %a : tensor<4xf32> }}\n"
                   for i in range(3000))
    script = (
        "import atexit, pathlib, sys\natexit.register(pathlib.Path(sys.argv.pop(1)).touch)\n"
        f"from passes.cli.main import {entry}\n{entry}()"
    )
    for source, code in ((long, 0), ("module {", 1)):
        mark = tmp_path / f"left with {code}"
        done = subprocess.run([sys.executable, "-c", script, str(mark), *words], input=source, capture_output=True,
                              text=True, check=False)
        assert done.returncode == code
        assert done.stdout.count("func.func @f") == (3000 if code == 0 else 0)
        assert (done.stderr == "") == (code == 0)
        assert mark.exists()


@pytest.mark.parametrize(
    ("redirection", "message"),
    [
        ("<&-", "<stdin>: error: cannot read the program: standard input is closed\n"),
        (">&-", "<stdout>: error: cannot write the result: standard output is closed\n"),
    ],
)
def test_closed_streams_are_one_line(redirection: str, message: str) -> None:
    command = f"{shlex.quote(sys.executable)} -m passes.cli.main opt {redirection}"
    done = subprocess.run(["sh", "-c", command], input=MODULE, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", message)


def test_two_dashes_end_the_options(tmp_path: Path, shlo: Callable[..., Any]) -> None:
    source = tmp_path / "m.mlir"
    source.write_text(MODULE)
    plain = shlo("opt", source)
    assert plain.code == 0
    assert shlo("opt", "--", source) == shlo("opt", source, "--") == plain
    assert shlo("opt", "--", "--cse") == (1, b"", b"--cse: error: cannot read the file: No such file or directory\n")


def test_shlo_opt_is_shlo_opt(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    source = tmp_path / "m.mlir"
    source.write_text(MODULE)
    outputs = []
    for entry, words in ((cli.main, ["opt", str(source)]), (cli.main_opt, [str(source)])):
        assert entry(words) == 0
        outputs.append(capfdbinary.readouterr())
    assert outputs[0] == outputs[1] and outputs[0].err == b""
