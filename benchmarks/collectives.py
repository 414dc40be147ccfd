"""Collectives of the shipped train steps: as planned, after our passes over them, and by XLA's own partitioner.

  python benchmarks/collectives.py [examples/decoder/megatron.toml ...]

Per kind, how many there are and how many bytes one device puts in, in thousands; what stands in a loop counts once.
XLA's are those of the module right after its SPMD partitioner, before its backend widens types or takes reduce_scatters
apart. It gets the same annotated module and propagates by itself.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from passes.execute import pjrt, prepare, xla_cpu
from passes.partition.partition import Communication, partition
from passes.program import read
from passes.program.read import Program
from passes.sharding.annotate import annotate
from passes.sharding.rules_file import load

EXAMPLES = Path(__file__).parents[1] / "examples"
PLANS = (
    "decoder/megatron", "decoder/dp", "decoder/fsdp", "gpt/megatron", "gpt/megatron_fsdp", "gpt/dp",
    "scan_layers/megatron", "scan_layers/megatron_fsdp",
)
KINDS = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all", "collective_permute")

Totals = dict[str, tuple[int, int]]


def annotated(rules: Path) -> Program:
    program = read.read(str(rules.parent / "train_step.mlir"))
    annotate(program, load(str(rules)))
    return program


def ours(rules: Path, communication: Communication) -> Totals:
    totals: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for found in partition(annotated(rules), communication=communication).traffic:
        count, size = totals[found.kind]
        totals[found.kind] = count + found.count, size + found.bytes
    return totals


# -- XLA's -------------------------------------------------------------------------------------------------------------

_COLLECTIVE = re.compile(
    r" = (\(?[^=]*?) (all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)(?:-start)?\("
)
_TYPE = re.compile(r"(pred|[a-z]+)(\d*)\w*\[([\d,]*)\]")
# Replica groups come in three syntaxes: a shape, a list, axes of a mesh.
_AXES = re.compile(r"replica_groups=mesh\[([^\]]*)\] ?\{([^}]*)\}")
_IOTA, _LIST = re.compile(r"replica_groups=\[\d+,(\d+)\]"), re.compile(r"replica_groups=\{\{([\d,]*)\}")


def xla(rules: Path) -> Totals:
    """Compiles, runs nothing."""
    program = annotated(rules)
    devices = load(str(rules)).mesh.device_count
    with tempfile.TemporaryDirectory() as folder:
        flags = pjrt.Flags(overrides=(
            ("xla_dump_to", folder), ("xla_dump_hlo_as_text", True), ("xla_dump_hlo_pass_re", "spmd-partitioning"),
        ))
        pjrt._compile(xla_cpu.client(devices), prepare.global_code(program), "shardy", devices, flags)
        dumps = sorted(Path(folder).glob("*after_spmd-partitioning*"))
        text = dumps[-1].read_text()
    totals: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for line in text.splitlines():
        if match := _COLLECTIVE.search(line):
            kind = match[2].replace("-", "_")
            count, size = totals[kind]
            totals[kind] = count + 1, size + _put_in(kind, match[1], line)
    return totals


def _put_in(kind: str, types: str, line: str) -> int:
    """The bytes of the operands, from the types of the results."""
    size = 0
    for name, width, shape in _TYPE.findall(types):
        elements = 1
        for dim in filter(None, shape.split(",")):
            elements *= int(dim)
        size += elements * (1 if name == "pred" else max(1, int(width) // 8))
    if kind == "all_gather":
        return size // _group_size(line)
    return size * _group_size(line) if kind == "reduce_scatter" else size


def _group_size(line: str) -> int:
    if match := _IOTA.search(line):
        return int(match[1])
    if match := _AXES.search(line):
        sizes = dict(re.findall(r"'(\w+)'=(\d+)", match[1]))
        size = 1
        for axis, part in re.findall(r"'(\w+)'(?::\(\d+\)(\d+))?", match[2]):
            size *= int(part or sizes[axis])
        return size
    listed = _LIST.search(line)
    assert listed is not None, line
    return len(listed[1].split(","))


def show(rules: Path) -> None:
    """Prints the table of one plan."""
    columns: dict[str, Any] = {
        "planned": ours(rules, Communication(reorder_sums=False)),
        "now": ours(rules, Communication()),
        "combined": ours(rules, Communication(combine=1 << 25)),
        "XLA": xla(rules),
    }
    print(f"{rules.parent.name}/{rules.stem}".ljust(28) + "".join(name.rjust(18) for name in columns))
    for kind in KINDS:
        if any(kind in totals for totals in columns.values()):
            cells = [totals.get(kind, (0, 0)) for totals in columns.values()]
            print(f"  {kind:<26}" + "".join(f"{count:>5} x{size / 1e3:>9.1f} kB" for count, size in cells))


def main() -> None:
    for rules in map(Path, sys.argv[1:] or [EXAMPLES / f"{plan}.toml" for plan in PLANS]):
        show(rules)


if __name__ == "__main__":
    main()
