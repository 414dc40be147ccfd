"""Device files: every preset is complete, and what is wrong with one is said at its line."""

from __future__ import annotations

import pytest

from passes.cost import device
from passes.errors import UserError

GOOD = """title = "board"
memory_bandwidth = 512e9
[flops]
bf16 = 100e12
[link]
bandwidth = 25e9
"""


@pytest.mark.parametrize("name", device.presets())
def test_preset_has_its_figures_and_says_where_they_are_from(name: str) -> None:
    found = device.load(name)
    assert found.source and found.memory is not None
    assert found.rate("bf16") > 1e13 > found.link.bandwidth > 1e9


def test_rates_of_other_types_follow_from_their_bytes() -> None:
    found = device.parse(GOOD + "# none\n", "x.toml")
    assert (found.rate("f32"), found.rate("f8E4M3FN"), found.rate("f16"), found.rate("f64")) == (
        50e12, 200e12, 100e12, 25e12)
    assert device.parse(GOOD.replace("bf16", "f32 = 7e12\nbf16"), "x").rate("f32") == 7e12


@pytest.mark.parametrize(("old", "new", "message"), [
    ("bf16 = 100e12", "f99 = 1.0", "unknown key 'f99'"),
    ("bf16 = 100e12", "f32 = 1e12", "[flops] needs bf16"),
    ("bf16 = 100e12", "bf16 = -1", "bf16 takes a number above zero"),
    ("bandwidth = 25e9", "bandwith = 25e9", "did you mean 'bandwidth'?"),
    ("bandwidth = 25e9", 'topology = "star"\nbandwidth = 1e9', "topology 'star' is not known"),
    ("memory_bandwidth = 512e9\n", "", "memory_bandwidth is missing"),
    ("[link]", "[link", "not TOML"),
])
def test_what_is_wrong_is_said(old: str, new: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        device.parse(GOOD.replace(old, new), "board.toml")
    assert message in str(caught.value)


def test_unknown_preset_lists_those_there_are() -> None:
    with pytest.raises(UserError, match=r"there is no device 'tpu_v9'; there are a100_80, .*wormhole_t3000"):
        device.load("tpu_v9")
