"""Options shared by the commands that execute programs: where, on which inputs, for how long."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from passes.cli.common import whole_number
from passes.errors import UserError, Where

if TYPE_CHECKING:
    from pathlib import Path

    from passes.execute.executor import Executor
    from passes.partition.side_table import SideTable
    from passes.program.read import Program


def add_execution(parser: argparse._ActionsContainer, timed: str = "an execution ") -> None:
    """Adds ``--inputs`` and ``--seed``, and where and for how long to run; ``timed`` says what the time is for."""
    parser.add_argument("--inputs", metavar="KIND|FILE", default="normal", help=(
        "normal (the default), uniform, exact (small integers), special (NaN, Inf, -0.0, ... mixed in), "
        "out-of-range (indices too), or a .npz file with an array per argument, or a .npy file"
    ))
    parser.add_argument("--seed", type=whole_number, metavar="N", default=0,
                        help="seed of generated inputs (default: 0)")
    parser.add_argument("--executor", choices=("xla", "interpreter"), default="xla", help=(
        "xla: XLA's CPU backend (the default); interpreter: StableHLO's reference interpreter, slow"
    ))
    parser.add_argument("--platform", metavar="PLUGIN", help=(
        "run on the devices of a PJRT plugin: its library, or its name in $PJRT_NAMES_AND_LIBRARY_PATHS"
    ))
    parser.add_argument("--processes", type=whole_number, metavar="P", default=1, help=(
        "share the devices of a per-device program between P processes that talk over TCP (default: 1)"
    ))
    parser.add_argument("--timeout", type=whole_number, metavar="SECONDS", help=f"give up {timed}after this long")


def make_executor(args: argparse.Namespace) -> Executor:
    """The executor that the options ask for; native code runs in a child process.

    Raises:
      UserError: the options exclude each other.
    """
    from passes.execute.executor import Executor

    if args.processes < 1:
        raise UserError("--processes takes 1 or more")
    if args.processes > 1 and (args.executor != "xla" or args.platform):
        raise UserError("--processes works with --executor=xla only")
    engine = f"plugin:{args.platform}" if args.platform else args.executor
    return Executor(engine, timeout=args.timeout, processes=args.processes)


def add_verify(parser: argparse.ArgumentParser) -> None:
    """Adds ``--verify`` and how to execute; `prove` does what they ask."""
    group = parser.add_argument_group("proof")
    group.add_argument("--verify", action="store_true", help=(
        "execute the result and compare it with the program before; on a mismatch nothing is written"
    ))
    add_execution(group, timed="")


def read_side_table(path: Path) -> SideTable:
    """The side table in the file ``path``.

    Raises:
      UserError: it cannot be read, or is none.
    """
    from passes.partition.side_table import SideTable

    try:
        return SideTable.from_json(path.read_text(), str(path))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot read the side table: {reason}", Where(str(path))) from None


def copy_of(program: Program) -> Program:
    """The program as it is now, untouched by what is done to ``program`` later."""
    from passes.program import read, write

    allow = bool(program.module.context.allow_unregistered_dialects)
    return read.parse(write.to_bytecode(program.module), program.source, allow_unregistered=allow)


def executable(program: Program) -> Program:
    """``program``, its sharding annotations brought into plain ``sdy`` if XLA could not read them.

    It reads most spellings in its own way, which shares nothing with ours, so it is left to that where it can.
    """
    from passes.sharding.import_shardings import import_shardings
    from passes.sharding.importers.scan import needs_import_for_xla

    if needs_import_for_xla(program):
        import_shardings(program)
    return program


def prove(
    args: argparse.Namespace,
    original: Program,
    transformed: Program,
    side_table: SideTable | None = None,
    *,
    entry: str | None = None,
    xla_partition: bool = False,
) -> None:
    """Executes both programs as the options of `add_verify` say and prints the verdict on standard error.

    Raises:
      Mismatch: they differ. `execute.verify.verify` says what else.
    """
    from passes.execute.verify import verify

    found = verify(
        executable(original), transformed, side_table,
        entry=entry, inputs=args.inputs, seed=args.seed, executor=make_executor(args), xla_partition=xla_partition,
    )
    # The error lists what differs, so it is not printed twice.
    found.require()
    print("\n".join(found.lines()), file=sys.stderr)
