// RUN: not shlo-opt %s --split-input-file 2>&1 | filecheck %s
// RUN: shlo-opt --split-input-file < %S/split_input.mlir > %t
// RUN: not shlo-opt %s --split-input-file -o %t && filecheck %s --check-prefix=KEPT --input-file=%t

// Every part is processed, and each error has its line in the whole file; the output stays as it was.
// CHECK:      split_input_errors.mlir:12:8: error: custom op 'stablehlo.addd' is unknown
// CHECK-NEXT:   %0 = stablehlo.addd
// CHECK-NEXT:        ^
// CHECK-NEXT: split_input_errors.mlir:21:10: error: use of undeclared SSA value name
// KEPT:       module @third
func.func @main(%a: tensor<4xf32>) -> tensor<4xf32> {
  %0 = stablehlo.addd %a, %a : tensor<4xf32>
  return %0 : tensor<4xf32>
}
// -----
func.func @main(%a: tensor<4xf32>) -> tensor<4xf32> {
  return %a : tensor<4xf32>
}
// -----
func.func @main(%a: tensor<4xf32>) -> tensor<4xf32> {
  return %b : tensor<4xf32>
}
