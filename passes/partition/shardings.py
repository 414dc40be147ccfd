"""The sharding of every value of a planned function, looked up by value."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from passes import _mlir
from passes.errors import UserError
from passes.program import entry
from passes.program.types import tensor_type
from passes.sharding.mesh import Axis, Mesh, Sharding, sharding_from_attr, sharding_to_attr

Axes = tuple[Axis, ...]
# The ops of each block, with their names and what they say of their results.
Listing = dict[Any, list[tuple[Any, str, Any]]]

# Code written for one device; inside, shardings name the axes only that are not manual.
MANUAL = "sdy.manual_computation"
# Ops whose blocks take the op's results as arguments, in the results' shardings.
_LOOPS = frozenset({"stablehlo.while"})
# Attributes that name the sharding of an op's only result.
_OUT_SHARDING = ("out_sharding", "sharding")


class ShardingMap:
    """Value -> sharding attribute, read once from the attributes of a planned function.

    A value without an entry is replicated. Attributes, not parsed shardings, are the keys of caches: they are unique in
    their context, so comparing them costs nothing.
    """

    def __init__(self, mesh: Mesh, meshes: dict[str, Mesh]) -> None:
        self.mesh = mesh
        self._meshes = meshes
        self._of: dict[Any, Any] = {}
        self._parsed: dict[Any, Sharding | None] = {}
        self._per_value: dict[Any, list[Any]] = {}
        self._split_in: dict[Any, list[tuple[int, Any]]] = {}
        self._local_types: dict[Any, Any] = {}

    def read_function(self, function: Any) -> Listing:
        """Records the shardings of all values of ``function``; lists the ops that it has seen."""
        self._read_arguments(function)
        listing: Listing = {}
        self._read_block(function.regions[0].blocks[0], listing)
        return listing

    def read_some(self, function: Any, ops: Iterable[Any]) -> None:
        """Records the shardings of the arguments of ``function`` and of what ``ops`` in it read and make."""
        self._read_arguments(function)
        self.read_around(ops)

    def _read_arguments(self, function: Any) -> None:
        block = function.regions[0].blocks[0]
        for value, attr in zip(block.arguments, self._of_block(block), strict=True):
            self.record(value, attr)

    def read_around(self, ops: Iterable[Any]) -> None:
        """Records the shardings of what ``ops`` read and make, which is quicker where these are few."""
        given: dict[Any, Sequence[Any]] = {}
        for value in (value for op in ops for values in (op.operands, op.results) for value in values):
            if value in self._of:
                continue
            if isinstance(value.owner, _mlir.ir.Block):
                block, number = value.owner, value.arg_number
                if block not in given:
                    given[block] = self._of_block(block)
                attrs = given[block]
            else:
                attrs, number = self.of_results(value.owner.operation), value.result_number
            self.record(value, attrs[number] if attrs else None)

    def _of_block(self, block: Any) -> Sequence[Any]:
        """The sharding attribute of each argument of ``block``."""
        op = block.owner.operation
        if op.name == "func.func":
            return entry.value_attribute(op, "arg_attrs", "sdy.sharding", len(block.arguments))
        return self._of_arguments(op, self.of_results(op))

    def _read_block(self, block: Any, listing: Listing) -> None:
        listing[block] = listed = []
        for view in block.operations:
            op = view.operation
            given, name = op.attributes.get("sdy.sharding"), op.name
            listed.append((op, name, given))
            if given is not None:
                for number, attr in self.split(given):
                    self._of[op.results[number]] = attr
            elif name.startswith("sdy."):
                for value, attr in zip(op.results, self.of_results(op), strict=False):
                    self.record(value, attr)
            if name in CONTROL_FLOW:
                attrs = self.of_results(op)
                for region in op.regions:
                    inner = region.blocks[0]
                    for value, attr in zip(inner.arguments, self._of_arguments(op, attrs), strict=False):
                        self.record(value, attr)
                    self._read_block(inner, listing)

    def split(self, per_value: Any) -> Sequence[tuple[int, Any]]:
        """The numbers of the results that ``sdy.sharding`` of an op says are split, with the sharding of each."""
        if per_value is None:
            return ()
        if per_value not in self._split_in:
            listed = self._listed(per_value)
            self._split_in[per_value] = [(i, attr) for i, attr in enumerate(listed) if self.parse(attr) is not None]
        return self._split_in[per_value]

    def _of_arguments(self, op: Any, results: Sequence[Any]) -> Sequence[Any]:
        """The sharding attribute of each argument of the blocks of ``op``, whose results lie as ``results`` say."""
        if op.name in _LOOPS:
            return results
        if op.name != MANUAL:
            return ()
        manual = manual_axes(op)
        return [self.without(attr, manual) for attr in self.listed(op, "in_shardings")]

    def without(self, attr: Any, manual: Iterable[str]) -> Any:
        """How a value that lies as ``attr`` says lies inside a computation that is ``manual`` over these axes."""
        sharding = self.parse(attr)
        if sharding is None:
            return None
        names = frozenset(manual)
        return self._with_dims(attr, (tuple(a for a in axes if a.name not in names) for axes in sharding.dims))

    def whole_along(self, attr: Any, dims: Iterable[int]) -> Any:
        """How a value that lies as ``attr`` says lies with these dimensions whole."""
        sharding, whole = self.parse(attr), frozenset(dims)
        if sharding is None:
            return None
        return self._with_dims(attr, (() if d in whole else axes for d, axes in enumerate(sharding.dims)))

    def split_along(self, attr: Any, dim: int, axes: Axes) -> Any:
        """How a value that lies as ``attr`` says lies with one dimension split over ``axes``."""
        sharding = self.parse(attr)
        dims = () if sharding is None else sharding.dims
        return self._with_dims(attr, (axes if d == dim else given for d, given in enumerate(dims)))

    def along(self, attr: Any, dim: int) -> Any:
        """How one row lies along dimension ``dim`` of a value that lies as ``attr`` says."""
        sharding = self.parse(attr)
        return None if sharding is None else self._with_dims(attr, sharding.dims[dim : dim + 1])

    def _with_dims(self, attr: Any, dims: Iterable[Axes]) -> Any:
        mesh = _mlir.ir.FlatSymbolRefAttr(_mlir.sdy.TensorShardingAttr(attr).mesh_or_ref).value
        return sharding_to_attr(mesh, Sharding(self.mesh, tuple(dims)))

    def record(self, value: Any, attr: Any) -> None:
        """Remembers that ``value`` lies as ``attr`` says; ``None`` or a replicated one leaves no trace."""
        if self.parse(attr) is not None:
            self._of[value] = attr

    def items(self) -> Iterable[tuple[Any, Any]]:
        """Every value that is split, and its sharding attribute, in program order."""
        return self._of.items()

    def forget(self, value: Any) -> None:
        """Drops what is known about ``value``."""
        self._of.pop(value, None)

    def attr(self, value: Any) -> Any:
        """The sharding attribute of ``value``, ``None`` if it is replicated."""
        return self._of.get(value)

    def attrs(self, values: Iterable[Any]) -> tuple[Any, ...]:
        """The `attr` of each of ``values``."""
        return tuple(map(self._of.get, values))

    def __getitem__(self, value: Any) -> Sharding | None:
        return self.parse(self._of.get(value))

    def dims(self, value: Any) -> tuple[Axes, ...]:
        """The axes of each dimension of a tensor value."""
        return self.dims_of(self._of.get(value), value.type)

    def dims_of(self, attr: Any, type: Any) -> tuple[Axes, ...]:
        """The axes of each dimension of a tensor of ``type`` that lies as ``attr`` says."""
        return (self.parse(attr) or self.whole(type)).dims

    def whole(self, type: Any) -> Sharding:
        """The replicated sharding of a tensor of ``type``."""
        return Sharding(self.mesh, ((),) * _mlir.ir.RankedTensorType(type).rank)

    def parse(self, attr: Any) -> Sharding | None:
        """A sharding attribute as data; ``None`` for no attribute or a replicated one."""
        if attr is None:
            return None
        if attr not in self._parsed:
            sharding = sharding_from_attr(attr, self._meshes)
            self._parsed[attr] = None if sharding.is_replicated else sharding
        return self._parsed[attr]

    def of_results(self, op: Any) -> Sequence[Any]:
        """The sharding attribute of each result of ``op``; empty if the op has none, so that all are replicated."""
        attributes = op.attributes
        if "sdy.sharding" in attributes:
            return self.listed(op, "sdy.sharding")
        if op.name == MANUAL:
            return self.listed(op, "out_shardings")
        if op.name.startswith("sdy."):
            return [attributes[key] for key in _OUT_SHARDING if key in attributes]
        return ()

    def listed(self, op: Any, key: str) -> Sequence[Any]:
        """The sharding attributes in the list that ``op`` has under ``key``."""
        return self._listed(op.attributes[key])

    def _listed(self, attr: Any) -> Sequence[Any]:
        if attr not in self._per_value:
            self._per_value[attr] = list(_mlir.sdy.TensorShardingPerValueAttr(attr).shardings)
        return self._per_value[attr]

    def local_type(self, type: Any, attr: Any) -> Any:
        """The per-device type of a value of global ``type`` that lies as ``attr`` says.

        Raises:
          UserError: a dimension does not divide.
        """
        sharding = self.parse(attr)
        if sharding is None:
            return type
        key = (type, attr)
        if key not in self._local_types:
            self._local_types[key] = _divide(type, sharding)
        return self._local_types[key]


def manual_axes(op: Any) -> tuple[str, ...]:
    """The manual axes of a manual computation."""
    attr = _mlir.sdy.ManualAxesAttr(op.attributes["manual_axes"])
    return tuple(attr[i] for i in range(len(attr)))


# Ops whose regions hold code of the program, on tensors; other regions compute on scalars and stay as they are.
CONTROL_FLOW = frozenset({"stablehlo.while", "stablehlo.case", "stablehlo.if", MANUAL})


def _divide(type: Any, sharding: Sharding) -> Any:
    ranked = _mlir.ir.RankedTensorType(type)
    shape = tuple(ranked.shape)
    for dim, size in enumerate(shape):
        if size % sharding.factor(dim):
            raise UserError(f"dimension {dim} of {type} does not divide by {sharding.factor(dim)} ({sharding.spec()})")
    return tensor_type(sharding.local_shape(shape), ranked.element_type, ranked.encoding)
