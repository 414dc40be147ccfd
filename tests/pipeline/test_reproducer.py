"""Reproducer files: written as mlir-opt writes them, read back from either's."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from passes import _mlir
from passes.errors import UserError
from passes.pipeline import reproducer

MODULE = "module {\n  func.func @main() {\n    return\n  }\n}\n"

# As mlir-opt writes it where the module has resources of its own: one block for both.
FROM_MLIR_OPT = """\
module {
  func.func @main() -> tensor<1xf32> {
    %cst = stablehlo.constant dense_resource<blob> : tensor<1xf32>
    return %cst : tensor<1xf32>
  }
}

{-#
  dialect_resources: {
    builtin: {
      blob: "0x040000000000803F"
    }
  },
  external_resources: {
    mlir_reproducer: {
      pipeline: "builtin.module(func.func(cse),canonicalize{max-iterations=3})",
      disable_threading: false,
      verify_each: false
    }
  }
#-}
"""


@settings(deadline=None)
@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\r"), max_size=40), st.booleans())
def test_the_pipeline_comes_back(pipeline: str, verify_each: bool) -> None:
    found = reproducer.read(reproducer.compose(MODULE, pipeline, verify_each))
    assert (found.pipeline, found.verify_each) == (pipeline, verify_each)


def test_the_block_looks_like_mlirs() -> None:
    assert reproducer.compose(MODULE, 'builtin.module(a{b="c"})') == MODULE + """
{-#
  external_resources: {
    mlir_reproducer: {
      pipeline: "builtin.module(a{b=\\"c\\"})",
      disable_threading: true,
      verify_each: true
    }
  }
#-}
"""


def test_the_module_still_parses_with_its_resources() -> None:
    found = reproducer.read(FROM_MLIR_OPT)
    assert found.pipeline == "builtin.module(func.func(cse),canonicalize{max-iterations=3})"
    assert not found.verify_each
    with _mlir.collect_diagnostics():
        module = _mlir.ir.Module.parse(found.module_text, _mlir.context())
    assert '"0x040000000000803F"' in str(module)
    again = reproducer.read(reproducer.compose(str(module), found.pipeline))
    with _mlir.collect_diagnostics():
        assert '"0x040000000000803F"' in str(_mlir.ir.Module.parse(again.module_text, _mlir.context()))


def test_files(tmp_path: Path) -> None:
    path = reproducer.write(str(tmp_path / "r.mlir"), reproducer.compose(MODULE, "builtin.module(cse)"), "x")
    assert reproducer.read(path).pipeline == reproducer.read(Path(path)).pipeline == "builtin.module(cse)"


def test_without_a_path_each_file_is_new_and_named_after_the_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    paths = {reproducer.write(None, "text", "sdy-close-shardings") for _ in range(2)}
    assert len(paths) == 2
    assert all(Path(p).name.startswith("shlo-sdy-close-shardings-") and p.endswith(".mlir") for p in paths)


def test_what_cannot_be_read_or_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="this is no reproducer"):
        reproducer.read(MODULE, "m.mlir")
    with pytest.raises(UserError, match="cannot read the reproducer: No such file"):
        reproducer.read(str(tmp_path / "absent.mlir"))
    (tmp_path / "binary").write_bytes(b"ML\xefR\xff\xff")
    with pytest.raises(UserError, match="cannot read the reproducer: it is not text"):
        reproducer.read(tmp_path / "binary")
    with pytest.raises(UserError, match="cannot write the reproducer"):
        reproducer.write(str(tmp_path / "absent" / "r.mlir"), "text", "x")
