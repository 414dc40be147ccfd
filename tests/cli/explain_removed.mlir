// RUN: shlo-opt %s --cse --dead-ops --canonicalize --explain-removed -o %t 2>&1 | filecheck %s --match-full-lines
// RUN: shlo-opt %s --cse --explain-removed=0 -o %t 2>&1 | filecheck %s --check-prefix=TOTALS
// RUN: shlo-opt %s --cse --explain-removed 2> %t | shlo-opt | filecheck %s --check-prefix=OUTPUT
// RUN: not shlo-opt %s --cse --explain-removed=many 2>&1 | filecheck %s --check-prefix=ERROR

// CHECK:      cse: 3 ops removed
// CHECK-NEXT:   3  {{.*}} (2 stablehlo.add, 1 stablehlo.negate)
// CHECK-NEXT:     2  model.py:7: stablehlo.add
// CHECK-NEXT:     1  layer/neg: stablehlo.negate
// CHECK-NEXT: dead-ops: 1 op removed
// CHECK-NEXT:   1  {{.*}} (stablehlo.abs)
// CHECK-NEXT:     1  {{.*}}explain_removed.mlir:28: stablehlo.abs
// CHECK-NEXT: canonicalize: a native pass, which does not say what it removes
// TOTALS:      cse: 3 ops removed
// TOTALS-NEXT:   3
// TOTALS-NOT:  model.py
// OUTPUT-NOT:  ops removed
// OUTPUT:      func.func @main
// ERROR:       explain-removed: takes a whole number, not 'many'
func.func @main(%a: tensor<4xf32>, %b: tensor<4xf32>) -> tensor<4xf32> {
  %0 = stablehlo.add %a, %b : tensor<4xf32>
  %1 = stablehlo.add %b, %a : tensor<4xf32> loc("model.py":7:1)
  %2 = stablehlo.add %a, %b : tensor<4xf32> loc("model.py":7:9)
  %3 = stablehlo.negate %0 : tensor<4xf32>
  %4 = stablehlo.negate %1 : tensor<4xf32> loc("layer/neg")
  %5 = stablehlo.add %3, %4 : tensor<4xf32>
  %6 = stablehlo.subtract %5, %2 : tensor<4xf32>
  %7 = stablehlo.abs %6 : tensor<4xf32>
  return %6 : tensor<4xf32>
}
