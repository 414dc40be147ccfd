// RUN: shlo-opt %s | filecheck %s --check-prefix=PLAIN
// RUN: shlo-opt %s --mlir-print-op-generic | filecheck %s --check-prefix=GENERIC
// RUN: shlo-opt %s -mlir-print-debuginfo | filecheck %s --check-prefix=DEBUG
// RUN: shlo-opt %s --mlir-print-debuginfo --mlir-print-local-scope | filecheck %s --check-prefix=LOCAL
// RUN: shlo-opt %s --mlir-print-debuginfo=false | filecheck %s --check-prefix=PLAIN
// RUN: shlo-opt %s --mlir-elide-elementsattrs-if-larger=4 | filecheck %s --check-prefix=ELIDE4
// RUN: shlo-opt %s --mlir-elide-elementsattrs-if-larger=3 | filecheck %s --check-prefix=ELIDE3

// PLAIN-NOT:   loc(
// PLAIN:       %cst = stablehlo.constant dense<[1.000000e+00, 2.000000e+00, 3.000000e+00, 4.000000e+00]> : tensor<4xf32>
// PLAIN-NOT:   loc(
// GENERIC:     "stablehlo.add"(%arg0, %0) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
// DEBUG:       stablehlo.add %arg0, %cst : tensor<4xf32> loc([[PLACE:#loc[0-9]*]])
// DEBUG:       [[PLACE]] = loc("model.py":7:3)
// LOCAL:       stablehlo.add %arg0, %cst : tensor<4xf32> loc("model.py":7:3)
// ELIDE4:      dense<[1.000000e+00, 2.000000e+00
// ELIDE3:      dense_resource<__elided__> : tensor<4xf32>
func.func @main(%a: tensor<4xf32>) -> tensor<4xf32> {
  %c = stablehlo.constant dense<[1.0, 2.0, 3.0, 4.0]> : tensor<4xf32>
  %0 = stablehlo.add %a, %c : tensor<4xf32> loc("model.py":7:3)
  return %0 : tensor<4xf32>
}
