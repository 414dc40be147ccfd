"""Whether a program says how its values are to be sharded, in any spelling."""

from __future__ import annotations

import re
from typing import Any

from passes import _mlir
from passes.program import purity

# The forms sharding comes in: Shardy's attributes, the same as text in frontend attributes, and XLA's older one.
_SHARDING = re.compile(r"#sdy\.|\bsdy\.sharding|\bmhlo\.sharding|\bmhlo\.spmd_|xla\.sdy\b")
_OLD_SHARDING = "mhlo.sharding"


def is_annotated(module: Any) -> bool:
    """Whether any mesh or sharding occurs in ``module``; the places where one is likely are looked at first.

    Meshes without axes, which JAX writes into programs that are not sharded, shard nothing.
    """
    top = [view.operation for view in module.regions[0].blocks[0]]
    meshes = [_mlir.sdy.MeshAttr(op.attributes["mesh"]) for op in top if op.name == "sdy.mesh"]
    if meshes:
        return any(len(mesh.axes) for mesh in meshes)
    if any(_SHARDING.search(text) for op in (module, *top) for text in _named(op)):
        return True
    found = False

    def look(op: Any) -> Any:
        nonlocal found
        found = _OLD_SHARDING in op.attributes or (op.name not in purity.PLAIN and _is_annotation(op.operation))
        return _mlir.ir.WalkResult.INTERRUPT if found else _mlir.ir.WalkResult.ADVANCE

    module.walk(look)
    return found


def _named(op: Any) -> list[str]:
    """The names of the attributes of ``op`` and, of a signature's or frontend's dictionaries, their text."""
    found = op.attributes
    texts = [str(found[key]) for key in ("arg_attrs", "res_attrs", "mhlo.frontend_attributes") if key in found]
    return [*found, *texts]


def _is_annotation(op: Any) -> bool:
    if op.name not in ("stablehlo.custom_call", "mhlo.custom_call"):
        return bool(op.name.startswith("sdy."))
    target = str(_mlir.ir.StringAttr(op.attributes["call_target_name"]).value)
    return target == "Sharding" or "xla.sdy." in target
