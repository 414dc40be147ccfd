"""Whether a program says how its values are to be sharded, in any spelling."""

from __future__ import annotations

from typing import Any

_MODULE_ATTRIBUTES = ("mhlo.frontend_attributes", "mhlo.spmd_parameters_shardings", "mhlo.spmd_output_sharding")
_WORDS = ("sdy.", "mhlo.sharding", "xla.sdy")


def is_annotated(module: Any) -> bool:
    """Whether the module declares a mesh, or shards an argument or result of a function.

    Front ends that shard values inside a function do one of these too.
    """
    if any(_mentions(module.attributes[key]) for key in _MODULE_ATTRIBUTES if key in module.attributes):
        return True
    for view in module.regions[0].blocks[0]:
        op = view.operation
        if op.name == "sdy.mesh":
            return True
        if op.name == "func.func" and _signature_is_annotated(op):
            return True
    return False


def _signature_is_annotated(function: Any) -> bool:
    attributes = function.attributes
    return any(_mentions(attributes[key]) for key in ("arg_attrs", "res_attrs") if key in attributes)


def _mentions(attribute: Any) -> bool:
    text = str(attribute)
    return any(word in text for word in _WORDS)
