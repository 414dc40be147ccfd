"""Verification of per-device and global programs: right ones pass, each kind of fault is caught and placed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from passes.errors import Mismatch, UserError
from passes.execute.compare import BIT_EQUAL, CLOSE, Level
from passes.execute.executor import Executor
from passes.execute.verify import assemble, cut, verify
from passes.partition.side_table import Entry, SideTable
from passes.program.read import Program, parse
from passes.sharding.mesh import Mesh, Sharding

MESH = Mesh((("x", 2), ("y", 4)))
X, Y = MESH.axis("x"), MESH.axis("y")

# A matrix product whose contracted dimension is split over y and whose rows are split over x.
ORIGINAL = """
  func.func @main(%a: tensor<4x8xf32>, %b: tensor<8x6xf32>) -> (tensor<4x6xf32>, tensor<4xf32>) {
    %c = stablehlo.dot_general %a, %b, contracting_dims = [1] x [0]
      : (tensor<4x8xf32>, tensor<8x6xf32>) -> tensor<4x6xf32>
    %low = stablehlo.constant dense<0xFF800000> : tensor<f32>
    %m = stablehlo.reduce(%a init: %low) applies stablehlo.maximum across dimensions = [1]
      : (tensor<4x8xf32>, tensor<f32>) -> tensor<4xf32>
    return %c, %m : tensor<4x6xf32>, tensor<4xf32>
  }"""

LOCAL = """
  func.func @main(%a: tensor<2x2xf32>, %b: tensor<2x6xf32>) -> (tensor<2x6xf32>, tensor<2xf32>) {{
    %c = stablehlo.dot_general %a, %b, contracting_dims = [1] x [0]
      : (tensor<2x2xf32>, tensor<2x6xf32>) -> tensor<2x6xf32>
    %d = "stablehlo.all_reduce"(%c) <{{channel_handle = #stablehlo.channel_handle<handle = 1, type = 1>,
        replica_groups = dense<{sum_groups}> : tensor<2x4xi64>, use_global_device_ids}}> ({{
      ^bb0(%x: tensor<f32>, %y: tensor<f32>):
        %z = stablehlo.{sum} %x, %y : tensor<f32>
        stablehlo.return %z : tensor<f32>
    }}) : (tensor<2x6xf32>) -> tensor<2x6xf32>
    %low = stablehlo.constant dense<0xFF800000> : tensor<f32>
    %m = stablehlo.reduce(%a init: %low) applies stablehlo.maximum across dimensions = [1]
      : (tensor<2x2xf32>, tensor<f32>) -> tensor<2xf32>
    %n = "stablehlo.all_reduce"(%m) <{{channel_handle = #stablehlo.channel_handle<handle = 2, type = 1>,
        replica_groups = dense<{max_groups}> : tensor<2x4xi64>, use_global_device_ids}}> ({{
      ^bb0(%x: tensor<f32>, %y: tensor<f32>):
        %z = stablehlo.{max} %x, %y : tensor<f32>
        stablehlo.return %z : tensor<f32>
    }}) : (tensor<2xf32>) -> tensor<2xf32>
    return %{first}, %{second} : tensor<2x6xf32>, tensor<2xf32>
  }}"""
RIGHT = {
    "sum_groups": [[0, 1, 2, 3], [4, 5, 6, 7]], "max_groups": [[0, 1, 2, 3], [4, 5, 6, 7]],
    "sum": "add", "max": "maximum", "first": "d", "second": "n",
}


def local(**faults: object) -> Program:
    return parse(LOCAL.format(**{**RIGHT, **faults}), "local.mlir")


def original() -> Program:
    return parse(ORIGINAL, "original.mlir")


def entry(index: int, name: str, shape: tuple[int, ...], *dims: tuple) -> Entry:
    return Entry(index, name, "f32", shape, Sharding(MESH, dims))


TABLE = SideTable(
    MESH,
    (entry(0, "a", (4, 8), (X,), (Y,)), entry(1, "b", (8, 6), (Y,), ())),
    (entry(0, "product", (4, 6), (X,), ()), entry(1, "largest", (4,), (X,))),
)


@pytest.mark.parametrize("engine", ["xla", "interpreter"])
@pytest.mark.parametrize("inputs", ["normal", "uniform", "exact"])
def test_a_right_per_device_program_is_equal(engine: str, inputs: str) -> None:
    report = verify(original(), local(), TABLE, inputs=inputs, seed=3, executor=Executor(engine))
    assert report.ok
    product, largest = report.results
    assert largest.figures.bit_equal
    assert product.figures.bit_equal or inputs != "exact"
    title = Executor(engine).title
    assert report.summary().startswith(f"executed on 8 virtual devices ({title}), inputs {inputs} seed 3: 2 of 2")
    assert "2 of 2 results equal" in report.lines()[-1]


@pytest.mark.parametrize("engine", ["xla", "interpreter"])
def test_special_values_meet_their_like_through_a_maximum_over_devices(engine: str) -> None:
    report = verify(original(), local(), TABLE, inputs="special", executor=Executor(engine))
    assert report.results[1].figures.bit_equal and report.results[1].figures.nan > 0


@pytest.mark.parametrize(
    ("faults", "wrong"),
    [
        ({"sum_groups": [[0, 1, 2, 4], [3, 5, 6, 7]]}, "product"),
        ({"first": "c"}, "product"),
        ({"sum": "maximum"}, "product"),
        ({"max": "add"}, "largest"),
        ({"second": "m"}, "largest"),
        ({"max_groups": [[0, 1, 2, 7], [3, 4, 5, 6]]}, "largest"),
    ],
)
def test_a_fault_is_caught_in_the_result_it_spoils(faults: dict[str, object], wrong: str) -> None:
    report = verify(original(), local(**faults), TABLE)
    assert [r.name for r in report.results if not r.ok] == [wrong]
    with pytest.raises(Mismatch, match=f"result {wrong} differs"):
        report.require()


def test_shards_in_the_wrong_order_are_caught_and_the_device_named() -> None:
    swapped = SideTable(MESH, TABLE.arguments, (TABLE.results[0], entry(1, "largest", (4,), (Y,))))
    with pytest.raises(UserError, match=r"result 1 is tensor<2xf32>, the table says tensor<1xf32>"):
        verify(original(), local(), swapped)
    turned = Mesh(MESH.axes, (4, 5, 6, 7, 0, 1, 2, 3))
    results = tuple(
        Entry(e.index, e.name, e.dtype, e.global_shape, Sharding(turned, e.sharding.dims)) for e in TABLE.results
    )
    report = verify(original(), local(), SideTable(MESH, TABLE.arguments, results))
    bad = report.results[1]
    assert not bad.ok and bad.first is not None
    # By this table device 4 holds the first half.
    assert bad.device == (4 if bad.first.index[0] < 2 else 0)
    assert f"on device {bad.device}: expected" in "\n".join(report.lines())


def test_replicas_that_disagree_are_caught_though_the_first_is_right() -> None:
    program = parse("""
      func.func @main(%a: tensor<2xf32>) -> tensor<2xf32> {
        %p = stablehlo.partition_id : tensor<ui32>
        %six = stablehlo.constant dense<6> : tensor<ui32>
        %is = stablehlo.compare EQ, %p, %six : (tensor<ui32>, tensor<ui32>) -> tensor<i1>
        %b = stablehlo.add %a, %a : tensor<2xf32>
        %c = stablehlo.select %is, %b, %a : tensor<i1>, tensor<2xf32>
        return %c : tensor<2xf32>
      }""")
    whole = parse("func.func @main(%a: tensor<4xf32>) -> tensor<4xf32> { return %a : tensor<4xf32> }")
    table = SideTable(MESH, (entry(0, "a", (4,), (X,)),), (entry(0, "r", (4,), (X,)),))
    (found,) = verify(whole, program, table).results
    assert found.device == 6
    assert found.reason.startswith("devices that hold the same shard disagree")


def test_a_scaled_result_is_refused_and_the_report_shows_that_correlation_would_not_have_done_it() -> None:
    scaled = parse(ORIGINAL.replace(
        "return %c, %m",
        "%f = stablehlo.constant dense<1.01> : tensor<4x6xf32>\n"
        "%s = stablehlo.multiply %c, %f : tensor<4x6xf32>\nreturn %s, %m",
    ))
    report = verify(original(), scaled, level=CLOSE)
    bad = report.results[0]
    assert not bad.ok and report.results[1].ok
    assert bad.figures.pcc == pytest.approx(1, abs=1e-9)
    assert "PCC 1.000000000" in report.lines()[0]


def test_global_programs_must_be_bit_equal_unless_told_otherwise() -> None:
    reordered = parse("""
      func.func @main(%a: tensor<4x8xf32>, %b: tensor<8x6xf32>) -> (tensor<4x6xf32>, tensor<4xf32>) {
        %r = stablehlo.reverse %a, dims = [1] : tensor<4x8xf32>
        %s = stablehlo.reverse %b, dims = [0] : tensor<8x6xf32>
        %c = stablehlo.dot_general %r, %s, contracting_dims = [1] x [0]
          : (tensor<4x8xf32>, tensor<8x6xf32>) -> tensor<4x6xf32>
        %low = stablehlo.constant dense<0xFF800000> : tensor<f32>
        %m = stablehlo.reduce(%r init: %low) applies stablehlo.maximum across dimensions = [1]
          : (tensor<4x8xf32>, tensor<f32>) -> tensor<4xf32>
        return %c, %m : tensor<4x6xf32>, tensor<4xf32>
      }""")
    strict = verify(original(), reordered)
    assert strict.results[0].level == BIT_EQUAL and not strict.ok
    assert verify(original(), reordered, level=CLOSE).ok
    assert verify(original(), reordered, inputs="exact").ok
    assert not verify(original(), reordered, level=Level("ulp", 0)).ok
    assert verify(original(), original()).results[0].figures.bit_equal


def test_rounding_decides_where_a_program_amplifies_it(tmp_path: Path) -> None:
    """The logistic map doubles errors each round; two ways to write it part company, a third is another map."""

    def program(step: str) -> Program:
        return parse(f"""
          func.func @main(%a: tensor<64xf32>) -> tensor<64xf32> {{
            %zero = stablehlo.constant dense<0> : tensor<i32>
            %r:2 = stablehlo.while(%x = %a, %i = %zero) : tensor<64xf32>, tensor<i32>
            cond {{
              %n = stablehlo.constant dense<14> : tensor<i32>
              %c = stablehlo.compare LT, %i, %n : (tensor<i32>, tensor<i32>) -> tensor<i1>
              stablehlo.return %c : tensor<i1>
            }} do {{
              %one = stablehlo.constant dense<1> : tensor<i32>
              %j = stablehlo.add %i, %one : tensor<i32>
              %k = stablehlo.constant dense<3.9> : tensor<64xf32>
              %l = stablehlo.constant dense<1.0> : tensor<64xf32>
              {step}
              stablehlo.return %y, %j : tensor<64xf32>, tensor<i32>
            }}
            return %r#0 : tensor<64xf32>
          }}""")

    def binary(*ops: str) -> str:
        return "\n".join(f"{op} : tensor<64xf32>" for op in ops)

    kxx = program(binary(
        "%d = stablehlo.subtract %l, %x", "%e = stablehlo.multiply %k, %x", "%y = stablehlo.multiply %e, %d"))
    expanded = program(binary(
        "%e = stablehlo.multiply %k, %x", "%f = stablehlo.multiply %e, %x", "%y = stablehlo.subtract %e, %f"))
    other_map = program(binary(
        "%d = stablehlo.subtract %l, %x", "%e = stablehlo.multiply %d, %x", "%y = stablehlo.add %e, %e"))
    start = np.linspace(0.2, 0.8, 64, dtype=np.float32)
    np.save(tmp_path / "start.npy", start)
    inputs = str(tmp_path / "start.npy")
    report = verify(kxx, expanded, level=CLOSE, inputs=inputs)
    assert report.ok and report.results[0].noise is not None
    assert any("by no more than rounding moves them" in note for note in report.notes)
    assert not verify(kxx, other_map, level=CLOSE, inputs=inputs).ok


def test_results_that_are_all_nan_are_pointed_out() -> None:
    program = parse("""
      func.func @main(%a: tensor<4xf32>) -> tensor<4xf32> {
        %b = stablehlo.subtract %a, %a : tensor<4xf32>
        %c = stablehlo.divide %b, %b : tensor<4xf32>
        return %c : tensor<4xf32>
      }""")
    report = verify(program, program)
    assert report.ok
    assert report.lines()[0].startswith("note: 1 of 1 results are nothing but NaN")


def test_xla_as_partitioner_is_another_opinion() -> None:
    annotated = parse('sdy.mesh @mesh = <["x"=2, "y"=4]>' + ORIGINAL.replace(
        "%a: tensor<4x8xf32>", '%a: tensor<4x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {"y"}]>}'))
    report = verify(original(), annotated, xla_partition=True)
    assert report.ok
    assert report.summary().startswith("partitioned by XLA and executed on 8 virtual devices (XLA CPU)")
    with pytest.raises(UserError, match="no mesh of several devices"):
        verify(original(), original(), xla_partition=True)


def test_errors_about_what_does_not_fit_together() -> None:
    def fails(message: str, *arguments: object, **options: object) -> None:
        with pytest.raises(UserError, match=message):
            verify(*arguments, **options)  # type: ignore[arg-type]

    fails(r"mesh has 8 devices \(x=2, y=4\), but there are only 4; give --devices=8",
          original(), local(), TABLE, devices=4)
    fails(r"argument 0 is tensor<4x8xf32> in original.mlir and tensor<2x2xf32> here.*side table", original(), local())
    fails("does not belong to this program: it lists 1 arguments, the program has 2", original(), local(),
          SideTable(MESH, TABLE.arguments[:1], TABLE.results))
    odd = SideTable(Mesh(MESH.axes, tuple(range(1, 9))), TABLE.arguments, TABLE.results)
    fails("numbers its devices", original(), local(), odd)


def test_the_report_as_json() -> None:
    data = json.loads(verify(original(), local(first="c"), TABLE).to_json())
    assert data["ok"] is False
    product, largest = data["results"]
    assert product["ok"] is False and product["device"] == 0 and product["first"]["index"] == [0, 0]
    assert largest["ok"] is True and largest["figures"]["differing"] == 0


@pytest.mark.parametrize("dims", [((X,), (Y,)), ((Y, X), ()), ((), (X,)), ((), ())])
def test_shards_put_together_are_the_whole(dims: tuple) -> None:
    array = np.arange(64).reshape(8, 8)
    sharding = Sharding(MESH, dims)
    np.testing.assert_array_equal(assemble(cut(array, sharding), sharding, array.shape), array)


HALVES = Mesh((("x", 2),))
PADDED = SideTable(
    HALVES,
    (Entry(0, "a", "f32", (7,), Sharding(HALVES, ((HALVES.axis("x"),),)), (8,)),),
    (
        Entry(0, "negated", "f32", (7,), Sharding(HALVES, ((HALVES.axis("x"),),)), (8,)),
        Entry(1, "first", "f32", (), Sharding(HALVES, ())),
    ),
)


def first_and_negated(size: int, taken: int) -> Program:
    """Negates an argument of ``size``, and adds up its first ``taken`` elements."""
    type = f"tensor<{size}xf32>"
    return parse(f"""
  func.func @main(%a: {type}) -> ({type}, tensor<f32>) {{
    %n = stablehlo.negate %a : {type}
    %s = stablehlo.slice %a [0:{taken}] : ({type}) -> tensor<{taken}xf32>
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    %t = stablehlo.reduce(%s init: %zero) applies stablehlo.add across dimensions = [0]
      : (tensor<{taken}xf32>, tensor<f32>) -> tensor<f32>
    return %n, %t : {type}, tensor<f32>
  }}""")


def test_padding_is_taken_off_results() -> None:
    # Device 1 ends with padding; what it has first it shares with nobody, so only the first result can be right.
    report = verify(first_and_negated(7, 1), first_and_negated(4, 1), PADDED, level=BIT_EQUAL)
    assert report.results[0].ok and report.results[0].figures.nan == 0
    assert [r.name for r in report.results if not r.ok] == ["first"] and report.results[1].device == 1


def test_padding_that_gets_out_is_caught() -> None:
    report = verify(first_and_negated(7, 4), first_and_negated(4, 4), PADDED, level=BIT_EQUAL)
    assert not report.results[1].ok and "nan" in "\n".join(report.lines()).lower()
