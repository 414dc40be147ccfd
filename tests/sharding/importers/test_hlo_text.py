"""What the text of ``mhlo.sharding`` is read as, and what is refused."""

from __future__ import annotations

import pytest

from passes.sharding.importers.hlo_sharding import HloSharding, Layout, Malformed, Named, OnDevice, Tiled, Uniform
from passes.sharding.importers.hlo_text import parse
from passes.sharding.mesh import Axis, Mesh

AB = Mesh((("a", 2), ("b", 4)))
A, B = AB.axis("a"), AB.axis("b")

LAYOUTS: dict[str, Layout] = {
    "{replicated}": Uniform("replicated"),
    " { manual } ": Uniform("manual"),
    "{unknown}": Uniform("unknown"),
    "{unreduced}": Uniform("unreduced"),
    "{maximal device=3}": OnDevice(3),
    "{devices=[2,1]<=[2]}": Tiled((2, 1), (2,), (0,)),
    "{devices=[2,1,4]<=[4,2]T(1,0) last_tile_dim_replicate}": Tiled((2, 1, 4), (4, 2), (1, 0), (), ("replicated",)),
    "{devices=[1,2,2]<=[4] last_tile_dims={manual, unreduced}}": Tiled(
        (1, 2, 2), (4,), (0,), (), ("manual", "unreduced")),
    "{devices=[2,2]0,2,1,3}": Tiled((2, 2), devices=(0, 2, 1, 3)),
    '{devices=[2]1,0 metadata={op_name="a } b" source_line=3}}': Tiled((2,), devices=(1, 0)),
    '{devices=[2]1,0, metadata={{op_name="\\"}"}, {a=1}} last_tile_dim_replicate}': Tiled(
        (2,), devices=(1, 0), subgroups=("replicated",)),
    "{replicated metadata={}}": Uniform("replicated"),
    "{mesh['a'=2,'b'=4], [{'a'}, {'b':(1)2, ?}, {}, {?}], replicated={'b':(2)2}}": Named(
        AB, ((A,), (Axis("b", 1, 2),), (), ()), (True, False, True, False), (Axis("b", 2, 2),)),
    "{mesh[a=2,b=4], [], unreduced={a}, manual={b}, metadata={}}": Named(AB, (), (), (), (A,), (B,)),
    "{mesh['a'=2,'b'=4], device_ids=([4,2]T(1,0)), [{'b'}]}": Named(
        Mesh(AB.axes, (0, 2, 4, 6, 1, 3, 5, 7)), ((B,),), (True,)),
    "{mesh['x y'=2], device_ids=(1,0), manual}": Named(Mesh((("x y", 2),), (1, 0)), whole="manual"),
    "{mesh['x'=2], device_ids=(0,1), replicated}": Named(Mesh((("x", 2),))),
    "{mesh[], replicated}": Named(Mesh(())),
    "{maximal_mesh[device_id=5]}": OnDevice(5),
    "{single_device[device_id=5]}": OnDevice(5),
}


@pytest.mark.parametrize("text", LAYOUTS)
def test_layout(text: str) -> None:
    (found,) = parse(text)
    assert found == HloSharding(LAYOUTS[text])


def test_groups_and_tuples() -> None:
    assert parse("{unknown shard_as 7}") == (HloSharding(Uniform("unknown"), 7),)
    assert parse("{replicated shard_like 0}") == (HloSharding(Uniform("replicated"), 0),)
    assert parse("{{replicated}, {maximal device=1}}") == (HloSharding(Uniform("replicated")), HloSharding(OnDevice(1)))
    assert parse("{}") == ()
    assert [s.text for s in parse("{{replicated}, {maximal device=1}}")] == ["{replicated}", "{maximal device=1}"]


REFUSED = {
    "replicated": "expected '{' at 'replicated'",
    "{": "'maximal device=N', 'devices=[...]', 'mesh[...]' or a tuple at its end",
    "{replicate}": "or a tuple at 'replicate}'",
    "{replicated, manual}": "'metadata=', 'last_tile_dims=', 'last_tile_dim_replicate' or 'shard_as' at 'manual}'",
    "{replicated} x": "expected nothing more at 'x'",
    "{maximal}": "expected 'device=' at '}'",
    "{devices=[2,x]<=[2]}": "expected a whole number at 'x]<=[2]}'",
    "{devices=[]<=[2]}": "[] is no shape of an array of devices",
    "{devices=[0,2]<=[2]}": "[0,2] is no shape of an array of devices",
    "{devices=[2]<=[3]}": "devices=[2] needs 2 devices, there are 3",
    "{devices=[2,2]0,1,2}": "devices=[2,2] needs 4 devices, there are 3",
    "{devices=[2]0,0}": "the devices 0,0 are not 0 to 1, each once",
    "{devices=[2]0,2}": "the devices 0,2 are not 0 to 1, each once",
    "{devices=[4]<=[2,2]T(1)}": "T(1) does not permute the 2 dimensions before it",
    "{devices=[4]<=[2,2]T(1,1)}": "T(1,1) does not permute the 2 dimensions before it",
    "{devices=[2]<=[2] last_tile_dims={maximal}}": "expected 'replicated', 'manual' or 'unreduced' at 'maximal}}'",
    "{devices=[2]<=[2] last_tile_dims={manual, manual}}": "has fewer dimensions than last_tile_dims has entries",
    "{replicated last_tile_dim_replicate}": "'last_tile_dim_replicate' go with 'devices=[...]'",
    "{last_tile_dim_replicate}": "'devices=[...]', 'mesh[...]' or a tuple",
    "{replicated metadata={}": "expected '}'",
    "{replicated metadata={a": "expected '}' after metadata={ at its end",
    "{devices=[99999999999]<=[99999999999]}": "99999999999 is more devices than there can be",
    "{devices=[65536,65536]<=[65536,65536]}": "[65536,65536] is no shape of an array of devices",
    "{{{replicated}}}": "or a tuple at '{replicated}}}'",
    "{mesh['a'=2], [{'b'}]}": "its mesh has no axis 'b'; it has a",
    "{mesh['a'=4], [{'a':(3)2}]}": "a:(3)2 is no part of an axis of size 4",
    "{mesh['a'=2,'a'=2], [{'a'}]}": "a mesh has axes of different names",
    "{mesh['a'=2], [{?, 'a'}]}": "expected '}' after '?' at ''a'}]}'",
    "{mesh['a'=2], device_ids=(0,2), [{'a'}]}": "device_ids of a mesh of 2 devices are 0 to 1, each once",
    "{mesh['a'=2]}": "expected ',' at '}'",
    "{mesh[2], [{'a'}]}": "expected the name of an axis at '2], [{'a'}]}'",
}


@pytest.mark.parametrize("text", REFUSED)
def test_refused(text: str) -> None:
    with pytest.raises(Malformed) as error:
        parse(text)
    assert REFUSED[text] in str(error.value)
