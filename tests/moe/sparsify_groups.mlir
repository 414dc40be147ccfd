// RUN: shlo-opt %s --moe-sparsify --dead-ops --mlir-print-local-scope --split-input-file | filecheck %s

// JAX's spelling of a ragged dot for back ends that have none: the groups are the mask.
// CHECK-LABEL: func.func @main(%arg0: tensor<12x6xf32>
// CHECK: stablehlo.composite "shlo.moe.sparse_matmul"
// CHECK-SAME: (tensor<1x12x1x6xf32>, tensor<1x4x6x5xf32>, tensor<1x12x1x4xf32>)
// CHECK: stablehlo.select {{.*}} : tensor<12x4x5xi1>, tensor<12x4x5xf32>
// CHECK: stablehlo.reduce{{.*}} across dimensions = [1]
// CHECK: stablehlo.composite "shlo.moe.sparse_matmul"
// CHECK: return
func.func @main(%x: tensor<12x6xf32>, %w: tensor<4x6x5xf32>, %v: tensor<4x5x6xf32>, %sizes: tensor<4xi32>)
    -> tensor<12x6xf32> {
  %none = stablehlo.constant dense<0> : tensor<i32>
  %zero = stablehlo.constant dense<0.0> : tensor<f32>
  %0 = "stablehlo.reduce_window"(%sizes, %none) <{padding = dense<[[3, 0]]> : tensor<1x2xi64>, window_dimensions =
    array<i64: 4>, window_strides = array<i64: 1>}> ({
  ^bb0(%a: tensor<i32>, %b: tensor<i32>):
    %sum = stablehlo.add %a, %b : tensor<i32>
    stablehlo.return %sum : tensor<i32>
  }) : (tensor<4xi32>, tensor<i32>) -> tensor<4xi32>
  %1 = stablehlo.reshape %none : (tensor<i32>) -> tensor<1xi32>
  %2 = stablehlo.slice %0 [0:3] : (tensor<4xi32>) -> tensor<3xi32>
  %3 = stablehlo.concatenate %1, %2, dim = 0 : (tensor<1xi32>, tensor<3xi32>) -> tensor<4xi32>
  %4 = stablehlo.iota dim = 1 : tensor<4x12x6xi32>
  %5 = stablehlo.broadcast_in_dim %3, dims = [0] : (tensor<4xi32>) -> tensor<4x12x6xi32>
  %6 = stablehlo.broadcast_in_dim %0, dims = [0] : (tensor<4xi32>) -> tensor<4x12x6xi32>
  %7 = stablehlo.compare LE, %5, %4 : (tensor<4x12x6xi32>, tensor<4x12x6xi32>) -> tensor<4x12x6xi1>
  %8 = stablehlo.compare LT, %4, %6 : (tensor<4x12x6xi32>, tensor<4x12x6xi32>) -> tensor<4x12x6xi1>
  %9 = stablehlo.and %7, %8 : tensor<4x12x6xi1>
  %10 = stablehlo.broadcast_in_dim %x, dims = [1, 2] : (tensor<12x6xf32>) -> tensor<4x12x6xf32>
  %11 = stablehlo.broadcast_in_dim %zero, dims = [] : (tensor<f32>) -> tensor<4x12x6xf32>
  %12 = stablehlo.select %9, %10, %11 : tensor<4x12x6xi1>, tensor<4x12x6xf32>
  %13 = stablehlo.dot_general %12, %w, contracting_dims = [2, 0] x [1, 0]
    : (tensor<4x12x6xf32>, tensor<4x6x5xf32>) -> tensor<12x5xf32>
  %14 = stablehlo.negate %13 : tensor<12x5xf32>
  %15 = stablehlo.slice %9 [0:4, 0:12, 0:5] : (tensor<4x12x6xi1>) -> tensor<4x12x5xi1>
  %16 = stablehlo.iota dim = 1 : tensor<4x12x5xi32>
  %17 = stablehlo.broadcast_in_dim %3, dims = [0] : (tensor<4xi32>) -> tensor<4x12x5xi32>
  %18 = stablehlo.broadcast_in_dim %0, dims = [0] : (tensor<4xi32>) -> tensor<4x12x5xi32>
  %19 = stablehlo.compare LE, %17, %16 : (tensor<4x12x5xi32>, tensor<4x12x5xi32>) -> tensor<4x12x5xi1>
  %20 = stablehlo.compare LT, %16, %18 : (tensor<4x12x5xi32>, tensor<4x12x5xi32>) -> tensor<4x12x5xi1>
  %21 = stablehlo.and %19, %20 : tensor<4x12x5xi1>
  %22 = stablehlo.broadcast_in_dim %14, dims = [1, 2] : (tensor<12x5xf32>) -> tensor<4x12x5xf32>
  %23 = stablehlo.broadcast_in_dim %zero, dims = [] : (tensor<f32>) -> tensor<4x12x5xf32>
  %24 = stablehlo.select %21, %22, %23 : tensor<4x12x5xi1>, tensor<4x12x5xf32>
  %25 = stablehlo.dot_general %v, %24, contracting_dims = [0, 1] x [0, 2]
    : (tensor<4x5x6xf32>, tensor<4x12x5xf32>) -> tensor<6x12xf32>
  %26 = stablehlo.transpose %25, dims = [1, 0] : (tensor<6x12xf32>) -> tensor<12x6xf32>
  return %26 : tensor<12x6xf32>
}

// -----

// A scatter moves tokens to places of experts: nothing to make sparse.
// CHECK-LABEL: func.func @main(%arg0: tensor<6x4xf32>
// CHECK: stablehlo.dot_general
// CHECK-NOT: shlo.moe
func.func @main(%x: tensor<6x4xf32>, %w: tensor<3x4x5xf32>, %i: tensor<6xi32>) -> tensor<3x2x5xf32> {

  %zero = stablehlo.constant dense<0.0> : tensor<3x2x4xf32>
  %0 = stablehlo.reshape %i : (tensor<6xi32>) -> tensor<6x1xi32>
  %1 = stablehlo.concatenate %0, %0, dim = 1 : (tensor<6x1xi32>, tensor<6x1xi32>) -> tensor<6x2xi32>
  %2 = "stablehlo.scatter"(%zero, %1, %x) <{scatter_dimension_numbers = #stablehlo.scatter<update_window_dims = [1],
    inserted_window_dims = [0, 1], scatter_dims_to_operand_dims = [0, 1], index_vector_dim = 1>}> ({
  ^bb0(%a: tensor<f32>, %b: tensor<f32>):
    stablehlo.return %b : tensor<f32>
  }) : (tensor<3x2x4xf32>, tensor<6x2xi32>, tensor<6x4xf32>) -> tensor<3x2x4xf32>
  %3 = stablehlo.dot_general %2, %w, batching_dims = [0] x [0], contracting_dims = [2] x [1]
    : (tensor<3x2x4xf32>, tensor<3x4x5xf32>) -> tensor<3x2x5xf32>
  return %3 : tensor<3x2x5xf32>
}
