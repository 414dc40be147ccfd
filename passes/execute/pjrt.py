"""Compiling and running jobs on the devices of any PJRT client: XLA's CPU backend, or a plugin's accelerator."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from passes import _mlir
from passes.errors import UserError
from passes.execute.job import Job, Kind

_PARTITIONED = ("shardy", "gspmd")


@dataclass(frozen=True)
class Flags:
    """XLA flags to compile with.

    Attributes:
      debug: Fields of the options' debug options.
      overrides: Flags by name; those that this release does not know are left out.
    """

    debug: tuple[tuple[str, Any], ...] = ()
    overrides: tuple[tuple[str, Any], ...] = ()


def run(client: Any, job: Job, flags: Flags = Flags()) -> list[list[np.ndarray]]:
    """Runs ``job`` on the first ``job.devices`` devices of ``client``.

    Returns:
      ``results[result][device]``, of those devices that belong to this process (one array per result for global
      results).

    Raises:
      UserError: there are too few devices, or XLA does not compile the module or fails while it runs.
    """
    devices = client.devices()[: job.devices]
    if len(devices) < job.devices:
        raise UserError(f"the program needs {job.devices} devices; platform {client.platform} has {len(devices)}")
    try:
        executable = _compile(client, job.code, job.kind, job.devices, flags)
        if job.kind in _PARTITIONED:
            return _run_partitioned(executable, devices, job)
        return _launch(executable, devices, job.inputs)
    except _mlir.jaxlib_runtime.JaxRuntimeError as error:
        raise UserError(f"XLA cannot run the program: {_one_line(str(error))}") from None


def _one_line(message: str) -> str:
    return " ".join(message.split())[:600]


@functools.lru_cache(maxsize=8)
def _compile(client: Any, code: bytes, kind: Kind, count: int, flags: Flags) -> Any:
    """The executable; kept, because a program is often run on several inputs in a row."""
    devices, overrides = client.devices()[:count], flags.overrides
    while True:
        options = _options(kind, devices)
        for name, value in flags.debug:
            setattr(options.executable_build_options.debug_options, name, value)
        options.env_option_overrides = list(overrides)
        try:
            return client.compile_and_load(code, _device_list(devices), options)
        except _mlir.jaxlib_runtime.JaxRuntimeError as error:
            # Options come and go with releases; one that this release does not have is not needed here.
            gone = [o for o in overrides if f"No such compile option: '{o[0]}'" in str(error)]
            if not gone:
                raise
            overrides = tuple(o for o in overrides if o not in gone)


def _options(kind: Kind, devices: list[Any]) -> Any:
    xla = _mlir.xla_client
    options = xla.CompileOptions()
    build = options.executable_build_options
    replicas = len(devices) if kind == "per-device" else 1
    # Ids are not contiguous where devices belong to several processes.
    assignment = xla.DeviceAssignment.create(np.array([d.id for d in devices]).reshape(replicas, -1))
    for target in (options, build):
        target.num_replicas, target.num_partitions = replicas, len(devices) // replicas
        target.device_assignment = assignment
    if kind in _PARTITIONED:
        build.use_spmd_partitioning = True
        build.use_shardy_partitioner = kind == "shardy"
    return options


def _device_list(devices: list[Any]) -> Any:
    return _mlir.jaxlib_runtime.DeviceList(tuple(devices))


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
    local = [(s, d) for s, d in zip(shards, devices, strict=True) if d.process_index == d.client.process_index()]
    arrays = [_put(shard, device) for shard, device in local]
    if len(devices) == 1:
        return arrays[0]
    sharding = many_devices(_device_list(devices), xla.HloSharding.replicate())
    return xla.ArrayImpl(_Aval(shards[0].shape, shards[0].dtype), sharding, arrays, True, _skip_checks=True)


def _launch(executable: Any, devices: list[Any], inputs: list[list[np.ndarray]]) -> list[list[np.ndarray]]:
    placed = [_put_shards(shards, devices) for shards in inputs]
    outputs = executable.execute_sharded(placed).disassemble_into_single_device_arrays()
    return [[_to_numpy(shard) for shard in shards] for shards in outputs]


def _to_numpy(array: Any) -> np.ndarray:
    """The elements; those of a CPU device are a view of its buffer, which they keep alive and cannot be written to."""
    # np.asarray would make an array of object references for bf16, f8 and i4.
    found: np.ndarray = array._single_device_array_to_np_array_did_copy()[0]
    return found


def _run_partitioned(executable: Any, devices: list[Any], job: Job) -> list[list[np.ndarray]]:
    """Cuts the global inputs as the compiled program wants them and assembles its results."""
    if job.devices == 1:  # XLA says nothing of shardings then, and there is nothing to cut.
        return _launch(executable, devices, job.inputs)
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
