"""``shlo opt`` beyond what RUN lines can say: exit codes, files, and the listings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from passes.pipeline import native, textual
from passes.pipeline.registry import OWN_PASSES

ADDS = """func.func @main(%a: tensor<4xf32>) -> tensor<4xf32> {
  %0 = stablehlo.add %a, %a : tensor<4xf32>
  %1 = stablehlo.add %a, %a : tensor<4xf32>
  %2 = stablehlo.multiply %0, %1 : tensor<4xf32>
  return %2 : tensor<4xf32>
}
"""
# Upstream's lowering follows a null pointer when the padded dimension is sharded on one side only.
KILLS_NATIVE_CODE = """sdy.mesh @mesh = <["x"=4]>
func.func @main(%a: tensor<8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}]>}, %c: tensor<f32>) -> tensor<16xf32> {
  %0 = stablehlo.pad %a, %c, low=[4], high=[4], interior=[0] : (tensor<8xf32>, tensor<f32>) -> tensor<16xf32>
  return %0 : tensor<16xf32>
}
"""


def written(folder: Path, text: str) -> Path:
    source = folder / "in.mlir"
    source.write_text(text)
    return source


def test_native_code_that_dies_gives_exit_code_3_and_a_reproducer_that_reproduces(
    tmp_path: Path, shlo: Callable[..., Any]
) -> None:
    source, output, reproducer = written(tmp_path, KILLS_NATIVE_CODE), tmp_path / "out.mlir", tmp_path / "repro.mlir"
    output.write_text("as before")
    flag = f"--mlir-pass-pipeline-crash-reproducer={reproducer}"
    result = shlo("opt", source, "--cse", "--sdy-convert-global-to-local", flag, "-o", output)
    assert (result.code, result.stdout, output.read_text()) == (3, b"", "as before")
    assert result.err.startswith(f"{source}: error: pass 'sdy-convert-global-to-local' died in native code (SIG")
    assert str(reproducer) in result.err
    again = tmp_path / "again.mlir"
    result = shlo("opt", "--run-reproducer", reproducer, f"--mlir-pass-pipeline-crash-reproducer={again}")
    assert result.code == 3
    assert "pass 'sdy-convert-global-to-local' died" in result.err
    assert again.exists()


def test_a_reproducer_of_something_harmless_runs(tmp_path: Path, shlo: Callable[..., Any]) -> None:
    block = '\n{-#\n  external_resources: {\n    mlir_reproducer: { pipeline: "builtin.module(cse)" }\n  }\n#-}\n'
    source = written(tmp_path, ADDS + block)
    plain = shlo("opt", "-", "--cse", stdin=ADDS)
    assert shlo("opt", source, "--run-reproducer") == plain
    assert shlo("opt", "--run-reproducer", stdin=source.read_bytes()) == plain
    assert plain.code == 0 and plain.out.count("stablehlo.add") == 1
    for also in (("--cse",), ("-p", "builtin.module(cse)")):
        result = shlo("opt", source, "--run-reproducer", *also)
        assert result.code == 1 and "--run-reproducer exclude each other" in result.err


def test_ir_printed_into_a_tree_of_files(tmp_path: Path, shlo: Callable[..., Any]) -> None:
    tree = tmp_path / "tree"
    result = shlo("opt", written(tmp_path, ADDS), "--cse", "--dead-ops",
                  "--mlir-print-ir-after-all", f"--mlir-print-ir-tree-dir={tree}")  # fmt: skip
    assert result.code == 0 and not result.stderr
    files = sorted(path for path in tree.rglob("*") if path.is_file())
    assert [path.name for path in files] == ["0_cse.mlir", "1_dead-ops.mlir"]
    assert files[0].read_text().count("stablehlo.add") == 1


def test_an_output_file_is_replaced_whole_and_keeps_its_mode(tmp_path: Path, shlo: Callable[..., Any]) -> None:
    output = tmp_path / "out.mlir"
    output.write_text("x" * 100_000)
    output.chmod(0o640)
    assert shlo("opt", written(tmp_path, ADDS), "-o", output) == (0, b"", b"")
    assert output.read_bytes() == shlo("opt", tmp_path / "in.mlir").stdout
    assert output.stat().st_mode & 0o777 == 0o640
    assert {path.name for path in tmp_path.iterdir()} == {"in.mlir", "out.mlir"}


def test_the_input_may_be_the_output(tmp_path: Path, shlo: Callable[..., Any]) -> None:
    source = written(tmp_path, ADDS)
    expected = shlo("opt", source, "--cse").stdout
    assert shlo("opt", source, "--cse", "-o", source).code == 0
    assert source.read_bytes() == expected


def test_list_passes_names_every_pass_with_its_summary(shlo: Callable[..., Any]) -> None:
    result = shlo("opt", "--list-passes")
    assert result.code == 0
    lines = [line.split(maxsplit=1) for line in result.out.splitlines() if line.startswith("  ")]
    assert [line[0] for line in lines] == textual.known_names()
    assert all(len(line) == 2 for line in lines)
    assert lines[0][0] in OWN_PASSES and lines[-1] == [native.catalog()[-1].name, native.catalog()[-1].summary]


def test_every_listed_pass_is_a_flag(shlo: Callable[..., Any]) -> None:
    # A wrong option is refused by the pass, so the flag itself was understood.
    for name in ("cse", "native-cse", "canonicalize", "sdy-close-shardings"):
        result = shlo("opt", "-", f"--{name}=no-such-option=1", stdin=ADDS)
        assert result.code == 1
        assert result.err.startswith(f"shlo: error: pass '{name.removeprefix('native-')}' "), result.err


def test_the_reference_shows_options_statistics_and_examples(shlo: Callable[..., Any]) -> None:
    page = shlo("passes", "dead-ops").out
    for part in ("# dead-ops\n", "keep-calls=false  (true or false)", "Statistics:", "removed: ", "Before:", "After:"):
        assert part in page
    assert shlo("passes").out.count("\n# ") + 1 == len(OWN_PASSES) + 1
    assert shlo("passes", "canonicalize").out.startswith("canonicalize")
    assert shlo("passes", "dead-op") == (1, b"", b"shlo: error: unknown pass 'dead-op'; did you mean 'dead-ops'?\n")
