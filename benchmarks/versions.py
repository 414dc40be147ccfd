"""Which versions of Python and jaxlib the project runs on: a virtual environment for each pair, a smoke set, the demo.

    python benchmarks/versions.py [PYTHON:JAXLIB ...] [--in DIR] [--seconds N] [--page]

Without pairs, every interpreter found here (on PATH and under ~/.pyenv) meets the oldest and the newest release of each
jaxlib minor version that pip offers it. A cell runs the smoke set (the RUN lines of every stage, and the executors on
virtual devices) and ``make demo``. What it finds goes into docs/versions.json, cell by cell, and from there into
docs/versions.md; ``--page`` only writes the page. Environments stay in DIR, so a second run only tests.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "docs" / "versions.json"
PAGE = ROOT / "docs" / "versions.md"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
MINORS = ("0.10", "0.11", "0.12")
TOOLS = ("pytest>=8", "hypothesis>=6.100", "filecheck>=1.0", "rich>=13", "scipy>=1.11")
# Every stage on its RUN lines, native passes in this process and in the worker, and generated programs optimized,
# propagated, partitioned and executed; XLA executes the demo.
SMOKE = ("tests/*/*.mlir", "tests/program/test_read.py", "tests/pipeline/test_runner.py")
GENERATED = ("test_optimize_seeds", "test_partition_seeds")
Cell = dict[str, Any]


def interpreters() -> dict[str, Path]:
    """Minor version of Python -> an interpreter of that version on this machine."""
    found = {}
    for version in PYTHONS:
        pyenv = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python"))
        on_path = shutil.which(f"python{version}", path=os.pathsep.join(["/usr/bin", "/usr/local/bin"]))
        if pyenv or on_path:
            found[version] = pyenv[-1] if pyenv else Path(str(on_path))
    return found


def offered(python: Path) -> list[str]:
    """The jaxlib releases of the minor versions we look at that pip has for an interpreter, oldest first."""
    command = [python, "-m", "pip", "index", "versions", "jaxlib", "--disable-pip-version-check"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    versions = re.search(r"Available versions: (.*)", said)
    if versions is None:
        raise SystemExit(f"error: pip of {python} answers without a list of versions:\n{said}")
    return [v for v in reversed(versions[1].split(", ")) if v.startswith(tuple(f"{minor}." for minor in MINORS))]


def wanted() -> list[tuple[str, str]]:
    """The oldest and the newest release of each minor version of jaxlib, for every interpreter."""
    cells = []
    for version, python in interpreters().items():
        releases = offered(python)
        for minor in MINORS:
            of_minor = [release for release in releases if release.startswith(f"{minor}.")]
            cells += [(version, release) for release in dict.fromkeys(of_minor[:1] + of_minor[-1:])]
    return cells


def environment(folder: Path, python: Path, jaxlib: str) -> Path:
    """Makes a virtual environment with this jaxlib and this project in it, or takes the one that is there."""
    mark = folder / "installed"
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if not mark.is_file():
        subprocess.run([python, "-m", "venv", folder], check=True)
        subprocess.run([*pip, f"jaxlib=={jaxlib}", *TOOLS], check=True)
    if not mark.is_file() or mark.read_text() != str(ROOT):
        # Without dependencies: a release that pyproject.toml excludes is to be looked at as well.
        subprocess.run([*pip, "--no-deps", "--editable", ROOT], check=True)
    # Newer than pyproject.toml, or make would install again.
    mark.write_text(str(ROOT))
    return folder


def smoke_tests() -> list[str]:
    files = [str(path) for pattern in SMOKE for path in sorted(ROOT.glob(pattern))]
    return files + [f"{ROOT}/tests/generate/test_properties.py::{name}" for name in GENERATED]


def measure(version: str, jaxlib: str, folder: Path, seconds: float) -> Cell:
    """Runs the smoke set and the demo in a cell."""
    home = environment(folder / f"python{version}-jaxlib{jaxlib}", interpreters()[version], jaxlib)
    python = home / "bin" / "python"
    full = subprocess.run([python, "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    probe = "from passes import _mlir; _mlir.context(); print(_mlir.stablehlo_version())"
    said = _run([python, "-c", probe], 120)
    about = {"python": full, "jaxlib": jaxlib, "stablehlo": _last(said, r"^\d[\d.]*$") or "-",
             "date": f"{datetime.now(UTC):%Y-%m-%d}"}
    if about["stablehlo"] == "-":
        return {**about, "smoke": f"refused: {_told(said).partition('UserError: ')[2]}", "failed": [], "demo": "-"}
    start = time.monotonic()
    smoke = _run([python, "-m", "pytest", *smoke_tests(), "-rfE", "--tb=no"], seconds)
    took = round(time.monotonic() - start)
    demo = _run(["make", "demo", f"VENV={home}", f"OUT={home / 'demo'}"], seconds)
    return {
        **about,
        "smoke": _last(smoke, r"\d+ (?:passed|failed|error).*") or _told(smoke),
        "failed": sorted(set(re.findall(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", smoke, re.MULTILINE))),
        "seconds": took,
        "demo": _proof(demo) or _told(demo),
    }


def _run(command: list[str | Path], seconds: float) -> str:
    """What a command printed; a last line says if it was given up."""
    try:
        done = subprocess.run(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return f"given up after {seconds:.0f} s"
    return done.stdout


def _last(text: str, pattern: str) -> str:
    """The last match of ``pattern`` in ``text``, without pytest's time."""
    found = re.findall(pattern, text, re.MULTILINE)
    return re.sub(r" in [\d.:ms() ]+$", "", found[-1]) if found else ""


def _proof(text: str) -> str:
    """What the demo says of the per-device program, which it verifies last; of the optimized one it says as much."""
    found = re.findall(r"executed on \d+ virtual devices.*?(\d+ of \d+ results equal)", text)
    return found[-1] if found else ""


def _told(text: str) -> str:
    """The last line of an output that has not what was looked for."""
    lines = text.strip().splitlines()
    return next((line for line in reversed(lines) if "error" in line.lower()), lines[-1] if lines else "no output")


def page(cells: list[Cell]) -> str:
    """docs/versions.md."""
    pythons = ", ".join(sorted({".".join(cell["python"].split(".")[:2]) for cell in cells}))
    columns = ("python", "jaxlib", "stablehlo", "smoke", "demo", "date")
    rows = [f"| {' | '.join(cell[column] for column in columns)} |" for cell in cells]
    failed = [f"- Python {c['python']}, jaxlib {c['jaxlib']}: {', '.join(f'`{name}`' for name in c['failed'])}"
              for c in cells if c["failed"]]
    return "\n".join([
        "<!-- Written by benchmarks/versions.py; run that instead. -->",
        "# Versions",
        "",
        "Each line is a virtual environment in which the smoke set ran (the RUN lines of every stage, native passes in",
        "this process and in the worker, and 24 generated programs that are optimized or partitioned and must compute",
        "the same bits), and the decoder of `make demo` was optimized, sharded, partitioned and proved on XLA's CPU",
        "backend. `python benchmarks/versions.py` makes the environments and this page;",
        "`python benchmarks/versions.py 3.12:0.11.1` one line of it.",
        "",
        "| Python | jaxlib | StableHLO | smoke set | demo | date |",
        "|---|---|---|---|---|---|",
        *rows,
        "",
        f"Interpreters at hand were Python {pythons}; jaxlib has wheels for Python 3.14 too, and no release for",
        "Python 3.11 after 0.10.2.",
        *(["", "Failed:", "", *failed] if failed else []),
        "",
    ])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cells", nargs="*", metavar="PYTHON:JAXLIB", help="such as 3.12:0.11.1 (default: all)")
    parser.add_argument("--in", dest="folder", type=Path, default=Path("/tmp/shlo-versions"), metavar="DIR",
                        help="where the environments are made (default: /tmp/shlo-versions)")
    parser.add_argument("--seconds", type=float, default=900, metavar="N", help="limit of each command (default: 900)")
    parser.add_argument("--page", action="store_true", help="only write docs/versions.md from docs/versions.json")
    args = parser.parse_args()
    cells = json.loads(RESULTS.read_text()) if RESULTS.is_file() else []
    pairs = [] if args.page else [tuple(cell.split(":", 1)) for cell in args.cells] or wanted()
    for version, jaxlib in pairs:
        cell = measure(version, jaxlib, args.folder, args.seconds)
        print(f"Python {cell['python']}, jaxlib {jaxlib}: {cell['smoke']}; demo: {cell['demo']}", flush=True)
        cells = [c for c in cells if (c["python"], c["jaxlib"]) != (cell["python"], jaxlib)] + [cell]
        cells.sort(key=lambda c: [[int(n) for n in c[key].split(".")] for key in ("python", "jaxlib")])
        RESULTS.write_text(json.dumps(cells, indent=1) + "\n")
    PAGE.write_text(page(cells))
    return 0


if __name__ == "__main__":
    sys.exit(main())
