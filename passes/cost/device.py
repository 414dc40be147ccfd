"""What a device can do: operations and bytes a second, memory, links; presets, and the same from a user's TOML file.

  title = "My board"
  source = "where the figures come from"
  memory = 32e9                 # bytes
  memory_bandwidth = 512e9      # bytes a second

  [flops]                       # operations a second by element type; bf16 is required
  bf16 = 332e12

  [link]                        # between devices
  topology = "ring"             # ring, line, torus, switch, all_to_all
  bandwidth = 25e9              # bytes a second that one device sends
  latency = 1e-6                # seconds of a collective; hop: of each of its steps
  hop = 1e-6
  node = 8                      # devices that are joined so; optional, with [network] for groups beyond

  [laws.ring.all_gather]        # measured laws of single collectives; optional
  latency = 4.47e-6
  hop = 2.5e-6
  bandwidth = 20.8e9
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from passes.cost.laws import TOPOLOGIES, Law
from passes.errors import UserError
from passes.program.read import read_bytes
from passes.sharding import toml_table
from passes.sharding.toml_table import Table, shorten

# The element types that rates can be given for, and their bytes.
WIDTHS = {
    "f64": 8, "f32": 4, "tf32": 4, "bf16": 2, "f16": 2, "f8": 1,
    "i64": 8, "i32": 4, "i16": 2, "i8": 1, "i4": 1, "i1": 1,
}
_KINDS = ("all_gather", "all_reduce", "all_to_all", "collective_broadcast", "collective_permute", "reduce_scatter")


@dataclass(frozen=True)
class Device:
    """A device and how it is joined to others.

    Attributes:
      title, source: Its name, and where the figures come from.
      flops: Operations a second by element type.
      memory: Bytes; ``None`` if not stated.
      memory_bandwidth: Bytes a second.
      topology: How devices are joined.
      link: The law of collectives between joined devices.
      node: How many are joined; 0 for all.
      network: The law where a group goes beyond a node.
      laws: Laws of single collectives: (topology, kind) -> law.
    """

    title: str
    source: str
    flops: dict[str, float]
    memory: float | None
    memory_bandwidth: float
    topology: str
    link: Law
    node: int = 0
    network: Law | None = None
    laws: dict[tuple[str, str], Law] = field(default_factory=dict)

    def rate(self, element: str) -> float:
        """Operations a second on elements of a type: stated, or bf16's rate times two over the type's bytes."""
        stated = self.flops.get(element)
        return stated if stated is not None else self._derived(element)

    def _derived(self, element: str) -> float:
        short = "f8" if element.startswith("f8") else element.removeprefix("complex<").rstrip(">").removeprefix("u")
        if short in self.flops:
            return self.flops[short]
        return self.flops["bf16"] * 2 / WIDTHS.get(short, 4)

    def collective(self, kind: str, group: tuple[int, ...], size: int, topology: str | None = None) -> float:
        """Seconds of one collective in ``group``, each device of which puts in ``size`` bytes."""
        topology = topology or self.topology
        return self._law(kind, topology, group).seconds(kind, topology, len(group), size)

    def _law(self, kind: str, topology: str, group: tuple[int, ...]) -> Law:
        if self.network is not None and self.node and len({device // self.node for device in group}) > 1:
            return self.network
        return self.laws.get((topology, kind), self.link)


def load(name: str) -> Device:
    """The preset called ``name``, or the device that the file ``name`` (it ends in ``.toml``) describes.

    Raises:
      UserError: there is no such preset or file, or it cannot be used.
    """
    if name.endswith(".toml"):
        data, source = read_bytes(name)
        try:
            return parse(data.decode(), source)
        except UnicodeDecodeError:
            raise UserError(f"{source} is not UTF-8 text, so it is no TOML") from None
    known = presets()
    if name not in known:
        raise UserError(f"there is no device '{shorten(name)}'; there are {', '.join(known)}, or name a .toml file")
    return parse(known[name], name)


def presets() -> dict[str, str]:
    """Preset name -> its text."""
    folder = resources.files("passes.cost") / "devices"
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".toml")), key=lambda f: f.name)
    return {f.name.removesuffix(".toml"): f.read_text() for f in files}


def parse(text: str, source: str) -> Device:
    """The device that ``text`` describes.

    Raises:
      UserError: it does not describe one; placed at the line.
    """
    table = toml_table.read(text, source)
    table.check_keys(("title", "source", "memory", "memory_bandwidth", "flops", "link", "network", "laws"))
    rates = table.inner("flops")
    rates.check_keys(tuple(WIDTHS))
    flops = {key: _required(rates, key) for key in rates.values}
    if "bf16" not in flops:
        table.fail("[flops] needs bf16, the operations a second that other types are derived from", "flops")
    link = table.inner("link")
    link.check_keys(("topology", "bandwidth", "latency", "hop", "node"))
    network = table.inner("network")
    network.check_keys(("bandwidth", "latency", "hop"))
    return Device(
        table.text("title") or source, table.text("source") or "", flops, table.amount("memory"),
        _required(table, "memory_bandwidth"), _topology(link), _law(link), link.number("node") or 0,
        _law(network) if network.values else None, _laws(table),
    )


def _topology(link: Table) -> str:
    found = link.text("topology") or "ring"
    if found not in TOPOLOGIES:
        link.fail(f"topology '{shorten(found)}' is not known; there are {', '.join(TOPOLOGIES)}", "topology")
    return found


def _laws(table: Table) -> dict[tuple[str, str], Law]:
    by_topology = table.inner("laws")
    by_topology.check_keys(TOPOLOGIES)
    found = {}
    for topology in by_topology.values:
        by_kind = by_topology.inner(topology)
        by_kind.check_keys(_KINDS)
        for kind in by_kind.values:
            law = by_kind.inner(kind)
            law.check_keys(("bandwidth", "latency", "hop"))
            found[topology, kind] = _law(law)
    return found


def _law(table: Table) -> Law:
    return Law(table.amount("latency") or 0.0, table.amount("hop") or 0.0, _required(table, "bandwidth"))


def _required(table: Table, key: str) -> float:
    value: Any = table.amount(key)
    if value is None:
        table.fail(f"{key} is missing; it takes a number above zero", key)
    return float(value)
