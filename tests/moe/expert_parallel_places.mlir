// RUN: shlo-opt %s --moe-sparsify | filecheck %s --check-prefix=LEFT
// RUN: shlo-opt %s --moe-expert-parallel | filecheck %s

// GShard's spelling: a one-hot moves tokens to places of experts. There is nothing to make sparse.
// LEFT-NOT: shlo.moe
// What was moved is split over experts, before the first product of the experts reads it.
// CHECK: stablehlo.multiply {{.*}} : tensor<4x8x8x2xf32>
// CHECK: %[[MOVED:.*]] = stablehlo.dot_general {{.*}}sdy.sharding_rule
// CHECK-NEXT: %[[TURNED:.*]] = stablehlo.transpose %[[MOVED]]
// CHECK-NEXT: %[[SPLIT:.*]] = sdy.sharding_constraint %[[TURNED]] <@mesh, [{"x"}, {?}, {?}, {?}]>
// CHECK-NEXT: stablehlo.dot_general %[[SPLIT]]
// CHECK-NOT: sdy.sharding_constraint
sdy.mesh @mesh = <["x"=4]>
func.func @main(%x: tensor<4x8x6xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {}, {}]>}, %expert: tensor<4x8xi32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {}]>}, %weight: tensor<4x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {}]>},
                %up: tensor<8x6x10xf32>, %down: tensor<8x10x6xf32>) -> tensor<4x8x6xf32> {
  %zero = stablehlo.constant dense<0.0> : tensor<f32>
  %0 = stablehlo.broadcast_in_dim %expert, dims = [0, 1] : (tensor<4x8xi32>) -> tensor<4x8x8xi32>
  %1 = stablehlo.iota dim = 2 : tensor<4x8x8xi32>
  %2 = stablehlo.compare EQ, %0, %1 : (tensor<4x8x8xi32>, tensor<4x8x8xi32>) -> tensor<4x8x8xi1>
  %hot = stablehlo.convert %2 : (tensor<4x8x8xi1>) -> tensor<4x8x8xf32>
  %3 = "stablehlo.reduce_window"(%hot, %zero) <{padding = dense<[[0, 0], [7, 0], [0, 0]]> : tensor<3x2xi64>,
    window_dimensions = array<i64: 1, 8, 1>, window_strides = array<i64: 1, 1, 1>}> ({
  ^bb0(%a: tensor<f32>, %b: tensor<f32>):
    %sum = stablehlo.add %a, %b : tensor<f32>
    stablehlo.return %sum : tensor<f32>
  }) : (tensor<4x8x8xf32>, tensor<f32>) -> tensor<4x8x8xf32>
  %4 = stablehlo.multiply %3, %hot : tensor<4x8x8xf32>
  %5 = stablehlo.reduce(%4 init: %zero) applies stablehlo.add across dimensions = [2]
    : (tensor<4x8x8xf32>, tensor<f32>) -> tensor<4x8xf32>
  %one = stablehlo.constant dense<1.0> : tensor<4x8xf32>
  %6 = stablehlo.subtract %5, %one : tensor<4x8xf32>
  %7 = stablehlo.broadcast_in_dim %6, dims = [0, 1] : (tensor<4x8xf32>) -> tensor<4x8x2xf32>
  %8 = stablehlo.iota dim = 2 : tensor<4x8x2xf32>
  %9 = stablehlo.compare EQ, %7, %8 : (tensor<4x8x2xf32>, tensor<4x8x2xf32>) -> tensor<4x8x2xi1>
  %place = stablehlo.convert %9 : (tensor<4x8x2xi1>) -> tensor<4x8x2xf32>
  %10 = stablehlo.broadcast_in_dim %hot, dims = [0, 1, 2] : (tensor<4x8x8xf32>) -> tensor<4x8x8x2xf32>
  %11 = stablehlo.broadcast_in_dim %place, dims = [0, 1, 3] : (tensor<4x8x2xf32>) -> tensor<4x8x8x2xf32>
  %dispatch = stablehlo.multiply %10, %11 : tensor<4x8x8x2xf32>
  %12 = stablehlo.broadcast_in_dim %weight, dims = [0, 1] : (tensor<4x8xf32>) -> tensor<4x8x8x2xf32>
  %combine = stablehlo.multiply %dispatch, %12 : tensor<4x8x8x2xf32>
  %13 = stablehlo.dot_general %dispatch, %x, batching_dims = [0] x [0], contracting_dims = [1] x [1]
    : (tensor<4x8x8x2xf32>, tensor<4x8x6xf32>) -> tensor<4x8x2x6xf32>
  %14 = stablehlo.transpose %13, dims = [1, 0, 2, 3] : (tensor<4x8x2x6xf32>) -> tensor<8x4x2x6xf32>
  %15 = stablehlo.dot_general %14, %up, batching_dims = [0] x [0], contracting_dims = [3] x [1]
    : (tensor<8x4x2x6xf32>, tensor<8x6x10xf32>) -> tensor<8x4x2x10xf32>
  %16 = stablehlo.tanh %15 : tensor<8x4x2x10xf32>
  %17 = stablehlo.dot_general %16, %down, batching_dims = [0] x [0], contracting_dims = [3] x [1]
    : (tensor<8x4x2x10xf32>, tensor<8x10x6xf32>) -> tensor<8x4x2x6xf32>
  %18 = stablehlo.dot_general %combine, %17, batching_dims = [0] x [1], contracting_dims = [2, 3] x [0, 2]
    : (tensor<4x8x8x2xf32>, tensor<8x4x2x6xf32>) -> tensor<4x8x6xf32>
  return %18 : tensor<4x8x6xf32>
}
