"""Shardy's annotations as strings in ``mhlo.frontend_attributes``, the form in which they cross into HLO and back.

    mhlo.frontend_attributes = {xla.sdy.sharding = "#sdy.sharding<@mesh, [{\\22data\\22}, {}]>", other = "stays"}

The strings hold what Shardy prints, at times escaped once more (``\\22`` for a quote, as text).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from passes import _mlir
from passes.sharding.importers.hlo_sharding import Malformed
from passes.sharding.importers.mesh_table import MeshTable, normal
from passes.sharding.mesh import Mesh, mesh_from_attr

FRONTEND = "mhlo.frontend_attributes"
PREFIX = "xla.sdy."

MESHES = "xla.sdy.meshes"
SHARDING = "xla.sdy.sharding"
SHARDING_RULE = "xla.sdy.sharding_rule"
IN_SHARDINGS = "xla.sdy.in_shardings"
OUT_SHARDINGS = "xla.sdy.out_shardings"
MANUAL_AXES = "xla.sdy.manual_axes"
GROUP_ID = "xla.sdy.sharding_group_id"
DIRECTION = "xla.sdy.allowed_direction"
ARGUMENTS = "xla.sdy.tuple_args_shardings"
RESULTS = "xla.sdy.tuple_results_shardings"
# Says only that the sharding beside it has unreduced axes.
HAS_UNREDUCED = "xla.sdy.has_unreduced_axes"

_PER_VALUE = '#sdy.sharding_per_value<[<@mesh, [{"x"}, {}]>]>'
# What the text of each of these is, as an example.
_EXAMPLES = {
    MESHES: '{mesh = #sdy.mesh<["x"=2, "y"=4]>}',
    SHARDING: '#sdy.sharding<@mesh, [{"x"}, {}]>',
    SHARDING_RULE: "#sdy.op_sharding_rule<([i, j])->([i, j]) {i=8, j=8}>",
    IN_SHARDINGS: _PER_VALUE,
    OUT_SHARDINGS: _PER_VALUE,
    MANUAL_AXES: '#sdy<manual_axes{"x"}>',
    GROUP_ID: "21 : i64",
    DIRECTION: "2 : i32",
    ARGUMENTS: _PER_VALUE,
    RESULTS: _PER_VALUE,
}
_KNOWN = frozenset({*_EXAMPLES, HAS_UNREDUCED})

# tt-xla's names for the axes of the mesh by their position.
_PLACEHOLDER = re.compile(r'"mesh_idx_(\d+)"')
_REFERENCE = re.compile(r"<@([\w.$-]+)")
_ESCAPED = re.compile(r'\\(?:22|")')
_MAX_DEPTH = 32


@dataclass(frozen=True)
class Split:
    """A dictionary of front-end attributes: the texts of Shardy's own, and what remains without them."""

    texts: dict[str, str]
    rest: Any


class Frontend:
    """Reads front-end attributes; equal dictionaries and equal texts are read once."""

    def __init__(self, table: MeshTable) -> None:
        self._table = table
        self._split: dict[Any, Split] = {}
        self._parsed: dict[tuple[str, str], Any] = {}

    def split(self, dictionary: Any) -> Split:
        """Takes Shardy's attributes out of an ``mhlo.frontend_attributes`` dictionary."""
        if dictionary not in self._split:
            self._split[dictionary] = self._take_apart(dictionary)
        return self._split[dictionary]

    def _take_apart(self, dictionary: Any) -> Split:
        ir = _mlir.ir
        if not isinstance(dictionary, ir.DictAttr):
            return Split({}, dictionary)
        texts, rest = {}, {}
        for named in dictionary:
            if named.name in _KNOWN:
                is_text = isinstance(named.attr, ir.StringAttr)
                texts[named.name] = named.attr.value_bytes.decode(errors="replace") if is_text else str(named.attr)
            else:
                rest[named.name] = named.attr
        return Split(texts, ir.DictAttr.get(rest, context=_mlir.context()) if rest else None)

    def meshes(self, text: str) -> dict[str, Mesh]:
        """The meshes in the text of ``xla.sdy.meshes`` by name.

        Raises:
          Malformed: it does not parse, or an entry is no mesh.
        """
        found = {}
        for named in self._parse(MESHES, text, lambda a: isinstance(a, _mlir.ir.DictAttr)):
            attribute = named.attr
            if isinstance(attribute, _mlir.ir.StringAttr):
                attribute = self._parse(MESHES, attribute.value, lambda _: True)
            if not _mlir.sdy.MeshAttr.isinstance(attribute):
                raise _unlike(MESHES)
            found[named.name] = normal(mesh_from_attr(attribute))
        return found

    def sharding(self, text: str, type: Any) -> Any:
        """``#sdy.sharding`` for a value of ``type`` from the text of ``xla.sdy.sharding``.

        Raises:
          Malformed: it does not parse, or does not fit the value.
        """
        return self.per_value(SHARDING, text, [type])[0]

    def per_value(self, key: str, text: str, types: list[Any]) -> list[Any]:
        """The shardings of values of ``types``, from text that lists them; for one value the list may be left out.

        Raises:
          Malformed: it does not parse, or does not fit the values.
        """
        sdy = _mlir.sdy
        is_either = _either(sdy.TensorShardingPerValueAttr.isinstance, sdy.TensorShardingAttr.isinstance)
        attribute = self._parse(key, self._named_axes(text), is_either)
        if sdy.TensorShardingAttr.isinstance(attribute):
            shardings = [attribute]
        else:
            shardings = list(sdy.TensorShardingPerValueAttr(attribute).shardings)
        # An op without results, such as a call back into Python, says where it runs.
        if len(shardings) != len(types) and (types or len(shardings) != 1):
            raise Malformed(f"expected {len(types)} shardings, as there are values, not {len(shardings)}")
        lifted = [self._with_mesh_name(s) for s in shardings]
        for sharding, value_type in zip(lifted, types, strict=False):
            self._check(sharding, value_type)
        return lifted

    def rule(self, text: str) -> Any:
        """``#sdy.op_sharding_rule``. Raises `Malformed`."""
        return self._parse(SHARDING_RULE, text, _mlir.sdy.OpShardingRuleAttr.isinstance)

    def manual_axes(self, text: str) -> Any:
        """``#sdy<manual_axes{...}>``. Raises `Malformed`."""
        return self._parse(MANUAL_AXES, text, _mlir.sdy.ManualAxesAttr.isinstance)

    def integer(self, key: str, text: str) -> int:
        """A whole number. Raises `Malformed`."""
        return int(self._parse(key, text, lambda a: isinstance(a, _mlir.ir.IntegerAttr)).value)

    def _parse(self, key: str, text: str, is_right: Callable[[Any], bool]) -> Any:
        if (key, text) not in self._parsed:
            self._parsed[key, text] = _parse(key, text)
        found = self._parsed[key, text]
        if not is_right(found):
            raise _unlike(key)
        return found

    def _named_axes(self, text: str) -> str:
        """``text`` with the names of axes in place of their positions."""
        if "mesh_idx_" not in text:
            return text
        text = _ESCAPED.sub('"', text)
        reference = _REFERENCE.search(text)
        mesh = self._table.named.get(reference[1]) if reference else None
        if mesh is None:
            raise Malformed(f"it counts the axes of {_mesh_text(reference[1] if reference else '?', self._table)}")
        names = list(mesh.sizes)

        def name(match: re.Match[str]) -> str:
            if int(match[1]) >= len(names):
                raise Malformed(f"{match[0]} is beyond the axes of its mesh, which are {', '.join(names) or 'none'}")
            return f'"{names[int(match[1])]}"'

        return _PLACEHOLDER.sub(name, text)

    def _with_mesh_name(self, sharding: Any) -> Any:
        """``sharding`` with the name of its mesh, which the module gets if it stood in the sharding itself."""
        sdy = _mlir.sdy
        attr = sdy.TensorShardingAttr(sharding)
        reference = attr.mesh_or_ref
        if not sdy.MeshAttr.isinstance(reference):
            return sharding
        mesh = normal(mesh_from_attr(reference))
        if mesh.axes:
            name = self._table.name_of(mesh)
        else:
            name = self._table.on_device(mesh.device_ids[0]) if mesh.device_ids else self._table.name_of(mesh)
        return sdy.TensorShardingAttr.get(
            name, attr.dimension_shardings, attr.replicated_axes, attr.unreduced_axes, context=_mlir.context()
        )

    def _check(self, sharding: Any, type: Any) -> None:
        sdy = _mlir.sdy
        attr = sdy.TensorShardingAttr(sharding)
        name = _mlir.ir.FlatSymbolRefAttr(attr.mesh_or_ref).value
        if name not in self._table.named:
            raise Malformed(f"it is about {_mesh_text(name, self._table)}")
        sizes = self._table.named[name].sizes
        dimensions = [sdy.DimensionShardingAttr(d).axes for d in attr.dimension_shardings]
        for axes in (*dimensions, attr.replicated_axes, attr.unreduced_axes):
            for axis in axes:
                if sdy.AxisRefAttr(axis).name not in sizes:
                    known = ", ".join(sizes) or "none"
                    raise Malformed(f"mesh @{name} has no axis '{sdy.AxisRefAttr(axis).name}'; it has {known}")
        rank = type.rank if isinstance(type, _mlir.ir.RankedTensorType) else 0
        if len(dimensions) != rank and self._table.named[name].axes:
            raise Malformed(f"expected a sharding of {rank} dimensions, as the tensor has, not of {len(dimensions)}")


def _mesh_text(name: str, table: MeshTable) -> str:
    known = ", ".join(f"@{known}" for known in table.named)
    return f"mesh @{name}, which the module does not have; it has {known or 'none'}"


def _either(*tests: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda attribute: any(test(attribute) for test in tests)


def _parse(key: str, text: str) -> Any:
    """The attribute that ``text``, or ``text`` without a further level of escapes, spells."""
    # The native parser dies of empty text and of deep nesting.
    if not text.strip() or _depth(text) > _MAX_DEPTH:
        raise _unlike(key)
    reason = "it does not parse"
    for candidate in dict.fromkeys((text, _ESCAPED.sub('"', text))):
        with _mlir.collect_diagnostics() as said:
            try:
                return _mlir.ir.Attribute.parse(candidate, _mlir.context())
            except _mlir.ir.MLIRError:
                reason = said[0].message if said else reason
    raise Malformed(f"{reason}; expected something like {_EXAMPLES[key]}")


def _depth(text: str) -> int:
    depth = deepest = 0
    for char in text:
        depth += (char in "([{<") - (char in ")]}>")
        deepest = max(deepest, depth)
    return deepest


def _unlike(key: str) -> Malformed:
    return Malformed(f"expected something like {_EXAMPLES[key]}")
