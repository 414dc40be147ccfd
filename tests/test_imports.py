"""Which modules may import what, and what a command that needs no bindings loads."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import passes
from passes import _mlir
from passes.errors import UserError

PACKAGE = Path(passes.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """The top-level packages that a source file imports, also through ``import_module`` and ``__import__``."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            # The name may be put together from parts; any string in the call counts.
            texts = (n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str))
            yield from (text.partition(".")[0] for text in texts)


def test_the_scan_sees_every_kind_of_import(tmp_path: Path) -> None:
    source = tmp_path / "m.py"
    source.write_text(
        "import a.b\nfrom c.d import e\nfrom . import f\n"
        "import_module('g.h')\nimport_module(f'i.{x}')\n__import__('j')\n"
    )
    assert set(imported(source)) == {"a", "c", "g", "i", "j"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_one_module_imports_the_bindings_and_none_imports_jax(path: Path) -> None:
    found = set(imported(path))
    assert "jax" not in found
    assert "mlir" not in found
    if path != PACKAGE / "_mlir.py":
        assert "jaxlib" not in found


def test_every_module_can_be_loaded_without_the_bindings() -> None:
    """A use of the bindings while a module is loaded would load them for every command that comes across it."""
    names = [".".join(p.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__") for p in SOURCES]
    script = (
        "import importlib, sys\nsys.modules['jaxlib'] = None\nfor name in sys.argv[1:]:\n"
        "    try: importlib.import_module(name)\n    except Exception as error: print(name, repr(error))"
    )
    done = subprocess.run([sys.executable, "-c", script, *names], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def loaded_by(*words: str) -> tuple[int, set[str], str]:
    """Exit code, loaded modules and standard error of ``shlo words`` in a process of its own."""
    script = (
        "import json, sys\nfrom passes.cli.main import main\ncode = main(sys.argv[1:])\nsys.stdout.flush()\n"
        "print('\\n' + json.dumps([code, sorted(sys.modules)]))"
    )
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, check=False)
    code, modules = json.loads(done.stdout.splitlines()[-1])
    return code, set(modules), done.stderr


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--help",), 0),
        (("opt", "--help"), 0),
        (("opt", "--list-passes"), 0),
        (("passes",), 0),
        (("opt", "--cse=bad=1", "x.mlir"), 1),
        (("opt", "--unheard-of", "x.mlir"), 1),
        (("opt", "-p", "builtin.module(cse", "x.mlir"), 1),
        (("opt", "missing.mlir"), 1),
        (("nosuch",), 1),
    ],
    ids=lambda value: value if isinstance(value, int) else " ".join(value),
)
def test_commands_that_need_no_bindings_load_none(words: tuple[str, ...], code: int) -> None:
    got, modules, stderr = loaded_by(*words)
    assert got == code, stderr
    assert not {"jaxlib", "numpy", "jax"} & modules


def test_help_loads_no_subcommand() -> None:
    modules = loaded_by("--help")[1]
    ours = {m for m in modules if m.startswith("passes")}
    assert ours == {"passes", "passes.cli", "passes.cli.main", "passes.errors"}
    assert "argparse" not in modules


def test_the_check_sees_the_bindings_when_they_are_loaded(tmp_path: Path) -> None:
    source = tmp_path / "m.mlir"
    source.write_text("func.func @main(%a: tensor<f32>) -> tensor<f32> {\n  return %a : tensor<f32>\n}")
    code, modules, stderr = loaded_by("opt", str(source), "--cse", "--dead-ops")
    assert (code, stderr) == (0, "")
    assert {"jaxlib", "numpy"} <= modules
    # The generated Python classes of dialects cost more than all of our own modules together.
    assert not {m for m in modules if m.startswith("jaxlib.mlir.dialects.")}


def test_a_release_that_is_too_old_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """jaxlib 0.10.0 has no classes of locations, and lacks Shardy's passes that come first in planning."""
    monkeypatch.setattr(_mlir, "ir", _mlir.ir)  # Is set again by what follows.
    monkeypatch.setitem(_mlir._EXPORTS, "ir", "types")
    wanted = r"^the installed jaxlib [\d.]+ is too old; .* 'jaxlib>=0\.10\.1,!=0\.11\.2'$"
    with pytest.raises(UserError, match=wanted), _mlir.passing_context():
        pass
