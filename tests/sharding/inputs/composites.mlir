// An MLP block on two batches. The front end wrapped it, its norm (used twice, with attributes) and its activation in
// composites; the second call of the block gets its operands in another sharding. The block hands a weight back as it
// is, and constants of the same value stand inside and outside.
module @composites {
  sdy.mesh @mesh = <["data"=2, "model"=4]>
  func.func private @norm(%x: tensor<8x16xf32>) -> tensor<8x16xf32> {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    %eps = stablehlo.constant dense<1.0> : tensor<8xf32>
    %0 = stablehlo.multiply %x, %x : tensor<8x16xf32>
    %1 = stablehlo.reduce(%0 init: %zero) applies stablehlo.add across dimensions = [1]
      : (tensor<8x16xf32>, tensor<f32>) -> tensor<8xf32>
    %2 = stablehlo.add %1, %eps : tensor<8xf32>
    %3 = stablehlo.rsqrt %2 : tensor<8xf32>
    %4 = stablehlo.broadcast_in_dim %3, dims = [0] : (tensor<8xf32>) -> tensor<8x16xf32>
    %5 = stablehlo.multiply %x, %4 : tensor<8x16xf32>
    return %5 : tensor<8x16xf32>
  }
  func.func private @gelu(%x: tensor<8x32xf32>) -> tensor<8x32xf32> {
    %one = stablehlo.constant dense<1.0> : tensor<8x32xf32>
    %0 = stablehlo.tanh %x : tensor<8x32xf32>
    %1 = stablehlo.add %0, %one : tensor<8x32xf32>
    %2 = stablehlo.multiply %x, %1 : tensor<8x32xf32>
    return %2 : tensor<8x32xf32>
  }
  func.func private @block(%x: tensor<8x16xf32>, %up: tensor<16x32xf32>, %down: tensor<32x16xf32>)
      -> (tensor<8x16xf32>, tensor<16x32xf32>) {
    %0 = stablehlo.composite "net.norm" %x {
      composite_attributes = {eps = 1.0 : f32, axes = [1]}, decomposition = @norm, version = 2 : i32}
      : (tensor<8x16xf32>) -> tensor<8x16xf32>
    %1 = stablehlo.dot_general %0, %up, contracting_dims = [1] x [0]
      : (tensor<8x16xf32>, tensor<16x32xf32>) -> tensor<8x32xf32>
    %2 = stablehlo.composite "net.gelu" %1 {decomposition = @gelu} : (tensor<8x32xf32>) -> tensor<8x32xf32>
    %3 = stablehlo.dot_general %2, %down, contracting_dims = [1] x [0]
      : (tensor<8x32xf32>, tensor<32x16xf32>) -> tensor<8x16xf32>
    return %3, %up : tensor<8x16xf32>, tensor<16x32xf32>
  }
  func.func @main(
      %x: tensor<8x16xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"data"}, {}]>},
      %y: tensor<8x16xf32> {sdy.sharding = #sdy.sharding<@mesh, [{}, {}]>},
      %up: tensor<16x32xf32> {sdy.sharding = #sdy.sharding<@mesh, [{}, {"model"}]>},
      %down: tensor<32x16xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"model"}, {}]>})
      -> (tensor<8x16xf32>, tensor<8x16xf32>, tensor<16x32xf32>) {
    %one = stablehlo.constant dense<1.0> : tensor<8x32xf32>
    %0:2 = stablehlo.composite "net.block" %x, %up, %down {composite_attributes = {layer = 0 : i64}, decomposition = @block}
      : (tensor<8x16xf32>, tensor<16x32xf32>, tensor<32x16xf32>) -> (tensor<8x16xf32>, tensor<16x32xf32>)
    %1:2 = stablehlo.composite "net.block" %y, %0#1, %down {composite_attributes = {layer = 1 : i64}, decomposition = @block}
      : (tensor<8x16xf32>, tensor<16x32xf32>, tensor<32x16xf32>) -> (tensor<8x16xf32>, tensor<16x32xf32>)
    %2 = stablehlo.composite "net.norm" %0#0 {
      composite_attributes = {eps = 1.0 : f32, axes = [1]}, decomposition = @norm, version = 2 : i32}
      : (tensor<8x16xf32>) -> tensor<8x16xf32>
    %3 = stablehlo.dot_general %2, %one, contracting_dims = [0] x [0]
      : (tensor<8x16xf32>, tensor<8x32xf32>) -> tensor<16x32xf32>
    %4 = stablehlo.add %1#1, %3 : tensor<16x32xf32>
    return %2, %1#0, %4 : tensor<8x16xf32>, tensor<8x16xf32>, tensor<16x32xf32>
  }
}
