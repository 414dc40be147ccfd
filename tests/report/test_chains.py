"""The chains of all tensors at once are those that ``shlo explain`` tells of one."""

from __future__ import annotations

import pytest

from passes.report.chains import Chains
from passes.report.program_rows import rows
from passes.sharding.answers import Link
from passes.sharding.flow import tensor_of
from passes.sharding.origins.conflicts import all_conflicts
from tests.report.conftest import ROOT, annotated


def _links(chains: Chains, end: int) -> list[Link]:
    found = []
    while end >= 0:
        found.insert(0, chains.links[end])
        end = chains.parents[end]
    return found


@pytest.mark.parametrize(("example", "plan"), [
    ("decoder", "megatron"), ("scan_layers", "megatron_fsdp"), ("moe", "expert"),
])
def test_every_chain_is_the_one_explain_tells(example: str, plan: str) -> None:
    folder = ROOT / "examples" / example
    found = annotated(str(folder / "train_step.mlir"), str(folder / f"{plan}.toml"))
    teller, explainer = found.teller, found.explainer
    assert teller is not None and explainer is not None
    chains, compared = Chains(teller), 0
    tensors = [tensor_of(result) for ops in teller.origins.copies.values() for op in ops for result in op.results]
    tensors += [tensor for kind in ("argument", "result") for tensor in explainer.of_signature(teller.origins, kind)]
    for tensor in tensors:
        answer = teller.explain(tensor)
        ways = chains.of(tensor)
        assert [(w.dimension, w.axis) for w in answer.axes] == [(dim, axis) for dim, axis, _ in ways]
        for way, (_, _, end) in zip(answer.axes, ways, strict=True):
            assert list(way.chain) == _links(chains, end)
            compared += 1
    assert compared > 50
    assert len(chains.links) <= 2 * compared + len(tensors)


def test_chains_share_their_beginnings() -> None:
    found = annotated()
    assert found.teller is not None
    chains = Chains(found.teller)
    for ops in found.teller.origins.copies.values():
        for result in ops[0].results:
            chains.of(tensor_of(result))
    whole = sum(len(_links(chains, end)) for end in range(len(chains.links)))
    assert len(chains.links) < whole / 3


@pytest.mark.parametrize(("example", "plan"), [("decoder", "fsdp"), ("scan_layers", "megatron_fsdp")])
def test_what_was_not_taken_is_what_explain_tells(example: str, plan: str) -> None:
    folder = ROOT / "examples" / example
    found = annotated(str(folder / "train_step.mlir"), str(folder / f"{plan}.toml"))
    teller = found.teller
    assert teller is not None
    known = all_conflicts(teller.origins.chains)
    tensors = {tensor_of(result) for ops in teller.origins.copies.values() for op in ops for result in op.results}
    told = {tensor: teller.explain(tensor).not_taken for tensor in tensors}
    assert any(told.values())
    for tensor, answer in told.items():
        mine = [teller.not_taken(tensor, conflict) for conflict in known.get(tensor, [])]
        assert sorted(map(repr, mine)) == sorted(map(repr, answer))
    # The page has each once, with the tensors that missed it.
    made = rows(found)
    missed = [position for tensor in made.tensors for position in tensor.missed]
    assert set(missed) == set(range(len(made.conflicts))) and missed
