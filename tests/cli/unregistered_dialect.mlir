// RUN: not shlo-opt %s 2>&1 | filecheck %s --check-prefix=REFUSED
// RUN: shlo-opt %s --allow-unregistered-dialect | filecheck %s

// REFUSED: unregistered_dialect.mlir:9:17: error: operation being parsed with an unregistered dialect
// CHECK:   %0 = "mine.op"(%arg0) {kind = #mine.kind} : (tensor<4xf32>) -> tensor<4xf32>
func.func @main(%a: tensor<4xf32>) -> tensor<4xf32> {
  // An earlier command in the same process that allowed them leaves nothing behind.
  // RUN: not shlo-opt %s 2>&1 | filecheck %s --check-prefix=REFUSED
  %0 = "mine.op"(%a) {kind = #mine.kind} : (tensor<4xf32>) -> tensor<4xf32>
  return %0 : tensor<4xf32>
}
