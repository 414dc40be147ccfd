// RUN: shlo-opt %s --split-input-file --moe-import-ops --mlir-print-local-scope | filecheck %s
// RUN: shlo-opt %s --split-input-file --moe-import-ops --moe-export-ops | filecheck %s --check-prefix=BACK

// A tuple of results becomes two results; strings become numbers; the call is remembered.
// CHECK-LABEL: module @tuple
// CHECK: stablehlo.composite "shlo.moe.all_to_all_dispatch" %arg0, %arg1, %arg2
// CHECK-SAME: composite_attributes = {cluster_axis = 1 : i64, num_devices = 2 : i64}
// CHECK-SAME: decomposition = @all_to_all_dispatch
// CHECK-SAME: custom>
// CHECK-SAME: shlo.moe.call = {api_version = 0 : i32, mhlo.frontend_attributes = {cluster_axis = "1", num_devices = "2"}}, shlo.moe.tuple
// CHECK-NOT: tuple<
// CHECK: return %0#1, %0#0
// Of whole tensors, a dispatch repeats the tokens.
// CHECK: func.func private @all_to_all_dispatch
// CHECK-NOT: all_gather
// BACK-LABEL: module @tuple
// BACK: stablehlo.custom_call @tt.all_to_all_dispatch(%arg0, %arg1, %arg2) {api_version = 0 : i32, mhlo.frontend_attributes = {cluster_axis = "1", num_devices = "2"}}
// BACK-SAME: -> tuple<tensor<1x6x4x5xf32>, tensor<1x6x4x2xi32>>
// BACK-NOT: func.func private
module @tuple {
  func.func @main(%a: tensor<3x4x1x5xf32>, %b: tensor<3x4x1x2xi32>, %c: tensor<1x1x6x2xi32>)
      -> (tensor<1x6x4x2xi32>, tensor<1x6x4x5xf32>) {
    %0 = stablehlo.custom_call @tt.all_to_all_dispatch(%a, %b, %c) {api_version = 0 : i32, mhlo.frontend_attributes =
      {num_devices = "2", cluster_axis = "1"}} : (tensor<3x4x1x5xf32>, tensor<3x4x1x2xi32>, tensor<1x1x6x2xi32>)
      -> tuple<tensor<1x6x4x5xf32>, tensor<1x6x4x2xi32>>
    %1 = stablehlo.get_tuple_element %0[1] : (tuple<tensor<1x6x4x5xf32>, tensor<1x6x4x2xi32>>) -> tensor<1x6x4x2xi32>
    %2 = stablehlo.get_tuple_element %0[0] : (tuple<tensor<1x6x4x5xf32>, tensor<1x6x4x2xi32>>) -> tensor<1x6x4x5xf32>
    return %1, %2 : tensor<1x6x4x2xi32>, tensor<1x6x4x5xf32>
  }
}

// -----

// In the program of one device the types are local, and devices talk.
// CHECK-LABEL: module @device
// CHECK: stablehlo.composite "shlo.moe.all_to_all_combine"
// CHECK-SAME: output_shard_dim = 2 : i64
// CHECK: func.func private @all_to_all_combine
// CHECK: stablehlo.partition_id
// CHECK: "stablehlo.reduce_scatter"
// CHECK-SAME: replica_groups = dense<{{\[\[}}0, 2], [1, 3]]>
// CHECK: "stablehlo.all_reduce"
// CHECK-SAME: replica_groups = dense<{{\[\[}}0, 1], [2, 3]]>
// BACK-LABEL: module @device
// BACK: output_shard_dim = "2"
module @device attributes {mhlo.num_partitions = 4 : i32} {
  func.func @main(%y: tensor<2x1x6x4xf32>, %m: tensor<1x6x1x1xi32>, %c: tensor<1x1x8x4xi32>) -> tensor<1x1x3x4xf32> {
    %0 = stablehlo.custom_call @tt.all_to_all_combine(%y, %m, %c) {mhlo.frontend_attributes = {num_devices = "2",
      cluster_axis = "0", num_experts_per_tok = "1", output_shard_dim = "2"}}
      : (tensor<2x1x6x4xf32>, tensor<1x6x1x1xi32>, tensor<1x1x8x4xi32>) -> tensor<1x1x3x4xf32>
    return %0 : tensor<1x1x3x4xf32>
  }
}
