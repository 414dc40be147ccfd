"""Reads a rules file (docs/rules-file.md): the mesh, and what the user states about a program, as TOML.

  mesh = { data = 2, model = 4 }          # major to minor

  [names]                                 # parts of regular expressions: (?&attention)
  attention = "wq|wk|wv"

  [[arguments]]
  match = "params['*']['wq']"             # or: regex = "...", index = 3; and: rank = 2, type = "*xf32"
  dims = ["", "model"]

  [[results]]
  match = "*loss*"
  dims = []

  [[constraints]]                         # on intermediates
  op = "dot_general"
  location = "*/attention/*"
  dims = ["data", "", ""]

  [[groups]]                              # sharded alike
  arguments = ["a", "b"]

  [[rules]]                               # how a custom call or composite may be split
  custom_call = "flash"
  rule = "b h s d, b h t d -> b h s d"
"""

from __future__ import annotations

import re
from collections import Counter
from importlib import resources
from typing import Any

from passes.errors import UserError, Where
from passes.program.read import read_bytes
from passes.sharding import rule_notation, toml_table
from passes.sharding.mesh import MAX_DEVICES, Mesh
from passes.sharding.rules import Constraint, DimRule, Entry, Group, Layout, OpRule, OpSelector, Rules, Selector
from passes.sharding.toml_table import Table, kind, names, shorten

# What a rules file that is part of this package is asked for by: preset:megatron.
PRESET = "preset:"
_AXIS_NAME = re.compile(r"[^\W\d][\w.-]*")
# What stands for one of [names] in a regular expression.
_REFERENCE = re.compile(r"\(\?&(\w+)\)")
# What may stand behind the axes of a dimension: ? (open) and a priority.
_DIM = re.compile(r"(?P<axis>[^?:]*)(?P<open>\??)(?::p(?P<priority>\d+))?")
_NAMES = ("match", "regex", "index")
_LAYOUT = ("dims", "replicated", "unreduced", "optional", "about")
_ENTRY = (*_NAMES, "type", "rank", *_LAYOUT)
_OPS = ("op", "location", "type", "rank", "composite", "custom_call", "nth", "result")
# What says which value of a selected op is meant, and selects none.
_WHICH = ("result", "operand")
_RULE = (
    "custom_call", "composite", "rule", "sizes", "reduction", "need_replication", "permutation", "blocked_propagation",
    "optional",
)
_FILE = ("mesh", "arguments", "results", "constraints", "groups", "rules", "names")


def load(path: str, mesh: Mesh | None = None) -> Rules:
    """Reads the rules file at ``path`` (``-`` is standard input; ``preset:NAME`` is one of this package).

    Args:
      mesh: Stands in for the file's own.

    Raises:
      UserError: the file cannot be read or is no rules file; placed at its file and line.
    """
    if path.startswith(PRESET):
        return parse(_read_preset(path.removeprefix(PRESET)), path, mesh)
    data, source = read_bytes(path)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        where = Where(source, data.count(b"\n", 0, error.start) + 1)
        raise UserError("the rules file is not text (UTF-8)", where) from None
    return parse(text, source, mesh)


def presets() -> dict[str, str]:
    """The rules files of this package: name -> text."""
    folder = resources.files("passes.sharding") / "presets"
    found = {file.name.removesuffix(".toml"): file for file in folder.iterdir() if file.name.endswith(".toml")}
    return {name: found[name].read_text(encoding="utf-8") for name in sorted(found)}


def _read_preset(name: str) -> str:
    known = presets()
    if name not in known:
        raise UserError(f"there is no preset '{shorten(name)}'; there are {', '.join(known)}")
    return known[name]


def parse(text: str, source: str = "<rules>", mesh: Mesh | None = None) -> Rules:
    """The rules in ``text``; ``source`` names it in messages, ``mesh`` stands in for the file's own.

    Raises:
      UserError: see `load`.
    """
    table = toml_table.read(text, source)
    table.check_keys(_FILE)
    if "mesh" not in table and mesh is None:
        raise UserError("no mesh is given; write for example: mesh = { data = 2, model = 4 }", Where(source))
    own = _mesh(table) if "mesh" in table else None
    mesh = mesh or own
    assert mesh is not None  # one of the two is there
    named = _named(table)
    arguments, results = (tuple(_entry(t, mesh, named) for t in table.entries(key)) for key in ("arguments", "results"))
    return Rules(
        mesh, arguments, results,
        tuple(_constraint(t, mesh) for t in table.entries("constraints")),
        tuple(map(_group, table.entries("groups"))),
        tuple(map(_rule, table.entries("rules"))),
        source,
    )


def parse_mesh(text: str) -> Mesh:
    """A mesh as the command line takes it: ``data=2,model=4``, major to minor.

    Raises:
      UserError: it is none.
    """
    parts = [part.partition("=") for part in text.split(",")]
    if not all(size.strip().isdecimal() for _, _, size in parts):
        raise UserError(f"--mesh takes axes with sizes, as in data=2,model=4, not '{shorten(text)}'")
    axes = [(name.strip(), int(size)) for name, _, size in parts]
    twice = [name for name, count in Counter(name for name, _ in axes).items() if count > 1]
    if twice:
        raise UserError(f"--mesh names axis '{twice[0]}' twice")
    if problem := _mesh_problem(dict(axes)):
        raise UserError(f"--mesh: {problem[0]}")
    return Mesh(tuple(axes))


def _mesh(table: Table) -> Mesh:
    value = table.values["mesh"]
    if not isinstance(value, dict):
        table.fail(f"mesh takes axis names with sizes, as in {{ data = 2, model = 4 }}, not {kind(value)}", "mesh")
    if problem := _mesh_problem(value):
        table.fail(*problem)
    return Mesh(tuple(value.items()))


def _mesh_problem(axes: dict[str, Any]) -> tuple[str, str] | None:
    """What is wrong with a mesh, and the key it is about."""
    if not axes:
        return "the mesh is empty; name at least one axis with its size, as in { data = 8 }", "mesh"
    devices = 1
    for name, size in axes.items():
        if not _AXIS_NAME.fullmatch(name):
            hint = "use letters, digits and _ - . after a first letter"
            return f"'{shorten(name)}' cannot name a mesh axis; {hint}", name or "mesh"
        if isinstance(size, bool) or not isinstance(size, int):
            return f"the size of mesh axis '{name}' must be a whole number, not {kind(size)}", name
        if size < 1:
            return f"the size of mesh axis '{name}' must be 1 or more, not {size}", name
        devices *= size
    return (f"the mesh has more than {MAX_DEVICES} devices", "mesh") if devices > MAX_DEVICES else None


# -- arguments and results ---------------------------------------------------------------------------------------------


def _named(table: Table) -> dict[str, str]:
    """The parts of regular expressions that [names] gives names to; white space in them does not count."""
    found = table.values.get("names", {})
    if not isinstance(found, dict) or not all(isinstance(text, str) for text in found.values()):
        table.fail("names takes names with parts of regular expressions, as in { attention = \"wq|wk|wv\" }", "names")
    return {name: "".join(text.split()) for name, text in found.items()}


def _entry(table: Table, mesh: Mesh, named: dict[str, str]) -> Entry:
    table.check_keys(_ENTRY)
    given = [key for key in _NAMES if key in table]
    if len(given) > 1 or not any(key in table for key in (*_NAMES, "type", "rank")):
        says = f"has {' and '.join(given)}" if given else "selects nothing"
        table.fail(f"{table.title} {says}; give it one of match, regex or index", "dims")
    first = next(key for key in (*_NAMES, "type", "rank") if key in table)
    selector = Selector(
        table.text("match"), _regex(table, named), table.positions("index"), table.text("type"), table.number("rank")
    )
    where, about = table.where(first), table.text("about") or ""
    return Entry(selector, _layout(table, mesh, first), where, table.flag("optional"), about)


def _regex(table: Table, named: dict[str, str]) -> str | None:
    text = table.text("regex")
    if text is None:
        return None
    for name in _REFERENCE.findall(text):
        if name not in named:
            table.fail(f"[names] has no '{shorten(name)}'; it has {names(named) or 'none'}", "regex")
    text = _REFERENCE.sub(lambda found: f"(?:{named[found[1]]})", text)
    try:
        re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        table.fail(f"not a regular expression: {error}", "regex")
    return text


def _layout(table: Table, mesh: Mesh, first: str) -> Layout:
    if "dims" not in table:
        table.fail(f'{table.title} has no dims; write for example: dims = ["", "model"]', first)
    value = table.values["dims"]
    if not isinstance(value, list):
        table.fail(f"dims takes a list with one entry per dimension, not {kind(value)}", "dims")
    layout = Layout(tuple(_dim(table, d) for d in value), table.texts("replicated"), table.texts("unreduced"))
    sharded = [axis for dim in layout.dims for axis in dim.axes]
    for key, axes in (("dims", sharded), ("replicated", layout.replicated), ("unreduced", layout.unreduced)):
        for axis in axes:
            if axis not in mesh.sizes:
                table.fail(f"the mesh has no axis '{shorten(axis)}'; it has {names(mesh.sizes)}", key)
    for axis, count in Counter(sharded).items():
        if count > 1:
            table.fail(f"axis '{axis}' is used {count} times in one tensor; it can shard one dimension", "dims")
    for axis, count in Counter((*dict.fromkeys(sharded), *layout.replicated, *layout.unreduced)).items():
        if count > 1:
            key = "unreduced" if axis in layout.unreduced else "replicated"
            table.fail(f"axis '{axis}' can stand once in dims, replicated and unreduced together", key)
    return layout


def _dim(table: Table, value: Any) -> DimRule:
    parts = value if isinstance(value, list) else [value]
    if not all(isinstance(part, str) for part in parts):
        table.fail(f'an entry of dims is "" (replicated), an axis, or a list of axes, not {kind(value)}', "dims")
    last = _DIM.fullmatch(parts[-1]) if parts else None
    if last is None:
        return DimRule(tuple(part for part in parts if part))
    axes = tuple(part for part in (*parts[:-1], last["axis"]) if part)
    priority = int(last["priority"]) if last["priority"] else None
    if priority is not None and not axes and not last["open"]:
        table.fail(f"'{shorten(parts[-1])}' gives a priority to a dimension that is whole and closed", "dims")
    return DimRule(axes, bool(last["open"]), priority)


# -- operations --------------------------------------------------------------------------------------------------------


def _op_selector(table: Table) -> OpSelector:
    return OpSelector(
        op=table.text("op"), location=table.text("location"), type=table.text("type"), rank=table.number("rank"),
        composite=table.text("composite"), custom_call=table.text("custom_call"), nth=table.positions("nth"),
        result=table.number("result") or 0, operand=table.number("operand"),
    )


def _constraint(table: Table, mesh: Mesh) -> Constraint:
    table.check_keys((*_OPS, "operand", *_LAYOUT))
    if "result" in table and "operand" in table:
        table.fail(f"{table.title} is about a result or about an operand, not both", "operand")
    first = next((key for key in _OPS if key in table and key not in _WHICH), None)
    if first is None:
        table.fail(f"{table.title} selects nothing; give it one or more of {', '.join(_OPS)}", "dims")
    where, about = table.where(first), table.text("about") or ""
    return Constraint(_op_selector(table), _layout(table, mesh, first), where, table.flag("optional"), about)


def _group(table: Table) -> Group:
    table.check_keys(("arguments", *_OPS))
    first = next((key for key in ("arguments", *_OPS) if key in table and key != "result"), None)
    if first is None:
        table.fail(f"{table.title} has no members; name arguments, or operations as in [[constraints]]", "result")
    selects_ops = any(key in table for key in _OPS)
    return Group(table.texts("arguments"), _op_selector(table) if selects_ops else None, table.where(first))


def _rule(table: Table) -> OpRule:
    table.check_keys(_RULE)
    given = [key for key in ("custom_call", "composite") if key in table]
    if len(given) != 1:
        table.fail(f"{table.title} is for one of custom_call or composite; name the call target or composite", "rule")
    target = table.text(given[0])
    text = table.text("rule")
    if text is None:
        table.fail(f'{table.title} has no rule; write for example: rule = "i k, k j -> i j"', given[0])
    sizes = table.values.get("sizes", {})
    if not isinstance(sizes, dict) or not all(type(size) is int and size > 0 for size in sizes.values()):
        table.fail("sizes takes factors with their sizes, as in { a = 4 }", "sizes")
    kinds = {key: frozenset(table.texts(key)) for key in ("reduction", "need_replication", "permutation")}
    try:
        blocked = frozenset(table.texts("blocked_propagation"))
        notation = rule_notation.parse(text, sizes=sizes, blocked=blocked, **kinds)
    except rule_notation.NotationError as error:
        table.fail(str(error), "rule")
    return OpRule(given[0], target or "", notation, table.where(given[0]), table.flag("optional"))
