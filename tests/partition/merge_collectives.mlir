// RUN: shlo-opt %s --merge-collectives --split-input-file | filecheck %s
// RUN: shlo-opt %s --merge-collectives=reorder-floats=false --split-input-file | filecheck %s --check-prefix=KEPT
// RUN: shlo-opt %s --merge-collectives --split-input-file --explain-removed 2>&1 | filecheck %s --check-prefix=WHY

// Pieces lie as they were gathered: the first collective's devices next to each other.
// CHECK-LABEL: @main
// CHECK-NEXT: %[[ALL:.*]] = "stablehlo.all_gather"(%arg0)
// CHECK-SAME: dense<{{\[\[}}0, 2, 1, 3], [4, 6, 5, 7]]>
// CHECK-NEXT: return %[[ALL]]
// KEPT-LABEL: @main
// KEPT: dense<{{\[\[}}0, 2, 1, 3], [4, 6, 5, 7]]>
// WHY: the next collective does its part
func.func @main(%x: tensor<1xf32>) -> tensor<4xf32> {
  %0 = "stablehlo.all_gather"(%x) <{all_gather_dim = 0 : i64,
      replica_groups = dense<[[0, 2], [1, 3], [4, 6], [5, 7]]> : tensor<4x2xi64>}> : (tensor<1xf32>) -> tensor<2xf32>
  %1 = "stablehlo.all_gather"(%0) <{all_gather_dim = 0 : i64,
      replica_groups = dense<[[0, 1], [2, 3], [4, 5], [6, 7]]> : tensor<4x2xi64>}> : (tensor<2xf32>) -> tensor<4xf32>
  return %1 : tensor<4xf32>
}

// -----

// Along another dimension, and where the first is read by something else, both stay.
// CHECK-LABEL: @main
// KEPT-LABEL: @main
// CHECK-COUNT-4: stablehlo.all_gather
func.func @main(%x: tensor<1x1xf32>) -> (tensor<2x2xf32>, tensor<4x1xf32>, tensor<2x1xf32>) {
  %0 = "stablehlo.all_gather"(%x) <{all_gather_dim = 0 : i64,
      replica_groups = dense<[[0, 1], [2, 3]]> : tensor<2x2xi64>}> : (tensor<1x1xf32>) -> tensor<2x1xf32>
  %1 = "stablehlo.all_gather"(%0) <{all_gather_dim = 1 : i64,
      replica_groups = dense<[[0, 2], [1, 3]]> : tensor<2x2xi64>}> : (tensor<2x1xf32>) -> tensor<2x2xf32>
  %2 = "stablehlo.all_gather"(%x) <{all_gather_dim = 0 : i64,
      replica_groups = dense<[[0, 1], [2, 3]]> : tensor<2x2xi64>}> : (tensor<1x1xf32>) -> tensor<2x1xf32>
  %3 = "stablehlo.all_gather"(%2) <{all_gather_dim = 0 : i64,
      replica_groups = dense<[[0, 2], [1, 3]]> : tensor<2x2xi64>}> : (tensor<2x1xf32>) -> tensor<4x1xf32>
  return %1, %3, %2 : tensor<2x2xf32>, tensor<4x1xf32>, tensor<2x1xf32>
}

// -----

// Sums of floating-point numbers are added in another order; a maximum is the same in any.
// CHECK-LABEL: @main
// CHECK-COUNT-2: dense<{{\[\[}}0, 1, 2, 3]]>
// CHECK-NOT: replica_groups
// KEPT-LABEL: @main
// KEPT: stablehlo.all_reduce
// KEPT: stablehlo.all_reduce
// KEPT: dense<{{\[\[}}0, 1, 2, 3]]>
// KEPT-LABEL: @main
func.func @main(%x: tensor<2xf32>) -> (tensor<2xf32>, tensor<2xf32>) {
  %0 = "stablehlo.all_reduce"(%x) <{replica_groups = dense<[[0, 2], [1, 3]]> : tensor<2x2xi64>}> ({
  ^bb0(%a: tensor<f32>, %b: tensor<f32>):
    %c = stablehlo.add %a, %b : tensor<f32>
    stablehlo.return %c : tensor<f32>
  }) : (tensor<2xf32>) -> tensor<2xf32>
  %1 = "stablehlo.all_reduce"(%0) <{replica_groups = dense<[[0, 1], [2, 3]]> : tensor<2x2xi64>}> ({
  ^bb0(%a: tensor<f32>, %b: tensor<f32>):
    %c = stablehlo.add %a, %b : tensor<f32>
    stablehlo.return %c : tensor<f32>
  }) : (tensor<2xf32>) -> tensor<2xf32>
  %2 = "stablehlo.all_reduce"(%x) <{replica_groups = dense<[[0, 2], [1, 3]]> : tensor<2x2xi64>}> ({
  ^bb0(%a: tensor<f32>, %b: tensor<f32>):
    %c = stablehlo.maximum %a, %b : tensor<f32>
    stablehlo.return %c : tensor<f32>
  }) : (tensor<2xf32>) -> tensor<2xf32>
  %3 = "stablehlo.all_reduce"(%2) <{replica_groups = dense<[[0, 1], [2, 3]]> : tensor<2x2xi64>}> ({
  ^bb0(%a: tensor<f32>, %b: tensor<f32>):
    %c = stablehlo.maximum %a, %b : tensor<f32>
    stablehlo.return %c : tensor<f32>
  }) : (tensor<2xf32>) -> tensor<2xf32>
  return %1, %3 : tensor<2xf32>, tensor<2xf32>
}

// -----

// A sum of a maximum is no larger sum, and groups that do not cross like rows and columns make no groups.
// CHECK-LABEL: @main
// CHECK-COUNT-4: stablehlo.all_reduce
func.func @main(%x: tensor<2xi32>) -> (tensor<2xi32>, tensor<2xi32>) {
  %0 = "stablehlo.all_reduce"(%x) <{replica_groups = dense<[[0, 2], [1, 3]]> : tensor<2x2xi64>}> ({
  ^bb0(%a: tensor<i32>, %b: tensor<i32>):
    %c = stablehlo.maximum %a, %b : tensor<i32>
    stablehlo.return %c : tensor<i32>
  }) : (tensor<2xi32>) -> tensor<2xi32>
  %1 = "stablehlo.all_reduce"(%0) <{replica_groups = dense<[[0, 1], [2, 3]]> : tensor<2x2xi64>}> ({
  ^bb0(%a: tensor<i32>, %b: tensor<i32>):
    %c = stablehlo.add %a, %b : tensor<i32>
    stablehlo.return %c : tensor<i32>
  }) : (tensor<2xi32>) -> tensor<2xi32>
  %2 = "stablehlo.all_reduce"(%x) <{replica_groups = dense<[[0, 1], [2, 3], [4, 5]]> : tensor<3x2xi64>}> ({
  ^bb0(%a: tensor<i32>, %b: tensor<i32>):
    %c = stablehlo.add %a, %b : tensor<i32>
    stablehlo.return %c : tensor<i32>
  }) : (tensor<2xi32>) -> tensor<2xi32>
  %3 = "stablehlo.all_reduce"(%2) <{replica_groups = dense<[[1, 2], [3, 4], [5, 0]]> : tensor<3x2xi64>}> ({
  ^bb0(%a: tensor<i32>, %b: tensor<i32>):
    %c = stablehlo.add %a, %b : tensor<i32>
    stablehlo.return %c : tensor<i32>
  }) : (tensor<2xi32>) -> tensor<2xi32>
  return %1, %3 : tensor<2xi32>, tensor<2xi32>
}

// -----

// A region that adds its first argument to itself is no sum.
// CHECK-LABEL: @main
// CHECK-COUNT-2: stablehlo.all_reduce
func.func @main(%x: tensor<2xi32>) -> tensor<2xi32> {
  %0 = "stablehlo.all_reduce"(%x) <{replica_groups = dense<[[0, 2], [1, 3]]> : tensor<2x2xi64>}> ({
  ^bb0(%a: tensor<i32>, %b: tensor<i32>):
    %c = stablehlo.add %a, %a : tensor<i32>
    stablehlo.return %c : tensor<i32>
  }) : (tensor<2xi32>) -> tensor<2xi32>
  %1 = "stablehlo.all_reduce"(%0) <{replica_groups = dense<[[0, 1], [2, 3]]> : tensor<2x2xi64>}> ({
  ^bb0(%a: tensor<i32>, %b: tensor<i32>):
    %c = stablehlo.add %a, %a : tensor<i32>
    stablehlo.return %c : tensor<i32>
  }) : (tensor<2xi32>) -> tensor<2xi32>
  return %1 : tensor<2xi32>
}
