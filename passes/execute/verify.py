"""Executes two programs on the same inputs and compares what they return.

A per-device program comes with its side table: global inputs are cut into shards, every virtual device runs the
program, and the shards of its results are assembled, compared, and checked against each other.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from passes.errors import UserError
from passes.execute import inputs as input_kinds
from passes.execute.arrays import TensorType, dtype_of, most_visible, same_bits
from passes.execute.compare import BIT_EQUAL, CLOSE, Comparison, Level, Tolerance, compare
from passes.execute.distance import Figures
from passes.execute.exactness import rounds_nowhere
from passes.execute.executor import Executor, Shards, signature
from passes.execute.inputs import Inputs
from passes.execute.noise import computed_in, rounding_noise
from passes.execute.prepare import annotated_devices
from passes.execute.report import Report
from passes.partition.forms import whole_computation
from passes.partition.side_table import DeviceConstant, Entry, SideTable
from passes.program.entry import find_entry, results
from passes.program.read import Program
from passes.sharding.mesh import Mesh, Sharding


@dataclass(frozen=True)
class _Run:
    """One verification: both programs, what they run on, and what the original returned."""

    original: Program
    transformed: Program
    entry: str | None
    inputs: Inputs
    level: Level | None
    devices: int | None
    executor: Executor
    expected: list[np.ndarray]
    computed_in: Tolerance | None


def verify(
    original: Program,
    transformed: Program,
    side_table: SideTable | None = None,
    *,
    entry: str | None = None,
    inputs: str = "normal",
    seed: int = 0,
    level: Level | None = None,
    devices: int | None = None,
    xla_partition: bool = False,
    executor: Executor | None = None,
) -> Report:
    """Runs both programs and compares their results.

    Args:
      side_table: Given, ``transformed`` is a per-device program that it describes; else both are global. If it is one
        manual computation, XLA partitions it.
      entry: The entry function's name in both programs; ``None`` finds it.
      inputs: A kind of `inputs.KINDS`, or a ``.npz`` or ``.npy`` file.
      seed: Seeds generated inputs.
      level: The claim; ``None`` takes ``bit-equal``, but ``close`` where several devices run a program that rounds on
        these inputs.
      devices: How many devices there are; ``None`` for as many as the mesh has.
      xla_partition: Have XLA partition ``transformed`` by its annotations.
      executor: What runs the programs; by default XLA's CPU backend in a child process.

    Raises:
      UserError: a program cannot be executed, the two have different signatures, or the mesh exceeds ``devices``.
      NativeFailure: the executor died.
    """
    executor = executor or Executor()
    if side_table is not None:
        check_table(original, transformed, side_table, entry, devices)
    else:
        _check_same_signature(original, transformed, entry)
    clock = [time.perf_counter()]
    given = input_kinds.make(original, inputs, seed, entry=entry)
    clock.append(time.perf_counter())
    expected = executor.run_global(original, given.arrays, entry=entry)
    clock.append(time.perf_counter())
    run = _Run(original, transformed, entry, given, level, devices, executor, expected, computed_in(original))
    if side_table is not None and not is_manual(transformed, entry):
        report = _per_device(run, side_table)
    elif side_table is not None or xla_partition:
        report = _partitioned(run)
    else:
        report = _global(run)
    clock.append(time.perf_counter())
    stages = ("inputs", "original", "transformed and comparison")
    seconds = {stage: end - start for stage, start, end in zip(stages, clock[:-1], clock[1:], strict=True)}
    return replace(report, seconds=seconds)


def _global(run: _Run) -> Report:
    got = run.executor.run_global(run.transformed, run.inputs.arrays, entry=run.entry)
    return _report(run, f"executed on {run.executor.place(run.transformed)}", got, run.level or BIT_EQUAL)


def _partitioned(run: _Run) -> Report:
    count = annotated_devices(run.transformed)
    if count == 1:
        raise run.transformed.error("the program has no mesh of several devices for XLA to partition it over")
    _check_devices(count, run.devices)
    got = run.executor.run_partitioned(run.transformed, run.inputs.arrays, count, entry=run.entry)
    how = f"partitioned by XLA and executed on {count} virtual devices ({run.executor.title})"
    return _report(run, how, got, _spread_level(run))


def _spread_level(run: _Run) -> Level:
    """The claim about a program that several devices run: they sum in another order, which shows where it rounds."""
    if run.level is not None:
        return run.level
    return BIT_EQUAL if rounds_nowhere(run.original, run.inputs.arrays, run.entry) else CLOSE


def _report(run: _Run, how: str, got: list[np.ndarray], level: Level) -> Report:
    names = [v.name for v in results(find_entry(run.original, run.entry))]

    def judge(index: int, noise: Sequence[Figures] = ()) -> Comparison:
        return compare(
            names[index], run.expected[index], got[index], level, computed_in=run.computed_in, noise=noise
        )

    return _judged(run, how, judge)


def _judged(run: _Run, how: str, judge: Callable[..., Comparison]) -> Report:
    """The report of ``judge(result index)``; results it refuses are judged again by the program's rounding noise."""
    compared = [judge(index) for index in range(len(run.expected))]
    noise: list[list[Figures]] = [[] for _ in compared]
    runs = rounding_noise(run.original, run.inputs.arrays, run.expected, run.executor, run.entry)
    while refused := [i for i, c in enumerate(compared) if not c.ok and c.level == CLOSE]:
        moved = next(runs, None)
        if moved is None:
            break
        for index in refused:
            noise[index].append(moved[index])
            compared[index] = judge(index, noise[index])
    return Report(how, run.inputs.description, tuple(compared), _notes(compared))


def _check_same_signature(original: Program, transformed: Program, entry: str | None) -> None:
    for role, ours, theirs in zip(
        ("argument", "result"), signature(original, entry), signature(transformed, entry), strict=True
    ):
        if len(ours) != len(theirs):
            raise transformed.error(
                f"the programs cannot be compared: {original.source} has {len(ours)} {role}s, {len(theirs)} are here; "
                "a per-device program needs its side table (--side-table)"
            )
        for index, (left, right) in enumerate(zip(ours, theirs, strict=True)):
            if left != right:
                raise transformed.error(
                    f"the programs cannot be compared: {role} {index} is {left} in {original.source} and {right} here; "
                    "a per-device program needs its side table (--side-table)"
                )


def _check_devices(needed: int, given: int | None, mesh: Mesh | None = None) -> None:
    if given is not None and needed > given:
        shape = f" ({', '.join(f'{name}={size}' for name, size in mesh.axes)})" if mesh else ""
        raise UserError(f"the mesh has {needed} devices{shape}, but there are only {given}; give --devices={needed}")


def _per_device(run: _Run, table: SideTable) -> Report:
    count = table.mesh.device_count
    got = run.executor.run_per_device(run.transformed, spread(run.inputs.arrays, table), count, entry=run.entry)

    level = _spread_level(run)

    def judge(index: int, noise: Sequence[Figures] = ()) -> Comparison:
        claim = partial(compare, level=level, computed_in=run.computed_in, noise=noise)
        return _compare_shards(table.results[index], run.expected[index], got[index], claim)

    return _judged(run, f"executed on {count} virtual devices ({run.executor.title})", judge)


def check_table(
    original: Program, transformed: Program, table: SideTable, entry: str | None, devices: int | None
) -> None:
    """Checks that the table fits both programs, so that a wrong file is an error about the file."""
    _check_devices(table.mesh.device_count, devices, table.mesh)
    _check_signature(original, table, "global_shape", (), entry)
    if is_manual(transformed, entry):
        _check_signature(transformed, table, "global_shape", (), entry)
    else:
        check_per_device(transformed, table, entry)


def is_manual(program: Program, entry: str | None) -> bool:
    """Whether ``program`` is one manual computation on global types, which only a partitioner runs."""
    return whole_computation(find_entry(program, entry)) is not None


def check_per_device(program: Program, table: SideTable, entry: str | None) -> None:
    """Checks that the table fits the per-device ``program``."""
    if sorted(table.mesh.devices) != list(range(table.mesh.device_count)):
        raise UserError(f"the side table's mesh numbers its devices {list(table.mesh.devices)}; expected 0, 1, 2, ...")
    _check_signature(program, table, "local_shape", table.constants, entry)


def _check_signature(
    program: Program, table: SideTable, shape: str, constants: tuple[DeviceConstant, ...], entry: str | None
) -> None:
    for role, types, entries in zip(
        ("argument", "result"), signature(program, entry), (table.arguments, table.results), strict=True
    ):
        described = [TensorType(getattr(e, shape), e.dtype) for e in entries]
        if role == "argument":
            described += [TensorType(c.local_shape, c.dtype) for c in constants]
        if types != described:
            reason = _unlike(role, types, described)
            raise program.error(f"the side table does not belong to this program: {reason}")


def _unlike(role: str, types: list[TensorType], described: list[TensorType]) -> str:
    if len(types) != len(described):
        return f"it lists {len(described)} {role}s, the program has {len(types)}"
    index = next(i for i, (a, b) in enumerate(zip(types, described, strict=True)) if a != b)
    return f"{role} {index} is {types[index]}, the table says {described[index]}"


def cut(array: np.ndarray, sharding: Sharding) -> list[np.ndarray]:
    """The shards of a global array, by device 0, 1, ..."""
    return [array[sharding.slices(device, array.shape)] for device in range(sharding.mesh.device_count)]


def spread(arrays: Sequence[np.ndarray], table: SideTable) -> Shards:
    """What each device gets: its shards of the global arguments ``arrays``, and its parts of the constants."""
    shards = [shards_of(array, entry) for array, entry in zip(arrays, table.arguments, strict=True)]
    return [*shards, *map(parts_of, table.constants)]


def gathered(shards: list[np.ndarray], entry: Entry) -> np.ndarray:
    """The global result, without padding, that the devices hold ``shards`` of."""
    padded = assemble(shards, entry.sharding, entry.divided_shape)
    return padded[tuple(slice(0, size) for size in entry.global_shape)]


def shards_of(array: np.ndarray, entry: Entry) -> list[np.ndarray]:
    """The shards of a global argument, by device; padding is NaN, or the largest number, so that it shows if used."""
    if entry.padded_shape is None:
        return cut(array, entry.sharding)
    whole = np.full(entry.padded_shape, most_visible(array.dtype), array.dtype)
    whole[tuple(slice(0, size) for size in array.shape)] = array
    return cut(whole, entry.sharding)


def parts_of(constant: DeviceConstant) -> list[np.ndarray]:
    """What each device gets of a constant.

    Raises:
      UserError: there are more or fewer elements than its shape says.
    """
    dtype = dtype_of(constant.dtype)
    if len(constant.data) != dtype.itemsize * math.prod(constant.global_shape):
        given = f"{len(constant.data)} bytes for a constant of {constant.dtype} {list(constant.global_shape)}"
        raise UserError(f"damaged side table: it has {given}")
    whole = np.frombuffer(constant.data, dtype).reshape(constant.global_shape)
    return [
        whole[tuple(slice(s, s + n) for s, n in zip(start, constant.local_shape, strict=True))]
        for start in constant.starts
    ]


def assemble(shards: list[np.ndarray], sharding: Sharding, shape: tuple[int, ...]) -> np.ndarray:
    """The global array of ``shape`` that ``shards`` (by device) are parts of; of replicas the first device's counts."""
    whole = np.empty(shape, shards[0].dtype)
    for device in reversed(range(len(shards))):
        whole[sharding.slices(device, shape)] = shards[device]
    return whole


def _compare_shards(
    entry: Entry, expected: np.ndarray, shards: list[np.ndarray], claim: Callable[..., Comparison]
) -> Comparison:
    """The verdict about one result that is spread over devices, including that replicas of a shard agree.

    Padding is taken off the shards; a device may hold nothing else.
    """
    shape, whole = entry.divided_shape, gathered(shards, entry)
    found = claim(entry.name, expected, whole)
    if not found.ok:
        return replace(found, device=_holder(entry, found, shape))
    # The claim may hold for the devices that count first and fail on a replica.
    for device, shard in enumerate(shards):
        place = entry.sharding.slices(device, shape)
        shard = shard[tuple(slice(0, max(0, size - p.start)) for p, size in zip(place, expected.shape, strict=True))]
        if same_bits(shard, whole[place]):
            continue
        replica = claim(entry.name, expected[place], shard)
        if not replica.ok:
            reason = f"devices that hold the same shard disagree: {replica.reason}"
            return replace(replica, device=device, reason=reason)
    return found


def _holder(entry: Entry, found: Comparison, shape: tuple[int, ...]) -> int | None:
    """The first device that holds the element at which a comparison broke."""
    if found.first is None:
        return None
    index = found.first.index
    for device in range(entry.sharding.mesh.device_count):
        part = entry.sharding.slices(device, shape)
        if all(p.start <= i < p.stop for p, i in zip(part, index, strict=True)):
            return device
    return None


def _notes(compared: list[Comparison]) -> tuple[str, ...]:
    """What weakens the proof: results that are NaN whatever the program does, or that rounding moves a lot."""
    empty = [r.name for r in compared if r.figures.elements and r.figures.nan == r.figures.elements]
    noisy = [r for r in compared if r.noise is not None]
    notes = []
    if empty:
        share = f"{len(empty)} of {len(compared)} results"
        notes.append(f"{share} are nothing but NaN on these inputs, which proves little: {_some(empty)}")
    if noisy:
        notes.append(
            f"{len(noisy)} of {len(compared)} results differ by no more than rounding moves them on these inputs "
            f"(up to relative L2 {max(r.noise or 0 for r in noisy):.1e}): {_some([r.name for r in noisy])}"
        )
    return tuple(notes)


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
