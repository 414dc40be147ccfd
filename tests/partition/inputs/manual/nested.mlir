module @jit__nested_body attributes {mhlo.num_partitions = 8 : i32, mhlo.num_replicas = 1 : i32} {
  sdy.mesh @mesh = <["a"=2, "b"=2, "c"=2]> {stablehlo.mesh = {axes = [{name = "a", size = 2 : i64}, {name = "b", size = 2 : i64}, {name = "c", size = 2 : i64}]}}
  func.func public @main(%arg0: tensor<8x16xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"c"}, {}]>}, %arg1: tensor<16x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{}, {}]>}) -> (tensor<8x16xf32> {jax.result_info = "result"}) {
    %0 = sdy.manual_computation(%arg0, %arg1) in_shardings=[<@mesh, [{?}, {"a", ?}]>, <@mesh, [{"a", ?}, {?}]>] out_shardings=[<@mesh, [{?}, {"a", ?}]>] manual_axes={"a"} (%arg2: tensor<8x8xf32>, %arg3: tensor<8x8xf32>) {
      %1 = sdy.manual_computation(%arg2, %arg3) in_shardings=[<@mesh, [{?}, {"b", ?}]>, <@mesh, [{"b", ?}, {?}]>] out_shardings=[<@mesh, [{?}, {?}]>] manual_axes={"b"} (%arg4: tensor<8x4xf32>, %arg5: tensor<4x8xf32>) {
        %15 = stablehlo.dot_general %arg4, %arg5, contracting_dims = [1] x [0], precision = [DEFAULT, DEFAULT] : (tensor<8x4xf32>, tensor<4x8xf32>) -> tensor<8x8xf32>
        %16 = sdy.sharding_constraint %15 <@mesh, [{?}, {?}]> : tensor<8x8xf32>
        %17 = "stablehlo.all_reduce"(%16) <{channel_handle = #stablehlo.channel_handle<handle = 1, type = 1>, replica_groups = dense<[[0, 2], [1, 3], [4, 6], [5, 7]]> : tensor<4x2xi64>, use_global_device_ids}> ({
        ^bb0(%arg6: tensor<f32>, %arg7: tensor<f32>):
          %18 = stablehlo.add %arg6, %arg7 : tensor<f32>
          %19 = sdy.sharding_constraint %18 <@mesh, []> : tensor<f32>
          stablehlo.return %19 : tensor<f32>
        }) : (tensor<8x8xf32>) -> tensor<8x8xf32>
        sdy.return %17 : tensor<8x8xf32>
      } : (tensor<8x8xf32>, tensor<8x8xf32>) -> tensor<8x8xf32>
      %2 = "stablehlo.all_reduce"(%1) <{channel_handle = #stablehlo.channel_handle<handle = 1, type = 1>, replica_groups = dense<[[0, 4], [1, 5], [2, 6], [3, 7]]> : tensor<4x2xi64>, use_global_device_ids}> ({
      ^bb0(%arg4: tensor<f32>, %arg5: tensor<f32>):
        %15 = stablehlo.add %arg4, %arg5 : tensor<f32>
        %16 = sdy.sharding_constraint %15 <@mesh, []> : tensor<f32>
        stablehlo.return %16 : tensor<f32>
      }) : (tensor<8x8xf32>) -> tensor<8x8xf32>
      %3 = sdy.manual_computation() in_shardings=[] out_shardings=[<@mesh, []>] manual_axes={"b", "c"} () {
        %c = stablehlo.constant dense<4> : tensor<ui32>
        %c_0 = stablehlo.constant dense<2> : tensor<ui32>
        %15 = stablehlo.partition_id : tensor<ui32>
        %16 = stablehlo.divide %15, %c : tensor<ui32>
        %17 = stablehlo.remainder %16, %c_0 : tensor<ui32>
        %18 = stablehlo.convert %17 : (tensor<ui32>) -> tensor<i32>
        sdy.return %18 : tensor<i32>
      } : () -> tensor<i32>
      %4 = stablehlo.convert %3 : (tensor<i32>) -> tensor<f32>
      %5 = sdy.sharding_constraint %4 <@mesh, []> : tensor<f32>
      %cst = stablehlo.constant dense<1.000000e+00> : tensor<f32>
      %6 = sdy.sharding_constraint %cst <@mesh, []> : tensor<f32>
      %7 = stablehlo.add %6, %5 : tensor<f32>
      %8 = sdy.sharding_constraint %7 <@mesh, []> : tensor<f32>
      %9 = stablehlo.convert %8 : tensor<f32>
      %10 = sdy.sharding_constraint %9 <@mesh, []> : tensor<f32>
      %11 = stablehlo.broadcast_in_dim %10, dims = [] : (tensor<f32>) -> tensor<8x8xf32>
      %12 = sdy.sharding_constraint %11 <@mesh, [{?}, {?}]> : tensor<8x8xf32>
      %13 = stablehlo.multiply %2, %12 : tensor<8x8xf32>
      %14 = sdy.sharding_constraint %13 <@mesh, [{?}, {?}]> : tensor<8x8xf32>
      sdy.return %14 : tensor<8x8xf32>
    } : (tensor<8x16xf32>, tensor<16x8xf32>) -> tensor<8x16xf32>
    return %0 : tensor<8x16xf32>
  }
}
