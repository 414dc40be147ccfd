"""What the parent and its worker process say to each other: frames of JSON with a binary attachment, over pipes.

    8 bytes length of the JSON, 8 bytes length of the attachment, the JSON, the attachment
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from passes._mlir import Diagnostic
from passes.errors import Mismatch, NativeFailure, UserError, Where
from passes.pipeline.options import Count, PassFailure, PassStatistics, Remarked, Removed

_LENGTHS = struct.Struct("!QQ")
_ERRORS: dict[str, type[UserError]] = {e.__name__: e for e in (UserError, Mismatch, NativeFailure)}


@dataclass(frozen=True)
class Frame:
    """One message: ``data`` is JSON, ``blob`` a module as bytecode."""

    data: dict[str, Any]
    blob: bytes = b""


def send(descriptor: int, data: dict[str, Any], blob: bytes = b"") -> None:
    """Writes a frame.

    Raises:
      BrokenPipeError: nobody reads any more.
    """
    text = json.dumps(data).encode()
    for part in (_LENGTHS.pack(len(text), len(blob)) + text, blob):
        view = memoryview(part)
        while view:
            view = view[os.write(descriptor, view) :]


def receive(descriptor: int) -> Frame | None:
    """Reads a frame; ``None`` at the end of the stream."""
    buffer = Buffer()
    while True:
        missing = buffer.missing()
        chunk = os.read(descriptor, min(missing, 1 << 20))
        if not chunk:
            return None
        for frame in buffer.feed(chunk):
            return frame


class Buffer:
    """Collects bytes until they make frames."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def missing(self) -> int:
        """How many bytes are needed before there can be another frame; at least 1."""
        if len(self._bytes) < _LENGTHS.size:
            return _LENGTHS.size - len(self._bytes)
        text, blob = _LENGTHS.unpack_from(self._bytes)
        return max(1, _LENGTHS.size + int(text) + int(blob) - len(self._bytes))

    def feed(self, chunk: bytes) -> Iterator[Frame]:
        """Adds ``chunk`` and yields the frames that are complete."""
        self._bytes += chunk
        while len(self._bytes) >= _LENGTHS.size:
            text, blob = _LENGTHS.unpack_from(self._bytes)
            start, end = _LENGTHS.size, _LENGTHS.size + text + blob
            if len(self._bytes) < end:
                return
            frame = Frame(json.loads(self._bytes[start : start + text]), bytes(self._bytes[start + text : end]))
            del self._bytes[:end]
            yield frame


def encode_diagnostic(diagnostic: Diagnostic) -> dict[str, Any]:
    """A diagnostic as JSON."""
    return {
        "severity": diagnostic.severity,
        "where": _encode_where(diagnostic.where),
        "message": diagnostic.message,
        "notes": [encode_diagnostic(n) for n in diagnostic.notes],
    }


def decode_diagnostic(data: dict[str, Any]) -> Diagnostic:
    """The diagnostic `encode_diagnostic` encoded."""
    notes = tuple(map(decode_diagnostic, data["notes"]))
    return Diagnostic(data["severity"], _decode_where(data["where"]), data["message"], notes)


def encode_error(error: UserError) -> dict[str, Any]:
    """An error as JSON; a subclass this module does not know becomes a plain `UserError`."""
    data: dict[str, Any] = {
        "kind": type(error).__name__,
        "message": error.message,
        "where": _encode_where(error.where),
        "snippet": error.snippet,
        "notes": [[_encode_where(where), text] for where, text in error.notes],
    }
    if isinstance(error, PassFailure):
        data |= {"pass": error.pass_name, "diagnostics": [encode_diagnostic(d) for d in error.diagnostics]}
    return data


def decode_error(data: dict[str, Any]) -> UserError:
    """The error `encode_error` encoded."""
    message, where, snippet = data["message"], _decode_where(data["where"]), data["snippet"]
    notes = tuple((_decode_where(place), text) for place, text in data["notes"])
    if data["kind"] == PassFailure.__name__:
        diagnostics = tuple(map(decode_diagnostic, data["diagnostics"]))
        return PassFailure(
            message, where, pass_name=data["pass"], snippet=snippet, notes=notes, diagnostics=diagnostics
        )
    return _ERRORS.get(data["kind"], UserError)(message, where, snippet=snippet, notes=notes)


def encode_statistics(passes: tuple[PassStatistics, ...]) -> list[Any]:
    """Statistics as JSON."""
    return [
        [
            p.anchors,
            p.name,
            [[c.name, c.help, c.value] for c in p.counts],
            _encode_removals(p),
            [[_encode_where(r.where), r.words] for r in p.remarks],
        ]
        for p in passes
    ]


def decode_statistics(data: list[Any]) -> tuple[PassStatistics, ...]:
    """The statistics `encode_statistics` encoded."""
    return tuple(
        PassStatistics(
            tuple(anchors),
            name,
            tuple(Count(*c) for c in counts),
            _decode_removals(removals),
            tuple(Remarked(_decode_where(where), tuple(words)) for where, words in remarks),
        )
        for anchors, name, counts, removals, remarks in data
    )


def _encode_removals(statistics: PassStatistics) -> list[Any] | None:
    if statistics.removals is None:
        return None
    return [[r.why, r.op, _encode_where(r.where), r.name, r.count] for r in statistics.removals]


def _decode_removals(data: list[Any] | None) -> tuple[Removed, ...] | None:
    if data is None:
        return None
    return tuple(Removed(why, op, _decode_where(where), name, count) for why, op, where, name, count in data)


def _encode_where(where: Where | None) -> list[Any] | None:
    return None if where is None else [where.file, where.line, where.column]


def _decode_where(data: list[Any] | None) -> Where | None:
    return None if data is None else Where(*data)
