"""A few elements of a split dimension come from the device that has them; where that is more bytes, they are gathered.

All programs are executed against the original.
"""

from __future__ import annotations

import pytest

from passes.execute.compare import BIT_EQUAL
from passes.execute.verify import verify
from passes.partition.partition import partition
from passes.partition.report import Report
from passes.program import read


def sliced(
    bounds: str, result: str, operand: str = '[{}, {"x"}, {}]', after: str = "", element: str = "f32"
) -> str:
    a, r = f"tensor<4x64x32x{element}>", f"tensor<{result}x{element}>"
    return f"""
sdy.mesh @mesh = <["x"=4, "y"=2]>
func.func @main(%a: {a} {{sdy.sharding = #sdy.sharding<@mesh, {operand}>}}) -> ({r}{after}) {{
  %0 = stablehlo.slice %a [{bounds}] : ({a}) -> {r}
  return %0 : {r}
}}"""


def split(dims: str) -> str:
    return f" {{sdy.sharding = #sdy.sharding<@mesh, {dims}>}}"


LAST = ("0:4, 63:64, 0:32", "4x1x32")
SUMMED = {
    "the last one": sliced(*LAST),
    "booleans": sliced(*LAST, element="i1"),
    "complex numbers": sliced(*LAST, element="complex<f32>"),
    "short floats": sliced(*LAST, element="bf16"),
    "some over the border of two shards": sliced("1:3, 14:17, 0:32", "2x3x32"),
    "of a dimension over both axes": sliced(*LAST, '[{}, {"y", "x"}, {}]'),
    "of two dimensions": sliced("0:4, 5:6, 7:8", "4x1x1", '[{}, {"x"}, {"y"}]'),
    "another dimension is split too": sliced(*LAST, '[{"y"}, {"x"}, {}]'),
    "the result is split elsewhere": sliced(*LAST, after=split('[{}, {}, {"x"}]')),
}
OTHERS = {
    "more than the shards": (sliced("0:4, 1:42, 0:32", "4x41x32"), "stablehlo.slice"),
    "strides": (sliced("0:4, 0:64:63, 0:32", "4x2x32"), "dynamic_slice"),
    "split after": (sliced("0:4, 4:12, 0:32", "4x8x32", after=split('[{}, {"x"}, {}]')), "dynamic_slice"),
    "of a whole dimension": (sliced("3:4, 0:64, 0:32", "1x64x32"), "stablehlo.slice"),
    "no exact sum": (sliced(*LAST, element="f8E4M3FN"), "stablehlo.slice"),
}


def executed(text: str) -> tuple[str, Report]:
    program = read.parse(text)
    report = partition(program)
    found = verify(read.parse(text), program, report.side_table, inputs="exact", level=BIT_EQUAL)
    assert found.ok, found.lines()
    return str(program.module), report


@pytest.mark.parametrize("name", SUMMED)
def test_what_one_device_has_is_summed(name: str) -> None:
    _, report = executed(SUMMED[name])
    assert {t.kind for t in report.traffic} <= {"all_reduce", "reduce_scatter"}
    assert not report.replicated


@pytest.mark.parametrize("name", OTHERS)
def test_other_slices_stay_as_they_are(name: str) -> None:
    text, op = OTHERS[name]
    local, report = executed(text)
    assert op in local
    assert not {t.kind for t in report.traffic} & {"all_reduce", "reduce_scatter"}
