// RUN: shlo-opt %s --cse --split-input-file | filecheck %s
// RUN: shlo-opt %s --cse=sunk-constants=keep --split-input-file | filecheck %s --check-prefix=KEEP

// CHECK-LABEL: @simple_constant
func.func @simple_constant() -> (tensor<i32>, tensor<i32>) {
  // CHECK-NEXT: %[[C:.*]] = stablehlo.constant dense<1>
  // CHECK-NEXT: return %[[C]], %[[C]]
  %0 = stablehlo.constant dense<1> : tensor<i32>
  %1 = stablehlo.constant dense<1> : tensor<i32>
  return %0, %1 : tensor<i32>, tensor<i32>
}

// -----

// A chain is followed through in one run.
// CHECK-LABEL: @many
func.func @many(%a: tensor<f32>, %b: tensor<f32>) -> tensor<f32> {
  // CHECK-NEXT: %[[S:.*]] = stablehlo.add %arg0, %arg1
  // CHECK-NEXT: %[[T:.*]] = stablehlo.add %[[S]], %[[S]]
  // CHECK-NEXT: %[[U:.*]] = stablehlo.add %[[T]], %[[T]]
  // CHECK-NEXT: return %[[U]]
  %c = stablehlo.add %a, %b : tensor<f32>
  %d = stablehlo.add %a, %b : tensor<f32>
  %e = stablehlo.add %b, %a : tensor<f32>
  %f = stablehlo.add %c, %d : tensor<f32>
  %g = stablehlo.add %e, %d : tensor<f32>
  %h = stablehlo.add %g, %f : tensor<f32>
  return %h : tensor<f32>
}

// -----

// Ops that differ in an attribute, an operand or the result type stay apart.
// CHECK-LABEL: @different_ops
func.func @different_ops(%a: tensor<4xf32>) -> (tensor<4xf64>, tensor<4xf16>, tensor<2xf32>, tensor<2xf32>) {
  // CHECK-COUNT-2: stablehlo.convert
  // CHECK-COUNT-2: stablehlo.slice
  %0 = stablehlo.convert %a : (tensor<4xf32>) -> tensor<4xf64>
  %1 = stablehlo.convert %a : (tensor<4xf32>) -> tensor<4xf16>
  %2 = stablehlo.slice %a [0:2] : (tensor<4xf32>) -> tensor<2xf32>
  %3 = stablehlo.slice %a [2:4] : (tensor<4xf32>) -> tensor<2xf32>
  return %0, %1, %2, %3 : tensor<4xf64>, tensor<4xf16>, tensor<2xf32>, tensor<2xf32>
}

// -----

// CHECK-LABEL: @side_effect
func.func @side_effect(%a: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) {
  // CHECK-COUNT-2: stablehlo.custom_call @io
  // CHECK-COUNT-2: stablehlo.optimization_barrier
  %0 = stablehlo.custom_call @io(%a) {has_side_effect = true} : (tensor<4xf32>) -> tensor<4xf32>
  %1 = stablehlo.custom_call @io(%a) {has_side_effect = true} : (tensor<4xf32>) -> tensor<4xf32>
  %2 = stablehlo.optimization_barrier %a : tensor<4xf32>
  %3 = stablehlo.optimization_barrier %a : tensor<4xf32>
  return %0, %1, %2, %3 : tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>
}

// -----

// A value from outside is used inside; a value from inside is not used outside or in the branch next to it.
// CHECK-LABEL: @down_propagate_branches
func.func @down_propagate_branches(%p: tensor<i1>, %a: tensor<f32>) -> (tensor<f32>, tensor<f32>) {
  // CHECK-NEXT: %[[T:.*]] = stablehlo.tanh
  // CHECK: stablehlo.return %[[T]]
  // CHECK: %[[S:.*]] = stablehlo.sine
  // CHECK-NEXT: stablehlo.return %[[S]]
  // CHECK: stablehlo.sine
  // CHECK: return
  %0 = stablehlo.tanh %a : tensor<f32>
  %1 = "stablehlo.if"(%p) ({
    %3 = stablehlo.tanh %a : tensor<f32>
    stablehlo.return %3 : tensor<f32>
  }, {
    %3 = stablehlo.sine %a : tensor<f32>
    stablehlo.return %3 : tensor<f32>
  }) : (tensor<i1>) -> tensor<f32>
  %2 = stablehlo.sine %a : tensor<f32>
  return %1, %2 : tensor<f32>, tensor<f32>
}

// -----

// A constant inside a loop becomes the one outside, unless it is to stay.
// CHECK-LABEL: @up_propagate_loop
// KEEP-LABEL: @up_propagate_loop
func.func @up_propagate_loop(%n: tensor<i32>) -> tensor<i32> {
  // KEEP: stablehlo.constant
  // KEEP: do
  // KEEP: %[[ONE:.*]] = stablehlo.constant
  // KEEP-NEXT: %[[TWO:.*]] = stablehlo.add %[[ONE]], %[[ONE]]
  // CHECK: %[[ONE:.*]] = stablehlo.constant
  // CHECK: do
  // CHECK-NEXT: stablehlo.add %[[ONE]], %[[ONE]]
  %one = stablehlo.constant dense<1> : tensor<i32>
  %0 = stablehlo.while(%i = %one) : tensor<i32>
  cond {
    %1 = stablehlo.compare LT, %i, %n : (tensor<i32>, tensor<i32>) -> tensor<i1>
    stablehlo.return %1 : tensor<i1>
  } do {
    %1 = stablehlo.constant dense<1> : tensor<i32>
    %2 = stablehlo.constant dense<1> : tensor<i32>
    %3 = stablehlo.add %1, %2 : tensor<i32>
    %4 = stablehlo.add %i, %3 : tensor<i32>
    stablehlo.return %4 : tensor<i32>
  }
  return %0 : tensor<i32>
}

// -----

// Functions do not see each other's values.
// CHECK-LABEL: @nested_isolated
func.func @nested_isolated() -> tensor<i32> {
  // CHECK-NEXT: stablehlo.constant
  %0 = stablehlo.constant dense<1> : tensor<i32>
  return %0 : tensor<i32>
}
// CHECK-LABEL: @its_neighbour
func.func @its_neighbour() -> tensor<i32> {
  // CHECK-NEXT: stablehlo.constant
  %0 = stablehlo.constant dense<1> : tensor<i32>
  return %0 : tensor<i32>
}

// -----

// Regions are compared up to the names of their values.
// CHECK-LABEL: @cse_single_block_ops
func.func @cse_single_block_ops(%a: tensor<4xf32>, %z: tensor<f32>) -> (tensor<f32>, tensor<f32>, tensor<f32>) {
  // CHECK-NEXT: %[[SUM:.*]] = stablehlo.reduce(%arg0 init: %arg1) applies stablehlo.add
  // CHECK-NEXT: %[[MAX:.*]] = stablehlo.reduce(%arg0 init: %arg1) applies stablehlo.maximum
  // CHECK-NEXT: return %[[SUM]], %[[MAX]], %[[SUM]]
  %0 = stablehlo.reduce(%a init: %z) applies stablehlo.add across dimensions = [0] : (tensor<4xf32>, tensor<f32>) -> tensor<f32>
  %1 = stablehlo.reduce(%a init: %z) applies stablehlo.maximum across dimensions = [0] : (tensor<4xf32>, tensor<f32>) -> tensor<f32>
  %2 = "stablehlo.reduce"(%a, %z) ({
  ^bb0(%x: tensor<f32>, %y: tensor<f32>):
    %3 = stablehlo.add %y, %x : tensor<f32>
    stablehlo.return %3 : tensor<f32>
  }) {dimensions = array<i64: 0>} : (tensor<4xf32>, tensor<f32>) -> tensor<f32>
  return %0, %1, %2 : tensor<f32>, tensor<f32>, tensor<f32>
}

// -----

// An op inside a region with an effect is still merged; the op around it is not.
// CHECK-LABEL: @no_cse_of_regions_with_effects
func.func @no_cse_of_regions_with_effects(%p: tensor<i1>, %a: tensor<f32>) -> (tensor<f32>, tensor<f32>) {
  // CHECK-COUNT-2: stablehlo.if
  // CHECK-NOT: stablehlo.if
  %0 = "stablehlo.if"(%p) ({
    %2 = stablehlo.custom_call @io(%a) {has_side_effect = true} : (tensor<f32>) -> tensor<f32>
    stablehlo.return %2 : tensor<f32>
  }, {
    stablehlo.return %a : tensor<f32>
  }) : (tensor<i1>) -> tensor<f32>
  %1 = "stablehlo.if"(%p) ({
    %2 = stablehlo.custom_call @io(%a) {has_side_effect = true} : (tensor<f32>) -> tensor<f32>
    stablehlo.return %2 : tensor<f32>
  }, {
    stablehlo.return %a : tensor<f32>
  }) : (tensor<i1>) -> tensor<f32>
  return %0, %1 : tensor<f32>, tensor<f32>
}

// -----

// CHECK-LABEL: @calls
func.func @calls(%a: tensor<f32>) -> (tensor<f32>, tensor<f32>, tensor<f32>, tensor<f32>) {
  // CHECK-NEXT: %[[P:.*]] = call @pure
  // CHECK-NEXT: %[[A:.*]] = call @draws
  // CHECK-NEXT: %[[B:.*]] = call @draws
  // CHECK-NEXT: return %[[P]], %[[P]], %[[A]], %[[B]]
  %0 = call @pure(%a) : (tensor<f32>) -> tensor<f32>
  %1 = call @pure(%a) : (tensor<f32>) -> tensor<f32>
  %2 = call @draws(%a) : (tensor<f32>) -> tensor<f32>
  %3 = call @draws(%a) : (tensor<f32>) -> tensor<f32>
  return %0, %1, %2, %3 : tensor<f32>, tensor<f32>, tensor<f32>, tensor<f32>
}
func.func private @pure(%a: tensor<f32>) -> tensor<f32> {
  %0 = stablehlo.tanh %a : tensor<f32>
  return %0 : tensor<f32>
}
func.func private @draws(%a: tensor<f32>) -> tensor<f32> {
  %n = stablehlo.constant dense<> : tensor<0xi64>
  %0 = stablehlo.rng %a, %a, %n, distribution = UNIFORM : (tensor<f32>, tensor<f32>, tensor<0xi64>) -> tensor<f32>
  return %0 : tensor<f32>
}

// -----

// CHECK-LABEL: @shardings
sdy.mesh @mesh = <["x"=2]>
func.func @shardings(%a: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) {
  // CHECK-NEXT: %[[A:.*]] = stablehlo.tanh
  // CHECK-NEXT: %[[B:.*]] = stablehlo.tanh
  // CHECK-NEXT: %[[C:.*]] = sdy.sharding_constraint
  // CHECK-NEXT: return %[[A]], %[[B]], %[[C]], %[[C]]
  %0 = stablehlo.tanh %a {sdy.sharding = #sdy.sharding_per_value<[<@mesh, [{"x"}]>]>} : tensor<4xf32>
  %1 = stablehlo.tanh %a : tensor<4xf32>
  %2 = sdy.sharding_constraint %a <@mesh, [{"x"}]> : tensor<4xf32>
  %3 = sdy.sharding_constraint %a <@mesh, [{"x"}]> : tensor<4xf32>
  return %0, %1, %2, %3 : tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>
}

// -----

// Tokens order what passes them on.
// CHECK-LABEL: @tokens
func.func @tokens() -> (!stablehlo.token, !stablehlo.token) {
  // CHECK-COUNT-2: stablehlo.create_token
  %0 = stablehlo.create_token : !stablehlo.token
  %1 = stablehlo.create_token : !stablehlo.token
  return %0, %1 : !stablehlo.token, !stablehlo.token
}
