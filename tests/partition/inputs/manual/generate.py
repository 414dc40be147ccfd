"""Writes the modules in this folder: `jax.shard_map` programs and, for most, plain programs that compute the same.

Run with jax installed: ``python generate.py``. NAME.mlir is the program, NAME.reference.mlir its plain form.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import AbstractMesh, AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

FOLDER = Path(__file__).parent
MESHES = {
    "2x4": (("data", 2), ("model", 4)),
    "2x2x2": (("a", 2), ("b", 2), ("c", 2)),
    "1x8": (("one", 1), ("x", 8)),
}
RING4 = [(j, (j + 1) % 4) for j in range(4)]
shard_map = partial(jax.shard_map, check_vma=False)
Arrays = tuple[jax.Array, ...]


def _f32(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.float32)


# -- bodies and their plain forms --------------------------------------------------------------------------------------


def _mlp(x: jax.Array, w1: jax.Array, w2: jax.Array) -> jax.Array:
    return jax.nn.relu(x @ w1) @ w2


def _mlp_body(x: jax.Array, w1: jax.Array, w2: jax.Array) -> jax.Array:
    return lax.psum(_mlp(x, w1, w2), "model")


def _mlp_grad(body: Callable[..., jax.Array]) -> Callable[..., Arrays]:
    return jax.grad(lambda *args: (body(*args) ** 2).sum(), (0, 1, 2))


def _ring_body(x: jax.Array, w: jax.Array) -> jax.Array:
    """x @ w, w in parts by rows that go round; each device multiplies the part of x that fits."""
    size = w.shape[0]

    def step(i: int, carry: Arrays) -> Arrays:
        total, part = carry
        at = (lax.axis_index("model") - i) % 4
        total += lax.dynamic_slice_in_dim(x, at * size, size, 1) @ part
        return total, lax.ppermute(part, "model", RING4)

    return lax.fori_loop(0, 4, step, (jnp.zeros((x.shape[0], w.shape[1]), x.dtype), w))[0]


def _nested_body(x: jax.Array, w: jax.Array) -> jax.Array:
    inner = shard_map(
        lambda x, w: lax.psum(x @ w, "b"), in_specs=(P(None, "b"), P("b", None)), out_specs=P(), axis_names={"b"}
    )
    return lax.psum(inner(x, w), "a") * (1.0 + lax.axis_index("a"))


def _scan(x: jax.Array, ws: jax.Array) -> jax.Array:
    body = shard_map(
        lambda x, w: lax.all_gather(x @ w, "model", axis=1, tiled=True),
        in_specs=(P(), P(None, "model")),
        out_specs=P(),
        axis_names={"model"},
    )
    return lax.scan(lambda x, w: (body(x, w), None), x, ws)[0]


def _scan_inside(x: jax.Array, ws: jax.Array) -> jax.Array:
    """A loop in a manual computation around another one, which is manual over the rest of the axes."""
    inner = shard_map(
        lambda x, w: lax.all_gather(lax.psum(x @ w, "b"), "c", axis=0, tiled=True),
        in_specs=(P("c", "b"), P("b", None)),
        out_specs=P(),
        axis_names={"b", "c"},
    )
    return lax.psum(lax.scan(lambda x, w: (inner(x, w), None), x, ws)[0], "a")


def _compound_body(x: jax.Array) -> Arrays:
    place = lax.axis_index(("model", "data")).astype(x.dtype)
    return (
        lax.all_gather(x + place, ("data", "model"), axis=0, tiled=True),
        lax.psum(x, ("model", "data")),
        lax.ppermute(x, ("data", "model"), [(j, (j + 3) % 8) for j in range(8)]),
        lax.psum_scatter(lax.all_to_all(x, "model", 1, 0, tiled=True), "data", scatter_dimension=1, tiled=True),
    )


def _joined_body(x: jax.Array) -> Arrays:
    """Collectives that join and cut a dimension, and others, where a free axis splits rows."""
    rows = lax.all_gather(x, "model", axis=0, tiled=True)
    return (
        lax.psum_scatter(rows, "model", scatter_dimension=0, tiled=True),
        lax.all_to_all(x, "model", 1, 0, tiled=True),
        lax.pmax(x, "model"),
        lax.ppermute(x, "model", RING4),
    )


def _moved_body(x: jax.Array, w: jax.Array) -> Arrays:
    """The free axes swap inside: a permute that must not cross the manual axis."""
    constrain = lax.with_sharding_constraint
    y = constrain(x @ w, P("b", "c"))
    z = constrain(y + 1, P("c", "b"))
    return lax.psum(z, "a"), z * (1.0 + lax.axis_index("a"))


def _branches_body(x: jax.Array, n: jax.Array) -> jax.Array:
    y = lax.fori_loop(0, n[0] % 5, lambda _, y: lax.ppermute(y, "model", RING4) + y.sum(0), x)
    return lax.cond(n[0] > 2, lambda y: lax.psum(y, "model"), lambda y: 2 * y, y)


def _pipeline_body(weights: jax.Array, batches: jax.Array) -> jax.Array:
    """Four stages, a layer each, batch after batch: GPipe's schedule."""
    stage, count = lax.axis_index("model"), batches.shape[0]

    def step(carry: Arrays, t: jax.Array) -> tuple[Arrays, None]:
        handed, done = carry
        y = jax.nn.relu(jnp.where(stage == 0, batches[jnp.clip(t, 0, count - 1)], handed) @ weights[0])
        finished = (stage == 3) & (t >= 3)
        done = jnp.where(finished, done.at[jnp.clip(t - 3, 0, count - 1)].set(y), done)
        return (lax.ppermute(y, "model", RING4), done), None

    start = jnp.zeros_like(batches[0]), jnp.zeros_like(batches)
    (_, done), _ = lax.scan(step, start, jnp.arange(count + 3))
    return lax.psum(jnp.where(stage == 3, done, 0), "model")


def _layers(weights: jax.Array, batches: jax.Array) -> jax.Array:
    for weight in weights:
        batches = jax.nn.relu(batches @ weight)
    return batches


def _sum_grad(function: Callable[..., jax.Array]) -> Callable[..., Arrays]:
    return jax.grad(lambda *args: function(*args).sum(), (0, 1))


def _size_one_body(x: jax.Array) -> jax.Array:
    gathered = lax.all_gather(lax.ppermute(x, "one", [(0, 0)]), "one", axis=0, tiled=True)
    return lax.psum(x, "one") + lax.axis_index("one") + gathered


# -- the programs ------------------------------------------------------------------------------------------------------


def _write(
    name: str,
    mesh: str,
    function: Callable[..., object],
    arguments: tuple[jax.ShapeDtypeStruct, ...],
    lie: tuple[P, ...],
    plain: Callable[..., object] | None = None,
) -> None:
    axes = dict(MESHES[mesh])
    abstract = AbstractMesh(tuple(axes.values()), tuple(axes), axis_types=(AxisType.Auto,) * len(axes))
    with jax.sharding.use_abstract_mesh(abstract):
        shardings = tuple(NamedSharding(abstract, spec) for spec in lie)
        lowered = jax.jit(function, in_shardings=shardings).trace(*arguments).lower(lowering_platforms=("cpu",))
        (FOLDER / f"{name}.mlir").write_text(lowered.as_text())
    if plain is not None:
        (FOLDER / f"{name}.reference.mlir").write_text(jax.jit(plain).lower(*arguments).as_text())


def main() -> None:
    """Writes every module."""
    matrices = (_f32(8, 16), _f32(16, 32), _f32(32, 16))
    split = (P(), P(None, "model"), P("model", None))
    lie = (P("data"), P(None, "model"), P("model"))
    tensor_parallel = shard_map(_mlp_body, in_specs=(P("data"), *split[1:]), out_specs=P("data"))
    model_only = shard_map(_mlp_body, in_specs=split, out_specs=P(), axis_names={"model"})
    _write("mlp", "2x4", tensor_parallel, matrices, lie, _mlp)
    _write("mlp_unsharded_operands", "2x4", tensor_parallel, matrices, (P(),) * 3, _mlp)
    _write("mlp_partial", "2x4", model_only, matrices, lie, _mlp)
    _write("mlp_partial_moved_operands", "2x4", model_only, matrices, (P("model"), P("data"), P(None, "data")), _mlp)
    _write("mlp_partial_grad", "2x4", _mlp_grad(model_only), matrices, lie, _mlp_grad(_mlp))

    pair = (_f32(8, 16), _f32(16, 8))
    for name, first, names in (("ring", P("data"), None), ("ring_partial", P(), {"model"})):
        ring = shard_map(
            _ring_body, in_specs=(first, P("model")), out_specs=first, axis_names=names or {"data", "model"}
        )
        _write(name, "2x4", ring, pair, (P("data"), P("model")), jnp.matmul)

    nested = shard_map(_nested_body, in_specs=(P(None, "a"), P("a", None)), out_specs=P(None, "a"), axis_names={"a"})
    _write(
        "nested", "2x2x2", nested, pair, (P("c"), P()), lambda x, w: jnp.concatenate([x @ w, 2 * (x @ w)], axis=1)
    )
    stack = (_f32(8, 8), _f32(3, 8, 8))
    _write("scan", "2x4", _scan, stack, (P("data"), P(None, None, "model")), lambda x, ws: x @ ws[0] @ ws[1] @ ws[2])
    inside = shard_map(_scan_inside, in_specs=(P("a"), P()), out_specs=P(), axis_names={"a"})
    _write(
        "scan_inside", "2x2x2", inside, stack, (P("c"), P()),
        lambda x, ws: (x @ ws[0] @ ws[1] @ ws[2]).reshape(2, 4, 8).sum(0),
    )

    compound = shard_map(
        _compound_body, in_specs=P(("data", "model")), out_specs=(P(), P(), P(("data", "model")), P("model", "data"))
    )
    _write("compound", "2x4", compound, (_f32(16, 16),), (P(),))
    joined = shard_map(
        _joined_body, in_specs=P(), out_specs=(P(), P("model"), P(), P()), axis_names={"model"}
    )
    _write("joined", "2x4", joined, (_f32(8, 8),), (P("data"),))
    moved = shard_map(
        _moved_body, in_specs=(P(None, "a"), P("a", None)), out_specs=(P(), P("a")), axis_names={"a"}
    )
    _write("moved", "2x2x2", moved, (_f32(8, 8), _f32(8, 8)), (P(), P()))
    twice = shard_map(
        lambda x: (x, x, lax.psum(x, "model")),
        in_specs=P("model"), out_specs=(P("model"), P(None, "model"), P()), axis_names={"model"},
    )
    _write(
        "twice", "2x4", twice, (_f32(8, 4),), (P("model", "data"),),
        lambda x: (x, jnp.concatenate(jnp.split(x, 4), axis=1), x.reshape(4, 2, 4).sum(0)),
    )
    branches = shard_map(
        _branches_body, in_specs=(P(None, "model"), P()), out_specs=P(None, "model"), axis_names={"model"}
    )
    count = jax.ShapeDtypeStruct((1,), jnp.int32)
    _write("branches", "2x4", branches, (_f32(8, 16), count), (P("data"), P()))
    pipeline = shard_map(_pipeline_body, in_specs=(P("model"), P()), out_specs=P(), axis_names={"model"})
    lie = (P("model"), P(None, "data"))
    stages = (_f32(4, 8, 8), _f32(5, 4, 8))
    _write("pipeline_grad", "2x4", _sum_grad(pipeline), stages, lie, _sum_grad(_layers))
    one = shard_map(_size_one_body, in_specs=P("one"), out_specs=P(None, "one"), axis_names={"one"})
    _write("size_one", "1x8", one, (_f32(8, 4),), (P("x"),), lambda x: 2 * x)
    both = shard_map(
        lambda x: lax.psum(x, ("one", "x")) + lax.axis_index("one"), in_specs=P("x"), out_specs=P(None, "one")
    )
    _write("size_one_of_two", "1x8", both, (_f32(8, 4),), (P("x"),), lambda x: x.sum(0, keepdims=True))
    groups = shard_map(
        lambda x: lax.psum(x, "model", axis_index_groups=[[0, 1], [2, 3]]),
        in_specs=P("data", "model"), out_specs=P("data", "model"),
    )
    _write("groups", "2x4", groups, (_f32(8, 8),), (P("model", "data"),))


if __name__ == "__main__":
    main()
