// RUN: shlo-opt %s --function-signatures --split-input-file | filecheck %s
// RUN: shlo-opt %s --function-signatures=constant-limit=1 --split-input-file | filecheck %s --check-prefix=SMALL

// The same constant from every call, down a chain of calls.
// CHECK-LABEL: @main(%arg0: tensor<4xf32>)
// CHECK: %[[A:.*]] = call @outer(%arg0) : (tensor<4xf32>) -> tensor<4xf32>
// CHECK: call @outer(%[[A]]) : (tensor<4xf32>) -> tensor<4xf32>
// CHECK: func.func private @outer(%arg0: tensor<4xf32>) -> tensor<4xf32>
// CHECK: call @inner(%arg0) : (tensor<4xf32>) -> tensor<4xf32>
// CHECK: func.func private @inner(%arg0: tensor<4xf32>) -> tensor<4xf32>
// CHECK-NEXT: %[[C:.*]] = stablehlo.constant dense<2.000000e+00> : tensor<4xf32>
// CHECK-NEXT: stablehlo.multiply %arg0, %[[C]]
func.func @main(%a: tensor<4xf32>) -> tensor<4xf32> {
  %0 = stablehlo.constant dense<2.0> : tensor<4xf32>
  %1 = stablehlo.constant dense<2.0> : tensor<4xf32>
  %2 = call @outer(%a, %0) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %3 = call @outer(%2, %1) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  return %3 : tensor<4xf32>
}
func.func private @outer(%x: tensor<4xf32>, %y: tensor<4xf32>) -> tensor<4xf32> {
  %0 = call @inner(%x, %y) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  return %0 : tensor<4xf32>
}
func.func private @inner(%x: tensor<4xf32>, %y: tensor<4xf32>) -> tensor<4xf32> {
  %0 = stablehlo.multiply %x, %y : tensor<4xf32>
  return %0 : tensor<4xf32>
}

// -----

// Zeros of two signs are two constants; a constant that is no splat moves up to a size.
// CHECK-LABEL: @zeros
// CHECK: call @f(%{{.*}}) : (tensor<2xf32>) -> tensor<2xf32>
// CHECK: func.func private @f(%arg0: tensor<2xf32>)
// SMALL-LABEL: @zeros
// SMALL: call @f(%{{.*}}, %{{.*}}) : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
func.func @zeros() -> (tensor<2xf32>, tensor<2xf32>) {
  %0 = stablehlo.constant dense<0.0> : tensor<2xf32>
  %1 = stablehlo.constant dense<-0.0> : tensor<2xf32>
  %2 = stablehlo.constant dense<[1.0, 2.0]> : tensor<2xf32>
  %3 = call @f(%0, %2) : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
  %4 = call @f(%1, %2) : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
  return %3, %4 : tensor<2xf32>, tensor<2xf32>
}
func.func private @f(%x: tensor<2xf32>, %y: tensor<2xf32>) -> tensor<2xf32> {
  %0 = stablehlo.divide %y, %x : tensor<2xf32>
  return %0 : tensor<2xf32>
}

// -----

// A result that is an argument all the way down, and one that is a constant.
// CHECK-LABEL: @passed_on
// CHECK: %[[C:.*]] = stablehlo.constant dense<7> : tensor<i32>
// CHECK: return %arg0, %[[C]] : tensor<4xf32>, tensor<i32>
// CHECK: func.func private @outer(%arg0: tensor<4xf32>) {
// CHECK: func.func private @inner(%arg0: tensor<4xf32>) {
func.func @passed_on(%a: tensor<4xf32>) -> (tensor<4xf32>, tensor<i32>) {
  %0:2 = call @outer(%a) : (tensor<4xf32>) -> (tensor<4xf32>, tensor<i32>)
  return %0#0, %0#1 : tensor<4xf32>, tensor<i32>
}
func.func private @outer(%x: tensor<4xf32>) -> (tensor<4xf32>, tensor<i32>) {
  %0:2 = call @inner(%x) : (tensor<4xf32>) -> (tensor<4xf32>, tensor<i32>)
  return %0#0, %0#1 : tensor<4xf32>, tensor<i32>
}
func.func private @inner(%x: tensor<4xf32>) -> (tensor<4xf32>, tensor<i32>) {
  %0 = stablehlo.constant dense<7> : tensor<i32>
  return %x, %0 : tensor<4xf32>, tensor<i32>
}

// -----

// Nothing changes where something else could see it: public functions, shardings, other references.
// CHECK-LABEL: @kept
// CHECK: call @public(%arg0, %[[C:[a-z0-9_]+]])
// CHECK: call @sharded(%arg0, %[[C]]) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
// CHECK: call @on_call(%arg0, %[[C]]) {sdy.sharding
// CHECK: call @decomposition(%arg0, %[[C]])
sdy.mesh @mesh = <["x"=2]>
func.func @kept(%a: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) {
  %c = stablehlo.constant dense<2.0> : tensor<4xf32>
  %0 = call @public(%a, %c) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %1 = call @sharded(%a, %c) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %2 = call @on_call(%a, %c) {sdy.sharding = #sdy.sharding_per_value<[<@mesh, [{"x"}]>]>}
    : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %3 = call @decomposition(%a, %c) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %4 = stablehlo.composite "my.op" %a, %c {decomposition = @decomposition}
    : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  return %0, %1, %2, %3, %4 : tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>
}
func.func @public(%x: tensor<4xf32>, %y: tensor<4xf32>) -> tensor<4xf32> {
  return %y : tensor<4xf32>
}
func.func private @sharded(%x: tensor<4xf32>, %y: tensor<4xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}]>})
    -> (tensor<4xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}]>}) {
  return %x : tensor<4xf32>
}
func.func private @on_call(%x: tensor<4xf32>, %y: tensor<4xf32>) -> tensor<4xf32> {
  return %x : tensor<4xf32>
}
func.func private @decomposition(%x: tensor<4xf32>, %y: tensor<4xf32>) -> tensor<4xf32> {
  return %x : tensor<4xf32>
}
