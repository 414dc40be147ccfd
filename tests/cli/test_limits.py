"""``--timeout`` and ``--max-memory``: what does not end is ended, what takes too much gets none, in one line each."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from passes.cli.limits import INSIDE, memory_size
from tests.endless import ENDLESS

Shlo = Callable[..., Any]

LARGE = """
  func.func @main() -> tensor<2xf32> {
    %0 = stablehlo.iota dim = 0 : tensor<3000000000xf32>
    %1 = stablehlo.slice %0 [7:9] : (tensor<3000000000xf32>) -> tensor<2xf32>
    return %1 : tensor<2xf32>
  }"""
SMALL = "func.func @main(%a: tensor<2xf32>) -> tensor<2xf32> { return %a : tensor<2xf32> }"


def test_a_command_that_does_not_end_is_ended(shlo: Shlo, tmp_path: Path) -> None:
    module, result = tmp_path / "m.mlir", tmp_path / "r.mlir"
    module.write_text(ENDLESS)
    done = shlo("opt", module, "--verify", "--timeout=4", "-o", result)
    assert (done.code, done.err) == (3, "shlo: error: shlo opt did not finish within 4 s\n")
    assert list(tmp_path.iterdir()) == [module]


def test_memory_beyond_the_limit_is_not_given(tmp_path: Path) -> None:
    module = tmp_path / "m.mlir"
    module.write_text(LARGE)
    words = ["run", str(module), "--executor=interpreter", "--max-memory=1G"]
    done = subprocess.run([sys.executable, "-m", "passes.cli.main", *words], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (3, "")
    assert "std::bad_alloc" in done.stderr and len(done.stderr.splitlines()) == 1


def test_within_the_limits_nothing_changes(shlo: Shlo, tmp_path: Path) -> None:
    module = tmp_path / "m.mlir"
    module.write_text(SMALL)
    for words in ([], ["--timeout=60", "--max-memory=2G"]):
        done = shlo("opt", module, "-O", *words, "-o", tmp_path / f"{len(words)}.mlir")
        assert (done.code, done.err) == (0, "")
    assert (tmp_path / "0.mlir").read_text() == (tmp_path / "2.mlir").read_text()


def test_errors_keep_their_exit_code(shlo: Shlo, tmp_path: Path) -> None:
    assert shlo("opt", tmp_path / "none.mlir", "--max-memory=2G").code == 1


@pytest.mark.parametrize(("text", "size"), [("1G", 1 << 30), ("800M", 800 << 20), ("2gib", 2 << 30), ("1T", 1 << 40),
                                            ("536870912", 512 << 20)])
def test_sizes(text: str, size: int) -> None:
    assert memory_size(text) == size


@pytest.mark.parametrize(("text", "words"), [
    ("much", "takes a size"), ("10M", "at least 256M"), ("-1G", "takes a size"),
])
def test_what_is_no_size(shlo: Shlo, text: str, words: str) -> None:
    done = shlo("opt", "-", f"--max-memory={text}", stdin=SMALL)
    assert done.code == 1
    assert words in done.err


def test_an_allocation_that_fails_is_a_sentence(shlo: Shlo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(INSIDE, "1")

    def run(args: object) -> int:
        raise MemoryError

    monkeypatch.setattr("passes.cli.opt.run", run)
    done = shlo("opt", "-", "--max-memory=1G", stdin=SMALL)
    assert done.code == 3
    assert done.err == "shlo: error: out of memory; --max-memory sets how much each process may take\n"
