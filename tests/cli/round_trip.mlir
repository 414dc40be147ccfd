// RUN: shlo-opt %s | filecheck %s
// RUN: shlo-opt %s | shlo-opt - | filecheck %s
// RUN: shlo-opt --emit-bytecode < %s | shlo opt | filecheck %s
// RUN: shlo-opt %s --emit-portable-artifact -o %t && shlo-opt %t | filecheck %s
// RUN: shlo-opt %s --emit-portable-artifact=1.0.0 -o %t && shlo-opt %t | filecheck %s

// CHECK-LABEL: func.func @main(
// CHECK-SAME:    %arg0: tensor<4xf32>) -> tensor<4xf32>
// CHECK-NEXT:    %0 = stablehlo.add %arg0, %arg0 : tensor<4xf32>
// CHECK-NEXT:    return %0 : tensor<4xf32>
func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
  %0 = stablehlo.add %x, %x : tensor<4xf32>
  return %0 : tensor<4xf32>
}
