module @jit__lambda attributes {mhlo.num_partitions = 1 : i32, mhlo.num_replicas = 1 : i32} {
  func.func public @main(%arg0: tensor<8x4xf32>) -> (tensor<8x4xf32> {jax.result_info = "result[0]"}, tensor<2x16xf32> {jax.result_info = "result[1]"}, tensor<2x4xf32> {jax.result_info = "result[2]"}) {
    %0 = stablehlo.slice %arg0 [0:2, 0:4] : (tensor<8x4xf32>) -> tensor<2x4xf32>
    %1 = stablehlo.slice %arg0 [2:4, 0:4] : (tensor<8x4xf32>) -> tensor<2x4xf32>
    %2 = stablehlo.slice %arg0 [4:6, 0:4] : (tensor<8x4xf32>) -> tensor<2x4xf32>
    %3 = stablehlo.slice %arg0 [6:8, 0:4] : (tensor<8x4xf32>) -> tensor<2x4xf32>
    %4 = stablehlo.concatenate %0, %1, %2, %3, dim = 1 : (tensor<2x4xf32>, tensor<2x4xf32>, tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x16xf32>
    %5 = stablehlo.reshape %arg0 : (tensor<8x4xf32>) -> tensor<4x2x4xf32>
    %cst = stablehlo.constant dense<0.000000e+00> : tensor<f32>
    %6 = stablehlo.reduce(%5 init: %cst) applies stablehlo.add across dimensions = [0] : (tensor<4x2x4xf32>, tensor<f32>) -> tensor<2x4xf32>
    return %arg0, %4, %6 : tensor<8x4xf32>, tensor<2x16xf32>, tensor<2x4xf32>
  }
}
