func.func @main(%x: tensor<8x16xf32>, %n: tensor<8xi32>) -> (tensor<8xf32>, tensor<8xf32>, tensor<8x16xf32>) {
  %zero = stablehlo.constant dense<0.0> : tensor<f32>
  %half = stablehlo.constant dense<0.5> : tensor<f32>
  %0 = stablehlo.iota dim = 1 : tensor<8x16xi32>
  %1 = stablehlo.broadcast_in_dim %n, dims = [0] : (tensor<8xi32>) -> tensor<8x16xi32>
  %2 = stablehlo.compare LT, %0, %1 : (tensor<8x16xi32>, tensor<8x16xi32>) -> tensor<8x16xi1>
  %3 = stablehlo.compare LE, %0, %1 : (tensor<8x16xi32>, tensor<8x16xi32>) -> tensor<8x16xi1>
  %4 = stablehlo.broadcast_in_dim %zero, dims = [] : (tensor<f32>) -> tensor<8x16xf32>
  %18 = stablehlo.broadcast_in_dim %half, dims = [] : (tensor<f32>) -> tensor<8x16xf32>
  %5 = stablehlo.tanh %x : tensor<8x16xf32>
  %6 = stablehlo.select %2, %5, %4 : tensor<8x16xi1>, tensor<8x16xf32>
  %7 = stablehlo.select %3, %5, %18 : tensor<8x16xi1>, tensor<8x16xf32>
  %8 = stablehlo.reduce(%6 init: %zero) applies stablehlo.add across dimensions = [1] : (tensor<8x16xf32>, tensor<f32>) -> tensor<8xf32>
  %9 = stablehlo.reduce(%7 init: %zero) applies stablehlo.maximum across dimensions = [1] : (tensor<8x16xf32>, tensor<f32>) -> tensor<8xf32>
  %10 = stablehlo.convert %n : (tensor<8xi32>) -> tensor<8xf32>
  %11 = stablehlo.broadcast_in_dim %half, dims = [] : (tensor<f32>) -> tensor<8xf32>
  %12 = stablehlo.abs %10 : tensor<8xf32>
  %13 = stablehlo.add %12, %11 : tensor<8xf32>
  %14 = stablehlo.divide %8, %13 : tensor<8xf32>
  %15 = stablehlo.sqrt %9 : tensor<8xf32>
  %16 = stablehlo.broadcast_in_dim %14, dims = [0] : (tensor<8xf32>) -> tensor<8x16xf32>
  %17 = stablehlo.subtract %x, %16 : tensor<8x16xf32>
  return %14, %15, %17 : tensor<8xf32>, tensor<8xf32>, tensor<8x16xf32>
}
