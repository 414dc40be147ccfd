// RUN: shlo-opt %s --cse --dead-ops --mlir-print-ir-after=cse -o %t 2>&1 | filecheck %s --check-prefix=AFTER
// RUN: shlo-opt %s --cse --dead-ops --mlir-print-ir-before=cse,dead-ops -o %t 2>&1 | filecheck %s --check-prefix=BEFORE
// RUN: shlo-opt %s --cse --dead-ops --mlir-print-ir-before-all --mlir-print-ir-after-all -o %t 2>&1 \
// RUN:   | filecheck %s --check-prefix=ALL
// RUN: shlo-opt %s --cse --cse --mlir-print-ir-after-change -o %t 2>&1 | filecheck %s --check-prefix=CHANGE
// RUN: shlo-opt %s --sdy-reshard-to-collectives --mlir-print-ir-after-all -o %t 2>&1 | filecheck %s --check-prefix=FUNC
// RUN: shlo-opt %s --sdy-reshard-to-collectives --mlir-print-ir-after-all --mlir-print-ir-module-scope -o %t 2>&1 \
// RUN:   | filecheck %s --check-prefix=MODULE
// RUN: shlo-opt %s --cse --mlir-print-ir-after-all --mlir-print-op-generic -o %t 2>&1 \
// RUN:   | filecheck %s --check-prefix=GENERIC
// The result goes to standard output alone.
// RUN: shlo-opt %s --cse --mlir-print-ir-after-all 2> %t | shlo-opt | filecheck %s --check-prefix=RESULT

// AFTER-NOT:  Before
// AFTER:      IR Dump After Cse: cse
// AFTER:      func.func @main
// AFTER-NOT:  IR Dump
// BEFORE-NOT: After
// BEFORE:     IR Dump Before Cse: cse
// BEFORE:     IR Dump Before DeadOps: dead-ops
// BEFORE-NOT: IR Dump
// ALL:        IR Dump Before Cse
// ALL:        IR Dump After Cse
// ALL:        IR Dump Before DeadOps
// ALL:        IR Dump After DeadOps
// CHANGE:     IR Dump After Cse
// CHANGE-NOT: IR Dump
// FUNC:       IR Dump After
// FUNC-NOT:   module {
// FUNC:       func.func @main
// MODULE:     IR Dump After
// MODULE:     module {
// GENERIC:    "builtin.module"() ({
// RESULT-NOT: IR Dump
// RESULT:     func.func @main
func.func @main(%a: tensor<4xf32>) -> tensor<4xf32> {
  %0 = stablehlo.add %a, %a : tensor<4xf32>
  %1 = stablehlo.add %a, %a : tensor<4xf32>
  %2 = stablehlo.multiply %0, %1 : tensor<4xf32>
  return %2 : tensor<4xf32>
}
