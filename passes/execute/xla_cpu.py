"""XLA's CPU backend as an engine: one device, N virtual devices running a per-device program, or XLA's partitioner.

Everything here runs native code that may abort the process on a bad module, so callers who must survive run it in a
child (`passes.execute.child`).
"""

from __future__ import annotations

import functools
import os
from typing import Any

import numpy as np

from passes import _mlir
from passes.errors import UserError
from passes.execute.job import Job, Kind


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
    return run_on(client(job.devices), job)


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


@functools.lru_cache(maxsize=8)
def _compile(client: Any, code: bytes, kind: Kind, count: int) -> Any:
    """The executable; kept, because a program is often run on several inputs in a row."""
    devices = _device_list(client.devices()[:count])
    overrides = list(_OVERRIDES)
    while True:
        options = _options(kind, count)
        options.env_option_overrides = overrides
        try:
            return client.compile_and_load(code, devices, options)
        except _mlir.jaxlib_runtime.JaxRuntimeError as error:
            # Options come and go with releases; one that this release does not have is not needed here.
            gone = [o for o in overrides if f"No such compile option: '{o[0]}'" in str(error)]
            if not gone:
                raise
            overrides = [o for o in overrides if o not in gone]


def run_on(client: Any, job: Job) -> list[list[np.ndarray]]:
    """Runs ``job`` on the first ``job.devices`` devices of any PJRT ``client``."""
    devices = client.devices()[: job.devices]
    try:
        executable = _compile(client, job.code, job.kind, job.devices)
        if job.kind in _PARTITIONED:
            return _run_partitioned(executable, devices, job)
        return _launch(executable, devices, job.inputs)
    except _mlir.jaxlib_runtime.JaxRuntimeError as error:
        raise UserError(f"XLA cannot run the program: {_first_lines(str(error))}") from None


def _first_lines(message: str) -> str:
    return " ".join(message.split())[:600]


def _device_list(devices: list[Any]) -> Any:
    return _mlir.jaxlib_runtime.DeviceList(tuple(devices))


_PARTITIONED = ("shardy", "gspmd")

# XLA's passes that make an op's rounding depend on its neighbours: fusion contracts a*b+c, the simplifier turns
# divisions into multiplications, folding rounds like the host's libm, narrowing conversions disappear. Without them
# each op is compiled by itself, so a program and its optimized form give the same bits; with them only 13 of the 19
# results of a train step do.
_UNFAITHFUL_PASSES = (
    "algsimp", "constant_folding", "dot-merger", "fusion", "reshape-mover", "simplify-fp-conversions",
    "transpose-folding",
)


_OVERRIDES = (
    ("xla_allow_excess_precision", False),
    # XLA's own fusion for its YNN kernels runs all the same, and without the simplifier before it reads out of bounds:
    # a mean pool behind convolutions on one image dies or is wrong (jaxlib 0.10.2).
    ("xla_cpu_experimental_ynn_fusion_type", ""),
)


def _op_by_op(options: Any) -> None:
    """Has every op rounded on its own, in the type the program says."""
    debug = options.executable_build_options.debug_options
    debug.xla_disable_hlo_passes = ",".join(_UNFAITHFUL_PASSES)
    # LLVM's optimizer costs more than it saves in one run, and vectorizes the tail of an array unlike its body.
    debug.xla_backend_optimization_level = 0


def _options(kind: Kind, devices: int) -> Any:
    xla = _mlir.xla_client
    options = xla.CompileOptions()
    build = options.executable_build_options
    _op_by_op(options)
    replicas = devices if kind == "per-device" else 1
    partitions = devices if kind in _PARTITIONED else 1
    for target in (options, build):
        target.num_replicas, target.num_partitions = replicas, partitions
        target.device_assignment = xla.DeviceAssignment.create(
            np.arange(replicas * partitions).reshape(replicas, partitions)
        )
    if kind in _PARTITIONED:
        build.use_spmd_partitioning = True
        build.use_shardy_partitioner = kind == "shardy"
    return options


class _Aval:
    """The abstract value that `batched_device_put` reads: jax's ShapedArray without jax."""

    weak_type = False

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.shape, self.dtype, self.ndim = shape, dtype, len(shape)


@functools.cache
def _sharding_classes() -> tuple[type, type]:
    """Subclasses with the two members that jax's own shardings would bring."""
    xla = _mlir.xla_client

    class OneDevice(xla.SingleDeviceSharding):  # type: ignore[misc,name-defined]
        memory_kind = None

        def _to_xla_hlo_sharding(self, rank: int) -> Any:
            return xla.HloSharding.replicate()

    class ManyDevices(xla.GSPMDSharding):  # type: ignore[misc,name-defined]
        memory_kind = None

        def _to_xla_hlo_sharding(self, rank: int) -> Any:
            return xla.HloSharding.replicate()

    return OneDevice, ManyDevices


def _put(array: np.ndarray, device: Any) -> Any:
    one_device, _ = _sharding_classes()
    # ascontiguousarray makes scalars one-dimensional.
    array = np.ascontiguousarray(array).reshape(array.shape)
    aval = _Aval(array.shape, array.dtype)
    return _mlir.jaxlib_runtime.batched_device_put(
        aval, one_device(device), [array], [device], True, enable_x64=True
    )


def _put_shards(shards: list[np.ndarray], devices: list[Any]) -> Any:
    """One array with a shard per device. Execution looks at the shards only, so the stated sharding may be any."""
    xla = _mlir.xla_client
    _, many_devices = _sharding_classes()
    arrays = [_put(shard, device) for shard, device in zip(shards, devices, strict=True)]
    if len(arrays) == 1:
        return arrays[0]
    sharding = many_devices(_device_list(devices), xla.HloSharding.replicate())
    return xla.ArrayImpl(_Aval(shards[0].shape, shards[0].dtype), sharding, arrays, True, _skip_checks=True)


def _launch(executable: Any, devices: list[Any], inputs: list[list[np.ndarray]]) -> list[list[np.ndarray]]:
    placed = [_put_shards(shards, devices) for shards in inputs]
    outputs = executable.execute_sharded(placed).disassemble_into_single_device_arrays()
    return [[_to_numpy(shard) for shard in shards] for shards in outputs]


def _to_numpy(array: Any) -> np.ndarray:
    # np.asarray would make an array of object references for bf16, f8 and i4. The copy outlives the device buffer.
    view, _ = array._single_device_array_to_np_array_did_copy()
    return np.array(view)


def _run_partitioned(executable: Any, devices: list[Any], job: Job) -> list[list[np.ndarray]]:
    """Cuts the global inputs as the compiled program wants them and assembles its results."""
    of_parameters = executable.get_parameter_shardings()
    of_results = executable.get_output_shardings()
    if (of_parameters is None and job.inputs) or of_results is None:
        raise UserError("XLA did not say how it partitioned the program; nothing can be compared")
    inputs = [
        [_cut(shards[0], tile) for tile in _tiles(sharding, shards[0].ndim, job.devices)]
        for shards, sharding in zip(job.inputs, of_parameters or (), strict=True)
    ]
    results = _launch(executable, devices, inputs)
    return [
        [_assemble(shards, _tiles(sharding, shards[0].ndim, job.devices))]
        for shards, sharding in zip(results, of_results, strict=True)
    ]


# A device's tile: for each dimension which of how many equal parts, the last of them padded.
_Tile = tuple[tuple[int, int], ...]


def _tiles(proto: Any, rank: int, devices: int) -> list[_Tile]:
    sharding = _mlir.xla_client.HloSharding.from_proto(proto)
    if sharding.is_replicated() or rank == 0 or sharding.is_maximal():
        return [((0, 1),) * rank] * devices
    counts = list(sharding.tile_assignment_dimensions())
    tiles: list[_Tile] = [()] * devices
    for position, device in enumerate(sharding.tile_assignment_devices()):
        index = np.unravel_index(position, counts)[:rank]
        tiles[device] = tuple((int(i), n) for i, n in zip(index, counts, strict=False))
    return tiles


def _cut(array: np.ndarray, tile: _Tile) -> np.ndarray:
    sizes = [-(-size // n) for size, (_, n) in zip(array.shape, tile, strict=True)]
    part = array[tuple(slice(i * k, (i + 1) * k) for k, (i, _) in zip(sizes, tile, strict=True))]
    missing = [(0, k - have) for k, have in zip(sizes, part.shape, strict=True)]
    return np.pad(part, missing) if any(after for _, after in missing) else part


def _assemble(shards: list[np.ndarray], tiles: list[_Tile]) -> np.ndarray:
    counts = [n for _, n in tiles[0]]
    whole = np.empty([k * n for k, n in zip(shards[0].shape, counts, strict=True)], shards[0].dtype)
    for shard, tile in zip(shards, tiles, strict=True):
        whole[tuple(slice(i * k, (i + 1) * k) for k, (i, _) in zip(shard.shape, tile, strict=True))] = shard
    return whole
