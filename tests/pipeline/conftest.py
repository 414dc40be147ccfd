"""Passes of ours that misbehave, also in the worker process."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from passes.pipeline import registry, worker_process

INPUTS = Path(__file__).parent / "inputs"


@pytest.fixture
def samples(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Registers the passes of ``inputs/sample_passes.py`` here and for a worker of its own."""
    monkeypatch.syspath_prepend(str(INPUTS))
    monkeypatch.setenv("PYTHONPATH", str(INPUTS))
    module = importlib.import_module("sample_passes")
    for declared in (module.Tag, module.Remove, module.Refuse, module.Spoil, module.Break, module.Die, module.Sleep):
        monkeypatch.setitem(registry.OWN_PASSES, declared.name, f"sample_passes:{declared.__name__}")
    worker_process.shut_down()
    yield
    worker_process.shut_down()
