"""How long a whole ``shlo-opt`` process takes on a ten-op file, as a ratio to loading the MLIR bindings alone.

    python benchmarks/startup.py [-n RUNS] [--importtime]

Each round runs every command once, in turn, so that a change in the machine's load meets all of them; the figures are
medians over the rounds. The target for ``shlo-opt FILE --cse`` is a ratio of at most 1.3.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

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


def seconds(words: list[str]) -> float:
    """Wall time of one process from its start to its end."""
    start = time.perf_counter()
    subprocess.run(words, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def measure(timed: dict[str, list[str]], rounds: int) -> dict[str, list[float]]:
    """The times of each command; one round before the first that counts fills the file caches."""
    for words in timed.values():
        seconds(words)
    found: dict[str, list[float]] = {name: [] for name in timed}
    for _ in range(rounds):
        for name, words in timed.items():
            found[name].append(seconds(words))
    return found


def report(found: dict[str, list[float]]) -> str:
    """A line per command: median, spread (interquartile range) and ratio to the first."""
    lines = [f"{'command':42} {'median':>9} {'spread':>9} {'ratio':>6}"]
    base = statistics.median(next(iter(found.values())))
    for name, times in found.items():
        low, _, high = statistics.quantiles(times, n=4)
        middle = statistics.median(times)
        lines.append(f"{name:42} {middle * 1e3:6.1f} ms {(high - low) * 1e3:6.1f} ms {middle / base:6.2f}")
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
    base, opt = (statistics.median(times) for times in list(found.values())[:2])
    return 0 if opt / base <= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
