"""``shlo opt`` (installed as ``shlo-opt`` too): mlir-opt's command line over passes of this package and native ones.

    shlo opt model.mlir --cse --dead-ops=keep-calls=true -o smaller.mlir
    shlo-opt model.mlir -p 'builtin.module(cse,func.func(sdy-reshard-to-collectives))' --mlir-print-ir-after-change
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from passes.cli import common
from passes.cli.execution import add_verify, copy_of, prove
from passes.errors import EXIT_OK, UserError
from passes.pipeline import textual

if TYPE_CHECKING:
    from passes._mlir import Diagnostic
    from passes.pipeline.runner import RunOptions
    from passes.pipeline.textual import Pipeline


class _PassFlag(argparse.Action):
    """``--PASS[=options]``: adds the pass to ``args.passes``, which keeps the order of the command line."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        name = self.const or self.option_strings[0].removeprefix("--")
        namespace.passes = [*namespace.passes, (name, values or "")]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds mlir-opt's options and one flag for each known pass."""
    parser.description = f"{parser.description}\n\n--PASS[=OPTIONS] adds a pass; --list-passes lists all passes."
    common.add_input(parser)
    parser.add_argument("--split-input-file", action="store_true",
                        help="take the parts between '// -----' lines as modules of their own")
    parser.add_argument("--verify-diagnostics", nargs="?", const="all", choices=("all", "only-expected"),
                        help="check diagnostics against '// expected-error {{...}}' comments")
    parser.add_argument("--list-passes", action="store_true", help="list all passes and exit")
    parser.add_argument("--version", action="store_true", help="print versions and exit")
    common.add_output(parser)
    _add_pipeline_options(parser.add_argument_group("pipeline"))
    _add_reporting_options(parser.add_argument_group("reporting, on standard error"))
    add_verify(parser)
    _add_pass_flags(parser)


def _add_pipeline_options(group: Any) -> None:
    group.add_argument("-O", action=_PassFlag, dest="passes", nargs=0, const="optimize", default=argparse.SUPPRESS,
                       help="run all optimizations until nothing changes; the same as --optimize")
    group.add_argument("--pass-pipeline", "-p", metavar="TEXT", help="the passes to run, as a textual pipeline")
    group.add_argument("--verify-each", type=common.boolean, nargs="?", const="true", default=True, metavar="BOOL",
                       help="verify the module after each pass (default: true)")
    group.add_argument("--no-isolation", action="store_true",
                       help="run every native pass in this process, even one that may kill it")
    group.add_argument("--mlir-pass-pipeline-crash-reproducer", metavar="FILE", help="where a reproducer goes")
    group.add_argument("--run-reproducer", action="store_true", help="run the pipeline recorded in the input")


def _add_reporting_options(group: Any) -> None:
    group.add_argument("--dump-pass-pipeline", action="store_true", help="print the pipeline before it runs")
    group.add_argument("--mlir-print-ir-before", metavar="PASSES", action="append", default=[],
                       help="print the IR before these passes (comma-separated)")
    group.add_argument("--mlir-print-ir-after", metavar="PASSES", action="append", default=[],
                       help="print the IR after these passes (comma-separated)")
    for flag, text in (
        ("--mlir-print-ir-before-all", "print the IR before each pass"),
        ("--mlir-print-ir-after-all", "print the IR after each pass"),
        ("--mlir-print-ir-after-change", "print the IR after a pass only if the pass changed it"),
        ("--mlir-print-ir-module-scope", "print the whole module, not only the op a pass runs on"),
        ("--mlir-timing", "print how long each pass took"),
        ("--mlir-pass-statistics", "print what each pass counted"),
    ):
        group.add_argument(flag, action="store_true", help=text)
    group.add_argument("--explain-removed", metavar="N", type=common.whole_number, nargs="?", const="10", help=(
        "print which ops passes of this package took out and why, with the N places where most went (default: 10)"
    ))
    group.add_argument("--mlir-print-ir-tree-dir", metavar="DIR", help="print IR to files under DIR instead")


def _add_pass_flags(parser: argparse.ArgumentParser) -> None:
    from passes.pipeline.registry import OWN_PASSES

    group = parser.add_argument_group("passes of this package (shlo passes prints their reference)")
    parser.set_defaults(passes=[])
    for name in textual.known_names():
        shown = None if name in OWN_PASSES else argparse.SUPPRESS
        group.add_argument(f"--{name}", action=_PassFlag, dest="passes", nargs="?", const="", metavar="OPTIONS",
                           default=argparse.SUPPRESS, help=shown)


def run(args: argparse.Namespace) -> int:
    """Runs the command; what it prints and writes comes at the end, so that an error leaves the output file alone."""
    if args.version:
        print(common.versions())
        return EXIT_OK
    if args.list_passes:
        print(_pass_list())
        return EXIT_OK
    pipeline = _pipeline(args)
    common.check_output(args.output)
    job = _read_job(args, pipeline)
    if args.dump_pass_pipeline:
        print(job.pipeline, file=sys.stderr)
    errors = job.run()
    for error in errors:
        print(error.render(), file=sys.stderr)
    # Diagnostics that were expected are no reason to hold back the modules that came through.
    if job.outputs and (args.verify_diagnostics or not errors):
        _write(args, job.outputs)
    return max((error.exit_code for error in errors), default=EXIT_OK)


@dataclass
class _Job:
    """The modules of one input and the pipeline each goes through; ``outputs`` are those that came through."""

    args: argparse.Namespace
    source: str
    parts: list[tuple[int, bytes]]
    pipeline: Pipeline
    options: RunOptions
    outputs: list[str | bytes] = field(default_factory=list)

    def run(self) -> list[UserError]:
        """Processes every part and returns what is wrong, in order."""
        check = self._check_diagnostics if self.args.verify_diagnostics else self._process
        return [error for first_line, data in self.parts for error in check(first_line, data)]

    def _process(self, first_line: int, data: bytes) -> list[UserError]:
        from passes.pipeline import runner
        from passes.program import read

        allow = self.args.allow_unregistered_dialect
        try:
            program = read.parse(data, self.source, allow_unregistered=allow, first_line=first_line)
            original = copy_of(program) if self.args.verify else None
            runner.run(program, self.pipeline, self.options)
            if original is not None:
                prove(self.args, original, program)
            self.outputs.append(common.renderer(self.args)(program.module))
        except UserError as error:
            return [error]
        return []

    def _check_diagnostics(self, first_line: int, data: bytes) -> list[UserError]:
        from passes import _mlir
        from passes.cli import expected

        comments = expected.read(data.decode(errors="replace"), self.source, first_line)
        with _mlir.record_diagnostics() as said:
            errors = self._process(first_line, data)
        if not any(d.severity == "error" for d in said):
            # Errors of ours, and those from a worker process, are not among MLIR's diagnostics here.
            said += [diagnostic for error in errors for diagnostic in _diagnostics(error)]
        only_expected = self.args.verify_diagnostics == "only-expected"
        return expected.compare(comments, said, self.source, only_expected=only_expected)


def _diagnostics(error: UserError) -> tuple[Diagnostic, ...]:
    """What MLIR said before ``error`` was raised, or the error itself as MLIR would say it."""
    from passes._mlir import Diagnostic
    from passes.pipeline.runner import PassFailure

    if isinstance(error, PassFailure) and error.diagnostics:
        return error.diagnostics
    notes = tuple(Diagnostic("note", where, text) for where, text in error.notes)
    return (Diagnostic("error", error.where, error.message, notes),)


def _read_job(args: argparse.Namespace, pipeline: Pipeline) -> _Job:
    from passes.program import read

    options = _run_options(args)
    data, source = read.read_bytes(args.file)
    parts = [(1, data)]
    if args.run_reproducer:
        from passes.pipeline import reproducer

        recorded = reproducer.read(data.decode(errors="replace") + "\n", source)
        pipeline = textual.parse(recorded.pipeline)
        options = replace(options, verify_each=recorded.verify_each)
        parts = [(1, recorded.module_text.encode())]
    elif args.split_input_file and read.sniff(data) == "text":
        from passes.cli import split_input

        # An input without any module is for the parser to complain about.
        parts = list(split_input.split(data)) or parts
    return _Job(args, source, parts, pipeline, options)


def _pipeline(args: argparse.Namespace) -> Pipeline:
    given = [text for text, present in (
        ("--pass-pipeline", args.pass_pipeline is not None),
        ("pass flags", bool(args.passes)),
        ("--run-reproducer", args.run_reproducer),
    ) if present]
    if len(given) > 1:
        raise UserError(f"{' and '.join(given)} exclude each other; name the passes in one way")
    return textual.from_flags(args.passes) if args.pass_pipeline is None else textual.parse(args.pass_pipeline)


def _run_options(args: argparse.Namespace) -> RunOptions:
    from passes.pipeline.runner import RunOptions

    form = common.print_options(args)
    return RunOptions(
        verify_each=args.verify_each,
        isolation=not args.no_isolation,
        print_before=_pass_names(args.mlir_print_ir_before),
        print_after=_pass_names(args.mlir_print_ir_after),
        print_before_all=args.mlir_print_ir_before_all,
        print_after_all=args.mlir_print_ir_after_all,
        print_after_change=args.mlir_print_ir_after_change,
        print_module_scope=args.mlir_print_ir_module_scope,
        tree_dir=args.mlir_print_ir_tree_dir,
        timing=args.mlir_timing,
        statistics=args.mlir_pass_statistics,
        explain_removed=args.explain_removed,
        crash_reproducer=args.mlir_pass_pipeline_crash_reproducer,
        print_generic=form.generic,
        print_debuginfo=form.debuginfo,
        elide_larger_than=form.elide_larger_than,
    )


def _pass_names(lists: Iterable[str]) -> tuple[str, ...]:
    names = tuple(name for text in lists for name in text.split(",") if name)
    for name in names:
        if name not in textual.known_names():
            raise common.unknown("pass", name, textual.known_names(), "--list-passes")
    return names


def _write(args: argparse.Namespace, outputs: list[str | bytes]) -> None:
    from passes.program.write import write_output

    if len(outputs) == 1:
        write_output(args.output, outputs[0])
        return
    texts = [output for output in outputs if isinstance(output, str)]
    if len(texts) < len(outputs):
        raise UserError(f"{len(outputs)} modules do not fit into one binary file; write text, or one module at a time")
    from passes.cli.split_input import join

    write_output(args.output, join(texts))


def _pass_list() -> str:
    """All passes with their summaries, ours first; no bindings are needed for it."""
    from passes.pipeline import native
    from passes.pipeline.registry import OWN_PASSES, own_pass

    names = textual.known_names()
    summaries = [found.summary for name in OWN_PASSES if (found := own_pass(name))]
    summaries += [p.summary for p in native.catalog()]
    width = max(map(len, names))
    lines = [f"  {name:{width}}  {summary}" for name, summary in zip(names, summaries, strict=True)]
    count = len(OWN_PASSES)
    return "\n".join(["passes of this package:", *lines[:count], "", "native passes:", *lines[count:]])
