// RUN: shlo-opt %s --dead-ops --split-input-file | filecheck %s
// RUN: shlo-opt %s --dead-ops=keep-calls=true --split-input-file | filecheck %s --check-prefix=CALLS

// CHECK-LABEL: @f(%arg0: tensor<f32>) -> tensor<f32>
// CHECK-NEXT: return %arg0
func.func @f(%a: tensor<f32>) -> tensor<f32> {
  %0 = stablehlo.add %a, %a : tensor<f32>
  %1 = stablehlo.multiply %0, %a : tensor<f32>
  return %a : tensor<f32>
}

// -----

// Not dead because of its effect; what it reads lives with it.
// CHECK-LABEL: @effect
func.func @effect(%a: tensor<f32>) {
  // CHECK-NEXT: %[[T:.*]] = stablehlo.tanh
  // CHECK-NEXT: stablehlo.custom_call @io(%[[T]])
  // CHECK-NEXT: return
  %0 = stablehlo.tanh %a : tensor<f32>
  %1 = stablehlo.custom_call @io(%0) {has_side_effect = true} : (tensor<f32>) -> tensor<f32>
  return
}

// -----

// An op whose regions have an effect stays; what is dead inside goes.
// CHECK-LABEL: @nested_effect
func.func @nested_effect(%p: tensor<i1>, %a: tensor<f32>) {
  // CHECK-NEXT: "stablehlo.if"(%arg0) ({
  // CHECK-NEXT: stablehlo.custom_call @io
  // CHECK-NEXT: stablehlo.return
  // CHECK-NEXT: }, {
  // CHECK-NEXT: stablehlo.return
  // CHECK-NEXT: }) : (tensor<i1>) -> ()
  %0 = "stablehlo.if"(%p) ({
    %1 = stablehlo.tanh %a : tensor<f32>
    %2 = stablehlo.custom_call @io(%a) {has_side_effect = true} : (tensor<f32>) -> tensor<f32>
    stablehlo.return %1 : tensor<f32>
  }, {
    stablehlo.return %a : tensor<f32>
  }) : (tensor<i1>) -> tensor<f32>
  return
}

// -----

// Two carried values that only keep each other alive, and the loop without a use after it.
// CHECK-LABEL: @loop
func.func @loop(%n: tensor<i32>, %a: tensor<f32>) -> tensor<i32> {
  // CHECK: stablehlo.while(%{{.*}} = %{{.*}}) : tensor<i32>
  // CHECK-NOT: stablehlo.while
  // CHECK-NOT: stablehlo.negate
  %z = stablehlo.constant dense<0> : tensor<i32>
  %0:3 = stablehlo.while(%i = %z, %x = %a, %y = %a) : tensor<i32>, tensor<f32>, tensor<f32>
  cond {
    %2 = stablehlo.compare LT, %i, %n : (tensor<i32>, tensor<i32>) -> tensor<i1>
    stablehlo.return %2 : tensor<i1>
  } do {
    %one = stablehlo.constant dense<1> : tensor<i32>
    %2 = stablehlo.add %i, %one : tensor<i32>
    %3 = stablehlo.negate %x : tensor<f32>
    stablehlo.return %2, %y, %3 : tensor<i32>, tensor<f32>, tensor<f32>
  }
  %1 = stablehlo.while(%i = %0#0) : tensor<i32>
  cond {
    %2 = stablehlo.compare LT, %i, %n : (tensor<i32>, tensor<i32>) -> tensor<i1>
    stablehlo.return %2 : tensor<i1>
  } do {
    stablehlo.return %n : tensor<i32>
  }
  return %0#0 : tensor<i32>
}

// -----

// Private functions live as long as a public one needs them, declarations included.
// CHECK-LABEL: @simple_main
// CALLS-LABEL: @simple_main
func.func @simple_main(%a: tensor<f32>) -> tensor<f32> {
  // CHECK-NEXT: call @live
  // CHECK-NEXT: return
  // CALLS: call @dead_call
  %0 = call @live(%a) : (tensor<f32>) -> tensor<f32>
  %1 = call @dead_call(%a) : (tensor<f32>) -> tensor<f32>
  return %0 : tensor<f32>
}
// CHECK: @live
// CHECK: @external
// CHECK-NOT: @dead_call
// CHECK-NOT: @recursive
// CALLS: @dead_call
// CALLS-NOT: @recursive
func.func private @live(%a: tensor<f32>) -> tensor<f32> {
  %0 = call @external(%a) : (tensor<f32>) -> tensor<f32>
  return %0 : tensor<f32>
}
func.func private @external(tensor<f32>) -> tensor<f32>
func.func private @dead_call(%a: tensor<f32>) -> tensor<f32> {
  %0 = stablehlo.tanh %a : tensor<f32>
  return %0 : tensor<f32>
}
func.func private @recursive(%a: tensor<f32>) -> tensor<f32> {
  %0 = call @recursive(%a) : (tensor<f32>) -> tensor<f32>
  return %0 : tensor<f32>
}

// -----

// CHECK: sdy.mesh @used
// CHECK-NOT: sdy.mesh @unused
sdy.mesh @used = <["x"=2]>
sdy.mesh @unused = <["x"=4]>
func.func @meshes(%a: tensor<4xf32> {sdy.sharding = #sdy.sharding<@used, [{"x"}]>}) -> tensor<4xf32> {
  return %a : tensor<4xf32>
}

// -----

// A private function loses an argument that nothing reads and a result that no caller uses; what was computed for the
// argument goes, and so does a function that was only called for it.
// CHECK-LABEL: @dead_argument_and_result(%arg0: tensor<f32>, %arg1: tensor<f32>)
// CHECK-NEXT: %[[R:.*]] = call @two(%arg1) : (tensor<f32>) -> tensor<f32>
// CHECK-NEXT: return %[[R]]
// CHECK: func.func private @two(%arg0: tensor<f32>) -> tensor<f32>
// CHECK-NEXT: %[[T:.*]] = stablehlo.tanh %arg0
// CHECK-NEXT: return %[[T]]
// CHECK-NOT: @only_for_the_argument
// CALLS-LABEL: @dead_argument_and_result
// CALLS: call @two(%{{.*}}, %arg1) : (tensor<f32>, tensor<f32>) -> (tensor<f32>, tensor<f32>)
func.func @dead_argument_and_result(%a: tensor<f32>, %b: tensor<f32>) -> tensor<f32> {
  %0 = call @only_for_the_argument(%a) : (tensor<f32>) -> tensor<f32>
  %1:2 = call @two(%0, %b) : (tensor<f32>, tensor<f32>) -> (tensor<f32>, tensor<f32>)
  return %1#1 : tensor<f32>
}
func.func private @two(%x: tensor<f32>, %y: tensor<f32>) -> (tensor<f32>, tensor<f32>) {
  %0 = stablehlo.sine %x : tensor<f32>
  %1 = stablehlo.tanh %y : tensor<f32>
  return %0, %1 : tensor<f32>, tensor<f32>
}
func.func private @only_for_the_argument(%x: tensor<f32>) -> tensor<f32> {
  %0 = stablehlo.exponential %x : tensor<f32>
  return %0 : tensor<f32>
}

// -----

// An effect keeps the call and what it reads, but neither the argument nor the result that nobody uses.
// CHECK-LABEL: @call_for_its_effect
// CHECK-NEXT: call @log_it(%arg0) : (tensor<f32>) -> ()
// CHECK-NEXT: return
// CHECK: func.func private @log_it(%arg0: tensor<f32>) {
// CHECK-NEXT: stablehlo.custom_call @io(%arg0)
// CHECK-NEXT: return
func.func @call_for_its_effect(%a: tensor<f32>) {
  %0 = call @log_it(%a, %a) : (tensor<f32>, tensor<f32>) -> tensor<f32>
  return
}
func.func private @log_it(%x: tensor<f32>, %y: tensor<f32>) -> tensor<f32> {
  %0 = stablehlo.custom_call @io(%x) {has_side_effect = true} : (tensor<f32>) -> tensor<f32>
  return %y : tensor<f32>
}

// -----

// Each result is used by some caller, so both stay for all callers.
// CHECK-LABEL: @each_result_somewhere
// CHECK: call @both(%arg0) : (tensor<f32>) -> (tensor<f32>, tensor<f32>)
// CHECK: call @both(%arg1) : (tensor<f32>) -> (tensor<f32>, tensor<f32>)
func.func @each_result_somewhere(%a: tensor<f32>, %b: tensor<f32>) -> (tensor<f32>, tensor<f32>) {
  %0:2 = call @both(%a) : (tensor<f32>) -> (tensor<f32>, tensor<f32>)
  %1:2 = call @both(%b) : (tensor<f32>) -> (tensor<f32>, tensor<f32>)
  return %0#0, %1#1 : tensor<f32>, tensor<f32>
}
func.func private @both(%x: tensor<f32>) -> (tensor<f32>, tensor<f32>) {
  %0 = stablehlo.sine %x : tensor<f32>
  return %x, %0 : tensor<f32>, tensor<f32>
}

// -----

// A sort of several arrays loses those that are neither used nor compared.
// CHECK-LABEL: @sort
// CHECK-NEXT: %[[S:.*]]:2 = "stablehlo.sort"(%arg0, %arg2) <{dimension = 0 : i64, is_stable = true}> ({
// CHECK-NEXT: ^bb0(%{{.*}}: tensor<f32>, %{{.*}}: tensor<f32>, %{{.*}}: tensor<i32>, %{{.*}}: tensor<i32>):
// CHECK: return %[[S]]#1
func.func @sort(%k: tensor<4xf32>, %v: tensor<4xf32>, %i: tensor<4xi32>) -> tensor<4xi32> {
  %0:3 = "stablehlo.sort"(%k, %v, %i) <{dimension = 0 : i64, is_stable = true}> ({
  ^bb0(%p: tensor<f32>, %q: tensor<f32>, %r: tensor<f32>, %s: tensor<f32>, %t: tensor<i32>, %u: tensor<i32>):
    %1 = stablehlo.compare LT, %p, %q : (tensor<f32>, tensor<f32>) -> tensor<i1>
    stablehlo.return %1 : tensor<i1>
  }) : (tensor<4xf32>, tensor<4xf32>, tensor<4xi32>) -> (tensor<4xf32>, tensor<4xf32>, tensor<4xi32>)
  return %0#2 : tensor<4xi32>
}

// -----

// What a reduction computes for a result that is used keeps the other one; alone, the other one goes.
// CHECK-LABEL: @argmax
// CHECK: %[[R:.*]]:2 = stablehlo.reduce(%arg0 init: %{{.*}}), (%arg1 init: %{{.*}})
// CHECK: %[[M:.*]] = stablehlo.reduce(%arg0 init: %{{.*}}) applies stablehlo.maximum
// CHECK-NEXT: return %[[R]]#1, %[[M]]
func.func @argmax(%k: tensor<4xf32>, %i: tensor<4xi32>) -> (tensor<i32>, tensor<f32>) {
  %z = stablehlo.constant dense<0.0> : tensor<f32>
  %n = stablehlo.constant dense<0> : tensor<i32>
  %0:2 = stablehlo.reduce(%k init: %z), (%i init: %n) across dimensions = [0]
    : (tensor<4xf32>, tensor<4xi32>, tensor<f32>, tensor<i32>) -> (tensor<f32>, tensor<i32>)
    reducer(%p: tensor<f32>, %q: tensor<f32>) (%t: tensor<i32>, %u: tensor<i32>) {
      %1 = stablehlo.compare GE, %p, %q : (tensor<f32>, tensor<f32>) -> tensor<i1>
      %2 = stablehlo.maximum %p, %q : tensor<f32>
      %3 = stablehlo.select %1, %t, %u : tensor<i1>, tensor<i32>
      stablehlo.return %2, %3 : tensor<f32>, tensor<i32>
    }
  %4:2 = stablehlo.reduce(%k init: %z), (%i init: %n) across dimensions = [0]
    : (tensor<4xf32>, tensor<4xi32>, tensor<f32>, tensor<i32>) -> (tensor<f32>, tensor<i32>)
    reducer(%p: tensor<f32>, %q: tensor<f32>) (%t: tensor<i32>, %u: tensor<i32>) {
      %1 = stablehlo.maximum %p, %q : tensor<f32>
      %2 = stablehlo.add %t, %u : tensor<i32>
      stablehlo.return %1, %2 : tensor<f32>, tensor<i32>
    }
  return %0#1, %4#0 : tensor<i32>, tensor<f32>
}

// -----

// Nothing of a public function's signature goes, dead or not, nor of one that something else than a call names.
// CHECK-LABEL: @signatures_kept
// CHECK: call @public(%arg0, %arg0)
// CHECK: call @decomposition(%arg0, %arg0)
// CHECK: func.func @public(%arg0: tensor<f32>, %arg1: tensor<f32>) -> tensor<f32>
// CHECK: func.func private @decomposition(%arg0: tensor<f32>, %arg1: tensor<f32>) -> tensor<f32>
func.func @signatures_kept(%a: tensor<f32>) -> (tensor<f32>, tensor<f32>, tensor<f32>) {
  %0 = call @public(%a, %a) : (tensor<f32>, tensor<f32>) -> tensor<f32>
  %1 = call @decomposition(%a, %a) : (tensor<f32>, tensor<f32>) -> tensor<f32>
  %2 = stablehlo.composite "my.op" %a, %0 {decomposition = @decomposition} : (tensor<f32>, tensor<f32>) -> tensor<f32>
  return %0, %1, %2 : tensor<f32>, tensor<f32>, tensor<f32>
}
func.func @public(%x: tensor<f32>, %y: tensor<f32>) -> tensor<f32> {
  return %y : tensor<f32>
}
func.func private @decomposition(%x: tensor<f32>, %y: tensor<f32>) -> tensor<f32> {
  return %y : tensor<f32>
}

// -----

// A module with a name is a module.
// CHECK-LABEL: module @named
// CHECK: @in_named
// CHECK-NOT: stablehlo.tanh
// CHECK: return
module @named {
  func.func @in_named(%a: tensor<f32>) -> tensor<f32> {
    %0 = stablehlo.tanh %a : tensor<f32>
    return %a : tensor<f32>
  }
}
