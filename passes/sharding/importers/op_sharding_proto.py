"""The binary form of ``mhlo.sharding``: a serialized ``xla.OpSharding`` message, which older JAX and TensorFlow write.

Source: ``message OpSharding`` in xla/xla_data.proto.
"""

from __future__ import annotations

from collections.abc import Iterator

from passes.sharding.importers.hlo_sharding import HloSharding, Kind, Malformed, OnDevice, Tiled, Uniform, checked

# Field numbers of OpSharding.
_TYPE, _DIMS, _DEVICES, _TUPLE, _REPLICATE_LAST, _LAST_DIMS, _RESHAPE, _TRANSPOSE = 1, 3, 4, 5, 6, 8, 9, 10
_IS_GROUP, _GROUP = 11, 12
# The values of OpSharding.Type.
_MAXIMAL, _IS_TUPLE, _OTHER = 1, 2, 3
_KINDS: dict[int, Kind] = {0: "replicated", 4: "manual", 5: "unknown", 6: "unreduced"}


def parse(data: bytes) -> tuple[HloSharding, ...]:
    """The sharding in a serialized message, or for a tuple those of its leaves.

    Raises:
      Malformed: the bytes are no such message, or one that means nothing.
    """
    numbers: dict[int, list[int]] = {}
    elements: list[HloSharding] = []
    for field, value in _fields(data):
        if field == _TUPLE and isinstance(value, bytes):
            elements += parse(value)
        else:
            # A list of numbers is packed into bytes, or given one by one.
            numbers.setdefault(field, []).extend(_varints(value) if isinstance(value, bytes) else [value])
    if numbers.get(_TYPE) == [_IS_TUPLE]:
        return tuple(elements)
    group = numbers.get(_GROUP, [0])[0] if numbers.get(_IS_GROUP, [0])[0] else None
    return (HloSharding(_layout(numbers), group, f"a serialized OpSharding of {len(data)} bytes"),)


def _layout(numbers: dict[int, list[int]]) -> OnDevice | Tiled | Uniform:
    type = numbers.get(_TYPE, [0])[-1]
    if type == _MAXIMAL:
        return OnDevice(numbers.get(_DEVICES, [0])[0])
    if type in _KINDS:
        return Uniform(_KINDS[type])
    if type != _OTHER:
        raise Malformed(f"{type} is no type of an OpSharding message")
    subgroups = tuple(_KINDS.get(kind, "replicated") for kind in numbers.get(_LAST_DIMS, []))
    if numbers.get(_REPLICATE_LAST, [0])[0]:
        subgroups = ("replicated",)
    return checked(Tiled(
        tuple(numbers.get(_DIMS, [])),
        tuple(numbers.get(_RESHAPE, [])),
        tuple(numbers.get(_TRANSPOSE, [])),
        tuple(numbers.get(_DEVICES, [])),
        subgroups,
    ))


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Field numbers and values: the wire format's varints and length-delimited bytes."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        if tag & 7 == 0:
            value, at = _varint(data, at)
            yield tag >> 3, value
        elif tag & 7 == 2:
            length, at = _varint(data, at)
            if at + length > len(data):
                raise Malformed("a serialized OpSharding message that ends too early")
            # Metadata (field 7) and the tile shape (field 2) are messages that say nothing about the layout.
            if tag >> 3 not in (2, 7):
                yield tag >> 3, data[at : at + length]
            at += length
        else:
            raise Malformed("neither text that starts with '{' nor a serialized OpSharding message")


def _varints(data: bytes) -> list[int]:
    found, at = [], 0
    while at < len(data):
        value, at = _varint(data, at)
        found.append(value)
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise Malformed("a serialized OpSharding message that ends too early")
        value |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if not data[at - 1] & 0x80:
            return value, at
