// RUN: shlo-opt %s --pad-dimensions --split-input-file | filecheck %s
// RUN: shlo-opt %s --pad-dimensions=arguments=true --split-input-file | filecheck %s --check-prefix=SIGNATURE
// RUN: shlo-opt %s --pad-dimensions=poison=true --split-input-file | filecheck %s --check-prefix=POISON

// A maximum is masked with -inf; the true size stands in the comparison, and every op of the mask lies as the value does.
// CHECK-LABEL: @main
// CHECK: %[[PADDED:.*]] = stablehlo.pad %arg0, %{{.*}}, low = [0, 0], high = [1, 0]
// CHECK: %[[PART:.*]] = sdy.reshard %[[PADDED]] <@mesh, [{"x"}, {}]> : tensor<8x6xf32>
// CHECK: %[[IOTA:.*]] = stablehlo.iota dim = 0 {{.*}}[{"x"}]{{.*}} : tensor<8xi32>
// CHECK: dense<7> : tensor<8xi32>
// CHECK: %[[ROW:.*]] = stablehlo.compare LT, %[[IOTA]]
// CHECK: %[[WITHIN:.*]] = stablehlo.broadcast_in_dim %[[ROW]], dims = [0] {{.*}}[{"x"}, {}]
// CHECK: %[[LOWEST:.*]] = stablehlo.constant {{.*}}dense<0xFF800000> : tensor<8x6xf32>
// CHECK: %[[MASKED:.*]] = stablehlo.select %[[WITHIN]], %[[PART]], %[[LOWEST]]
// CHECK: stablehlo.reduce(%[[MASKED]] init: %{{.*}}) applies stablehlo.maximum
// CHECK-SAME: (tensor<8x6xf32>, tensor<f32>) -> tensor<6xf32>
// SIGNATURE-LABEL: func.func @main(%arg0: tensor<7x6xf32>) -> tensor<6xf32>
// POISON-LABEL: @main
// POISON: dense<0x7FC00000> : tensor<f32>
sdy.mesh @mesh = <["x"=4]>
func.func @main(%a: tensor<7x6xf32>) -> tensor<6xf32> {
  %0 = sdy.reshard %a <@mesh, [{"x"}, {}]> : tensor<7x6xf32>
  %c = stablehlo.constant dense<0.0> : tensor<f32>
  %1 = stablehlo.reduce(%0 init: %c) applies stablehlo.maximum across dimensions = [0]
    : (tensor<7x6xf32>, tensor<f32>) -> tensor<6xf32>
  return %1 : tensor<6xf32>
}

// -----

// Arguments and results keep their size unless that is asked for; their shardings are then not padded, but left to drop.
// CHECK-LABEL: func.func @main(%arg0: tensor<7xf32>
// CHECK-SAME: -> (tensor<7xf32>
// CHECK-NEXT: stablehlo.negate %arg0 {{.*}} : tensor<7xf32>
// SIGNATURE-LABEL: func.func @main(%arg0: tensor<8xf32>
// SIGNATURE-SAME: -> (tensor<8xf32>
// SIGNATURE-NEXT: stablehlo.negate %arg0 {{.*}} : tensor<8xf32>
// SIGNATURE-NEXT: return
sdy.mesh @mesh = <["x"=4]>
func.func @main(%a: tensor<7xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}]>})
    -> (tensor<7xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}]>}) {
  %0 = stablehlo.negate %a {sdy.sharding = #sdy.sharding_per_value<[<@mesh, [{"x"}]>]>} : tensor<7xf32>
  return %0 : tensor<7xf32>
}

// -----

// A table that is indexed: indices are clamped to its true size, for garbage stands behind it.
// CHECK-LABEL: @main
// CHECK: sdy.reshard %{{.*}} <@mesh, [{"x"}, {}]> : tensor<8x6xf32>
// CHECK: %[[LAST:.*]] = stablehlo.constant dense<6> : tensor<1xi32>
// CHECK: %[[HIGH:.*]] = stablehlo.broadcast_in_dim %[[LAST]]
// CHECK: %[[INDEX:.*]] = stablehlo.clamp %{{.*}}, %arg1, %[[HIGH]]
// CHECK: "stablehlo.gather"(%{{.*}}, %[[INDEX]])
// CHECK-SAME: slice_sizes = array<i64: 1, 6>
sdy.mesh @mesh = <["x"=4]>
func.func @main(%a: tensor<7x6xf32>, %i: tensor<5x1xi32>) -> tensor<5x6xf32> {
  %0 = sdy.reshard %a <@mesh, [{"x"}, {}]> : tensor<7x6xf32>
  %1 = "stablehlo.gather"(%0, %i) <{dimension_numbers = #stablehlo.gather<offset_dims = [1],
      collapsed_slice_dims = [0], start_index_map = [0], index_vector_dim = 1>, slice_sizes = array<i64: 1, 6>}>
    : (tensor<7x6xf32>, tensor<5x1xi32>) -> tensor<5x6xf32>
  return %1 : tensor<5x6xf32>
}

// -----

// What divides is none of its business, and no sharding rule is left behind.
// CHECK-LABEL: @main
// CHECK-NEXT: %[[PART:.*]] = sdy.reshard %arg0 <@mesh, [{"x"}]> : tensor<8xf32>
// CHECK-NEXT: return %[[PART]]
sdy.mesh @mesh = <["x"=4]>
func.func @main(%a: tensor<8xf32>) -> tensor<8xf32> {
  %0 = sdy.reshard %a <@mesh, [{"x"}]> : tensor<8xf32>
  return %0 : tensor<8xf32>
}
