"""Options shared by the commands that execute programs: where, on which inputs, for how long."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from passes.cli.common import whole_number
from passes.errors import UserError

if TYPE_CHECKING:
    from passes.execute.executor import Executor


def add_execution(parser: argparse.ArgumentParser) -> None:
    """Adds ``--inputs`` and ``--seed``, and where and for how long to run."""
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
    parser.add_argument("--timeout", type=whole_number, metavar="SECONDS", help="give up an execution after this long")


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
