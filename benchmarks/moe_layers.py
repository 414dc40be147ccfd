"""Every model's mixture-of-experts layer at small size on every mesh, for 1, 13, 32 and 128 tokens, executed.

    python benchmarks/moe_layers.py [--engine ENGINE] [--seconds N] [--resume FILE.jsonl]

Each case compares with numpy's dense layer: the layer on one device, and the programs of all devices, on as many
virtual ones, with NaN wherever a kernel leaves something undefined. They run on StableHLO's interpreter, which compiles
nothing, or with --engine xla, which takes five times as long. Without --seconds all cases are run; with --resume those
that the file has are not run again. Prints a line for each case that differs, and a summary; ends with 1 if there are
any.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.moe.layer_programs import CLOSE  # noqa: E402
from tests.moe.mesh_cases import every_case, furthest  # noqa: E402


def main() -> int:
    """Runs what is left to run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=("interpreter", "xla"), default="interpreter")
    parser.add_argument("--seconds", type=float, help="start no case after this long")
    parser.add_argument("--resume", type=Path, help="a file of cases that were run, which grows")
    args = parser.parse_args()
    done = _records(args.resume)
    start = time.perf_counter()
    for case in every_case():
        if args.seconds is not None and time.perf_counter() - start > args.seconds:
            break
        if str(case) in done:
            continue
        done[str(case)] = found = furthest(case, args.engine)
        if args.resume is not None:
            with args.resume.open("a") as file:
                file.write(json.dumps({"case": str(case), "distance": found}) + "\n")
    cases = list(map(str, every_case()))
    # NaN is not below anything.
    wrong = [case for case in cases if case in done and not done[case] < CLOSE]
    for case in wrong:
        print(f"{case}: differs by {done[case]:.1e}")
    run = [case for case in cases if case in done]
    print(f"{len(run)} of {len(cases)} cases run, {len(run) - len(wrong)} right; furthest {max(done.values()):.1e}")
    for part in range(4):
        print("  " + ", ".join(f"{name}: {n}" for name, n in Counter(case.split("; ")[part] for case in run).items()))
    return bool(wrong)


def _records(path: Path | None) -> dict[str, float]:
    if path is None or not path.exists():
        return {}
    return {record["case"]: record["distance"] for record in map(json.loads, path.read_text().splitlines())}


if __name__ == "__main__":
    sys.exit(main())
