// RUN: shlo shard %S/inputs/composites.mlir | filecheck %s

// The norm of the second block is whole, those of the first block and after it are split alike: two decompositions.
// CHECK: func.func private @norm(%arg0: tensor<8x16xf32>) -> tensor<8x16xf32> {
// CHECK: func.func private @norm_1(%arg0: tensor<8x16xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"data"}, {}]>})
// CHECK: stablehlo.rsqrt %{{.*}} {sdy.sharding = #sdy.sharding_per_value<[<@mesh, [{"data"}]>]>}
// CHECK: func.func private @gelu(%arg0: tensor<8x32xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"data"}, {"model"}]>})
// CHECK: func.func private @gelu_1(%arg0: tensor<8x32xf32> {sdy.sharding = #sdy.sharding<@mesh, [{}, {"model"}]>})

// Nested composites name the decomposition of their call site.
// CHECK: func.func private @block(
// CHECK: stablehlo.composite "net.norm" %arg0 {composite_attributes = {axes = [1], eps = 1.000000e+00 : f32}
// CHECK-SAME: decomposition = @norm_1
// CHECK-SAME: version = 2 : i32
// CHECK: stablehlo.composite "net.gelu" {{.*}}decomposition = @gelu,
// CHECK: return %{{.*}}, %arg1
// CHECK: func.func private @block_1(
// CHECK: stablehlo.composite "net.norm" %arg0 {composite_attributes = {axes = [1], eps = 1.000000e+00 : f32}
// CHECK-SAME: decomposition = @norm,
// CHECK: stablehlo.composite "net.gelu" {{.*}}decomposition = @gelu_1,

// CHECK: func.func @main(
// CHECK: %[[FIRST:.*]]:2 = stablehlo.composite "net.block" %arg0, %arg2, %arg3 {composite_attributes = {layer = 0 : i64}
// CHECK-SAME: decomposition = @block,
// CHECK-SAME: sdy.sharding = #sdy.sharding_per_value<[<@mesh, [{"data"}, {}]>, <@mesh, [{}, {"model"}]>]>
// CHECK: stablehlo.composite "net.block" %arg1, %[[FIRST]]#1, %arg3 {composite_attributes = {layer = 1 : i64}
// CHECK-SAME: decomposition = @block_1,
// CHECK: stablehlo.composite "net.norm" %[[FIRST]]#0
// CHECK-SAME: decomposition = @norm_1,
// CHECK-NOT: shlo.composite
