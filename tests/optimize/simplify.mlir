// RUN: shlo-opt %s --simplify --split-input-file | filecheck %s
// RUN: shlo-opt %s --simplify=allow-signed-zero=true --split-input-file | filecheck %s --check-prefix=ZERO

// CHECK-LABEL: @zeros
// ZERO-LABEL: @zeros
func.func @zeros(%a: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) {
  // CHECK: %[[P:.*]] = stablehlo.add %arg0, %{{.*}}
  // CHECK: return %[[P]], %arg0, %arg0
  // ZERO: return %arg0, %arg0, %arg0
  %p = stablehlo.constant dense<0.0> : tensor<4xf32>
  %n = stablehlo.constant dense<-0.0> : tensor<4xf32>
  %0 = stablehlo.add %a, %p : tensor<4xf32>
  %1 = stablehlo.add %n, %a : tensor<4xf32>
  %2 = stablehlo.subtract %a, %p : tensor<4xf32>
  return %0, %1, %2 : tensor<4xf32>, tensor<4xf32>, tensor<4xf32>
}

// -----

// An attention mask: built on the small side, repeated once.
// CHECK-LABEL: @mask
func.func @mask(%m: tensor<2x8xi1>) -> tensor<2x4x8x8xf32> {
  // CHECK-NEXT: %[[NIL:.*]] = stablehlo.constant dense<0.000000e+00> : tensor<2x8xf32>
  // CHECK-NEXT: %[[LOW:.*]] = stablehlo.constant dense<-1.000000e+09> : tensor<2x8xf32>
  // CHECK-NEXT: %[[S:.*]] = stablehlo.select %arg0, %[[NIL]], %[[LOW]] : tensor<2x8xi1>, tensor<2x8xf32>
  // CHECK-NEXT: %[[R:.*]] = stablehlo.broadcast_in_dim %[[S]], dims = [0, 3] : (tensor<2x8xf32>) -> tensor<2x4x8x8xf32>
  // CHECK-NEXT: return %[[R]]
  %low = stablehlo.constant dense<-1.0e9> : tensor<f32>
  %zero = stablehlo.constant dense<0.0> : tensor<f32>
  %0 = stablehlo.broadcast_in_dim %m, dims = [0, 3] : (tensor<2x8xi1>) -> tensor<2x1x1x8xi1>
  %1 = stablehlo.broadcast_in_dim %0, dims = [0, 1, 2, 3] : (tensor<2x1x1x8xi1>) -> tensor<2x4x8x8xi1>
  %2 = stablehlo.broadcast_in_dim %zero, dims = [] : (tensor<f32>) -> tensor<2x4x8x8xf32>
  %3 = stablehlo.broadcast_in_dim %low, dims = [] : (tensor<f32>) -> tensor<2x4x8x8xf32>
  %4 = stablehlo.select %1, %2, %3 : tensor<2x4x8x8xi1>, tensor<2x4x8x8xf32>
  return %4 : tensor<2x4x8x8xf32>
}

// -----

// Locations stay with what computes the value.
// RUN: shlo-opt %s --simplify --split-input-file --mlir-print-debuginfo | filecheck %s --check-prefix=PLACE
// PLACE-LABEL: @places
func.func @places(%a: tensor<6xf32>) -> tensor<3x2xf32> {
  // PLACE: stablehlo.reshape %{{.*}} : (tensor<6xf32>) -> tensor<3x2xf32> loc(#[[OUTER:.*]])
  // PLACE: #[[OUTER]] = loc("outer")
  %0 = stablehlo.reshape %a : (tensor<6xf32>) -> tensor<2x3xf32> loc("inner")
  %1 = stablehlo.reshape %0 : (tensor<2x3xf32>) -> tensor<3x2xf32> loc("outer")
  return %1 : tensor<3x2xf32>
}

// -----

// What a person or a front end said about an op stays true of it.
// CHECK-LABEL: @annotated
sdy.mesh @mesh = <["x"=2]>
func.func @annotated(%a: tensor<4x1xf32>) -> tensor<4x8xf32> {
  // CHECK: stablehlo.multiply
  // CHECK-SAME: sdy.sharding
  // CHECK: stablehlo.broadcast_in_dim %{{.*}}, dims = [0, 1]
  %one = stablehlo.constant dense<1.0> : tensor<4x1xf32>
  %0 = stablehlo.multiply %a, %one {sdy.sharding = #sdy.sharding_per_value<[<@mesh, [{"x"}, {}]>]>} : tensor<4x1xf32>
  %1 = stablehlo.broadcast_in_dim %0, dims = [0, 1] : (tensor<4x1xf32>) -> tensor<4x8xf32>
  return %1 : tensor<4x8xf32>
}

// -----

// A loop over layers: the weights are captured, and what a branch on a constant leaves is no branch.
// CHECK-LABEL: @loop
func.func @loop(%x: tensor<4xf32>, %w: tensor<4xf32>) -> tensor<4xf32> {
  // CHECK: stablehlo.while
  // CHECK: do
  // CHECK-NOT: stablehlo.case
  // CHECK: stablehlo.multiply %{{.*}}, %arg1
  %zero = stablehlo.constant dense<0> : tensor<i32>
  %0:3 = stablehlo.while(%i = %zero, %v = %x, %k = %w) : tensor<i32>, tensor<4xf32>, tensor<4xf32>
  cond {
    %n = stablehlo.constant dense<3> : tensor<i32>
    %1 = stablehlo.compare LT, %i, %n : (tensor<i32>, tensor<i32>) -> tensor<i1>
    stablehlo.return %1 : tensor<i1>
  } do {
    %one = stablehlo.constant dense<1> : tensor<i32>
    %1 = stablehlo.add %i, %one : tensor<i32>
    %2 = "stablehlo.case"(%one) ({
      stablehlo.return %v : tensor<4xf32>
    }, {
      %3 = stablehlo.multiply %v, %k : tensor<4xf32>
      stablehlo.return %3 : tensor<4xf32>
    }) : (tensor<i32>) -> tensor<4xf32>
    stablehlo.return %1, %2, %k : tensor<i32>, tensor<4xf32>, tensor<4xf32>
  }
  return %0#1 : tensor<4xf32>
}

// -----

// The transpose leaves the broadcast to the comparison, which was looked at before.
// CHECK-LABEL: @left_to_one_above
func.func @left_to_one_above(%a: tensor<4xf32>) -> (tensor<2x4xi1>, tensor<4x2xf32>) {
  // CHECK-NEXT: %[[C:.*]] = stablehlo.compare LE, %arg0, %arg0 : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xi1>
  // CHECK-NEXT: %[[R:.*]] = stablehlo.broadcast_in_dim %[[C]], dims = [1]
  // CHECK-NEXT: %[[T:.*]] = stablehlo.broadcast_in_dim %arg0, dims = [0]
  // CHECK-NEXT: return %[[R]], %[[T]]
  %0 = stablehlo.broadcast_in_dim %a, dims = [1] : (tensor<4xf32>) -> tensor<2x4xf32>
  %1 = stablehlo.compare LE, %0, %0 : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xi1>
  %2 = stablehlo.transpose %0, dims = [1, 0] : (tensor<2x4xf32>) -> tensor<4x2xf32>
  return %1, %2 : tensor<2x4xi1>, tensor<4x2xf32>
}

// -----

// What a loop carries turns out not to change once its body is simple, which makes both sides inside one.
// CHECK-LABEL: @one_inside_a_loop
func.func @one_inside_a_loop(%n: tensor<i32>, %a: tensor<4xf32>) -> tensor<4xf32> {
  // CHECK: stablehlo.while
  // CHECK: do {
  // CHECK-NOT: stablehlo.maximum
  // CHECK: stablehlo.tanh %arg1
  %zero = stablehlo.constant dense<0> : tensor<i32>
  %one = stablehlo.constant dense<1> : tensor<i32>
  %0:3 = stablehlo.while(%i = %zero, %v = %a, %w = %a) : tensor<i32>, tensor<4xf32>, tensor<4xf32>
  cond {
    %1 = stablehlo.compare LT, %i, %n : (tensor<i32>, tensor<i32>) -> tensor<i1>
    stablehlo.return %1 : tensor<i1>
  } do {
    %1 = stablehlo.add %i, %one : tensor<i32>
    %2 = stablehlo.maximum %v, %a : tensor<4xf32>
    %3 = stablehlo.tanh %2 : tensor<4xf32>
    %4 = stablehlo.minimum %v, %v : tensor<4xf32>
    stablehlo.return %1, %4, %3 : tensor<i32>, tensor<4xf32>, tensor<4xf32>
  }
  return %0#2 : tensor<4xf32>
}

// -----

// The branch that is never taken was the other one to use the broadcast.
// CHECK-LABEL: @left_by_a_branch
func.func @left_by_a_branch(%a: tensor<4xf32>) -> tensor<2x4xf32> {
  // CHECK: %[[N:.*]] = stablehlo.negate %arg0 : tensor<4xf32>
  // CHECK-NEXT: %[[R:.*]] = stablehlo.broadcast_in_dim %[[N]], dims = [1]
  // CHECK-NEXT: return %[[R]]
  %first = stablehlo.constant dense<0> : tensor<i32>
  %0 = stablehlo.broadcast_in_dim %a, dims = [1] : (tensor<4xf32>) -> tensor<2x4xf32>
  %1 = stablehlo.negate %0 : tensor<2x4xf32>
  %2 = "stablehlo.case"(%first) ({
    stablehlo.return %1 : tensor<2x4xf32>
  }, {
    %3 = stablehlo.tanh %0 : tensor<2x4xf32>
    stablehlo.return %3 : tensor<2x4xf32>
  }) : (tensor<i32>) -> tensor<2x4xf32>
  return %2 : tensor<2x4xf32>
}
