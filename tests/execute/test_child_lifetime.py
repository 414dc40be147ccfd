"""A child that runs native code does not outlive a parent that was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

# A loop that never ends keeps the child inside XLA.
PARENT = """
from passes.execute import child
from passes.execute.executor import Executor
from passes.program import read

program = read.parse('''
func.func @main() -> tensor<i32> {
  %0 = stablehlo.constant dense<0> : tensor<i32>
  %1 = stablehlo.while(%a = %0) : tensor<i32>
  cond {
    %c = stablehlo.constant dense<true> : tensor<i1>
    stablehlo.return %c : tensor<i1>
  } do {
    %n = stablehlo.add %a, %a : tensor<i32>
    stablehlo.return %n : tensor<i32>
  }
  return %1 : tensor<i32>
}''')
print("started", flush=True)
Executor().run_global(program, [])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks the Linux kernel")
def test_the_child_ends_with_its_killed_parent(tmp_path: Path) -> None:
    root = str(Path(__file__).parents[2])
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": root}
    )
    assert parent.stdout is not None
    parent.stdout.readline()
    children = _wait(lambda: _children(parent.pid))
    assert children
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    assert _wait(lambda: not any(_is_alive(pid) for pid in children))


def _children(parent: int) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def _is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def _wait(condition):  # type: ignore[no-untyped-def]
    """What ``condition`` returns once it is true, or after 30 seconds."""
    for _ in range(300):
        if found := condition():
            return found
        time.sleep(0.1)
    return condition()
