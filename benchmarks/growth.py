"""How time and memory grow with a program, to a million ops: each of our passes beside the native ones.

    python benchmarks/growth.py [PASS ...] [--sizes 10000,100000,1000000] [--seconds N]

The program is layers of a decoder's kind, one after the other, each with something equal and something dead in it; for
sharding, the batch is split over a mesh of 4 x 2. Every cell is a process of its own. Time is the processor's, of the
pass alone, in microseconds for an op: linear growth is a row of equal numbers. Memory is the peak of the process and of
its worker above what they hold before the program is read, in bytes for an op; the program itself is part of it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

OPS_OF_A_LAYER = 16


def stack(layers: int) -> str:
    """A program of `OPS_OF_A_LAYER` ops a layer: normalization, a product, something equal, something dead."""
    t, row = "tensor<8x16xf32>", "tensor<8xf32>"
    batch = '{sdy.sharding = #sdy.sharding<@mesh, [{"data"}, {}]>}'
    lines = ['sdy.mesh @mesh = <["data"=4, "model"=2]>',
             f"func.func @main(%x0: {t} {batch}, %w: tensor<16x16xf32>) -> {t} {{"]
    for i in range(layers):
        lines.append(f"""
          %one{i} = stablehlo.constant dense<1.0> : tensor<f32>
          %zero{i} = stablehlo.constant dense<0.0> : tensor<f32>
          %ones{i} = stablehlo.broadcast_in_dim %one{i}, dims = [] : (tensor<f32>) -> {t}
          %a{i} = stablehlo.multiply %x{i}, %ones{i} : {t}
          %b{i} = stablehlo.multiply %a{i}, %x{i} : {t}
          %c{i} = stablehlo.multiply %x{i}, %a{i} : {t}
          %s{i} = stablehlo.reduce(%b{i} init: %zero{i}) applies stablehlo.add across dimensions = [1]
            : ({t}, tensor<f32>) -> {row}
          %r{i} = stablehlo.reduce(%c{i} init: %zero{i}) applies stablehlo.add across dimensions = [1]
            : ({t}, tensor<f32>) -> {row}
          %d{i} = stablehlo.add %s{i}, %r{i} : {row}
          %e{i} = stablehlo.reshape %d{i} : ({row}) -> tensor<8x1xf32>
          %f{i} = stablehlo.broadcast_in_dim %e{i}, dims = [0, 1] : (tensor<8x1xf32>) -> {t}
          %g{i} = stablehlo.rsqrt %f{i} : {t}
          %h{i} = stablehlo.multiply %x{i}, %g{i} : {t}
          %dead{i} = stablehlo.tanh %h{i} : {t}
          %p{i} = stablehlo.dot_general %h{i}, %w, contracting_dims = [1] x [0] : ({t}, tensor<16x16xf32>) -> {t}
          %x{i + 1} = stablehlo.maximum %p{i}, %x{i} : {t}""")
    return "\n".join([*lines, f"return %x{layers} : {t}", "}"])


Work = Callable[[Any], object]


def _own(name: str) -> Work:
    from passes.optimize.cse import Cse
    from passes.optimize.dead_ops import DeadOps
    from passes.optimize.optimize import Optimize
    from passes.pipeline.base import Counters

    own = {"cse": Cse(), "dead-ops": DeadOps(), "optimize": Optimize()}[name]
    return lambda program: own.run(program.module.operation, Counters(own.statistics))


def _native(pipeline: str) -> Work:
    from passes import _mlir

    manager = _mlir.passmanager.PassManager.parse(f"builtin.module({pipeline})", context=_mlir.context())
    return lambda program: manager.run(program.module.operation)


def _propagate() -> Work:
    from passes.sharding.propagate import propagate

    return propagate


def _partition() -> Work:
    from passes.partition.partition import partition

    return partition


# What is measured -> what does it to a program, made when it is asked for.
PASSES: dict[str, Callable[[], Work]] = {
    "cse": lambda: _own("cse"),
    "dead-ops": lambda: _own("dead-ops"),
    "optimize": lambda: _own("optimize"),
    "native-cse,canonicalize,symbol-dce": lambda: _native("cse,canonicalize,symbol-dce"),
    "propagate": _propagate,
    "native-sdy-propagation-pipeline": lambda: _native("sdy-propagation-pipeline"),
    "partition": _partition,
}
# What a worker has a part in.
WITH_WORKER = ("propagate", "partition")


def measure(name: str, layers: int) -> dict[str, float]:
    """Runs one of `PASSES` in this process."""
    from passes import _mlir
    from passes.pipeline import worker_process
    from passes.program.read import parse
    from passes.program.walk import operations

    work = PASSES[name]()
    work(parse(stack(2)))  # What is loaded for the first program is not counted for the second.
    processes = ["self", *([str(worker_process.current().pid)] if name in WITH_WORKER else [])]
    before = _peak(processes)
    with _mlir.record_diagnostics():
        program = parse(stack(layers))
        size, start = len(operations(program.module)), _seconds(processes)
        work(program)
    return {"ops": size, "us": (_seconds(processes) - start) / size * 1e6, "bytes": (_peak(processes) - before) / size}


def _seconds(processes: list[str]) -> float:
    """What the processes have spent of the processor's time, in threads that ended too; in steps of 10 ms."""
    fields = [Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split() for process in processes]
    return sum(int(user) + int(system) for user, system in (of[11:13] for of in fields)) / os.sysconf("SC_CLK_TCK")


def _peak(processes: list[str]) -> int:
    """The most bytes that the processes have held."""
    found = [re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text()) for process in processes]
    return sum(int(kilobytes) for (kilobytes,) in found) * 1024


def cells(name: str, sizes: list[int], seconds: float) -> Iterator[tuple[str, str]]:
    """Microseconds and bytes for an op of a pass at each size; a size that takes too long is the last."""
    for size in sizes:
        command = [sys.executable, __file__, name, "--layers", str(size // OPS_OF_A_LAYER)]
        try:
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=seconds)
        except subprocess.TimeoutExpired:
            yield f"> {seconds:g} s", ""
            return
        found = json.loads(done.stdout)
        yield f"{found['us']:.1f}", f"{found['bytes']:.0f}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("passes", nargs="*", metavar="PASS", help=f"of {'; '.join(PASSES)} (default: all)")
    parser.add_argument("--sizes", default="10000,100000,1000000", metavar="N,...", help="ops (default: to a million)")
    parser.add_argument("--seconds", type=float, default=1200, help="until a cell is given up (default: 1200)")
    parser.add_argument("--layers", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    unknown = set(args.passes) - set(PASSES)
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {'; '.join(PASSES)}")
    if args.layers:
        print(json.dumps(measure(args.passes[0], args.layers)))
        return 0
    sizes = [int(size) for size in args.sizes.split(",")]
    columns = "".join(f"{size:>18,}" for size in sizes)
    print(f"{'us and bytes for an op, of ops':36}{columns}")
    for name in args.passes or PASSES:
        print(f"{name:36}", end="", flush=True)
        for microseconds, held in cells(name, sizes, args.seconds):
            print(f"{microseconds:>10}{held:>8}", end="", flush=True)
        print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
