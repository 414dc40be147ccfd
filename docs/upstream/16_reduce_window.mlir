// Sums of windows from 1.0, padded by one: padding has the initial value, 1.0, as the specification says.
// Of zeros: a window holds three elements, and the initial value; those at the ends hold one element of padding more.
module attributes {mhlo.num_replicas = 1 : i32} {
  func.func @main() -> tensor<4xf32> {
    %a = stablehlo.constant dense<0.0> : tensor<4xf32>
    %one = stablehlo.constant dense<1.0> : tensor<f32>
    %0 = "stablehlo.reduce_window"(%a, %one) <{window_dimensions = array<i64: 3>,
        padding = dense<[[1, 1]]> : tensor<1x2xi64>}> ({
      ^bb0(%x: tensor<f32>, %y: tensor<f32>):
        %1 = stablehlo.add %x, %y : tensor<f32>
        stablehlo.return %1 : tensor<f32>
    }) : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
    return %0 : tensor<4xf32>
  }
}
