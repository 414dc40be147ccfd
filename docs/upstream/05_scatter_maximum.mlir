// Split updates of a scatter with a maximum: what the devices have is to be joined by a maximum.
sdy.mesh @mesh = <["x"=4]>
func.func @main(%a: tensor<16xf32>, %i: tensor<8x1xi32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {}]>},
                %u: tensor<8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}]>}) -> tensor<16xf32> {
  %0 = "stablehlo.scatter"(%a, %i, %u) <{scatter_dimension_numbers = #stablehlo.scatter<inserted_window_dims = [0],
      scatter_dims_to_operand_dims = [0], index_vector_dim = 1>}> ({
    ^bb0(%x: tensor<f32>, %y: tensor<f32>):
      %1 = stablehlo.maximum %x, %y : tensor<f32>
      stablehlo.return %1 : tensor<f32>
  }) : (tensor<16xf32>, tensor<8x1xi32>, tensor<8xf32>) -> tensor<16xf32>
  return %0 : tensor<16xf32>
}
