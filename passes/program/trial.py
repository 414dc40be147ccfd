"""Reads a binary module in a process of its own first: damaged bytecode can end, hang or corrupt the one that reads it.

Measured on jaxlib 0.10.2: of 400 bytecode files with up to three bytes changed, two ended the reader by a signal; one
portable artifact in ten thousand damaged ones was read, and left a heap that ended the process later. Text never did.
``python -m passes.program.trial`` is the process; what it makes of the bytes is all that others read.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from passes.errors import UserError, Where

if TYPE_CHECKING:
    from passes.program.read import Program

# Parsing takes 4 us an op, so a module that takes longer than this is none.
_SECONDS_PER_MEGABYTE = 2
_SECONDS = 30
# The process's exit code when it says why there is no module.
_REFUSED = 3


def rewritten(data: bytes, source: str) -> bytes:
    """The module in ``data`` as MLIR bytecode that another process wrote, and read again, after it read ``data``.

    Raises:
      UserError: ``data`` is damaged; reading it gives an error, ends a process, or never ends.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-m", "passes.program.trial"],
            input=data,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_SECONDS + _SECONDS_PER_MEGABYTE * len(data) / 1e6,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UserError("damaged MLIR bytecode: reading it does not come to an end", Where(source)) from None
    if done.returncode == _REFUSED:
        raise UserError(done.stdout.decode(errors="replace"), Where(source))
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        raise UserError(f"damaged MLIR bytecode: reading it ended the process by {name}", Where(source))
    if done.returncode:
        raise UserError("damaged MLIR bytecode: reading it ended the process", Where(source))
    return done.stdout


def main() -> int:
    """Reads a module from standard input, looks at what it says, and writes it to standard output."""
    from passes.program.read import parse
    from passes.program.write import to_bytecode

    try:
        program = parse(sys.stdin.buffer.read(), allow_unregistered=True)
    except UserError as error:
        return _refuse(error.message)
    _look(program)
    data = to_bytecode(program.module)
    try:
        parse(data, allow_unregistered=True)
    except UserError:
        return _refuse("damaged MLIR bytecode: what it holds cannot be written and read again")
    sys.stdout.buffer.write(data)
    return 0


def _refuse(message: str) -> int:
    sys.stdout.buffer.write(message.encode(errors="replace"))
    return _REFUSED


def _look(program: Program) -> None:
    """Asks for the names of places and for text: the bindings end the process where that is no UTF-8."""
    from passes import _mlir
    from passes.program.walk import operations

    for op in operations(program.module):
        _mlir.name_of(op.location)
        _mlir.where_of(op.location)
        for key in op.attributes:
            _look_at(op.attributes[key], _mlir.ir)


def _look_at(attr: Any, ir: Any) -> None:
    if isinstance(attr, ir.StringAttr):
        str(attr.value)
    elif isinstance(attr, ir.ArrayAttr):
        for item in attr:
            _look_at(item, ir)
    elif isinstance(attr, ir.DictAttr):
        for named in attr:
            str(named.name)
            _look_at(named.attr, ir)


if __name__ == "__main__":
    sys.exit(main())
