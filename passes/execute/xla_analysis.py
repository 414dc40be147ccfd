"""What XLA says a program costs: its cost analysis before optimization, and the buffers its CPU backend assigns."""

from __future__ import annotations

from dataclasses import dataclass

from passes import _mlir
from passes.errors import UserError
from passes.execute import pjrt, xla_cpu
from passes.execute.job import Kind
from passes.program import write
from passes.program.read import Program

# How well LLVM optimizes changes no buffer, only takes half of the time.
_QUICK = pjrt.Flags(overrides=(("xla_backend_optimization_level", 0),))


@dataclass(frozen=True)
class Buffers:
    """Bytes of one device's buffers.

    Attributes:
      arguments, results, temporaries: By what they hold.
      aliased: Of the results, those that take the place of an argument.
    """

    arguments: int
    results: int
    temporaries: int
    aliased: int

    @property
    def peak(self) -> int:
        """All together."""
        return self.arguments + self.results + self.temporaries - self.aliased


def work(program: Program) -> tuple[float, float]:
    """FLOPs and transcendentals of ``program`` as ``HloCostAnalysis`` counts them: loops once, before optimization.

    Raises:
      UserError: XLA cannot read the program.
    """
    runtime = _mlir.jaxlib_runtime
    try:
        computation = runtime.mlir.mlir_module_to_xla_computation(
            write.to_bytecode(program.module), use_tuple_args=False, return_tuple=False
        )
        found = runtime.hlo_module_cost_analysis(xla_cpu.client(1), computation.get_hlo_module())
    except runtime.JaxRuntimeError as error:
        raise UserError(f"XLA cannot read the program: {str(error).splitlines()[0]}") from None
    return found.get("flops", 0.0), found.get("transcendentals", 0.0)


def buffers(code: bytes, kind: Kind, devices: int) -> Buffers:
    """The buffers of ``code`` compiled for virtual CPU devices; nothing is allocated or run.

    Raises:
      UserError: XLA does not compile it.
    """
    try:
        executable = pjrt._compile(xla_cpu.client(devices), code, kind, devices, _QUICK)
    except _mlir.jaxlib_runtime.JaxRuntimeError as error:
        raise UserError(f"XLA does not compile the program: {str(error).splitlines()[0]}") from None
    stats = executable.get_compiled_memory_stats()
    return Buffers(
        stats.argument_size_in_bytes, stats.output_size_in_bytes, stats.temp_size_in_bytes, stats.alias_size_in_bytes
    )
