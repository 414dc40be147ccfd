"""Makes a lowered module a per-device program: no trace of ``sdy`` in it, and it says for how many devices it is."""

from __future__ import annotations

from typing import Any

from passes import _mlir
from passes.partition.manual import dissolve
from passes.program import entry
from passes.program.read import Program

# Natively, in a twentieth of the time that it takes to look at each op from here.
_DROP = "builtin.module(func.func(sdy-drop-sharding-rules),sdy-drop-sharding-and-mesh)"

# Of an argument: which result may take its memory.
_ALIAS = "tf.aliasing_output"


def finish(program: Program, function: Any, devices: int) -> list[str]:
    """Finishes ``program``, whose entry is ``function``, for this many ``devices``.

    Returns:
      The names of arguments whose donation was dropped because the result now has another type.

    Raises:
      UserError: the lowering made an invalid op.
    """
    module = program.module
    dissolve(module)
    # First, because the native pass takes time in proportion to the square of the number of arguments with shardings.
    unaliased = _strip_signature(function)
    manager = _mlir.passmanager.PassManager.parse(_DROP, _mlir.context())
    manager.enable_verifier(False)
    manager.run(module.operation)
    i32 = _mlir.ir.IntegerType.get_signless(32, _mlir.context())
    module.operation.attributes["mhlo.num_partitions"] = _mlir.ir.IntegerAttr.get(i32, devices)
    module.operation.attributes["mhlo.num_replicas"] = _mlir.ir.IntegerAttr.get(i32, 1)
    _verify(program)
    return unaliased


def _strip_signature(function: Any) -> list[str]:
    """Drops shardings from the signature, and donations whose argument and result no longer have one type."""
    ir, context = _mlir.ir, _mlir.context()
    types = entry.value_types(function)
    unaliased = []
    for key in types.keys() & set(function.attributes):
        stripped = []
        for index, given in enumerate(map(ir.DictAttr, ir.ArrayAttr(function.attributes[key]))):
            attributes = {a.name: a.attr for a in given if not a.name.startswith("sdy.")}
            alias = attributes.get(_ALIAS)
            if alias is not None and types["res_attrs"][ir.IntegerAttr(alias).value] != types[key][index]:
                del attributes[_ALIAS]
                unaliased.append(index)
            stripped.append(ir.DictAttr.get(attributes, context=context))
        function.attributes[key] = ir.ArrayAttr.get(stripped, context=context)
    names = [value.name for value in entry.arguments(function)] if unaliased else []
    return [names[index] for index in unaliased]


def _verify(program: Program) -> None:
    """Verifies the lowered module; what it finds is a defect of the lowering, told as an error with the op's place."""
    with _mlir.collect_diagnostics() as diagnostics:
        try:
            program.module.operation.verify()
        except _mlir.ir.MLIRError:
            first = next((d for d in diagnostics if d.severity == "error"), None)
            reason = first.message if first else "the module does not verify"
            raise program.error(f"the lowering made an invalid op ({reason}); please report this module") from None
