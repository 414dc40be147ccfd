"""`moe-sparsify` on the modules of the corpus and the examples that have mixture-of-experts layers.

    python benchmarks/moe_corpus.py [--no-execution] [MODULE...]

For each module: the layers found, those made sparse, why others were left. Modules of real size are checked
structurally: the result verifies, its signature is the same, and each layer has its dispatch and combine. Others are
executed, as they are and in double precision, before and after; the distances are relative L2 of the furthest result.
It ends with 1 if a module differs by more than rounding, which in double precision is next to nothing.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from passes.execute.executor import signature  # noqa: E402
from passes.moe.chain import Layer  # noqa: E402
from passes.moe.composites import moe_composites, op_of  # noqa: E402
from passes.moe.sparsify import Sparsify, sparsify  # noqa: E402
from passes.pipeline import runner  # noqa: E402
from passes.pipeline.base import Counters  # noqa: E402
from passes.program.read import Program, parse, read  # noqa: E402
from tests.doubled import doubled  # noqa: E402
from tests.moe.rounding import IN_DOUBLE, furthest_result  # noqa: E402

CORPUS = ROOT.parent / "shared" / "corpus"
MODULES = (
    "kh_mixtral_4l_fwd", "kh_mixtral_4l_train", "kh_qwenmoe_4l_fwd", "kh_qwenmoe_4l_train", "hf_mixtral_4l_fwd",
    "hf_mixtral_4l_train", "hf_qwen3moe_4l_fwd", "hf_qwen3moe_4l_train", "hf_deepseekv3_4l_fwd",
    "big_hf_mixtral_8x7b_fwd", "big_hf_mixtral_8x7b_train", "big_hf_deepseekv3_671b_fwd",
    "big_hf_deepseekv3_671b_train", "big_jax_dsv3_scan_remat_train",
)
EXAMPLES = ("moe/forward", "moe/train_step")
# The furthest that a result may be from the dense module's as the module is written.
CLOSE = 5e-5


def main() -> int:
    """A line for each module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", default=[*EXAMPLES, *MODULES])
    parser.add_argument("--no-execution", action="store_true", help="check all modules structurally")
    args = parser.parse_args()
    wrong = 0
    for name in args.modules:
        path = ROOT / "examples" / f"{name}.mlir" if "/" in name else CORPUS / f"{name}.mlir"
        program, layers, counters = made_sparse(read(str(path)))
        text = f"{name}: {counted(layers, counters)}"
        if args.no_execution or name.startswith("big_"):
            problem = ill_formed(read(str(path)), program, layers)
            print(f"{text}; {problem or 'well-formed'}", flush=True)
            wrong += bool(problem)
            continue
        single = furthest_result(read(str(path)), program)
        text_in_double = doubled(path.read_text())
        double = furthest_result(parse(text_in_double, name), made_sparse(parse(text_in_double, name))[0])
        print(f"{text}; differs by {single:.1e}, in double precision by {double:.1e}", flush=True)
        wrong += not (single <= CLOSE and double <= IN_DOUBLE)
    return bool(wrong)


def made_sparse(program: Program) -> tuple[Program, list[Layer], Counters]:
    """The program with its layers made sparse, as ``shlo moe`` does it, and what was found."""
    counters = Counters(Sparsify.statistics)
    runner.run(program, "builtin.module(inline)")
    layers = sparsify(program.module.operation, counters)
    runner.run(program, "builtin.module(cse,dead-ops)")
    return program, layers, counters


def counted(layers: list[Layer], counters: Counters) -> str:
    """How many layers there are, how many were made sparse, and why others were not."""
    reasons = Counter(layer.reason for layer in layers if layer.reason)
    left = "".join(f"; {count} left: {reason}" for reason, count in reasons.items())
    made = sum(not layer.reason for layer in layers)
    return f"{len(layers)} layers, {made} made sparse ({counters['products']} products){left}"


def ill_formed(original: Program, program: Program, layers: list[Layer]) -> str:
    """What is wrong with a program that was made sparse, or nothing."""
    if not program.module.operation.verify():
        return "it does not verify"
    if signature(original, None) != signature(program, None):
        return "its signature has changed"
    ops = Counter(op_of(op).name for op in moe_composites(program.module.operation))
    made = sum(not layer.reason for layer in layers)
    if made and not ops["all_to_all_dispatch"] >= made <= ops["all_to_all_combine"]:
        return f"{made} layers have {dict(ops)}"
    return ""


if __name__ == "__main__":
    sys.exit(main())
