// RUN: shlo-opt %s --cancel-moves --split-input-file | filecheck %s
// RUN: shlo-opt %s --cancel-moves --split-input-file --explain-removed 2>&1 | filecheck %s --check-prefix=WHY

// Each device takes its part of a sum: what computed where it starts goes too.
// CHECK-LABEL: @main
// CHECK-NEXT: %[[R:.*]] = "stablehlo.reduce_scatter"(%arg0) <{channel_handle = #stablehlo.channel_handle<handle = 7, type = 1>, {{.*}} scatter_dimension = 0
// CHECK: stablehlo.add
// CHECK: return %[[R]]
// WHY: it and the slice or collective beside it come to less
func.func @main(%x: tensor<4xf32>) -> tensor<2xf32> {
  %0 = stablehlo.partition_id : tensor<ui32>
  %1 = stablehlo.convert %0 : (tensor<ui32>) -> tensor<i64>
  %2 = stablehlo.constant dense<2> : tensor<i64>
  %3 = stablehlo.multiply %1, %2 : tensor<i64>
  %4 = "stablehlo.all_reduce"(%x) <{channel_handle = #stablehlo.channel_handle<handle = 7, type = 1>,
      replica_groups = dense<[[0, 1]]> : tensor<1x2xi64>, use_global_device_ids}> ({
  ^bb0(%a: tensor<f32>, %b: tensor<f32>):
    %c = stablehlo.add %a, %b : tensor<f32>
    stablehlo.return %c : tensor<f32>
  }) : (tensor<4xf32>) -> tensor<4xf32>
  %5 = stablehlo.dynamic_slice %4, %3, sizes = [2] : (tensor<4xf32>, tensor<i64>) -> tensor<2xf32>
  return %5 : tensor<2xf32>
}

// -----

// Groups of replica ids say nothing about partition ids.
// CHECK-LABEL: @main
// CHECK: "stablehlo.all_reduce"
// CHECK: stablehlo.dynamic_slice
func.func @main(%x: tensor<4xf32>) -> tensor<2xf32> {
  %0 = stablehlo.partition_id : tensor<ui32>
  %1 = stablehlo.convert %0 : (tensor<ui32>) -> tensor<i64>
  %2 = stablehlo.constant dense<2> : tensor<i64>
  %3 = stablehlo.multiply %1, %2 : tensor<i64>
  %4 = "stablehlo.all_reduce"(%x) <{replica_groups = dense<[[0, 1]]> : tensor<1x2xi64>}> ({
  ^bb0(%a: tensor<f32>, %b: tensor<f32>):
    %c = stablehlo.add %a, %b : tensor<f32>
    stablehlo.return %c : tensor<f32>
  }) : (tensor<4xf32>) -> tensor<4xf32>
  %5 = stablehlo.dynamic_slice %4, %3, sizes = [2] : (tensor<4xf32>, tensor<i64>) -> tensor<2xf32>
  return %5 : tensor<2xf32>
}
