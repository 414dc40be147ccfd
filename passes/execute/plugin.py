"""Any PJRT plugin as an engine, so that a check that ran on virtual devices runs on real ones too.

The library is loaded only when it is asked for, by path, or by a name that the environment variable
``PJRT_NAMES_AND_LIBRARY_PATHS`` (``name:path,name:path``, as jax reads it) gives a path for. XLA's optimizations stay
on: an accelerator's compiler is part of what is checked, so results are close to the CPU's and seldom bit-equal.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

import numpy as np

from passes import _mlir
from passes.errors import UserError, Where
from passes.execute import pjrt
from passes.execute.job import Job

_VARIABLE = "PJRT_NAMES_AND_LIBRARY_PATHS"


def execute(job: Job, platform: str) -> list[list[np.ndarray]]:
    """Runs ``job`` on the devices of ``platform``, a library's path or a name in the environment variable.

    Raises:
      UserError: there is no such library, it is no PJRT plugin, finds no device, or refuses the program.
    """
    return pjrt.run(client(platform), job)


def library(platform: str) -> Path:
    """The library's path for a path or name.

    Raises:
      UserError: the name is not known, or there is no file.
    """
    listed = [entry.partition(":") for entry in os.environ.get(_VARIABLE, "").split(",") if entry]
    known = {name: path for name, _, path in listed}
    path = Path(known.get(platform, platform))
    if not path.is_file():
        names = f"; {_VARIABLE} names {', '.join(known)}" if known else f" and {_VARIABLE} is not set"
        raise UserError(f"no PJRT plugin '{platform}': there is no such file{names}")
    return path


@functools.cache
def client(platform: str) -> Any:
    """The plugin's client, with its devices."""
    path = library(platform)
    xla, name = _mlir.xla_client, path.stem
    try:
        if not xla.pjrt_plugin_loaded(name):
            xla.load_pjrt_plugin_dynamically(name, str(path))
        if not xla.pjrt_plugin_initialized(name):
            xla.initialize_pjrt_plugin(name)
        return xla.make_c_api_client(name)
    except (_mlir.jaxlib_runtime.JaxRuntimeError, RuntimeError) as error:
        raise UserError(f"cannot use the PJRT plugin: {' '.join(str(error).split())[:600]}", Where(str(path))) from None
