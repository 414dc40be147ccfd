// RUN: shlo partition %s -o - 2> %t | filecheck %s
// RUN: cat %t | filecheck %s --check-prefix=REPORT
// RUN: shlo explain %s --collectives | filecheck %s --check-prefix=WHY

// A 3x3 convolution fetches one row from either neighbour; zeros come in at the ends, where nobody sends.
// CHECK-LABEL: @main
// CHECK-SAME: (%[[X:.*]]: tensor<1x4x8x2xf32>
// CHECK: %[[LAST:.*]] = stablehlo.slice %[[X]] [0:1, 3:4, 0:8, 0:2]
// CHECK: %[[BELOW:.*]] = "stablehlo.collective_permute"(%[[LAST]])
// CHECK-SAME: source_target_pairs = dense<{{\[\[}}0, 1], [1, 2], [2, 3]]>
// CHECK: %[[FIRST:.*]] = stablehlo.slice %[[X]] [0:1, 0:1, 0:8, 0:2]
// CHECK: %[[ABOVE:.*]] = "stablehlo.collective_permute"(%[[FIRST]])
// CHECK-SAME: source_target_pairs = dense<{{\[\[}}1, 0], [2, 1], [3, 2]]>
// CHECK: %[[HALO:.*]] = stablehlo.concatenate %[[BELOW]], %[[X]], %[[ABOVE]], dim = 1
// CHECK-NOT: select
// CHECK: stablehlo.convolution(%[[HALO]],
// CHECK-SAME: pad = {{\[\[}}0, 0], [1, 1]]
// CHECK-SAME: -> tensor<1x4x8x2xf32>

// Half of the rows, every other one: they are where they are needed.
// CHECK-NOT: collective
// CHECK: stablehlo.slice {{.*}} [0:1, 0:3:2, 0:8, 0:2] : (tensor<1x3x8x2xf32>) -> tensor<1x2x8x2xf32>

// A reverse swaps shards.
// CHECK: "stablehlo.collective_permute"
// CHECK-SAME: source_target_pairs = dense<{{\[\[}}0, 3], [1, 2], [2, 1], [3, 0]]>
// CHECK: stablehlo.reverse {{.*}} dims = [1] : tensor<1x2x8x2xf32>
// CHECK-NOT: all_gather

// REPORT: collective_permute 4 devices
// REPORT-SAME: 3 x
// REPORT: ops that move elements along a split dimension fetch them: 2 in strips from other shards, 1 from the shard itself
// REPORT-NOT: replicated
// WHY: 1 collective_permute {{.*}} 64 P(None, 'x', None, None) {{.*}} convolution {{.*}}halo.mlir
// WHY: 2 collective_permute {{.*}} 64 P(None, 'x', None, None) {{.*}} convolution {{.*}}halo.mlir
// WHY: 3 collective_permute {{.*}} 128 P(None, 'x', None, None) {{.*}} reverse {{.*}}halo.mlir
sdy.mesh @mesh = <["x"=4]>
func.func @main(%x: tensor<1x16x8x2xf32> {sdy.sharding = #sdy.sharding<@mesh, [{}, {"x"}, {}, {}]>}, %k: tensor<3x3x2x2xf32>) -> tensor<1x8x8x2xf32> {
  %0 = stablehlo.convolution(%x, %k) dim_numbers = [b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f],
    window = {pad = [[1, 1], [1, 1]]} {batch_group_count = 1 : i64, feature_group_count = 1 : i64}
    : (tensor<1x16x8x2xf32>, tensor<3x3x2x2xf32>) -> tensor<1x16x8x2xf32>
  %1 = stablehlo.slice %0 [0:1, 0:16:2, 0:8, 0:2] : (tensor<1x16x8x2xf32>) -> tensor<1x8x8x2xf32>
  %2 = stablehlo.reverse %1, dims = [1] : tensor<1x8x8x2xf32>
  return %2 : tensor<1x8x8x2xf32>
}
