"""How long a collective takes, and how many bytes cross a device's links, by kind and topology.

With N devices in a group, B the bytes one device puts in, and a bandwidth W that one device sends at:

  time = latency + hop * hops(topology, N) + wire(kind, topology, N) * B / W

``wire`` is what each device sends, in units of B, by the algorithms that reach the lower bound of the topology (Thakur,
Rabenseifner, Gropp, "Optimization of Collective Communication Operations in MPICH", 2005): all_gather N - 1,
reduce_scatter (N - 1)/N, all_reduce both, a permutation 1. An all_to_all sends (N - 1)/N where every pair has a way of
its own; on a ring or a line blocks pass through other devices: floor(N/2) ceil(N/2)/N, the load of the busiest link of
a ring that sends both ways. The vendor's published laws of Wormhole have this form (`devices/wormhole_t3000.toml`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from passes.errors import UserError

TOPOLOGIES = ("ring", "line", "torus", "switch", "all_to_all")

_WIRE: dict[str, Callable[[int], float]] = {
    "all_gather": lambda n: n - 1,
    "all_reduce": lambda n: 2 * (n - 1) / n,
    "all_to_all": lambda n: (n - 1) / n,
    "collective_broadcast": lambda n: 1,
    "collective_permute": lambda n: 1,
    "reduce_scatter": lambda n: (n - 1) / n,
}
_HOPS: dict[str, Callable[[int], float]] = {
    "ring": lambda n: n / 2,
    "torus": lambda n: n / 2,
    "line": lambda n: n - 1,
    # One step for each doubling of the group.
    "switch": lambda n: max(1, (n - 1).bit_length()),
    "all_to_all": lambda n: 1,
}
_THROUGH_OTHERS = frozenset({"ring", "line", "torus"})


@dataclass(frozen=True)
class Law:
    """One collective on one topology.

    Attributes:
      latency: Seconds that every run takes.
      hop: Seconds for each step between neighbours.
      bandwidth: Bytes a second that one device sends.
    """

    latency: float
    hop: float
    bandwidth: float

    def seconds(self, kind: str, topology: str, devices: int, size: int) -> float:
        """The time of one run in a group of ``devices``, each of which puts in ``size`` bytes."""
        if devices <= 1:
            return 0.0
        steps = self.hop * _HOPS[topology](devices)
        return self.latency + steps + load(kind, topology, devices) * size / self.bandwidth


def sent(kind: str, devices: int) -> float:
    """What one device sends in the least, in units of what it puts in: the ring-wire bytes of the field's tables."""
    return _WIRE[kind](devices) if devices > 1 else 0.0


def load(kind: str, topology: str, devices: int) -> float:
    """What crosses the busiest link, in units of what one device puts in."""
    if kind == "all_to_all" and topology in _THROUGH_OTHERS:
        return (devices // 2) * ((devices + 1) // 2) / devices
    return sent(kind, devices)


def check_topology(name: str | None) -> None:
    """Nothing, for a topology that is known or ``None``.

    Raises:
      UserError: it is not known.
    """
    if name is not None and name not in TOPOLOGIES:
        raise UserError(f"there is no topology '{name}'; there are {', '.join(TOPOLOGIES)}")
