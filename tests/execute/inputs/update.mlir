sdy.mesh @mesh = <["x"=2, "y"=2]>
func.func @main(%start: tensor<8x4xf32> {sdy.sharding = #sdy.sharding<@mesh, [{}, {}]>},
                %tokens: tensor<16xi32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}]>},
                %grads: tensor<16x4xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {}]>})
    -> (tensor<8x4xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {}]>}, tensor<16x4xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {}]>}, tensor<f32>) {
  %zero = stablehlo.constant dense<0> : tensor<i32>
  %last = stablehlo.constant dense<7> : tensor<i32>
  %scale = stablehlo.constant dense<0.5> : tensor<f32>
  %five = stablehlo.constant dense<5.0> : tensor<f32>
  %0 = stablehlo.clamp %zero, %tokens, %last : (tensor<i32>, tensor<16xi32>, tensor<i32>) -> tensor<16xi32>
  %1 = stablehlo.reshape %0 : (tensor<16xi32>) -> tensor<16x1xi32>
  %2 = stablehlo.broadcast_in_dim %scale, dims = [] : (tensor<f32>) -> tensor<16x4xf32>
  %3 = stablehlo.multiply %grads, %2 : tensor<16x4xf32>
  %4 = stablehlo.negate %start : tensor<8x4xf32>
  %5 = "stablehlo.scatter"(%4, %1, %3) <{scatter_dimension_numbers = #stablehlo.scatter<update_window_dims = [1], inserted_window_dims = [0], scatter_dims_to_operand_dims = [0], index_vector_dim = 1>}> ({
  ^bb0(%l: tensor<f32>, %r: tensor<f32>):
    %s = stablehlo.add %l, %r : tensor<f32>
    stablehlo.return %s : tensor<f32>
  }) : (tensor<8x4xf32>, tensor<16x1xi32>, tensor<16x4xf32>) -> tensor<8x4xf32>
  %6 = stablehlo.abs %5 : tensor<8x4xf32>
  %7 = stablehlo.floor %3 : tensor<16x4xf32>
  %9 = stablehlo.tanh %7 : tensor<16x4xf32>
  %10 = stablehlo.subtract %9, %grads : tensor<16x4xf32>
  %11 = stablehlo.reduce(%7 init: %five) applies stablehlo.add across dimensions = [0, 1] : (tensor<16x4xf32>, tensor<f32>) -> tensor<f32>
  %12 = stablehlo.negate %11 : tensor<f32>
  return %6, %10, %12 : tensor<8x4xf32>, tensor<16x4xf32>, tensor<f32>
}
