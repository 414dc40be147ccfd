sdy.mesh @mesh = <["x"=2, "y"=2]>
func.func @main(%table: tensor<16x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{}, {"y"}]>},
                %tokens: tensor<8xi32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}]>})
    -> (tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {}]>}, tensor<16x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{}, {"y"}]>}) {
  %size = stablehlo.constant dense<16> : tensor<i32>
  %zero = stablehlo.constant dense<0> : tensor<i32>
  %1 = stablehlo.broadcast_in_dim %zero, dims = [] : (tensor<i32>) -> tensor<8xi32>
  %2 = stablehlo.compare LT, %tokens, %1 : (tensor<8xi32>, tensor<8xi32>) -> tensor<8xi1>
  %3 = stablehlo.broadcast_in_dim %size, dims = [] : (tensor<i32>) -> tensor<8xi32>
  %4 = stablehlo.add %tokens, %3 : tensor<8xi32>
  %5 = stablehlo.select %2, %4, %tokens : tensor<8xi1>, tensor<8xi32>
  %6 = stablehlo.reshape %5 : (tensor<8xi32>) -> tensor<8x1xi32>
  %7 = "stablehlo.gather"(%table, %6) <{dimension_numbers = #stablehlo.gather<offset_dims = [1], collapsed_slice_dims = [0], start_index_map = [0], index_vector_dim = 1>, slice_sizes = array<i64: 1, 8>}> : (tensor<16x8xf32>, tensor<8x1xi32>) -> tensor<8x8xf32>
  %8 = stablehlo.iota dim = 0 : tensor<8xi32>
  %9 = stablehlo.convert %8 : (tensor<8xi32>) -> tensor<8xf32>
  %10 = stablehlo.broadcast_in_dim %9, dims = [0] : (tensor<8xf32>) -> tensor<8x8xf32>
  %11 = stablehlo.add %7, %10 : tensor<8x8xf32>
  %12 = stablehlo.tanh %11 : tensor<8x8xf32>
  %13 = stablehlo.negate %table : tensor<16x8xf32>
  %14 = "stablehlo.scatter"(%13, %6, %11) <{scatter_dimension_numbers = #stablehlo.scatter<update_window_dims = [1], inserted_window_dims = [0], scatter_dims_to_operand_dims = [0], index_vector_dim = 1>}> ({
  ^bb0(%l: tensor<f32>, %r: tensor<f32>):
    %s = stablehlo.add %l, %r : tensor<f32>
    stablehlo.return %s : tensor<f32>
  }) : (tensor<16x8xf32>, tensor<8x1xi32>, tensor<8x8xf32>) -> tensor<16x8xf32>
  %15 = stablehlo.abs %14 : tensor<16x8xf32>
  return %12, %15 : tensor<8x8xf32>, tensor<16x8xf32>
}
