"""The text of XLA's ``HloSharding``, as ``mhlo.sharding`` carries it.

    {replicated}  {manual}  {unknown}  {unreduced}  {maximal device=3}  {unknown shard_as 7}
    {devices=[2,1,4]<=[4,2]T(1,0) last_tile_dim_replicate}
    {devices=[2,1,2,2]<=[8] last_tile_dims={manual, replicated}}
    {devices=[2,2]0,2,1,3 metadata={op_name="x"}}   {{replicated}, {devices=[2]<=[2]}}
    {mesh['a'=2,'b'=4], [{'a'}, {'b':(1)2, ?}], replicated={'b':(2)2}}   {maximal_mesh[device_id=3]}

Source: ``HloSharding::ToString`` and ``HloParserImpl::ParseSharding`` of openxla/xla.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable
from dataclasses import replace
from typing import NoReturn, TypeVar

from passes.sharding.importers.hlo_sharding import (
    MOST_DEVICES,
    HloSharding,
    Kind,
    Layout,
    Malformed,
    Named,
    OnDevice,
    Tiled,
    Uniform,
    checked,
    expanded,
)
from passes.sharding.mesh import Axis, Mesh

_KINDS: tuple[Kind, ...] = ("replicated", "manual", "unknown", "unreduced")
_SUBGROUPS: tuple[Kind, ...] = ("replicated", "manual", "unreduced")
_EXPECTED = (
    "'replicated', 'manual', 'unknown', 'unreduced', 'maximal device=N', 'devices=[...]', 'mesh[...]' or a tuple"
)
_SHOWN = 24

T = TypeVar("T")


@functools.lru_cache(maxsize=4096)
def parse(text: str) -> tuple[HloSharding, ...]:
    """The sharding that ``text`` spells, or for a tuple those of its leaves.

    Raises:
      Malformed: it spells none.
    """
    reader = _Reader(text)
    found = reader.sharding()
    reader.end()
    return found


class _Reader:
    """A recursive-descent parser over ``text``."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    # -- tokens ----------------------------------------------------------------------------------------------------

    def fail(self, expected: str) -> NoReturn:
        rest = self._text[self._at :].strip()
        place = f"at '{rest[:_SHOWN]}{'...' if len(rest) > _SHOWN else ''}'" if rest else "at its end"
        raise Malformed(f"expected {expected} {place}")

    def end(self) -> None:
        self._space()
        if self._at != len(self._text):
            self.fail("nothing more")

    def _space(self) -> None:
        while self._at < len(self._text) and self._text[self._at].isspace():
            self._at += 1

    def take(self, token: str) -> bool:
        """Whether ``token`` comes next; it is then read. A word does not match the beginning of a longer one."""
        self._space()
        end = self._at + len(token)
        if not self._text.startswith(token, self._at):
            return False
        if token[-1].isalpha() and self._text[end : end + 1].replace("_", "a").isalnum():
            return False
        self._at = end
        return True

    def need(self, token: str) -> None:
        if not self.take(token):
            self.fail(f"'{token}'")

    def match(self, pattern: re.Pattern[str], expected: str) -> str:
        self._space()
        found = pattern.match(self._text, self._at)
        if found is None:
            self.fail(expected)
        self._at = found.end()
        return found[found.lastindex or 0]

    def number(self) -> int:
        value = int(self.match(_NUMBER, "a whole number"))
        if value > MOST_DEVICES:
            raise Malformed(f"{value} is more devices than there can be")
        return value

    def listed(self, item: Callable[[], T], close: str) -> tuple[T, ...]:
        """Items between commas up to ``close``."""
        if self.take(close):
            return ()
        found = [item()]
        while self.take(","):
            found.append(item())
        self.need(close)
        return tuple(found)

    # -- grammar ---------------------------------------------------------------------------------------------------

    def sharding(self) -> tuple[HloSharding, ...]:
        self.need("{")
        self._space()
        if self._text.startswith(("{", "}"), self._at):
            return self.listed(self._element, "}")
        return (self._single(),)

    def _element(self) -> HloSharding:
        self.need("{")
        return self._single()

    def _single(self) -> HloSharding:
        """What follows the opening brace, up to the closing one."""
        start = self._at - 1
        layout: Layout | None = None
        group = None
        subgroups: tuple[Kind, ...] = ()
        while not self.take("}"):
            self.take(",")
            if self.take("metadata="):
                self._metadata()
            elif self.take("shard_as") or self.take("shard_like"):
                group = self.number()
            elif self.take("last_tile_dim_replicate"):
                subgroups = ("replicated",)
            elif self.take("last_tile_dims="):
                self.need("{")
                subgroups = self.listed(self._subgroup, "}")
            elif layout is None:
                layout = self._layout()
            else:
                self.fail("'}', 'metadata=', 'last_tile_dims=', 'last_tile_dim_replicate' or 'shard_as'")
        if layout is None:
            raise Malformed(f"expected {_EXPECTED}")
        return HloSharding(_with_subgroups(layout, subgroups), group, self._text[start : self._at])

    def _layout(self) -> Layout:
        for kind in _KINDS:
            if self.take(kind):
                return Uniform(kind)
        if self.take("maximal"):
            self.need("device=")
            return OnDevice(self.number())
        if self.take("maximal_mesh[") or self.take("single_device["):
            self.need("device_id=")
            device = self.number()
            self.need("]")
            return OnDevice(device)
        if self.take("devices="):
            return self._tiles()
        if not self.take("mesh["):
            self.fail(_EXPECTED)
        return self._named()

    def _tiles(self) -> Tiled:
        self.need("[")
        dims = self.listed(self.number, "]")
        if self.take("<="):
            return Tiled(dims, *self._iota())
        devices = [self.number()]
        while self._comma_before_number():
            devices.append(self.number())
        return Tiled(dims, devices=tuple(devices))

    def _comma_before_number(self) -> bool:
        """Takes a comma of a list of numbers; one that leads on to ``metadata=`` stays."""
        found = _COMMA_NUMBER.match(self._text, self._at)
        return found is not None and self.take(",")

    def _iota(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """``[2,4]T(1,0)``: the shape and its permutation."""
        self.need("[")
        reshape = self.listed(self.number, "]")
        if not self.take("T"):
            return reshape, tuple(range(len(reshape)))
        self.need("(")
        return reshape, self.listed(self.number, ")")

    def _subgroup(self) -> Kind:
        found = next((kind for kind in _SUBGROUPS if self.take(kind)), None)
        if found is None:
            self.fail("'replicated', 'manual' or 'unreduced'")
        return found

    def _metadata(self) -> None:
        """Skips ``{...}``, whose braces nest and whose strings may hold braces."""
        self.need("{")
        depth = 1
        while depth:
            found = _METADATA.search(self._text, self._at)
            if found is None:
                self._at = len(self._text)
                self.fail("'}' after metadata={")
            self._at = found.end()
            depth += {"{": 1, "}": -1}.get(found[0], 0)

    def _mesh(self) -> Mesh:
        axes = self.listed(self._mesh_axis, "]")
        sizes = dict(axes)
        if len(sizes) != len(axes) or math.prod(sizes.values()) > MOST_DEVICES or 0 in sizes.values():
            raise Malformed("a mesh has axes of different names and of sizes from 1 on")
        devices: tuple[int, ...] = ()
        self._space()
        if self._text.startswith(",", self._at) and "device_ids" in self._text[self._at : self._at + 16]:
            self.need(",")
            self.need("device_ids=(")
            devices = self._device_ids(math.prod(sizes.values()))
        return Mesh(axes, devices)

    def _named(self) -> Named:
        mesh = self._mesh()
        self.need(",")
        for kind in _KINDS:
            if self.take(kind):
                return Named(mesh, whole=kind)
        self.need("[")
        dims = self.listed(lambda: self._dimension(mesh), "]")
        lists: dict[str, tuple[Axis, ...]] = {}
        while (key := self._axis_list()) is not None:
            lists[key] = self.listed(lambda: self._axis(mesh), "}")
        replicated, unreduced, manual = (lists.get(key, ()) for key in ("replicated", "unreduced", "manual"))
        return Named(mesh, tuple(d[0] for d in dims), tuple(d[1] for d in dims), replicated, unreduced, manual)

    def _axis_list(self) -> str | None:
        found = _AXIS_LIST.match(self._text, self._at)
        if found is None:
            return None
        self._at = found.end()
        return found[1]

    def _mesh_axis(self) -> tuple[str, int]:
        name = self._name()
        self.need("=")
        return name, self.number()

    def _device_ids(self, count: int) -> tuple[int, ...]:
        self._space()
        if self._text.startswith("[", self._at):
            reshape, transpose = self._iota()
            self.need(")")
            found = expanded(checked(Tiled((count,), reshape, transpose)))
        else:
            found = self.listed(self.number, ")")
        if sorted(found) != list(range(count)):
            raise Malformed(f"device_ids of a mesh of {count} devices are 0 to {count - 1}, each once")
        return () if found == tuple(range(count)) else found

    def _dimension(self, mesh: Mesh) -> tuple[tuple[Axis, ...], bool]:
        self.need("{")
        axes: list[Axis] = []
        is_closed = True
        while not self.take("}"):
            if axes or not is_closed:
                self.need(",")
            if not is_closed:
                self.fail("'}' after '?'")
            if self.take("?"):
                is_closed = False
            else:
                axes.append(self._axis(mesh))
        return tuple(axes), is_closed

    def _axis(self, mesh: Mesh) -> Axis:
        name = self._name()
        if name not in mesh.sizes:
            raise Malformed(f"its mesh has no axis '{name}'; it has {', '.join(mesh.sizes) or 'none'}")
        if not self.take(":("):
            return mesh.axis(name)
        pre_size = self.number()
        self.need(")")
        size = self.number()
        if not pre_size or size < 2 or mesh.sizes[name] % (pre_size * size):
            raise Malformed(f"{name}:({pre_size}){size} is no part of an axis of size {mesh.sizes[name]}")
        return Axis(name, pre_size, size)

    def _name(self) -> str:
        return self.match(_NAME, "the name of an axis").strip("'")


_NUMBER = re.compile(r"\d+")
_COMMA_NUMBER = re.compile(r"\s*,\s*\d")
_NAME = re.compile(r"'[^']+'|[A-Za-z_][\w.]*")
_METADATA = re.compile(r'"(?:[^"\\]|\\.)*"|[{}]')
_AXIS_LIST = re.compile(r"\s*,\s*(replicated|unreduced|manual)=\{")


def _with_subgroups(layout: Layout, subgroups: tuple[Kind, ...]) -> Layout:
    if isinstance(layout, Tiled):
        return checked(replace(layout, subgroups=subgroups))
    if subgroups:
        raise Malformed("'last_tile_dims' and 'last_tile_dim_replicate' go with 'devices=[...]'")
    return layout
