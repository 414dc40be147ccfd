// What passes say is compared as well, whether they run in this process or in a worker.
// RUN: shlo-opt %s --verify-diagnostics --split-input-file --sdy-sharding-group-import
// RUN: shlo-opt %s --verify-diagnostics --split-input-file --sdy-sharding-group-import --no-isolation
// RUN: not shlo-opt %s --split-input-file --sdy-sharding-group-import 2>&1 | filecheck %s

// An error that a pass of a worker process has is one of this process as well.
// CHECK: verify_diagnostics_of_passes.mlir:13:3: error: pass 'sdy-sharding-group-import' failed:
sdy.mesh @mesh = <["x"=2]>
func.func @main(%a: tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {}]>},
                %b: tensor<4xf32>) -> tensor<8x8xf32> {
  sdy.sharding_group %a group_id=0 : tensor<8x8xf32>
  // expected-error@+1 {{values must have the same shape for groupId: 0}}
  sdy.sharding_group %b group_id=0 : tensor<4xf32>
  return %a : tensor<8x8xf32>
}
