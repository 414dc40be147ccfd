"""Writes a module as text, MLIR bytecode or StableHLO portable artifact; a file appears whole or not at all."""

from __future__ import annotations

import io
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from passes import _mlir
from passes.errors import UserError, Where


@dataclass(frozen=True)
class PrintOptions:
    """How a module is printed as text; the fields are mlir-opt's printing flags."""

    debuginfo: bool = False
    generic: bool = False
    local_scope: bool = False
    elide_larger_than: int | None = None


def to_text(module: Any, options: PrintOptions = PrintOptions()) -> str:
    """The module's text. ``module`` must be verified: printing then skips a second verification."""
    text: str = module.operation.get_asm(
        enable_debug_info=options.debuginfo,
        print_generic_op_form=options.generic,
        use_local_scope=options.local_scope,
        large_elements_limit=options.elide_larger_than,
        assume_verified=True,
    )
    return text if text.endswith("\n") else text + "\n"


def to_bytecode(module: Any) -> bytes:
    """The module as MLIR bytecode (the fastest form to parse again: 4 us an op against 14 for text)."""
    buffer = io.BytesIO()
    module.operation.write_bytecode(buffer)
    return buffer.getvalue()


def to_portable(module: Any, version: str | None = None) -> bytes:
    """The module as a StableHLO portable artifact for ``version`` (default: the current one).

    Ops of other dialects (sdy, chlo) are stored as they are. Read back, the program is the same but for attributes that
    spelled out their default, which are gone, and the type of collectives' channels, which the format has no place for
    (only send and receive mean anything by it).

    Raises:
      UserError: ``version`` is unknown, or does not have an op of the module.
    """
    stablehlo = _mlir.stablehlo
    with _mlir.collect_diagnostics() as diagnostics:
        try:
            # Serialization turns the module it is given into VHLO in place, so it gets a copy.
            copy = _mlir.ir.Module.parse(to_bytecode(module), _mlir.context())
            return bytes(stablehlo.serialize_portable_artifact(copy, version or stablehlo.get_current_version(), True))
        except (_mlir.ir.MLIRError, ValueError) as error:
            reason = diagnostics[0].message if diagnostics else str(error)
            newer = re.search(r"'vhlo\.(\w+)_v\d+'", reason)
            if newer:
                reason = f"StableHLO {version} has no 'stablehlo.{newer[1]}' in this form; choose a later version"
            raise UserError(f"cannot write a portable artifact: {reason}") from None


def write_output(path: str, data: str | bytes) -> None:
    """Writes ``data`` to ``path`` (``-`` is standard output), whole or not at all.

    Raises:
      UserError: the place cannot be written.
    """
    raw = data.encode() if isinstance(data, str) else data
    if path == "-":
        _write_stdout(raw)
        return
    target = Path(os.path.realpath(path))  # The file behind a link changes, not the link.
    # A device or pipe (/dev/null, /dev/stdout, a fifo) cannot be replaced by rename; it is written through.
    if target.exists() and not target.is_file():
        _write_through(target, raw)
        return
    import tempfile  # 4 ms that output on a pipe does not need.

    try:
        descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    except OSError as error:
        raise UserError(f"cannot write the file: {error.strerror or error}", Where(path)) from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(raw)
        os.chmod(temporary, _mode_for(target))
        os.replace(temporary, target)
    except OSError as error:
        raise UserError(f"cannot write the file: {error.strerror or error}", Where(path)) from None
    finally:
        Path(temporary).unlink(missing_ok=True)


def _write_stdout(raw: bytes) -> None:
    if sys.stdout is None:
        raise UserError("cannot write the result: standard output is closed", Where("<stdout>"))
    try:
        sys.stdout.buffer.write(raw)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UserError(f"cannot write the result: {error.strerror or error}", Where("<stdout>")) from None


def _write_through(target: Path, raw: bytes) -> None:
    try:
        target.write_bytes(raw)
    except OSError as error:
        raise UserError(f"cannot write the file: {error.strerror or error}", Where(str(target))) from None


def _mode_for(target: Path) -> int:
    if target.exists():
        return target.stat().st_mode & 0o777
    umask = os.umask(0)
    os.umask(umask)
    return 0o666 & ~umask
