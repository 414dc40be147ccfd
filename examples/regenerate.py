"""Rewrites the .mlir files of every example, or with --check says which of them their generators would change.

    python examples/regenerate.py             (needs the "examples" extra: jax and dm-haiku)
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent


def generate(folder: Path, output: Path) -> None:
    """Runs one generator in a process of its own: each is a script with its own module of the same name."""
    subprocess.run([sys.executable, str(folder / "generate.py"), "-o", str(output)], check=True)


def stale(folder: Path) -> list[Path]:
    """The shipped files that differ from what the generator writes now, or that it does not write at all."""
    with tempfile.TemporaryDirectory() as scratch:
        generate(folder, Path(scratch))
        fresh = {path.name: path.read_bytes() for path in Path(scratch).glob("*.mlir")}
    names = sorted(fresh.keys() | {path.name for path in folder.glob("*.mlir")})
    shipped = {path.name: path.read_bytes() for path in folder.glob("*.mlir")}
    return [folder / name for name in names if shipped.get(name) != fresh.get(name)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a shipped file is out of date")
    options = parser.parse_args()
    folders = sorted(path.parent for path in HERE.glob("*/generate.py"))
    if not options.check:
        for folder in folders:
            generate(folder, folder)
        return 0
    out_of_date = [path for folder in folders for path in stale(folder)]
    for path in out_of_date:
        print(f"{path}: out of date", file=sys.stderr)
    return 1 if out_of_date else 0


if __name__ == "__main__":
    sys.exit(main())
