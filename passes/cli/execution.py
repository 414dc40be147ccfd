"""Options shared by the commands that execute programs: where, on which inputs, for how long."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from passes.cli.common import whole_number

if TYPE_CHECKING:
    from passes.execute.executor import Executor


def add_execution(parser: argparse.ArgumentParser) -> None:
    """Adds ``--inputs``, ``--seed``, ``--executor`` and ``--timeout``."""
    parser.add_argument("--inputs", metavar="KIND|FILE", default="normal", help=(
        "normal (the default), uniform, exact (small integers), special (NaN, Inf, -0.0, ... mixed in), "
        "out-of-range (indices too), or a .npz file with an array per argument, or a .npy file"
    ))
    parser.add_argument("--seed", type=whole_number, metavar="N", default=0,
                        help="seed of generated inputs (default: 0)")
    parser.add_argument("--executor", choices=("xla", "interpreter"), default="xla", help=(
        "xla: XLA's CPU backend (the default); interpreter: StableHLO's reference interpreter, slow"
    ))
    parser.add_argument("--timeout", type=whole_number, metavar="SECONDS", help="give up an execution after this long")


def make_executor(args: argparse.Namespace) -> Executor:
    """The executor that the options ask for; native code runs in a child process."""
    from passes.execute.executor import Executor

    return Executor(args.executor, timeout=args.timeout)
