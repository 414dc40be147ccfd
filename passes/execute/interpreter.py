"""StableHLO's reference interpreter as an engine: slow, free of XLA, and what the specification says.

A per-device program runs with its devices unrolled (`passes.execute.unroll`): the interpreter's own parallel mode
needs a core for each device and aborts on fewer. Types that the bindings cannot hand over travel as others of the same
bits: bf16 as ui16, complex as two floats.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np

from passes import _mlir
from passes.errors import UserError
from passes.execute.arrays import TensorType, dtype_of, tensor_type
from passes.execute.interpretable import make_interpretable
from passes.execute.job import Job
from passes.execute.unroll import unroll
from passes.program.entry import functions, symbol_name
from passes.program.read import parse


def execute(job: Job) -> list[list[np.ndarray]]:
    """Runs ``job``; returns ``results[result][device]``.

    Raises:
      UserError: the interpreter has no partitioner, does not know an op, or fails.
    """
    if job.kind in ("shardy", "gspmd"):
        raise UserError("the interpreter has no partitioner; use --executor=xla to have XLA partition the program")
    # Inputs and results are attributes on their way, which no context ever frees.
    with _mlir.passing_context(), _mlir.context(), _mlir.ir.Location.unknown():
        program = parse(job.code)
        make_interpretable(program)
        module = program.module
        if job.kind == "per-device":
            module = _reparsed(unroll(module, job.devices))
        arrays = _evaluate(module, [shard for shards in job.inputs for shard in shards])
    width = job.devices if job.kind == "per-device" else 1
    return [arrays[i : i + width] for i in range(0, len(arrays), width)]


def _reparsed(operation: Any) -> Any:
    """A module operation as a module, verified."""
    buffer = io.BytesIO()
    operation.write_bytecode(buffer)
    return parse(buffer.getvalue()).module


@dataclass(frozen=True)
class _Carrier:
    """How a type that the bindings cannot hand over travels: as ``element``, by the op ``cast`` both ways."""

    element: str
    cast: str


_BITS_8 = _Carrier("ui8", "stablehlo.bitcast_convert")
_CARRIERS = {
    "bf16": _Carrier("ui16", "stablehlo.bitcast_convert"),
    **dict.fromkeys(
        (
            "f8E3M4", "f8E4M3", "f8E4M3FN", "f8E4M3FNUZ", "f8E4M3B11FNUZ", "f8E5M2", "f8E5M2FNUZ", "f8E8M0FNU",
        ), _BITS_8,
    ),
    "i2": _Carrier("i8", "stablehlo.convert"),
    "i4": _Carrier("i8", "stablehlo.convert"),
    "ui2": _Carrier("ui8", "stablehlo.convert"),
    "ui4": _Carrier("ui8", "stablehlo.convert"),
}
_PARTS = {"complex<f32>": "f32", "complex<f64>": "f64"}


class _Wrapper:
    """A ``main`` in types that can be handed over, around the program's entry, now called ``@entry``."""

    def __init__(self, inputs: list[TensorType], outputs: list[TensorType]) -> None:
        self.lines: list[str] = []
        self.arguments: list[TensorType] = []
        self.results: list[TensorType] = []
        passed = [self._receive(t) for t in inputs]
        call = f"func.call @entry({', '.join(passed)}) : {_signature(inputs, outputs)}"
        self.lines.append(f"%r:{len(outputs)} = {call}" if outputs else call)
        self.returned: list[str] = []
        for index, type in enumerate(outputs):
            self._send(f"%r#{index}", type, index)

    def _receive(self, type: TensorType) -> str:
        """The entry's next argument, made from one or two of ours."""
        name = f"%a{len(self.arguments)}"
        if type.element in _PARTS:
            part = TensorType(type.shape, _PARTS[type.element])
            parts = f"%a{len(self.arguments)}, %a{len(self.arguments) + 1}"
            self.arguments += [part, part]
            self.lines.append(f"{name}c = stablehlo.complex {parts} : {type}")
            return f"{name}c"
        carrier = _CARRIERS.get(type.element)
        if carrier is None:
            self.arguments.append(type)
            return name
        carried = TensorType(type.shape, carrier.element)
        self.arguments.append(carried)
        self.lines.append(f'{name}c = "{carrier.cast}"({name}) : ({carried}) -> {type}')
        return f"{name}c"

    def _send(self, value: str, type: TensorType, index: int) -> None:
        """Result ``index`` of the entry as one or two of ours."""
        if type.element in _PARTS:
            part = TensorType(type.shape, _PARTS[type.element])
            for op in ("real", "imag"):
                self._return(f"%{op}{index}", f'"stablehlo.{op}"({value}) : ({type}) -> {part}', part)
            return
        carrier = _CARRIERS.get(type.element)
        if carrier is None:
            self.returned.append(value)
            self.results.append(type)
            return
        carried = TensorType(type.shape, carrier.element)
        self._return(f"%o{index}", f'"{carrier.cast}"({value}) : ({type}) -> {carried}', carried)

    def _return(self, name: str, op: str, type: TensorType) -> None:
        self.lines.append(f"{name} = {op}")
        self.returned.append(name)
        self.results.append(type)

    def text(self) -> str:
        arguments = ", ".join(f"%a{i}: {t}" for i, t in enumerate(self.arguments))
        results = ", ".join(map(str, self.results))
        last = f"return {', '.join(self.returned)} : {results}" if self.results else "return"
        return f"func.func @main({arguments}) -> ({results}) {{\n" + "\n".join([*self.lines, last]) + "\n}\n"


def _signature(inputs: list[TensorType], outputs: list[TensorType]) -> str:
    return f"({', '.join(map(str, inputs))}) -> ({', '.join(map(str, outputs))})"


def _evaluate(module: Any, arrays: list[np.ndarray]) -> list[np.ndarray]:
    ir = _mlir.ir
    entry = next(f for f in functions(module) if symbol_name(f) == "main")
    type = ir.FunctionType(ir.TypeAttr(entry.attributes["function_type"]).value)
    inputs, outputs = ([_static(t) for t in part] for part in (type.inputs, type.results))
    wrapper = _Wrapper(inputs, outputs)
    ir.SymbolTable.set_symbol_name(entry, "entry")
    entry.attributes["sym_visibility"] = ir.StringAttr.get("private")
    declared = f"func.func private @entry{_signature(inputs, outputs)}\n"
    outer = ir.Module.parse(declared + wrapper.text())
    functions(outer)[0].erase()
    for op in module.body.operations:
        op.operation.clone(ir.InsertionPoint(outer.body))
    with _mlir.collect_diagnostics() as diagnostics:
        try:
            found = _mlir.stablehlo.eval_module(outer, _to_attributes(arrays, inputs, wrapper.arguments))
        except (ir.MLIRError, ValueError, RuntimeError) as error:
            reason = diagnostics[0].message if diagnostics else str(error)
            raise UserError(f"the interpreter cannot run the program: {' '.join(reason.split())}") from None
    return _from_attributes(found, outputs)


def _static(type: Any) -> TensorType:
    found = tensor_type(type)
    if found is None:
        raise UserError(f"cannot execute: {type} is no tensor of static shape")
    return found


def _to_attributes(arrays: list[np.ndarray], types: list[TensorType], carried: list[TensorType]) -> list[Any]:
    pieces: list[np.ndarray] = []
    for array, type in zip(arrays, types, strict=True):
        if type.element in _PARTS:
            pieces += [array.real, array.imag]
        elif type.element in _CARRIERS:
            pieces.append(_carry(array, _CARRIERS[type.element]))
        else:
            pieces.append(array)
    return [_attribute(piece, type) for piece, type in zip(pieces, carried, strict=True)]


def _carry(array: np.ndarray, carrier: _Carrier) -> np.ndarray:
    dtype = dtype_of(carrier.element)
    return array.astype(dtype) if carrier.cast == "stablehlo.convert" else np.ascontiguousarray(array).view(dtype)


def _attribute(array: np.ndarray, type: TensorType) -> Any:
    ir = _mlir.ir
    element = ir.Type.parse(type.element)
    contiguous = np.ascontiguousarray(array).reshape(array.shape)
    return ir.DenseElementsAttr.get(contiguous, type=element, shape=list(type.shape))


def _from_attributes(attributes: Any, types: list[TensorType]) -> list[np.ndarray]:
    pieces = iter([np.array(attribute) for attribute in attributes])
    arrays = []
    for type in types:
        first = next(pieces)
        if type.element in _PARTS:
            # Not first + 1j * second, whose real part is NaN where the second is infinite.
            array = np.empty(first.shape, type.dtype)
            array.real, array.imag = first, next(pieces)
        elif type.element in _CARRIERS:
            cast = _CARRIERS[type.element].cast
            array = first.astype(type.dtype) if cast == "stablehlo.convert" else first.view(type.dtype)
        else:
            array = first
        arrays.append(array.reshape(type.shape))
    return arrays
