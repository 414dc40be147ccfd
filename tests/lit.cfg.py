# ruff: noqa: F821 (lit defines `config`)
"""lit's view of the ``.mlir`` tests: ``lit tests`` runs the RUN lines that pytest runs in process (see conftest.py)."""

import shlex
import sys
import tempfile
from pathlib import Path

import lit.formats

TESTS = Path(__file__).resolve().parent


def command(*words):
    return shlex.join([sys.executable, *words])


config.name = "stablehlo-passes"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir"]
config.excludes = ["inputs"]
config.test_source_root = str(TESTS)
config.test_exec_root = str(Path(tempfile.gettempdir()) / "stablehlo-passes-lit")
config.environment["PYTHONPATH"] = str(TESTS.parent)
# The commands run under the interpreter that runs lit; as whole words only, because paths may hold their names.
for name, words in {
    "shlo-opt": ("-m", "passes.cli.main", "opt"),
    "shlo": ("-m", "passes.cli.main"),
    "filecheck": ("-m", "filecheck"),
}.items():
    config.substitutions.append((rf"(?<![\w/.-]){name}(?![\w/.-])", command(*words).replace("\\", r"\\")))
