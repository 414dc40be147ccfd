"""``--timeout`` and ``--max-memory``: a command under limits runs in a process of its own, which can be ended.

Native code hears no exception: it can neither be interrupted by a clock in its own process, nor survive an allocation
that fails. So the process the user started only waits, and says in one line what became of the other one.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence

from passes.cli.common import whole_number
from passes.errors import EXIT_NATIVE, NativeFailure

# Set in the process under limits.
INSIDE = "SHLO_UNDER_LIMITS"
# Commands that execute many times, or for long, give each execution the time that --timeout names.
PER_EXECUTION = frozenset({"run", "verify", "bisect", "reduce"})
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
# What the bindings and XLA's client need before they have seen a program.
_LEAST_MEMORY = 256 << 20


def memory_size(text: str) -> int:
    """Bytes from ``4G``, ``800M`` or a plain number.

    Raises:
      argparse.ArgumentTypeError: ``text`` is no size, or less than the bindings need.
    """
    number = text.upper().removesuffix("B").removesuffix("I")
    unit = number[-1:] if number[-1:] in _UNITS else ""
    digits = number.removesuffix(unit)
    if not digits.isdecimal():
        raise argparse.ArgumentTypeError(f"takes a size such as 4G or 800M, not '{text}'")
    size = int(digits) * _UNITS[unit]
    if size < _LEAST_MEMORY:
        raise argparse.ArgumentTypeError(f"takes at least {_LEAST_MEMORY >> 20}M, which '{text}' is less than")
    return size


def add_limits(parser: argparse.ArgumentParser) -> None:
    """Adds the options to a command; ``--timeout`` only where it has none of its own."""
    if "--timeout" not in parser._option_string_actions:
        parser.add_argument("--timeout", type=whole_number, metavar="SECONDS", help="give up after this long")
    parser.add_argument("--max-memory", type=memory_size, metavar="SIZE", help=(
        "the memory that each process of the command may take: 4G, 800M"
    ))


def limited(name: str, args: argparse.Namespace) -> bool:
    """Whether the command asks for limits that this process is not under yet."""
    timed = args.timeout is not None and name not in PER_EXECUTION
    return (timed or args.max_memory is not None) and INSIDE not in os.environ


def run_limited(name: str, argv: Sequence[str], args: argparse.Namespace) -> int:
    """Runs ``shlo NAME ARGV`` in a process under its limits; returns its exit code.

    Raises:
      NativeFailure: it did not end in time, or it died.
    """
    seconds = None if name in PER_EXECUTION else args.timeout
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "passes.cli.main", name, *argv], env=_environment(),
        preexec_fn=_limit(args.max_memory),
    )
    try:
        code = process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()  # Its own children end with it.
        raise NativeFailure(f"shlo {name} did not finish within {seconds:g} s") from None
    except BaseException:
        process.kill()
        raise
    finally:
        process.wait()
    if code < 0:
        memory = "" if args.max_memory is None else f"; it may take {args.max_memory >> 20}M of memory"
        raise NativeFailure(f"shlo {name} was ended by {signal.Signals(-code).name}{memory}")
    return code


def _environment() -> dict[str, str]:
    """This environment, with the mark, and with the folder of this very package to import it from."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    return {**os.environ, INSIDE: "1", "PYTHONPATH": path}


def _limit(memory: int | None) -> Callable[[], None]:
    """What the process does before anything else: it takes on the limit, and ends with the one that waits for it."""
    import resource

    from passes.pipeline.lifetime import die_with_parent

    def prepare() -> None:
        die_with_parent()
        if memory is not None:
            # Data, not address space: mapped libraries and reserved pages are no memory that anybody takes.
            resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))

    return prepare


def out_of_memory() -> tuple[str, int]:
    """The line and the exit code for a command whose allocation failed."""
    return "shlo: error: out of memory; --max-memory sets how much each process may take", EXIT_NATIVE
