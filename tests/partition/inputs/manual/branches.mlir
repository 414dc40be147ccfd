module @jit__branches_body attributes {mhlo.num_partitions = 8 : i32, mhlo.num_replicas = 1 : i32} {
  sdy.mesh @mesh = <["data"=2, "model"=4]> {stablehlo.mesh = {axes = [{name = "data", size = 2 : i64}, {name = "model", size = 4 : i64}]}}
  func.func public @main(%arg0: tensor<8x16xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"data"}, {}]>}, %arg1: tensor<1xi32> {sdy.sharding = #sdy.sharding<@mesh, [{}]>}) -> (tensor<8x16xf32> {jax.result_info = "result"}) {
    %0 = sdy.manual_computation(%arg0, %arg1) in_shardings=[<@mesh, [{?}, {"model", ?}]>, <@mesh, [{?}]>] out_shardings=[<@mesh, [{?}, {"model", ?}]>] manual_axes={"model"} (%arg2: tensor<8x4xf32>, %arg3: tensor<1xi32>) {
      %1 = stablehlo.reshape %arg3 : (tensor<1xi32>) -> tensor<i32>
      %2 = sdy.sharding_constraint %1 <@mesh, []> : tensor<i32>
      %c = stablehlo.constant dense<5> : tensor<i32>
      %3 = func.call @remainder(%2, %c) : (tensor<i32>, tensor<i32>) -> tensor<i32>
      %c_0 = stablehlo.constant dense<0> : tensor<i32>
      %4:3 = stablehlo.while(%iterArg = %c_0, %iterArg_2 = %3, %iterArg_3 = %arg2) : tensor<i32>, tensor<i32>, tensor<8x4xf32>
      cond {
        %15 = sdy.sharding_constraint %iterArg <@mesh, []> : tensor<i32>
        %16 = stablehlo.compare LT, %15, %iterArg_2, SIGNED : (tensor<i32>, tensor<i32>) -> tensor<i1>
        stablehlo.return %16 : tensor<i1>
      } do {
        %c_4 = stablehlo.constant dense<1> : tensor<i32>
        %15 = sdy.sharding_constraint %iterArg <@mesh, []> : tensor<i32>
        %16 = sdy.sharding_constraint %c_4 <@mesh, []> : tensor<i32>
        %17 = stablehlo.add %15, %16 : tensor<i32>
        %18 = sdy.sharding_constraint %17 <@mesh, []> : tensor<i32>
        %19 = "stablehlo.collective_permute"(%iterArg_3) <{channel_handle = #stablehlo.channel_handle<handle = 1, type = 1>, source_target_pairs = dense<[[0, 1], [1, 2], [2, 3], [3, 0], [4, 5], [5, 6], [6, 7], [7, 4]]> : tensor<8x2xi64>}> : (tensor<8x4xf32>) -> tensor<8x4xf32>
        %cst = stablehlo.constant dense<0.000000e+00> : tensor<f32>
        %20 = stablehlo.reduce(%iterArg_3 init: %cst) applies stablehlo.add across dimensions = [0] : (tensor<8x4xf32>, tensor<f32>) -> tensor<4xf32>
        %21 = sdy.sharding_constraint %20 <@mesh, [{?}]> : tensor<4xf32>
        %22 = stablehlo.broadcast_in_dim %21, dims = [1] : (tensor<4xf32>) -> tensor<1x4xf32>
        %23 = sdy.sharding_constraint %22 <@mesh, [{?}, {?}]> : tensor<1x4xf32>
        %24 = stablehlo.broadcast_in_dim %23, dims = [0, 1] : (tensor<1x4xf32>) -> tensor<8x4xf32>
        %25 = sdy.sharding_constraint %24 <@mesh, [{?}, {?}]> : tensor<8x4xf32>
        %26 = stablehlo.add %19, %25 : tensor<8x4xf32>
        %27 = sdy.sharding_constraint %26 <@mesh, [{?}, {?}]> : tensor<8x4xf32>
        stablehlo.return %18, %iterArg_2, %27 : tensor<i32>, tensor<i32>, tensor<8x4xf32>
      }
      %5 = sdy.sharding_constraint %4#0 <@mesh, []> : tensor<i32>
      %6 = sdy.sharding_constraint %4#1 <@mesh, []> : tensor<i32>
      %7 = sdy.sharding_constraint %4#2 <@mesh, [{?}, {?}]> : tensor<8x4xf32>
      %8 = stablehlo.reshape %arg3 : (tensor<1xi32>) -> tensor<i32>
      %9 = sdy.sharding_constraint %8 <@mesh, []> : tensor<i32>
      %c_1 = stablehlo.constant dense<2> : tensor<i32>
      %10 = stablehlo.compare GT, %9, %c_1, SIGNED : (tensor<i32>, tensor<i32>) -> tensor<i1>
      %11 = stablehlo.convert %10 : (tensor<i1>) -> tensor<i32>
      %12 = sdy.sharding_constraint %11 <@mesh, []> : tensor<i32>
      %13 = "stablehlo.case"(%12) ({
        %cst = stablehlo.constant dense<2.000000e+00> : tensor<f32>
        %15 = stablehlo.broadcast_in_dim %cst, dims = [] : (tensor<f32>) -> tensor<8x4xf32>
        %16 = sdy.sharding_constraint %15 <@mesh, [{?}, {?}]> : tensor<8x4xf32>
        %17 = stablehlo.multiply %16, %7 : tensor<8x4xf32>
        %18 = sdy.sharding_constraint %17 <@mesh, [{?}, {?}]> : tensor<8x4xf32>
        stablehlo.return %18 : tensor<8x4xf32>
      }, {
        %15 = "stablehlo.all_reduce"(%7) <{channel_handle = #stablehlo.channel_handle<handle = 1, type = 1>, replica_groups = dense<[[0, 1, 2, 3], [4, 5, 6, 7]]> : tensor<2x4xi64>, use_global_device_ids}> ({
        ^bb0(%arg4: tensor<f32>, %arg5: tensor<f32>):
          %16 = stablehlo.add %arg4, %arg5 : tensor<f32>
          %17 = sdy.sharding_constraint %16 <@mesh, []> : tensor<f32>
          stablehlo.return %17 : tensor<f32>
        }) : (tensor<8x4xf32>) -> tensor<8x4xf32>
        stablehlo.return %15 : tensor<8x4xf32>
      }) : (tensor<i32>) -> tensor<8x4xf32>
      %14 = sdy.sharding_constraint %13 <@mesh, [{?}, {?}]> : tensor<8x4xf32>
      sdy.return %14 : tensor<8x4xf32>
    } : (tensor<8x16xf32>, tensor<1xi32>) -> tensor<8x16xf32>
    return %0 : tensor<8x16xf32>
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
