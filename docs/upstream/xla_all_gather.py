"""Gathers two bf16 arrays of unlike rank in one all_gather, on two CPU devices, and compares with numpy."""

import sys
from pathlib import Path

import ml_dtypes
import numpy as np

from passes.execute import pjrt, xla_cpu
from passes.execute.job import Job

code = Path(sys.argv[1]).read_bytes()
random = np.random.default_rng(0)
shapes = ((32, 32), (3, 2, 32, 8))
inputs = [[random.normal(size=shape).astype(ml_dtypes.bfloat16) for _ in range(2)] for shape in shapes]
found = np.asarray(pjrt.run(xla_cpu.client(2), Job("per-device", code, 2, inputs))[0][0])
expected = np.broadcast_to(np.concatenate(inputs[0], axis=1), found.shape)
print("as numpy gathers" if np.array_equal(found, expected) else "not as numpy gathers")
