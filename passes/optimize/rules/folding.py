"""Constant folding: what IEEE 754 and StableHLO define to the bit, computed by numpy in the element type.

Constants with one value everywhere are folded at any size, others up to ``fold-limit`` elements. Left alone is what an
implementation may round its own way (exponentials, ...), what the specification leaves open (a float that does not fit
an integer, division of integers by zero), and results too small for a normal number, which some hardware flushes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from passes import _mlir
from passes.optimize import elements
from passes.optimize.elements import FLOATS, Tensor
from passes.optimize.rewriting import Rule, Site
from passes.optimize.rules.selection import direction_of

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

# Element types numpy and StableHLO agree on; the others fold as splats only if they are here.
_DTYPES = {
    "i1": "bool", "i8": "int8", "i16": "int16", "i32": "int32", "i64": "int64", "ui8": "uint8", "ui16": "uint16",
    "ui32": "uint32", "ui64": "uint64", "f16": "float16", "f32": "float32", "f64": "float64",
}


def dtype_of(element: str) -> Any | None:
    """The numpy type of an element type; ``None`` if constants of it are not folded."""
    import numpy as np

    if element == "bf16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(_DTYPES[element]) if element in _DTYPES else None


def _array(site: Site, value: Any) -> Array | None:
    """The elements of a constant: of shape () if all are the same."""
    import numpy as np

    attribute = site.constant(value)
    tensor = site.tensor_of(value)
    if attribute is None or tensor.shape is None:
        return None
    dtype = dtype_of(tensor.element)
    if dtype is None:
        return None
    number = elements.splat_of(attribute)
    if number is not None:
        return np.asarray(number).astype(dtype)
    if tensor.size > site.sweep.options["fold_limit"] or tensor.element not in _DTYPES:
        return None
    try:
        return np.array(attribute)
    except (TypeError, ValueError):
        return None


def _constant(site: Site, result: Array) -> Any | None:
    """The constant op of the result type with these elements (all the same for shape ())."""
    import numpy as np

    tensor = site.tensor
    if result.dtype != dtype_of(tensor.element):
        return None
    if tensor.element in FLOATS and not _is_plain(result, tensor):
        return None
    if result.ndim == 0 or (result.size and (result == result.flat[0]).all() and not _has_zero(result)):
        return site.fill(site.type, result.flat[0].item() if result.dtype.kind in "biuf" else float(result.flat[0]))
    if tensor.element not in _DTYPES or result.size > site.sweep.options["fold_limit"]:
        return None
    if tensor.kind == "bool":
        # Whole arrays of them come out all true.
        truths = [_mlir.ir.BoolAttr.get(bool(value), context=_mlir.context()) for value in result.flat]
        attribute = _mlir.ir.DenseElementsAttr.get(truths, tensor.type, context=_mlir.context())
    else:
        attribute = _mlir.ir.DenseElementsAttr.get(
            np.ascontiguousarray(result), type=tensor.type, context=_mlir.context())
    return site.create("constant", (), site.type, value=attribute)


def _has_zero(result: Array) -> bool:
    """Zeros compare equal whatever their signs, so an array of them need not be all the same."""
    return result.dtype.kind == "f" and bool((result == 0).any())


def _is_plain(result: Array, tensor: Tensor) -> bool:
    """Whether no element is below the normal numbers of its type."""
    import numpy as np

    least = 2.0 ** FLOATS[tensor.element][2]
    size = np.abs(result.astype(np.float64))
    return not bool(((size > 0) & (size < least)).any())


def _elementwise(compute: Callable[..., Array | None]) -> Callable[[Site], Any | None]:
    def apply(site: Site) -> Any | None:
        import numpy as np

        if any(site.maker(value, "constant") is None for value in site.operands):
            return None
        arrays = [_array(site, value) for value in site.operands]
        for array, value in zip(arrays, site.operands, strict=True):
            tensor = site.tensor_of(value)
            if array is None or tensor.shape != site.tensor.shape:
                return None
            if tensor.element in FLOATS and not _is_plain(array, tensor):
                return None
        with np.errstate(all="ignore"):
            result = compute(site, *arrays)
        return None if result is None else _constant(site, np.asarray(result))

    return apply


def _arithmetic(function: str) -> Callable[..., Array | None]:
    def compute(site: Site, *arrays: Array) -> Array | None:
        import numpy as np

        if arrays[0].dtype == bool:
            function_of_truth = {"add": np.logical_or, "multiply": np.logical_and}.get(function)
            return None if function_of_truth is None else function_of_truth(*arrays)
        return getattr(np, function)(*arrays)  # type: ignore[no-any-return]

    return compute


def _bits(function: str) -> Callable[..., Array | None]:
    def compute(site: Site, *arrays: Array) -> Array | None:
        import numpy as np

        return getattr(np, function)(*arrays)  # type: ignore[no-any-return]

    return compute


def _shift(function: str) -> Callable[..., Array | None]:
    """Shifts by less than the width; the specification has a word on others too, but numpy has not."""

    def compute(site: Site, x: Array, amount: Array) -> Array | None:
        import numpy as np

        width = site.tensor.width
        if bool(((amount < 0) | (amount >= width)).any()):
            return None
        if function == "shift_left":
            return np.asarray(np.left_shift(x, amount))
        bits = x.view(x.dtype.str.replace("i", "u"))
        return np.asarray(np.right_shift(bits, amount.astype(bits.dtype)).view(x.dtype))

    return compute


def _extreme(function: str) -> Callable[..., Array | None]:
    """Maximum and minimum; which of 0.0 and -0.0 is greater is left open."""

    def compute(site: Site, first: Array, second: Array) -> Array | None:
        import numpy as np

        if first.dtype.kind not in "biu" and bool(((first == 0) & (second == 0)).any()):
            return None
        return getattr(np, function)(first, second)  # type: ignore[no-any-return]

    return compute


def _divide(site: Site, first: Array, second: Array) -> Array | None:
    """Division of integers truncates; by zero, and of the least integer by -1, it is the implementation's business."""
    import numpy as np

    if first.dtype.kind not in "biu":
        return np.asarray(first / second)
    if not _divides(site, first, second):
        return None
    return np.asarray((first - _remainder_of(first, second)) // second)


def _remainder(site: Site, first: Array, second: Array) -> Array | None:
    """With the sign of the dividend; of integers only."""
    return _remainder_of(first, second) if _divides(site, first, second) else None


def _divides(site: Site, first: Array, second: Array) -> bool:
    if first.dtype.kind not in "iu" or bool((second == 0).any()):
        return False
    return first.dtype.kind == "u" or not bool(((first == elements.least(site.tensor)) & (second == -1)).any())


def _remainder_of(first: Array, second: Array) -> Array:
    import numpy as np

    return np.asarray(np.fmod(first, second))


def _sign(site: Site, x: Array) -> Array:
    """numpy's sign of -0.0 is 0.0, StableHLO's is -0.0."""
    import numpy as np

    return np.asarray(np.where(x == 0, x, np.sign(x)))


def _clamp(site: Site, low: Array, x: Array, high: Array) -> Array | None:
    """StableHLO's order of the two; bounds and values that are zeros of either sign are left alone."""
    bounded = _extreme("maximum")(site, x, low)
    return None if bounded is None else _extreme("minimum")(site, bounded, high)


def _same_bits(site: Site, x: Array) -> Array | None:
    """Between types of one width; numpy has none for some of them, and attributes do not tell one NaN from another."""
    dtype = dtype_of(site.tensor.element)
    if dtype is None or dtype.itemsize != x.dtype.itemsize:
        return None
    bits = x.view(dtype)
    return bits if bool(((x == x) & (bits == bits)).all()) else None


def _compare(site: Site, first: Array, second: Array) -> Array | None:
    import numpy as np

    total = "compare_type" in site.op.attributes and "TOTALORDER" in str(site.op.attributes["compare_type"])
    if total:
        return None
    functions = {"EQ": "equal", "NE": "not_equal", "LT": "less", "LE": "less_equal", "GT": "greater",
                 "GE": "greater_equal"}
    return getattr(np, functions[direction_of(site.op)])(first, second)  # type: ignore[no-any-return]


def _select(site: Site, p: Array, first: Array, second: Array) -> Array | None:
    import numpy as np

    return np.where(p, first, second)


def _convert(site: Site, x: Array) -> Array | None:
    import numpy as np

    source, target = site.tensor_of(site.operands[0]), site.tensor
    dtype = dtype_of(target.element)
    if dtype is None:
        return None
    if target.kind == "bool":
        return np.not_equal(x, 0)
    if source.kind == "float" and target.is_integral:
        low, high = elements.least(target), elements.greatest(target)
        # Above 2**53 a bound itself need not be a float, so what comes near is left alone.
        value = np.trunc(x.astype(np.float64))
        if not bool(((value >= low) & (value <= high) & (np.abs(value) < 2.0**53)).all()):
            return None
        return value.astype(np.int64).astype(dtype)
    if source.element in ("bf16", "f16") or target.element == "bf16":
        # ml_dtypes rounds integers through float32; those that fit float32 exactly are rounded once all the same.
        if source.is_integral and bool((np.abs(x.astype(np.float64)) > 2.0**24).any()):
            return None
        if source.element == "f64":
            return None
    return x.astype(dtype)


def _moved(move: Callable[[Site, Array], Array | None]) -> Callable[[Site], Any | None]:
    """Data movement of a constant; one with equal elements stays that whatever its shape."""

    def apply(site: Site) -> Any | None:
        x = site.operands[0]
        if site.maker(x, "constant") is None or site.tensor.shape is None:
            return None
        number = site.splat(x)
        if number is not None:
            return site.fill(site.type, number)
        if site.tensor.size > site.sweep.options["fold_limit"]:
            return None
        array = _array(site, x)
        if array is None:
            return None
        moved = move(site, array)
        return None if moved is None else _constant(site, moved)

    return apply


def _broadcast(site: Site, array: Array) -> Array:
    import numpy as np

    assert site.tensor.shape is not None
    shape = [1] * len(site.tensor.shape)
    for i, d in enumerate(site.integers("broadcast_dimensions")):
        shape[d] = array.shape[i]
    return np.broadcast_to(array.reshape(shape), site.tensor.shape)


def _slice(site: Site, array: Array) -> Array:
    starts, limits, strides = (site.integers(name) for name in ("start_indices", "limit_indices", "strides"))
    return array[tuple(slice(a, b, s) for a, b, s in zip(starts, limits, strides, strict=True))]


def _reverse(site: Site, array: Array) -> Array:
    import numpy as np

    return np.flip(array, tuple(site.integers("dimensions")))


def _concatenate(site: Site) -> Any | None:
    """Of constants: of one number everywhere, or of few elements."""
    import numpy as np

    numbers = [site.splat(x) for x in site.operands]
    if numbers[0] is not None and site.tensor.shape is not None:
        first = numbers[0]
        if all(n == first and elements.is_negative_zero(n) == elements.is_negative_zero(first)
               for n in numbers if n is not None) and None not in numbers:
            return site.fill(site.type, first)
    if not 0 < site.tensor.size <= site.sweep.options["fold_limit"]:
        return None
    arrays = []
    for x in site.operands:
        array = _array(site, x) if site.maker(x, "constant") is not None else None
        if array is None:
            return None
        arrays.append(np.broadcast_to(array, site.tensor_of(x).shape or ()))
    return _constant(site, np.concatenate(arrays, axis=site.op.attributes["dimension"].value))


def _iota(site: Site) -> Any | None:
    shape = site.tensor.shape
    if shape is None or shape[site.op.attributes["iota_dimension"].value] != 1 or site.tensor.kind == "other":
        return None
    return site.fill(site.type, 0)


_FOLDED: dict[str, Callable[..., Array | None]] = {
    **{name: _arithmetic(name) for name in ("add", "subtract", "multiply", "floor", "ceil", "sqrt")},
    "abs": _arithmetic("absolute"), "negate": _arithmetic("negative"),
    "and": _bits("bitwise_and"), "or": _bits("bitwise_or"), "xor": _bits("bitwise_xor"), "not": _bits("invert"),
    **{name: _shift(name) for name in ("shift_left", "shift_right_logical")},
    "maximum": _extreme("maximum"), "minimum": _extreme("minimum"),
    "divide": _divide, "remainder": _remainder, "sign": _sign, "clamp": _clamp, "bitcast_convert": _same_bits,
    "compare": _compare, "select": _select, "convert": _convert,
}

_EXACT = "IEEE 754 rounds the exact result; integers wrap around"
_MOVES = "every element is an element of the constant"

_CONSTANT = frozenset(("constant",))

RULES = (
    *(Rule(f"fold-{name}", (name,), f"{name} of constants", "a constant", _EXACT, _elementwise(compute), _CONSTANT)
      for name, compute in _FOLDED.items()),
    Rule("fold-broadcast", ("broadcast_in_dim",), "broadcast of a constant", "a constant", _MOVES, _moved(_broadcast),
         _CONSTANT),
    Rule("fold-reshape", ("reshape",), "reshape of a constant", "a constant", _MOVES,
         _moved(lambda site, array: array.reshape(site.tensor.shape or ())), _CONSTANT),
    Rule("fold-transpose", ("transpose",), "transpose of a constant", "a constant", _MOVES,
         _moved(lambda site, array: array.transpose(site.integers("permutation"))), _CONSTANT),
    Rule("fold-slice", ("slice",), "slice of a constant", "a constant", _MOVES, _moved(_slice), _CONSTANT),
    Rule("fold-reverse", ("reverse",), "reverse of a constant", "a constant", _MOVES, _moved(_reverse), _CONSTANT),
    Rule("fold-concatenate", ("concatenate",), "concatenate of constants", "a constant", _MOVES, _concatenate,
         _CONSTANT),
    Rule("fold-iota", ("iota",), "iota along a unit", "0", "it counts from zero", _iota),
)
