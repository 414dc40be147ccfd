// RUN: shlo-opt %s --combine-collectives --split-input-file | filecheck %s
// RUN: shlo-opt %s --combine-collectives=bytes=31 --split-input-file | filecheck %s --check-prefix=SMALL
// RUN: shlo-opt %s --combine-collectives --split-input-file --explain-removed 2>&1 | filecheck %s --check-prefix=WHY

// The use of the first moves behind the combined one; 16 and 16 bytes are more than 31.
// CHECK-LABEL: @main
// CHECK-NEXT: %[[SINE:.*]] = stablehlo.sine %arg1
// CHECK-NEXT: %[[ALL:.*]]:2 = "stablehlo.all_gather"(%arg0, %[[SINE]])
// CHECK-NEXT: %[[NEGATED:.*]] = stablehlo.negate %[[ALL]]#0
// CHECK-NEXT: return %[[NEGATED]], %[[ALL]]#1
// SMALL-LABEL: @main
// SMALL: "stablehlo.all_gather"(%arg0)
// SMALL-NEXT: stablehlo.negate
// SMALL: "stablehlo.all_gather"(%{{.*}})
// WHY: it is part of a combined collective
func.func @main(%x: tensor<4xf32>, %y: tensor<4xf32>) -> (tensor<8xf32>, tensor<8xf32>) {
  %0 = "stablehlo.all_gather"(%x) <{all_gather_dim = 0 : i64, replica_groups = dense<[[0, 1]]> : tensor<1x2xi64>}>
    : (tensor<4xf32>) -> tensor<8xf32>
  %1 = stablehlo.negate %0 : tensor<8xf32>
  %2 = stablehlo.sine %y : tensor<4xf32>
  %3 = "stablehlo.all_gather"(%2) <{all_gather_dim = 0 : i64, replica_groups = dense<[[0, 1]]> : tensor<1x2xi64>}>
    : (tensor<4xf32>) -> tensor<8xf32>
  return %1, %3 : tensor<8xf32>, tensor<8xf32>
}

// -----

// Nothing moves across an op that has an effect.
// CHECK-LABEL: @main
// CHECK: "stablehlo.all_gather"(%arg0)
// CHECK: stablehlo.custom_call
// CHECK: "stablehlo.all_gather"(%arg1)
func.func @main(%x: tensor<4xf32>, %y: tensor<4xf32>) -> (tensor<8xf32>, tensor<8xf32>) {
  %0 = "stablehlo.all_gather"(%x) <{all_gather_dim = 0 : i64, replica_groups = dense<[[0, 1]]> : tensor<1x2xi64>}>
    : (tensor<4xf32>) -> tensor<8xf32>
  stablehlo.custom_call @say(%0) {has_side_effect = true} : (tensor<8xf32>) -> ()
  %1 = "stablehlo.all_gather"(%y) <{all_gather_dim = 0 : i64, replica_groups = dense<[[0, 1]]> : tensor<1x2xi64>}>
    : (tensor<4xf32>) -> tensor<8xf32>
  return %0, %1 : tensor<8xf32>, tensor<8xf32>
}

// -----

// One that the other needs, other groups, and another dimension.
// CHECK-LABEL: @main
// CHECK-COUNT-4: = "stablehlo.all_gather"
func.func @main(%x: tensor<4x4xf32>)
    -> (tensor<16x4xf32>, tensor<4x8xf32>, tensor<8x4xf32>) {
  %0 = "stablehlo.all_gather"(%x) <{all_gather_dim = 0 : i64,
      replica_groups = dense<[[0, 1], [2, 3]]> : tensor<2x2xi64>}> : (tensor<4x4xf32>) -> tensor<8x4xf32>
  %1 = "stablehlo.all_gather"(%0) <{all_gather_dim = 0 : i64,
      replica_groups = dense<[[0, 1], [2, 3]]> : tensor<2x2xi64>}> : (tensor<8x4xf32>) -> tensor<16x4xf32>
  %2 = "stablehlo.all_gather"(%x) <{all_gather_dim = 1 : i64,
      replica_groups = dense<[[0, 1], [2, 3]]> : tensor<2x2xi64>}> : (tensor<4x4xf32>) -> tensor<4x8xf32>
  %3 = "stablehlo.all_gather"(%x) <{all_gather_dim = 0 : i64,
      replica_groups = dense<[[0, 2], [1, 3]]> : tensor<2x2xi64>}> : (tensor<4x4xf32>) -> tensor<8x4xf32>
  return %1, %2, %3 : tensor<16x4xf32>, tensor<4x8xf32>, tensor<8x4xf32>
}
