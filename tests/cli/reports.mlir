// RUN: shlo-opt %s --cse --dead-ops --mlir-pass-statistics -o %t 2>&1 | filecheck %s --check-prefix=STATISTICS
// RUN: shlo-opt %s --cse --canonicalize --mlir-timing -o %t 2>&1 | filecheck %s --check-prefix=TIMING
// RUN: shlo-opt %s --cse --mlir-timing --mlir-pass-statistics 2> %t | shlo-opt | filecheck %s

// STATISTICS:      Pass statistics report
// STATISTICS:      {{^}}cse{{$}}
// STATISTICS-NEXT: (S) 1 merged
// STATISTICS:      {{^}}dead-ops{{$}}
// TIMING:          Execution time report
// TIMING:          Cse
// TIMING:          Canonicalizer
// TIMING:          Total
// CHECK:           stablehlo.add
// CHECK-NOT:       stablehlo.add
func.func @main(%a: tensor<4xf32>) -> tensor<4xf32> {
  %0 = stablehlo.add %a, %a : tensor<4xf32>
  %1 = stablehlo.add %a, %a : tensor<4xf32>
  %2 = stablehlo.multiply %0, %1 : tensor<4xf32>
  return %2 : tensor<4xf32>
}
