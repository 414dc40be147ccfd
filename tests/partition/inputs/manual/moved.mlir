module @jit__moved_body attributes {mhlo.num_partitions = 8 : i32, mhlo.num_replicas = 1 : i32} {
  sdy.mesh @mesh = <["a"=2, "b"=2, "c"=2]> {stablehlo.mesh = {axes = [{name = "a", size = 2 : i64}, {name = "b", size = 2 : i64}, {name = "c", size = 2 : i64}]}}
  func.func public @main(%arg0: tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{}, {}]>}, %arg1: tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{}, {}]>}) -> (tensor<8x8xf32> {jax.result_info = "result[0]"}, tensor<16x8xf32> {jax.result_info = "result[1]"}) {
    %0:2 = sdy.manual_computation(%arg0, %arg1) in_shardings=[<@mesh, [{?}, {"a", ?}]>, <@mesh, [{"a", ?}, {?}]>] out_shardings=[<@mesh, [{?}, {?}]>, <@mesh, [{"a", ?}, {?}]>] manual_axes={"a"} (%arg2: tensor<8x4xf32>, %arg3: tensor<4x8xf32>) {
      %1 = stablehlo.dot_general %arg2, %arg3, contracting_dims = [1] x [0], precision = [DEFAULT, DEFAULT] : (tensor<8x4xf32>, tensor<4x8xf32>) -> tensor<8x8xf32>
      %2 = sdy.sharding_constraint %1 <@mesh, [{?}, {?}]> : tensor<8x8xf32>
      %3 = sdy.sharding_constraint %2 <@mesh, [{"b"}, {"c"}]> : tensor<8x8xf32>
      %cst = stablehlo.constant dense<1.000000e+00> : tensor<f32>
      %4 = stablehlo.broadcast_in_dim %cst, dims = [] : (tensor<f32>) -> tensor<8x8xf32>
      %5 = sdy.sharding_constraint %4 <@mesh, [{?}, {?}]> : tensor<8x8xf32>
      %6 = stablehlo.add %3, %5 : tensor<8x8xf32>
      %7 = sdy.sharding_constraint %6 <@mesh, [{?}, {?}]> : tensor<8x8xf32>
      %8 = sdy.sharding_constraint %7 <@mesh, [{"c"}, {"b"}]> : tensor<8x8xf32>
      %9 = "stablehlo.all_reduce"(%8) <{channel_handle = #stablehlo.channel_handle<handle = 1, type = 1>, replica_groups = dense<[[0, 4], [1, 5], [2, 6], [3, 7]]> : tensor<4x2xi64>, use_global_device_ids}> ({
      ^bb0(%arg4: tensor<f32>, %arg5: tensor<f32>):
        %22 = stablehlo.add %arg4, %arg5 : tensor<f32>
        %23 = sdy.sharding_constraint %22 <@mesh, []> : tensor<f32>
        stablehlo.return %23 : tensor<f32>
      }) : (tensor<8x8xf32>) -> tensor<8x8xf32>
      %10 = sdy.manual_computation() in_shardings=[] out_shardings=[<@mesh, []>] manual_axes={"b", "c"} () {
        %c = stablehlo.constant dense<4> : tensor<ui32>
        %c_1 = stablehlo.constant dense<2> : tensor<ui32>
        %22 = stablehlo.partition_id : tensor<ui32>
        %23 = stablehlo.divide %22, %c : tensor<ui32>
        %24 = stablehlo.remainder %23, %c_1 : tensor<ui32>
        %25 = stablehlo.convert %24 : (tensor<ui32>) -> tensor<i32>
        sdy.return %25 : tensor<i32>
      } : () -> tensor<i32>
      %11 = stablehlo.convert %10 : (tensor<i32>) -> tensor<f32>
      %12 = sdy.sharding_constraint %11 <@mesh, []> : tensor<f32>
      %cst_0 = stablehlo.constant dense<1.000000e+00> : tensor<f32>
      %13 = sdy.sharding_constraint %cst_0 <@mesh, []> : tensor<f32>
      %14 = stablehlo.add %13, %12 : tensor<f32>
      %15 = sdy.sharding_constraint %14 <@mesh, []> : tensor<f32>
      %16 = stablehlo.convert %15 : tensor<f32>
      %17 = sdy.sharding_constraint %16 <@mesh, []> : tensor<f32>
      %18 = stablehlo.broadcast_in_dim %17, dims = [] : (tensor<f32>) -> tensor<8x8xf32>
      %19 = sdy.sharding_constraint %18 <@mesh, [{?}, {?}]> : tensor<8x8xf32>
      %20 = stablehlo.multiply %8, %19 : tensor<8x8xf32>
      %21 = sdy.sharding_constraint %20 <@mesh, [{?}, {?}]> : tensor<8x8xf32>
      sdy.return %9, %21 : tensor<8x8xf32>, tensor<8x8xf32>
    } : (tensor<8x8xf32>, tensor<8x8xf32>) -> (tensor<8x8xf32>, tensor<16x8xf32>)
    return %0#0, %0#1 : tensor<8x8xf32>, tensor<16x8xf32>
  }
}
