"""Groups and permutations that collectives are built from, checked against shards of a numbered tensor."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from passes import _mlir
from passes.execute.executor import Executor
from passes.partition.collectives import Emitter, common_prefix, permutation
from passes.program.read import parse
from passes.sharding.mesh import Mesh, Sharding

MESHES = st.sampled_from(
    [
        Mesh((("x", 2), ("y", 4))),
        Mesh((("x", 3), ("y", 2))),
        Mesh((("x", 2), ("y", 2), ("z", 2))),
        Mesh((("x", 2), ("y", 2)), (2, 0, 3, 1)),
    ]
)


@given(MESHES, st.data())
def test_groups_partition_the_devices_in_shard_order(mesh: Mesh, data: st.DataObject) -> None:
    names = data.draw(st.lists(st.sampled_from([n for n, _ in mesh.axes]), unique=True))
    axes = tuple(map(mesh.axis, names))
    groups = mesh.groups(axes)
    assert sorted(d for group in groups for d in group) == sorted(mesh.devices)
    for group in groups:
        assert [mesh.shard_index(d, axes) for d in group] == list(range(len(group)))
        # Members agree on every other axis.
        others = [mesh.axis(n) for n, _ in mesh.axes if n not in names]
        assert len({tuple(mesh.coordinate(d, a) for a in others) for d in group}) == 1


@given(MESHES, st.data())
def test_a_permutation_gives_every_device_the_block_it_wants(mesh: Mesh, data: st.DataObject) -> None:
    size = data.draw(st.sampled_from(sorted({s for _, s in mesh.axes})))
    candidates = [n for n, s in mesh.axes if s == size]
    source, target = (
        Sharding(mesh, ((mesh.axis(data.draw(st.sampled_from(candidates))),), ())) for _ in range(2)
    )
    pairs = permutation(mesh, source, target)
    assert sorted(s for s, _ in pairs) == sorted(t for _, t in pairs) == sorted(mesh.devices)
    tensor = np.arange(size * 6 * 2).reshape(size * 6, 2)
    for sender, receiver in pairs:
        sent = tensor[source.slices(sender, tensor.shape)]
        assert np.array_equal(sent, tensor[target.slices(receiver, tensor.shape)])


def test_data_stays_where_it_can() -> None:
    mesh = Mesh((("x", 2), ("y", 2)))
    x, y = (Sharding(mesh, ((mesh.axis(n),),)) for n in "xy")
    assert permutation(mesh, x, y) == [(0, 0), (1, 2), (2, 1), (3, 3)]


def test_common_prefix() -> None:
    mesh = Mesh((("x", 2), ("y", 2), ("z", 2)))
    x, y, z = (mesh.axis(n) for n in "xyz")
    assert common_prefix((x, y), (x, z)) == (x,)
    assert common_prefix((x, y), (x, y, z)) == (x, y)
    assert common_prefix((x, y), (x,)) == common_prefix((x,), (x, y)) == (x,)
    assert common_prefix((y,), (x,)) == ()


def test_every_move_that_a_plan_may_leave_whole() -> None:
    """From each sharding of a matrix to each other one, on every device."""
    mesh, tensor = Mesh((("x", 2), ("y", 2))), np.arange(16, dtype=np.float32).reshape(4, 4)
    x, y = mesh.axis("x"), mesh.axis("y")
    splits = (((), ()), ((x,), ()), ((), (x,)), ((x, y), ()), ((y, x), ()), ((y,), (x,)))
    every = [Sharding(mesh, dims) for dims in splits]
    for source, target in itertools.permutations(every, 2):
        shape = "x".join(map(str, source.local_shape((4, 4))))
        program = parse(f"func.func @main(%a: tensor<{shape}xf32>) {{ return }}")
        function = program.module.body.operations[0].operation
        block = function.regions[0].blocks[0]
        end = block.operations[0].operation
        with _mlir.context(), _mlir.ir.Location.unknown():
            point = _mlir.ir.InsertionPoint(end)
            moved = Emitter(mesh).reshard(block.arguments[0], source, target, point, end.location)
            type = _mlir.ir.FunctionType.get([block.arguments[0].type], [moved.type])
            function.attributes["function_type"] = _mlir.ir.TypeAttr.get(type)
            _mlir.ir.Operation.create("func.return", operands=[moved], ip=point)
        end.erase()
        parts = [tensor[source.slices(device, tensor.shape)] for device in range(4)]
        (found,) = Executor("interpreter", isolated=False).run_per_device(program, [parts], 4)
        for device in range(4):
            assert np.array_equal(found[device], tensor[target.slices(device, tensor.shape)]), (source, target)


def test_what_devices_know_of_themselves_is_computed_once_in_and_once_around_what_may_become_a_function() -> None:
    mesh = Mesh((("x", 2), ("y", 2)))
    program = parse("func.func @main() { return }")
    end = program.module.body.operations[0].operation.regions[0].blocks[0].operations[0].operation
    point, emit = _mlir.ir.InsertionPoint(end), Emitter(mesh)

    def offset() -> object:
        return emit.offset((mesh.axis("x"),), 4, point, end.location)

    before = offset()
    emit.enter("first")
    first = offset()
    emit.enter("inner")
    inner = offset()
    emit.leave("inner")
    assert offset() == first
    emit.enter("without an end")
    emit.leave("first")
    assert offset() == before
    emit.leave("without a beginning")
    assert offset() == before
    emit.enter("second")
    second = offset()
    assert not any(a == b for a, b in itertools.combinations((before, first, inner, second), 2))
