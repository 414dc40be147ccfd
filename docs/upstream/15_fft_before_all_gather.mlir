// An all_gather along the last dimension of what an fft makes.
module attributes {mhlo.num_replicas = 2 : i32} {
  func.func @main(%a: tensor<4x8xcomplex<f32>>) -> tensor<4x16xf32> {
    %0 = stablehlo.fft %a, type = FFT, length = [8] : (tensor<4x8xcomplex<f32>>) -> tensor<4x8xcomplex<f32>>
    %1 = "stablehlo.all_gather"(%0) <{all_gather_dim = 1 : i64, replica_groups = dense<[[0, 1]]> : tensor<1x2xi64>}>
      : (tensor<4x8xcomplex<f32>>) -> tensor<4x16xcomplex<f32>>
    %2 = stablehlo.real %1 : (tensor<4x16xcomplex<f32>>) -> tensor<4x16xf32>
    return %2 : tensor<4x16xf32>
  }
}
