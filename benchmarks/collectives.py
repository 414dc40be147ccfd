"""Collectives of sharded programs: as planned, after our passes over them, and by XLA's own partitioner.

  python benchmarks/collectives.py [--details] [examples/decoder/megatron.toml ... | corpus/module.mlir ...]

Without arguments, all examples under all their plans. A module alone is taken under the presets that fit it, on a mesh
of 2 x 4. A row has the number of collectives and the bytes that each device sends if groups are rings; with
--details each kind has one, with the bytes that one device puts in. What stands in a loop counts once, and what stands
in a function for each call. XLA's are those of the module right after its SPMD partitioner, before its backend widens
types or takes reduce_scatters apart. It gets the same annotated module and propagates by itself.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from passes.errors import UserError
from passes.execute import pjrt, prepare, xla_cpu
from passes.execute.job import Kind
from passes.partition.improve import Communication
from passes.partition.partition import partition
from passes.partition.summary import Traffic
from passes.program import read
from passes.program.read import Program
from passes.sharding.annotate import annotate
from passes.sharding.mesh import Mesh
from passes.sharding.rules_file import load, presets

EXAMPLES = Path(__file__).parents[1] / "examples"
MESH = Mesh((("data", 2), ("model", 4)))
KINDS = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all", "collective_permute")

# A title, and what makes the annotated program anew each time.
Case = tuple[str, Callable[[], Program]]


def annotated(module: Path, rules: str, mesh: Mesh | None = None) -> Program:
    program = read.read(str(module))
    annotate(program, load(rules, mesh))
    return program


def cases(paths: list[Path]) -> Iterator[Case]:
    """The examples under all their plans (those of ``paths``, if there are any), modules under the presets."""
    for path in paths or sorted(EXAMPLES.glob("*/*.toml")):
        if path.suffix == ".toml":
            for module in sorted(path.parent.glob("*.mlir")):
                yield f"{path.parent.name}/{module.stem} {path.stem}", lambda m=module, r=path: annotated(m, str(r))
        else:
            for name in presets():
                yield f"{path.stem} {name}", lambda m=path, n=name: annotated(m, f"preset:{n}", MESH)


def ours(program: Program, communication: Communication) -> list[Traffic]:
    return partition(program, communication=communication).traffic


# -- XLA's -------------------------------------------------------------------------------------------------------------

_COLLECTIVE = re.compile(
    r" = (\(?[^=]*?) (all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)(?:-start)?\("
)
_TYPE = re.compile(r"(pred|[a-z]+)(\d*)\w*\[([\d,]*)\]")
# Replica groups come in three syntaxes: a shape, a list, axes of a mesh.
_AXES = re.compile(r"replica_groups=mesh\[([^\]]*)\][^{]*\{([^}]*)\}")
_IOTA, _LIST = re.compile(r"replica_groups=\[\d+,(\d+)\]"), re.compile(r"replica_groups=\{\{([\d,]*)\}")


def xla(program: Program) -> list[Traffic]:
    """Of XLA's own plan for an annotated program. Compiles, runs nothing."""
    devices = prepare.annotated_devices(program)
    return count(
        prepare.global_code(program), "shardy", devices, "*after_spmd-partitioning*",
        (("xla_dump_hlo_pass_re", "spmd-partitioning"),),
    )


def as_xla_reads(program: Program, devices: int, files: str) -> list[Traffic]:
    """Of a per-device program, which XLA reads as one for replicas, in its dumps called ``files``."""
    return count(prepare.per_device_code(program, as_written=True), "per-device", devices, files, ())


def count(
    code: bytes, kind: Kind, devices: int, files: str, more: tuple[tuple[str, str], ...]
) -> list[Traffic]:
    """Compiles ``code`` and counts in the last of the texts that XLA dumps into ``files`` then."""
    with tempfile.TemporaryDirectory() as folder:
        flags = pjrt.Flags(overrides=(("xla_dump_to", folder), ("xla_dump_hlo_as_text", True), *more))
        pjrt._compile(xla_cpu.client(devices), code, kind, devices, flags)
        dumps = sorted(Path(folder).glob(files))
        text = dumps[-1].read_text()
    found = []
    # XLA counts along in long lists of types, in comments.
    for line in re.sub(r"/\*.*?\*/", "", text).splitlines():
        if match := _COLLECTIVE.search(line):
            kind = match[2].replace("-", "_")
            group = 1 if kind == "collective_permute" else _group_size(line)
            found.append(Traffic(kind, (), group, 1, _put_in(kind, match[1], line)))
    return found


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


def total(traffic: list[Traffic]) -> str:
    return f"{sum(t.count for t in traffic):>6} x{sum(t.wire for t in traffic) / 1e3:>11.1f} kB"


def show(title: str, make: Callable[[], Program], details: bool) -> None:
    """Prints the row of one case, marked where we send more than XLA, and the rows of its kinds."""
    columns = {
        "planned": ours(make(), Communication(reorder_sums=False)),
        "now": ours(make(), Communication()),
        "combined": ours(make(), Communication(combine=1 << 25)),
        "XLA": xla(make()),
    }
    sent, by_xla = (sum(t.wire for t in columns[name]) for name in ("now", "XLA"))
    mark = " MORE" if sent > by_xla else ""
    print(f"{title:<44}" + "".join(map(total, columns.values())) + mark, flush=True)
    if not details and not mark:
        return
    for kind in KINDS:
        of_kind = [[t for t in found if t.kind == kind] for found in columns.values()]
        if any(of_kind):
            cells = [f"{sum(t.count for t in f):>6} x{sum(t.bytes for t in f) / 1e3:>11.1f} kB" for f in of_kind]
            print(f"  {kind:<42}" + "".join(cells))


def main() -> None:
    words = sys.argv[1:]
    print(" " * 44 + "".join(name.rjust(22) for name in ("planned", "now", "combined", "XLA")))
    for title, make in cases([Path(word) for word in words if word != "--details"]):
        try:
            make()
        except UserError:
            # The rules are made for another module.
            continue
        show(title, make, "--details" in words)


if __name__ == "__main__":
    main()
