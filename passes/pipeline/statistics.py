"""The report of ``--mlir-pass-statistics`` in MLIR's look.

The native report of jaxlib's build is empty (it was compiled without statistics), so this one stands for all passes.
"""

from __future__ import annotations

from collections.abc import Sequence

from passes.pipeline.options import Count, PassStatistics

_RULE = "===" + "-" * 73 + "==="
_TITLE = "... Pass statistics report ..."


def report(passes: Sequence[PassStatistics]) -> str:
    """The report for passes that ran in this order, ending in an empty line."""
    lines = [_RULE, " " * ((80 - len(_TITLE)) // 2) + _TITLE, _RULE]
    around: tuple[str, ...] = ()
    for found in passes:
        nest = found.anchors[1:]
        if nest != around:
            shared = next((i for i, (a, b) in enumerate(zip(nest, around, strict=False)) if a != b), None)
            start = min(len(nest), len(around)) if shared is None else shared
            lines += [f"{'  ' * depth}'{nest[depth]}' Pipeline" for depth in range(start, len(nest))]
            around = nest
        indent = "  " * len(nest)
        lines += [f"{indent}{found.name}", *(f"{indent}  {line}" for line in _counts(found.counts))]
    return "\n".join(lines) + "\n\n"


def _counts(counts: Sequence[Count]) -> list[str]:
    name_width = max((len(c.name) for c in counts), default=0)
    value_width = max((len(str(c.value)) for c in counts), default=0)
    ordered = sorted(counts, key=lambda c: c.name)
    return [f"(S) {c.value:>{value_width}} {c.name:{name_width}} - {c.help}" for c in ordered]
