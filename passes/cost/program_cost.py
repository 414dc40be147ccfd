"""What a module costs on its devices: per-device programs as they are, annotated ones partitioned first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from passes import _mlir
from passes.cost.device import Device
from passes.cost.estimate import Estimate, estimate
from passes.cost.graph import read_graph
from passes.partition.forms import has_local_types
from passes.partition.partition import partition
from passes.partition.report import Report
from passes.pipeline import runner
from passes.program import read, write
from passes.program.read import Program
from passes.program.walk import operations
from passes.sharding.mesh import meshes

_LEGALIZE = "builtin.module(func.func(chlo-legalize-to-stablehlo))"
_INLINE = "builtin.module(inline,symbol-dce)"


@dataclass(frozen=True)
class ProgramCost:
    """What one program costs.

    Attributes:
      program: The program of one device.
      device: What it was costed for.
      estimate: The cost of one device.
      devices: How many run it.
      global_flops: What the program computes on one device alone; ``None`` if that program is not known.
      partitioning: What partitioning it said; ``None`` if it was not partitioned here.
    """

    program: Program
    device: Device
    estimate: Estimate
    devices: int
    global_flops: int | None
    partitioning: Report | None

    @property
    def redundancy(self) -> float | None:
        """How much more all devices compute together than one alone would: 1.0 if nothing is computed twice."""
        if not self.global_flops:
            return None
        return self.estimate.flops * self.devices / self.global_flops


def cost(
    program: Program, device: Device, *, topology: str | None = None, entry_name: str | None = None,
    unknown_runs: int = 1,
) -> ProgramCost:
    """What ``program`` costs on ``device``; an annotated one is partitioned, in place.

    Args:
      program: An annotated program (it has a mesh), a per-device one (``mhlo.num_partitions``), or one for one device.
      device: The kind of device.
      topology: How devices are joined, in place of what ``device`` says.
      entry_name: The entry function; ``None`` finds it.
      unknown_runs: How often a loop runs whose text does not tell.

    Raises:
      UserError: the program cannot be partitioned, or a tensor has a dynamic shape.
    """
    report, whole = None, None
    count = devices_of(program.module)
    if is_global(program):
        whole = flops_alone(program, entry_name, unknown_runs)
        # Compilers inline calls before they fuse, so functions that stay would cost what no device sees.
        report = partition(program, entry_name, keep_functions=False)
        count, entry_name = report.side_table.mesh.device_count, None
    legalize(program)
    inline(program)
    graph = read_graph(program, entry_name, unknown_runs)
    found = estimate(graph, device, topology, entry_name)
    if count == 1:
        whole = found.flops
    return ProgramCost(program, device, found, count, whole, report)


def flops_alone(program: Program, entry_name: str | None, unknown_runs: int) -> int:
    """What ``program``, which stays as it is, computes on one device alone."""
    if _has(program, "chlo."):
        program = read.parse(write.to_bytecode(program.module), program.source)
        legalize(program)
    graph = read_graph(program, entry_name, unknown_runs)
    return graph.work_of(graph.entry).flops


def legalize(program: Program) -> None:
    """``chlo`` ops become the StableHLO ops that they stand for, which is what any compiler computes."""
    if _has(program, "chlo."):
        runner.run(program, _LEGALIZE)


def inline(program: Program) -> None:
    """Compilers inline calls, and fuse what is on both sides."""
    if _has(program, "func.call"):
        runner.run(program, _INLINE)


def _has(program: Program, beginning: str) -> bool:
    """Whether the name of any op begins so."""
    return any(op.name.startswith(beginning) for op in operations(program.module))


def is_global(program: Program) -> bool:
    """Whether ``program`` is annotated and yet to be partitioned.

    How many partitions it says it is for tells nothing: front ends write that into global programs too. But per-device
    programs have no mesh, or say that their types are local.
    """
    return any(mesh.axes for mesh in meshes(program.module).values()) and not has_local_types(program)


def devices_of(module: Any) -> int:
    """How many devices run a per-device program; 1 for any other."""
    attributes = module.operation.attributes
    counts = [
        int(_mlir.ir.IntegerAttr(attributes[key]).value)
        for key in ("mhlo.num_partitions", "mhlo.num_replicas")
        if key in attributes
    ]
    return max(counts, default=1)
