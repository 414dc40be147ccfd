"""MLIR's textual pass pipelines: ``builtin.module(cse,func.func(sdy-close{a=1}),dead-ops{keep-calls=true})``.

The grammar is MLIR's own, so that every pipeline mlir-opt reads is read here the same way:

    pipeline ::= anchor '(' [item (',' item)*] ')'
    item     ::= pipeline | pass-name ['{' options '}']
    options  ::= option (' ' option)*
    option   ::= name ['=' value]         value: plain text, 'quoted', "quoted" or {nested}

`parse` also checks what it read: every pass exists, takes the options given and may stand under its anchor.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from passes import _mlir
from passes.errors import UserError, Where
from passes.pipeline import native, registry

if TYPE_CHECKING:
    from passes.pipeline.base import Pass

ROOT_ANCHOR = "builtin.module"
PLACE = "<pass-pipeline>"
_PUNCTUATION = ",(){}"
# Native code parses and runs nested pipelines recursively; nobody nests ops this deep, a generator gone wrong does.
_MAX_DEPTH = 64


@dataclass(frozen=True)
class PassUse:
    """One pass in a pipeline: its name, the text between its braces, and the column it starts at (from 1)."""

    name: str
    options: str = ""
    column: int = field(default=0, compare=False)

    def values(self) -> dict[str, str]:
        """The options by name; one without ``=`` has the value ``""``, of two with one name the last counts."""
        return dict(_split_options(self.options))

    def __str__(self) -> str:
        return f"{self.name}{{{self.options}}}" if self.options else self.name


@dataclass(frozen=True)
class Pipeline:
    """The passes to run on each op of kind ``anchor``, in order."""

    anchor: str
    items: tuple[PassUse | Pipeline, ...] = ()
    column: int = field(default=0, compare=False)

    def uses(self, outer: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], PassUse]]:
        """Every pass with the anchors around it, outermost first, in order of execution."""
        anchors = (*outer, self.anchor)
        for item in self.items:
            if isinstance(item, Pipeline):
                yield from item.uses(anchors)
            else:
                yield anchors, item

    def __str__(self) -> str:
        return f"{self.anchor}({','.join(map(str, self.items))})"


def parse(text: str) -> Pipeline:
    """The pipeline written in ``text``; ``str`` of it parses to an equal one.

    Raises:
      UserError: malformed text, a root other than ``builtin.module``, an unknown pass, an option the pass does not
        take, or a native pass under an anchor it does not run on; placed at its column.
    """
    pipeline = read(text)
    check(pipeline, text)
    return pipeline


def check(pipeline: Pipeline, text: str | None = None) -> None:
    """Checks that ``pipeline`` can run; ``text``, if given, is what it was read from, for placing errors.

    Raises:
      UserError: see `parse`.
    """
    if pipeline.anchor != ROOT_ANCHOR:
        message = f"a pipeline starts at {ROOT_ANCHOR}: write {ROOT_ANCHOR}({_shortened(str(pipeline))})"
        raise UserError(message) if text is None else _error(text, pipeline.column, message)
    for anchors, use in pipeline.uses():
        try:
            _check(anchors, use)
        except UserError as error:
            if text is None:
                raise
            raise _error(text, use.column, error.message) from None


def from_flags(flags: Sequence[tuple[str, str]]) -> Pipeline:
    """The pipeline of ``--PASS=options`` flags, given as ``(name, options)`` in their order on the command line.

    A native pass that runs on functions is nested under ``func.func``; neighbours share one nest.

    Raises:
      UserError: an unknown pass or an option the pass does not take.
    """
    items: list[PassUse | Pipeline] = []
    for name, options in flags:
        use = PassUse(name, options.strip())
        anchor = ROOT_ANCHOR if registry.own_pass(name) else native.anchor(registry.native_name(name)) or ROOT_ANCHOR
        _check((ROOT_ANCHOR,) if anchor == ROOT_ANCHOR else (ROOT_ANCHOR, anchor), use)
        last = items[-1] if items else None
        if anchor == ROOT_ANCHOR:
            items.append(use)
        elif isinstance(last, Pipeline) and last.anchor == anchor:
            items[-1] = Pipeline(anchor, (*last.items, use))
        else:
            items.append(Pipeline(anchor, (use,)))
    return Pipeline(ROOT_ANCHOR, tuple(items))


def own_pass(use: PassUse) -> Pass | None:
    """The pass of ours that ``use`` names, with its options; ``None`` if it names a native pass.

    Raises:
      UserError: the pass does not take these options.
    """
    found = registry.own_pass(use.name)
    return found.from_options(use.values()) if found else None


def known_names() -> list[str]:
    """Every pass name a pipeline may use, ours first."""
    ours = list(registry.OWN_PASSES)
    listed = [p.name for p in native.catalog()]
    return ours + [registry.NATIVE_PREFIX + n if n in registry.OWN_PASSES else n for n in listed]


def _check(anchors: tuple[str, ...], use: PassUse) -> None:
    if own_pass(use):
        return
    name = registry.native_name(use.name)
    needed = native.anchor(name)
    if needed is None and any(p.name == name for p in native.catalog()):
        raise UserError(f"the installed jaxlib {_mlir.jaxlib_version()} has no pass '{use.name}'")
    if needed is None:
        import difflib  # Only for this message.

        close = difflib.get_close_matches(use.name, known_names(), n=3, cutoff=0.6)
        hint = f"; did you mean {_or(close)}?" if close else "; --list-passes lists all"
        raise UserError(f"unknown pass '{use.name}'{hint}")
    native.check(name, use.options, anchors, needed)


@lru_cache(maxsize=256)
def read(text: str) -> Pipeline:
    """The pipeline written in ``text`` by its grammar alone, unchecked.

    Raises:
      UserError: malformed text, placed at its column.
    """
    # An open anchor is (name, column, items so far); the bottom one collects the root.
    open_anchors: list[tuple[str, int, list[PassUse | Pipeline]]] = [("", 0, [])]
    at, after_item = 0, False
    while True:
        at = _skip_space(text, at)
        char = text[at] if at < len(text) else ""
        items = open_anchors[-1][2]
        if char == ")" and (after_item or not items):
            if len(open_anchors) == 1:
                raise _error(text, at + 1, "')' without a matching '('")
            name, column, inner = open_anchors.pop()
            open_anchors[-1][2].append(Pipeline(name, tuple(inner), column))
            at, after_item = at + 1, True
        elif after_item and not char:
            break
        elif after_item:
            if char != ",":
                raise _error(text, at + 1, f"expected ',' or ')' instead of '{char}'")
            at, after_item = at + 1, False
        else:
            start = at
            at = _end_of_name(text, at)
            name = text[start:at].rstrip()
            char = text[at] if at < len(text) else ""
            if not name:
                what = f"instead of '{char}'" if char else "at the end"
                raise _error(text, start + 1, f"expected a pass name {what}")
            if char == "(":
                _check_anchor(text, name, start, len(open_anchors))
                open_anchors.append((name, start + 1, []))
                at += 1
                continue
            options = ""
            if char == "{":
                end = _matching_brace(text, at)
                options, at = text[at + 1 : end].strip(), end + 1
            items.append(PassUse(name, options, start + 1))
            after_item = True
    return _root(text, open_anchors)


def _root(text: str, open_anchors: list[tuple[str, int, list[PassUse | Pipeline]]]) -> Pipeline:
    name, column, roots = open_anchors[-1]
    if len(open_anchors) > 1:
        raise _error(text, column, f"'{name}(' is never closed")
    if len(roots) == 1 and isinstance(roots[0], Pipeline):
        return roots[0]
    first = next((r for r in roots if isinstance(r, PassUse)), roots[-1])
    if len(roots) > 1 and isinstance(roots[0], Pipeline):
        raise _error(text, roots[1].column, "a pipeline has one root; this stands outside of it")
    raise _error(text, first.column, f"passes stand inside their anchor: write {ROOT_ANCHOR}({_shortened(text)})")


def _check_anchor(text: str, name: str, start: int, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise _error(text, start + 1, f"anchors are nested more than {_MAX_DEPTH} deep")
    if name != "any" and "." not in name:
        raise _error(text, start + 1, f"'{name}(...)' is no anchor (an op such as func.func, or any); "
                     f"the options of a pass go in braces: {name}{{...}}")


def _skip_space(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def _end_of_name(text: str, at: int) -> int:
    while at < len(text) and text[at] not in _PUNCTUATION:
        at += 1
    return at


def _matching_brace(text: str, opening: int) -> int:
    # Quotes do not protect braces here, because MLIR's parser does not let them.
    depth = 0
    for at in range(opening, len(text)):
        depth += (text[at] == "{") - (text[at] == "}")
        if not depth:
            return at
    raise _error(text, opening + 1, "'{' is never closed")


def _split_options(text: str) -> Iterator[tuple[str, str]]:
    at = _skip_space(text, 0)
    while at < len(text):
        start = at
        while at < len(text) and not text[at].isspace() and text[at] != "=":
            at += 1
        name, value = text[start:at], ""
        if at < len(text) and text[at] == "=":
            start = at + 1
            at = _end_of_value(text, start)
            value = _unwrapped(text[start:at])
        yield name, value
        at = _skip_space(text, at)


def _end_of_value(text: str, at: int) -> int:
    while at < len(text) and not text[at].isspace():
        if text[at] in "'\"":
            closing = text.find(text[at], at + 1)
            at = closing if closing >= 0 else at
        elif text[at] == "{":
            at = _matching_brace(text, at)
        at += 1
    return at


def _unwrapped(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
        return value[1:-1].strip()
    if value.startswith("{") and _matching_brace(value, 0) == len(value) - 1:
        return value[1:-1].strip()
    return value


def _error(text: str, column: int, message: str) -> UserError:
    line = text.count("\n", 0, column - 1) + 1
    start = text.rfind("\n", 0, column - 1) + 1
    return UserError(message, Where(PLACE, line, column - start), snippet=text[start:].split("\n", 1)[0])


def _shortened(text: str) -> str:
    text = text.strip()
    return text if len(text) <= 60 else text[:57] + "..."


def _or(names: list[str]) -> str:
    quoted = [f"'{n}'" for n in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} or {quoted[-1]}"
