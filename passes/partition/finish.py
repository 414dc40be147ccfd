"""Makes a lowered module a per-device program: no trace of ``sdy`` in it, and it says for how many devices it is."""

from __future__ import annotations

from typing import Any

from passes import _mlir
from passes.partition.manual import dissolve
from passes.program import entry
from passes.program.read import Program

# Natively, in a twentieth of the time that it takes to look at each op from here.
_DROP = "builtin.module(func.func(sdy-drop-sharding-rules),sdy-drop-sharding-and-mesh)"


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
    arguments, results = entry.arguments(function), entry.results(function)
    unaliased = []
    kept = []
    for value in arguments:
        attributes = {k: a for k, a in value.attributes.items() if not k.startswith("sdy.")}
        alias = attributes.get("tf.aliasing_output")
        if alias is not None and results[ir.IntegerAttr(alias).value].type != value.type:
            del attributes["tf.aliasing_output"]
            unaliased.append(value.name)
        kept.append(ir.DictAttr.get(attributes, context=context))
    if "arg_attrs" in function.attributes:
        function.attributes["arg_attrs"] = ir.ArrayAttr.get(kept, context=context)
    if "res_attrs" in function.attributes:
        stripped = [{k: a for k, a in r.attributes.items() if not k.startswith("sdy.")} for r in results]
        function.attributes["res_attrs"] = ir.ArrayAttr.get(
            [ir.DictAttr.get(d, context=context) for d in stripped], context=context
        )
    return unaliased


def _verify(program: Program) -> None:
    """Verifies the lowered module; what it finds is a defect of the lowering, told as an error with the op's place."""
    with _mlir.collect_diagnostics() as diagnostics:
        try:
            program.module.operation.verify()
        except _mlir.ir.MLIRError:
            first = next((d for d in diagnostics if d.severity == "error"), None)
            reason = first.message if first else "the module does not verify"
            raise program.error(f"the lowering made an invalid op ({reason}); please report this module") from None
