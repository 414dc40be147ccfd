"""MLIR's inliner on a function that is called N times: seconds for N and 2N calls."""

import time

from passes import _mlir

T = "tensor<4xf32>"


def seconds(calls: int) -> float:
    body = "\n".join(f"  %{i + 1} = func.call @f(%{i}) : ({T}) -> {T}" for i in range(calls))
    text = f"""func.func @main(%0: {T}) -> {T} {{\n{body}\n  return %{calls} : {T}\n}}
    func.func private @f(%x: {T}) -> {T} {{ %y = stablehlo.tanh %x : {T} return %y : {T} }}"""
    module = _mlir.ir.Module.parse(text, _mlir.context())
    manager = _mlir.passmanager.PassManager.parse("builtin.module(inline{default-pipeline=})", _mlir.context())
    start = time.process_time()
    manager.run(module.operation)
    return time.process_time() - start


for calls in (4_000, 8_000, 16_000):
    print(calls, f"{seconds(calls):.2f} s")
