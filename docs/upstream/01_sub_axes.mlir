// "x":(1)2 is the major half of an axis of 4: devices 0 and 1 have the first half of the iota, 2 and 3 the second.
sdy.mesh @mesh = <["x"=4]>
func.func @main() -> (tensor<8xi32> {sdy.sharding = #sdy.sharding<@mesh, [{"x":(1)2}]>}) {
  %0 = stablehlo.iota dim = 0 {sdy.sharding = #sdy.sharding_per_value<[<@mesh, [{"x":(1)2}]>]>} : tensor<8xi32>
  return %0 : tensor<8xi32>
}
