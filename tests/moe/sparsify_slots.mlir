// RUN: shlo-opt %s --moe-sparsify --dead-ops --mlir-print-local-scope --split-input-file | filecheck %s

// Hugging Face's spelling: the weights of its expert in a copy for each of 16 slots, two of a token.
// CHECK-LABEL: func.func @main(%arg0: tensor<8x4xf32>
// CHECK-NOT: stablehlo.gather
// A gather moves numbers beyond the experts to the nearest one.
// CHECK: stablehlo.clamp
// Tokens go once, not slots.
// CHECK: stablehlo.composite "shlo.moe.all_to_all_dispatch"
// CHECK-SAME: (tensor<8x1x1x4xf32>, tensor<8x1x1x2xi32>, tensor<1x1x8x1xi32>)
// CHECK: stablehlo.composite "shlo.moe.sparse_matmul"
// CHECK-SAME: is_input_a_sparse = false, is_input_b_sparse = true
// CHECK: stablehlo.logistic {{.*}} : tensor<8x8x6xf32>
// CHECK: stablehlo.composite "shlo.moe.sparse_matmul"
// CHECK-SAME: is_input_a_sparse = true, is_input_b_sparse = false
// CHECK: stablehlo.composite "shlo.moe.all_to_all_combine"
// CHECK-SAME: num_experts_per_tok = 2
// CHECK: return
func.func @main(%x: tensor<8x4xf32>, %up: tensor<8x12x4xf32>, %down: tensor<8x4x6xf32>, %weights: tensor<8x2xf32>,
                %indices: tensor<8x2xi32>) -> tensor<8x4xf32> {
  %zero = stablehlo.constant dense<0.0> : tensor<f32>
  %0 = stablehlo.broadcast_in_dim %x, dims = [0, 2] : (tensor<8x4xf32>) -> tensor<8x2x4xf32>
  %1 = stablehlo.reshape %0 : (tensor<8x2x4xf32>) -> tensor<16x4xf32>
  %2 = stablehlo.reshape %indices : (tensor<8x2xi32>) -> tensor<16xi32>
  %none = stablehlo.constant dense<0> : tensor<16xi32>
  %all = stablehlo.constant dense<8> : tensor<16xi32>
  %3 = stablehlo.compare LT, %2, %none, SIGNED : (tensor<16xi32>, tensor<16xi32>) -> tensor<16xi1>
  %4 = stablehlo.add %2, %all : tensor<16xi32>
  %5 = stablehlo.select %3, %4, %2 : tensor<16xi1>, tensor<16xi32>
  %6 = stablehlo.broadcast_in_dim %5, dims = [0] : (tensor<16xi32>) -> tensor<16x1xi32>
  %7 = "stablehlo.gather"(%up, %6) <{dimension_numbers = #stablehlo.gather<offset_dims = [1, 2], collapsed_slice_dims =
    [0], start_index_map = [0], index_vector_dim = 1>, slice_sizes = array<i64: 1, 12, 4>}>
    : (tensor<8x12x4xf32>, tensor<16x1xi32>) -> tensor<16x12x4xf32>
  %8 = stablehlo.broadcast_in_dim %1, dims = [0, 1] : (tensor<16x4xf32>) -> tensor<16x4x1xf32>
  %9 = stablehlo.dot_general %7, %8, batching_dims = [0] x [0], contracting_dims = [2] x [1], precision =
    [DEFAULT, DEFAULT] : (tensor<16x12x4xf32>, tensor<16x4x1xf32>) -> tensor<16x12x1xf32>
  %10 = stablehlo.reshape %9 : (tensor<16x12x1xf32>) -> tensor<16x12xf32>
  %11 = stablehlo.slice %10 [0:16, 0:6] : (tensor<16x12xf32>) -> tensor<16x6xf32>
  %12 = stablehlo.slice %10 [0:16, 6:12] : (tensor<16x12xf32>) -> tensor<16x6xf32>
  %13 = stablehlo.logistic %11 : tensor<16x6xf32>
  %14 = stablehlo.multiply %13, %12 : tensor<16x6xf32>
  %15 = "stablehlo.gather"(%down, %6) <{dimension_numbers = #stablehlo.gather<offset_dims = [1, 2],
    collapsed_slice_dims = [0], start_index_map = [0], index_vector_dim = 1>, slice_sizes = array<i64: 1, 4, 6>}>
    : (tensor<8x4x6xf32>, tensor<16x1xi32>) -> tensor<16x4x6xf32>
  %16 = stablehlo.broadcast_in_dim %14, dims = [0, 1] : (tensor<16x6xf32>) -> tensor<16x6x1xf32>
  %17 = stablehlo.dot_general %15, %16, batching_dims = [0] x [0], contracting_dims = [2] x [1]
    : (tensor<16x4x6xf32>, tensor<16x6x1xf32>) -> tensor<16x4x1xf32>
  %18 = stablehlo.reshape %17 : (tensor<16x4x1xf32>) -> tensor<8x2x4xf32>
  %19 = stablehlo.broadcast_in_dim %weights, dims = [0, 1] : (tensor<8x2xf32>) -> tensor<8x2x4xf32>
  %20 = stablehlo.multiply %18, %19 : tensor<8x2x4xf32>
  %21 = stablehlo.reduce(%20 init: %zero) applies stablehlo.add across dimensions = [1]
    : (tensor<8x2x4xf32>, tensor<f32>) -> tensor<8x4xf32>
  return %21 : tensor<8x4xf32>
}

// -----

// A copy of rows of a table by number, multiplied with one matrix for all: an embedding.
// CHECK-LABEL: func.func @main(%arg0: tensor<3x4x6xf32>
// CHECK: stablehlo.gather
// CHECK: stablehlo.dot_general
// CHECK-NOT: shlo.moe
func.func @main(%w: tensor<3x4x6xf32>, %i: tensor<10x1xi32>, %m: tensor<6x6xf32>) -> tensor<10x4x6xf32> {
  %0 = "stablehlo.gather"(%w, %i) <{dimension_numbers = #stablehlo.gather<offset_dims = [1, 2], collapsed_slice_dims =
    [0], start_index_map = [0], index_vector_dim = 1>, slice_sizes = array<i64: 1, 4, 6>}>
    : (tensor<3x4x6xf32>, tensor<10x1xi32>) -> tensor<10x4x6xf32>
  %1 = stablehlo.dot_general %0, %m, contracting_dims = [2] x [0]
    : (tensor<10x4x6xf32>, tensor<6x6xf32>) -> tensor<10x4x6xf32>
  return %1 : tensor<10x4x6xf32>
}
