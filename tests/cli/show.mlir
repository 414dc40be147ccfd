// RUN: shlo show %s --all | filecheck %s
// RUN: shlo show %s --match '*dot*' | filecheck %s --check-prefix=MATCH
// RUN: shlo show %s --names | filecheck %s --check-prefix=NAMES
// RUN: shlo show %s --visualize param | filecheck %s --check-prefix=PICTURE
// RUN: not shlo show %s --visualize params 2>&1 | filecheck %s --check-prefix=UNKNOWN
// RUN: not shlo show %s --match '*conv*' 2>&1 | filecheck %s --check-prefix=NOMATCH

// CHECK: mesh @mesh: data=2, model=4 (8 devices)
// CHECK: arguments global on each device sharding bytes per device
// CHECK-NEXT: arg0 f32[8x16] f32[4x16] P('data', None) 256
// CHECK-NEXT: param f32[16x32] f32[16x8] P(None, 'model') 512
// CHECK-NEXT: total 768 of 2,560
// CHECK: results
// CHECK-NEXT: loss f32[8x32] f32[4x8] P('data', 'model') 128
// CHECK: values op global on each device sharding bytes per device at
// CHECK-NEXT: %y dot_general f32[8x32] f32[4x8] P('data', 'model') 128 {{.*}}show.mlir:31:8
// CHECK-NEXT: %c constant i32[] i32[] P() 4
// CHECK-NEXT: %r#0 while i32[] i32[] P() 4
// CHECK-NEXT: %r#1 while f32[8x32] f32[4x8] P('data', 'model') 128

// MATCH: values
// MATCH-NEXT: %y dot_general
// MATCH-NEXT: total

// NAMES: argument f32[8x16] arg0
// NAMES-NEXT: argument f32[16x32] param
// NAMES-NEXT: result f32[8x32] loss
sdy.mesh @mesh = <["data"=2, "model"=4]>
func.func @main(%x: tensor<8x16xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"data"}, {}]>}, %w: tensor<16x32xf32> {sdy.sharding = #sdy.sharding<@mesh, [{}, {"model"}]>} loc("param")) -> (tensor<8x32xf32> {jax.result_info = "loss", sdy.sharding = #sdy.sharding<@mesh, [{"data"}, {"model"}]>}) {

  %y = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0] {sdy.sharding = #sdy.sharding_per_value<[<@mesh, [{"data"}, {"model"}]>]>} : (tensor<8x16xf32>, tensor<16x32xf32>) -> tensor<8x32xf32>
  %c = stablehlo.constant dense<3> : tensor<i32>
  %r:2 = stablehlo.while(%i = %c, %v = %y) : tensor<i32>, tensor<8x32xf32> attributes {sdy.sharding = #sdy.sharding_per_value<[<@mesh, []>, <@mesh, [{"data"}, {"model"}]>]>}
    cond {
      %p = stablehlo.compare LT, %i, %c : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %p : tensor<i1>
    } do {
      %n = stablehlo.add %i, %c : tensor<i32>
      stablehlo.return %n, %v : tensor<i32>, tensor<8x32xf32>
    }
  return %r#1 : tensor<8x32xf32>
}

// PICTURE: argument param: f32[16x32] P(None, 'model')
// PICTURE-NEXT: ┌─────┬─────┬─────┬─────┐
// PICTURE-NEXT: │ 0,4 │ 1,5 │ 2,6 │ 3,7 │
// PICTURE-NEXT: └─────┴─────┴─────┴─────┘
// UNKNOWN: error: no tensor is called params; close names are param
// NOMATCH: error: no tensor is like *conv*
