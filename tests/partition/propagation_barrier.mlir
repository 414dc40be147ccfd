// RUN: shlo partition %s --verify | filecheck %s

sdy.mesh @mesh = <["x"=4]>

// What shardings may not pass is nothing that data could not: no trace is left of a barrier, and no op is replicated.
// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[A:.*]]: tensor<2x8xf32>, %[[W:.*]]: tensor<8x8xf32>) -> tensor<2x8xf32>
// CHECK-NOT: sdy.
// CHECK: %[[T:.*]] = stablehlo.tanh %[[A]] : tensor<2x8xf32>
// CHECK: %[[P:.*]] = stablehlo.dynamic_slice %[[W]]
// CHECK: %[[R:.*]] = stablehlo.add %[[T]], %[[P]] : tensor<2x8xf32>
// CHECK: return %[[R]]
func.func @main(%a: tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {}]>}, %w: tensor<8x8xf32>)
    -> (tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {}]>}) {
  %0 = stablehlo.tanh %a : tensor<8x8xf32>
  %1 = sdy.propagation_barrier %0 allowed_direction=NONE : tensor<8x8xf32>
  %b = sdy.propagation_barrier %w allowed_direction=FORWARD : tensor<8x8xf32>
  %2 = stablehlo.add %1, %b : tensor<8x8xf32>
  return %2 : tensor<8x8xf32>
}
