"""Damaged bytecode that ends the process which parses it is an error in one line, not a dead ``shlo``."""

from __future__ import annotations

from pathlib import Path

import pytest

from passes.errors import UserError
from passes.program import read, trial, write

PROGRAM = "func.func @main(%a: tensor<4xf32>) -> tensor<4xf32> { return %a : tensor<4xf32> }"
# Three changed bytes in a four-op module; reading it is a segmentation fault in jaxlib 0.10.2.
DEADLY = bytes.fromhex(
    "4d4cef520d4d4c495232332e302e30676974000121070105090b01030f030507130505171b0327150701960b130b0b13134f1313130107131707"
    "0277050f170101010d03051117700303170103232501210000803f0000004000004040000080401701050f1701070f170109051b031105050301"
    "03010b045905015003010704490301050350090307043503070f03030b0007420f050301090611030105010305041303050603010501008713"
    "0b0509130f0f150b116275696c74696e0066756e6300737461626c65686c6f006d6f64756c650072657475726e00636f6e7374616e74006164"
    "64002d006d61699400081b070501010d010501010701030d"
)
# A portable artifact with some bytes changed: jaxlib 0.10.2 reads it, and not what it then writes.
NOT_AGAIN = bytes.fromhex(
    "4d4cef520d537461626c65484c4f5f76312e31372e30000131070105091b01030f0303130517171b1f23272b2f33373b3f03935d21012d0b130b"
    "131313131313131313131313131313131313130307170f0f052b0b0b0b0b170b0b0b0b1f0f5e021f4f2f4f1f4f4f2f0f052117071313130f1307"
    "070f1b0b1b13171702da0505211701030305091701050317010703170121031701212f1701230f1701250f1701270f170129031701090f17010b"
    "0f17010d0f17010f0f1701110f1701131117011515170117111701191117011b1117011d0305052f310103230903250903010d011d2723150307"
    "3535351d291d2b23191d2d1f1309ffffffff1f1b011f0191000000000000803f000040c0000000400000803f000040c000000040000000000000"
    "0080000040c0000040c000000080000040c0000040c00000004000000080000000400000803f1f0b09000040c01f052102000000000000000000"
    "0000000000001f051102000000000000001f0521000000000000000001000000000000001f0b09000000001f05210100000000000000ffffffff"
    "ffffffff1f0521000000000000000002000000000000001f05110000000000000000130f052905190d03092903090f29033f1129034903290103"
    "290349171d1b29011111010707010d03031103010507092903010f2905291d0329051d1103045202050150030107042e0203010d034007030750"
    "09050704a903172d05421707030105421909030b0b461b0b031d05010305421d0d030b0b461f0f031f0501071142211103011346231305070903"
    "0b150625030d050f0f170627030d0511111906290309031309042b070d011107500b1507044503091303030d000d060f03090301054211170313"
    "0f46131903070305090415050703060301050100ea022f11030b07050505110f17111129170f1511190b0f0b09116275696c74696e0073647900"
    "76686c6f006d6f64756c65006d65736800636f6e7374616e745f76310066756e635f76310072657475726e5f7631007061645f76310072657368"
    "6170655f76310062726f6164636173745f696e5f64696d5f763100696f74615f76310063616c6c5f763100636f6d706c65785f7631006164645f"
    "763100696d61675f7631002d00780079006630006d61696e0000707269766174650008531b050101052d050b33393b3d3f0349034b074d4f5103"
    "5307555759035b03370b334133374303450347"
)


def test_a_sound_module_is_read(tmp_path: Path) -> None:
    path = tmp_path / "module.bc"
    path.write_bytes(write.to_bytecode(read.parse(PROGRAM).module))
    assert write.to_text(read.read(str(path)).module) == write.to_text(read.parse(PROGRAM).module)


def test_a_deadly_module_is_a_user_error(tmp_path: Path) -> None:
    path = tmp_path / "module.bc"
    path.write_bytes(DEADLY)
    with pytest.raises(UserError, match=r"damaged .*MLIR bytecode"):
        read.read(str(path))


def test_a_module_that_is_never_read_to_its_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "_SECONDS", 0)
    monkeypatch.setattr(trial, "_SECONDS_PER_MEGABYTE", 0)
    with pytest.raises(UserError, match="does not come to an end"):
        trial.rewritten(write.to_bytecode(read.parse(PROGRAM).module), "module.bc")


def test_text_that_is_no_utf8_is_a_user_error(tmp_path: Path) -> None:
    # The bindings end the process that asks for the attribute's name.
    program = read.parse(PROGRAM.replace("%a: tensor<4xf32>", "%a: tensor<4xf32> {some.name = 1 : i32}"))
    path = tmp_path / "module.bc"
    path.write_bytes(write.to_bytecode(program.module).replace(b"some.name", b"some.na\xffe"))
    with pytest.raises(UserError, match="ended the process by SIGABRT"):
        read.read(str(path))


def test_a_module_that_cannot_be_read_again_is_a_user_error(tmp_path: Path) -> None:
    path = tmp_path / "module.mlirbc"
    path.write_bytes(NOT_AGAIN)
    with pytest.raises(UserError, match="cannot be written and read again"):
        read.read(str(path))
