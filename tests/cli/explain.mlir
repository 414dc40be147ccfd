// RUN: shlo explain %s --value %3 | filecheck %s
// RUN: shlo explain %s --value %1#1 | filecheck %s --check-prefix=LOOP
// RUN: shlo explain %s --value @f%0 | filecheck %s --check-prefix=COPIES
// RUN: shlo explain %s --arg %a | filecheck %s --check-prefix=CLOSED
// RUN: shlo explain %s --location :51 | filecheck %s --check-prefix=COPIES
// RUN: not shlo explain %s --value %33 2>&1 | filecheck %s --check-prefix=VALUE
// RUN: not shlo explain %s --arg b 2>&1 | filecheck %s --check-prefix=ARG
// RUN: not shlo explain %s --result lost 2>&1 | filecheck %s --check-prefix=RESULT
// RUN: not shlo explain %s --location other.py:3 2>&1 | filecheck %s --check-prefix=LOCATION
// RUN: not shlo explain %s 2>&1 | filecheck %s --check-prefix=NOTHING

// CHECK: %3 (dot_general): f32[8x8] P('x', None)
// CHECK: dimension 0 of 8 is split over 'x':
// CHECK-NEXT: given argument 0 'arg0', dimension 0 {{.*}}explain.mlir:54:17
// CHECK-NEXT: step 0 %0 (add), dimension 0 add: operand 0 -> result 0, factor i of ([i, j], [i, j])->([i, j])
// CHECK-NEXT: step 1 %1#1 (while), dimension 0 while: carried value 1
// CHECK-NEXT: step 5 %3 (dot_general), dimension 0 dot_general: operand 0 -> result 0, factor i of ([i, k], [k, j])->([i, j])

// The second axis of the loop comes through a call, a contracted dimension, and back.
// LOOP: %1#1 (while): f32[8x8] P('x', 'y')
// LOOP: dimension 1 of 8 is split over 'y':
// LOOP-NEXT: given argument 1 'arg1', dimension 0 priority 1
// LOOP-NEXT: step 7 argument 0 of the call of @f, dimension 0
// LOOP-NEXT: step 8 %0 (tanh), dimension 0 tanh: operand 0 -> result 0, factor i of ([i, j])->([i, j])
// LOOP-NEXT: step 9 %2 (call @f), dimension 0 result 0 of the call of @f
// LOOP-NEXT: step 10 %1#1 (while), dimension 1 dot_general: operand 1 -> operand 0, factor k of ([i, k], [k, j])->([i, j])

// COPIES: copy 1 of 2: %0 (tanh): f32[8x8] P('x', 'y')
// COPIES: step 11 %t (call @f), dimension 1 while: carried value 1
// COPIES-NEXT: step 12 %0 (tanh), dimension 1 result 0 of the call of @f
// COPIES: copy 2 of 2: %0 (tanh): f32[8x8] P('y', None)

// CLOSED: argument 0 'arg0': f32[8x8] P('x', 'y')
// CLOSED: not taken:
// CLOSED-NEXT: 'y' on dimension 0, which argument 1 'arg1' has on dimension 0, given
// CLOSED-NEXT: at add ({{.*}}), factor i of ([i, j], [i, j])->([i, j])
// CLOSED-NEXT: because the dimension was annotated as 'x' alone ({{.*}}explain.mlir:54:17)

// VALUE: error: no value is called %33; close ones are %3
// ARG: error: there is no argument 'b'; there are arg0, arg1
// RESULT: error: there is no result 'lost'; there are loss
// LOCATION: error: no op of the program is at 'other.py:3'
// NOTHING: error: nothing to explain; name it with --value, --arg, --result or --location





sdy.mesh @mesh = <["x"=2, "y"=2]>
func.func private @f(%a: tensor<8x8xf32>) -> tensor<8x8xf32> {
  %0 = stablehlo.tanh %a : tensor<8x8xf32>
  return %0 : tensor<8x8xf32>
}
func.func @main(%a: tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {?}]>}, %b: tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"y"}p1, {?}]>}) -> (tensor<8x8xf32> {jax.result_info = "loss"}, tensor<8x8xf32>) {
  %c0 = stablehlo.constant dense<0> : tensor<i32>
  %c4 = stablehlo.constant dense<4> : tensor<i32>
  %c1 = stablehlo.constant dense<1> : tensor<i32>
  %0 = stablehlo.add %a, %b : tensor<8x8xf32>
  %1:2 = stablehlo.while(%it = %c0, %v = %0) : tensor<i32>, tensor<8x8xf32>
    cond {
      %p = stablehlo.compare LT, %it, %c4 : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %p : tensor<i1>
    } do {
      %n = stablehlo.add %it, %c1 : tensor<i32>
      %t = func.call @f(%v) : (tensor<8x8xf32>) -> tensor<8x8xf32>
      stablehlo.return %n, %t : tensor<i32>, tensor<8x8xf32>
    }
  %2 = func.call @f(%b) : (tensor<8x8xf32>) -> tensor<8x8xf32>
  %3 = stablehlo.dot_general %1#1, %2, contracting_dims = [1] x [0] : (tensor<8x8xf32>, tensor<8x8xf32>) -> tensor<8x8xf32>
  return %1#1, %3 : tensor<8x8xf32>, tensor<8x8xf32>
}
