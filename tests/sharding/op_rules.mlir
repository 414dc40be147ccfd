// RUN: shlo-opt %s '--pass-pipeline=builtin.module(func.func(sdy-populate-op-sharding-rules), correct-sharding-rules)' --mlir-pass-statistics 2>%t | filecheck %s
// RUN: filecheck %s --check-prefix=STATISTICS < %t
// RUN: shlo-opt %s '--pass-pipeline=builtin.module(func.func(sdy-populate-op-sharding-rules), correct-sharding-rules{gather-from-shards=true})' | filecheck %s --check-prefix=GATHER

// Shards of a slice would have to move, and nothing gathers from a dimension that is split; an elementwise op keeps its
// rule, and so does an op whose rule is the user's. What Shardy has no rule for gets one.
// CHECK: stablehlo.slice {{.*}} need_replication={i}>
// CHECK: stablehlo.add {{.*}} #sdy.op_sharding_rule<([i, j], [i, j])->([i, j]) {i=8, j=8}>
// CHECK: "stablehlo.gather"{{.*}} need_replication={k, l}>
// CHECK: stablehlo.custom_call @mine{{.*}} permutation={j}, custom>
// CHECK: stablehlo.custom_call @other{{.*}} need_replication={i, j, k, l}>
// STATISTICS-DAG: 2 corrected
// STATISTICS-DAG: 1 added
// GATHER: "stablehlo.gather"{{.*}} reduction={k} need_replication={l}>
func.func @main(%a: tensor<8x8xf32>, %i: tensor<4x1xi32>) -> (tensor<4x8xf32>, tensor<8x8xf32>, tensor<4x8xf32>) {
  %0 = stablehlo.slice %a [0:4, 0:8] : (tensor<8x8xf32>) -> tensor<4x8xf32>
  %1 = stablehlo.add %a, %a : tensor<8x8xf32>
  %2 = "stablehlo.gather"(%1, %i) <{dimension_numbers = #stablehlo.gather<offset_dims = [1], collapsed_slice_dims = [0], start_index_map = [0], index_vector_dim = 1>, slice_sizes = array<i64: 1, 8>}> : (tensor<8x8xf32>, tensor<4x1xi32>) -> tensor<4x8xf32>
  %3 = stablehlo.custom_call @mine(%1) {sdy.sharding_rule = #sdy.op_sharding_rule<([i, j])->([i, j]) {i=8, j=8} permutation={j}, custom>} : (tensor<8x8xf32>) -> tensor<8x8xf32>
  %4 = stablehlo.custom_call @other(%3) : (tensor<8x8xf32>) -> tensor<8x8xf32>
  return %0, %4, %2 : tensor<4x8xf32>, tensor<8x8xf32>, tensor<4x8xf32>
}
