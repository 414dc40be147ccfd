// RUN: shlo-opt %s --hoist-gathers --split-input-file | filecheck %s
// RUN: shlo-opt %s --hoist-gathers --split-input-file --explain-removed 2>&1 | filecheck %s --check-prefix=WHY

// Two gathers in a row and what lies between leave both loops; only the last is carried.
// CHECK-LABEL: @main
// CHECK: %[[ONE:.*]] = "stablehlo.all_gather"(%arg0)
// CHECK: %[[NEGATED:.*]] = stablehlo.negate %[[ONE]]
// CHECK: %[[TWO:.*]] = "stablehlo.all_gather"(%[[NEGATED]])
// CHECK: %{{.*}}:4 = stablehlo.while({{.*}} = %[[TWO]])
// CHECK: %{{.*}}:4 = stablehlo.while
// CHECK-NOT: stablehlo.all_gather
// CHECK-NOT: stablehlo.negate
// CHECK: return
// WHY: its value is gathered before the loop
func.func @main(%w: tensor<2x2xf32>, %x: tensor<4x4xf32>, %n: tensor<i32>) -> tensor<4x4xf32> {
  %zero = stablehlo.constant dense<0> : tensor<i32>
  %one = stablehlo.constant dense<1> : tensor<i32>
  %0:3 = stablehlo.while(%i = %n, %v = %w, %y = %x) : tensor<i32>, tensor<2x2xf32>, tensor<4x4xf32>
  cond {
    %1 = stablehlo.compare GT, %i, %zero : (tensor<i32>, tensor<i32>) -> tensor<i1>
    stablehlo.return %1 : tensor<i1>
  } do {
    %1:3 = stablehlo.while(%j = %n, %u = %v, %z = %y) : tensor<i32>, tensor<2x2xf32>, tensor<4x4xf32>
    cond {
      %4 = stablehlo.compare GT, %j, %zero : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %4 : tensor<i1>
    } do {
      %4 = stablehlo.subtract %j, %one : tensor<i32>
      %5 = "stablehlo.all_gather"(%u) <{all_gather_dim = 0 : i64, replica_groups = dense<[[0, 1]]> : tensor<1x2xi64>}>
        : (tensor<2x2xf32>) -> tensor<4x2xf32>
      %6 = stablehlo.negate %5 : tensor<4x2xf32>
      %7 = "stablehlo.all_gather"(%6) <{all_gather_dim = 1 : i64, replica_groups = dense<[[0, 1]]> : tensor<1x2xi64>}>
        : (tensor<4x2xf32>) -> tensor<4x4xf32>
      %8 = stablehlo.multiply %z, %7 : tensor<4x4xf32>
      stablehlo.return %4, %u, %8 : tensor<i32>, tensor<2x2xf32>, tensor<4x4xf32>
    }
    %3 = stablehlo.subtract %i, %one : tensor<i32>
    stablehlo.return %3, %v, %1#2 : tensor<i32>, tensor<2x2xf32>, tensor<4x4xf32>
  }
  return %0#2 : tensor<4x4xf32>
}

// -----

// What the loop changes is gathered in every turn.
// CHECK-LABEL: @main
// CHECK: stablehlo.while
// CHECK: stablehlo.all_gather
func.func @main(%w: tensor<2xf32>, %x: tensor<4xf32>, %n: tensor<i32>) -> tensor<4xf32> {
  %zero = stablehlo.constant dense<0> : tensor<i32>
  %one = stablehlo.constant dense<1> : tensor<i32>
  %0:3 = stablehlo.while(%i = %n, %v = %w, %y = %x) : tensor<i32>, tensor<2xf32>, tensor<4xf32>
  cond {
    %1 = stablehlo.compare GT, %i, %zero : (tensor<i32>, tensor<i32>) -> tensor<i1>
    stablehlo.return %1 : tensor<i1>
  } do {
    %1 = stablehlo.subtract %i, %one : tensor<i32>
    %2 = stablehlo.negate %v : tensor<2xf32>
    %3 = "stablehlo.all_gather"(%v) <{all_gather_dim = 0 : i64, replica_groups = dense<[[0, 1]]> : tensor<1x2xi64>}>
      : (tensor<2xf32>) -> tensor<4xf32>
    stablehlo.return %1, %2, %3 : tensor<i32>, tensor<2xf32>, tensor<4xf32>
  }
  return %0#2 : tensor<4xf32>
}
