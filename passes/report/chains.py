"""Why tensors lie as they do, for all tensors at once: each place an axis was at points to the one it came from.

A chain shares its beginning with those of its neighbours, so all chains of a program together take a row for each
(tensor, axis, dimension) and time in proportion to the program.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from passes.sharding.answers import Link
from passes.sharding.flow import Tensor
from passes.sharding.mesh import Axis
from passes.sharding.origins.chains import Chain, Step, before_step
from passes.sharding.origins.notes import END, START, Time
from passes.sharding.wording import Teller

_Key = tuple[Tensor, Axis, int]


@dataclass
class Chains:
    """The chains of the tensors that were asked for.

    Attributes:
      links: The places axes were at, in words, each behind the one it came from.
      parents: For each link the position of that one; -1 at an annotation.
    """

    teller: Teller
    links: list[Link] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    _known: dict[_Key, tuple[int, Time]] = field(default_factory=dict)

    def of(self, tensor: Tensor) -> list[tuple[int, str, int]]:
        """For each axis of ``tensor``: the dimension, the axis, and the link its chain ends with."""
        layouts = self.teller.origins.layouts
        attribute = layouts.sharding(tensor)
        if attribute is None:
            return []
        mesh = layouts.mesh_of(attribute)
        return [
            (dim, axis.text(mesh), self._end(tensor, axis, dim))
            for dim, (axes, _) in enumerate(layouts.dims(tensor))
            for axis in axes
        ]

    def _end(self, tensor: Tensor, axis: Axis, dim: int) -> int:
        chains = self.teller.origins.chains
        path: list[tuple[_Key, Step]] = []
        key, before = (tensor, axis, dim), END
        while True:
            known = self._known.get(key)
            # What is known of a tensor holds here only if it had the axis before the step that is looked back from.
            if known is not None and known[1] < before:
                parent = known[0]
                break
            hop = chains.last_hop(*key, before) if chains.given(*key) is None else None
            if hop is None:
                parent = self._start(key)
                break
            step, source, source_axis = hop
            path.append((key, step))
            key, before = (source, source_axis, step.source_dim), before_step(step)
        for key, step in reversed(path):
            parent = self._add(parent, self.teller.link(step))
            self._known.setdefault(key, (parent, step.time))
        return parent

    def _start(self, key: _Key) -> int:
        tensor, axis, dim = key
        priority = self.teller.origins.chains.given(*key)
        chain = Chain(axis, dim, tensor, dim, priority or 0, (), complete=priority is not None)
        self._known[key] = (self._add(-1, self.teller.root(chain)), START)
        return self._known[key][0]

    def _add(self, parent: int, link: Link) -> int:
        self.links.append(link)
        self.parents.append(parent)
        return len(self.links) - 1
