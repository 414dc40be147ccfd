"""Published mixture-of-experts models at full size: built, made sparse, partitioned; nothing is executed.

    python benchmarks/moe.py [--layers N] [--tokens N] [--compile] [MODEL...]

For each model and mesh: seconds, what a device holds of the experts, multiplications per token of the dense and of the
sparse layers, and the bytes that a device sends per token of its own and layer, by ring algorithms, beside those of
gathering what all experts computed. It ends if a composite does not stay whole or a device holds other than its share.
With --compile XLA's CPU backend compiles the program of a device, and says what its buffers take; few --layers will do.
"""

from __future__ import annotations

import argparse
import math
import time
from itertools import pairwise

from passes.execute import prepare
from passes.execute.xla_analysis import buffers
from passes.moe.configuration import CONFIGURATIONS, Configuration
from passes.moe.layers import Shape, module
from passes.moe.sparsify import Sparsify, sparsify
from passes.partition.partition import partition
from passes.partition.report import Report
from passes.pipeline import runner
from passes.pipeline.base import Counters
from passes.program.read import Program, parse

MESHES = {"8x8": (8, 8), "4x32": (4, 32)}
BYTES = 2  # bf16


def main() -> None:
    """Prints a line per model and mesh."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["deepseek-v3", "kimi-k2"])
    parser.add_argument("--layers", type=int, help="layers with experts (default: all)")
    parser.add_argument("--tokens", type=int, default=1024)
    parser.add_argument("--compile", action="store_true", help="have XLA compile the program of a device")
    args = parser.parse_args()
    for name in args.models:
        c = CONFIGURATIONS[name]
        layers = args.layers or c.layers - c.dense_layers
        start = time.perf_counter()
        text = module("dense", c, Shape(args.tokens, "bf16"), layers)
        print(f"{name}: {layers} layers, {c.chosen} of {c.experts} experts; built in "
              f"{time.perf_counter() - start:.1f} s; {ratio(c)}")
        for mesh, sizes in MESHES.items():
            print(f"  {mesh}: {one(text, c, sizes, layers, args)}")


def ratio(c: Configuration) -> str:
    """Multiplications per token and layer, dense and sparse."""
    routed = 3 * c.hidden * c.intermediate
    rest = c.hidden * c.experts + 3 * c.hidden * c.shared
    dense, sparse = c.experts * routed + rest, c.chosen * routed + rest
    return f"{dense / 1e6:,.0f}M -> {sparse / 1e6:,.0f}M multiplications a token and layer ({dense / sparse:.1f} times)"


def one(text: str, c: Configuration, sizes: tuple[int, int], layers: int, args: argparse.Namespace) -> str:
    """What became of the module on a mesh of these sizes."""
    program = parse(f'sdy.mesh @mesh = <["rows"={sizes[0]}, "columns"={sizes[1]}]>\n{text}', "moe.mlir")
    clock = [time.perf_counter()]
    counters = Counters(Sparsify.statistics)
    sparsify(program.module.operation, counters)
    assert dict(counters)["layers"] == layers, counters
    clock.append(time.perf_counter())
    runner.run(program, "builtin.module(moe-expert-parallel{ring=columns},dead-ops)")
    report = partition(program)
    clock.append(time.perf_counter())
    assert not report.flat and not report.replicated, report.lines()
    held = next(e for e in report.side_table.arguments if e.name.endswith("w1")).local_shape
    assert held[0] * math.prod(sizes) == c.experts, held
    seconds = ", ".join(f"{b - a:.1f} s" for a, b in pairwise(clock))
    found = traffic(report, c, sizes, layers, args.tokens)
    compiled = f"; {compilation(program, math.prod(sizes))}" if args.compile else ""
    return f"sparse, partitioned in {seconds}; {held[0]} experts a device; {found}{compiled}"


def compilation(program: Program, devices: int) -> str:
    """How long XLA takes for the program of a device, and what its buffers take."""
    start = time.perf_counter()
    found = buffers(prepare.per_device_code(program, None), "per-device", devices)
    return (f"compiled in {time.perf_counter() - start:.0f} s: {found.arguments / 1e9:.1f} GB of arguments, "
            f"{found.temporaries / 1e9:.1f} GB of temporaries")


def traffic(report: Report, c: Configuration, sizes: tuple[int, int], layers: int, tokens: int) -> str:
    """Bytes that a device sends per token of its own and layer, and what gathering all experts' outputs would."""
    own = tokens / sizes[1]
    sent = 0.0
    for t in report.traffic:
        n = t.group_size
        factor = {"reduce_scatter": (n - 1) / n, "all_reduce": 2 * (n - 1) / n, "all_gather": n - 1.0}.get(t.kind, 1.0)
        sent += factor * t.bytes
    devices = math.prod(sizes)
    gathered = (devices - 1) * c.experts / devices * tokens * c.hidden * BYTES
    ours, theirs = sent / layers / own, gathered / own
    kinds = ", ".join(f"{t.count} {t.kind}" for t in report.traffic)
    gathering = f"{theirs / 1e3:,.0f} kB if all outputs were gathered, {theirs / ours:.0f} times"
    return f"{ours / 1e3:,.0f} kB sent a token ({gathering}); {kinds}"


if __name__ == "__main__":
    main()
