"""Executors: every element type, what they refuse, and that no program takes this process with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from passes.errors import NativeFailure, UserError
from passes.execute import child
from passes.execute.arrays import NUMPY_NAMES, TensorType, dtype_of, same_bits
from passes.execute.executor import Executor
from passes.program.read import Program, parse
from tests.endless import ENDLESS

ENGINES = ["xla", "interpreter"]
# Types that XLA's CPU backend or the interpreter does not compute in.
LACKING = {"xla": set(), "interpreter": {"f4E2M1FN"}}


@pytest.fixture(params=ENGINES)
def executor(request: pytest.FixtureRequest) -> Executor:
    return Executor(request.param)


@pytest.mark.parametrize("element", NUMPY_NAMES)
def test_every_element_type_goes_in_and_comes_out(executor: Executor, element: str) -> None:
    if element in LACKING[executor.engine]:
        pytest.skip(f"{executor.engine} does not compute in {element}")
    program = parse(f"""
      func.func @main(%a: tensor<2x3x{element}>, %b: tensor<{element}>)
          -> (tensor<3x2x{element}>, tensor<{element}>, tensor<0x{element}>) {{
        %t = stablehlo.transpose %a, dims = [1, 0] : (tensor<2x3x{element}>) -> tensor<3x2x{element}>
        %e = stablehlo.slice %b1 [0:0] : (tensor<1x{element}>) -> tensor<0x{element}>
        return %t, %b, %e : tensor<3x2x{element}>, tensor<{element}>, tensor<0x{element}>
      }}""".replace("%e =", f"%b1 = stablehlo.reshape %b : (tensor<{element}>) -> tensor<1x{element}>\n %e ="))
    dtype = dtype_of(element)
    a = np.array([[0, 1, 1], [1, 0, 1]]).astype(dtype)
    if dtype.kind == "c":
        a = a * np.array(1 + 2j, dtype)
    t, b, empty = executor.run_global(program, [a, a[0, 1]])
    assert t.dtype == b.dtype == empty.dtype == dtype
    assert same_bits(t, a.T) and same_bits(b, a[0, 1]) and empty.shape == (0,)


@pytest.mark.parametrize("element", ["complex<f32>", "complex<f64>"])
def test_parts_of_complex_numbers_come_out_as_they_are(executor: Executor, element: str) -> None:
    """An infinite imaginary part, which times 1j makes the real part NaN, and zeros of both signs."""
    type = f"tensor<4x{element}>"
    program = parse(f"func.func @main(%a: {type}) -> {type} {{ return %a : {type} }}")
    a = np.array([complex(1, np.inf), complex(-0.0, 2), complex(3, -0.0), complex(-np.inf, np.nan)], dtype_of(element))
    (found,) = executor.run_global(program, [a])
    assert same_bits(found.view(a.real.dtype), a.view(a.real.dtype))


def test_a_program_without_arguments_and_one_without_results(executor: Executor) -> None:
    program = parse("func.func @main() -> tensor<2xi32> {%c = stablehlo.constant dense<7> : tensor<2xi32>\n"
                    "return %c : tensor<2xi32>}")
    np.testing.assert_array_equal(executor.run_global(program, [])[0], [7, 7])
    shards = executor.run_per_device(program, [], 4)
    np.testing.assert_array_equal(shards, np.full((1, 4, 2), 7))


def test_an_entry_that_is_not_called_main_beside_a_main_that_is(executor: Executor) -> None:
    program = parse("""
      func.func @main(%a: tensor<f32>) -> tensor<f32> { return %a : tensor<f32> }
      func.func @twice(%a: tensor<f32>) -> tensor<f32> {
        %b = func.call @main(%a) : (tensor<f32>) -> tensor<f32>
        %c = stablehlo.add %a, %b : tensor<f32>
        return %c : tensor<f32>
      }""")
    assert executor.run_global(program, [np.array(3, np.float32)], entry="twice") == [6]
    assert executor.run_global(program, [np.array(3, np.float32)]) == [3]


def test_donated_arguments_and_shardings_do_not_break_a_second_run(executor: Executor) -> None:
    program = parse("""
      sdy.mesh @mesh = <["x"=8]>
      func.func @main(
          %a: tensor<8xf32> {tf.aliasing_output = 0 : i32, sdy.sharding = #sdy.sharding<@mesh, [{"x"}]>},
          %b: tensor<8xf32> {jax.buffer_donor = true, mhlo.sharding = "{devices=[8]<=[8]}"}) -> tensor<8xf32> {
        %c = stablehlo.add %a, %b : tensor<8xf32>
        return %c : tensor<8xf32>
      }""")
    a, b = np.arange(8, dtype=np.float32), np.ones(8, np.float32)
    for _ in range(2):
        np.testing.assert_array_equal(executor.run_global(program, [a, b])[0], np.arange(1, 9))
    np.testing.assert_array_equal(a, np.arange(8))


def test_chlo_and_composites_run(executor: Executor) -> None:
    program = parse("""
      func.func private @decomposed(%a: tensor<f32>) -> tensor<f32> {
        %b = stablehlo.add %a, %a : tensor<f32>
        return %b : tensor<f32>
      }
      func.func @main(%a: tensor<f32>) -> (tensor<f32>, tensor<f32>) {
        %b = stablehlo.composite "my.twice" %a {decomposition = @decomposed} : (tensor<f32>) -> tensor<f32>
        %c = chlo.square %a : tensor<f32> -> tensor<f32>
        return %b, %c : tensor<f32>, tensor<f32>
      }""")
    assert executor.run_global(program, [np.array(3, np.float32)]) == [6, 9]


def annotated() -> Program:
    return parse("""
      sdy.mesh @mesh = <["x"=2, "y"=4]>
      func.func @main(%a: tensor<8x4xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"y"}, {"x"}]>},
                      %b: tensor<4x6xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {}]>})
          -> (tensor<8x6xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x", "y"}, {}]>}, tensor<4x6xf32>) {
        %c = stablehlo.dot_general %a, %b, contracting_dims = [1] x [0]
          : (tensor<8x4xf32>, tensor<4x6xf32>) -> tensor<8x6xf32>
        return %c, %b : tensor<8x6xf32>, tensor<4x6xf32>
      }""")


def test_xla_partitions_an_annotated_program() -> None:
    random = np.random.default_rng(0)
    a, b = random.integers(-4, 4, (8, 4)).astype(np.float32), random.integers(-4, 4, (4, 6)).astype(np.float32)
    product, same = Executor().run_partitioned(annotated(), [a, b], 8)
    np.testing.assert_array_equal(product, a @ b)
    np.testing.assert_array_equal(same, b)


def test_xla_partitions_what_does_not_divide() -> None:
    program = parse("""
      sdy.mesh @mesh = <["x"=4]>
      func.func @main(%a: tensor<10xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}]>})
          -> (tensor<10xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}]>}) {
        %c = stablehlo.add %a, %a : tensor<10xf32>
        return %c : tensor<10xf32>
      }""")
    a = np.arange(10, dtype=np.float32)
    np.testing.assert_array_equal(Executor().run_partitioned(program, [a], 4)[0], 2 * a)


def test_manual_computations_on_a_mesh_of_one_device() -> None:
    program = parse("""
      sdy.mesh @mesh = <["x"=1]>
      func.func @main(%a: tensor<4xf32>) -> tensor<4xf32> {
        %r = sdy.manual_computation(%a) in_shardings=[<@mesh, [{"x"}]>] out_shardings=[<@mesh, [{"x"}]>]
            manual_axes={"x"} (%l: tensor<4xf32>) {
          %n = stablehlo.negate %l : tensor<4xf32>
          sdy.return %n : tensor<4xf32>
        } : (tensor<4xf32>) -> tensor<4xf32>
        return %r : tensor<4xf32>
      }""")
    (found,) = Executor().run_global(program, [np.arange(4, dtype=np.float32)])
    assert found.tolist() == [0, -1, -2, -3]


def test_manual_computations_run_on_the_devices_of_their_mesh() -> None:
    program = parse("""
      sdy.mesh @mesh = <["x"=4]>
      func.func @main(%a: tensor<8xf32>) -> tensor<8xf32> {
        %r = sdy.manual_computation(%a) in_shardings=[<@mesh, [{"x"}]>] out_shardings=[<@mesh, [{"x"}]>]
            manual_axes={"x"} (%l: tensor<2xf32>) {
          %p = "stablehlo.collective_permute"(%l) <{
            source_target_pairs = dense<[[0, 1], [1, 2], [2, 3], [3, 0]]> : tensor<4x2xi64>,
            channel_handle = #stablehlo.channel_handle<handle = 1, type = 1>}> : (tensor<2xf32>) -> tensor<2xf32>
          sdy.return %p : tensor<2xf32>
        } : (tensor<8xf32>) -> tensor<8xf32>
        return %r : tensor<8xf32>
      }""")
    (found,) = Executor().run_global(program, [np.arange(8, dtype=np.float32)])
    np.testing.assert_array_equal(found, np.roll(np.arange(8), 2))


def test_ops_round_one_by_one() -> None:
    """No fused multiply-add: a*b is rounded before c is added, as the program says."""
    program = parse("""
      func.func @main(%a: tensor<1000xf32>, %b: tensor<1000xf32>, %c: tensor<1000xf32>) -> tensor<1000xf32> {
        %p = stablehlo.multiply %a, %b : tensor<1000xf32>
        %s = stablehlo.add %p, %c : tensor<1000xf32>
        return %s : tensor<1000xf32>
      }""")
    a, b, c = np.random.default_rng(0).standard_normal((3, 1000)).astype(np.float32)
    np.testing.assert_array_equal(Executor().run_global(program, [a, b, c])[0], a * b + c)


@pytest.mark.parametrize("type", ["tensor<?xf32>", "!stablehlo.token", "tuple<tensor<f32>>", "tensor<2xindex>"])
def test_types_that_cannot_be_executed_are_named(type: str) -> None:
    program = parse(f"func.func @main(%a: {type}) -> {type} {{ return %a : {type} }}")
    with pytest.raises(UserError, match="cannot execute"):
        Executor().run_global(program, [np.zeros(1, np.float32)])


def test_inputs_that_do_not_fit_are_named() -> None:
    program = parse("func.func @main(%a: tensor<2xf32>) -> tensor<2xf32> { return %a : tensor<2xf32> }")
    with pytest.raises(UserError, match="takes 1 arguments; 2 inputs are given"):
        Executor().run_global(program, [np.zeros(2, np.float32)] * 2)
    with pytest.raises(UserError, match=r"argument 0 \(arg0\) is tensor<2xf32>; its input is int32 of shape \[2\]"):
        Executor().run_global(program, [np.zeros(2, np.int32)])


def test_an_op_the_engine_lacks_is_an_error_that_names_it(executor: Executor) -> None:
    program = parse("""
      func.func @main(%a: tensor<2xf32>) -> tensor<2xf32> {
        %b = stablehlo.custom_call @nobody_has_this(%a) : (tensor<2xf32>) -> tensor<2xf32>
        return %b : tensor<2xf32>
      }""")
    with pytest.raises(UserError, match=r"nobody_has_this|custom_call") as caught:
        executor.run_global(program, [np.zeros(2, np.float32)])
    assert "\n" not in caught.value.message


def test_the_interpreter_has_no_partitioner() -> None:
    inputs = [np.zeros((8, 4), np.float32), np.zeros((4, 6), np.float32)]
    with pytest.raises(UserError, match="no partitioner"):
        Executor("interpreter").run_partitioned(annotated(), inputs, 8)


def test_a_run_that_takes_too_long_is_given_up_and_the_next_one_works(executor: Executor) -> None:
    impatient = Executor(executor.engine, timeout=0.5)
    with pytest.raises(NativeFailure, match=r"did not finish within 0\.5 s"):
        impatient.run_global(parse(ENDLESS), [np.array(1, np.float32)])
    program = parse("func.func @main(%a: tensor<f32>) -> tensor<f32> { return %a : tensor<f32> }")
    assert executor.run_global(program, [np.array(1, np.float32)]) == [1]


def test_death_by_a_signal_is_an_error_that_names_it_and_keeps_the_module() -> None:
    def kill() -> None:
        while not child._running:
            time.sleep(0.01)
        time.sleep(0.3)
        os.kill(child._running[0].process.pid, signal.SIGABRT)

    child.stop_all()
    threading.Thread(target=kill).start()
    with pytest.raises(NativeFailure, match="was ended by SIGABRT") as caught:
        Executor().run_global(parse(ENDLESS), [np.array(1, np.float32)])
    kept = Path(caught.value.message.rsplit(" ", 1)[1])
    assert "stablehlo.while" in str(parse(kept.read_bytes()).module)
    kept.unlink()


def test_flags_that_a_release_of_xla_does_not_know_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    program = parse("func.func @main(%a: tensor<f32>) -> tensor<f32> { return %a : tensor<f32> }")
    monkeypatch.setattr(child, "_flags", ["--xla_no_such_flag=1"])
    child.stop_all()
    assert Executor().run_global(program, [np.array(1, np.float32)]) == [1]
    assert child._flags == []
    child.stop_all()


def test_the_child_ends_with_its_parent() -> None:
    code = (
        "import numpy as np; from passes.program.read import parse; from passes.execute import child;"
        "from passes.execute.executor import Executor;"
        "Executor().run_global(parse('func.func @main(%a: tensor<f32>) -> tensor<f32> { return %a : tensor<f32> }'),"
        "[np.array(1, np.float32)]); print(child._running[0].process.pid)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    with pytest.raises(ProcessLookupError):
        os.kill(int(done.stdout), 0)


def test_in_process_runs_give_the_same(executor: Executor) -> None:
    type = TensorType((2, 3), "f32")
    body = f"%b = stablehlo.exponential %a : {type}\nreturn %b : {type}"
    program = parse(f"func.func @main(%a: {type}) -> {type} {{ {body} }}")
    a = np.arange(6, dtype=np.float32).reshape(2, 3)
    inside = Executor(executor.engine, isolated=False)
    assert same_bits(inside.run_global(program, [a])[0], executor.run_global(program, [a])[0])


def test_a_call_back_into_python_is_refused_by_name() -> None:
    program = parse("""
func.func @main(%a: tensor<4xf32>) -> tensor<4xf32> {
  %0 = stablehlo.custom_call @xla_ffi_python_cpu_callback(%a) {api_version = 4 : i32,
      mhlo.backend_config = {index = 0 : ui64}} : (tensor<4xf32>) -> tensor<4xf32>
  return %0 : tensor<4xf32>
}""")
    with pytest.raises(UserError, match="xla_ffi_python_cpu_callback calls back into the Python process"):
        Executor().run_global(program, [np.zeros(4, np.float32)])
