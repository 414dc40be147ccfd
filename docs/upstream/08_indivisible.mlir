// The maximum of ten numbers over four devices: what pads them to twelve must not win.
sdy.mesh @mesh = <["x"=4]>
func.func @main(%a: tensor<10xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}]>}) -> tensor<f32> {
  %init = stablehlo.constant dense<0xFF800000> : tensor<f32>
  %0 = stablehlo.reduce(%a init: %init) applies stablehlo.maximum across dimensions = [0]
    : (tensor<10xf32>, tensor<f32>) -> tensor<f32>
  return %0 : tensor<f32>
}
