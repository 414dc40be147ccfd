"""Programs as hypothesis draws and shrinks them; the core is that of seeded ones."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.generate.program import OPS, Generated, generate, random_mesh


def programs(exact: bool, ops: int = OPS) -> st.SearchStrategy[Generated]:
    """Programs without a mesh."""
    return st.randoms(use_true_random=False).map(lambda choose: generate(choose, ops, exact))


def programs_on_meshes(ops: int = OPS) -> st.SearchStrategy[Generated]:
    """Exact programs on a mesh, some with manual computations and sharding rules; not annotated yet."""
    return st.randoms(use_true_random=False).map(
        lambda choose: generate(choose, ops, exact=True, mesh=random_mesh(choose))
    )
