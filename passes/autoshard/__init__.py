"""Finds the sharding of a program: dimensions that go together, what splitting them costs, and which to split.

  outcome = passes.autoshard.choose("train_step.mlir", mesh="data=2,model=4", memory=1e9)
  outcome.best.rules                      # a rules file; outcome.best.real: what the lowered program costs
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from passes.autoshard.autoshard import Outcome
    from passes.cost.device import Device
    from passes.program.read import Program
    from passes.sharding.mesh import Mesh


def choose(
    module: Program | str, *, mesh: Mesh | str | None = None, device: Device | str = "tpu_v5e", objective: str = "time",
    memory: float | None = None, alternatives: int = 1, compare: bool = True, seconds: float = 20.0,
) -> Outcome:
    """The best sharding of a program that is found, which is what ``shlo autoshard`` does; the program stays as it is.

    The same input gives the same answer, unless the time runs out.

    Args:
      module: The program, or the path of its file. What is sharded in it stays as it is.
      mesh: Its devices, as ``data=2,model=4`` or a `Mesh`; ``None`` takes the mesh that the program has.
      device: Their kind: a preset (``shlo cost --list-devices``), a ``.toml`` file or a `Device`.
      objective: ``time``, ``bytes`` (sent) or ``memory``.
      memory: Bytes that a plan may take of a device; ``None`` for what the device has, ``math.inf`` for any amount.
      alternatives: How many plans to lower in any case; `Outcome.others` has those that were not chosen.
      compare: Whether the usual plans are lowered too (`Outcome.presets`); one that is better is the answer.
      seconds: When to stop searching, in CPU seconds; a quarter of it is for looking for a proof.

    Returns:
      ``best`` with its ``rules`` as a rules file, its ``real`` cost and the ``price`` by the model; whether it ``fits``
      the limit; and a ``certificate`` of how far from optimal it can be.

    Raises:
      UserError: there is no such file, device, preset or objective, no mesh, or shardings that cannot be kept.
    """
    from passes.autoshard import autoshard
    from passes.autoshard.search import Goal
    from passes.cost import device as devices
    from passes.errors import UserError
    from passes.program import read
    from passes.sharding import rules_file

    if objective not in ("time", "bytes", "memory"):
        raise UserError(f"the objective is time, bytes or memory, not '{objective}'")
    program = read.read(module) if isinstance(module, str) else module
    kind = devices.load(device) if isinstance(device, str) else device
    wanted = rules_file.parse_mesh(mesh) if isinstance(mesh, str) else mesh
    limit = kind.memory if memory is None else None if memory == math.inf else memory
    return autoshard.choose(
        program, wanted, kind, Goal(limit, objective, seconds), lowered=max(4, alternatives),
        alternatives=alternatives > 1, compare=compare, certify_seconds=seconds / 4,
    )
