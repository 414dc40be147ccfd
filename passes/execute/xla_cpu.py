"""XLA's CPU backend as an engine: one device, N virtual devices running a per-device program, or XLA's partitioner.

Everything here runs native code that may abort the process on a bad module, so callers who must survive run it in a
child (`passes.execute.child`).
"""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from passes import _mlir
from passes.errors import UserError
from passes.execute import pjrt
from passes.execute.job import Job

# XLA's passes that make an op's rounding depend on its neighbours: fusion contracts a*b+c, the simplifier turns
# divisions into multiplications, folding rounds like the host's libm, narrowing conversions disappear. Without them
# each op is compiled by itself, so a program and its optimized form give the same bits; with them only 13 of the 19
# results of a train step do.
_UNFAITHFUL_PASSES = (
    "algsimp", "constant_folding", "dot-merger", "fusion", "reshape-mover", "simplify-fp-conversions",
    "transpose-folding",
)

# Has every op rounded on its own, in the type the program says.
_OP_BY_OP = pjrt.Flags(
    debug=(
        ("xla_disable_hlo_passes", ",".join(_UNFAITHFUL_PASSES)),
        # LLVM's optimizer costs more than it saves in one run, and vectorizes the tail of an array unlike its body.
        ("xla_backend_optimization_level", 0),
    ),
    overrides=(
        ("xla_allow_excess_precision", False),
        # XLA's own fusion for its YNN kernels runs all the same, and without the simplifier before it reads out of
        # bounds: a mean pool behind convolutions on one image dies or is wrong (jaxlib 0.10.2).
        ("xla_cpu_experimental_ynn_fusion_type", ""),
    ),
)


# How long the first process waits for the others to come up.
_JOIN_SECONDS = 60


@functools.cache
def client(devices: int) -> Any:
    """The CPU client with ``devices`` virtual devices; it needs neither XLA_FLAGS nor as many cores."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    return _mlir.xla_client.make_cpu_client(num_devices=devices)


def execute(job: Job) -> list[list[np.ndarray]]:
    """Compiles and runs ``job``; returns ``results[result][device]`` (one array per result for global results).

    Raises:
      UserError: XLA does not compile the module or fails while it runs.
    """
    if b"lapack_" in job.code:
        _register_lapack()
    return pjrt.run(client(job.devices), job, _OP_BY_OP)


@dataclass(frozen=True)
class Seat:
    """One process's place among those that run a job together: its rank, their number, where the first one listens."""

    rank: int
    processes: int
    address: str


def execute_seated(job: Job, seat: Seat) -> list[list[np.ndarray]]:
    """Runs a per-device ``job`` together with other processes; returns the results of this process's devices.

    Device ``d`` of ``job`` belongs to process ``d // (devices / processes)``. The processes talk over TCP (gloo), the
    same way as they would on several machines.
    """
    runtime = _mlir.jaxlib_runtime
    port = seat.address.rpartition(":")[2]
    service = runtime.get_distributed_runtime_service(f"[::]:{port}", seat.processes) if seat.rank == 0 else None
    joined = runtime.get_distributed_runtime_client(seat.address, seat.rank, init_timeout=_JOIN_SECONDS)
    joined.connect()
    together = _mlir.xla_client.make_cpu_client(
        distributed_client=joined,
        node_id=seat.rank,
        num_nodes=seat.processes,
        collectives=runtime.make_gloo_tcp_collectives(distributed_client=joined),
        num_devices=job.devices // seat.processes,
    )
    # Copies, for views would outlive the client.
    results = [[shard.copy() for shard in shards] for shards in pjrt.run(together, job, _OP_BY_OP)]
    joined.shutdown()
    if service is not None:
        service.shutdown()
    return results


@functools.cache
def _register_lapack() -> None:
    """Gives XLA the linear algebra kernels that jaxlib ships; they sit on scipy's LAPACK."""
    try:
        # Loads scipy's symbols; the kernels are null pointers before.
        _mlir.lapack_kernels.initialize()
    except ImportError:
        raise UserError("the program calls LAPACK, which needs scipy: pip install scipy") from None
    for platform, kernels in _mlir.lapack.registrations().items():
        for name, kernel, version in kernels:
            _mlir.xla_client.register_custom_call_target(name, kernel, platform=platform, api_version=version)
