// One all_gather of two bf16 arrays of unlike rank; parts of the first come out mixed up.
module attributes {mhlo.num_replicas = 2 : i32} {
  func.func @main(%w: tensor<32x32xbf16>, %b: tensor<3x2x32x8xbf16>)
      -> (tensor<4x32x64xbf16>, tensor<3x2x8x4x32xbf16>) {
    %a = stablehlo.broadcast_in_dim %w, dims = [1, 2] : (tensor<32x32xbf16>) -> tensor<1x32x32xbf16>
    %0:2 = "stablehlo.all_gather"(%a, %b) <{all_gather_dim = 2 : i64,
        channel_handle = #stablehlo.channel_handle<handle = 1, type = 1>,
        replica_groups = dense<[[0, 1]]> : tensor<1x2xi64>, use_global_device_ids}>
      : (tensor<1x32x32xbf16>, tensor<3x2x32x8xbf16>) -> (tensor<1x32x64xbf16>, tensor<3x2x64x8xbf16>)
    %1 = stablehlo.broadcast_in_dim %0#0, dims = [0, 1, 2] : (tensor<1x32x64xbf16>) -> tensor<4x32x64xbf16>
    %2 = stablehlo.dot_general %0#1, %1, contracting_dims = [2] x [2]
      : (tensor<3x2x64x8xbf16>, tensor<4x32x64xbf16>) -> tensor<3x2x8x4x32xbf16>
    return %1, %2 : tensor<4x32x64xbf16>, tensor<3x2x8x4x32xbf16>
  }
}
