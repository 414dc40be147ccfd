"""A program that never ends, for tests of time limits."""

ENDLESS = """
  func.func @main(%x: tensor<f32>) -> tensor<f32> {
    %r = stablehlo.while(%y = %x) : tensor<f32>
    cond {
      %c = stablehlo.compare EQ, %y, %y : (tensor<f32>, tensor<f32>) -> tensor<i1>
      stablehlo.return %c : tensor<i1>
    } do {
      %s = stablehlo.sine %y : tensor<f32>
      stablehlo.return %s : tensor<f32>
    }
    return %r : tensor<f32>
  }"""
