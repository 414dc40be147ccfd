"""The numbers behind ``shlo shard --summary``."""

from __future__ import annotations

from passes.program.read import parse
from passes.sharding.summary import Row, summarize

TEXT = """
sdy.mesh @mesh = <["data"=2, "model"=4]>
func.func @main(%a: tensor<8x16xbf16> {sdy.sharding = #sdy.sharding<@mesh, [{"data"}, {"model"}]>} loc("w"),
                %b: tensor<6xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"model"}]>}, %c: tensor<f32>,
                %t: !stablehlo.token) -> (tensor<8x16xbf16> {jax.result_info = "y"}) {
  %0 = stablehlo.add %a, %a {sdy.sharding = #sdy.sharding_per_value<[<@mesh, [{"data"}, {}]>]>} : tensor<8x16xbf16>
  %1 = stablehlo.add %0, %a {sdy.sharding = #sdy.sharding_per_value<[<@mesh, [{}, {}]>]>} : tensor<8x16xbf16>
  %2 = stablehlo.add %c, %c : tensor<f32>
  return %1 : tensor<8x16xbf16>
}"""


def test_bytes_per_device_and_counts() -> None:
    summary = summarize(parse(TEXT))
    assert summary.arguments == (
        Row("w", "bf16[8x16]", "P('data', 'model')", 256, 32),
        Row("arg1", "f32[6]", "P('model')", 24, 24),  # does not divide
        Row("arg2", "f32[]", "P()", 4, 4),
        Row("arg3", "!stablehlo.token", "", 0, 0),
    )
    assert summary.results == (Row("y", "bf16[8x16]", "P(None, None)", 256, 256),)
    assert (summary.tensors, summary.sharded) == (2, 1)


def test_the_table() -> None:
    assert summarize(parse(TEXT)).lines() == [
        "mesh @mesh: data=2, model=4 (8 devices)",
        "arguments  type              sharding            bytes per device",
        "w          bf16[8x16]        P('data', 'model')  32",
        "arg1       f32[6]            P('model')          24",
        "arg2       f32[]             P()                 4",
        "arg3       !stablehlo.token                      0",
        "total                                            60 of 284",
        "results  type        sharding       bytes per device",
        "y        bf16[8x16]  P(None, None)  256",
        "total                               256 of 256",
        "1 of 2 tensors inside are sharded",
    ]
