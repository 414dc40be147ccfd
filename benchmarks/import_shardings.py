"""Imports the sharding annotations of real modules, and executes each before and after.

  python benchmarks/import_shardings.py [PLACE ...] [--no-run]      one line a module
  python benchmarks/import_shardings.py --growth                    time by size, of a module annotated at every op

Places are files or folders; without any, ../shared/corpus (if there is that folder) and tests/sharding/inputs. Modules
without annotations are passed over. A line says what was imported and how long that took; that nothing foreign is left;
and how the import, partitioned by XLA and run on as many virtual devices as the mesh has, compares with

  XLA's own   the module before import, which XLA reads and partitions in its own way
  one device  the module before import on one device; a manual computation cannot run there

by bits, or by the largest relative L2 distance between results: several devices sum in another order.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

from passes.errors import UserError
from passes.execute.distance import measure
from passes.execute.executor import Executor
from passes.execute.inputs import make
from passes.execute.prepare import annotated_devices, manual_devices
from passes.pipeline import runner
from passes.program.annotated import is_annotated
from passes.program.read import Program, parse, read
from passes.program.walk import operations
from passes.sharding.import_shardings import ImportShardings
from passes.sharding.importers.scan import is_foreign, scan

ROOT = Path(__file__).resolve().parent.parent
PIPELINE = f"builtin.module({ImportShardings.name})"
SIZES = (12_500, 25_000, 50_000, 100_000, 200_000)


def imported(program: Program) -> str:
    """Imports in place; returns what was counted and the time per op."""
    count = len(operations(program.module))
    start = time.perf_counter()
    found = runner.run(program, PIPELINE)
    seconds = time.perf_counter() - start
    counted = ", ".join(f"{c.value} {c.name}" for c in found.statistics[0].counts if c.value) or "nothing foreign"
    return f"{count} ops in {seconds * 1e3:.0f} ms ({seconds / count * 1e6:.1f} us an op): {counted}"


def one(path: Path, *, run: bool) -> None:
    """Prints the lines of one module, if it is annotated."""
    before, after = read(str(path)), read(str(path))
    if not is_foreign(before) and not is_annotated(before.module.operation):
        return
    print(f"{path.stem}: {imported(after)}", flush=True)
    left = scan(after.module.operation)
    if left.ops or left.calls:
        print("  LEFT: " + ", ".join([*left.calls, *(op.name for op in left.ops)]))
    if run:
        for line in compared(before, after):
            print(f"  {line}", flush=True)


def compared(before: Program, after: Program) -> list[str]:
    """How the results of ``after`` compare with those of ``before``."""
    devices = max(annotated_devices(before), annotated_devices(after))
    if devices == 1:
        return ["annotated for one device; nothing to partition"]
    try:
        inputs = make(before, "normal", 0).arrays
        got = Executor().run_partitioned(after, inputs, devices)
    except UserError as error:
        return [f"not run: {error.message[:150]}"]
    lines = [f"XLA's own: {_against(before, inputs, got, devices)}"]
    if not manual_devices(before):
        lines.append(f"one device: {_against(before, inputs, got, 1)}")
    return lines


def _against(before: Program, inputs: list[np.ndarray], got: list[np.ndarray], devices: int) -> str:
    try:
        run = Executor()
        expected = run.run_global(before, inputs) if devices == 1 else run.run_partitioned(before, inputs, devices)
    except UserError as error:
        return f"not run: {error.message[:150]}"
    same = sum(a.tobytes() == b.tobytes() for a, b in zip(expected, got, strict=True))
    worst = max((measure(a, b).relative_l2 for a, b in zip(expected, got, strict=True)), default=0.0)
    return f"{same} of {len(got)} results bit-equal, worst relative L2 {worst:.1e}"


def growth() -> None:
    """Prints the time for modules of growing size, each of whose ops is annotated in one of three spellings."""
    spellings = (
        'mhlo.sharding = "{devices=[2,4]<=[8]}"',
        'mhlo.frontend_attributes = {xla.sdy.sharding = "#sdy.sharding_per_value<[<@mesh, [{\\22a\\22}, {}]>]>"}',
        'call',
    )
    for size in SIZES:
        lines = []
        for index in range(size):
            spelling = spellings[index % 3]
            operand = f"%{index - 1}" if index else "%a"
            if spelling == "call":
                lines.append(f"%{index} = stablehlo.custom_call @Sharding({operand}) "
                             '{mhlo.sharding = "{devices=[4,2]<=[2,4]T(1,0)}"} : (tensor<8x8xf32>) -> tensor<8x8xf32>')
            else:
                lines.append(f"%{index} = stablehlo.tanh {operand} {{{spelling}}} : tensor<8x8xf32>")
        meshes = 'mhlo.frontend_attributes = {xla.sdy.meshes = "{mesh = #sdy.mesh<[\\22a\\22=2, \\22b\\22=4]>}"}'
        body = "\n".join([*lines, f"return %{size - 1} : tensor<8x8xf32>"])
        function = f"func.func @main(%a: tensor<8x8xf32>) -> tensor<8x8xf32> {{\n{body}\n}}"
        program = parse(f"module attributes {{{meshes}}} {{ {function} }}")
        start = time.perf_counter()
        is_foreign(program)
        noticed = time.perf_counter() - start
        print(f"{imported(program)}; noticed in {noticed * 1e3:.1f} ms", flush=True)


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("places", nargs="*", type=Path)
    parser.add_argument("--no-run", action="store_true", help="import only")
    parser.add_argument("--growth", action="store_true", help="measure time by size instead")
    args = parser.parse_args()
    if args.growth:
        growth()
        return
    places = args.places or [p for p in (ROOT.parent / "shared/corpus", ROOT / "tests/sharding/inputs") if p.exists()]
    files = [f for p in places for f in (sorted(p.glob("*.mlir")) if p.is_dir() else [p])]
    for path in files:
        try:
            one(path, run=not args.no_run)
        except UserError as error:
            print(f"{path.stem}: ERROR {error.render()}", file=sys.stdout, flush=True)


if __name__ == "__main__":
    main()
