// RUN: shlo shard %s --rules %S/inputs/kernels.toml -o %t
// RUN: filecheck %s < %t
// RUN: shlo partition %t -o - 2>&1 | filecheck %s --check-prefix=DEVICE
// RUN: shlo shard %s --names=all | filecheck %s --check-prefix=NAMES

// NAMES: match = "x"
// NAMES-SAME: # index 0: 8x16xf32
// NAMES: op = "stablehlo.tanh", location = "{{.*}}rules_file.mlir:{{[0-9]+}}"
// NAMES: custom_call = "mm"
// NAMES: composite = "my.gelu"

func.func private @gelu(%a: tensor<8x8xf32>) -> tensor<8x8xf32> {
  %0 = stablehlo.logistic %a : tensor<8x8xf32>
  %1 = stablehlo.multiply %a, %0 : tensor<8x8xf32>
  return %1 : tensor<8x8xf32>
}

// CHECK-LABEL: func.func @main
// CHECK-SAME: [{"data"}, {"model"}]
// CHECK: %[[TANH:.*]] = stablehlo.tanh
// CHECK: %[[HELD:.*]] = sdy.sharding_constraint %[[TANH]] <@mesh, [{"data"}, {"model"}{{(p1)?}}]>
// CHECK: %[[PRODUCT:.*]] = stablehlo.custom_call @mm(%[[HELD]], %{{.*}}) {{.*}}[{"data"}, {}]{{.*}}reduction={{.*}}custom
// CHECK: stablehlo.composite "my.gelu" %[[PRODUCT]] {{.*}}[{"data"}, {}]{{.*}}custom

// DEVICE: all_reduce model 1 x 128 B
// DEVICE: stablehlo.custom_call @mm({{.*}}) : (tensor<4x4xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
// DEVICE: "stablehlo.all_reduce"
// DEVICE: stablehlo.composite "my.gelu" {{.*}} : (tensor<4x8xf32>) -> tensor<4x8xf32>
// DEVICE: func.func private @gelu_local(%arg0: tensor<4x8xf32>
func.func @main(%x: tensor<8x16xf32> loc("x"), %w: tensor<16x8xf32> loc("w")) -> tensor<8x8xf32> {
  %0 = stablehlo.tanh %x : tensor<8x16xf32>
  %1 = stablehlo.custom_call @mm(%0, %w) : (tensor<8x16xf32>, tensor<16x8xf32>) -> tensor<8x8xf32>
  %2 = stablehlo.composite "my.gelu" %1 {decomposition = @gelu} : (tensor<8x8xf32>) -> tensor<8x8xf32>
  return %2 : tensor<8x8xf32>
}
