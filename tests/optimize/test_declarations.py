"""Every pass of ours does to its declared example what it declares, and can be spelled in a pipeline."""

from __future__ import annotations

import pytest

from passes import _mlir
from passes.pipeline.base import Counters
from passes.pipeline.registry import OWN_PASSES, own_pass


def normalized(text: str) -> str:
    return str(_mlir.ir.Module.parse(text, _mlir.context()))


@pytest.mark.parametrize("name", OWN_PASSES)
def test_before_becomes_after(name: str) -> None:
    declared = own_pass(name)
    assert declared is not None
    module = _mlir.ir.Module.parse(declared.before, _mlir.context())
    declared().run(module.operation, Counters(declared.statistics))
    assert module.operation.verify()
    assert str(module) == normalized(declared.after)
    assert normalized(declared.after) != normalized(declared.before)


@pytest.mark.parametrize("name", OWN_PASSES)
def test_declaration_is_complete(name: str) -> None:
    declared = own_pass(name)
    assert declared is not None
    assert declared.name == name
    assert declared.summary and not declared.summary.endswith(".")
    assert all(statistic.help for statistic in declared.statistics)
    assert all(option.help for option in declared.options())
    assert declared.from_options({}) == declared()
    assert declared().to_text() == name
