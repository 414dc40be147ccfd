// RUN: shlo-opt %s --moe-import-ops --moe-expert-parallel="mesh=data=2,x=4 experts=x data=data" --mlir-print-local-scope | filecheck %s
// RUN: not shlo-opt %s --moe-import-ops --moe-expert-parallel="mesh=x=3" 2>&1 | filecheck %s --check-prefix=ERROR

// Tokens over data and the ring come in, over the ring they are gathered; the sparse product only has its rule.
// ERROR: expert_parallel.mlir:18:10: error: all_to_all_dispatch: 8 experts do not divide by the 3 devices along x=3; they divide by 1, 2, 4, 8
// CHECK: sdy.mesh @mesh = <["data"=2, "x"=4]>
// CHECK: sdy.manual_computation(%arg0, %arg1)
// CHECK-SAME: in_shardings=[<@mesh, [{"data", "x"}, {}, {}, {}]>, <@mesh, [{"data", "x"}, {}, {}, {}]>]
// CHECK-SAME: out_shardings=[<@mesh, [{}, {"data"}, {}, {}]>, <@mesh, [{}, {"data"}, {}, {}]>]
// CHECK-SAME: manual_axes={"data", "x"} (%arg4: tensor<2x1x1x4xf32>, %arg5: tensor<2x1x1x2xi32>)
// CHECK: composite_attributes = {cluster_axis = 1 : i64, num_devices = 4 : i64}
// CHECK-SAME: -> (tensor<1x8x1x4xf32>, tensor<1x8x1x2xi32>)
// CHECK: stablehlo.composite "shlo.moe.sparse_matmul"
// CHECK-SAME: tensor<1x16x1x8x1x6xf32>
func.func @main(%x: tensor<16x1x1x4xf32>, %i: tensor<16x1x1x2xi32>, %w: tensor<1x8x4x6xf32>, %s: tensor<1x16x1x8xf32>)
    -> tensor<1x16x1x8x1x6xf32> {
  %m = stablehlo.constant dense<1> : tensor<1x1x8x1xi32>
  %0:2 = stablehlo.custom_call @tt.all_to_all_dispatch(%x, %i, %m) {mhlo.frontend_attributes = {num_devices = "1",
    cluster_axis = "0"}} : (tensor<16x1x1x4xf32>, tensor<16x1x1x2xi32>, tensor<1x1x8x1xi32>)
    -> (tensor<1x16x1x4xf32>, tensor<1x16x1x2xi32>)
  %1 = stablehlo.custom_call @tt.sparse_matmul(%0#0, %w, %s)
    : (tensor<1x16x1x4xf32>, tensor<1x8x4x6xf32>, tensor<1x16x1x8xf32>) -> tensor<1x16x1x8x1x6xf32>
  return %1 : tensor<1x16x1x8x1x6xf32>
}
