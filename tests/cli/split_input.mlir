// RUN: shlo-opt %s --split-input-file | filecheck %s
// RUN: shlo-opt %s -split-input-file | shlo-opt --split-input-file | filecheck %s
// RUN: not shlo-opt %s 2>&1 | filecheck %s --check-prefix=WHOLE

// Without the flag the second function is a redefinition.
// WHOLE: split_input.mlir:20:1: error: redefinition of symbol named 'main'

// CHECK:      func.func @main(%arg0: tensor<1xf32>)
// CHECK:      {{^}}// -----{{$}}
// CHECK-NEXT: module {
// CHECK-NEXT:   func.func @main(%arg0: tensor<2xf32>)
// CHECK:      {{^}}// -----{{$}}
// CHECK-NEXT: module @third
// CHECK-NOT:  // -----
func.func @main(%a: tensor<1xf32>) -> tensor<1xf32> {
  return %a : tensor<1xf32>
}

// -----
func.func @main(%a: tensor<2xf32>) -> tensor<2xf32> {
  return %a : tensor<2xf32>
}

// ----- a word about the third

module @third {
}
// -----
