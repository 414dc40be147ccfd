// RUN: shlo-opt %s --inline --split-input-file --mlir-print-debuginfo --mlir-print-local-scope | filecheck %s
// RUN: shlo-opt %s --inline=mode=trivial --split-input-file | filecheck %s --check-prefix=TRIVIAL
// RUN: shlo-opt %s --inline=mode=once --split-input-file | filecheck %s --check-prefix=ONCE
// RUN: shlo-opt %s --inline=mode=never --split-input-file | filecheck %s --check-prefix=NEVER

// Functions of no op and of one; two of several ops, called once and twice. Ops say where they were called.
// CHECK-LABEL: @main
// CHECK-NEXT: stablehlo.sine %arg0 {{.*}}callsite("in.jax":4:1 at "in.jax":1:1)
// CHECK-NOT: call @
// CHECK: return
// CHECK-NOT: @once
// TRIVIAL-LABEL: @main
// TRIVIAL-NEXT: stablehlo.sine %arg0
// TRIVIAL-NEXT: call @once
// TRIVIAL-NEXT: call @twice
// TRIVIAL-NEXT: call @twice
// TRIVIAL-NEXT: return
// TRIVIAL-NOT: @none
// TRIVIAL-NOT: @one(
// ONCE-LABEL: @main
// ONCE-NEXT: stablehlo.sine %arg0
// ONCE-NEXT: stablehlo.tanh
// ONCE-NEXT: stablehlo.negate
// ONCE-NEXT: call @twice
// ONCE-NEXT: call @twice
// ONCE-NEXT: return
// ONCE-NOT: @once
// NEVER-LABEL: @main
// NEVER-NEXT: call @none
// NEVER-NEXT: call @one
// NEVER-NEXT: call @once
func.func @main(%a: tensor<f32>) -> tensor<f32> {
  %0 = call @none(%a, %a) : (tensor<f32>, tensor<f32>) -> tensor<f32>
  %1 = call @one(%0) : (tensor<f32>) -> tensor<f32> loc("in.jax":1:1)
  %2 = call @once(%1) : (tensor<f32>) -> tensor<f32>
  %3 = call @twice(%2) : (tensor<f32>) -> tensor<f32>
  %4 = call @twice(%3) : (tensor<f32>) -> tensor<f32>
  return %4 : tensor<f32>
}
func.func private @none(%x: tensor<f32>, %y: tensor<f32>) -> tensor<f32> {
  return %y : tensor<f32>
}
func.func private @one(%x: tensor<f32>) -> tensor<f32> {
  %0 = stablehlo.sine %x : tensor<f32> loc("in.jax":4:1)
  return %0 : tensor<f32>
}
func.func private @once(%x: tensor<f32>) -> tensor<f32> {
  %0 = stablehlo.tanh %x : tensor<f32>
  %1 = stablehlo.negate %0 : tensor<f32>
  return %1 : tensor<f32>
}
func.func private @twice(%x: tensor<f32>) -> tensor<f32> {
  %0 = stablehlo.cosine %x : tensor<f32>
  %1 = stablehlo.abs %0 : tensor<f32>
  return %1 : tensor<f32>
}

// -----

// Through a function in between, into a loop, with a loop inside; a public function stays for others.
// CHECK-LABEL: @into_regions
// CHECK: stablehlo.while
// CHECK: do {
// CHECK: stablehlo.while
// CHECK: stablehlo.abs
// CHECK-NOT: call @
// CHECK: func.func @outer
// CHECK-NOT: call @
// CHECK-NOT: @inner
// ONCE-LABEL: @into_regions
// ONCE: func.call @outer
// ONCE: func.func @outer
// ONCE: stablehlo.while
func.func @into_regions(%p: tensor<i1>, %a: tensor<f32>) -> tensor<f32> {
  %0 = stablehlo.while(%x = %a) : tensor<f32>
  cond {
    stablehlo.return %p : tensor<i1>
  } do {
    %1 = func.call @outer(%p, %x) : (tensor<i1>, tensor<f32>) -> tensor<f32>
    stablehlo.return %1 : tensor<f32>
  }
  return %0 : tensor<f32>
}
func.func @outer(%p: tensor<i1>, %a: tensor<f32>) -> tensor<f32> {
  %0 = call @inner(%p, %a) : (tensor<i1>, tensor<f32>) -> tensor<f32>
  %1 = stablehlo.abs %0 : tensor<f32>
  return %1 : tensor<f32>
}
func.func private @inner(%p: tensor<i1>, %a: tensor<f32>) -> tensor<f32> {
  %0 = stablehlo.while(%x = %a) : tensor<f32>
  cond {
    stablehlo.return %p : tensor<i1>
  } do {
    %1 = stablehlo.negate %x : tensor<f32>
    stablehlo.return %1 : tensor<f32>
  }
  return %0 : tensor<f32>
}

// -----

// What asks not to be inlined, in either way.
// CHECK-LABEL: @asked
// CHECK: call @never(
// CHECK: call @never_for_xla(
// CHECK: call @not_here(
func.func @asked(%a: tensor<f32>) -> tensor<f32> {
  %0 = call @never(%a) : (tensor<f32>) -> tensor<f32>
  %1 = call @never_for_xla(%0) : (tensor<f32>) -> tensor<f32>
  %2 = "func.call"(%1) <{callee = @not_here, no_inline}> : (tensor<f32>) -> tensor<f32>
  return %2 : tensor<f32>
}
func.func private @never(%x: tensor<f32>) -> tensor<f32> attributes {no_inline} {
  return %x : tensor<f32>
}
func.func private @never_for_xla(%x: tensor<f32>) -> tensor<f32>
    attributes {mhlo.frontend_attributes = {inlineable = "false"}} {
  return %x : tensor<f32>
}
func.func private @not_here(%x: tensor<f32>) -> tensor<f32> {
  return %x : tensor<f32>
}

// -----

// Shardings of a call, an argument or a result would have no place.
// CHECK-LABEL: @shardings
// CHECK: call @f(%arg0) {sdy.sharding
// CHECK: call @f(%{{.*}}) {mhlo.sharding
// CHECK-NOT: call @f(
// CHECK: call @argument(
// CHECK: call @result(
// CHECK: func.func private @f(
sdy.mesh @mesh = <["x"=2]>
func.func @shardings(%a: tensor<4xf32>) -> tensor<4xf32> {
  %0 = call @f(%a) {sdy.sharding = #sdy.sharding_per_value<[<@mesh, [{"x"}]>]>} : (tensor<4xf32>) -> tensor<4xf32>
  %1 = call @f(%0) {mhlo.sharding = "{replicated}"} : (tensor<4xf32>) -> tensor<4xf32>
  %2 = call @f(%1) : (tensor<4xf32>) -> tensor<4xf32>
  %3 = call @argument(%2) : (tensor<4xf32>) -> tensor<4xf32>
  %4 = call @result(%3) : (tensor<4xf32>) -> tensor<4xf32>
  return %4 : tensor<4xf32>
}
func.func private @f(%x: tensor<4xf32>) -> tensor<4xf32> {
  return %x : tensor<4xf32>
}
func.func private @argument(%x: tensor<4xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}]>}) -> tensor<4xf32> {
  return %x : tensor<4xf32>
}
func.func private @result(%x: tensor<4xf32>)
    -> (tensor<4xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}]>}) {
  return %x : tensor<4xf32>
}

// -----

// Functions that call themselves or each other, declarations, and functions that are named by other ops.
// CHECK-LABEL: @kept
// CHECK: call @self(
// CHECK: call @ping(
// CHECK: call @elsewhere(
// CHECK-NOT: call @decomposition
// CHECK: stablehlo.composite "my.op"
// CHECK: func.func private @decomposition
func.func @kept(%a: tensor<f32>) -> tensor<f32> {
  %0 = call @self(%a) : (tensor<f32>) -> tensor<f32>
  %1 = call @ping(%0) : (tensor<f32>) -> tensor<f32>
  %2 = call @elsewhere(%1) : (tensor<f32>) -> tensor<f32>
  %3 = call @decomposition(%2) : (tensor<f32>) -> tensor<f32>
  %4 = stablehlo.composite "my.op" %3 {decomposition = @decomposition} : (tensor<f32>) -> tensor<f32>
  return %4 : tensor<f32>
}
func.func private @self(%x: tensor<f32>) -> tensor<f32> {
  %0 = call @self(%x) : (tensor<f32>) -> tensor<f32>
  return %0 : tensor<f32>
}
func.func private @ping(%x: tensor<f32>) -> tensor<f32> {
  %0 = call @pong(%x) : (tensor<f32>) -> tensor<f32>
  return %0 : tensor<f32>
}
func.func private @pong(%x: tensor<f32>) -> tensor<f32> {
  %0 = call @ping(%x) : (tensor<f32>) -> tensor<f32>
  return %0 : tensor<f32>
}
func.func private @elsewhere(tensor<f32>) -> tensor<f32>
func.func private @decomposition(%x: tensor<f32>) -> tensor<f32> {
  %0 = stablehlo.sine %x : tensor<f32>
  return %0 : tensor<f32>
}
