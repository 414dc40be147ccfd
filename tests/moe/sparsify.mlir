// RUN: shlo-opt %s --inline --moe-sparsify --dead-ops --mlir-print-local-scope | filecheck %s
// RUN: shlo-opt %s --moe-sparsify | filecheck %s --check-prefix=CALLS

// keras-hub's spelling: experts first, a one-hot function, unit dimensions in between.
// CHECK-LABEL: func.func @main
// CHECK: stablehlo.composite "shlo.moe.all_to_all_dispatch"
// CHECK: stablehlo.composite "shlo.moe.sparse_matmul"
// CHECK-SAME: is_input_a_sparse = false, is_input_b_sparse = true
// CHECK: stablehlo.tanh
// CHECK: stablehlo.composite "shlo.moe.sparse_matmul"
// CHECK-SAME: is_input_a_sparse = true, is_input_b_sparse = false
// CHECK: stablehlo.composite "shlo.moe.all_to_all_combine"
// CHECK-SAME: num_experts_per_tok = 2
// CHECK: return
// The one-hot is in a function, so without inlining there is no layer to be seen.
// CALLS-NOT: shlo.moe
func.func @main(%x: tensor<5x4xf32>, %w: tensor<3x4x6xf32>, %v: tensor<3x6x4xf32>, %weights: tensor<5x2xf32>,
                %indices: tensor<5x2xi32>) -> tensor<5x4xf32> {
  %zero = stablehlo.constant dense<0.0> : tensor<f32>
  %0 = func.call @one_hot(%indices) : (tensor<5x2xi32>) -> tensor<5x2x3xf32>
  %1 = stablehlo.broadcast_in_dim %weights, dims = [0, 1] : (tensor<5x2xf32>) -> tensor<5x2x1xf32>
  %2 = stablehlo.broadcast_in_dim %1, dims = [0, 1, 2] : (tensor<5x2x1xf32>) -> tensor<5x2x3xf32>
  %3 = stablehlo.multiply %0, %2 : tensor<5x2x3xf32>
  %4 = stablehlo.reduce(%3 init: %zero) applies stablehlo.add across dimensions = [1]
    : (tensor<5x2x3xf32>, tensor<f32>) -> tensor<5x3xf32>
  %5 = stablehlo.transpose %4, dims = [1, 0] : (tensor<5x3xf32>) -> tensor<3x5xf32>
  %6 = stablehlo.dot_general %w, %x, contracting_dims = [1] x [1]
    : (tensor<3x4x6xf32>, tensor<5x4xf32>) -> tensor<3x6x5xf32>
  %7 = stablehlo.transpose %6, dims = [0, 2, 1] : (tensor<3x6x5xf32>) -> tensor<3x5x6xf32>
  %8 = stablehlo.tanh %7 : tensor<3x5x6xf32>
  %9 = stablehlo.dot_general %8, %v, batching_dims = [0] x [0], contracting_dims = [2] x [1]
    : (tensor<3x5x6xf32>, tensor<3x6x4xf32>) -> tensor<3x5x4xf32>
  %10 = stablehlo.broadcast_in_dim %5, dims = [0, 1] : (tensor<3x5xf32>) -> tensor<3x5x1xf32>
  %11 = stablehlo.broadcast_in_dim %10, dims = [0, 1, 2] : (tensor<3x5x1xf32>) -> tensor<3x5x4xf32>
  %12 = stablehlo.multiply %9, %11 : tensor<3x5x4xf32>
  %13 = stablehlo.reduce(%12 init: %zero) applies stablehlo.add across dimensions = [0]
    : (tensor<3x5x4xf32>, tensor<f32>) -> tensor<5x4xf32>
  return %13 : tensor<5x4xf32>
}
func.func private @one_hot(%indices: tensor<5x2xi32>) -> tensor<5x2x3xf32> {
  %0 = stablehlo.broadcast_in_dim %indices, dims = [0, 1] : (tensor<5x2xi32>) -> tensor<5x2x1xi32>
  %1 = stablehlo.iota dim = 2 : tensor<1x1x3xi32>
  %2 = stablehlo.broadcast_in_dim %0, dims = [0, 1, 2] : (tensor<5x2x1xi32>) -> tensor<5x2x3xi32>
  %3 = stablehlo.broadcast_in_dim %1, dims = [0, 1, 2] : (tensor<1x1x3xi32>) -> tensor<5x2x3xi32>
  %4 = stablehlo.compare EQ, %2, %3, SIGNED : (tensor<5x2x3xi32>, tensor<5x2x3xi32>) -> tensor<5x2x3xi1>
  %5 = stablehlo.convert %4 : (tensor<5x2x3xi1>) -> tensor<5x2x3xf32>
  return %5 : tensor<5x2x3xf32>
}
