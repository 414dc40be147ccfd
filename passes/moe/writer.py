"""Writes StableHLO functions as text, one method per op: shapes follow from the operands.

  w = Writer("twice")
  x = w.argument((4,), "f32")
  w.finish([w.binary("add", x, x)])    # func.func private @twice(%0: tensor<4xf32>) -> tensor<4xf32> {...}
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

Shape = tuple[int, ...]
Groups = Sequence[Sequence[int]]


@dataclass(frozen=True)
class Value:
    """An SSA value of a function that is being written."""

    name: str
    shape: Shape
    element: str

    @property
    def type(self) -> str:
        """The type as MLIR writes it."""
        return "tensor<" + "".join(f"{size}x" for size in self.shape) + f"{self.element}>"

    @property
    def is_float(self) -> bool:
        """Whether the elements are floating-point numbers."""
        return not self.element.lstrip("u").startswith("i")


@dataclass
class Writer:
    """One function being written.

    Attributes:
      name: Its symbol name.
      public: Whether it is the entry function.
    """

    name: str
    public: bool = False
    _lines: list[str] = field(default_factory=list)
    _arguments: list[tuple[Value, str]] = field(default_factory=list)
    _count: int = 0
    _channels: int = 0

    def argument(self, shape: Sequence[int], element: str, title: str = "", attributes: str = "") -> Value:
        """The next argument; ``title`` becomes its debug name."""
        value = self._fresh(tuple(shape), element)
        note = f" {{{attributes}}}" if attributes else ""
        self._arguments.append((value, note + (f' loc("{title}")' if title else "")))
        return value

    def finish(self, results: Sequence[Value]) -> str:
        """The text of the function, which returns ``results``."""
        arguments = ", ".join(f"{v.name}: {v.type}{more}" for v, more in self._arguments)
        types = ", ".join(v.type for v in results)
        names = ", ".join(v.name for v in results)
        visibility = "public" if self.public else "private"
        body = "\n".join([*self._lines, f"  return {names} : {types}"])
        return f"func.func {visibility} @{self.name}({arguments}) -> ({types}) {{\n{body}\n}}\n"

    # -- elementwise -------------------------------------------------------------------------------------------------

    def unary(self, op: str, x: Value) -> Value:
        """``stablehlo.op`` of one operand."""
        return self._line(f"stablehlo.{op} {x.name} : {x.type}", x.shape, x.element)

    def binary(self, op: str, x: Value, y: Value) -> Value:
        """``stablehlo.op`` of two operands of one type."""
        return self._line(f"stablehlo.{op} {x.name}, {y.name} : {x.type}", x.shape, x.element)

    def compare(self, direction: str, x: Value, y: Value) -> Value:
        """Compares element by element."""
        return self._line(
            f"stablehlo.compare {direction}, {x.name}, {y.name} : ({x.type}, {y.type}) -> "
            f"{Value('', x.shape, 'i1').type}", x.shape, "i1",
        )

    def select(self, condition: Value, x: Value, y: Value) -> Value:
        """``x`` where ``condition`` holds, else ``y``."""
        return self._line(
            f"stablehlo.select {condition.name}, {x.name}, {y.name} : {condition.type}, {x.type}", x.shape, x.element
        )

    def convert(self, x: Value, element: str) -> Value:
        """``x`` in another element type."""
        if x.element == element:
            return x
        to = Value("", x.shape, element).type
        return self._line(f"stablehlo.convert {x.name} : ({x.type}) -> {to}", x.shape, element)

    def nonzero(self, x: Value) -> Value:
        """Where ``x`` is not zero."""
        return x if x.element == "i1" else self.compare("NE", x, self.full(x.shape, x.element, 0))

    # -- constants ---------------------------------------------------------------------------------------------------

    def full(self, shape: Sequence[int], element: str, number: float | str) -> Value:
        """A splat: a number, or the text of one."""
        shape = tuple(shape)
        value = Value("", shape, element)
        return self._line(f"stablehlo.constant dense<{_literal(number, value)}> : {value.type}", shape, element)

    def iota(self, shape: Sequence[int], dim: int, element: str = "i32") -> Value:
        """Counts along ``dim``."""
        shape = tuple(shape)
        return self._line(f"stablehlo.iota dim = {dim} : {Value('', shape, element).type}", shape, element)

    # -- shapes ------------------------------------------------------------------------------------------------------

    def reshape(self, x: Value, shape: Sequence[int]) -> Value:
        """``x`` with the same elements in another shape."""
        return self._shaped("reshape", x, tuple(shape))

    def transpose(self, x: Value, order: Sequence[int]) -> Value:
        """``x`` with its dimensions in another order."""
        if list(order) == list(range(len(order))):
            return x
        return self._shaped("transpose", x, tuple(x.shape[d] for d in order), f", dims = {list(order)}")

    def broadcast(self, x: Value, shape: Sequence[int], dims: Sequence[int]) -> Value:
        """``broadcast_in_dim``: dimension ``i`` of ``x`` becomes dimension ``dims[i]``."""
        return self._shaped("broadcast_in_dim", x, tuple(shape), f", dims = {list(dims)}")

    def slice(self, x: Value, dim: int, start: int, limit: int, stride: int = 1) -> Value:
        """Part of one dimension."""
        shape = (*x.shape[:dim], math.ceil((limit - start) / stride), *x.shape[dim + 1 :])
        parts = [f"0:{size}" for size in x.shape]
        parts[dim] = f"{start}:{limit}" + (f":{stride}" if stride > 1 else "")
        return self._shaped("slice", x, shape, f" [{', '.join(parts)}]")

    def concatenate(self, values: Sequence[Value], dim: int) -> Value:
        """``values`` one behind the other along ``dim``."""
        first = values[0].shape
        shape = (*first[:dim], sum(v.shape[dim] for v in values), *first[dim + 1 :])
        names, types = (", ".join(texts) for texts in zip(*((v.name, v.type) for v in values), strict=True))
        to = Value("", shape, values[0].element).type
        return self._line(f"stablehlo.concatenate {names}, dim = {dim} : ({types}) -> {to}", shape, values[0].element)

    def pad_end(self, x: Value, dim: int, count: int, number: float | str) -> Value:
        """``count`` more elements at the end of ``dim``."""
        if not count:
            return x
        shape = (*x.shape[:dim], x.shape[dim] + count, *x.shape[dim + 1 :])
        high = [count if d == dim else 0 for d in range(len(shape))]
        zeros = [0] * len(shape)
        filler = self.full((), x.element, number)
        to = Value("", shape, x.element).type
        return self._line(
            f"stablehlo.pad {x.name}, {filler.name}, low = {zeros}, high = {high}, interior = {zeros} : "
            f"({x.type}, {filler.type}) -> {to}", shape, x.element,
        )

    # -- across elements ---------------------------------------------------------------------------------------------

    def dot(
        self, x: Value, y: Value, contract: tuple[Sequence[int], Sequence[int]],
        batch: tuple[Sequence[int], Sequence[int]] = ((), ()),
    ) -> Value:
        """``dot_general``."""
        free = [[d for d in range(len(v.shape)) if d not in (*c, *b)]
                for v, c, b in zip((x, y), contract, batch, strict=True)]
        shape = tuple([x.shape[d] for d in batch[0]] + [x.shape[d] for d in free[0]] + [y.shape[d] for d in free[1]])
        batching = f"batching_dims = {list(batch[0])} x {list(batch[1])}, " if batch[0] else ""
        to = Value("", shape, x.element).type
        return self._line(
            f"stablehlo.dot_general {x.name}, {y.name}, {batching}contracting_dims = {list(contract[0])} x "
            f"{list(contract[1])} : ({x.type}, {y.type}) -> {to}", shape, x.element,
        )

    def reduce(self, op: str, x: Value, dim: int, initial: float | str) -> Value:
        """Reduces one dimension with ``stablehlo.op``."""
        shape = (*x.shape[:dim], *x.shape[dim + 1 :])
        start = self.full((), x.element, initial)
        to = Value("", shape, x.element).type
        return self._line(
            f"stablehlo.reduce({x.name} init: {start.name}) applies stablehlo.{op} across dimensions = [{dim}] : "
            f"({x.type}, {start.type}) -> {to}", shape, x.element,
        )

    def any(self, x: Value, dim: int) -> Value:
        """Where anything along ``dim`` holds."""
        return self.reduce("or", x, dim, "false")

    def sum(self, x: Value, dim: int) -> Value:
        """The sum along ``dim``."""
        return self.reduce("add", x, dim, 0)

    def max(self, x: Value, dim: int) -> Value:
        """The maximum along ``dim`` of floating-point numbers."""
        return self.reduce("maximum", x, dim, "-inf")

    def top_k(self, x: Value, k: int) -> tuple[Value, Value]:
        """The ``k`` largest along the last dimension and where they are; of equal ones the first comes first."""
        shape = (*x.shape[:-1], k)
        first, second = self._fresh(shape, x.element), self._fresh(shape, "i32")
        self._lines.append(
            f"  {first.name}, {second.name} = chlo.top_k({x.name}, k = {k}) : {x.type} -> ({first.type}, {second.type})"
        )
        return first, second

    def take(self, x: Value, indices: Value) -> Value:
        """``x[indices[t, k], t]`` for ``x`` of [E, T, ...] and ``indices`` of [T, K]: [T, K, ...]."""
        rest = x.shape[2:]
        shape = (*indices.shape, *rest)
        offsets = list(range(2, 2 + len(rest)))
        sizes = ", ".join(map(str, (1, 1, *rest)))
        to = Value("", shape, x.element).type
        return self._line(
            f'"stablehlo.gather"({x.name}, {indices.name}) <{{dimension_numbers = #stablehlo.gather<offset_dims = '
            f"{offsets}, collapsed_slice_dims = [0], operand_batching_dims = [1], start_indices_batching_dims = [0], "
            f"start_index_map = [0], index_vector_dim = 2>, slice_sizes = array<i64: {sizes}>}}> : "
            f"({x.type}, {indices.type}) -> {to}", shape, x.element,
        )

    def look_up(self, table: Value, indices: Value) -> Value:
        """``table[indices]`` of a table with one dimension."""
        to = Value("", indices.shape, table.element).type
        return self._line(
            f'"stablehlo.gather"({table.name}, {indices.name}) <{{dimension_numbers = #stablehlo.gather<'
            f"collapsed_slice_dims = [0], start_index_map = [0], index_vector_dim = {len(indices.shape)}>, "
            f"slice_sizes = array<i64: 1>}}> : ({table.type}, {indices.type}) -> {to}", indices.shape, table.element,
        )

    def sorted_with(self, keys: Value, values: Value) -> Value:
        """``values`` in the stable order of ``keys``, both integers with one dimension."""
        a, b = self._fresh(keys.shape, keys.element), self._fresh(values.shape, values.element)
        scalar, other = f"tensor<{keys.element}>", f"tensor<{values.element}>"
        self._lines.append(
            f'  {a.name}, {b.name} = "stablehlo.sort"({keys.name}, {values.name}) <{{dimension = 0 : i64, is_stable = '
            f"true}}> ({{\n  ^bb0(%l: {scalar}, %r: {scalar}, %u: {other}, %v: {other}):\n"
            f"    %c = stablehlo.compare LT, %l, %r : ({scalar}, {scalar}) -> tensor<i1>\n"
            f"    stablehlo.return %c : tensor<i1>\n  }}) : ({keys.type}, {values.type}) -> ({a.type}, {b.type})"
        )
        return b

    # -- across devices ----------------------------------------------------------------------------------------------

    def partition_id(self) -> Value:
        """The number of this device, as i32."""
        return self.convert(self._line("stablehlo.partition_id : tensor<ui32>", (), "ui32"), "i32")

    def all_gather(self, x: Value, dim: int, groups: Groups) -> Value:
        """``x`` of all devices of a group, joined along ``dim``."""
        shape = (*x.shape[:dim], x.shape[dim] * len(groups[0]), *x.shape[dim + 1 :])
        to = Value("", shape, x.element).type
        return self._line(
            f'"stablehlo.all_gather"({x.name}) <{{all_gather_dim = {dim} : i64, {self._grouped(groups)}}}> : '
            f"({x.type}) -> {to}", shape, x.element,
        )

    def reduce_scatter(self, x: Value, dim: int, groups: Groups) -> Value:
        """This device's part along ``dim`` of the sum of ``x`` over a group."""
        shape = (*x.shape[:dim], x.shape[dim] // len(groups[0]), *x.shape[dim + 1 :])
        return self._summed("reduce_scatter", x, shape, f"scatter_dimension = {dim} : i64, {self._grouped(groups)}")

    def all_reduce(self, x: Value, groups: Groups) -> Value:
        """The sum of ``x`` over a group."""
        return self._summed("all_reduce", x, x.shape, self._grouped(groups))

    def _summed(self, op: str, x: Value, shape: Shape, attributes: str) -> Value:
        scalar, to = f"tensor<{x.element}>", Value("", shape, x.element).type
        return self._line(
            f'"stablehlo.{op}"({x.name}) <{{{attributes}}}> ({{\n  ^bb0(%l: {scalar}, %r: {scalar}):\n'
            f"    %s = stablehlo.add %l, %r : {scalar}\n    stablehlo.return %s : {scalar}\n  }}) : "
            f"({x.type}) -> {to}", shape, x.element,
        )

    def _grouped(self, groups: Groups) -> str:
        self._channels += 1
        rows = [list(group) for group in groups]
        return (
            f"replica_groups = dense<{rows}> : tensor<{len(rows)}x{len(rows[0])}xi64>, channel_handle = "
            f"#stablehlo.channel_handle<handle = {self._channels}, type = 1>, use_global_device_ids"
        )

    # -- calls -------------------------------------------------------------------------------------------------------

    def composite(
        self, name: str, operands: Sequence[Value], results: Sequence[tuple[Shape, str]], decomposition: str,
        attributes: str,
    ) -> list[Value]:
        """``stablehlo.composite "name"``; ``attributes`` is the text between the braces."""
        values = [self._fresh(tuple(shape), element) for shape, element in results]
        left = ", ".join(v.name for v in values)
        types = ", ".join(v.type for v in values)
        self._lines.append(
            f'  {left} = stablehlo.composite "{name}" {", ".join(v.name for v in operands)} {{composite_attributes = '
            f"{{{attributes}}}, decomposition = @{decomposition}}} : ({', '.join(v.type for v in operands)}) -> "
            + (f"({types})" if len(values) > 1 else types)
        )
        return values

    def _shaped(self, op: str, x: Value, shape: Shape, more: str = "") -> Value:
        to = Value("", shape, x.element).type
        return self._line(f"stablehlo.{op} {x.name}{more} : ({x.type}) -> {to}", shape, x.element)

    def _line(self, text: str, shape: Shape, element: str) -> Value:
        value = self._fresh(shape, element)
        self._lines.append(f"  {value.name} = {text}")
        return value

    def _fresh(self, shape: Shape, element: str) -> Value:
        self._count += 1
        return Value(f"%{self._count - 1}", shape, element)


# How MLIR spells what is no number, by the element type.
_SPECIAL: dict[float | str, dict[str, str]] = {
    "-inf": {"f64": "FFF0000000000000", "f32": "FF800000", "f16": "FC00", "bf16": "FF80"},
    "nan": {"f64": "7FF8000000000000", "f32": "7FC00000", "f16": "7E00", "bf16": "7FC0"},
}


def _literal(number: float | str, value: Value) -> str:
    if number in _SPECIAL:
        return f"0x{_SPECIAL[number][value.element]}"
    if isinstance(number, str):
        return number
    if value.element == "i1":
        return "true" if number else "false"
    if not value.is_float:
        return str(int(number))
    # MLIR wants a point in every number.
    mantissa, e, exponent = repr(float(number)).partition("e")
    return f"{mantissa}{'' if '.' in mantissa else '.0'}{e}{exponent}"
