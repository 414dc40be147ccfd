"""Golden runs hold at most twice what is alive at a time, in this process and in the one that executes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from benchmarks.memory import PROGRAMS, measure, status
from passes.execute import child
from passes.execute.executor import Executor
from passes.program.read import parse


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_golden_run_takes_at_most_twice_the_largest_live_set(program: Callable[[int], str]) -> None:
    live, executing, here = measure(program(32 << 8), "xla")
    assert live >= 6 * (32 << 20)
    assert executing <= 2 * live
    assert here <= 2 * live


def test_the_interpreter_s_process_does_not_keep_what_it_was_given() -> None:
    type = "tensor<2097152xf32>"
    program = parse(f"func.func @main(%a: {type}) -> {type} {{ return %a : {type} }}")
    sizes = []
    for value in range(8):
        Executor("interpreter").run_global(program, [np.arange(2097152, dtype=np.float32) + value])
        running = child.running()
        assert running is not None
        sizes.append(status(running.process.pid, "VmRSS:"))
    # Six more runs on 8 MB each.
    assert sizes[-1] - sizes[1] < 16 << 20
