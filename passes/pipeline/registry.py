"""The passes of this package by name, loaded when first asked for.

A pass of ours hides a native pass of the same name; the native one stays reachable as ``native-NAME``. A program that
embeds this package may add entries; the worker process gets the table with each pipeline and imports what it names.
"""

from __future__ import annotations

from importlib import import_module

from passes.pipeline.base import Pass

# Pipeline name -> "module:class".
OWN_PASSES = {
    "cse": "passes.optimize.cse:Cse",
    "simplify": "passes.optimize.simplify:Simplify",
    "dead-ops": "passes.optimize.dead_ops:DeadOps",
    "optimize": "passes.optimize.optimize:Optimize",
    "function-signatures": "passes.optimize.function_signatures:FunctionSignatures",
    "inline": "passes.optimize.inline:Inline",
    "import-shardings": "passes.sharding.import_shardings:ImportShardings",
    "correct-sharding-rules": "passes.sharding.op_rules:CorrectShardingRules",
    "keep-propagation-edges": "passes.sharding.keep_edges:KeepEdges",
    "cancel-moves": "passes.partition.cancel_moves:CancelMoves",
    "combine-collectives": "passes.partition.combine_collectives:CombineCollectives",
    "pad-dimensions": "passes.partition.pad_dimensions:PadDimensions",
    "moe-import-ops": "passes.moe.import_ops:ImportOps",
    "moe-export-ops": "passes.moe.export_ops:ExportOps",
    "moe-expert-parallel": "passes.moe.expert_parallel:ExpertParallel",
    "moe-sparsify": "passes.moe.sparsify:Sparsify",
    "delay-reductions": "passes.partition.delay_reductions:DelayReductions",
    "hoist-gathers": "passes.partition.hoist_gathers:HoistGathers",
    "merge-collectives": "passes.partition.merge_collectives:MergeCollectives",
    "partitions-to-replicas": "passes.partition.partitions_to_replicas:PartitionsToReplicas",
}

NATIVE_PREFIX = "native-"


def own_pass(name: str) -> type[Pass] | None:
    """The pass class registered as ``name``, or ``None`` if no pass of ours has that name."""
    target = OWN_PASSES.get(name)
    if target is None:
        return None
    module, _, attribute = target.partition(":")
    found: type[Pass] = getattr(import_module(module), attribute)
    return found


def native_name(name: str) -> str:
    """The name the native registry knows a pass by: ``native-cse`` is MLIR's ``cse``."""
    shadowed = name.removeprefix(NATIVE_PREFIX)
    return shadowed if shadowed in OWN_PASSES else name
