"""Peak memory of golden runs against the largest live set of the program, in this process and in the executing child.

  python benchmarks/memory.py --megabytes 64

Every program holds several values of the given size at a time. The peak is what a process occupies beyond what it does
before it runs anything; mapped files count.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from passes.execute import child, golden, inputs, stepwise
from passes.execute.executor import Executor
from passes.execute.stepwise import Steps
from passes.execute.store import Store
from passes.program.read import parse

TRIVIAL = "func.func @main(%a: tensor<f32>) -> tensor<f32> { return %a : tensor<f32> }"


def elementwise(rows: int) -> str:
    """Six arguments that are added up one after the other."""
    t = f"tensor<{rows}x1024xf32>"
    adds = "".join(f"%s{i} = stablehlo.add %s{i - 1}, %a{i} : {t}\n" for i in range(2, 6))
    taken = ", ".join(f"%a{i}: {t}" for i in range(6))
    return f"func.func @main({taken}) -> {t} {{\n%s1 = stablehlo.multiply %a0, %a1 : {t}\n{adds}return %s5 : {t} }}"


def dots(rows: int) -> str:
    """Six weights that a small batch passes through; they are all there is."""
    x, w = "tensor<8x1024xf32>", f"tensor<1024x{rows}xf32>"
    h, types = f"tensor<8x{rows}xf32>", f"(tensor<8x1024xf32>, tensor<1024x{rows}xf32>) -> tensor<8x{rows}xf32>"
    body = "".join(
        f"%d{i} = stablehlo.dot_general %x{i}, %w{i}, contracting_dims = [1] x [0] : {types}\n"
        f"%x{i + 1} = stablehlo.slice %d{i} [0:8, 0:1024] : ({h}) -> {x}\n"
        for i in range(6)
    )
    taken = ", ".join(f"%w{i}: {w}" for i in range(6))
    return f"func.func @main(%x0: {x}, {taken}) -> {x} {{\n{body}return %x6 : {x} }}"


def loop(rows: int) -> str:
    """Three values carried around a loop, which is one step."""
    t, i = f"tensor<{rows}x1024xf32>", "tensor<i32>"
    return f"""func.func @main(%a: {t}, %b: {t}, %c: {t}) -> ({t}, {t}, {t}) {{
      %z = stablehlo.constant dense<0> : {i}
      %r:4 = stablehlo.while(%i = %z, %x = %a, %y = %b, %w = %c) : {i}, {t}, {t}, {t}
      cond {{
        %n = stablehlo.constant dense<3> : {i}
        %go = stablehlo.compare LT, %i, %n : ({i}, {i}) -> tensor<i1>
        stablehlo.return %go : tensor<i1>
      }} do {{
        %one = stablehlo.constant dense<1> : {i}
        %j = stablehlo.add %i, %one : {i}
        %s = stablehlo.add %x, %y : {t}
        stablehlo.return %j, %s, %w, %y : {i}, {t}, {t}, {t}
      }}
      return %r#1, %r#2, %r#3 : {t}, {t}, {t}
    }}"""


def made(rows: int) -> str:
    """Values made of nothing, all needed at the end."""
    t = f"tensor<{rows}x1024xf32>"
    made = "".join(f"%m{i} = stablehlo.iota dim = {i % 2} : {t}\n" for i in range(5))
    adds = "".join(f"%s{i} = stablehlo.add %s{i - 1}, %m{i} : {t}\n" for i in range(2, 5))
    return f"func.func @main() -> {t} {{\n{made}%s1 = stablehlo.add %m0, %m1 : {t}\n{adds}return %s4 : {t} }}"


def joined(rows: int) -> str:
    """An op that takes many values at once."""
    t, whole = f"tensor<{rows}x1024xf32>", f"tensor<{6 * rows}x1024xf32>"
    names, types = ", ".join(f"%a{i}" for i in range(6)), ", ".join([t] * 6)
    taken = ", ".join(f"%a{i}: {t}" for i in range(6))
    op = f"%r = stablehlo.concatenate {names}, dim = 0 : ({types}) -> {whole}"
    return f"func.func @main({taken}) -> {whole} {{\n{op}\nreturn %r : {whole} }}"


PROGRAMS = (elementwise, dots, loop, made, joined)


def live_set(steps: Steps) -> int:
    """The most bytes of values alive at the same time: what an op takes and makes, and what later ops take."""
    alive = {v for v in range(steps.arguments) if steps.last_use[v] >= 0}
    most = 0
    for step in steps.steps:
        alive.update(step.outputs)
        most = max(most, sum(map(steps.size, alive)))
        alive = {v for v in alive if steps.last_use[v] > step.index}
    return most


def status(process: int | str, key: str) -> int:
    """A figure of a process, in bytes."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(key)).split()[1]) << 10


def measure(text: str, engine: str) -> tuple[int, int, int]:
    """The largest live set of a program, and how far the child's and this process's memory rose above their start."""
    executor = Executor(engine)
    executor.run_global(parse(TRIVIAL), inputs.make(parse(TRIVIAL)).arrays)
    running = child.running()
    assert running is not None
    processes = (running.process.pid, "self")
    start = [status(p, "VmRSS:") for p in processes]
    for process in processes:
        Path(f"/proc/{process}/clear_refs").write_text("5")  # The peak counts from here.
    program = parse(text)
    steps = stepwise.take_apart(program)
    with tempfile.TemporaryDirectory() as folder:
        golden.evaluate(steps, inputs.make(program, "exact").arrays, Store(Path(folder)), executor)
    rise = [status(p, "VmHWM:") - base for p, base in zip(processes, start, strict=True)]
    child.stop_all()
    return live_set(steps), rise[0], rise[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=64, help="of one value")
    parser.add_argument("--executor", default="xla", choices=("xla", "interpreter"))
    arguments = parser.parse_args()
    print(f"{'program':12}{'live set':>10}{'child':>16}{'parent':>16}")
    for program in PROGRAMS:
        live, theirs, ours = measure(program(arguments.megabytes << 8), arguments.executor)
        figures = "".join(f"{rise >> 20:8} MB {rise / live:3.1f}x" for rise in (theirs, ours))
        print(f"{program.__name__:12}{live >> 20:7} MB{figures}", flush=True)


if __name__ == "__main__":
    main()
