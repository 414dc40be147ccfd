// Random bits of a split tensor: devices are to draw the parts of one draw, not each the same.
sdy.mesh @mesh = <["x"=4]>
func.func @main(%s: tensor<2xui64>) -> (tensor<2xui64>, tensor<8xui32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}]>}) {
  %0, %1 = stablehlo.rng_bit_generator %s, algorithm = THREE_FRY
    {sdy.sharding = #sdy.sharding_per_value<[<@mesh, [{}]>, <@mesh, [{"x"}]>]>}
    : (tensor<2xui64>) -> (tensor<2xui64>, tensor<8xui32>)
  return %0, %1 : tensor<2xui64>, tensor<8xui32>
}
