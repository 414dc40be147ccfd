// RUN: shlo-opt %s --split-input-file --verify-diagnostics | filecheck %s
// RUN: shlo-opt %s -split-input-file -verify-diagnostics=only-expected | filecheck %s

// Modules that come through are written; those with the errors that are expected are not.
// CHECK:     func.func @good
// CHECK-NOT: func.func
func.func @good(%a: tensor<4xf32>) -> tensor<4xf32> {
  return %a : tensor<4xf32>
}

// -----

func.func @same_line(%a: tensor<4xf32>) -> tensor<4xf32> {
  return %b : tensor<4xf32>  // expected-error {{use of undeclared SSA value name}}
}

// -----

// expected-note@+1 {{prior use here}}
func.func @next_line(%a: tensor<4xf32>) -> tensor<5xf32> {
  // expected-error@+1 {{expects different type than prior uses: 'tensor<5xf32>' vs 'tensor<4xf32>'}}
  return %a : tensor<5xf32>
}

// -----

func.func @above(%a: tensor<4xf32>) -> tensor<4xf32> {
  %0 = stablehlo.addd %a, %a : tensor<4xf32>
  // expected-error@above {{custom op 'stablehlo.addd' is unknown}}
  return %0 : tensor<4xf32>
}

// -----

func.func @below(%a: tensor<4xf32>, %b: tensor<5xf32>) -> tensor<4xf32> {
  // expected-error-re@below {{op requires {{compatible|the same}} }}
  %0 = "stablehlo.add"(%a, %b) : (tensor<4xf32>, tensor<5xf32>) -> tensor<4xf32>
  return %0 : tensor<4xf32>
}

// -----

func.func @absolute(%a: tensor<4xf32>) -> tensor<4xf32> {
  // expected-error@45 {{undeclared}}
  return %b : tensor<4xf32>
}
