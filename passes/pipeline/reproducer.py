"""Reproducer files: a module together with the pipeline that fails on it, in mlir-opt's own form.

    module { ... }
    {-#
      external_resources: {
        mlir_reproducer: {
          pipeline: "builtin.module(sdy-close-shardings)",
          disable_threading: true,
          verify_each: true
        }
      }
    #-}

``shlo-opt --run-reproducer FILE`` and mlir-opt (any build with the pass) both run it. The bindings give no access to
the block, so it is written and read as text.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from passes.errors import UserError, Where

_ENTRY = re.compile(r"\{-#.*?\bexternal_resources\s*:.*?\bmlir_reproducer\s*:\s*\{", re.DOTALL)
_PIPELINE = re.compile(r'\bpipeline\s*:\s*"(?P<text>(?:[^"\\]|\\.)*)"')
_VERIFY = re.compile(r"\bverify_each\s*:\s*(?P<value>true|false)")
_ESCAPES = {"n": "\n", "t": "\t", '"': '"', "\\": "\\"}


class Reproducer(NamedTuple):
    """What a reproducer file holds; ``module_text`` is the whole text, as MLIR's parser skips the block."""

    module_text: str
    pipeline: str
    verify_each: bool


def compose(module_text: str, pipeline: str, verify_each: bool = True) -> str:
    """The text of a reproducer file."""
    return (
        module_text.rstrip("\n")
        + "\n\n{-#\n  external_resources: {\n    mlir_reproducer: {\n"
        + f"      pipeline: {_quoted(pipeline)},\n"
        + f"      disable_threading: true,\n      verify_each: {'true' if verify_each else 'false'}\n"
        + "    }\n  }\n#-}\n"
    )


def write(path: str | None, text: str, stem: str) -> str:
    """Writes a reproducer to ``path``, or to a new file named after ``stem`` in the temporary folder; returns its path.

    Raises:
      UserError: the file cannot be written.
    """
    import tempfile  # Only for this.

    try:
        if path is not None:
            Path(path).write_text(text)
            return path
        name = re.sub(r"[^\w.-]+", "-", stem)[:60]
        with tempfile.NamedTemporaryFile(
            "w", prefix=f"shlo-{name}-", suffix=".mlir", delete=False, encoding="utf-8"
        ) as file:
            file.write(text)
            return file.name
    except OSError as error:
        raise UserError(f"cannot write the reproducer: {error.strerror or error}",
                        Where(path or tempfile.gettempdir())) from None


def read(source: str | Path, name: str | None = None) -> Reproducer:
    """The module text, pipeline and verification flag of a reproducer.

    Args:
      source: A path (``Path``, or a string of one line), or the file's text.
      name: What to call the text in errors.

    Raises:
      UserError: the file cannot be read, or holds no reproducer block with a pipeline.
    """
    if isinstance(source, Path) or "\n" not in source:
        name = name or str(source)
        try:
            text = Path(source).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            raise UserError(f"cannot read the reproducer: {reason}", Where(name)) from None
    else:
        text = source
    if (entry := _ENTRY.search(text)) and (pipeline := _PIPELINE.search(text, entry.end())):
        verify = _VERIFY.search(text, entry.end())
        return Reproducer(text, _unquoted(pipeline["text"]), verify is None or verify["value"] == "true")
    raise UserError(
        "this is no reproducer: there is no 'mlir_reproducer' entry with a pipeline in a '{-# ... #-}' block",
        Where(name or "-"),
    )


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t") + '"'


def _unquoted(text: str) -> str:
    def character(match: re.Match[str]) -> str:
        code = match[1]
        return _ESCAPES[code] if code in _ESCAPES else chr(int(code, 16))

    return re.sub(r'\\([nt"\\]|[0-9A-Fa-f]{2})', character, text)
