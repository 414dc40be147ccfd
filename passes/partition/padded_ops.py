"""What each op does with a dimension that was padded: elements beyond the true size are garbage.

A factor of an op's sharding rule that passes through computes element by element along it, so garbage stays in the
padding. Along a factor that is reduced, operands are masked with what changes nothing there: -0.0 in a sum, -inf in a
maximum, zeros on both sides of a dot. An op that is not listed, and a factor that neither passes nor is masked, get
their operands sliced back to the true size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from passes import _mlir
from passes.program.attributes import integers, set_integers
from passes.program.types import tensor_type
from passes.sharding.op_rule_table import DEFAULT_POLICY, MISSING, POLICIES, Support
from passes.sharding.op_rules import RULE
from passes.sharding.reducers import reducer
from passes.sharding.sharding_rule import Rule, decode, elementwise, factors_at

# Factor -> its padded size.
Sizes = Mapping[int, int]
# Builds an op: name, operands, result type, attributes -> its result.
Create = Callable[[str, list[Any], Any, dict[str, Any]], Any]
# Operand number -> the name of the identity its padding is masked with.
Masks = dict[int, str]


def _nothing(op: Any, rule: Rule, factor: int) -> Masks | None:
    return None if factor in rule.reduction | rule.need_replication | rule.permutation else {}


def _leave(op: Any, rule: Rule, sizes: Sizes, create: Create) -> None:
    """No attribute speaks of sizes."""


@dataclass(frozen=True)
class Treatment:
    """How an op takes padded dimensions.

    Attributes:
      masks: What to mask, in which operand, for one padded factor; ``None`` if the factor cannot be padded.
      adjust: Changes attributes and operands for padded sizes; runs once the operands have their sizes.
    """

    masks: Callable[[Any, Rule, int], Masks | None] = _nothing
    adjust: Callable[[Any, Rule, Sizes, Create], None] = _leave


# -- what can be padded ------------------------------------------------------------------------------------------------


def rule_of(op: Any) -> Rule | None:
    """The sharding rule of an op that is in the table; ``None`` if there is none, or only the user knows it."""
    if op.name not in TREATMENTS:
        return None
    if op.name in _RULELESS:
        return _RULELESS[op.name](op)
    if RULE in op.attributes:
        rule, is_users = decode(op.attributes[RULE])
        return None if is_users else POLICIES.get(op.name, DEFAULT_POLICY)(op, rule, Support())
    make = MISSING.get(op.name)
    return make(op) if make is not None else None


def paddable(op: Any, rule: Rule) -> dict[int, Masks]:
    """The factors of ``op`` that may be padded, each with what has to be masked."""
    found = {}
    for factor, size in enumerate(rule.sizes):
        if size > 1 and _is_alone(op, rule, factor):
            masks = TREATMENTS[op.name].masks(op, rule, factor)
            if masks is not None:
                found[factor] = masks
    return found


def _is_alone(op: Any, rule: Rule, factor: int) -> bool:
    """Whether every dimension with the factor has no other and the factor's size."""
    pairs = (*zip(op.operands, rule.operands, strict=True), *zip(op.results, rule.results, strict=True))
    return all(
        factors == (factor,) and value.type.shape[dim] == rule.sizes[factor]
        for value, mapping in pairs
        for dim, factors in enumerate(mapping)
        if factor in factors
    )


def _made(op: Any) -> Rule:
    shape = tuple(op.results[0].type.shape)
    return Rule(shape, (), (tuple((d,) for d in range(len(shape))),))


def _moved(op: Any) -> Rule:
    return elementwise(tuple(op.results[0].type.shape), 1, 1)


# -- identities --------------------------------------------------------------------------------------------------------

# What the region of a reduction does -> the identity of that.
_IDENTITIES = {
    "stablehlo.add": "nothing",
    "stablehlo.multiply": "one",
    "stablehlo.maximum": "lowest",
    "stablehlo.minimum": "highest",
    "stablehlo.and": "all ones",
    "stablehlo.or": "zero",
    "stablehlo.xor": "zero",
}
_INFINITY = {"f16": "0x7C00", "bf16": "0x7F80", "f32": "0x7F800000", "f64": "0x7FF0000000000000"}
_MINUS_INFINITY = {"f16": "0xFC00", "bf16": "0xFF80", "f32": "0xFF800000", "f64": "0xFFF0000000000000"}
_NAN = {"f16": "0x7E00", "bf16": "0x7FC0", "f32": "0x7FC00000", "f64": "0x7FF8000000000000"}


def splat(shape: tuple[int, ...], element: Any, name: str) -> Any:
    """The constant attribute of ``shape`` whose elements are the identity called ``name``; see `identity`."""
    return _dense(identity(element, name), tensor_type(shape, element))


def _dense(text: Any, type: Any) -> Any:
    return _mlir.ir.Attribute.parse(f"dense<{text}> : {type}", _mlir.context())


@cache
def identity(element: Any, name: str) -> str | None:
    """The text of an element, or of both parts of a complex one; ``None`` where the type has none.

    Args:
      name: ``zero``, ``one``, ``lowest``, ``highest``, ``all ones``, ``nothing`` (changes nothing if added), ``poison``
        (shows most if used).
    """
    if isinstance(element, _mlir.ir.IntegerType):
        return _integer(element, name)
    if isinstance(element, _mlir.ir.ComplexType):
        # 1 is no identity for infinite numbers, and there is no order.
        part = identity(_mlir.ir.ComplexType(element).element_type, name)
        return part if name in ("zero", "nothing", "poison") else None
    text = str(element)
    if "E8M0" in text:
        # These are powers of two.
        return "1.0" if name in ("one", "poison") else None
    return {
        "zero": "0.0",
        # These types have one zero, and take the negative one for NaN.
        "nothing": "0.0" if text.endswith("FNUZ") else "-0.0",
        "one": "1.0",
        "lowest": _MINUS_INFINITY.get(text),
        "highest": _INFINITY.get(text),
        "poison": _NAN.get(text, "1.0"),
    }.get(name)


def _integer(element: Any, name: str) -> str:
    bits = element.width
    if bits == 1:
        return {"zero": "false", "nothing": "false", "lowest": "false"}.get(name, "true")
    low, high = (0, 2**bits - 1) if element.is_unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    ones = high if element.is_unsigned else -1
    values = {"zero": 0, "nothing": 0, "one": 1, "lowest": low, "highest": high, "all ones": ones, "poison": high}
    return str(values[name])


def _element(value: Any) -> Any:
    return value.type.element_type


# -- ops that differ ---------------------------------------------------------------------------------------------------


def _quotient(op: Any, rule: Rule, factor: int) -> Masks | None:
    """divide, remainder: an integer divided by garbage may be divided by zero, which can trap."""
    return {1: "one"} if isinstance(_element(op.operands[1]), _mlir.ir.IntegerType) else {}


def _contraction(op: Any, rule: Rule, factor: int) -> Masks | None:
    """A product is -0.0 only if both sides are zero: NaN times zero is NaN."""
    if factor not in rule.reduction:
        return _nothing(op, rule, factor)
    return {0: "nothing", 1: "zero"} if identity(_element(op.operands[0]), "nothing") else None


def _convolution(op: Any, rule: Rule, factor: int) -> Masks | None:
    groups = [_mlir.ir.IntegerAttr(op.attributes[key]).value for key in ("feature_group_count", "batch_group_count")]
    numbers = _mlir.stablehlo.ConvDimensionNumbers(op.attributes["dimension_numbers"])
    batch = factors_at([numbers.input_batch_dimension], rule.operands[0])
    if max(groups) > 1 and (groups[1] > 1 or factor not in batch):
        return None
    return _contraction(op, rule, factor)


def _reduce(op: Any, rule: Rule, factor: int) -> Masks | None:
    if factor in factors_at(range(len(rule.results[0])), rule.results[0]):
        return _nothing(op, rule, factor)
    name = _IDENTITIES.get(str(reducer(op)))
    return {0: name} if name is not None and identity(_element(op.operands[0]), name) is not None else None


def _gather(op: Any, rule: Rule, factor: int) -> Masks | None:
    numbers = _mlir.stablehlo.GatherDimensionNumbers(op.attributes["dimension_numbers"])
    if factor in factors_at(numbers.collapsed_slice_dims, rule.operands[0]):
        return {}
    return _nothing(op, rule, factor)


def _gather_adjust(op: Any, rule: Rule, sizes: Sizes, create: Create) -> None:
    """Slices take a padded window whole; indices clamp to the true size of a padded dimension that is indexed."""
    slice_sizes = integers(op, "slice_sizes")
    numbers = _mlir.stablehlo.GatherDimensionNumbers(op.attributes["dimension_numbers"])
    true = [rule.sizes[factors[0]] if factors and factors[0] in sizes else size
            for factors, size in zip(rule.operands[0], op.operands[0].type.shape, strict=True)]
    if any(true[d] != op.operands[0].type.shape[d] for d in numbers.collapsed_slice_dims):
        bounds = [true[d] - slice_sizes[d] for d in numbers.start_index_map]
        op.operands[1] = _clamped(op.operands[1], bounds, numbers.index_vector_dim, create)
    for dim, factors in enumerate(rule.operands[0]):
        if slice_sizes[dim] > 1 and factors and factors[0] in sizes:
            slice_sizes[dim] = sizes[factors[0]]
    set_integers(op, "slice_sizes", slice_sizes)


def _clamped(indices: Any, bounds: list[int], dim: int, create: Create) -> Any:
    """``indices`` between zero and the bound of each component, which lie along ``dim``, or alone if it is the rank."""
    shape, element = tuple(indices.type.shape), _element(indices)
    highest = int(_integer(element, "highest"))
    type = tensor_type(shape, element)
    low = create("stablehlo.constant", [], type, {"value": splat(shape, element, "zero")})
    limits = [min(bound, highest) for bound in bounds]
    row = tensor_type((len(limits),) if dim < len(shape) else (), element)
    high = create("stablehlo.constant", [], row, {"value": _dense(limits if dim < len(shape) else limits[0], row)})
    dims = _mlir.ir.DenseI64ArrayAttr.get([dim] if dim < len(shape) else [], _mlir.context())
    high = create("stablehlo.broadcast_in_dim", [high], type, {"broadcast_dimensions": dims})
    return create("stablehlo.clamp", [low, indices, high], type, {})


def _scatter(op: Any, rule: Rule, factor: int) -> Masks | None:
    """An index of -1 is out of bounds, so its update is skipped; so is garbage that is written into padding."""
    numbers = _mlir.stablehlo.ScatterDimensionNumbers(op.attributes["scatter_dimension_numbers"])
    inputs = len(op.operands) // 2
    everywhere = [frozenset(f for dim in mapping for f in dim) for mapping in rule.operands]
    if factor in factors_at(numbers.inserted_window_dims, rule.operands[0]):
        return {}
    if factor in everywhere[0]:
        return _nothing(op, rule, factor)
    is_wide = _element(op.operands[inputs]).width >= 32
    return {inputs: "all ones"} if is_wide and factor in everywhere[inputs] & everywhere[inputs + 1] else None


def _scatter_adjust(op: Any, rule: Rule, sizes: Sizes, create: Create) -> None:
    """Masked indices are in no order, and several are equal."""
    if not any(_scatter(op, rule, factor) for factor in sizes):
        return
    for key in ("indices_are_sorted", "unique_indices"):
        op.attributes[key] = _mlir.ir.BoolAttr.get(False, _mlir.context())


def _limits(op: Any, rule: Rule, sizes: Sizes, create: Create) -> None:
    _resize_list(op, "limit_indices", rule, sizes)


def _slice_sizes(op: Any, rule: Rule, sizes: Sizes, create: Create) -> None:
    _resize_list(op, "slice_sizes", rule, sizes)


def _broadcast_sizes(op: Any, rule: Rule, sizes: Sizes, create: Create) -> None:
    _resize_list(op, "broadcast_sizes", rule, sizes)


def _resize_list(op: Any, key: str, rule: Rule, sizes: Sizes) -> None:
    """Gives the entries for padded dimensions of the result their padded size."""
    values = integers(op, key)
    for dim, factors in enumerate(rule.results[0][: len(values)]):
        if factors and factors[0] in sizes:
            values[dim] = sizes[factors[0]]
    set_integers(op, key, values)


def _constant(op: Any, rule: Rule, factor: int) -> Masks | None:
    value = _value(op)
    return {} if value is not None and value.is_splat else None


def _constant_adjust(op: Any, rule: Rule, sizes: Sizes, create: Create) -> None:
    value = _value(op)
    shape = [sizes.get(dim, size) for dim, size in enumerate(rule.sizes)]
    type = tensor_type(shape, _element(op.results[0]))
    op.attributes["value"] = _mlir.ir.DenseElementsAttr.get_splat(type, value.get_splat_value())


def _value(op: Any) -> Any:
    """The elements of a constant; ``None`` for complex numbers, which the bindings cannot hand out."""
    try:
        return _mlir.ir.DenseElementsAttr(op.attributes["value"])
    except (TypeError, ValueError):
        return None


_PLAIN = (
    "abs add and atan2 bitcast_convert cbrt ceil clamp compare complex convert cosine count_leading_zeros "
    "exponential exponential_minus_one floor imag is_finite log log_plus_one logistic maximum minimum multiply negate "
    "not or popcnt power real reduce_precision round_nearest_afz round_nearest_even rsqrt select shift_left "
    "shift_right_arithmetic shift_right_logical sign sine sqrt subtract tan tanh xor map "
    "batch_norm_inference broadcast_in_dim cholesky concatenate dynamic_update_slice fft iota pad reduce_window "
    "reshape reverse select_and_scatter sort transpose triangular_solve"
)

TREATMENTS: dict[str, Treatment] = {
    **{f"stablehlo.{name}": Treatment() for name in _PLAIN.split()},
    "stablehlo.broadcast": Treatment(adjust=_broadcast_sizes),
    "stablehlo.constant": Treatment(_constant, _constant_adjust),
    "stablehlo.convolution": Treatment(_convolution),
    "stablehlo.divide": Treatment(_quotient),
    "stablehlo.dot": Treatment(_contraction),
    "stablehlo.dot_general": Treatment(_contraction),
    "stablehlo.dynamic_slice": Treatment(adjust=_slice_sizes),
    "stablehlo.gather": Treatment(_gather, _gather_adjust),
    "stablehlo.reduce": Treatment(_reduce),
    "stablehlo.remainder": Treatment(_quotient),
    "stablehlo.scatter": Treatment(_scatter, _scatter_adjust),
    "stablehlo.slice": Treatment(adjust=_limits),
    "sdy.reshard": Treatment(),
    "sdy.sharding_constraint": Treatment(),
}

# Ops that Shardy gives no rule.
_RULELESS: dict[str, Callable[[Any], Rule]] = {
    "stablehlo.constant": _made,
    "stablehlo.iota": _made,
    "sdy.reshard": _moved,
    "sdy.sharding_constraint": _moved,
}
