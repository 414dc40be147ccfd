"""XLA's ``HloSharding``, the sharding of GSPMD, as plain Python data."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from passes.sharding.mesh import Axis, Mesh

Kind = Literal["replicated", "manual", "unknown", "unreduced"]

# More devices than any machine has; a count beyond it is a typing error and would fill the memory.
MOST_DEVICES = 1 << 24


class Malformed(Exception):
    """Text that is no sharding; the message says what was expected and where."""


@dataclass(frozen=True)
class Uniform:
    """One thing said of a whole tensor."""

    kind: Kind


@dataclass(frozen=True)
class OnDevice:
    """A tensor that one device holds."""

    device: int


@dataclass(frozen=True)
class Tiled:
    """A tile assignment: an array of device ids whose first dimensions are those of the tensor.

    Attributes:
      dims: The shape of the array.
      reshape, transpose: It is ``iota(N)``, reshaped to ``reshape`` and transposed ...
      devices: ... unless its elements are listed.
      subgroups: What the last dimensions of the array mean, which are no dimensions of the tensor.
    """

    dims: tuple[int, ...]
    reshape: tuple[int, ...] = ()
    transpose: tuple[int, ...] = ()
    devices: tuple[int, ...] = ()
    subgroups: tuple[Kind, ...] = ()

    @property
    def device_count(self) -> int:
        """How many devices there are."""
        return math.prod(self.dims)

    @property
    def rank(self) -> int:
        """The rank of the tensors it fits."""
        return len(self.dims) - len(self.subgroups)


@dataclass(frozen=True)
class Named:
    """A sharding by the axes of a mesh; ``dims`` is ``None`` where one word is said of the whole tensor (``whole``)."""

    mesh: Mesh
    dims: tuple[tuple[Axis, ...], ...] | None = None
    closed: tuple[bool, ...] = ()
    replicated: tuple[Axis, ...] = ()
    unreduced: tuple[Axis, ...] = ()
    manual: tuple[Axis, ...] = ()
    whole: Kind = "replicated"


Layout = Uniform | OnDevice | Tiled | Named


@dataclass(frozen=True)
class HloSharding:
    """The sharding of one value.

    Attributes:
      layout: Where its parts are.
      group: The number of the group of values that are sharded alike.
      text: What was read, for messages.
    """

    layout: Layout
    group: int | None = None
    text: str = field(default="", compare=False)

    @property
    def is_manual(self) -> bool:
        """Whether it is about code that is written for each device of some axes."""
        layout = self.layout
        if isinstance(layout, Tiled):
            return "manual" in layout.subgroups
        if isinstance(layout, Named):
            return bool(layout.manual) or layout.whole == "manual"
        return layout == Uniform("manual")

    @property
    def is_only_group(self) -> bool:
        """Whether it says nothing but which values it goes with."""
        return self.group is not None and self.layout == Uniform("unknown")


def checked(tiles: Tiled) -> Tiled:
    """``tiles``, if its numbers make a tile assignment.

    Raises:
      Malformed: they do not.
    """
    dims, reshape, devices = tiles.dims, tiles.reshape, tiles.devices
    for shape in (dims, reshape or dims):
        if not shape or min(shape) < 1 or math.prod(shape) > MOST_DEVICES:
            raise Malformed(f"[{joined(shape)}] is no shape of an array of devices")
    if len(tiles.subgroups) > len(dims):
        raise Malformed(f"devices=[{joined(dims)}] has fewer dimensions than last_tile_dims has entries")
    count = len(devices) or math.prod(reshape)
    if math.prod(dims) != count:
        raise Malformed(f"devices=[{joined(dims)}] needs {math.prod(dims)} devices, there are {count}")
    if sorted(tiles.transpose) != list(range(len(reshape))):
        raise Malformed(f"T({joined(tiles.transpose)}) does not permute the {len(reshape)} dimensions before it")
    if devices and sorted(devices) != list(range(count)):
        raise Malformed(f"the devices {joined(devices)} are not 0 to {count - 1}, each once")
    return tiles


def expanded(tiles: Tiled) -> tuple[int, ...]:
    """The device ids of a tile assignment in order."""
    if tiles.devices:
        return tiles.devices
    strides = [math.prod(tiles.reshape[i + 1 :]) for i in range(len(tiles.reshape))]
    ids = [0]
    for source in tiles.transpose:
        ids = [base + i * strides[source] for base in ids for i in range(tiles.reshape[source])]
    return tuple(ids)


def joined(numbers: tuple[int, ...]) -> str:
    """``numbers`` for a message."""
    text = ",".join(map(str, numbers))
    return text if len(text) <= 60 else f"{text[:57]}..."
