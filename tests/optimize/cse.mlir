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

// -----

// A result type alone tells ops apart; an attribute does, however it is spelled.
// CHECK-LABEL: @attributes
func.func @attributes(%a: tensor<4xi32>, %b: tensor<4xi32>) -> (tensor<4xi1>, tensor<4xi1>, tensor<4xi1>, tensor<2x4xi32>, tensor<4x2xi32>) {
  // CHECK-NEXT: %[[LT:.*]] = stablehlo.compare LT
  // CHECK-NEXT: %[[NE:.*]] = stablehlo.compare NE
  // CHECK-NEXT: %[[ROWS:.*]] = stablehlo.iota dim = 0 : tensor<2x4xi32>
  // CHECK-NEXT: %[[COLUMNS:.*]] = stablehlo.iota dim = 0 : tensor<4x2xi32>
  // CHECK-NEXT: return %[[LT]], %[[NE]], %[[NE]], %[[ROWS]], %[[COLUMNS]]
  %0 = stablehlo.compare LT, %a, %b, SIGNED : (tensor<4xi32>, tensor<4xi32>) -> tensor<4xi1>
  %1 = stablehlo.compare NE, %a, %b, SIGNED : (tensor<4xi32>, tensor<4xi32>) -> tensor<4xi1>
  %2 = "stablehlo.compare"(%a, %b) {compare_type = #stablehlo<comparison_type SIGNED>, comparison_direction = #stablehlo<comparison_direction NE>} : (tensor<4xi32>, tensor<4xi32>) -> tensor<4xi1>
  %3 = stablehlo.iota dim = 0 : tensor<2x4xi32>
  %4 = stablehlo.iota dim = 0 : tensor<4x2xi32>
  return %0, %1, %2, %3, %4 : tensor<4xi1>, tensor<4xi1>, tensor<4xi1>, tensor<2x4xi32>, tensor<4x2xi32>
}

// -----

// Blocks of one region do not see each other's values unless one is known to come first; none is taken to.
// CHECK-LABEL: @blocks
func.func @blocks(%p: i1, %a: tensor<f32>) -> tensor<f32> {
  // CHECK: cf.cond_br
  // CHECK: ^bb1:
  // CHECK-NEXT: %[[X:.*]] = stablehlo.tanh
  // CHECK-NEXT: %[[Y:.*]] = stablehlo.add %[[X]], %[[X]]
  // CHECK: ^bb2:
  // CHECK-NEXT: stablehlo.tanh
  cf.cond_br %p, ^bb1, ^bb2
^bb1:
  %0 = stablehlo.tanh %a : tensor<f32>
  %1 = stablehlo.tanh %a : tensor<f32>
  %2 = stablehlo.add %0, %1 : tensor<f32>
  return %2 : tensor<f32>
^bb2:
  %3 = stablehlo.tanh %a : tensor<f32>
  return %3 : tensor<f32>
}

// -----

// A module inside a module is somebody else's; the function it has a namesake of is not confused with it.
// CHECK-LABEL: module {
// CHECK: func.func @around
// CHECK: module @inner
// CHECK-COUNT-2: stablehlo.tanh
// CHECK: func.func private @f
// CHECK-NOT: func.func private @g
module {
  func.func @around(%a: tensor<f32>) -> tensor<f32> {
    %0 = call @f(%a) : (tensor<f32>) -> tensor<f32>
    %1 = call @g(%0) : (tensor<f32>) -> tensor<f32>
    return %1 : tensor<f32>
  }
  module @inner {
    func.func @g(%a: tensor<f32>) -> tensor<f32> {
      %0 = stablehlo.tanh %a : tensor<f32>
      %1 = stablehlo.tanh %0 : tensor<f32>
      return %1 : tensor<f32>
    }
  }
  func.func private @f(%a: tensor<f32>) -> tensor<f32> {
    %0 = stablehlo.sine %a : tensor<f32>
    return %0 : tensor<f32>
  }
  func.func private @g(%a: tensor<f32>) -> tensor<f32> {
    %0 = stablehlo.sine %a : tensor<f32>
    return %0 : tensor<f32>
  }
}

// -----

// What has no effect is merged across what has one, for it cannot see it.
// CHECK-LABEL: @across_effects
func.func @across_effects(%a: tensor<f32>) -> (tensor<f32>, tensor<f32>) {
  // CHECK-NEXT: %[[T:.*]] = stablehlo.custom_call @pure
  // CHECK-NEXT: stablehlo.custom_call @io
  // CHECK-NEXT: return %[[T]], %[[T]]
  %0 = stablehlo.custom_call @pure(%a) : (tensor<f32>) -> tensor<f32>
  %1 = stablehlo.custom_call @io(%a) {has_side_effect = true} : (tensor<f32>) -> tensor<f32>
  %2 = stablehlo.custom_call @pure(%a) : (tensor<f32>) -> tensor<f32>
  return %0, %2 : tensor<f32>, tensor<f32>
}

// -----

// Regions of several ops, that use values from outside.
// CHECK-LABEL: @identical_bodies
func.func @identical_bodies(%a: tensor<4xf32>, %z: tensor<f32>, %c: tensor<f32>, %p: tensor<i1>) -> (tensor<f32>, tensor<f32>, tensor<f32>, tensor<f32>) {
  // CHECK: %[[FIRST:.*]] = stablehlo.reduce
  // CHECK: %[[SELECT:.*]] = stablehlo.reduce
  // CHECK: %[[YIELD:.*]] = stablehlo.reduce
  // CHECK-NOT: stablehlo.reduce
  // CHECK: return %[[FIRST]], %[[FIRST]], %[[SELECT]], %[[YIELD]]
  %0 = "stablehlo.reduce"(%a, %z) ({
  ^bb0(%x: tensor<f32>, %y: tensor<f32>):
    %4 = stablehlo.divide %x, %y : tensor<f32>
    %5 = stablehlo.remainder %x, %c : tensor<f32>
    %6 = stablehlo.select %p, %4, %5 : tensor<i1>, tensor<f32>
    stablehlo.return %6 : tensor<f32>
  }) {dimensions = array<i64: 0>} : (tensor<4xf32>, tensor<f32>) -> tensor<f32>
  %1 = "stablehlo.reduce"(%a, %z) ({
  ^bb0(%x: tensor<f32>, %y: tensor<f32>):
    %4 = stablehlo.divide %x, %y : tensor<f32>
    %5 = stablehlo.remainder %x, %c : tensor<f32>
    %6 = stablehlo.select %p, %4, %5 : tensor<i1>, tensor<f32>
    stablehlo.return %6 : tensor<f32>
  }) {dimensions = array<i64: 0>} : (tensor<4xf32>, tensor<f32>) -> tensor<f32>
  // Chosen the other way round.
  %2 = "stablehlo.reduce"(%a, %z) ({
  ^bb0(%x: tensor<f32>, %y: tensor<f32>):
    %4 = stablehlo.divide %x, %y : tensor<f32>
    %5 = stablehlo.remainder %x, %c : tensor<f32>
    %6 = stablehlo.select %p, %5, %4 : tensor<i1>, tensor<f32>
    stablehlo.return %6 : tensor<f32>
  }) {dimensions = array<i64: 0>} : (tensor<4xf32>, tensor<f32>) -> tensor<f32>
  // One that hands an argument on.
  %3 = "stablehlo.reduce"(%a, %z) ({
  ^bb0(%x: tensor<f32>, %y: tensor<f32>):
    stablehlo.return %y : tensor<f32>
  }) {dimensions = array<i64: 0>} : (tensor<4xf32>, tensor<f32>) -> tensor<f32>
  return %0, %1, %2, %3 : tensor<f32>, tensor<f32>, tensor<f32>, tensor<f32>
}

// -----

// Regions that come to capture one value are equal.
// CHECK-LABEL: @regions_made_equal_by_what_they_capture
func.func @regions_made_equal_by_what_they_capture(%a: tensor<4xf32>, %z: tensor<f32>) -> (tensor<f32>, tensor<f32>, tensor<f32>) {
  // CHECK: %[[ONE:.*]] = stablehlo.constant
  // CHECK: %[[R:.*]] = stablehlo.reduce
  // CHECK: stablehlo.return %[[ONE]]
  // CHECK: return %[[ONE]], %[[R]], %[[R]]
  %c = stablehlo.constant dense<1.0> : tensor<f32>
  %0 = "stablehlo.reduce"(%a, %z) ({
  ^bb0(%x: tensor<f32>, %y: tensor<f32>):
    %2 = stablehlo.constant dense<1.0> : tensor<f32>
    stablehlo.return %2 : tensor<f32>
  }) {dimensions = array<i64: 0>} : (tensor<4xf32>, tensor<f32>) -> tensor<f32>
  %1 = "stablehlo.reduce"(%a, %z) ({
  ^bb0(%x: tensor<f32>, %y: tensor<f32>):
    stablehlo.return %c : tensor<f32>
  }) {dimensions = array<i64: 0>} : (tensor<4xf32>, tensor<f32>) -> tensor<f32>
  return %c, %0, %1 : tensor<f32>, tensor<f32>, tensor<f32>
}

// -----

// Branches of one condition, without an effect and with one.
// CHECK-LABEL: @branches
func.func @branches(%p: tensor<i1>, %a: tensor<f32>) -> (tensor<f32>, tensor<f32>, tensor<f32>) {
  // CHECK: %[[IF:.*]] = "stablehlo.if"
  // CHECK: %[[OTHER:.*]] = "stablehlo.if"
  // CHECK-NOT: stablehlo.if
  // CHECK: return %[[IF]], %[[IF]], %[[OTHER]]
  %0 = "stablehlo.if"(%p) ({
    %3 = stablehlo.tanh %a : tensor<f32>
    stablehlo.return %3 : tensor<f32>
  }, {
    stablehlo.return %a : tensor<f32>
  }) : (tensor<i1>) -> tensor<f32>
  %1 = "stablehlo.if"(%p) ({
    %3 = stablehlo.tanh %a : tensor<f32>
    stablehlo.return %3 : tensor<f32>
  }, {
    stablehlo.return %a : tensor<f32>
  }) : (tensor<i1>) -> tensor<f32>
  %2 = "stablehlo.if"(%p) ({
    %3 = stablehlo.tanh %a : tensor<f32>
    stablehlo.return %3 : tensor<f32>
  }, {
    %3 = stablehlo.custom_call @io(%a) {has_side_effect = true} : (tensor<f32>) -> tensor<f32>
    stablehlo.return %a : tensor<f32>
  }) : (tensor<i1>) -> tensor<f32>
  return %0, %1, %2 : tensor<f32>, tensor<f32>, tensor<f32>
}

// -----

// Composites are as pure as what they decompose into, and differ by name and attributes.
// CHECK-LABEL: @composites
func.func @composites(%a: tensor<f32>) -> (tensor<f32>, tensor<f32>, tensor<f32>, tensor<f32>, tensor<f32>, tensor<f32>) {
  // CHECK-NEXT: %[[A:.*]] = stablehlo.composite "one.op" %arg0 {decomposition = @pure}
  // CHECK-NEXT: %[[B:.*]] = stablehlo.composite "other.op"
  // CHECK-NEXT: %[[C:.*]] = stablehlo.composite "one.op" %arg0 {composite_attributes = {n = 1 : i64}, decomposition = @pure}
  // CHECK-NEXT: %[[D:.*]] = stablehlo.composite "one.op" %arg0 {decomposition = @draws}
  // CHECK-NEXT: %[[E:.*]] = stablehlo.composite "one.op" %arg0 {decomposition = @draws}
  // CHECK-NEXT: return %[[A]], %[[A]], %[[B]], %[[C]], %[[D]], %[[E]]
  %0 = stablehlo.composite "one.op" %a {decomposition = @pure} : (tensor<f32>) -> tensor<f32>
  %1 = stablehlo.composite "one.op" %a {decomposition = @pure} : (tensor<f32>) -> tensor<f32>
  %2 = stablehlo.composite "other.op" %a {decomposition = @pure} : (tensor<f32>) -> tensor<f32>
  %3 = stablehlo.composite "one.op" %a {composite_attributes = {n = 1}, decomposition = @pure} : (tensor<f32>) -> tensor<f32>
  %4 = stablehlo.composite "one.op" %a {decomposition = @draws} : (tensor<f32>) -> tensor<f32>
  %5 = stablehlo.composite "one.op" %a {decomposition = @draws} : (tensor<f32>) -> tensor<f32>
  return %0, %1, %2, %3, %4, %5 : tensor<f32>, tensor<f32>, tensor<f32>, tensor<f32>, tensor<f32>, tensor<f32>
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

// Equal functions become one, callees first; what calls them and what decomposes into them follows.
// CHECK-LABEL: @equal_functions
func.func @equal_functions(%a: tensor<f32>) -> (tensor<f32>, tensor<f32>, tensor<f32>) {
  // CHECK-NEXT: %[[R:.*]] = call @twice(%arg0)
  // CHECK-NEXT: %[[S:.*]] = call @twice(%[[R]])
  // CHECK-NEXT: %[[T:.*]] = stablehlo.composite "an.op" %arg0 {decomposition = @once}
  // CHECK-NEXT: return %[[R]], %[[S]], %[[T]]
  %0 = call @twice(%a) : (tensor<f32>) -> tensor<f32>
  %1 = call @twice_0(%a) : (tensor<f32>) -> tensor<f32>
  %2 = call @twice_0(%1) : (tensor<f32>) -> tensor<f32>
  %3 = stablehlo.composite "an.op" %a {decomposition = @once_0} : (tensor<f32>) -> tensor<f32>
  return %0, %2, %3 : tensor<f32>, tensor<f32>, tensor<f32>
}
// CHECK: func.func private @twice(
// CHECK: func.func private @once(
// CHECK-NOT: _0
func.func private @twice(%a: tensor<f32>) -> tensor<f32> {
  %0 = call @once(%a) : (tensor<f32>) -> tensor<f32>
  %1 = call @once(%0) : (tensor<f32>) -> tensor<f32>
  return %1 : tensor<f32>
}
func.func private @twice_0(%x: tensor<f32>) -> tensor<f32> {
  %0 = call @once_0(%x) : (tensor<f32>) -> tensor<f32>
  %1 = call @once(%0) : (tensor<f32>) -> tensor<f32>
  return %1 : tensor<f32>
}
func.func private @once(%a: tensor<f32>) -> tensor<f32> {
  %0 = stablehlo.sine %a : tensor<f32>
  return %0 : tensor<f32>
}
func.func private @once_0(%a: tensor<f32>) -> tensor<f32> {
  %0 = stablehlo.sine %a : tensor<f32>
  return %0 : tensor<f32>
}

// -----

// Two values carried alike are one; the third starts alike and goes its own way.
// CHECK-LABEL: @carried
func.func @carried(%n: tensor<i32>, %a: tensor<f32>) -> (tensor<f32>, tensor<f32>, tensor<f32>) {
  // CHECK: %[[W:.*]]:4 = stablehlo.while(%[[I:.*]] = %{{.*}}, %[[X:.*]] = %arg1, %{{.*}} = %arg1, %[[Z:.*]] = %arg1)
  // CHECK: do
  // CHECK-NEXT: %[[U:.*]] = stablehlo.tanh %[[X]]
  // CHECK-NEXT: %[[V:.*]] = stablehlo.multiply %[[Z]], %[[X]]
  // CHECK: stablehlo.return %{{.*}}, %[[U]], %[[U]], %[[V]]
  // CHECK: return %[[W]]#1, %[[W]]#1, %[[W]]#3
  %c = stablehlo.constant dense<1> : tensor<i32>
  %0:4 = stablehlo.while(%i = %c, %x = %a, %y = %a, %z = %a) : tensor<i32>, tensor<f32>, tensor<f32>, tensor<f32>
  cond {
    %1 = stablehlo.compare LT, %i, %n : (tensor<i32>, tensor<i32>) -> tensor<i1>
    stablehlo.return %1 : tensor<i1>
  } do {
    %1 = stablehlo.tanh %x : tensor<f32>
    %2 = stablehlo.tanh %y : tensor<f32>
    %3 = stablehlo.multiply %z, %y : tensor<f32>
    %4 = stablehlo.add %i, %c : tensor<i32>
    stablehlo.return %4, %1, %2, %3 : tensor<i32>, tensor<f32>, tensor<f32>, tensor<f32>
  }
  return %0#1, %0#2, %0#3 : tensor<f32>, tensor<f32>, tensor<f32>
}

// -----

// Values in different sharding groups stay apart: merged, they would make one group of two.
// CHECK-LABEL: @sharding_groups
func.func @sharding_groups(%a: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) {
  // CHECK-NEXT: %[[A:.*]] = stablehlo.tanh
  // CHECK-NEXT: sdy.sharding_group %[[A]] group_id=0
  // CHECK-NEXT: %[[B:.*]] = stablehlo.tanh
  // CHECK-NEXT: sdy.sharding_group %[[B]] group_id=1
  // CHECK-NEXT: return %[[A]], %[[B]], %[[A]]
  %0 = stablehlo.tanh %a : tensor<4xf32>
  sdy.sharding_group %0 group_id=0 : tensor<4xf32>
  %1 = stablehlo.tanh %a : tensor<4xf32>
  sdy.sharding_group %1 group_id=1 : tensor<4xf32>
  %2 = stablehlo.tanh %a : tensor<4xf32>
  sdy.sharding_group %2 group_id=0 : tensor<4xf32>
  return %0, %1, %2 : tensor<4xf32>, tensor<4xf32>, tensor<4xf32>
}
