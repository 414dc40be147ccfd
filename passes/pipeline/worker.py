"""The process that runs native passes which may die: ``python -m passes.pipeline.worker REQUESTS REPLIES``.

The two arguments are file descriptors. Each request is a pipeline with a module as bytecode; the replies to it are
diagnostics as they come and then the transformed module, or the error. The process ends when its parent does.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import traceback
from typing import Any

from passes import _mlir
from passes.errors import UserError
from passes.pipeline import registry, textual, wire
from passes.pipeline.execution import execute
from passes.pipeline.lifetime import die_with_parent
from passes.pipeline.options import RunOptions
from passes.program.write import to_bytecode, to_text

# Passes after which a constant may hold fewer bytes than it has elements (seen at gathers with i32 indices, jaxlib
# 0.10.2). Whoever reads one reads beyond its end and dies, so what they leave is printed once here, where that does no
# harm.
_LEAVE_BROKEN_CONSTANTS = ("sdy-convert-global-to-local",)


def main(requests: int, replies: int) -> None:
    """Serves requests until there are no more."""
    die_with_parent()
    # An interrupt ends the worker at once; the parent reports it.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _mlir.context()
    _reply(replies, {"event": "ready"})
    with contextlib.suppress(BrokenPipeError):
        while frame := wire.receive(requests):
            try:
                _serve(frame, replies)
            except UserError as error:
                _reply(replies, {"event": "error", "error": wire.encode_error(error)})
            except BrokenPipeError:
                raise
            except Exception:
                _reply(replies, {"event": "bug", "traceback": traceback.format_exc()})


def _serve(frame: wire.Frame, replies: int) -> None:
    request = frame.data
    context = _mlir.context()
    context.allow_unregistered_dialects = request["allow_unregistered"]
    registry.OWN_PASSES.update(request["own_passes"])
    module = _mlir.ir.Module.parse(frame.blob, context)

    def before(index: int) -> None:
        wire.send(replies, {"event": "pass", "index": index}, to_bytecode(module))

    def report(diagnostic: _mlir.Diagnostic) -> None:
        _reply(replies, {"event": "diagnostic", "diagnostic": wire.encode_diagnostic(diagnostic)})

    statistics = execute(
        module,
        textual.read(request["pipeline"]),
        _options(request["options"]),
        report=report,
        before=before if request["step_by_step"] else None,
    )
    result = to_bytecode(module)
    if any(name in request["pipeline"] for name in _LEAVE_BROKEN_CONSTANTS):
        to_text(_mlir.ir.Module.parse(result, context))
    _reply(replies, {"event": "done", "statistics": wire.encode_statistics(statistics)}, result)


def _reply(replies: int, data: dict[str, Any], blob: bytes = b"") -> None:
    # What was printed must be in the pipe before the parent learns that there is nothing more to come.
    sys.stderr.flush()
    sys.stdout.flush()
    wire.send(replies, data, blob)


def _options(data: dict[str, Any]) -> RunOptions:
    given: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}
    return RunOptions(**given)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
