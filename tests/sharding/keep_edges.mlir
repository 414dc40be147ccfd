// RUN: shlo-opt %s --keep-propagation-edges --mlir-pass-statistics 2>%t | filecheck %s
// RUN: filecheck %s --check-prefix=STATISTICS < %t
// RUN: shlo-opt %s --keep-propagation-edges --keep-propagation-edges | filecheck %s
// RUN: shlo-opt %s '--pass-pipeline=builtin.module(keep-propagation-edges, sdy-aggressive-propagate{debug-propagation-edge-sharding=true}, keep-propagation-edges)' | filecheck %s --check-prefix=SECOND

// What was kept stays when there is nothing new, and a second propagation adds an element.
// CHECK: -> (tensor<8xf32> {shlo.edges = ["#sdy.propagation_edges<[{step-1 = [{\22x\22 = operand-0 -> [result-0]}]}]>"]})
// CHECK: stablehlo.abs %arg0 {shlo.edges = ["#sdy.propagation_edges<[{step-0 = [{\22x\22 = operand-0 -> [result-0]}]}]>"]}
// CHECK: stablehlo.sine %0 :
// CHECK-NOT: sdy.propagation_edges =
// STATISTICS: 2 kept
// SECOND: stablehlo.abs %arg0 {sdy.sharding = {{.*}}, shlo.edges = ["#sdy.propagation_edges<[{step-0 = {{.*}}]>", "#sdy.propagation_edges<[{step-
sdy.mesh @mesh = <["x"=2]>
func.func @main(%a: tensor<8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}]>}) -> (tensor<8xf32> {sdy.propagation_edges = #sdy.propagation_edges<[{step-1 = [{"x" = operand-0 -> [result-0]}]}]>}) {
  %0 = stablehlo.abs %a {sdy.propagation_edges = #sdy.propagation_edges<[{step-0 = [{"x" = operand-0 -> [result-0]}]}]>} : tensor<8xf32>
  %1 = stablehlo.sine %0 : tensor<8xf32>
  return %1 : tensor<8xf32>
}
