"""The side table: how each argument and result of a per-device program is a part of the global one, as JSON.

A runtime reads it to cut global arguments into per-device shards and to assemble global results. Axes are listed
major to minor; a part of an axis is written ``x:(pre_size)size``.
"""

from __future__ import annotations

import base64
import json
import math
import re
from dataclasses import dataclass
from typing import Any

from passes.errors import UserError, Where
from passes.sharding.mesh import MAX_DEVICES, Axis, Mesh, Sharding

VERSION = 3
_PART = re.compile(r"(?P<name>.+):\((?P<pre>\d+)\)(?P<size>\d+)")


@dataclass(frozen=True)
class Entry:
    """One argument or result: its global type and how it is sharded.

    ``dtype`` is MLIR's element type (``f32``, ``bf16``, ``i1``, ``complex<f32>``); shapes are in elements.
    ``padded_shape`` is there where the global shape does not divide: what ``sharding`` cuts then, with more elements at
    the end of some dimensions. What is in those does not matter in arguments, and says nothing in results.
    """

    index: int
    name: str
    dtype: str
    global_shape: tuple[int, ...]
    sharding: Sharding
    padded_shape: tuple[int, ...] | None = None

    @property
    def divided_shape(self) -> tuple[int, ...]:
        """The shape that ``sharding`` cuts."""
        return self.padded_shape or self.global_shape

    @property
    def local_shape(self) -> tuple[int, ...]:
        """The shape one device holds."""
        return self.sharding.local_shape(self.divided_shape)


@dataclass(frozen=True)
class DeviceConstant:
    """A constant of which each device gets a part, in an argument behind those of the global program.

    Attributes:
      dtype: MLIR's element type.
      global_shape: The shape of the whole.
      local_shape: The shape of a device's part.
      starts: By device, where its part begins, in elements for each dimension.
      data: All elements of the whole, row by row, in the byte order of the machine that wrote them.
    """

    dtype: str
    global_shape: tuple[int, ...]
    local_shape: tuple[int, ...]
    starts: tuple[tuple[int, ...], ...]
    data: bytes


@dataclass(frozen=True)
class SideTable:
    """The mesh, one `Entry` per argument and result of the per-device entry function, in order, and its constants.

    ``constants`` are further arguments, behind the others, that no caller knows of (`device_constants`).
    """

    mesh: Mesh
    arguments: tuple[Entry, ...]
    results: tuple[Entry, ...]
    constants: tuple[DeviceConstant, ...] = ()

    def to_json(self) -> str:
        """The table as JSON text; `from_json` reads it back."""
        return json.dumps(
            {
                "version": VERSION,
                "mesh": {"axes": [list(a) for a in self.mesh.axes], "device_ids": list(self.mesh.device_ids)},
                "arguments": [_entry_to_json(e) for e in self.arguments],
                "results": [_entry_to_json(e) for e in self.results],
                "constants": [_constant_to_json(c) for c in self.constants],
            },
            indent=1,
        )

    @staticmethod
    def from_json(text: str, source: str = "-") -> SideTable:
        """Reads a table written by `to_json`.

        Raises:
          UserError: the text is no such table.
        """
        try:
            data = json.loads(text)
        except json.JSONDecodeError as error:
            raise UserError(f"not JSON: {error.msg}", Where(source, error.lineno, error.colno)) from None
        except (ValueError, RecursionError) as error:  # A number of thousands of digits, thousands of brackets.
            raise UserError(f"not JSON that anybody wrote: {error}", Where(source)) from None
        if not isinstance(data, dict) or data.get("version") != VERSION:
            raise UserError(f"not a side table of version {VERSION}, as `shlo partition` writes it", Where(source))
        try:
            axes = tuple((str(name), int(size)) for name, size in data["mesh"]["axes"])
            if any(size < 1 for _, size in axes):
                raise ValueError("an axis of the mesh has no devices")
            if math.prod(size for _, size in axes) > MAX_DEVICES:
                raise ValueError(f"the mesh has more than {MAX_DEVICES} devices")
            mesh = Mesh(axes, tuple(int(d) for d in data["mesh"]["device_ids"]))
            return SideTable(
                mesh,
                tuple(_entry_from_json(e, mesh) for e in data["arguments"]),
                tuple(_entry_from_json(e, mesh) for e in data["results"]),
                tuple(_constant_from_json(c, mesh) for c in data["constants"]),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise UserError(f"damaged side table: {error!r}", Where(source)) from None


def _entry_to_json(entry: Entry) -> dict[str, Any]:
    return {
        "index": entry.index,
        "name": entry.name,
        "dtype": entry.dtype,
        "global_shape": list(entry.global_shape),
        "padded_shape": list(entry.divided_shape),
        "local_shape": list(entry.local_shape),
        "dims": [[axis.text(entry.sharding.mesh) for axis in axes] for axes in entry.sharding.dims],
    }


def _entry_from_json(data: dict[str, Any], mesh: Mesh) -> Entry:
    dims = tuple(tuple(axis_from_text(text, mesh) for text in axes) for axes in data["dims"])
    if not len(dims) == len(data["global_shape"]) == len(data["padded_shape"]):
        raise ValueError(f"{data['name']} has {len(data['global_shape'])} dimensions and {len(dims)} shardings")
    shape, padded = (tuple(int(size) for size in data[key]) for key in ("global_shape", "padded_shape"))
    return Entry(
        int(data["index"]),
        str(data["name"]),
        str(data["dtype"]),
        shape,
        Sharding(mesh, dims),
        padded if padded != shape else None,
    )


def _constant_to_json(constant: DeviceConstant) -> dict[str, Any]:
    return {
        "dtype": constant.dtype,
        "global_shape": list(constant.global_shape),
        "local_shape": list(constant.local_shape),
        "starts": [list(start) for start in constant.starts],
        "data": base64.b64encode(constant.data).decode(),
    }


def _constant_from_json(data: dict[str, Any], mesh: Mesh) -> DeviceConstant:
    whole, local = (tuple(int(size) for size in data[key]) for key in ("global_shape", "local_shape"))
    starts = tuple(tuple(int(start) for start in each) for each in data["starts"])
    if len(starts) != mesh.device_count or any(
        len(each) != len(whole) or any(s < 0 or s + n > w for s, n, w in zip(each, local, whole, strict=True))
        for each in starts
    ):
        raise ValueError(f"a constant of shape {list(whole)} has no parts that begin at {[*map(list, starts)]}")
    return DeviceConstant(str(data["dtype"]), whole, local, starts, base64.b64decode(data["data"], validate=True))


def axis_from_text(text: str, mesh: Mesh) -> Axis:
    """The axis, or part of one, that `Axis.text` wrote.

    Raises:
      KeyError: the mesh has no such axis.
      ValueError: the axis has no such part.
    """
    part = _PART.fullmatch(text)
    if part is None:
        return mesh.axis(text)
    pre_size, size = int(part["pre"]), int(part["size"])
    if min(pre_size, size) < 1 or mesh.sizes[part["name"]] % (pre_size * size):
        raise ValueError(f"'{text}' is no part of an axis of {mesh.sizes[part['name']]}")
    return Axis(part["name"], pre_size, size)
