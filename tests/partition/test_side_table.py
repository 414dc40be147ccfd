"""The side table survives its JSON form, and damage is an error in one line."""

from __future__ import annotations

import pytest

from passes.errors import UserError
from passes.partition.side_table import Entry, SideTable
from passes.sharding.mesh import Axis, Mesh, Sharding

MESH = Mesh((("x", 2), ("y", 4)), (7, 6, 5, 4, 3, 2, 1, 0))
TABLE = SideTable(
    MESH,
    (Entry(0, "params['w']", "bf16", (8, 4), Sharding(MESH, ((MESH.axis("x"), Axis("y", 1, 2)), ()))),),
    (Entry(0, "result", "f32", (), Sharding(MESH, ())),),
)


def test_round_trip() -> None:
    assert SideTable.from_json(TABLE.to_json()) == TABLE


def test_local_shapes_are_written_for_runtimes() -> None:
    assert TABLE.arguments[0].local_shape == (2, 4)
    assert '"local_shape": [\n    2,\n    4\n   ]' in TABLE.to_json()


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"version": 1}', '{"version": 2}', TABLE.to_json().replace('"x"', '"q"', 1),
     TABLE.to_json().replace("y:(1)2", "z"), TABLE.to_json().replace('"dims": []', '"dims": [[]]'),
     TABLE.to_json().replace("   8,", "   1e999,"), TABLE.to_json().replace("y:(1)2", "y:(0)2"),
     TABLE.to_json().replace("y:(1)2", "y:(1)3"), TABLE.to_json().replace('"y",\n    4', '"y",\n    0'),
     TABLE.to_json().replace('"y",\n    4', f'"y",\n    {2**63}').replace("y:(1)2", "y"), "[" * 100_000,
     "9" * 10_000],
)
def test_damage_is_a_user_error(text: str) -> None:
    with pytest.raises(UserError):
        SideTable.from_json(text, "table.json")
