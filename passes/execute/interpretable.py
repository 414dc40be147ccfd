"""Programs in what StableHLO's interpreter can run: other dialects become StableHLO, its defects are gone round.

An op that it cannot run ends its process, and names itself at best on stderr; such ops are refused before, by name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from passes import _mlir
from passes.errors import UserError
from passes.execute.moves import create
from passes.program import purity
from passes.program.entry import functions
from passes.program.read import Program
from passes.program.types import shape_of, tensor_type
from passes.program.walk import operations

# What other dialects say in StableHLO's ops, composites as calls of their decompositions, `dot` as `dot_general`.
_LEGALIZE = (
    "builtin.module(func.func(stablehlo-legalize-composite-to-call,chlo-legalize-to-stablehlo,"
    "stablehlo-legalize-deprecated-ops{fail-on-unused=false}),symbol-dce)"
)

# Ops that it leaves to passes which the bindings do not have.
_UNKNOWN = frozenset(f"stablehlo.{name}" for name in (
    "batch_norm_grad", "batch_norm_inference", "batch_norm_training", "broadcast", "cholesky", "create_token",
    "cross-replica-sum", "custom_call", "dynamic_conv", "einsum", "rng", "rng_bit_generator", "torch_index_select",
    "unary_einsum",
))
_DIALECTS = frozenset({"func", "stablehlo"})


def make_interpretable(program: Program) -> None:
    """Rewrites ``program`` so that the interpreter runs it.

    Raises:
      UserError: it has an op that the interpreter does not know.
    """
    _legalize(program.module)
    for op in operations(program.module):
        rewrite = _REWRITES.get(op.name)
        if rewrite is not None:
            rewrite(op)
    for op in (op for function in functions(program.module) for op in operations(function)):
        if op.name in _UNKNOWN or op.name.partition(".")[0] not in _DIALECTS:
            raise UserError(f"the interpreter cannot run {_title(op)}")


def _title(op: Any) -> str:
    if op.name != "stablehlo.custom_call":
        return str(op.name)
    return f"{op.name} @{_target(op)}"


def _legalize(module: Any) -> None:
    with _mlir.collect_diagnostics() as diagnostics:
        try:
            _mlir.passmanager.PassManager.parse(_LEGALIZE).run(module.operation)
        except _mlir.ir.MLIRError:
            reason = diagnostics[0].message if diagnostics else "it cannot be legalized to StableHLO"
            raise UserError(f"the interpreter cannot run the program: {reason}") from None


def _drop(op: Any) -> None:
    """An op that says something about its operand and changes nothing."""
    op.results[0].replace_all_uses_with(op.operands[0])
    op.erase()


def _drop_annotation(op: Any) -> None:
    if len(op.results) == 1 and _target(op) in purity.ANNOTATION_TARGETS and op.operands[0].type == op.results[0].type:
        _drop(op)


def _target(op: Any) -> str:
    return str(_mlir.ir.StringAttr(op.attributes["call_target_name"]).value)


def _scatter_into_copies(op: Any) -> None:
    """It writes updates into the very tensors it takes (jaxlib 0.10.2), which others may take too."""
    with _mlir.ir.InsertionPoint(op), op.location:
        for index in range((len(op.operands) - 1) // 2):
            value = op.operands[index]
            op.operands[index] = create("stablehlo.reshape", [value], value.type)


_WIDER = {"f32": "f64", "complex<f32>": "complex<f64>"}


def _transform_in_f64(op: Any) -> None:
    """A Fourier transform of f32 dies of constants of another type, an IRFFT of odd length is wrong (jaxlib 0.10.2)."""
    if "IRFFT" in str(op.attributes["fft_type"]) and shape_of(op.results[0])[-1] % 2:
        raise UserError("the interpreter cannot run stablehlo.fft of type IRFFT and odd length: its result is wrong")
    element = str(_mlir.ir.RankedTensorType(op.operands[0].type).element_type)
    if element not in _WIDER:
        return
    narrow = op.results[0].type
    with _mlir.ir.InsertionPoint(op), op.location:
        taken = _converted(op.operands[0], _WIDER[element])
        of_result = _WIDER[str(_mlir.ir.RankedTensorType(narrow).element_type)]
        attributes = {name: op.attributes[name] for name in ("fft_type", "fft_length")}
        wide = create("stablehlo.fft", [taken], tensor_type(shape_of(op.results[0]), of_result), **attributes)
        op.results[0].replace_all_uses_with(create("stablehlo.convert", [wide], narrow))
    op.erase()


def _converted(value: Any, element: str) -> Any:
    return create("stablehlo.convert", [value], tensor_type(shape_of(value), element))


_REWRITES: dict[str, Callable[[Any], None]] = {
    "sdy.reshard": _drop,
    "sdy.sharding_constraint": _drop,
    "stablehlo.custom_call": _drop_annotation,
    "stablehlo.scatter": _scatter_into_copies,
    "stablehlo.fft": _transform_in_f64,
}
