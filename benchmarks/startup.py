"""How long a whole ``shlo-opt`` process takes on a ten-op file, as a ratio to loading the MLIR bindings alone.

    python benchmarks/startup.py [-n RUNS] [--importtime]

Each round runs every command once, in turn, so that a change in the machine's load meets all of them; the figures are
medians over the rounds. The target for ``shlo-opt FILE --cse`` is a ratio of wall times of at most 1.3. Processor time
is shown as well: on a busy machine its ratio is the steadier of the two.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

TARGET = 1.3

TEN_OPS = """\
func.func @main(%a: tensor<8x16xf32>, %b: tensor<16x4xf32>) -> tensor<8x4xf32> {
  %0 = stablehlo.dot_general %a, %b, contracting_dims = [1] x [0] : (tensor<8x16xf32>, tensor<16x4xf32>)
      -> tensor<8x4xf32>
  %1 = stablehlo.dot_general %a, %b, contracting_dims = [1] x [0] : (tensor<8x16xf32>, tensor<16x4xf32>)
      -> tensor<8x4xf32>
  %2 = stablehlo.add %0, %1 : tensor<8x4xf32>
  %c = stablehlo.constant dense<0.5> : tensor<f32>
  %3 = stablehlo.broadcast_in_dim %c, dims = [] : (tensor<f32>) -> tensor<8x4xf32>
  %4 = stablehlo.multiply %2, %3 : tensor<8x4xf32>
  %5 = stablehlo.tanh %4 : tensor<8x4xf32>
  %6 = stablehlo.add %1, %0 : tensor<8x4xf32>
  %7 = stablehlo.subtract %5, %6 : tensor<8x4xf32>
  return %7 : tensor<8x4xf32>
}
"""


def commands(source: Path) -> dict[str, list[str]]:
    """The commands that are timed; the first is what the others are compared with."""
    opt = str(Path(sysconfig.get_path("scripts")) / "shlo-opt")
    return {
        "python -c 'from jaxlib.mlir import ir'": [sys.executable, "-c", "from jaxlib.mlir import ir"],
        "shlo-opt FILE --cse": [opt, str(source), "--cse"],
        "shlo-opt FILE": [opt, str(source)],
        "shlo-opt --help": [opt, "--help"],
        "shlo --help": [str(Path(opt).with_name("shlo")), "--help"],
    }


class Times(NamedTuple):
    """Seconds of one process from its start to its end: on the clock, and of processors (user and system)."""

    wall: float
    processor: float


def run(words: list[str]) -> Times:
    """Runs one process to its end."""
    start = time.perf_counter()
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, words)
    return Times(wall, usage.ru_utime + usage.ru_stime)


def measure(timed: dict[str, list[str]], rounds: int) -> dict[str, list[Times]]:
    """The times of each command; one round before the first that counts fills the file caches."""
    for words in timed.values():
        run(words)
    found: dict[str, list[Times]] = {name: [] for name in timed}
    for _ in range(rounds):
        for name, words in timed.items():
            found[name].append(run(words))
    return found


def medians(times: list[Times]) -> Times:
    """The median of each column."""
    return Times(*(statistics.median(column) for column in zip(*times, strict=True)))


def report(found: dict[str, list[Times]]) -> str:
    """A line per command: median wall time, its spread (interquartile range), processor time; ratios to the first."""
    lines = [f"{'command':42} {'wall':>9} {'spread':>9} {'ratio':>6} {'processor':>9} {'ratio':>6}"]
    base = medians(next(iter(found.values())))
    for name, times in found.items():
        low, _, high = statistics.quantiles([t.wall for t in times], n=4)
        middle = medians(times)
        lines.append(
            f"{name:42} {middle.wall * 1e3:6.1f} ms {(high - low) * 1e3:6.1f} ms {middle.wall / base.wall:6.2f} "
            f"{middle.processor * 1e3:6.1f} ms {middle.processor / base.processor:6.2f}"
        )
    return "\n".join(lines)


def slowest_imports(words: list[str], count: int = 25) -> str:
    """The modules that cost ``words`` the most to load, by their own time."""
    done = subprocess.run([sys.executable, "-X", "importtime", *words], capture_output=True, text=True, check=True)
    rows = [line.removeprefix("import time:").split("|") for line in done.stderr.splitlines() if "|" in line][1:]
    rows.sort(key=lambda row: -int(row[0]))
    return "\n".join(f"{int(own) / 1e3:7.2f} ms {name.strip()}" for own, _, name in rows[:count])


def main() -> int:
    """Prints the table; exits with 1 if the ratio is above the target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=21, metavar="RUNS", help="rounds (default: 21)")
    parser.add_argument("--importtime", action="store_true", help="list the slowest imports of shlo-opt as well")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "ten_ops.mlir"
        source.write_text(TEN_OPS)
        timed = commands(source)
        found = measure(timed, args.n)
        print(report(found))
        if args.importtime:
            print("\n" + slowest_imports(timed["shlo-opt FILE --cse"]))
    base, opt = (medians(times).wall for times in list(found.values())[:2])
    return 0 if opt / base <= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
