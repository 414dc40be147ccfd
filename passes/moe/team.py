"""A mesh, and what its axes are for in expert parallelism."""

from __future__ import annotations

import math
from dataclasses import dataclass

from passes.sharding.mesh import Mesh


@dataclass(frozen=True)
class Team:
    """A mesh and what its axes are for."""

    mesh: Mesh
    experts: tuple[str, ...]
    ring: str
    data: tuple[str, ...]

    def size(self, axes: tuple[str, ...]) -> int:
        """The number of parts that ``axes`` make."""
        return math.prod(self.mesh.sizes[a] for a in axes)

    def indivisible(self, experts: int) -> str:
        """What is wrong if so many experts cannot be split over the devices, or nothing."""
        parts = self.size(self.experts)
        if experts % parts == 0:
            return ""
        choices = ", ".join(str(n) for n in range(1, experts + 1) if experts % n == 0)
        axes = ", ".join(f"{a}={self.mesh.sizes[a]}" for a in self.experts)
        return f"{experts} experts do not divide by the {parts} devices along {axes}; they divide by {choices}"

    @property
    def cluster_axis(self) -> int:
        """The number of the ring's axis."""
        return [name for name, _ in self.mesh.axes].index(self.ring)
