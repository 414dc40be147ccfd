"""Some of the layers of ``benchmarks/moe_layers.py``: each model, each mesh, each number of tokens, each form."""

from __future__ import annotations

import pytest

from tests.moe.layer_programs import CLOSE, SMALL
from tests.moe.mesh_cases import FORMS, MESHES, TOKENS, MeshCase, every_case, furthest

SOME = every_case()[:288:26]


@pytest.mark.parametrize("case", SOME, ids=str)
def test_dense_sparse_and_all_devices_agree(case: MeshCase) -> None:
    assert furthest(case) < CLOSE


def test_there_is_a_case_for_every_layer_on_every_mesh() -> None:
    cases = every_case()
    assert len({(c.model, c.mesh, c.tokens) for c in cases}) == len(SMALL) * len(MESHES) * len(TOKENS) == 288
    assert len(cases) == len(set(cases)) and {c.form for c in cases} == set(FORMS)
    assert {c.tokens for c in SOME} == set(TOKENS) and len({c.model for c in SOME}) > 5
    assert len({c.mesh for c in SOME}) > 4 and {c.form for c in SOME} == set(FORMS)
