"""Reads what a value or an op is annotated with, whichever spelling says it, and places what is wrong with it.

Where several spellings stand on one value the most telling counts: ``sdy.sharding``, then ``xla.sdy.sharding``, then
``mhlo.sharding``, which exporters derive from the others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from passes import _mlir
from passes.errors import UserError
from passes.program.entry import Value
from passes.sharding.importers import gspmd
from passes.sharding.importers.frontend import FRONTEND, SHARDING_RULE, Frontend, Split
from passes.sharding.importers.frontend import SHARDING as FRONTEND_SHARDING
from passes.sharding.importers.gspmd import HLO_SHARDING, Converter
from passes.sharding.importers.hlo_sharding import HloSharding, Malformed
from passes.sharding.importers.mesh_table import MeshTable
from passes.sharding.importers.scan import title_of
from passes.sharding.signature import SHARDING

RULE = "sdy.sharding_rule"
_UNSPECIFIED = re.compile(r"unspecified_dims=\[([\d,\s]*)\]")
_QUOTED = 160


@contextmanager
def quoting(key: str, text: str, location: Any, title: str) -> Iterator[None]:
    """Turns `Malformed` in the body into an error at ``location`` that quotes the annotation ``key = text``."""
    try:
        yield
    except Malformed as error:
        shown = text if len(text) <= _QUOTED else f"{text[:_QUOTED]}..."
        where = _mlir.where_of(location)
        raise UserError(f"{title}: cannot read {key} = '{shown}': {error}", where) from None


class Annotations:
    """The annotations of one module.

    Attributes:
      table: The module's meshes.
      frontend: Reads Shardy's strings.
      converter: Converts GSPMD's.
    """

    def __init__(self, table: MeshTable) -> None:
        self.table = table
        self.frontend = Frontend(table)
        self.converter = Converter(table)

    # -- before the meshes are known -------------------------------------------------------------------------------

    def needs(self, attributes: Any, location: Any, title: str) -> tuple[HloSharding, ...]:
        """The GSPMD shardings among ``attributes`` (of an op, an argument or a result) that are to be converted."""
        if HLO_SHARDING not in attributes or SHARDING in attributes:
            return ()
        if FRONTEND in attributes and FRONTEND_SHARDING in self.frontend.split(attributes[FRONTEND]).texts:
            return ()
        return hlo_shardings(attributes[HLO_SHARDING], location, title)

    # -- arguments and results -------------------------------------------------------------------------------------

    def rewrite_value(self, value: Value, location: Any, title: str) -> HloSharding | None:
        """Replaces what annotates an argument or result by ``sdy.sharding``; returns GSPMD's, if it came from that."""
        attributes = value.attributes
        hlo = self.needs(attributes, location, title)
        split = self._take(attributes)
        text = split.texts.get(FRONTEND_SHARDING)
        if SHARDING not in attributes and text is not None:
            with quoting(FRONTEND_SHARDING, text, location, title):
                attributes[SHARDING] = self.frontend.sharding(text, value.type)
        if not hlo:
            return None
        return self.set_value(value, hlo, location, title)

    def set_value(self, value: Value, hlo: tuple[HloSharding, ...], location: Any, title: str) -> HloSharding:
        """Gives an argument or result the sharding ``hlo``."""
        with quoting(HLO_SHARDING, _spelled(hlo), location, title):
            if len(hlo) != 1:
                raise Malformed(f"expected the sharding of one tensor, not a tuple of {len(hlo)}")
            converted = self.converter.convert(hlo[0], rank_of(value.type))
        if converted is not None:
            value.attributes[SHARDING] = converted
        return hlo[0]

    def _take(self, attributes: dict[str, Any]) -> Split:
        """Takes the foreign annotations out of a dictionary of attributes."""
        attributes.pop(HLO_SHARDING, None)
        dictionary = attributes.pop(FRONTEND, None)
        split = self.frontend.split(dictionary) if dictionary is not None else Split({}, None)
        if split.rest is not None:
            attributes[FRONTEND] = split.rest
        return split

    # -- ops -------------------------------------------------------------------------------------------------------

    def rewrite_op(self, op: Any) -> tuple[HloSharding, ...]:
        """Replaces the annotations of an op by ``sdy.sharding`` and ``sdy.sharding_rule``; returns GSPMD's, if any."""
        title = title_of(op)
        split, hlo = self.take(op)
        rule = split.texts.get(SHARDING_RULE)
        if rule is not None:
            with quoting(SHARDING_RULE, rule, op.location, title):
                op.attributes[RULE] = self.frontend.rule(rule)
        if SHARDING in op.attributes:
            return ()
        types = [result.type for result in op.results]
        text = split.texts.get(FRONTEND_SHARDING)
        if text is not None:
            with quoting(FRONTEND_SHARDING, text, op.location, title):
                self._set(op, self.frontend.per_value(FRONTEND_SHARDING, text, types))
            return ()
        if hlo:
            with quoting(HLO_SHARDING, _spelled(hlo), op.location, title):
                self._set(op, self._per_result(hlo, types))
        return hlo

    def read(self, op: Any) -> tuple[Split, tuple[HloSharding, ...]]:
        """The foreign annotations of an op: Shardy's texts, and GSPMD's shardings unless overruled."""
        attributes = op.attributes
        split = self.frontend.split(attributes[FRONTEND]) if FRONTEND in attributes else Split({}, None)
        return split, self.needs(attributes, op.location, title_of(op))

    def take(self, op: Any) -> tuple[Split, tuple[HloSharding, ...]]:
        """Takes the foreign annotations off an op and returns them as `read` does."""
        attributes = op.attributes
        split, hlo = self.read(op)
        if HLO_SHARDING in attributes:
            del attributes[HLO_SHARDING]
        if split.texts:
            if split.rest is None:
                del attributes[FRONTEND]
            else:
                attributes[FRONTEND] = split.rest
        return split, hlo

    def _set(self, op: Any, shardings: list[Any]) -> None:
        if shardings:
            op.attributes[SHARDING] = _mlir.sdy.TensorShardingPerValueAttr.get(shardings, context=_mlir.context())

    def _per_result(self, hlo: tuple[HloSharding, ...], types: list[Any]) -> list[Any]:
        """The shardings of an op's results; none if all are manual. An op without results says where it runs."""
        if any(isinstance(t, _mlir.ir.TupleType) for t in types):
            raise Malformed("expected results that are tensors; sdy shards no tuples")
        if not types:
            hlo, types = hlo[:1], [None] * len(hlo[:1])
        if len(hlo) != len(types):
            raise Malformed(f"expected {len(types)} shardings, as the op has results, not {len(hlo)}")
        found = [self.converter.convert(h, rank_of(t)) for h, t in zip(hlo, types, strict=True)]
        if all(f is None for f in found):
            return []
        if any(f is None for f in found):
            raise Malformed("expected all results to be manual, or none")
        return found

    def of_call(self, op: Any, split: Split, hlo: tuple[HloSharding, ...]) -> Any:
        """The sharding that an annotating custom call, whose annotations were taken off, gives its only operand.

        ``None`` if it is manual or has none.
        """
        if SHARDING in op.attributes:
            return next(iter(_mlir.sdy.TensorShardingPerValueAttr(op.attributes[SHARDING]).shardings))
        type = op.results[0].type
        text = split.texts.get(FRONTEND_SHARDING)
        if text is not None:
            with quoting(FRONTEND_SHARDING, text, op.location, title_of(op)):
                return self.frontend.sharding(text, type)
        if not hlo:
            return None
        with quoting(HLO_SHARDING, _spelled(hlo), op.location, title_of(op)):
            if len(hlo) != 1:
                raise Malformed(f"expected the sharding of one tensor, not a tuple of {len(hlo)}")
            if hlo[0].is_only_group:
                return None
            return self.converter.convert(hlo[0], rank_of(type), unspecified_dims(op))


def hlo_shardings(attribute: Any, location: Any, title: str) -> tuple[HloSharding, ...]:
    """The shardings in an ``mhlo.sharding`` attribute.

    Raises:
      UserError: it holds none; placed at ``location``.
    """
    with quoting(HLO_SHARDING, str(attribute).strip('"'), location, title):
        if not isinstance(attribute, _mlir.ir.StringAttr):
            raise Malformed("expected a string")
        return gspmd.read(attribute.value_bytes)


def unspecified_dims(op: Any) -> frozenset[int]:
    """The dimensions a custom call leaves open, which it lists in its ``backend_config``."""
    found = _UNSPECIFIED.search(str(op.attributes.get("backend_config")))
    return frozenset(map(int, re.findall(r"\d+", found[1]))) if found else frozenset()


def rank_of(type: Any) -> int:
    """The rank of a tensor; anything else is sharded like a scalar."""
    return int(type.rank) if isinstance(type, _mlir.ir.RankedTensorType) else 0


def _spelled(hlo: tuple[HloSharding, ...]) -> str:
    return hlo[0].text if len(hlo) == 1 else f"{{{', '.join(h.text for h in hlo)}}}"

