// RUN: shlo-opt %s --delay-reductions --split-input-file | filecheck %s
// RUN: shlo-opt %s --delay-reductions=reorder-floats=false --split-input-file | filecheck %s --check-prefix=ORDER
// RUN: shlo-opt %s --delay-reductions --split-input-file --explain-removed 2>&1 | filecheck %s --check-prefix=WHY

// What is added between the two stays outside; the reduction is where the second one was.
// CHECK-LABEL: @main
// CHECK-NEXT: %[[SUM:.*]] = stablehlo.add %arg0, %arg1
// CHECK-NEXT: %[[REDUCED:.*]] = "stablehlo.all_reduce"(%[[SUM]])
// CHECK: %[[RESULT:.*]] = stablehlo.add %arg2, %[[REDUCED]]
// CHECK-NEXT: return %[[RESULT]]
// ORDER-LABEL: @main
// ORDER: "stablehlo.all_reduce"(%arg0)
// ORDER: "stablehlo.all_reduce"(%arg1)
// WHY: its sum is made before the reduction over devices
func.func @main(%x: tensor<4xf32>, %y: tensor<4xf32>, %t: tensor<4xf32>) -> tensor<4xf32> {
  %0 = "stablehlo.all_reduce"(%x) <{replica_groups = dense<[[0, 1]]> : tensor<1x2xi64>}> ({
  ^bb0(%a: tensor<f32>, %b: tensor<f32>):
    %c = stablehlo.add %a, %b : tensor<f32>
    stablehlo.return %c : tensor<f32>
  }) : (tensor<4xf32>) -> tensor<4xf32>
  %1 = stablehlo.add %t, %0 : tensor<4xf32>
  %2 = "stablehlo.all_reduce"(%y) <{replica_groups = dense<[[0, 1]]> : tensor<1x2xi64>}> ({
  ^bb0(%a: tensor<f32>, %b: tensor<f32>):
    %c = stablehlo.add %a, %b : tensor<f32>
    stablehlo.return %c : tensor<f32>
  }) : (tensor<4xf32>) -> tensor<4xf32>
  %3 = stablehlo.add %1, %2 : tensor<4xf32>
  return %3 : tensor<4xf32>
}

// -----

// A reduced sum that something else reads is there anyway: nothing is gained.
// CHECK-LABEL: @main
// CHECK: "stablehlo.all_reduce"(%arg0)
// CHECK: "stablehlo.all_reduce"(%arg1)
// CHECK: stablehlo.add
func.func @main(%x: tensor<4xi32>, %y: tensor<4xi32>) -> (tensor<4xi32>, tensor<4xi32>) {
  %0 = "stablehlo.all_reduce"(%x) <{replica_groups = dense<[[0, 1]]> : tensor<1x2xi64>}> ({
  ^bb0(%a: tensor<i32>, %b: tensor<i32>):
    %c = stablehlo.add %a, %b : tensor<i32>
    stablehlo.return %c : tensor<i32>
  }) : (tensor<4xi32>) -> tensor<4xi32>
  %1 = "stablehlo.all_reduce"(%y) <{replica_groups = dense<[[0, 1]]> : tensor<1x2xi64>}> ({
  ^bb0(%a: tensor<i32>, %b: tensor<i32>):
    %c = stablehlo.add %a, %b : tensor<i32>
    stablehlo.return %c : tensor<i32>
  }) : (tensor<4xi32>) -> tensor<4xi32>
  %2 = stablehlo.add %0, %1 : tensor<4xi32>
  return %2, %0 : tensor<4xi32>, tensor<4xi32>
}

// -----

// Groups that hold replica ids are others than groups that hold device ids.
// CHECK-LABEL: @main
// CHECK: "stablehlo.all_reduce"(%arg0)
// CHECK: "stablehlo.all_reduce"(%arg1)
func.func @main(%x: tensor<4xi32>, %y: tensor<4xi32>) -> tensor<4xi32> {
  %0 = "stablehlo.all_reduce"(%x) <{replica_groups = dense<[[0, 1]]> : tensor<1x2xi64>}> ({
  ^bb0(%a: tensor<i32>, %b: tensor<i32>):
    %c = stablehlo.add %a, %b : tensor<i32>
    stablehlo.return %c : tensor<i32>
  }) : (tensor<4xi32>) -> tensor<4xi32>
  %1 = "stablehlo.all_reduce"(%y) <{channel_handle = #stablehlo.channel_handle<handle = 1, type = 1>,
      replica_groups = dense<[[0, 1]]> : tensor<1x2xi64>, use_global_device_ids}> ({
  ^bb0(%a: tensor<i32>, %b: tensor<i32>):
    %c = stablehlo.add %a, %b : tensor<i32>
    stablehlo.return %c : tensor<i32>
  }) : (tensor<4xi32>) -> tensor<4xi32>
  %2 = stablehlo.subtract %0, %1 : tensor<4xi32>
  return %2 : tensor<4xi32>
}

// -----

// The sum of truth values is their disjunction; it is left alone.
// CHECK-LABEL: @main
// CHECK: "stablehlo.all_reduce"(%arg0)
// CHECK: "stablehlo.all_reduce"(%arg1)
func.func @main(%x: tensor<4xi1>, %y: tensor<4xi1>) -> tensor<4xi1> {
  %0 = "stablehlo.all_reduce"(%x) <{replica_groups = dense<[[0, 1]]> : tensor<1x2xi64>}> ({
  ^bb0(%a: tensor<i1>, %b: tensor<i1>):
    %c = stablehlo.add %a, %b : tensor<i1>
    stablehlo.return %c : tensor<i1>
  }) : (tensor<4xi1>) -> tensor<4xi1>
  %1 = "stablehlo.all_reduce"(%y) <{replica_groups = dense<[[0, 1]]> : tensor<1x2xi64>}> ({
  ^bb0(%a: tensor<i1>, %b: tensor<i1>):
    %c = stablehlo.add %a, %b : tensor<i1>
    stablehlo.return %c : tensor<i1>
  }) : (tensor<4xi1>) -> tensor<4xi1>
  %2 = stablehlo.add %0, %1 : tensor<4xi1>
  return %2 : tensor<4xi1>
}
