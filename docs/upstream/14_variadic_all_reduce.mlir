// An all_reduce of two operands with a channel.
module attributes {mhlo.num_replicas = 2 : i32} {
  func.func @main(%a: tensor<2xf32>, %b: tensor<3x2xf32>) -> (tensor<2xf32>, tensor<3x2xf32>) {
    %0:2 = "stablehlo.all_reduce"(%a, %b) <{channel_handle = #stablehlo.channel_handle<handle = 1, type = 1>,
        replica_groups = dense<[[0, 1]]> : tensor<1x2xi64>, use_global_device_ids}> ({
      ^bb0(%x: tensor<f32>, %y: tensor<f32>):
        %1 = stablehlo.add %x, %y : tensor<f32>
        stablehlo.return %1 : tensor<f32>
    }) : (tensor<2xf32>, tensor<3x2xf32>) -> (tensor<2xf32>, tensor<3x2xf32>)
    return %0#0, %0#1 : tensor<2xf32>, tensor<3x2xf32>
  }
}
