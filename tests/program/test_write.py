"""What is written reads back as the same program, and a file is whole or not there."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from passes import _mlir
from passes.errors import UserError
from passes.program.read import parse
from passes.program.write import PrintOptions, to_bytecode, to_portable, to_text, write_output

PROGRAM = parse("""\
sdy.mesh @mesh = <["x"=2]>
func.func @main(%a: tensor<4x4xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {}]>}) -> tensor<4x4xf32> {
  %c = stablehlo.constant dense<[[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0],
                                 [1.5, 2.5, 3.5, 4.5], [5.5, 6.5, 7.5, 8.5]]> : tensor<4x4xf32>
  %0 = stablehlo.dot_general %a, %c, contracting_dims = [1] x [0], precision = [DEFAULT, DEFAULT]
    {mhlo.frontend_attributes = {layer = "1"}} : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32> loc("dot")
  return %0 : tensor<4x4xf32>
}
""")


def test_text_reads_back_as_the_same_text() -> None:
    text = to_text(PROGRAM.module)
    assert text.endswith("}\n")
    assert to_text(parse(text).module) == text


def test_bytecode_keeps_everything() -> None:
    back = parse(to_bytecode(PROGRAM.module))
    options = PrintOptions(debuginfo=True, generic=True)
    assert to_text(back.module, options) == to_text(PROGRAM.module, options)


def test_a_portable_artifact_loses_defaults_that_were_spelled_out_and_nothing_else() -> None:
    before = to_text(PROGRAM.module)
    back = parse(to_portable(PROGRAM.module))
    assert to_text(back.module) == before.replace(", precision = [DEFAULT, DEFAULT]", "")
    assert 'loc("dot")' in to_text(back.module, PrintOptions(debuginfo=True))
    assert to_text(parse(to_portable(back.module)).module) == to_text(back.module)
    # Serialization works on a copy.
    assert to_text(PROGRAM.module) == before


def test_a_portable_artifact_of_an_older_version() -> None:
    version = _mlir.stablehlo.get_minimum_version()
    plain = parse("func.func @main(%a: tensor<4xf32>) -> tensor<4xf32> { return %a : tensor<4xf32> }")
    data = to_portable(plain.module, version)
    assert f"StableHLO_v{version}".encode() in data
    assert to_text(parse(data).module) == to_text(plain.module)


@pytest.mark.parametrize("version", ["next", "99.0.0", "0.0.1"])
def test_versions_that_cannot_be_written(version: str) -> None:
    with pytest.raises(UserError, match="cannot write a portable artifact"):
        to_portable(PROGRAM.module, version)


def test_ops_that_are_newer_than_the_version() -> None:
    program = parse("func.func @main(%a: tensor<4xf32>) { %0 = stablehlo.tan %a : tensor<4xf32> return }")
    with pytest.raises(UserError) as caught:
        to_portable(program.module, "1.0.0")
    assert caught.value.message == (
        "cannot write a portable artifact: StableHLO 1.0.0 has no 'stablehlo.tan' in this form; "
        "choose a later version")


def test_print_options() -> None:
    plain = to_text(PROGRAM.module)
    assert 'loc("dot")' not in plain
    assert 'loc("dot")' in to_text(PROGRAM.module, PrintOptions(debuginfo=True, local_scope=True))
    assert '"stablehlo.dot_general"(' in to_text(PROGRAM.module, PrintOptions(generic=True))
    elided = to_text(PROGRAM.module, PrintOptions(elide_larger_than=4))
    assert "8.500000e+00" in plain and "8.500000e+00" not in elided


def test_a_file_is_replaced_whole_and_keeps_its_mode(tmp_path: Path) -> None:
    target = tmp_path / "out.mlir"
    write_output(str(target), "first")
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(target.stat().st_mode) == 0o666 & ~umask
    target.chmod(0o640)
    write_output(str(target), b"second")
    assert target.read_bytes() == b"second"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert list(tmp_path.iterdir()) == [target]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "out.mlir"
    target.write_text("old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(UserError, match="No space left on device"):
        write_output(str(target), "new")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    target, link = tmp_path / "real.mlir", tmp_path / "link.mlir"
    target.write_text("old")
    link.symlink_to(target)
    write_output(str(link), "new")
    assert link.is_symlink() and target.read_text() == "new"


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    for place in (tmp_path / "missing" / "out.mlir", tmp_path):
        with pytest.raises(UserError) as caught:
            write_output(str(place), "text")
        assert str(caught.value.render()).startswith(f"{place}: error: cannot write the file: ")


def test_devices_are_written_through(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    write_output("/dev/null", "text")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    write_output("-", b"\x00\xff")
    assert capfdbinary.readouterr().out == b"\x00\xff"
