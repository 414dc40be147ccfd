// RUN: shlo-opt %s -O --split-input-file | filecheck %s
// RUN: shlo-opt %s -O --split-input-file --mlir-pass-statistics -o /dev/null 2>&1 | filecheck %s --check-prefix=COUNTS

// Merging lets a rule see that both sides are one, which leaves a carried value that nothing needs.
// CHECK-LABEL: @in_turn
// COUNTS: optimize
// COUNTS: (S) 1 cse.merged
// COUNTS: (S) 1 simplify.bound-itself
func.func @in_turn(%n: tensor<i32>, %a: tensor<4xf32>) -> tensor<4xf32> {
  // CHECK-NEXT: %[[T:.*]] = stablehlo.tanh %arg1
  // CHECK-NEXT: return %[[T]]
  %zero = stablehlo.constant dense<0> : tensor<i32>
  %0 = stablehlo.tanh %a : tensor<4xf32>
  %1 = stablehlo.tanh %a : tensor<4xf32>
  %2 = stablehlo.maximum %0, %1 : tensor<4xf32>
  %3:2 = stablehlo.while(%i = %zero, %v = %2) : tensor<i32>, tensor<4xf32>
  cond {
    %4 = stablehlo.compare LT, %i, %n : (tensor<i32>, tensor<i32>) -> tensor<i1>
    stablehlo.return %4 : tensor<i1>
  } do {
    %one = stablehlo.constant dense<1> : tensor<i32>
    %4 = stablehlo.add %i, %one : tensor<i32>
    stablehlo.return %4, %v : tensor<i32>, tensor<4xf32>
  }
  return %3#1 : tensor<4xf32>
}
