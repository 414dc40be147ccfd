func.func @main(%a: tensor<0x8xf32>, %b: tensor<8x0xf32>) -> tensor<0x0xf32> { %0 = stablehlo.dot_general %a, %b, contracting_dims=[1]x[0] : (tensor<0x8xf32>, tensor<8x0xf32>) -> tensor<0x0xf32>
 return %0 : tensor<0x0xf32> }
// -----
func.func @main(%a: tensor<?x?xf32>, %s: tensor<2xindex>) -> tensor<?x?xf32> { %0 = stablehlo.dynamic_reshape %a, %s : (tensor<?x?xf32>, tensor<2xindex>) -> tensor<?x?xf32>
 %1 = stablehlo.dynamic_broadcast_in_dim %0, %s, dims=[0,1] : (tensor<?x?xf32>, tensor<2xindex>) -> tensor<?x?xf32>
 %d = stablehlo.get_dimension_size %1, dim = 0 : (tensor<?x?xf32>) -> tensor<i32>
 return %1 : tensor<?x?xf32> }
// -----
func.func @main(%a: tensor<4xf32>) -> tensor<4xf32> { %0 = stablehlo.add %a, %a : tensor<4xf32>
 return %0 : tensor<4xf32> }
// -----
func.func @main(%a: tensor<4xcomplex<f64>>, %c: tensor<4xf8E4M3FN>, %i: tensor<4xi4>, %u: tensor<4xui64>, %o: tensor<i1>) -> (tensor<4xcomplex<f64>>, tensor<4xi4>) { %0 = stablehlo.exponential %a : tensor<4xcomplex<f64>>
 %1 = stablehlo.add %c, %c : tensor<4xf8E4M3FN>
 %2 = stablehlo.divide %i, %i : tensor<4xi4>
 %3 = stablehlo.convert %u : (tensor<4xui64>) -> tensor<4xf8E4M3FN>
 %4 = "foo.bar"(%3) ({ ^bb0(%x: f32): "foo.y"() : () -> () }) : (tensor<4xf8E4M3FN>) -> !foo.t
 %5 = stablehlo.constant dense<(0x7FF0000000000000, 0.0)> : tensor<complex<f64>>
 %6 = stablehlo.log %a : tensor<4xcomplex<f64>>
 %7 = stablehlo.constant dense<7> : tensor<4xi4>
 %8 = stablehlo.constant dense<0> : tensor<4xi4>
 %9 = stablehlo.divide %7, %8 : tensor<4xi4>
 %10 = stablehlo.remainder %7, %8 : tensor<4xi4>
 return %0, %9 : tensor<4xcomplex<f64>>, tensor<4xi4> }
// -----
func.func @main(%a: tensor<i32>) -> tensor<i32> { 
 %c = stablehlo.constant dense<0> : tensor<i32>
 %m = stablehlo.constant dense<-2147483648> : tensor<i32>
 %n = stablehlo.constant dense<-1> : tensor<i32>
 %0 = stablehlo.divide %m, %n : tensor<i32>
 %1 = stablehlo.divide %a, %c : tensor<i32>
 %2 = stablehlo.divide %n, %c : tensor<i32>
 %3 = stablehlo.remainder %m, %n : tensor<i32>
 %4 = stablehlo.remainder %n, %c : tensor<i32>
 %5 = stablehlo.shift_left %n, %m : tensor<i32>
 %6 = stablehlo.shift_right_logical %n, %m : tensor<i32>
 %7 = stablehlo.power %c, %n : tensor<i32>
 %8 = stablehlo.abs %m : tensor<i32>
 %9 = stablehlo.negate %m : tensor<i32>
 %10 = arith.constant 0 : i32
 %11 = arith.divsi %10, %10 : i32
 %s0 = stablehlo.add %0, %1 : tensor<i32>
 %s1 = stablehlo.add %s0, %2 : tensor<i32>
 %s2 = stablehlo.add %s1, %3 : tensor<i32>
 %s3 = stablehlo.add %s2, %4 : tensor<i32>
 %s4 = stablehlo.add %s3, %5 : tensor<i32>
 %s5 = stablehlo.add %s4, %6 : tensor<i32>
 %s6 = stablehlo.add %s5, %7 : tensor<i32>
 %s7 = stablehlo.add %s6, %8 : tensor<i32>
 %s8 = stablehlo.add %s7, %9 : tensor<i32>
 return %s8 : tensor<i32> }
// -----
func.func @main(%a: tensor<4xf32>, %t: !stablehlo.token, %p: tuple<tensor<f32>, tuple<tensor<i32>>>) -> (tensor<4xf32>, tuple<tensor<f32>, tuple<tensor<i32>>>) {
 %0:2 = "stablehlo.infeed"(%t) {infeed_config=""} : (!stablehlo.token) -> (tensor<4xf32>, !stablehlo.token)
 %1 = "stablehlo.outfeed"(%0#0, %0#1) {outfeed_config=""} : (tensor<4xf32>, !stablehlo.token) -> !stablehlo.token
 %2 = stablehlo.optimization_barrier %0#0 : tensor<4xf32>
 %3 = stablehlo.custom_call @x(%2) {called_computations=[@nope], backend_config="", has_side_effect=true} : (tensor<4xf32>) -> tensor<4xf32>
 return %3, %p : tensor<4xf32>, tuple<tensor<f32>, tuple<tensor<i32>>> }
// -----
func.func @main(%a: tensor<2x3xf32>, %p: tensor<i1>) -> (tensor<*xf32>, tensor<2x3xf32>) {
 %i = stablehlo.constant dense<0> : tensor<i32>
 %0:2 = stablehlo.while(%x=%a,%j=%i) : tensor<2x3xf32>, tensor<i32> cond { stablehlo.return %p : tensor<i1> } do { %y = stablehlo.add %x, %x : tensor<2x3xf32>
 %z = "stablehlo.if"(%p) ({ stablehlo.return %y : tensor<2x3xf32> }, { stablehlo.return %x : tensor<2x3xf32> }) : (tensor<i1>) -> tensor<2x3xf32>
 stablehlo.return %z, %j : tensor<2x3xf32>, tensor<i32> }
 %u = tensor.cast %0#0 : tensor<2x3xf32> to tensor<*xf32>
 %e = chlo.broadcast_add %a, %a : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x3xf32>
 %g = chlo.lgamma %a : tensor<2x3xf32> -> tensor<2x3xf32>
 %v, %k = chlo.top_k(%a, k=2) : tensor<2x3xf32> -> (tensor<2x2xf32>, tensor<2x2xi32>)
 %c = chlo.constant dense<1.0> : tensor<f32>
 %l = "chlo.constant_like"(%a) {value = 1.0 : f32} : (tensor<2x3xf32>) -> tensor<2x3xf32>
 return %u, %e : tensor<*xf32>, tensor<2x3xf32> }
// -----
func.func @main(%a: tensor<2x3xf32>) -> tensor<2x3xf32> {
  cf.br ^bb1
^bb2:
  return %a : tensor<2x3xf32>
^bb1:
  %0 = stablehlo.add %a, %a : tensor<2x3xf32>
  cf.br ^bb2
^bb3:
  %1 = stablehlo.add %1, %1 : tensor<2x3xf32>
  cf.br ^bb3
}
// -----
module @outer { module @inner { func.func private @p(%a: tensor<f32>) -> tensor<f32> { %0 = func.call @p(%a) : (tensor<f32>) -> tensor<f32>
 return %0 : tensor<f32> } } 
 func.func @f() { %0 = stablehlo.constant dense_resource<nosuch> : tensor<2xf32>
  %1 = stablehlo.constant dense<"0x0000803F"> : tensor<2x1000xf32>
  %2 = stablehlo.add %1, %1 : tensor<2x1000xf32>
  %3 = stablehlo.transpose %2, dims=[1,0] : (tensor<2x1000xf32>) -> tensor<1000x2xf32>
  return } }
// -----
func.func @main(%a: tensor<?xf32, #stablehlo.bounds<8>>) -> tensor<?xf32, #stablehlo.bounds<8>> { %0 = stablehlo.add %a, %a : tensor<?xf32, #stablehlo.bounds<8>>
 return %0 : tensor<?xf32, #stablehlo.bounds<8>> }
// -----
func.func @main(%a: tensor<4294967296x4294967296x8xf32>) -> tensor<4294967296x4294967296x8xf32> { %c = stablehlo.constant dense<1.0> : tensor<4294967296x4294967296x8xf32>
 %0 = stablehlo.add %a, %c : tensor<4294967296x4294967296x8xf32>
 %1 = stablehlo.iota dim = 0 : tensor<4294967296x4294967296x8xf32>
 %2 = stablehlo.add %1, %c : tensor<4294967296x4294967296x8xf32>
 %3 = stablehlo.reshape %c : (tensor<4294967296x4294967296x8xf32>) -> tensor<8x4294967296x4294967296xf32>
 return %2 : tensor<4294967296x4294967296x8xf32> }
