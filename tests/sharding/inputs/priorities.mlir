sdy.mesh @mesh = <["x"=2, "y"=2]>
func.func @main(%a: tensor<8x16xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}p1, {?}]>},
                %b: tensor<8x16xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"y"}p0, {?}]>}) -> tensor<8x16xf32> {
  %0 = stablehlo.add %a, %b : tensor<8x16xf32>
  %1 = stablehlo.composite "my.outer" %0 {decomposition = @outer} : (tensor<8x16xf32>) -> tensor<8x16xf32>
  %2 = sdy.sharding_constraint %1 <@mesh, [{?}, {"x", ?}]> : tensor<8x16xf32>
  %v, %i = stablehlo.custom_call @TopK(%2) : (tensor<8x16xf32>) -> (tensor<8x16xf32>, tensor<8x16xi32>)
  %4 = stablehlo.composite "my.outer" %v {decomposition = @outer} : (tensor<8x16xf32>) -> tensor<8x16xf32>
  %5 = stablehlo.add %4, %a : tensor<8x16xf32>
  return %5 : tensor<8x16xf32>
}
func.func private @outer(%x: tensor<8x16xf32>) -> tensor<8x16xf32> {
  %0 = stablehlo.composite "my.inner" %x {decomposition = @inner} : (tensor<8x16xf32>) -> tensor<8x16xf32>
  %1 = stablehlo.composite "my.inner" %0 {decomposition = @inner} : (tensor<8x16xf32>) -> tensor<8x16xf32>
  return %1 : tensor<8x16xf32>
}
func.func private @inner(%x: tensor<8x16xf32>) -> tensor<8x16xf32> {
  %0 = stablehlo.tanh %x : tensor<8x16xf32>
  return %0 : tensor<8x16xf32>
}
