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
        trial.require_survivable(write.to_bytecode(read.parse(PROGRAM).module), "module.bc")
