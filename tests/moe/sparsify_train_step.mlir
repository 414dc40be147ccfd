// RUN: shlo-opt %s --moe-sparsify --dead-ops --mlir-print-local-scope --split-input-file | filecheck %s

// A second result adds up over tokens what experts compute, times the weights: zero where nobody selected.
// CHECK-LABEL: func.func @main(%arg0: tensor<5x4xf32>
// CHECK: stablehlo.composite "shlo.moe.sparse_matmul"
// CHECK: %[[Y:.*]] = stablehlo.tanh
// CHECK: stablehlo.composite "shlo.moe.all_to_all_combine"
// CHECK: %[[G:.*]] = stablehlo.multiply %[[Y]], {{.*}} : tensor<5x3x6xf32>
// CHECK: %[[CLOSED:.*]] = stablehlo.select {{.*}}, %[[G]], {{.*}} : tensor<5x3x6xi1>, tensor<5x3x6xf32>
// CHECK: stablehlo.reduce(%[[CLOSED]]
func.func @main(%x: tensor<5x4xf32>, %w: tensor<3x4x6xf32>, %weights: tensor<5x2xf32>, %indices: tensor<5x2xi32>)
    -> (tensor<5x6xf32>, tensor<3x6xf32>) {
  %zero = stablehlo.constant dense<0.0> : tensor<f32>
  %0 = stablehlo.iota dim = 2 : tensor<5x2x3xi32>
  %1 = stablehlo.broadcast_in_dim %indices, dims = [0, 1] : (tensor<5x2xi32>) -> tensor<5x2x3xi32>
  %2 = stablehlo.compare EQ, %1, %0 : (tensor<5x2x3xi32>, tensor<5x2x3xi32>) -> tensor<5x2x3xi1>
  %3 = stablehlo.convert %2 : (tensor<5x2x3xi1>) -> tensor<5x2x3xf32>
  %4 = stablehlo.broadcast_in_dim %weights, dims = [0, 1] : (tensor<5x2xf32>) -> tensor<5x2x3xf32>
  %5 = stablehlo.multiply %3, %4 : tensor<5x2x3xf32>
  %6 = stablehlo.reduce(%5 init: %zero) applies stablehlo.add across dimensions = [1]
    : (tensor<5x2x3xf32>, tensor<f32>) -> tensor<5x3xf32>
  %7 = stablehlo.dot_general %x, %w, contracting_dims = [1] x [1]
    : (tensor<5x4xf32>, tensor<3x4x6xf32>) -> tensor<5x3x6xf32>
  %8 = stablehlo.tanh %7 : tensor<5x3x6xf32>
  %9 = stablehlo.broadcast_in_dim %6, dims = [0, 1] : (tensor<5x3xf32>) -> tensor<5x3x6xf32>
  %10 = stablehlo.multiply %8, %9 : tensor<5x3x6xf32>
  %11 = stablehlo.reduce(%10 init: %zero) applies stablehlo.add across dimensions = [1]
    : (tensor<5x3x6xf32>, tensor<f32>) -> tensor<5x6xf32>
  %g = stablehlo.multiply %8, %9 : tensor<5x3x6xf32>
  %r = stablehlo.reduce(%g init: %zero) applies stablehlo.add across dimensions = [0] : (tensor<5x3x6xf32>, tensor<f32>) -> tensor<3x6xf32>
  return %11, %r : tensor<5x6xf32>, tensor<3x6xf32>
}

// -----

// It adds up what all experts compute for all tokens: nothing may be left out.
// CHECK-LABEL: func.func @main(%arg0: tensor<5x4xf32>
// CHECK: stablehlo.dot_general
// CHECK-NOT: shlo.moe
func.func @main(%x: tensor<5x4xf32>, %w: tensor<3x4x6xf32>, %weights: tensor<5x2xf32>, %indices: tensor<5x2xi32>)
    -> (tensor<5x6xf32>, tensor<3x6xf32>) {
  %zero = stablehlo.constant dense<0.0> : tensor<f32>
  %0 = stablehlo.iota dim = 2 : tensor<5x2x3xi32>
  %1 = stablehlo.broadcast_in_dim %indices, dims = [0, 1] : (tensor<5x2xi32>) -> tensor<5x2x3xi32>
  %2 = stablehlo.compare EQ, %1, %0 : (tensor<5x2x3xi32>, tensor<5x2x3xi32>) -> tensor<5x2x3xi1>
  %3 = stablehlo.convert %2 : (tensor<5x2x3xi1>) -> tensor<5x2x3xf32>
  %4 = stablehlo.broadcast_in_dim %weights, dims = [0, 1] : (tensor<5x2xf32>) -> tensor<5x2x3xf32>
  %5 = stablehlo.multiply %3, %4 : tensor<5x2x3xf32>
  %6 = stablehlo.reduce(%5 init: %zero) applies stablehlo.add across dimensions = [1]
    : (tensor<5x2x3xf32>, tensor<f32>) -> tensor<5x3xf32>
  %7 = stablehlo.dot_general %x, %w, contracting_dims = [1] x [1]
    : (tensor<5x4xf32>, tensor<3x4x6xf32>) -> tensor<5x3x6xf32>
  %8 = stablehlo.tanh %7 : tensor<5x3x6xf32>
  %9 = stablehlo.broadcast_in_dim %6, dims = [0, 1] : (tensor<5x3xf32>) -> tensor<5x3x6xf32>
  %10 = stablehlo.multiply %8, %9 : tensor<5x3x6xf32>
  %11 = stablehlo.reduce(%10 init: %zero) applies stablehlo.add across dimensions = [1]
    : (tensor<5x3x6xf32>, tensor<f32>) -> tensor<5x6xf32>
  %g = stablehlo.negate %8 : tensor<5x3x6xf32>
  %r = stablehlo.reduce(%g init: %zero) applies stablehlo.add across dimensions = [0] : (tensor<5x3x6xf32>, tensor<f32>) -> tensor<3x6xf32>
  return %11, %r : tensor<5x6xf32>, tensor<3x6xf32>
}
