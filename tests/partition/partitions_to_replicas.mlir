// RUN: shlo-opt %s --partitions-to-replicas --split-input-file | filecheck %s
// RUN: not shlo-opt %s --split-input-file --partitions-to-replicas --partitions-to-replicas 2>&1 | filecheck %s --check-prefix=TWICE

// Every kind of collective, in functions and loops too.
// CHECK: module attributes {mhlo.num_partitions = 1 : i32, mhlo.num_replicas = 2 : i32}
// CHECK-NOT: channel_handle
// CHECK-NOT: use_global_device_ids
// CHECK-NOT: partition_id
// TWICE: error: the module is written for 2 replicas already
module attributes {mhlo.num_partitions = 2 : i32, mhlo.num_replicas = 1 : i32} {
  func.func private @place() -> tensor<ui32> {
    // CHECK: stablehlo.replica_id
    %0 = stablehlo.partition_id : tensor<ui32>
    return %0 : tensor<ui32>
  }
  func.func @main(%x: tensor<4xf32>) -> (tensor<4xf32>, tensor<ui32>) {
    %0 = call @place() : () -> tensor<ui32>
    %one = stablehlo.constant dense<1> : tensor<ui32>
    %1:2 = stablehlo.while(%y = %x, %i = %0) : tensor<4xf32>, tensor<ui32>
    cond {
      %2 = stablehlo.compare LT, %i, %one : (tensor<ui32>, tensor<ui32>) -> tensor<i1>
      stablehlo.return %2 : tensor<i1>
    } do {
      // CHECK: "stablehlo.all_to_all"
      %2 = "stablehlo.all_to_all"(%y) <{channel_handle = #stablehlo.channel_handle<handle = 1, type = 1>,
          concat_dimension = 0 : i64, replica_groups = dense<[[0, 1]]> : tensor<1x2xi64>, split_count = 2 : i64,
          split_dimension = 0 : i64}> : (tensor<4xf32>) -> tensor<4xf32>
      // CHECK: "stablehlo.collective_permute"
      %3 = "stablehlo.collective_permute"(%2) <{channel_handle = #stablehlo.channel_handle<handle = 2, type = 1>,
          source_target_pairs = dense<[[0, 1], [1, 0]]> : tensor<2x2xi64>}> : (tensor<4xf32>) -> tensor<4xf32>
      // CHECK: "stablehlo.reduce_scatter"
      %4 = "stablehlo.reduce_scatter"(%3) <{channel_handle = #stablehlo.channel_handle<handle = 3, type = 1>,
          replica_groups = dense<[[0, 1]]> : tensor<1x2xi64>, scatter_dimension = 0 : i64, use_global_device_ids}> ({
      ^bb0(%a: tensor<f32>, %b: tensor<f32>):
        %c = stablehlo.add %a, %b : tensor<f32>
        stablehlo.return %c : tensor<f32>
      }) : (tensor<4xf32>) -> tensor<2xf32>
      // CHECK: "stablehlo.all_gather"
      %5 = "stablehlo.all_gather"(%4) <{all_gather_dim = 0 : i64,
          channel_handle = #stablehlo.channel_handle<handle = 4, type = 1>,
          replica_groups = dense<[[0, 1]]> : tensor<1x2xi64>, use_global_device_ids}> : (tensor<2xf32>) -> tensor<4xf32>
      %6 = stablehlo.add %i, %one : tensor<ui32>
      stablehlo.return %5, %6 : tensor<4xf32>, tensor<ui32>
    }
    return %1#0, %1#1 : tensor<4xf32>, tensor<ui32>
  }
}

// -----

// Nothing to do but count.
// CHECK: module attributes {mhlo.num_partitions = 1 : i32, mhlo.num_replicas = 1 : i32}
func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
  return %x : tensor<4xf32>
}
