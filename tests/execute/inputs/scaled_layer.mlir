sdy.mesh @mesh = <["x"=2, "y"=2]>
func.func @main(%a: tensor<8x16xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {"y"}]>},
                %w: tensor<16x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"y"}, {}]>})
    -> (tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {}]>}, tensor<8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{}]>}) {
  %least = stablehlo.constant dense<0xFF800000> : tensor<f32>
  %zero = stablehlo.constant dense<0.0> : tensor<f32>
  %tiny = stablehlo.constant dense<1.0e-3> : tensor<f32>
  %steps = stablehlo.constant dense<2.0> : tensor<f32>
  %0 = stablehlo.abs %a : tensor<8x16xf32>
  %1 = stablehlo.reduce(%0 init: %least) applies stablehlo.maximum across dimensions = [1] : (tensor<8x16xf32>, tensor<f32>) -> tensor<8xf32>
  %2 = stablehlo.broadcast_in_dim %tiny, dims = [] : (tensor<f32>) -> tensor<8xf32>
  %3 = stablehlo.maximum %1, %2 : tensor<8xf32>
  %4 = stablehlo.broadcast_in_dim %steps, dims = [] : (tensor<f32>) -> tensor<8xf32>
  %5 = stablehlo.divide %3, %4 : tensor<8xf32>
  %6 = stablehlo.broadcast_in_dim %5, dims = [0] : (tensor<8xf32>) -> tensor<8x16xf32>
  %7 = stablehlo.divide %a, %6 : tensor<8x16xf32>
  %8 = stablehlo.tanh %7 : tensor<8x16xf32>
  %9 = stablehlo.dot_general %8, %w, contracting_dims = [1] x [0] : (tensor<8x16xf32>, tensor<16x8xf32>) -> tensor<8x8xf32>
  %10 = stablehlo.broadcast_in_dim %5, dims = [0] : (tensor<8xf32>) -> tensor<8x8xf32>
  %11 = stablehlo.multiply %9, %10 : tensor<8x8xf32>
  %12 = stablehlo.abs %11 : tensor<8x8xf32>
  %13 = stablehlo.sqrt %12 : tensor<8x8xf32>
  %14 = stablehlo.reduce(%13 init: %zero) applies stablehlo.add across dimensions = [0] : (tensor<8x8xf32>, tensor<f32>) -> tensor<8xf32>
  %15 = stablehlo.negate %14 : tensor<8xf32>
  return %11, %15 : tensor<8x8xf32>, tensor<8xf32>
}
