"""Transfers between devices that nothing needs: a send and its receive go together or not at all."""

from __future__ import annotations

from collections import Counter
from typing import Any

from passes import _mlir

_SEND, _RECV = "stablehlo.send", "stablehlo.recv"
ENDS = frozenset({_SEND, _RECV})


def dead_pairs(ends: list[Any]) -> list[tuple[Any, Any]]:
    """The pairs of a send and a receive among ``ends``, all those of one block, whose data nothing uses.

    Both must stand in one block, each as the only one on their channel: then they are executed equally often, and
    without them nothing is left waiting. Host transfers are never dead.
    """
    ends = [op for op in ends if not _is_host_transfer(op)]
    count = Counter((op.name, op.attributes["channel_handle"]) for op in ends)
    sends = {op.attributes["channel_handle"]: op for op in ends if op.name == _SEND}
    return [
        (sends[channel], op)
        for op in ends
        if op.name == _RECV and _is_unread(op)
        for channel in [op.attributes["channel_handle"]]
        if count[_SEND, channel] == count[_RECV, channel] == 1
    ]


def _is_host_transfer(op: Any) -> bool:
    attributes = op.attributes
    return "is_host_transfer" in attributes and bool(_mlir.ir.BoolAttr(attributes["is_host_transfer"]).value)


def _is_unread(receive: Any) -> bool:
    *data, _ = receive.results
    return all(next(value.uses, None) is None for value in data)


def bypass_tokens(pair: tuple[Any, Any]) -> None:
    """Orders what waited for ``pair`` after what the pair waited for."""
    for op in pair:
        *_, before = op.operands
        *_, after = op.results
        after.replace_all_uses_with(before)
