// One decoding step of a layer with a key-value cache of 128 positions: 8 sequences over "data"; vocabulary and the
// positions of the cache over "model". Embedding and head share their table; the next tokens are the likeliest ones.
sdy.mesh @mesh = <["data"=2, "model"=4]>
func.func @main(
    %tokens: tensor<8x1xi32> {sdy.sharding = #sdy.sharding<@mesh, [{"data"}, {}]>},
    %position: tensor<i32>,
    %table: tensor<64x32xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"model"}, {}]>},
    %wq: tensor<32x4x8xf32>, %wk: tensor<32x4x8xf32>, %wv: tensor<32x4x8xf32>, %wo: tensor<4x8x32xf32>,
    %keys: tensor<8x128x4x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"data"}, {"model"}, {}, {}]>},
    %values: tensor<8x128x4x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"data"}, {"model"}, {}, {}]>})
    -> (tensor<8xi32>, tensor<8x128x4x8xf32>, tensor<8x128x4x8xf32>) {
  %x = "stablehlo.gather"(%table, %tokens) <{dimension_numbers = #stablehlo.gather<offset_dims = [1],
      collapsed_slice_dims = [0], start_index_map = [0], index_vector_dim = 1>, slice_sizes = array<i64: 1, 32>}>
      : (tensor<64x32xf32>, tensor<8x1xi32>) -> tensor<8x32xf32>
  %q = stablehlo.dot_general %x, %wq, contracting_dims = [1] x [0] : (tensor<8x32xf32>, tensor<32x4x8xf32>) -> tensor<8x4x8xf32>
  %k0 = stablehlo.dot_general %x, %wk, contracting_dims = [1] x [0] : (tensor<8x32xf32>, tensor<32x4x8xf32>) -> tensor<8x4x8xf32>
  %v0 = stablehlo.dot_general %x, %wv, contracting_dims = [1] x [0] : (tensor<8x32xf32>, tensor<32x4x8xf32>) -> tensor<8x4x8xf32>
  %k1 = stablehlo.reshape %k0 : (tensor<8x4x8xf32>) -> tensor<8x1x4x8xf32>
  %v1 = stablehlo.reshape %v0 : (tensor<8x4x8xf32>) -> tensor<8x1x4x8xf32>
  %zero = stablehlo.constant dense<0> : tensor<i32>
  %k = stablehlo.dynamic_update_slice %keys, %k1, %zero, %position, %zero, %zero
      : (tensor<8x128x4x8xf32>, tensor<8x1x4x8xf32>, tensor<i32>, tensor<i32>, tensor<i32>, tensor<i32>) -> tensor<8x128x4x8xf32>
  %v = stablehlo.dynamic_update_slice %values, %v1, %zero, %position, %zero, %zero
      : (tensor<8x128x4x8xf32>, tensor<8x1x4x8xf32>, tensor<i32>, tensor<i32>, tensor<i32>, tensor<i32>) -> tensor<8x128x4x8xf32>
  %scores = stablehlo.dot_general %q, %k, batching_dims = [0, 1] x [0, 2], contracting_dims = [2] x [3]
      : (tensor<8x4x8xf32>, tensor<8x128x4x8xf32>) -> tensor<8x4x128xf32>
  %places = stablehlo.iota dim = 2 : tensor<8x4x128xi32>
  %now = stablehlo.broadcast_in_dim %position, dims = [] : (tensor<i32>) -> tensor<8x4x128xi32>
  %past = stablehlo.compare LE, %places, %now : (tensor<8x4x128xi32>, tensor<8x4x128xi32>) -> tensor<8x4x128xi1>
  %low = stablehlo.constant dense<0xFF800000> : tensor<f32>
  %lows = stablehlo.broadcast_in_dim %low, dims = [] : (tensor<f32>) -> tensor<8x4x128xf32>
  %masked = stablehlo.select %past, %scores, %lows : tensor<8x4x128xi1>, tensor<8x4x128xf32>
  %top = stablehlo.reduce(%masked init: %low) applies stablehlo.maximum across dimensions = [2]
      : (tensor<8x4x128xf32>, tensor<f32>) -> tensor<8x4xf32>
  %tops = stablehlo.broadcast_in_dim %top, dims = [0, 1] : (tensor<8x4xf32>) -> tensor<8x4x128xf32>
  %shifted = stablehlo.subtract %masked, %tops : tensor<8x4x128xf32>
  %e = stablehlo.exponential %shifted : tensor<8x4x128xf32>
  %none = stablehlo.constant dense<0.0> : tensor<f32>
  %sum = stablehlo.reduce(%e init: %none) applies stablehlo.add across dimensions = [2]
      : (tensor<8x4x128xf32>, tensor<f32>) -> tensor<8x4xf32>
  %o = stablehlo.dot_general %e, %v, batching_dims = [0, 1] x [0, 2], contracting_dims = [2] x [1]
      : (tensor<8x4x128xf32>, tensor<8x128x4x8xf32>) -> tensor<8x4x8xf32>
  %sums = stablehlo.broadcast_in_dim %sum, dims = [0, 1] : (tensor<8x4xf32>) -> tensor<8x4x8xf32>
  %attended = stablehlo.divide %o, %sums : tensor<8x4x8xf32>
  %y0 = stablehlo.dot_general %attended, %wo, contracting_dims = [1, 2] x [0, 1]
      : (tensor<8x4x8xf32>, tensor<4x8x32xf32>) -> tensor<8x32xf32>
  %y = stablehlo.add %x, %y0 : tensor<8x32xf32>
  %logits = stablehlo.dot_general %y, %table, contracting_dims = [1] x [1] : (tensor<8x32xf32>, tensor<64x32xf32>) -> tensor<8x64xf32>
  %ids = stablehlo.iota dim = 1 : tensor<8x64xi32>
  %best:2 = stablehlo.reduce(%logits init: %low), (%ids init: %zero) across dimensions = [1]
      : (tensor<8x64xf32>, tensor<8x64xi32>, tensor<f32>, tensor<i32>) -> (tensor<8xf32>, tensor<8xi32>)
   reducer(%a: tensor<f32>, %b: tensor<f32>) (%i: tensor<i32>, %j: tensor<i32>) {
    %more = stablehlo.compare GE, %a, %b : (tensor<f32>, tensor<f32>) -> tensor<i1>
    %c = stablehlo.select %more, %a, %b : tensor<i1>, tensor<f32>
    %l = stablehlo.select %more, %i, %j : tensor<i1>, tensor<i32>
    stablehlo.return %c, %l : tensor<f32>, tensor<i32>
  }
  return %best#1, %k, %v : tensor<8xi32>, tensor<8x128x4x8xf32>, tensor<8x128x4x8xf32>
}
