// RUN: not shlo-opt %s --split-input-file --verify-diagnostics 2>&1 | filecheck %s --match-full-lines
// RUN: not shlo-opt %s --split-input-file --verify-diagnostics=only-expected 2>&1 | filecheck %s --check-prefix=ONLY

// CHECK:      {{.*}}unmet.mlir:13: error: unexpected error: use of undeclared SSA value name
// CHECK-NEXT: {{.*}}unmet.mlir:13: error: expected error "something else" was not produced
// CHECK-NEXT: {{.*}}unmet.mlir:19: error: expected warning "never said" was not produced
// CHECK-NEXT: {{.*}}unmet.mlir:26: error: unexpected error: use of undeclared SSA value name

// ONLY-NOT: unexpected
// ONLY:     expected error "something else"
// ONLY-NOT: unexpected
func.func @other_text(%a: tensor<4xf32>) -> tensor<4xf32> {
  return %b : tensor<4xf32>  // expected-error {{something else}}
}

// -----

func.func @not_said(%a: tensor<4xf32>) -> tensor<4xf32> {
  return %a : tensor<4xf32>  // expected-warning {{never said}}
}

// -----

// Nothing is expected here.
func.func @unexpected(%a: tensor<4xf32>) -> tensor<4xf32> {
  return %b : tensor<4xf32>
}
