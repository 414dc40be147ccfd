"""What all subcommands share: the input file, the output file and its form, and how options are spelled.

Options follow LLVM's command line: an optional value comes after ``=`` only (``--emit-portable-artifact=1.0.0``, never
``--emit-portable-artifact 1.0.0``), and one dash does as well as two (``-mlir-print-op-generic``).
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from passes.errors import UserError, Where

if TYPE_CHECKING:
    from passes.program.read import Program
    from passes.program.write import PrintOptions
    from passes.sharding.annotate import AnnotateReport
    from passes.sharding.divisibility import Indivisible
    from passes.sharding.rules import Rules


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Writes optional values the way they are given, ``--flag[=VALUE]``, and only positional arguments as usage."""

    def __init__(self, prog: str) -> None:
        columns = os.get_terminal_size().columns if os.isatty(1) else 100
        super().__init__(prog, max_help_position=34, width=min(120, max(60, columns)))

    def add_usage(self, usage: str | None, actions: Any, groups: Any, prefix: str | None = None) -> None:
        positional = (self._format_args(a, a.metavar or a.dest) for a in actions if not a.option_strings)
        super().add_usage(usage or " ".join(["%(prog)s [options]", *positional]), actions, groups, prefix)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if action.option_strings and action.nargs == "?":
            return f"{', '.join(action.option_strings)}[={action.metavar or 'VALUE'}]"
        return super()._format_action_invocation(action)


class Parser(argparse.ArgumentParser):
    """argparse with LLVM's spelling of options and `UserError` instead of a usage text and ``exit(2)``."""

    def __init__(self, prog: str, **settings: Any) -> None:
        settings.setdefault("formatter_class", HelpFormatter)
        super().__init__(prog, allow_abbrev=False, **settings)

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        """The parsed options.

        Raises:
          UserError: an unknown option (with the closest known one), a missing or wrong value, a spare argument.
        """
        found, extra = self.parse_known_args(list(self._respell(args or ())), namespace)
        for argument in extra:
            if argument == "--":  # It ends the options; with no argument behind it, it is left over.
                continue
            if argument.startswith("-") and argument != "-":
                name = argument.partition("=")[0]
                raise unknown("option", name, self._option_string_actions, f"{self.prog} --help")
            self.error(f"unexpected argument '{argument}'")
        return found

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see {self.prog} --help")

    def _respell(self, args: Sequence[str]) -> Iterator[str]:
        """``args`` as argparse reads them: two dashes, and optional values attached with ``=``."""
        verbatim = False
        for index, argument in enumerate(args):
            if argument == "--":
                yield from args[index:]
                return
            if verbatim or not argument.startswith("-"):
                verbatim = False
                yield argument
                continue
            name, equals, value = double_dash(argument, self._option_string_actions).partition("=")
            action = self._option_string_actions.get(name)
            verbatim = action is not None and action.nargs is None and not equals
            if action is not None and action.nargs == "?" and not equals and isinstance(action.const, str):
                equals, value = "=", action.const
            yield name + equals + value


def double_dash(argument: str, known: Any) -> str:
    """``-name[=value]`` as ``--name[=value]`` if ``--name`` is in ``known``, else unchanged."""
    name = argument.partition("=")[0]
    return f"-{argument}" if len(name) > 2 and name[1] != "-" and f"-{name}" in known else argument


def unknown(kind: str, given: str, known: Iterable[str], help: str) -> UserError:
    """The error for a ``given`` name that is not ``known``, with the closest one that is; ``kind`` is a noun for it."""
    import difflib  # Only for this message: it costs start-up time.

    close = difflib.get_close_matches(given.lstrip("-"), [name.lstrip("-") for name in known], n=1, cutoff=0.6)
    dashes = "--" if given.startswith("-") else ""
    hint = f"did you mean '{dashes}{close[0]}'?" if close else f"see {help}"
    return UserError(f"unknown {kind} '{given}'; {hint}")


def boolean(text: str) -> bool:
    """An option's truth value as LLVM reads it.

    Raises:
      argparse.ArgumentTypeError: ``text`` is neither a true nor a false one.
    """
    if text.lower() in ("true", "1"):
        return True
    if text.lower() in ("false", "0"):
        return False
    raise argparse.ArgumentTypeError(f"takes true or false, not '{text}'")


def whole_number(text: str) -> int:
    """A count of zero or more.

    Raises:
      argparse.ArgumentTypeError: ``text`` is none.
    """
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"takes a whole number, not '{text}'")
    return int(text)


def add_input(parser: argparse.ArgumentParser) -> None:
    """Adds ``FILE`` and how it is parsed; `read_input` reads it."""
    parser.add_argument(
        "file", metavar="FILE", nargs="?", default="-",
        help="MLIR text, MLIR bytecode or StableHLO portable artifact; - (the default) is standard input",
    )
    parser.add_argument(
        "--allow-unregistered-dialect", action="store_true", help="accept ops of dialects that are not known here"
    )


def add_rules(parser: argparse.ArgumentParser, help: str) -> None:
    """Adds ``--rules`` and ``--mesh``; `read_rules` reads what they name."""
    parser.add_argument("--rules", metavar="FILE", help=f"{help}; preset:NAME is a plan that comes along (see "
                                                        "docs/rules-file.md)")
    parser.add_argument("--mesh", metavar="AXES", help=(
        "the mesh in place of that of the rules file, major to minor: data=2,model=4"
    ))


def read_rules(args: argparse.Namespace) -> Rules | None:
    """The rules that ``--rules`` names, on the mesh of ``--mesh`` if there is one; ``None`` without ``--rules``.

    Raises:
      UserError: they cannot be read, or there is a mesh without rules.
    """
    if args.rules is None:
        if args.mesh is not None:
            raise UserError("--mesh goes with --rules, whose mesh it replaces")
        return None
    from passes.sharding.rules_file import load, parse_mesh

    return load(args.rules, parse_mesh(args.mesh) if args.mesh is not None else None)


def annotated(
    args: argparse.Namespace, program: Program, rules: Rules, allowed: Indivisible | None = None
) -> AnnotateReport:
    """Annotates ``program`` by ``rules`` and prints what the rules are about and the program has not.

    Shardings that do not divide their tensor are refused where they are not ``allowed``.

    Raises:
      UserError: see `annotate.annotate`.
    """
    from passes.sharding.annotate import annotate
    from passes.sharding.divisibility import NOWHERE

    report = annotate(program, rules, args.entry, allowed or NOWHERE)
    for line in report.warnings:
        print(line, file=sys.stderr)
    return report


def add_entry(parser: argparse.ArgumentParser) -> None:
    """Adds ``--entry`` (``args.entry``, for `program.entry.find_entry`)."""
    parser.add_argument("--entry", metavar="NAME", help="the entry function (default: main, else the only public one)")


def add_output(parser: argparse.ArgumentParser) -> None:
    """Adds ``-o`` and the form of the output; `write_module` writes it."""
    output = parser.add_argument_group("output")
    output.add_argument("-o", dest="output", metavar="FILE", default="-",
                        help="where the result goes, whole or not at all; - (the default) is standard output")
    output.add_argument("--emit-bytecode", action="store_true", help="write MLIR bytecode")
    output.add_argument("--emit-portable-artifact", metavar="VERSION", nargs="?", const="",
                        help="write a StableHLO portable artifact for VERSION (default: the current one)")
    output.add_argument("--mlir-print-op-generic", action="store_true", help="print ops in their generic form")
    output.add_argument("--mlir-print-debuginfo", type=boolean, metavar="BOOL", nargs="?", const="true",
                        help="print locations")
    output.add_argument("--mlir-print-local-scope", action="store_true",
                        help="print without aliases and outlined resources, each op by itself")
    output.add_argument("--mlir-elide-elementsattrs-if-larger", type=whole_number, metavar="N",
                        help="print constants of more than N elements as __elided__")


def read_input(args: argparse.Namespace) -> Program:
    """Reads the program named on the command line, after a check that ``-o`` can be written.

    Raises:
      UserError: see `program.read.read`; or the output's directory does not exist.
    """
    from passes.program import read

    check_output(getattr(args, "output", "-"))
    return read.read(args.file, allow_unregistered=args.allow_unregistered_dialect)


def check_output(path: str) -> None:
    """Finds out before the work, not after it, that ``path`` cannot be written.

    Raises:
      UserError: ``path`` is a directory, or lies in one that does not exist.
    """
    if path == "-":
        return
    if os.path.isdir(path):
        raise UserError("cannot write the output: it is a directory", Where(path))
    parent = os.path.dirname(path) or "."
    if not os.path.isdir(parent):
        raise UserError(f"cannot write the output: there is no directory '{parent}'", Where(path))


def print_options(args: argparse.Namespace, *, debuginfo: bool = False) -> PrintOptions:
    """How to print modules as text; ``debuginfo`` holds unless ``--mlir-print-debuginfo`` says otherwise."""
    from passes.program.write import PrintOptions

    asked = args.mlir_print_debuginfo
    return PrintOptions(
        debuginfo=debuginfo if asked is None else asked,
        generic=args.mlir_print_op_generic,
        local_scope=args.mlir_print_local_scope,
        elide_larger_than=args.mlir_elide_elementsattrs_if_larger,
    )


def renderer(args: argparse.Namespace, *, debuginfo: bool = False) -> Callable[[Any], str | bytes]:
    """A function from a verified module to what goes into the output file, in the form the options ask for.

    Raises:
      UserError: both binary formats are asked for; the function raises it for what a portable artifact cannot hold.
    """
    from passes.program import write

    if args.emit_bytecode and args.emit_portable_artifact is not None:
        raise UserError("--emit-bytecode and --emit-portable-artifact exclude each other; choose one output format")
    if args.emit_bytecode:
        return write.to_bytecode
    if args.emit_portable_artifact is not None:
        return lambda module: write.to_portable(module, args.emit_portable_artifact or None)
    options = print_options(args, debuginfo=debuginfo)
    return lambda module: write.to_text(module, options)


def write_module(args: argparse.Namespace, program: Program, *, debuginfo: bool | None = None) -> None:
    """Writes ``program.module``, which must be verified, where and how the options say.

    ``debuginfo`` is whether text carries locations when the command line does not say; by default it does when the
    input did.

    Raises:
      UserError: the file cannot be written, or the module does not fit the format.
    """
    from passes.program import write

    render = renderer(args, debuginfo=program.has_debug_info if debuginfo is None else debuginfo)
    write.write_output(args.output, render(program.module))


def versions() -> str:
    """What ``--version`` prints: this package's version, jaxlib's and StableHLO's."""
    from passes import __version__, _mlir

    return f"stablehlo-passes {__version__}\njaxlib {_mlir.jaxlib_version()}\nStableHLO {_mlir.stablehlo_version()}"
