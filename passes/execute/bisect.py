"""Finds the op of a per-device program at which it stops computing what the global program does.

The program is walked op by op (`walk`); where a loop or branch is the first that is wrong, so are its regions
(`descent`).
"""

from __future__ import annotations

from pathlib import Path

from passes.execute import golden as golden_values
from passes.execute import inputs as input_kinds
from passes.execute import stepwise
from passes.execute.descent import descend
from passes.execute.executor import Executor
from passes.execute.findings import Outcome
from passes.execute.golden import Progress
from passes.execute.store import Store
from passes.execute.traced import Traced, frame_of
from passes.execute.verify import cut
from passes.execute.walk import Mode, Walk
from passes.partition.side_table import SideTable
from passes.program.read import Program


def search(
    numbered: Program,
    traced: Program,
    side_table: SideTable,
    *,
    inputs: str = "exact",
    seed: int = 0,
    mode: Mode = "isolated",
    executor: Executor | None = None,
    store: Store | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Compares a traced per-device program with the global one, op by op, up to the first difference.

    Args:
      numbered: The global program with its ops numbered, as `partition` reports it.
      traced: The per-device program with its marks.
      side_table: How its arguments and results lie.
      inputs: A kind of `inputs.KINDS`, or a ``.npz`` or ``.npy`` file.
      mode: How ops are fed, see the module.
      store: Keeps golden values; ``None`` for a temporary folder.
      progress: Called while the per-device program runs.

    Raises:
      UserError: the programs and the side table do not belong together, or an op cannot be executed.
      NativeFailure: the engine died.
    """
    if store is None:
        import tempfile

        with tempfile.TemporaryDirectory(prefix="shlo-bisect-") as folder:
            return search(
                numbered, traced, side_table, inputs=inputs, seed=seed, mode=mode, executor=executor,
                store=Store(Path(folder)), progress=progress,
            )
    executor = executor or Executor()
    given = input_kinds.make(numbered, inputs, seed)
    values = golden_values.evaluate(stepwise.take_apart(numbered), given.arrays, store, executor)
    marked = Traced(stepwise.take_apart(traced), values.steps, frame_of(side_table))
    arguments = [cut(values.inputs[entry.index], entry.sharding) for entry in side_table.arguments]
    run = Walk(values, marked, arguments, mode, executor, inputs == "exact")
    how = f"{side_table.mesh.device_count} virtual devices ({executor.title}), {given.description}, {mode}"
    finding = run.finish(progress or (lambda done, total: None))
    if finding is not None:
        finding = descend(run, finding)
    return Outcome(finding, run.checked, tuple(run.drifted), how)
