"""Writes the examples: traces JAX functions on shapes alone and saves the StableHLO text that JAX lowers them to.

Each example's ``generate.py`` hands `main` its sizes and its programs. No array is ever allocated, so the full
published sizes lower on a laptop in a second. The text is what ``jax.jit(...).lower(...)`` produces, for one device and
without any sharding; only its locations are chosen here: the names of arguments and of ``jax.named_scope`` regions are
kept, the paths of the machine that made it are not.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import jax

Config = TypeVar("Config")

# Lowering for this platform gives plain StableHLO: the CPU and GPU lowerings call kernels by name in places.
PLATFORM = "tpu"


@dataclass(frozen=True)
class Program:
    """A function to export.

    Attributes:
      function: What to trace; the exported module is named after it.
      arguments: Its arguments, as pytrees of ``jax.ShapeDtypeStruct``.
      donate: The names of the arguments whose buffers the results may reuse.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    donate: tuple[str, ...] = ()


def shape(*dimensions: int, dtype: Any = "float32") -> jax.ShapeDtypeStruct:
    """An argument with these dimensions."""
    return jax.ShapeDtypeStruct(dimensions, dtype)


def like(tree: Any, dtype: Any = None) -> Any:
    """Arguments with the shapes of ``tree``, and its types unless ``dtype`` is given."""
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, dtype or leaf.dtype), tree)


def text(program: Program) -> str:
    """The StableHLO text of ``program``, with names and without file positions."""
    # Zero frames leave the names of arguments, scopes and primitives; positions would change with every edit of a file.
    jax.config.update("jax_include_full_tracebacks_in_locations", True)
    jax.config.update("jax_traceback_in_locations_limit", 0)
    traced = jax.jit(program.function, donate_argnames=program.donate).trace(*program.arguments)
    return str(traced.lower(lowering_platforms=(PLATFORM,)).as_text(debug_info=True))


def main(generator: str, sizes: dict[str, Config], programs: Callable[[Config], dict[str, Program]]) -> None:
    """Runs one example's generator: ``generator`` is its ``__file__``, ``sizes`` its configurations by name.

    ``programs`` maps a configuration to the functions to export by file name (without ``.mlir``).
    """
    folder = Path(generator).resolve().parent
    parser = argparse.ArgumentParser(description=f"Writes the {folder.name} example as StableHLO text.")
    parser.add_argument("--size", choices=list(sizes), default="small", help="which configuration (default: small)")
    parser.add_argument("-o", "--output", type=Path, metavar="DIR",
                        help="where to write; only the small size has a default, the example's own folder")
    options = parser.parse_args()
    if options.output is None and options.size != "small":
        parser.error(f"--size {options.size} needs -o DIR: only the small size belongs in {folder.name}/")
    output = options.output or folder
    output.mkdir(parents=True, exist_ok=True)
    for name, program in programs(sizes[options.size]).items():
        path = output / f"{name}.mlir"
        path.write_text(text(program), encoding="utf-8")
        print(f"{path}  {path.stat().st_size / 1024:.0f} KB")
