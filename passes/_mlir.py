"""The one door to the MLIR Python bindings.

No other module imports ``jaxlib``; they say ``from passes import _mlir`` and use ``_mlir.ir``, ``_mlir.stablehlo`` and
so on. Those names load the bindings on first use (PEP 562), so that ``--help`` and configuration errors stay fast and
a pass can be declared, listed and checked without any bindings at all.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from passes.errors import UserError, Where

# Attribute of this module -> module of the bindings that it stands for.
_EXPORTS = {
    "ir": "jaxlib.mlir.ir",
    "passmanager": "jaxlib.mlir.passmanager",
    "func": "jaxlib.mlir.dialects.func",
    "stablehlo": "jaxlib.mlir.dialects.stablehlo",
    "chlo": "jaxlib.mlir.dialects.chlo",
    "sdy": "jaxlib.mlir.dialects.sdy",
    "xla_client": "jaxlib.xla_client",
    "jaxlib_runtime": "jaxlib._jax",
    "lapack": "jaxlib.lapack",
    "lapack_kernels": "jaxlib.cpu._lapack",
}

if TYPE_CHECKING:
    ir: Any
    passmanager: Any
    func: Any
    stablehlo: Any
    chlo: Any
    sdy: Any
    xla_client: Any
    jaxlib_runtime: Any
    lapack: Any
    lapack_kernels: Any


_REQUIREMENT = "jaxlib>=0.10.1,!=0.11.2"


def __getattr__(name: str) -> Any:
    target = _EXPORTS.get(name)
    if target is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = import_module(target)
    except ImportError as error:
        raise UserError(
            f"the MLIR bindings are not usable here ({error}); install them with: pip install '{_REQUIREMENT}'"
        ) from None
    globals()[name] = module
    return module


def _extension(name: str) -> Any:
    """A native extension of the bindings; the dialect modules in Python on top of them cost 18 ms more to load."""
    return import_module(f"jaxlib.mlir._mlir_libs.{name}")


def _complete(dialect: str) -> None:
    """Has a dialect's Python module export all that its extension has.

    From jaxlib 0.11 on an extension loads the Python module on top of it while it is still adding its own classes, so
    that the module's ``import *`` misses those that come later.
    """
    module = sys.modules.get(f"jaxlib.mlir.dialects.{dialect}")
    if module is not None:
        public = {name: value for name, value in vars(_extension(f"_{dialect}")).items() if not name.startswith("_")}
        vars(module).update(public)


def rewriting() -> Any:
    """MLIR's rewriting by patterns, on which the wheels put no module in Python."""
    return _extension("_mlir").rewrite


# The last is the one in use.
_contexts: list[Any] = []


def context() -> Any:
    """The process's MLIR context with every dialect of the bindings and all native passes registered.

    One context serves the whole process, so attributes and types of different modules compare and hash equal.
    """
    if not _contexts:
        _contexts.append(_new_context())
    return _contexts[-1]


@contextmanager
def passing_context() -> Iterator[None]:
    """Has `context` return another one for a while: attributes, however large, live as long as their context."""
    _contexts.append(_new_context())
    try:
        yield
    finally:
        _contexts.pop()


def _new_context() -> Any:
    ir = __getattr__("ir")
    if not hasattr(ir, "NameLoc"):  # Shardy's passes that we plan with came in the same release.
        raise UserError(f"the installed jaxlib {jaxlib_version()} is too old; "
                        f"install a supported one with: pip install '{_REQUIREMENT}'")
    try:
        names = ("_jax_mlir_ext", "_stablehlo", "_chlo", "_sdy", "_mlirHlo", "_mosaic_gpu_ext")
        dialects, stablehlo, chlo, sdy, hlo, mosaic = map(_extension, names)
        for dialect in ("stablehlo", "chlo", "sdy"):
            _complete(dialect)
    except ImportError as error:
        raise UserError(
            f"the installed jaxlib {jaxlib_version()} has no StableHLO/Shardy bindings ({error}); "
            f"install a supported one with: pip install '{_REQUIREMENT}'"
        ) from None
    # Walking over ops would load the Python classes of their dialects (15 ms); nothing here needs more than ir.OpView.
    _extension("_mlir").globals.dialect_search_modules = []
    registry = ir.DialectRegistry()
    dialects.register_dialects(registry)
    ctx = ir.Context()
    ctx.append_dialect_registry(registry)
    ctx.load_all_available_dialects()
    stablehlo.register_dialect(ctx)
    stablehlo.register_interpreter_dialect(ctx)
    chlo.register_dialect(ctx)
    sdy.register_dialect(ctx)
    hlo.register_mhlo_dialect(ctx)
    stablehlo.register_stablehlo_passes()
    hlo.register_mhlo_passes()
    # Without these, `inline` skips func.call silently and a Shardy canonicalization fails.
    mosaic.register_inliner_extensions(ctx)
    ctx.emit_error_diagnostics = True
    return ctx


@dataclass(frozen=True)
class Diagnostic:
    """What MLIR said: ``severity`` is ``error``, ``warning``, ``remark`` or ``note``."""

    severity: str
    where: Where | None
    message: str
    notes: tuple[Diagnostic, ...] = ()


@contextmanager
def collect_diagnostics() -> Iterator[list[Diagnostic]]:
    """Collects the diagnostics MLIR emits in the body instead of letting them reach the C++ stderr."""
    found: list[Diagnostic] = []

    def convert(diagnostic: Any) -> Diagnostic:
        return Diagnostic(
            severity=str(diagnostic.severity).rsplit(".", 1)[-1].lower(),
            where=where_of(_classed(diagnostic.location)),
            message=diagnostic.message,
            notes=tuple(convert(note) for note in diagnostic.notes),
        )

    def handle(diagnostic: Any) -> bool:
        try:
            found.append(convert(diagnostic))
        except (RuntimeError, UnicodeDecodeError):
            # Names in damaged bytecode need not be text.
            found.append(Diagnostic("error", None, "a name in it is not UTF-8"))
        for record in _records:
            record.append(found[-1])
        return True

    handler = context().attach_diagnostic_handler(handle)
    try:
        yield found
    finally:
        handler.detach()


# The lists `record_diagnostics` fills.
_records: list[list[Diagnostic]] = []


@contextmanager
def record_diagnostics() -> Iterator[list[Diagnostic]]:
    """Lists every diagnostic MLIR emits in the body, also those that a `collect_diagnostics` inside it collects."""
    record: list[Diagnostic] = []
    _records.append(record)
    try:
        with collect_diagnostics():
            yield record
    finally:
        _records.remove(record)


def recording() -> bool:
    """Whether diagnostics are listed by a `record_diagnostics`, which then decides what becomes of them."""
    return bool(_records)


def record(diagnostic: Diagnostic) -> None:
    """Adds a diagnostic from another process to what `record_diagnostics` lists."""
    for found in _records:
        found.append(diagnostic)


def _loaded_ir() -> Any:
    """``ir``; importing it again takes longer than looking at a location does."""
    return globals().get("ir") or __getattr__("ir")


def _classed(location: Any) -> Any:
    """A diagnostic's location in the class of its kind, which jaxlib 0.10.1 gives to those of ops alone."""
    return _loaded_ir().Location.from_attr(location.attr, location.context)


def where_of(location: Any) -> Where | None:
    """The file position inside an MLIR location (through names, calls and fusions), or ``None`` if it has none."""
    ir = _loaded_ir()
    if isinstance(location, ir.FileLineColLoc):
        return Where(location.filename.value if hasattr(location.filename, "value") else str(location.filename),
                     location.start_line, location.start_col)
    if isinstance(location, ir.NameLoc):
        return where_of(location.child_loc)
    if isinstance(location, ir.CallSiteLoc):
        return where_of(location.callee)
    if isinstance(location, ir.FusedLoc):
        return next((found for part in location.locations if (found := where_of(part))), None)
    return None


def name_of(location: Any) -> str:
    """The name an MLIR location carries, as ``jit(f)/attention/dot_general``, the outermost one; empty without any."""
    ir = _loaded_ir()
    if isinstance(location, ir.NameLoc):
        return str(location.name_str)
    if isinstance(location, ir.CallSiteLoc):
        return name_of(location.callee)
    if isinstance(location, ir.FusedLoc):
        return next((found for part in location.locations if (found := name_of(part))), "")
    return ""


@functools.cache
def native_pass_anchor(name: str) -> str | None:
    """The op a native pass or pipeline must be nested under (``builtin.module`` or ``func.func``), or ``None``.

    Probed once per name with both anchors, because anchors move between jaxlib releases; ``None`` means that the
    installed bindings do not have the pass.
    """
    for anchor, text in (("builtin.module", name), ("func.func", f"func.func({name})")):
        try:
            __getattr__("passmanager").PassManager.parse(f"builtin.module({text})", context())
        except ValueError:
            continue
        return anchor
    return None


def jaxlib_version() -> str:
    """The version of the installed jaxlib, without importing it."""
    from importlib import metadata  # 10 ms that only --version and error messages need.

    try:
        return metadata.version("jaxlib")
    except metadata.PackageNotFoundError:
        return "not installed"


def stablehlo_version() -> str:
    """The StableHLO version of the installed bindings, e.g. ``1.14.0``."""
    return str(__getattr__("stablehlo").get_current_version())
