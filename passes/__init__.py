"""Optimize, shard, partition and prove StableHLO programs.

The package follows a program's way through the tool: ``program`` (read, write), ``pipeline`` (passes and how they
run), ``optimize``, ``sharding``, ``partition``, ``execute`` (prove) and ``cli``. Importing it loads no MLIR bindings;
they load when the first program is read.
"""

__version__ = "0.1.0"
