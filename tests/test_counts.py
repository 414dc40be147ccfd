"""Ops after -O and collectives of every plan of the examples: as many as docs/benchmarks.json has, or fewer.

A change that lowers a count is recorded by ``python benchmarks/headlines.py counts``.
"""

from __future__ import annotations

import json

import pytest

from benchmarks import headlines

RECORDED = json.loads(headlines.RESULTS.read_text())["counts"]
MODULES = {headlines.name_of(path): path for path in headlines.modules()}
PLANS = {name: (module, rules) for name, module, rules in headlines.plans()}
# These take as long as all others together.
LONG = {name for name in PLANS if name.startswith("resnet50/train_step")}


def test_every_module_and_plan_is_recorded() -> None:
    assert set(RECORDED["optimize"]) == set(MODULES)
    assert set(RECORDED["plans"]) == set(PLANS)


@pytest.mark.parametrize("name", MODULES)
def test_optimizing_leaves_no_more_ops(name: str) -> None:
    found, recorded = headlines.count_ops(MODULES[name]), RECORDED["optimize"][name]
    assert found["ops"] == recorded["ops"]
    assert found["optimized"] <= recorded["optimized"], "if that is meant: python benchmarks/headlines.py counts"


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long] if name in LONG else []) for name in PLANS]
)
def test_plans_communicate_no_more(name: str) -> None:
    found, recorded = headlines.count_collectives(*PLANS[name]), RECORDED["plans"][name]
    more = {kind: count for kind, count in found.items() if count > recorded.get(kind, 0)}
    assert not more, f"recorded: {recorded}; if that is meant: python benchmarks/headlines.py counts"
