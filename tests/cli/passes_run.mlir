// Passes of this package and native ones, as flags and as pipelines.
// RUN: shlo-opt %s --cse --dead-ops | filecheck %s
// RUN: shlo opt %s -cse -dead-ops | filecheck %s
// RUN: shlo-opt %s -p 'builtin.module(cse,dead-ops)' | filecheck %s
// RUN: shlo-opt %s --pass-pipeline='builtin.module(func.func(native-cse),dead-ops{keep-calls=false})' | filecheck %s
// RUN: shlo-opt %s --cse --emit-bytecode | shlo-opt --dead-ops | filecheck %s
// RUN: shlo-opt %s --cse --no-isolation --verify-each=false --native-cse --dead-ops | filecheck %s
// RUN: shlo opt %s --cse --dead-ops | shlo opt - > %t.once
// RUN: shlo opt %t.once --cse --dead-ops -o %t.twice && diff %t.once %t.twice

// CHECK:      func.func @main
// CHECK-NEXT:   %0 = stablehlo.add
// CHECK-NEXT:   %1 = stablehlo.multiply %0, %0
// CHECK-NEXT:   return %1
func.func @main(%a: tensor<4xf32>) -> tensor<4xf32> {
  %0 = stablehlo.add %a, %a : tensor<4xf32>
  %1 = stablehlo.add %a, %a : tensor<4xf32>
  %2 = stablehlo.multiply %0, %1 : tensor<4xf32>
  %3 = stablehlo.subtract %0, %1 : tensor<4xf32>
  return %2 : tensor<4xf32>
}
