"""Serialized ``OpSharding`` messages; the bytes were written by hand after xla_data.proto."""

from __future__ import annotations

import pytest

from passes.sharding.importers.hlo_sharding import HloSharding, Layout, Malformed, OnDevice, Tiled, Uniform
from passes.sharding.importers.op_sharding_proto import parse

LAYOUTS: dict[bytes, Layout] = {
    b"": Uniform("replicated"),
    b"\x08\x00": Uniform("replicated"),
    b"\x08\x04": Uniform("manual"),
    b"\x08\x01\x1a\x01\x01\x22\x01\x03": OnDevice(3),
    b"\x08\x03\x1a\x02\x02\x01\x22\x02\x00\x01": Tiled((2, 1), devices=(0, 1)),
    # The same, numbers one by one.
    b"\x08\x03\x18\x02\x18\x01\x20\x00\x20\x01": Tiled((2, 1), devices=(0, 1)),
    b"\x08\x03\x1a\x02\x02\x02\x22\x04\x00\x02\x01\x03\x30\x01": Tiled((2, 2), (), (), (0, 2, 1, 3), ("replicated",)),
    b"\x08\x03\x1a\x02\x02\x02\x42\x01\x04\x4a\x02\x02\x02\x52\x02\x01\x00": Tiled(
        (2, 2), (2, 2), (1, 0), (), ("manual",)),
    # 256 devices: numbers of two bytes. Metadata is skipped.
    b"\x08\x03\x1a\x02\x80\x02\x3a\x03\x0a\x01x\x4a\x02\x80\x02\x52\x01\x00": Tiled((256,), (256,), (0,)),
}


@pytest.mark.parametrize("data", LAYOUTS)
def test_layout(data: bytes) -> None:
    assert parse(data) == (HloSharding(LAYOUTS[data]),)


def test_groups_and_tuples() -> None:
    assert parse(b"\x08\x05\x58\x01\x60\x07") == (HloSharding(Uniform("unknown"), 7),)
    manual, replicated = HloSharding(Uniform("manual")), HloSharding(Uniform("replicated"))
    assert parse(b"\x08\x02\x2a\x02\x08\x04\x2a\x00") == (manual, replicated)


@pytest.mark.parametrize("data", [
    b"\x08", b"\x1a\x05\x01", b"\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", b"\x09\x01", b"\x08\x63",
    b"\x08\x03\x1a\x01\x02\x22\x01\x00", b"\x08\x03",
])
def test_refused(data: bytes) -> None:
    with pytest.raises(Malformed):
        parse(data)
