"""Bad input to ``shlo opt``: one line that names what is wrong, exit code 1, no traceback, the output untouched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

GOOD = b"func.func @main(%a: tensor<4xf32>) -> tensor<4xf32> {\n  return %a : tensor<4xf32>\n}\n"
WRONG_TYPE = b"""func.func @main(%a: tensor<4xf32>) -> tensor<4xf32> {
  %0 = stablehlo.add %a, %a : tensor<5xf32>
  return %0 : tensor<5xf32>
}
"""
UNKNOWN_OP = b"""func.func @main(%a: tensor<4xf32>) -> tensor<4xf32> {
  %0 = stablehlo.addd %a, %a : tensor<4xf32>
  return %0 : tensor<4xf32>
}
"""
UNKNOWN_DIALECT = b"""func.func @main(%a: tensor<4xf32>) -> tensor<4xf32> {
  %0 = "mine.op"(%a) : (tensor<4xf32>) -> tensor<4xf32>
  return %0 : tensor<4xf32>
}
"""

# What the file holds (None: there is no file), the options, and the first line of the error behind "FILE" or "shlo".
CASES: dict[str, tuple[bytes | None, tuple[str, ...], str]] = {
    "missing file": (None, (), "FILE: error: cannot read the file: No such file or directory"),
    "empty file": (b"", (), "FILE: error: the input is empty"),
    "white space": (b" \n\n", (), "FILE: error: the input is empty"),
    "binary junk": (bytes(range(256)), (), "FILE:2: error: the input is neither MLIR text (UTF-8) nor MLIR bytecode"),
    "NUL bytes": (b"module {\n\0}", (), "FILE:2: error: the input contains NUL bytes"),
    "damaged bytecode": (b"ML\xefRjunkjunk", (), "FILE: error: damaged or unsupported MLIR bytecode"),
    "damaged artifact": (b"ML\xefR\x0dStableHLO_v1.0.0\0jk", (), "FILE: error: damaged or unsupported StableHLO"),
    "truncated text": (GOOD[:60], (), "FILE:2:"),
    "wrong type": (WRONG_TYPE, (), "FILE:2:22: error: use of value '%a' expects different type"),
    "unknown op": (UNKNOWN_OP, (), "FILE:2:8: error: custom op 'stablehlo.addd' is unknown"),
    "unknown dialect": (UNKNOWN_DIALECT, (), "FILE:2:17: error: operation being parsed with an unregistered dialect"),
    "unknown pass in a pipeline": (
        GOOD, ("-p", "builtin.module(dead-op)"),
        "<pass-pipeline>:1:16: error: unknown pass 'dead-op'; did you mean 'dead-ops'?",
    ),
    "malformed pipeline": (GOOD, ("-p", "builtin.module(cse"), "<pass-pipeline>:1:1: error: 'builtin.module(' is"),
    "unknown flag": (GOOD, ("--csee",), "shlo: error: unknown option '--csee'; did you mean '--cse'?"),
    "unknown flag, one dash": (GOOD, ("-csee",), "shlo: error: unknown option '-csee'; did you mean '--cse'?"),
    "unknown flag like none": (GOOD, ("--xyzzy=1",), "shlo: error: unknown option '--xyzzy'; see shlo opt --help"),
    "unknown pass option": (GOOD, ("--cse=bad=1",), "shlo: error: pass 'cse' has no option 'bad'"),
    "wrong option value": (GOOD, ("--dead-ops=keep-calls=x",), "shlo: error: option 'keep-calls' of pass 'dead-ops'"),
    "unknown native pass option": (GOOD, ("--canonicalize=bad=1",), "shlo: error: pass 'canonicalize' has no option"),
    "value that is no number": (
        GOOD, ("--mlir-elide-elementsattrs-if-larger=x",),
        "shlo: error: argument --mlir-elide-elementsattrs-if-larger: takes a whole number, not 'x'",
    ),
    "value that is no truth value": (
        GOOD, ("--verify-each=maybe",), "shlo: error: argument --verify-each: takes true or false, not 'maybe'",
    ),
    "missing value": (GOOD, ("--pass-pipeline",), "shlo: error: argument --pass-pipeline/-p: expected one argument"),
    "second file": (GOOD, ("other.mlir",), "shlo: error: unexpected argument 'other.mlir'"),
    "two ways to name passes": (
        GOOD, ("--cse", "-p", "builtin.module(cse)"), "shlo: error: --pass-pipeline and pass flags exclude each other",
    ),
    "two output formats": (
        GOOD, ("--emit-bytecode", "--emit-portable-artifact"),
        "shlo: error: --emit-bytecode and --emit-portable-artifact exclude each other",
    ),
    "unknown StableHLO version": (
        GOOD, ("--emit-portable-artifact=999.0.0",), "shlo: error: cannot write a portable artifact: target version",
    ),
    "unknown pass to print around": (
        GOOD, ("--cse", "--mlir-print-ir-after=cse,ccse"), "shlo: error: unknown pass 'ccse'; did you mean 'cse'?",
    ),
    "no reproducer": (GOOD, ("--run-reproducer",), "FILE: error: this is no reproducer"),
    "several modules, one binary file": (
        GOOD + b"// -----\n" + GOOD, ("--split-input-file", "--emit-bytecode"),
        "shlo: error: 2 modules do not fit into one binary file",
    ),
}


@pytest.mark.parametrize("before", [None, b"what was there before"], ids=["new output", "old output"])
@pytest.mark.parametrize("case", CASES)
def test_bad_input(case: str, before: bytes | None, tmp_path: Path, shlo: Callable[..., Any]) -> None:
    content, options, message = CASES[case]
    source, output = tmp_path / "in.mlir", tmp_path / "out.mlir"
    if content is not None:
        source.write_bytes(content)
    if before is not None:
        output.write_bytes(before)
    files = set(tmp_path.iterdir())
    result = shlo("opt", source, *options, "-o", output)
    assert (result.code, result.stdout) == (1, b"")
    headline, *rest = result.err.splitlines()
    assert headline.startswith(message.replace("FILE", str(source), 1)), result.err
    # Only the source line with a caret and MLIR's notes may follow.
    assert not rest or (rest[1].strip() == "^" and all(": note: " in line for line in rest[2:])), result.err
    assert "Traceback" not in result.err
    assert set(tmp_path.iterdir()) == files
    assert before is None or output.read_bytes() == before


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("no/such/place.mlir", "{}: error: cannot write the output: there is no directory '{}'"),
        (".", "{}: error: cannot write the output: it is a directory"),
    ],
)
def test_bad_output(output: str, message: str, tmp_path: Path, shlo: Callable[..., Any]) -> None:
    place = tmp_path / output
    # The input does not exist either: the output is looked at first, before any work.
    assert shlo("opt", "missing.mlir", "-o", place) == (1, b"", (message.format(place, place.parent) + "\n").encode())


def test_an_input_that_is_a_folder(tmp_path: Path, shlo: Callable[..., Any]) -> None:
    assert shlo("opt", tmp_path) == (1, b"", f"{tmp_path}: error: cannot read the file: Is a directory\n".encode())


def test_errors_in_standard_input_say_so(shlo: Callable[..., Any]) -> None:
    result = shlo("opt", "-", stdin=UNKNOWN_OP)
    assert result.code == 1
    assert result.err.startswith("<stdin>:2:8: error: custom op 'stablehlo.addd' is unknown\n  %0 = stablehlo.addd")
