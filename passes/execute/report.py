"""What a verification found, as lines for the terminal and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from passes.errors import Mismatch
from passes.execute.compare import Comparison

# Failing results listed in full; the rest are counted.
_SHOWN = 10
# The threshold that correlation is commonly held to, and the difference from which it is worth a word that it is blind.
_USUAL_PCC = 0.99
_TELLING_L2 = 1e-3


@dataclass(frozen=True)
class Report:
    """The outcome of `verify`.

    Attributes:
      how: What ran where, e.g. ``executed on 8 virtual devices (XLA CPU)``.
      inputs: What it ran on, e.g. ``inputs normal seed 0``.
      results: The verdict about each result.
      notes: What a reader must know about how far the proof goes.
      seconds: Wall time by stage.
    """

    how: str
    inputs: str
    results: tuple[Comparison, ...]
    notes: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict, compare=False)

    @property
    def ok(self) -> bool:
        """Whether every result meets its claim."""
        return all(r.ok for r in self.results)

    def summary(self) -> str:
        """The verdict in one line."""
        good = [r for r in self.results if r.ok]
        verdict = f"{len(good)} of {len(self.results)} results equal"
        if good:
            verdict += f" ({_quality(good)})"
        return f"{self.how}, {self.inputs}: {verdict}"

    def lines(self, *, every: bool = False) -> list[str]:
        """The results that failed (``every``: all), the notes, and the summary as the last line."""
        shown = [r for r in self.results if every or not r.ok]
        listed = [line for r in shown[:_SHOWN] for line in describe(r)]
        if len(shown) > _SHOWN:
            listed.append(f"... and {len(shown) - _SHOWN} more")
        return [*listed, *(f"note: {n}" for n in self.notes), self.summary()]

    def to_json(self) -> str:
        """The report as JSON text."""
        data = {
            "ok": self.ok,
            "summary": self.summary(),
            "how": self.how,
            "inputs": self.inputs,
            "notes": self.notes,
            "seconds": {stage: round(seconds, 3) for stage, seconds in self.seconds.items()},
            "results": [r.to_json() for r in self.results],
        }
        return json.dumps(finite(data), indent=1)

    def require(self) -> None:
        """Raises `Mismatch` with the failing results if there are any."""
        if not self.ok:
            bad = next(r for r in self.results if not r.ok)
            raise Mismatch("\n".join([f"result {bad.name} differs: {bad.reason}", *self.lines()]))


def describe(result: Comparison) -> list[str]:
    """One result's verdict: the figures, and where it first breaks its claim."""
    figures = result.figures
    head = f"{'equal' if result.ok else 'DIFFERS'}  {result.name}  {result.type}"
    if figures.bit_equal and result.ok:
        return [f"{head}  bit-equal"]
    ulp = f"{figures.ulp} ulp, " if figures.ulp is not None else ""
    pcc = f", PCC {figures.pcc:.9f}" if figures.pcc is not None else ""
    numbers = (
        f"  {figures.differing} of {figures.elements} elements differ, {ulp}"
        f"relative L2 {figures.relative_l2:.2e}, max abs {figures.max_abs:.2e}{pcc}"
    )
    lines = [head + numbers]
    if not result.ok:
        lines.append(f"    {result.reason}" + _place(result))
        lines += _blind_correlation(result)
    return lines


def _blind_correlation(result: Comparison) -> list[str]:
    """For a result that the usual check of its correlation would have let pass: what that check cannot see."""
    pcc, scale = result.figures.pcc, result.figures.scale
    if pcc is None or pcc < _USUAL_PCC or result.figures.relative_l2 < _TELLING_L2:
        return []
    factor = f"a factor (here {scale:.6g})" if scale is not None else "a factor"
    return [f"    PCC >= {_USUAL_PCC} alone would have passed this: correlation is blind to {factor} and to an offset"]


def _place(result: Comparison) -> str:
    if result.first is None:
        return ""
    index = ", ".join(map(str, result.first.index))
    device = f" on device {result.device}" if result.device is not None else ""
    return f"; first at [{index}]{device}: expected {result.first.expected}, got {result.first.got}"


def _quality(results: Sequence[Comparison]) -> str:
    exact = sum(r.figures.bit_equal for r in results)
    parts = [f"{exact} bit-equal"]
    if exact < len(results):
        parts.append(f"worst relative L2 {max(r.figures.relative_l2 for r in results):.1e}")
    return ", ".join(parts)


def finite(data: object) -> object:
    """JSON data as JSON can hold it: it has no infinities; they become text."""
    if isinstance(data, dict):
        return {key: finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [finite(value) for value in data]
    return str(data) if isinstance(data, float) and not math.isfinite(data) else data
