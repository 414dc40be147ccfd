// One dimension that becomes three, over axes that divide none of them in their order.
sdy.mesh @mesh = <["x"=2, "y"=3]>
func.func @main(%a: tensor<12xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x", "y"}]>}) -> tensor<3x2x2xf32> {
  %0 = stablehlo.reshape %a : (tensor<12xf32>) -> tensor<3x2x2xf32>
  return %0 : tensor<3x2x2xf32>
}
