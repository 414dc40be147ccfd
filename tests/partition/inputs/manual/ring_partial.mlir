module @jit__ring_body attributes {mhlo.num_partitions = 8 : i32, mhlo.num_replicas = 1 : i32} {
  sdy.mesh @mesh = <["data"=2, "model"=4]> {stablehlo.mesh = {axes = [{name = "data", size = 2 : i64}, {name = "model", size = 4 : i64}]}}
  func.func public @main(%arg0: tensor<8x16xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"data"}, {}]>}, %arg1: tensor<16x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"model"}, {}]>}) -> (tensor<8x8xf32> {jax.result_info = "result"}) {
    %0 = sdy.manual_computation(%arg0, %arg1) in_shardings=[<@mesh, [{?}, {?}]>, <@mesh, [{"model", ?}, {?}]>] out_shardings=[<@mesh, [{?}, {?}]>] manual_axes={"model"} (%arg2: tensor<8x16xf32>, %arg3: tensor<4x8xf32>) {
      %cst = stablehlo.constant dense<0.000000e+00> : tensor<f32>
      %1 = stablehlo.broadcast_in_dim %cst, dims = [] : (tensor<f32>) -> tensor<8x8xf32>
      %2 = sdy.sharding_constraint %1 <@mesh, [{?}, {?}]> : tensor<8x8xf32>
      %c = stablehlo.constant dense<0> : tensor<i32>
      %c_0 = stablehlo.constant dense<0> : tensor<i32>
      %3:5 = stablehlo.while(%iterArg = %arg2, %iterArg_1 = %c_0, %iterArg_2 = %c, %iterArg_3 = %2, %iterArg_4 = %arg3) : tensor<8x16xf32>, tensor<i32>, tensor<i32>, tensor<8x8xf32>, tensor<4x8xf32>
      cond {
        %c_5 = stablehlo.constant dense<4> : tensor<i32>
        %8 = sdy.sharding_constraint %iterArg_1 <@mesh, []> : tensor<i32>
        %9 = sdy.sharding_constraint %c_5 <@mesh, []> : tensor<i32>
        %10 = stablehlo.compare LT, %8, %9, SIGNED : (tensor<i32>, tensor<i32>) -> tensor<i1>
        stablehlo.return %10 : tensor<i1>
      } do {
        %8:3 = func.call @closed_call(%iterArg, %iterArg_2, %iterArg_3, %iterArg_4) : (tensor<8x16xf32>, tensor<i32>, tensor<8x8xf32>, tensor<4x8xf32>) -> (tensor<i32>, tensor<8x8xf32>, tensor<4x8xf32>)
        %c_5 = stablehlo.constant dense<1> : tensor<i32>
        %9 = sdy.sharding_constraint %iterArg_1 <@mesh, []> : tensor<i32>
        %10 = sdy.sharding_constraint %c_5 <@mesh, []> : tensor<i32>
        %11 = stablehlo.add %9, %10 : tensor<i32>
        %12 = sdy.sharding_constraint %11 <@mesh, []> : tensor<i32>
        stablehlo.return %iterArg, %12, %8#0, %8#1, %8#2 : tensor<8x16xf32>, tensor<i32>, tensor<i32>, tensor<8x8xf32>, tensor<4x8xf32>
      }
      %4 = sdy.sharding_constraint %3#1 <@mesh, []> : tensor<i32>
      %5 = sdy.sharding_constraint %3#2 <@mesh, []> : tensor<i32>
      %6 = sdy.sharding_constraint %3#3 <@mesh, [{?}, {?}]> : tensor<8x8xf32>
      %7 = sdy.sharding_constraint %3#4 <@mesh, [{?}, {?}]> : tensor<4x8xf32>
      sdy.return %6 : tensor<8x8xf32>
    } : (tensor<8x16xf32>, tensor<16x8xf32>) -> tensor<8x8xf32>
    return %0 : tensor<8x8xf32>
  }
  func.func private @closed_call(%arg0: tensor<8x16xf32>, %arg1: tensor<i32>, %arg2: tensor<8x8xf32>, %arg3: tensor<4x8xf32>) -> (tensor<i32>, tensor<8x8xf32>, tensor<4x8xf32>) {
    %c = stablehlo.constant dense<1> : tensor<i32>
    %0 = sdy.sharding_constraint %arg1 <@mesh, []> : tensor<i32>
    %1 = sdy.sharding_constraint %c <@mesh, []> : tensor<i32>
    %2 = stablehlo.add %0, %1 : tensor<i32>
    %3 = sdy.sharding_constraint %2 <@mesh, []> : tensor<i32>
    %4 = sdy.manual_computation() in_shardings=[] out_shardings=[<@mesh, []>] manual_axes={"data"} () {
      %c_5 = stablehlo.constant dense<1> : tensor<ui32>
      %c_6 = stablehlo.constant dense<4> : tensor<ui32>
      %24 = stablehlo.partition_id : tensor<ui32>
      %25 = stablehlo.divide %24, %c_5 : tensor<ui32>
      %26 = stablehlo.remainder %25, %c_6 : tensor<ui32>
      %27 = stablehlo.convert %26 : (tensor<ui32>) -> tensor<i32>
      sdy.return %27 : tensor<i32>
    } : () -> tensor<i32>
    %5 = stablehlo.convert %arg1 : tensor<i32>
    %6 = sdy.sharding_constraint %5 <@mesh, []> : tensor<i32>
    %7 = stablehlo.subtract %4, %6 : tensor<i32>
    %8 = sdy.sharding_constraint %7 <@mesh, []> : tensor<i32>
    %c_0 = stablehlo.constant dense<4> : tensor<i32>
    %9 = call @remainder(%8, %c_0) : (tensor<i32>, tensor<i32>) -> tensor<i32>
    %c_1 = stablehlo.constant dense<4> : tensor<i32>
    %10 = stablehlo.multiply %9, %c_1 : tensor<i32>
    %11 = sdy.sharding_constraint %10 <@mesh, []> : tensor<i32>
    %c_2 = stablehlo.constant dense<0> : tensor<i32>
    %12 = stablehlo.compare LT, %11, %c_2, SIGNED : (tensor<i32>, tensor<i32>) -> tensor<i1>
    %c_3 = stablehlo.constant dense<16> : tensor<i32>
    %13 = stablehlo.add %11, %c_3 : tensor<i32>
    %14 = sdy.sharding_constraint %13 <@mesh, []> : tensor<i32>
    %15 = stablehlo.select %12, %14, %11 : tensor<i1>, tensor<i32>
    %16 = sdy.sharding_constraint %15 <@mesh, []> : tensor<i32>
    %c_4 = stablehlo.constant dense<0> : tensor<i32>
    %17 = stablehlo.dynamic_slice %arg0, %c_4, %16, sizes = [8, 4] : (tensor<8x16xf32>, tensor<i32>, tensor<i32>) -> tensor<8x4xf32>
    %18 = sdy.sharding_constraint %17 <@mesh, [{?}, {?}]> : tensor<8x4xf32>
    %19 = stablehlo.dot_general %18, %arg3, contracting_dims = [1] x [0], precision = [DEFAULT, DEFAULT] : (tensor<8x4xf32>, tensor<4x8xf32>) -> tensor<8x8xf32>
    %20 = sdy.sharding_constraint %19 <@mesh, [{?}, {?}]> : tensor<8x8xf32>
    %21 = stablehlo.add %arg2, %20 : tensor<8x8xf32>
    %22 = sdy.sharding_constraint %21 <@mesh, [{?}, {?}]> : tensor<8x8xf32>
    %23 = "stablehlo.collective_permute"(%arg3) <{channel_handle = #stablehlo.channel_handle<handle = 1, type = 1>, source_target_pairs = dense<[[0, 1], [1, 2], [2, 3], [3, 0], [4, 5], [5, 6], [6, 7], [7, 4]]> : tensor<8x2xi64>}> : (tensor<4x8xf32>) -> tensor<4x8xf32>
    return %3, %22, %23 : tensor<i32>, tensor<8x8xf32>, tensor<4x8xf32>
  }
  func.func private @remainder(%arg0: tensor<i32>, %arg1: tensor<i32>) -> tensor<i32> {
    %0 = stablehlo.convert %arg1 : tensor<i32>
    %1 = sdy.sharding_constraint %0 <@mesh, []> : tensor<i32>
    %c = stablehlo.constant dense<0> : tensor<i32>
    %2 = stablehlo.compare EQ, %1, %c, SIGNED : (tensor<i32>, tensor<i32>) -> tensor<i1>
    %c_0 = stablehlo.constant dense<1> : tensor<i32>
    %3 = call @_where(%2, %c_0, %1) : (tensor<i1>, tensor<i32>, tensor<i32>) -> tensor<i32>
    %4 = stablehlo.remainder %arg0, %3 : tensor<i32>
    %5 = sdy.sharding_constraint %4 <@mesh, []> : tensor<i32>
    %c_1 = stablehlo.constant dense<0> : tensor<i32>
    %6 = stablehlo.compare NE, %5, %c_1, SIGNED : (tensor<i32>, tensor<i32>) -> tensor<i1>
    %c_2 = stablehlo.constant dense<0> : tensor<i32>
    %7 = stablehlo.compare LT, %5, %c_2, SIGNED : (tensor<i32>, tensor<i32>) -> tensor<i1>
    %c_3 = stablehlo.constant dense<0> : tensor<i32>
    %8 = stablehlo.compare LT, %3, %c_3, SIGNED : (tensor<i32>, tensor<i32>) -> tensor<i1>
    %9 = stablehlo.compare NE, %7, %8, UNSIGNED : (tensor<i1>, tensor<i1>) -> tensor<i1>
    %10 = stablehlo.and %9, %6 : tensor<i1>
    %11 = sdy.sharding_constraint %10 <@mesh, []> : tensor<i1>
    %12 = stablehlo.add %5, %3 : tensor<i32>
    %13 = sdy.sharding_constraint %12 <@mesh, []> : tensor<i32>
    %14 = stablehlo.select %11, %13, %5 : tensor<i1>, tensor<i32>
    %15 = sdy.sharding_constraint %14 <@mesh, []> : tensor<i32>
    return %15 : tensor<i32>
  }
  func.func private @_where(%arg0: tensor<i1>, %arg1: tensor<i32>, %arg2: tensor<i32>) -> tensor<i32> {
    %0 = stablehlo.select %arg0, %arg1, %arg2 : tensor<i1>, tensor<i32>
    %1 = sdy.sharding_constraint %0 <@mesh, []> : tensor<i32>
    return %1 : tensor<i32>
  }
}
