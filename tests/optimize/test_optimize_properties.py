"""Random programs of all kinds of ops, with neutral constants and special values: every pass keeps every bit."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.generate.program import Generated
from tests.generate.properties import optimizes
from tests.generate.strategies import programs


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(generated=programs(exact=False), seed=st.integers(0, 999))
def test_same_bits_and_no_more_ops(generated: Generated, seed: int) -> None:
    optimizes(generated, seed)
