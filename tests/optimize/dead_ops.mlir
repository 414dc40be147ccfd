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
