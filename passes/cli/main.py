"""``shlo SUBCOMMAND`` and ``shlo-opt``: finds the subcommand, runs it, and turns what it raises into an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, NoReturn

from passes.errors import EXIT_INPUT, EXIT_OK, UserError

if TYPE_CHECKING:
    from passes.cli.common import Parser

# Name -> (module, summary). A module has add_arguments(parser) and run(args) -> exit code; it is loaded when named.
SUBCOMMANDS = {
    "opt": ("passes.cli.opt", "run passes over a module, with mlir-opt's command line (shlo-opt is the same)"),
    "shard": ("passes.cli.shard", "annotate a program with shardings from a rules file and propagate them"),
    "show": ("passes.cli.show", "list or draw how the tensors of an annotated program lie on the devices"),
    "explain": ("passes.cli.explain", "say why a tensor is split as it is, step by step from an annotation"),
    "diff": ("passes.cli.diff", "compare how the tensors of one program lie in two annotated modules"),
    "partition": ("passes.cli.partition", "turn a sharded program into the program of one device"),
    "autoshard": ("passes.cli.autoshard", "find how to split a program over a mesh, under a limit of memory"),
    "cost": ("passes.cli.cost", "say what a program costs on each device: work, memory, bytes sent, time"),
    "report": ("passes.cli.report", "show what a program costs, where and why, on one HTML page"),
    "verify": ("passes.cli.verify", "execute two programs and compare their results"),
    "bisect": ("passes.cli.bisect", "find the op, or the pass, at which a program starts to compute something else"),
    "lint": ("passes.cli.lint", "report what a program does and may not mean to, and change nothing"),
    "moe": ("passes.cli.moe", "make dense mixture-of-experts layers sparse, and say which were found"),
    "run": ("passes.cli.run", "execute a program and describe its results"),
    "reduce": ("passes.cli.reduce", "make a program as small as it can be while a test still holds for it"),
    "passes": ("passes.cli.passes_command", "print the reference of all passes and their options"),
}

# Exit codes beyond those of errors.py, as shells and sysexits.h have them.
EXIT_INTERNAL = 70
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141
_LONGEST_ERROR = 240


def main(argv: Sequence[str] | None = None) -> int:
    """Runs ``shlo`` with ``argv`` (default: the process's) and returns the exit code."""
    return _guarded(lambda: _dispatch(list(sys.argv[1:] if argv is None else argv)))


def main_opt(argv: Sequence[str] | None = None) -> int:
    """Runs ``shlo-opt``, which is ``shlo opt``."""
    return _guarded(lambda: _run("opt", "shlo-opt", list(sys.argv[1:] if argv is None else argv)))


def console() -> NoReturn:
    """The installed command ``shlo``: `main` as a process of its own."""
    _leave(main())


def console_opt() -> NoReturn:
    """The installed command ``shlo-opt``: `main_opt` as a process of its own."""
    _leave(main_opt())


def _leave(code: int) -> NoReturn:
    """Ends the process without unloading the bindings and freeing every op, a sixth of the time of a short run."""
    import atexit

    atexit._run_exitfuncs()  # What the interpreter would do first: temporary folders and child processes are cleared.
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os._exit(code)


def _dispatch(argv: list[str]) -> int:
    first = argv[0] if argv else None
    if first in ("-h", "--help", "help"):
        print(_help())
        return EXIT_OK
    if first in ("--version", "-version"):
        from passes.cli.common import versions

        print(versions())
        return EXIT_OK
    if first is None:
        print(_help(), file=sys.stderr)
        return EXIT_INPUT
    if first not in SUBCOMMANDS:
        from passes.cli.common import unknown

        raise unknown("option" if first.startswith("-") else "command", first, SUBCOMMANDS, "shlo --help")
    return _run(first, f"shlo {first}", argv[1:])


def _run(name: str, prog: str, argv: list[str]) -> int:
    from passes.cli.common import Parser
    from passes.cli.limits import add_limits, limited, run_limited

    path, summary = SUBCOMMANDS[name]
    command = import_module(path)
    parser: Parser = Parser(prog, description=f"{summary[0].upper()}{summary[1:]}.")
    command.add_arguments(parser)
    add_limits(parser)
    args = parser.parse_args(argv)
    code: int = run_limited(name, argv, args) if limited(name, args) else command.run(args)
    return code


def _help() -> str:
    width = max(map(len, SUBCOMMANDS))
    return "\n".join([
        "usage: shlo COMMAND [options] [FILE]",
        "",
        "Optimize, shard, partition and prove StableHLO programs.",
        "",
        "commands:",
        *(f"  {name:{width}}  {summary}" for name, (_, summary) in SUBCOMMANDS.items()),
        "",
        "shlo COMMAND --help lists a command's options; shlo --version prints versions.",
    ])


def _guarded(body: Callable[[], int]) -> int:
    """Runs ``body``; whatever it raises ends as a line on stderr and an exit code, never as a traceback."""
    try:
        code = body()
        _flush()
        return code
    except UserError as error:
        return _complain(error.render(), error.exit_code)
    except BrokenPipeError:
        _silence_stdout()
        return EXIT_BROKEN_PIPE
    except MemoryError:
        from passes.cli.limits import out_of_memory

        return _complain(*out_of_memory())
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except SystemExit as exit:
        return exit.code if isinstance(exit.code, int) else EXIT_OK
    except Exception as error:
        return _complain(_internal_error(error), EXIT_INTERNAL)


def _complain(text: str, code: int) -> int:
    try:
        _flush()
    except OSError:
        _silence_stdout()
    print(text, file=sys.stderr, flush=True)
    return code


def _flush() -> None:
    if sys.stdout is not None:  # It is where a process starts with its standard output closed.
        sys.stdout.flush()


def _silence_stdout() -> None:
    """Gives the interpreter's last flush of stdout somewhere to go: the reader has left, or the disk is full."""
    descriptor = os.open(os.devnull, os.O_WRONLY)
    os.dup2(descriptor, 1)
    os.close(descriptor)


def _internal_error(error: Exception) -> str:
    """One line about a bug of ours, with the traceback kept in a file for the report."""
    import tempfile
    import traceback

    trace = "".join(traceback.format_exception(error))
    if os.environ.get("SHLO_TRACEBACK") == "1":
        sys.stderr.write(trace)
    what = " ".join(f"{type(error).__name__}: {error}".split())
    if len(what) > _LONGEST_ERROR:
        # The message of an error in a worker process is a traceback: what counts stands at its end.
        what = f"{what[:_LONGEST_ERROR // 3]} ... {what[-_LONGEST_ERROR // 2:]}"
    with tempfile.NamedTemporaryFile("w", prefix="shlo-traceback-", suffix=".txt", delete=False) as file:
        file.write(f"arguments: {sys.argv}\n\n{trace}")
    return f"shlo: internal error: {what}; please report it with {file.name} (SHLO_TRACEBACK=1 shows it here)"


if __name__ == "__main__":
    sys.exit(main())
