"""``shlo passes [NAME ...]``: the reference of all passes, made from what the passes declare."""

from __future__ import annotations

import argparse
import textwrap
from typing import TYPE_CHECKING

from passes.cli import common
from passes.errors import EXIT_OK
from passes.pipeline import native, registry, textual

if TYPE_CHECKING:
    from passes.pipeline.base import Option, Pass


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the names."""
    parser.add_argument("names", metavar="NAME", nargs="*", help="only these passes")


def run(args: argparse.Namespace) -> int:
    """Prints the reference; it needs no bindings."""
    known = textual.known_names()
    for name in args.names:
        if name not in known:
            raise common.unknown("pass", name, known, "shlo passes")
    print("\n\n".join(reference(name) for name in args.names) if args.names else everything())
    return EXIT_OK


def everything() -> str:
    """Every pass of this package in full, and the native ones in a line each."""
    ours = "\n\n".join(map(reference, registry.OWN_PASSES))
    theirs = "\n".join(map(_native_line, native.catalog()))
    return f"{ours}\n\n# Native passes\n\nThey come with jaxlib; those marked * run in a worker process.\n\n{theirs}"


def reference(name: str) -> str:
    """The page of one pass: its summary, options, statistics and an example."""
    found = registry.own_pass(name)
    if found is None:
        native_name = registry.native_name(name)
        return _native_line(next(p for p in native.catalog() if p.name == native_name))
    sections = [f"# {found.name}", found.summary, *_options(found), *_statistics(found)]
    sections += ["Before:", _indented(found.before), "After:", _indented(found.after)]
    return "\n\n".join(sections)


def _options(found: type[Pass]) -> list[str]:
    lines = [f"  {o.name}={_default(o)}  ({_type_name(o)})\n{_wrapped(o.help)}" for o in found.options()]
    return ["Options, with their defaults:", "\n".join(lines)] if lines else []


def _default(option: Option) -> str:
    return option.print(option.default)


def _type_name(option: Option) -> str:
    if option.words:
        return f"one of {', '.join(option.words)}"
    return {bool: "true or false", int: "a whole number", str: "text"}.get(option.type, "comma-separated")


def _statistics(found: type[Pass]) -> list[str]:
    lines = [f"  {s.name}: {s.help}" for s in found.statistics]
    return ["Statistics:", "\n".join(lines)] if lines else []


def _native_line(found: native.NativePass) -> str:
    name = registry.NATIVE_PREFIX + found.name if found.name in registry.OWN_PASSES else found.name
    return f"{name}{'' if found.proven else ' *'}: {found.summary}"


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 100, initial_indent=" " * 6, subsequent_indent=" " * 6)


def _indented(text: str) -> str:
    return textwrap.indent(textwrap.dedent(text).strip("\n"), " " * 4)
