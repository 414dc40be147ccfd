"""``shlo run FILE``: executes a program and prints what it returns."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from passes.cli.common import add_entry, add_input, check_output, read_input
from passes.cli.execution import add_execution, executable, make_executor, read_side_table
from passes.errors import EXIT_OK, UserError

if TYPE_CHECKING:
    import numpy as np

    from passes.execute.executor import Executor
    from passes.program.read import Program


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's options."""
    add_input(parser)
    add_entry(parser)
    add_execution(parser)
    parser.add_argument("--side-table", metavar="FILE.json", help=(
        "the program is a per-device one that this table describes: inputs and results are global, every virtual "
        "device runs its part"
    ))
    parser.add_argument("--save", metavar="FILE.npz", help="write the results there, under their names")
    parser.add_argument("--save-intermediates", metavar="DIR", help=(
        "run op by op and keep every value in DIR; what is there already is not computed again"
    ))
    parser.add_argument("--match", metavar="GLOB", help=(
        "with --save-intermediates: keep only values of ops whose name, file position or label matches"
    ))


def run(args: argparse.Namespace) -> int:
    """Prints a line per result: name, type, smallest, largest and mean element, hash of the bits."""
    from passes.execute import inputs
    from passes.program.entry import find_entry, results

    check_output(args.save or "-")
    program = executable(read_input(args))
    executor = make_executor(args)
    if args.side_table is not None:
        return _per_device(args, program, executor)
    given = inputs.make(program, args.inputs, args.seed, entry=args.entry)
    if args.save_intermediates is not None:
        arrays, how = _op_by_op(args, program, given.arrays, executor)
    elif args.match is not None:
        raise UserError("--match says which values --save-intermediates=DIR keeps; give that too")
    else:
        arrays = executor.run_global(program, given.arrays, entry=args.entry)
        how = f"executed on {executor.place(program)}"
    _show(args, [v.name for v in results(find_entry(program, args.entry))], arrays, f"{how}, {given.description}")
    return EXIT_OK


def _show(args: argparse.Namespace, names: list[str], arrays: list[np.ndarray], how: str) -> None:
    print(table(names, arrays))
    print(how)
    if args.save:
        _save(args.save, names, arrays)


def _per_device(args: argparse.Namespace, program: Program, executor: Executor) -> int:
    """Runs a program of which every device runs a part, on global inputs."""
    from pathlib import Path

    from passes.execute import inputs
    from passes.execute.arrays import TensorType
    from passes.execute.verify import check_per_device, gathered, spread

    if args.save_intermediates is not None or args.match is not None:
        raise UserError("--save-intermediates keeps global values; it does not go with --side-table")
    described = read_side_table(Path(args.side_table))
    check_per_device(program, described, args.entry)
    types = [TensorType(entry.global_shape, entry.dtype) for entry in described.arguments]
    given = inputs.make(program, args.inputs, args.seed, entry=args.entry, types=types)
    count = described.mesh.device_count
    shards = executor.run_per_device(program, spread(given.arrays, described), count, entry=args.entry)
    arrays = [gathered(each, entry) for each, entry in zip(shards, described.results, strict=True)]
    how = f"executed on {count} virtual devices ({executor.title}), {given.description}"
    _show(args, [entry.name for entry in described.results], arrays, how)
    return EXIT_OK


def _op_by_op(
    args: argparse.Namespace, program: Program, inputs: list[np.ndarray], executor: Executor
) -> tuple[list[np.ndarray], str]:
    """The results, computed with every value kept, and a line about that."""
    from pathlib import Path

    from passes.cli.progress import progress
    from passes.execute import stepwise
    from passes.execute.golden import evaluate
    from passes.execute.store import Store

    store = Store(Path(args.save_intermediates))
    steps = stepwise.take_apart(stepwise.inlined(program, args.entry), args.entry)
    with progress("executing ops") as report:
        golden = evaluate(steps, inputs, store, executor, match=args.match, progress=report)
    count = len(steps.steps)
    how = f"{golden.computed} of {count} ops executed op by op on {executor.place(program)}, the others found"
    return golden.results(), f"{how}; {len(golden.kept)} values in {args.save_intermediates}"


def table(names: list[str], arrays: list[np.ndarray]) -> str:
    """The results as aligned columns under a heading."""
    rows = [("result", "type", "min", "max", "mean", "hash")]
    rows += [(name, *_describe(array)) for name, array in zip(names, arrays, strict=True)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def _describe(array: np.ndarray) -> tuple[str, str, str, str, str]:
    import hashlib

    import numpy as np

    from passes.execute.arrays import TensorType, mlir_name

    type = str(TensorType(array.shape, mlir_name(array.dtype)))
    digest = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]
    if array.size == 0 or array.dtype.kind == "c":
        return type, "-", "-", "-", digest
    wide = array.astype(np.float64)
    return type, f"{wide.min():.6g}", f"{wide.max():.6g}", f"{wide.mean():.6g}", digest


def _save(path: str, names: list[str], arrays: list[np.ndarray]) -> None:
    import io

    import numpy as np

    from passes.program.write import write_output

    keys = [name if names.count(name) == 1 else f"{name}_{i}" for i, name in enumerate(names)]
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **dict(zip(keys, arrays, strict=True)))
    write_output(path, buffer.getvalue())
