"""Runs a module on virtual CPU devices as it stands: ``xla_cpu.py FILE DEVICES``, with none of our workarounds.

The module is for replicas. Inputs are the same small integers each time, other ones on each device. Prints a line for
each result of device 0, or XLA's error.
"""

import sys
from pathlib import Path

import numpy as np

from passes.errors import UserError
from passes.execute import pjrt, xla_cpu
from passes.execute.executor import signature
from passes.execute.job import Job
from passes.program.read import read

path, devices = sys.argv[1], int(sys.argv[2])
random = np.random.default_rng(0)
inputs = [
    [random.integers(-4, 5, type_.shape).astype(type_.dtype) for _ in range(devices)]
    for type_ in signature(read(path))[0]
]
try:
    results = pjrt.run(xla_cpu.client(devices), Job("per-device", Path(path).read_bytes(), devices, inputs))
except UserError as error:
    sys.exit(str(error))
for shards in results:
    print(np.asarray(shards[0], np.float64).ravel().tolist())
