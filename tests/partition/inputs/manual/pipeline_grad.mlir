module @jit__lambda attributes {mhlo.num_partitions = 8 : i32, mhlo.num_replicas = 1 : i32} {
  sdy.mesh @mesh = <["data"=2, "model"=4]> {stablehlo.mesh = {axes = [{name = "data", size = 2 : i64}, {name = "model", size = 4 : i64}]}}
  func.func public @main(%arg0: tensor<4x8x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"model"}, {}, {}]>}, %arg1: tensor<5x4x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{}, {"data"}, {}]>}) -> (tensor<4x8x8xf32> {jax.result_info = "result[0]"}, tensor<5x4x8xf32> {jax.result_info = "result[1]"}) {
    %0:10 = sdy.manual_computation(%arg0, %arg1) in_shardings=[<@mesh, [{"model", ?}, {?}, {?}]>, <@mesh, [{?}, {?}, {?}]>] out_shardings=[<@mesh, [{"model", ?}]>, <@mesh, [{"model", ?}]>, <@mesh, [{"model", ?}]>, <@mesh, [{"model", ?}, {?}]>, <@mesh, [{"model", ?}]>, <@mesh, [{"model", ?}, {?}, {?}]>, <@mesh, [{"model", ?}, {?}, {?}]>, <@mesh, [{"model", ?}, {?}]>, <@mesh, [{"model", ?}]>, <@mesh, [{"model", ?}]>] manual_axes={"model"} (%arg2: tensor<1x8x8xf32>, %arg3: tensor<5x4x8xf32>) {
      %5 = sdy.manual_computation() in_shardings=[] out_shardings=[<@mesh, []>] manual_axes={"data"} () {
        %c_24 = stablehlo.constant dense<1> : tensor<ui32>
        %c_25 = stablehlo.constant dense<4> : tensor<ui32>
        %53 = stablehlo.partition_id : tensor<ui32>
        %54 = stablehlo.divide %53, %c_24 : tensor<ui32>
        %55 = stablehlo.remainder %54, %c_25 : tensor<ui32>
        %56 = stablehlo.convert %55 : (tensor<ui32>) -> tensor<i32>
        sdy.return %56 : tensor<i32>
      } : () -> tensor<i32>
      %cst_1 = stablehlo.constant dense<0.000000e+00> : tensor<f32>
      %6 = stablehlo.broadcast_in_dim %cst_1, dims = [] : (tensor<f32>) -> tensor<4x8xf32>
      %7 = sdy.sharding_constraint %6 <@mesh, [{?}, {?}]> : tensor<4x8xf32>
      %8 = stablehlo.iota dim = 0 : tensor<8xi32>
      %9 = sdy.sharding_constraint %8 <@mesh, [{?}]> : tensor<8xi32>
      %c = stablehlo.constant dense<0> : tensor<i32>
      %10 = stablehlo.compare EQ, %5, %c, SIGNED : (tensor<i32>, tensor<i32>) -> tensor<i1>
      %c_2 = stablehlo.constant dense<0> : tensor<i32>
      %c_3 = stablehlo.constant dense<4> : tensor<i32>
      %11:2 = func.call @clip(%c_2, %c_3) : (tensor<i32>, tensor<i32>) -> (tensor<i32>, tensor<i32>)
      %c_4 = stablehlo.constant dense<0> : tensor<i32>
      %c_5 = stablehlo.constant dense<0> : tensor<i32>
      %12 = stablehlo.compare LT, %c_4, %c_5, SIGNED : (tensor<i32>, tensor<i32>) -> tensor<i1>
      %c_6 = stablehlo.constant dense<0> : tensor<i32>
      %c_7 = stablehlo.constant dense<4> : tensor<i32>
      %13 = stablehlo.add %c_6, %c_7 : tensor<i32>
      %14 = sdy.sharding_constraint %13 <@mesh, []> : tensor<i32>
      %c_8 = stablehlo.constant dense<0> : tensor<i32>
      %15 = stablehlo.select %12, %14, %c_8 : tensor<i1>, tensor<i32>
      %16 = sdy.sharding_constraint %15 <@mesh, []> : tensor<i32>
      %c_9 = stablehlo.constant dense<0> : tensor<i32>
      %c_10 = stablehlo.constant dense<0> : tensor<i32>
      %17 = stablehlo.compare LT, %c_9, %c_10, SIGNED : (tensor<i32>, tensor<i32>) -> tensor<i1>
      %c_11 = stablehlo.constant dense<0> : tensor<i32>
      %c_12 = stablehlo.constant dense<8> : tensor<i32>
      %18 = stablehlo.add %c_11, %c_12 : tensor<i32>
      %19 = sdy.sharding_constraint %18 <@mesh, []> : tensor<i32>
      %c_13 = stablehlo.constant dense<0> : tensor<i32>
      %20 = stablehlo.select %17, %19, %c_13 : tensor<i1>, tensor<i32>
      %21 = sdy.sharding_constraint %20 <@mesh, []> : tensor<i32>
      %22 = stablehlo.reshape %arg2 : (tensor<1x8x8xf32>) -> tensor<8x8xf32>
      %23 = sdy.sharding_constraint %22 <@mesh, [{?}, {?}]> : tensor<8x8xf32>
      %c_14 = stablehlo.constant dense<3> : tensor<i32>
      %24 = stablehlo.compare EQ, %5, %c_14, SIGNED : (tensor<i32>, tensor<i32>) -> tensor<i1>
      %c_15 = stablehlo.constant dense<0> : tensor<i32>
      %c_16 = stablehlo.constant dense<4> : tensor<i32>
      %25:2 = func.call @clip(%c_15, %c_16) : (tensor<i32>, tensor<i32>) -> (tensor<i32>, tensor<i32>)
      %c_17 = stablehlo.constant dense<0> : tensor<i32>
      %26 = stablehlo.broadcast_in_dim %c_17, dims = [] : (tensor<i32>) -> tensor<8xi32>
      %27 = sdy.sharding_constraint %26 <@mesh, [{?}]> : tensor<8xi32>
      %cst_18 = stablehlo.constant dense<0.000000e+00> : tensor<f32>
      %28 = stablehlo.broadcast_in_dim %cst_18, dims = [] : (tensor<f32>) -> tensor<8x4x8xf32>
      %29 = sdy.sharding_constraint %28 <@mesh, [{?}, {?}, {?}]> : tensor<8x4x8xf32>
      %c_19 = stablehlo.constant dense<false> : tensor<i1>
      %30 = stablehlo.broadcast_in_dim %c_19, dims = [] : (tensor<i1>) -> tensor<8x4x8xi1>
      %31 = sdy.sharding_constraint %30 <@mesh, [{?}, {?}, {?}]> : tensor<8x4x8xi1>
      %c_20 = stablehlo.constant dense<0> : tensor<i32>
      %32 = stablehlo.broadcast_in_dim %c_20, dims = [] : (tensor<i32>) -> tensor<8x1xi32>
      %33 = sdy.sharding_constraint %32 <@mesh, [{?}, {?}]> : tensor<8x1xi32>
      %c_21 = stablehlo.constant dense<false> : tensor<i1>
      %34 = stablehlo.broadcast_in_dim %c_21, dims = [] : (tensor<i1>) -> tensor<8xi1>
      %35 = sdy.sharding_constraint %34 <@mesh, [{?}]> : tensor<8xi1>
      %c_22 = stablehlo.constant dense<0> : tensor<i32>
      %36:18 = stablehlo.while(%iterArg = %9, %iterArg_24 = %arg3, %iterArg_25 = %11#0, %iterArg_26 = %11#1, %iterArg_27 = %16, %iterArg_28 = %21, %iterArg_29 = %10, %iterArg_30 = %23, %iterArg_31 = %24, %iterArg_32 = %25#0, %iterArg_33 = %25#1, %iterArg_34 = %c_22, %iterArg_35 = %7, %iterArg_36 = %27, %iterArg_37 = %29, %iterArg_38 = %31, %iterArg_39 = %33, %iterArg_40 = %35) : tensor<8xi32>, tensor<5x4x8xf32>, tensor<i32>, tensor<i32>, tensor<i32>, tensor<i32>, tensor<i1>, tensor<8x8xf32>, tensor<i1>, tensor<i32>, tensor<i32>, tensor<i32>, tensor<4x8xf32>, tensor<8xi32>, tensor<8x4x8xf32>, tensor<8x4x8xi1>, tensor<8x1xi32>, tensor<8xi1>
      cond {
        %c_41 = stablehlo.constant dense<8> : tensor<i32>
        %53 = sdy.sharding_constraint %iterArg_34 <@mesh, []> : tensor<i32>
        %54 = sdy.sharding_constraint %c_41 <@mesh, []> : tensor<i32>
        %55 = stablehlo.compare LT, %53, %54, SIGNED : (tensor<i32>, tensor<i32>) -> tensor<i1>
        stablehlo.return %55 : tensor<i1>
      } do {
        %53 = func.call @dynamic_index_in_dim(%iterArg, %iterArg_34) : (tensor<8xi32>, tensor<i32>) -> tensor<i32>
        %54:6 = func.call @closed_call(%iterArg_24, %iterArg_25, %iterArg_26, %iterArg_27, %iterArg_28, %iterArg_29, %iterArg_30, %iterArg_31, %iterArg_32, %iterArg_33, %iterArg_35, %53) : (tensor<5x4x8xf32>, tensor<i32>, tensor<i32>, tensor<i32>, tensor<i32>, tensor<i1>, tensor<8x8xf32>, tensor<i1>, tensor<i32>, tensor<i32>, tensor<4x8xf32>, tensor<i32>) -> (tensor<4x8xf32>, tensor<i32>, tensor<4x8xf32>, tensor<4x8xi1>, tensor<1xi32>, tensor<i1>)
        %55 = func.call @dynamic_update_index_in_dim(%iterArg_36, %54#1, %iterArg_34) : (tensor<8xi32>, tensor<i32>, tensor<i32>) -> tensor<8xi32>
        %56 = func.call @dynamic_update_index_in_dim_1(%iterArg_37, %54#2, %iterArg_34) : (tensor<8x4x8xf32>, tensor<4x8xf32>, tensor<i32>) -> tensor<8x4x8xf32>
        %57 = func.call @dynamic_update_index_in_dim_2(%iterArg_38, %54#3, %iterArg_34) : (tensor<8x4x8xi1>, tensor<4x8xi1>, tensor<i32>) -> tensor<8x4x8xi1>
        %58 = func.call @dynamic_update_index_in_dim_3(%iterArg_39, %54#4, %iterArg_34) : (tensor<8x1xi32>, tensor<1xi32>, tensor<i32>) -> tensor<8x1xi32>
        %59 = func.call @dynamic_update_index_in_dim_4(%iterArg_40, %54#5, %iterArg_34) : (tensor<8xi1>, tensor<i1>, tensor<i32>) -> tensor<8xi1>
        %c_41 = stablehlo.constant dense<1> : tensor<i32>
        %60 = sdy.sharding_constraint %iterArg_34 <@mesh, []> : tensor<i32>
        %61 = sdy.sharding_constraint %c_41 <@mesh, []> : tensor<i32>
        %62 = stablehlo.add %60, %61 : tensor<i32>
        %63 = sdy.sharding_constraint %62 <@mesh, []> : tensor<i32>
        stablehlo.return %iterArg, %iterArg_24, %iterArg_25, %iterArg_26, %iterArg_27, %iterArg_28, %iterArg_29, %iterArg_30, %iterArg_31, %iterArg_32, %iterArg_33, %63, %54#0, %55, %56, %57, %58, %59 : tensor<8xi32>, tensor<5x4x8xf32>, tensor<i32>, tensor<i32>, tensor<i32>, tensor<i32>, tensor<i1>, tensor<8x8xf32>, tensor<i1>, tensor<i32>, tensor<i32>, tensor<i32>, tensor<4x8xf32>, tensor<8xi32>, tensor<8x4x8xf32>, tensor<8x4x8xi1>, tensor<8x1xi32>, tensor<8xi1>
      }
      %37 = sdy.sharding_constraint %36#11 <@mesh, []> : tensor<i32>
      %38 = sdy.sharding_constraint %36#12 <@mesh, [{?}, {?}]> : tensor<4x8xf32>
      %39 = sdy.sharding_constraint %36#13 <@mesh, [{?}]> : tensor<8xi32>
      %40 = sdy.sharding_constraint %36#14 <@mesh, [{?}, {?}, {?}]> : tensor<8x4x8xf32>
      %41 = sdy.sharding_constraint %36#15 <@mesh, [{?}, {?}, {?}]> : tensor<8x4x8xi1>
      %42 = sdy.sharding_constraint %36#16 <@mesh, [{?}, {?}]> : tensor<8x1xi32>
      %43 = sdy.sharding_constraint %36#17 <@mesh, [{?}]> : tensor<8xi1>
      %c_23 = stablehlo.constant dense<3> : tensor<i32>
      %44 = stablehlo.compare EQ, %5, %c_23, SIGNED : (tensor<i32>, tensor<i32>) -> tensor<i1>
      %45 = stablehlo.broadcast_in_dim %16, dims = [] : (tensor<i32>) -> tensor<1xi32>
      %46 = sdy.sharding_constraint %45 <@mesh, [{?}]> : tensor<1xi32>
      %47 = stablehlo.broadcast_in_dim %21, dims = [] : (tensor<i32>) -> tensor<1xi32>
      %48 = sdy.sharding_constraint %47 <@mesh, [{?}]> : tensor<1xi32>
      %49 = stablehlo.broadcast_in_dim %10, dims = [] : (tensor<i1>) -> tensor<1xi1>
      %50 = sdy.sharding_constraint %49 <@mesh, [{?}]> : tensor<1xi1>
      %51 = stablehlo.broadcast_in_dim %44, dims = [] : (tensor<i1>) -> tensor<1xi1>
      %52 = sdy.sharding_constraint %51 <@mesh, [{?}]> : tensor<1xi1>
      sdy.return %46, %48, %50, %23, %39, %40, %41, %42, %43, %52 : tensor<1xi32>, tensor<1xi32>, tensor<1xi1>, tensor<8x8xf32>, tensor<8xi32>, tensor<8x4x8xf32>, tensor<8x4x8xi1>, tensor<8x1xi32>, tensor<8xi1>, tensor<1xi1>
    } : (tensor<4x8x8xf32>, tensor<5x4x8xf32>) -> (tensor<4xi32>, tensor<4xi32>, tensor<4xi1>, tensor<32x8xf32>, tensor<32xi32>, tensor<32x4x8xf32>, tensor<32x4x8xi1>, tensor<32x1xi32>, tensor<32xi1>, tensor<4xi1>)
    %cst = stablehlo.constant dense<1.000000e+00> : tensor<f32>
    %1 = stablehlo.broadcast_in_dim %cst, dims = [] : (tensor<f32>) -> tensor<5x4x8xf32>
    %cst_0 = stablehlo.constant dense<4.000000e+00> : tensor<f32>
    %2 = stablehlo.broadcast_in_dim %cst_0, dims = [] : (tensor<f32>) -> tensor<5x4x8xf32>
    %3 = stablehlo.divide %1, %2 : tensor<5x4x8xf32>
    %4:2 = sdy.manual_computation(%3, %0#0, %0#1, %0#2, %0#3, %0#4, %0#5, %0#6, %0#7, %0#8, %0#9) in_shardings=[<@mesh, [{?}, {?}, {?}]>, <@mesh, [{"model", ?}]>, <@mesh, [{"model", ?}]>, <@mesh, [{"model", ?}]>, <@mesh, [{"model", ?}, {?}]>, <@mesh, [{"model", ?}]>, <@mesh, [{"model", ?}, {?}, {?}]>, <@mesh, [{"model", ?}, {?}, {?}]>, <@mesh, [{"model", ?}, {?}]>, <@mesh, [{"model", ?}]>, <@mesh, [{"model", ?}]>] out_shardings=[<@mesh, [{"model", ?}, {?}, {?}]>, <@mesh, [{?}, {?}, {?}]>] manual_axes={"model"} (%arg2: tensor<5x4x8xf32>, %arg3: tensor<1xi32>, %arg4: tensor<1xi32>, %arg5: tensor<1xi1>, %arg6: tensor<8x8xf32>, %arg7: tensor<8xi32>, %arg8: tensor<8x4x8xf32>, %arg9: tensor<8x4x8xi1>, %arg10: tensor<8x1xi32>, %arg11: tensor<8xi1>, %arg12: tensor<1xi1>) {
      %5 = stablehlo.reshape %arg3 : (tensor<1xi32>) -> tensor<i32>
      %6 = sdy.sharding_constraint %5 <@mesh, []> : tensor<i32>
      %7 = stablehlo.reshape %arg4 : (tensor<1xi32>) -> tensor<i32>
      %8 = sdy.sharding_constraint %7 <@mesh, []> : tensor<i32>
      %9 = stablehlo.reshape %arg5 : (tensor<1xi1>) -> tensor<i1>
      %10 = sdy.sharding_constraint %9 <@mesh, []> : tensor<i1>
      %11 = stablehlo.reshape %arg12 : (tensor<1xi1>) -> tensor<i1>
      %12 = sdy.sharding_constraint %11 <@mesh, []> : tensor<i1>
      %13 = "stablehlo.all_reduce"(%arg2) <{channel_handle = #stablehlo.channel_handle<handle = 1, type = 1>, replica_groups = dense<[[0, 1, 2, 3], [4, 5, 6, 7]]> : tensor<2x4xi64>, use_global_device_ids}> ({
      ^bb0(%arg13: tensor<f32>, %arg14: tensor<f32>):
        %28 = stablehlo.add %arg13, %arg14 : tensor<f32>
        %29 = sdy.sharding_constraint %28 <@mesh, []> : tensor<f32>
        stablehlo.return %29 : tensor<f32>
      }) : (tensor<5x4x8xf32>) -> tensor<5x4x8xf32>
      %14 = func.call @_where_5(%12, %13) : (tensor<i1>, tensor<5x4x8xf32>) -> tensor<5x4x8xf32>
      %cst_1 = stablehlo.constant dense<0.000000e+00> : tensor<f32>
      %15 = stablehlo.broadcast_in_dim %cst_1, dims = [] : (tensor<f32>) -> tensor<4x8xf32>
      %16 = sdy.sharding_constraint %15 <@mesh, [{?}, {?}]> : tensor<4x8xf32>
      %cst_2 = stablehlo.constant dense<0.000000e+00> : tensor<f32>
      %17 = stablehlo.broadcast_in_dim %cst_2, dims = [] : (tensor<f32>) -> tensor<5x4x8xf32>
      %18 = sdy.sharding_constraint %17 <@mesh, [{?}, {?}, {?}]> : tensor<5x4x8xf32>
      %cst_3 = stablehlo.constant dense<0.000000e+00> : tensor<f32>
      %19 = stablehlo.broadcast_in_dim %cst_3, dims = [] : (tensor<f32>) -> tensor<1x8x8xf32>
      %20 = sdy.sharding_constraint %19 <@mesh, [{?}, {?}, {?}]> : tensor<1x8x8xf32>
      %c = stablehlo.constant dense<0> : tensor<i32>
      %21:14 = stablehlo.while(%iterArg = %arg7, %iterArg_4 = %arg8, %iterArg_5 = %arg9, %iterArg_6 = %arg10, %iterArg_7 = %arg11, %iterArg_8 = %6, %iterArg_9 = %8, %iterArg_10 = %10, %iterArg_11 = %arg6, %iterArg_12 = %c, %iterArg_13 = %18, %iterArg_14 = %20, %iterArg_15 = %16, %iterArg_16 = %14) : tensor<8xi32>, tensor<8x4x8xf32>, tensor<8x4x8xi1>, tensor<8x1xi32>, tensor<8xi1>, tensor<i32>, tensor<i32>, tensor<i1>, tensor<8x8xf32>, tensor<i32>, tensor<5x4x8xf32>, tensor<1x8x8xf32>, tensor<4x8xf32>, tensor<5x4x8xf32>
      cond {
        %c_17 = stablehlo.constant dense<8> : tensor<i32>
        %28 = sdy.sharding_constraint %iterArg_12 <@mesh, []> : tensor<i32>
        %29 = sdy.sharding_constraint %c_17 <@mesh, []> : tensor<i32>
        %30 = stablehlo.compare LT, %28, %29, SIGNED : (tensor<i32>, tensor<i32>) -> tensor<i1>
        stablehlo.return %30 : tensor<i1>
      } do {
        %c_17 = stablehlo.constant dense<8> : tensor<i32>
        %28 = stablehlo.subtract %c_17, %iterArg_12 : tensor<i32>
        %c_18 = stablehlo.constant dense<1> : tensor<i32>
        %29 = stablehlo.subtract %28, %c_18 : tensor<i32>
        %30 = func.call @dynamic_index_in_dim(%iterArg, %29) : (tensor<8xi32>, tensor<i32>) -> tensor<i32>
        %31 = func.call @dynamic_index_in_dim_6(%iterArg_4, %29) : (tensor<8x4x8xf32>, tensor<i32>) -> tensor<4x8xf32>
        %32 = func.call @dynamic_index_in_dim_7(%iterArg_5, %29) : (tensor<8x4x8xi1>, tensor<i32>) -> tensor<4x8xi1>
        %33 = func.call @dynamic_index_in_dim_8(%iterArg_6, %29) : (tensor<8x1xi32>, tensor<i32>) -> tensor<1xi32>
        %34 = func.call @dynamic_index_in_dim_9(%iterArg_7, %29) : (tensor<8xi1>, tensor<i32>) -> tensor<i1>
        %35:4 = func.call @closed_call_10(%iterArg_8, %iterArg_9, %iterArg_10, %iterArg_11, %iterArg_13, %iterArg_14, %iterArg_15, %iterArg_16, %30, %31, %32, %33, %34) : (tensor<i32>, tensor<i32>, tensor<i1>, tensor<8x8xf32>, tensor<5x4x8xf32>, tensor<1x8x8xf32>, tensor<4x8xf32>, tensor<5x4x8xf32>, tensor<i32>, tensor<4x8xf32>, tensor<4x8xi1>, tensor<1xi32>, tensor<i1>) -> (tensor<5x4x8xf32>, tensor<1x8x8xf32>, tensor<4x8xf32>, tensor<5x4x8xf32>)
        %c_19 = stablehlo.constant dense<1> : tensor<i32>
        %36 = sdy.sharding_constraint %iterArg_12 <@mesh, []> : tensor<i32>
        %37 = sdy.sharding_constraint %c_19 <@mesh, []> : tensor<i32>
        %38 = stablehlo.add %36, %37 : tensor<i32>
        %39 = sdy.sharding_constraint %38 <@mesh, []> : tensor<i32>
        stablehlo.return %iterArg, %iterArg_4, %iterArg_5, %iterArg_6, %iterArg_7, %iterArg_8, %iterArg_9, %iterArg_10, %iterArg_11, %39, %35#0, %35#1, %35#2, %35#3 : tensor<8xi32>, tensor<8x4x8xf32>, tensor<8x4x8xi1>, tensor<8x1xi32>, tensor<8xi1>, tensor<i32>, tensor<i32>, tensor<i1>, tensor<8x8xf32>, tensor<i32>, tensor<5x4x8xf32>, tensor<1x8x8xf32>, tensor<4x8xf32>, tensor<5x4x8xf32>
      }
      %22 = sdy.sharding_constraint %21#9 <@mesh, []> : tensor<i32>
      %23 = sdy.sharding_constraint %21#10 <@mesh, [{?}, {?}, {?}]> : tensor<5x4x8xf32>
      %24 = sdy.sharding_constraint %21#11 <@mesh, [{?}, {?}, {?}]> : tensor<1x8x8xf32>
      %25 = sdy.sharding_constraint %21#12 <@mesh, [{?}, {?}]> : tensor<4x8xf32>
      %26 = sdy.sharding_constraint %21#13 <@mesh, [{?}, {?}, {?}]> : tensor<5x4x8xf32>
      %27 = "stablehlo.all_reduce"(%23) <{channel_handle = #stablehlo.channel_handle<handle = 1, type = 1>, replica_groups = dense<[[0, 1, 2, 3], [4, 5, 6, 7]]> : tensor<2x4xi64>, use_global_device_ids}> ({
      ^bb0(%arg13: tensor<f32>, %arg14: tensor<f32>):
        %28 = stablehlo.add %arg13, %arg14 : tensor<f32>
        %29 = sdy.sharding_constraint %28 <@mesh, []> : tensor<f32>
        stablehlo.return %29 : tensor<f32>
      }) : (tensor<5x4x8xf32>) -> tensor<5x4x8xf32>
      sdy.return %24, %27 : tensor<1x8x8xf32>, tensor<5x4x8xf32>
    } : (tensor<5x4x8xf32>, tensor<4xi32>, tensor<4xi32>, tensor<4xi1>, tensor<32x8xf32>, tensor<32xi32>, tensor<32x4x8xf32>, tensor<32x4x8xi1>, tensor<32x1xi32>, tensor<32xi1>, tensor<4xi1>) -> (tensor<4x8x8xf32>, tensor<5x4x8xf32>)
    return %4#0, %4#1 : tensor<4x8x8xf32>, tensor<5x4x8xf32>
  }
  func.func private @clip(%arg0: tensor<i32>, %arg1: tensor<i32>) -> (tensor<i32>, tensor<i32>) {
    %0 = stablehlo.convert %arg0 : tensor<i32>
    %1 = sdy.sharding_constraint %0 <@mesh, []> : tensor<i32>
    %2 = stablehlo.convert %arg1 : tensor<i32>
    %3 = sdy.sharding_constraint %2 <@mesh, []> : tensor<i32>
    return %3, %1 : tensor<i32>, tensor<i32>
  }
  func.func private @dynamic_index_in_dim(%arg0: tensor<8xi32>, %arg1: tensor<i32>) -> tensor<i32> {
    %0 = stablehlo.dynamic_slice %arg0, %arg1, sizes = [1] : (tensor<8xi32>, tensor<i32>) -> tensor<1xi32>
    %1 = sdy.sharding_constraint %0 <@mesh, [{?}]> : tensor<1xi32>
    %2 = stablehlo.reshape %1 : (tensor<1xi32>) -> tensor<i32>
    %3 = sdy.sharding_constraint %2 <@mesh, []> : tensor<i32>
    return %3 : tensor<i32>
  }
  func.func private @closed_call(%arg0: tensor<5x4x8xf32>, %arg1: tensor<i32>, %arg2: tensor<i32>, %arg3: tensor<i32>, %arg4: tensor<i32>, %arg5: tensor<i1>, %arg6: tensor<8x8xf32>, %arg7: tensor<i1>, %arg8: tensor<i32>, %arg9: tensor<i32>, %arg10: tensor<4x8xf32>, %arg11: tensor<i32>) -> (tensor<4x8xf32>, tensor<i32>, tensor<4x8xf32>, tensor<4x8xi1>, tensor<1xi32>, tensor<i1>) {
    %0 = call @clip_0(%arg11, %arg1, %arg2) : (tensor<i32>, tensor<i32>, tensor<i32>) -> tensor<i32>
    %c = stablehlo.constant dense<0> : tensor<i32>
    %1 = stablehlo.compare LT, %0, %c, SIGNED : (tensor<i32>, tensor<i32>) -> tensor<i1>
    %c_0 = stablehlo.constant dense<5> : tensor<i32>
    %2 = stablehlo.add %0, %c_0 : tensor<i32>
    %3 = sdy.sharding_constraint %2 <@mesh, []> : tensor<i32>
    %4 = stablehlo.select %1, %3, %0 : tensor<i1>, tensor<i32>
    %5 = sdy.sharding_constraint %4 <@mesh, []> : tensor<i32>
    %6 = stablehlo.dynamic_slice %arg0, %5, %arg3, %arg4, sizes = [1, 4, 8] : (tensor<5x4x8xf32>, tensor<i32>, tensor<i32>, tensor<i32>) -> tensor<1x4x8xf32>
    %7 = sdy.sharding_constraint %6 <@mesh, [{?}, {?}, {?}]> : tensor<1x4x8xf32>
    %8 = stablehlo.reshape %7 : (tensor<1x4x8xf32>) -> tensor<4x8xf32>
    %9 = sdy.sharding_constraint %8 <@mesh, [{?}, {?}]> : tensor<4x8xf32>
    %10 = call @_where(%9, %arg10, %arg5) : (tensor<4x8xf32>, tensor<4x8xf32>, tensor<i1>) -> tensor<4x8xf32>
    %11 = stablehlo.dot_general %10, %arg6, contracting_dims = [1] x [0], precision = [DEFAULT, DEFAULT] : (tensor<4x8xf32>, tensor<8x8xf32>) -> tensor<4x8xf32>
    %12 = sdy.sharding_constraint %11 <@mesh, [{?}, {?}]> : tensor<4x8xf32>
    %13 = call @relu(%12) : (tensor<4x8xf32>) -> tensor<4x8xf32>
    %cst = stablehlo.constant dense<0.000000e+00> : tensor<f32>
    %14 = stablehlo.broadcast_in_dim %cst, dims = [] : (tensor<f32>) -> tensor<4x8xf32>
    %15 = sdy.sharding_constraint %14 <@mesh, [{?}, {?}]> : tensor<4x8xf32>
    %16 = stablehlo.compare GT, %12, %15, FLOAT : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xi1>
    %c_1 = stablehlo.constant dense<3> : tensor<i32>
    %17 = stablehlo.compare GE, %arg11, %c_1, SIGNED : (tensor<i32>, tensor<i32>) -> tensor<i1>
    %18 = stablehlo.and %arg7, %17 : tensor<i1>
    %19 = sdy.sharding_constraint %18 <@mesh, []> : tensor<i1>
    %c_2 = stablehlo.constant dense<3> : tensor<i32>
    %20 = stablehlo.subtract %arg11, %c_2 : tensor<i32>
    %21 = sdy.sharding_constraint %20 <@mesh, []> : tensor<i32>
    %22 = call @clip_0(%21, %arg8, %arg9) : (tensor<i32>, tensor<i32>, tensor<i32>) -> tensor<i32>
    %c_3 = stablehlo.constant dense<0> : tensor<i32>
    %23 = stablehlo.compare LT, %22, %c_3, SIGNED : (tensor<i32>, tensor<i32>) -> tensor<i1>
    %c_4 = stablehlo.constant dense<5> : tensor<i32>
    %24 = sdy.sharding_constraint %c_4 <@mesh, []> : tensor<i32>
    %25 = stablehlo.add %22, %24 : tensor<i32>
    %26 = sdy.sharding_constraint %25 <@mesh, []> : tensor<i32>
    %27 = stablehlo.select %23, %26, %22 : tensor<i1>, tensor<i32>
    %28 = sdy.sharding_constraint %27 <@mesh, []> : tensor<i32>
    %29 = stablehlo.broadcast_in_dim %28, dims = [] : (tensor<i32>) -> tensor<1xi32>
    %30 = sdy.sharding_constraint %29 <@mesh, [{?}]> : tensor<1xi32>
    %31 = "stablehlo.collective_permute"(%13) <{channel_handle = #stablehlo.channel_handle<handle = 1, type = 1>, source_target_pairs = dense<[[0, 1], [1, 2], [2, 3], [3, 0], [4, 5], [5, 6], [6, 7], [7, 4]]> : tensor<8x2xi64>}> : (tensor<4x8xf32>) -> tensor<4x8xf32>
    return %31, %5, %10, %16, %30, %19 : tensor<4x8xf32>, tensor<i32>, tensor<4x8xf32>, tensor<4x8xi1>, tensor<1xi32>, tensor<i1>
  }
  func.func private @clip_0(%arg0: tensor<i32>, %arg1: tensor<i32>, %arg2: tensor<i32>) -> tensor<i32> {
    %0 = stablehlo.maximum %arg2, %arg0 : tensor<i32>
    %1 = sdy.sharding_constraint %0 <@mesh, []> : tensor<i32>
    %2 = stablehlo.minimum %arg1, %1 : tensor<i32>
    %3 = sdy.sharding_constraint %2 <@mesh, []> : tensor<i32>
    return %3 : tensor<i32>
  }
  func.func private @_where(%arg0: tensor<4x8xf32>, %arg1: tensor<4x8xf32>, %arg2: tensor<i1>) -> tensor<4x8xf32> {
    %0 = stablehlo.select %arg2, %arg0, %arg1 : tensor<i1>, tensor<4x8xf32>
    %1 = sdy.sharding_constraint %0 <@mesh, [{?}, {?}]> : tensor<4x8xf32>
    return %1 : tensor<4x8xf32>
  }
  func.func private @relu(%arg0: tensor<4x8xf32>) -> tensor<4x8xf32> {
    %cst = stablehlo.constant dense<0.000000e+00> : tensor<f32>
    %0 = stablehlo.broadcast_in_dim %cst, dims = [] : (tensor<f32>) -> tensor<4x8xf32>
    %1 = sdy.sharding_constraint %0 <@mesh, [{?}, {?}]> : tensor<4x8xf32>
    %2 = stablehlo.maximum %arg0, %1 : tensor<4x8xf32>
    %3 = sdy.sharding_constraint %2 <@mesh, [{?}, {?}]> : tensor<4x8xf32>
    return %3 : tensor<4x8xf32>
  }
  func.func private @dynamic_update_index_in_dim(%arg0: tensor<8xi32>, %arg1: tensor<i32>, %arg2: tensor<i32>) -> tensor<8xi32> {
    %0 = stablehlo.broadcast_in_dim %arg1, dims = [] : (tensor<i32>) -> tensor<1xi32>
    %1 = sdy.sharding_constraint %0 <@mesh, [{?}]> : tensor<1xi32>
    %2 = stablehlo.dynamic_update_slice %arg0, %1, %arg2 : (tensor<8xi32>, tensor<1xi32>, tensor<i32>) -> tensor<8xi32>
    %3 = sdy.sharding_constraint %2 <@mesh, [{?}]> : tensor<8xi32>
    return %3 : tensor<8xi32>
  }
  func.func private @dynamic_update_index_in_dim_1(%arg0: tensor<8x4x8xf32>, %arg1: tensor<4x8xf32>, %arg2: tensor<i32>) -> tensor<8x4x8xf32> {
    %0 = stablehlo.broadcast_in_dim %arg1, dims = [1, 2] : (tensor<4x8xf32>) -> tensor<1x4x8xf32>
    %1 = sdy.sharding_constraint %0 <@mesh, [{?}, {?}, {?}]> : tensor<1x4x8xf32>
    %c = stablehlo.constant dense<0> : tensor<i32>
    %c_0 = stablehlo.constant dense<0> : tensor<i32>
    %2 = stablehlo.dynamic_update_slice %arg0, %1, %arg2, %c, %c_0 : (tensor<8x4x8xf32>, tensor<1x4x8xf32>, tensor<i32>, tensor<i32>, tensor<i32>) -> tensor<8x4x8xf32>
    %3 = sdy.sharding_constraint %2 <@mesh, [{?}, {?}, {?}]> : tensor<8x4x8xf32>
    return %3 : tensor<8x4x8xf32>
  }
  func.func private @dynamic_update_index_in_dim_2(%arg0: tensor<8x4x8xi1>, %arg1: tensor<4x8xi1>, %arg2: tensor<i32>) -> tensor<8x4x8xi1> {
    %0 = stablehlo.broadcast_in_dim %arg1, dims = [1, 2] : (tensor<4x8xi1>) -> tensor<1x4x8xi1>
    %1 = sdy.sharding_constraint %0 <@mesh, [{?}, {?}, {?}]> : tensor<1x4x8xi1>
    %c = stablehlo.constant dense<0> : tensor<i32>
    %c_0 = stablehlo.constant dense<0> : tensor<i32>
    %2 = stablehlo.dynamic_update_slice %arg0, %1, %arg2, %c, %c_0 : (tensor<8x4x8xi1>, tensor<1x4x8xi1>, tensor<i32>, tensor<i32>, tensor<i32>) -> tensor<8x4x8xi1>
    %3 = sdy.sharding_constraint %2 <@mesh, [{?}, {?}, {?}]> : tensor<8x4x8xi1>
    return %3 : tensor<8x4x8xi1>
  }
  func.func private @dynamic_update_index_in_dim_3(%arg0: tensor<8x1xi32>, %arg1: tensor<1xi32>, %arg2: tensor<i32>) -> tensor<8x1xi32> {
    %0 = stablehlo.broadcast_in_dim %arg1, dims = [1] : (tensor<1xi32>) -> tensor<1x1xi32>
    %1 = sdy.sharding_constraint %0 <@mesh, [{?}, {?}]> : tensor<1x1xi32>
    %c = stablehlo.constant dense<0> : tensor<i32>
    %2 = stablehlo.dynamic_update_slice %arg0, %1, %arg2, %c : (tensor<8x1xi32>, tensor<1x1xi32>, tensor<i32>, tensor<i32>) -> tensor<8x1xi32>
    %3 = sdy.sharding_constraint %2 <@mesh, [{?}, {?}]> : tensor<8x1xi32>
    return %3 : tensor<8x1xi32>
  }
  func.func private @dynamic_update_index_in_dim_4(%arg0: tensor<8xi1>, %arg1: tensor<i1>, %arg2: tensor<i32>) -> tensor<8xi1> {
    %0 = stablehlo.broadcast_in_dim %arg1, dims = [] : (tensor<i1>) -> tensor<1xi1>
    %1 = sdy.sharding_constraint %0 <@mesh, [{?}]> : tensor<1xi1>
    %2 = stablehlo.dynamic_update_slice %arg0, %1, %arg2 : (tensor<8xi1>, tensor<1xi1>, tensor<i32>) -> tensor<8xi1>
    %3 = sdy.sharding_constraint %2 <@mesh, [{?}]> : tensor<8xi1>
    return %3 : tensor<8xi1>
  }
  func.func private @_where_5(%arg0: tensor<i1>, %arg1: tensor<5x4x8xf32>) -> tensor<5x4x8xf32> {
    %cst = stablehlo.constant dense<0.000000e+00> : tensor<f32>
    %0 = stablehlo.broadcast_in_dim %cst, dims = [] : (tensor<f32>) -> tensor<5x4x8xf32>
    %1 = sdy.sharding_constraint %0 <@mesh, [{?}, {?}, {?}]> : tensor<5x4x8xf32>
    %2 = stablehlo.select %arg0, %arg1, %1 : tensor<i1>, tensor<5x4x8xf32>
    %3 = sdy.sharding_constraint %2 <@mesh, [{?}, {?}, {?}]> : tensor<5x4x8xf32>
    return %3 : tensor<5x4x8xf32>
  }
  func.func private @dynamic_index_in_dim_6(%arg0: tensor<8x4x8xf32>, %arg1: tensor<i32>) -> tensor<4x8xf32> {
    %c = stablehlo.constant dense<0> : tensor<i32>
    %c_0 = stablehlo.constant dense<0> : tensor<i32>
    %0 = stablehlo.dynamic_slice %arg0, %arg1, %c, %c_0, sizes = [1, 4, 8] : (tensor<8x4x8xf32>, tensor<i32>, tensor<i32>, tensor<i32>) -> tensor<1x4x8xf32>
    %1 = sdy.sharding_constraint %0 <@mesh, [{?}, {?}, {?}]> : tensor<1x4x8xf32>
    %2 = stablehlo.reshape %1 : (tensor<1x4x8xf32>) -> tensor<4x8xf32>
    %3 = sdy.sharding_constraint %2 <@mesh, [{?}, {?}]> : tensor<4x8xf32>
    return %3 : tensor<4x8xf32>
  }
  func.func private @dynamic_index_in_dim_7(%arg0: tensor<8x4x8xi1>, %arg1: tensor<i32>) -> tensor<4x8xi1> {
    %c = stablehlo.constant dense<0> : tensor<i32>
    %c_0 = stablehlo.constant dense<0> : tensor<i32>
    %0 = stablehlo.dynamic_slice %arg0, %arg1, %c, %c_0, sizes = [1, 4, 8] : (tensor<8x4x8xi1>, tensor<i32>, tensor<i32>, tensor<i32>) -> tensor<1x4x8xi1>
    %1 = sdy.sharding_constraint %0 <@mesh, [{?}, {?}, {?}]> : tensor<1x4x8xi1>
    %2 = stablehlo.reshape %1 : (tensor<1x4x8xi1>) -> tensor<4x8xi1>
    %3 = sdy.sharding_constraint %2 <@mesh, [{?}, {?}]> : tensor<4x8xi1>
    return %3 : tensor<4x8xi1>
  }
  func.func private @dynamic_index_in_dim_8(%arg0: tensor<8x1xi32>, %arg1: tensor<i32>) -> tensor<1xi32> {
    %c = stablehlo.constant dense<0> : tensor<i32>
    %0 = stablehlo.dynamic_slice %arg0, %arg1, %c, sizes = [1, 1] : (tensor<8x1xi32>, tensor<i32>, tensor<i32>) -> tensor<1x1xi32>
    %1 = sdy.sharding_constraint %0 <@mesh, [{?}, {?}]> : tensor<1x1xi32>
    %2 = stablehlo.reshape %1 : (tensor<1x1xi32>) -> tensor<1xi32>
    %3 = sdy.sharding_constraint %2 <@mesh, [{?}]> : tensor<1xi32>
    return %3 : tensor<1xi32>
  }
  func.func private @dynamic_index_in_dim_9(%arg0: tensor<8xi1>, %arg1: tensor<i32>) -> tensor<i1> {
    %0 = stablehlo.dynamic_slice %arg0, %arg1, sizes = [1] : (tensor<8xi1>, tensor<i32>) -> tensor<1xi1>
    %1 = sdy.sharding_constraint %0 <@mesh, [{?}]> : tensor<1xi1>
    %2 = stablehlo.reshape %1 : (tensor<1xi1>) -> tensor<i1>
    %3 = sdy.sharding_constraint %2 <@mesh, []> : tensor<i1>
    return %3 : tensor<i1>
  }
  func.func private @closed_call_10(%arg0: tensor<i32>, %arg1: tensor<i32>, %arg2: tensor<i1>, %arg3: tensor<8x8xf32>, %arg4: tensor<5x4x8xf32>, %arg5: tensor<1x8x8xf32>, %arg6: tensor<4x8xf32>, %arg7: tensor<5x4x8xf32>, %arg8: tensor<i32>, %arg9: tensor<4x8xf32>, %arg10: tensor<4x8xi1>, %arg11: tensor<1xi32>, %arg12: tensor<i1>) -> (tensor<5x4x8xf32>, tensor<1x8x8xf32>, tensor<4x8xf32>, tensor<5x4x8xf32>) {
    %0 = "stablehlo.collective_permute"(%arg6) <{channel_handle = #stablehlo.channel_handle<handle = 1, type = 1>, source_target_pairs = dense<[[1, 0], [2, 1], [3, 2], [0, 3], [5, 4], [6, 5], [7, 6], [4, 7]]> : tensor<8x2xi64>}> : (tensor<4x8xf32>) -> tensor<4x8xf32>
    %1:2 = call @_where_11(%arg12, %arg7) : (tensor<i1>, tensor<5x4x8xf32>) -> (tensor<5x4x8xf32>, tensor<5x4x8xf32>)
    %cst = stablehlo.constant dense<0.000000e+00> : tensor<f32>
    %2 = stablehlo.broadcast_in_dim %cst, dims = [] : (tensor<f32>) -> tensor<4x8xf32>
    %3 = sdy.sharding_constraint %2 <@mesh, [{?}, {?}]> : tensor<4x8xf32>
    %4 = "stablehlo.scatter"(%1#0, %arg11, %3) <{indices_are_sorted = true, scatter_dimension_numbers = #stablehlo.scatter<update_window_dims = [0, 1], inserted_window_dims = [0], scatter_dims_to_operand_dims = [0]>, unique_indices = true}> ({
    ^bb0(%arg13: tensor<f32>, %arg14: tensor<f32>):
      stablehlo.return %arg14 : tensor<f32>
    }) : (tensor<5x4x8xf32>, tensor<1xi32>, tensor<4x8xf32>) -> tensor<5x4x8xf32>
    %5 = sdy.sharding_constraint %4 <@mesh, [{?}, {?}, {?}]> : tensor<5x4x8xf32>
    %c = stablehlo.constant dense<4> : tensor<1xi32>
    %c_0 = stablehlo.constant dense<0> : tensor<i32>
    %6 = stablehlo.broadcast_in_dim %c_0, dims = [] : (tensor<i32>) -> tensor<1xi32>
    %7 = sdy.sharding_constraint %6 <@mesh, [{?}]> : tensor<1xi32>
    %8 = stablehlo.compare GE, %arg11, %7, SIGNED : (tensor<1xi32>, tensor<1xi32>) -> tensor<1xi1>
    %9 = sdy.sharding_constraint %c <@mesh, [{?}]> : tensor<1xi32>
    %10 = stablehlo.compare LE, %arg11, %9, SIGNED : (tensor<1xi32>, tensor<1xi32>) -> tensor<1xi1>
    %11 = stablehlo.and %8, %10 : tensor<1xi1>
    %12 = sdy.sharding_constraint %11 <@mesh, [{?}]> : tensor<1xi1>
    %c_1 = stablehlo.constant dense<true> : tensor<i1>
    %13 = stablehlo.reduce(%12 init: %c_1) applies stablehlo.and across dimensions = [0] : (tensor<1xi1>, tensor<i1>) -> tensor<i1>
    %14 = sdy.sharding_constraint %13 <@mesh, []> : tensor<i1>
    %15 = "stablehlo.gather"(%1#0, %arg11) <{dimension_numbers = #stablehlo.gather<offset_dims = [0, 1], collapsed_slice_dims = [0], start_index_map = [0]>, indices_are_sorted = false, slice_sizes = array<i64: 1, 4, 8>}> : (tensor<5x4x8xf32>, tensor<1xi32>) -> tensor<4x8xf32>
    %16 = sdy.sharding_constraint %15 <@mesh, [{?}, {?}]> : tensor<4x8xf32>
    %17 = stablehlo.broadcast_in_dim %14, dims = [] : (tensor<i1>) -> tensor<4x8xi1>
    %18 = sdy.sharding_constraint %17 <@mesh, [{?}, {?}]> : tensor<4x8xi1>
    %cst_2 = stablehlo.constant dense<0.000000e+00> : tensor<f32>
    %19 = stablehlo.broadcast_in_dim %cst_2, dims = [] : (tensor<f32>) -> tensor<4x8xf32>
    %20 = sdy.sharding_constraint %19 <@mesh, [{?}, {?}]> : tensor<4x8xf32>
    %21 = stablehlo.select %18, %16, %20 : tensor<4x8xi1>, tensor<4x8xf32>
    %22 = sdy.sharding_constraint %21 <@mesh, [{?}, {?}]> : tensor<4x8xf32>
    %23 = stablehlo.add %1#1, %5 : tensor<5x4x8xf32>
    %24 = sdy.sharding_constraint %23 <@mesh, [{?}, {?}, {?}]> : tensor<5x4x8xf32>
    %25 = stablehlo.add %0, %22 : tensor<4x8xf32>
    %26 = sdy.sharding_constraint %25 <@mesh, [{?}, {?}]> : tensor<4x8xf32>
    %cst_3 = stablehlo.constant dense<0.000000e+00> : tensor<f32>
    %27 = stablehlo.broadcast_in_dim %cst_3, dims = [] : (tensor<f32>) -> tensor<4x8xf32>
    %28 = sdy.sharding_constraint %27 <@mesh, [{?}, {?}]> : tensor<4x8xf32>
    %29 = stablehlo.select %arg10, %26, %28 : tensor<4x8xi1>, tensor<4x8xf32>
    %30 = sdy.sharding_constraint %29 <@mesh, [{?}, {?}]> : tensor<4x8xf32>
    %31 = stablehlo.dot_general %30, %arg9, contracting_dims = [0] x [0], precision = [DEFAULT, DEFAULT] : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<8x8xf32>
    %32 = sdy.sharding_constraint %31 <@mesh, [{?}, {?}]> : tensor<8x8xf32>
    %33 = stablehlo.transpose %32, dims = [1, 0] : (tensor<8x8xf32>) -> tensor<8x8xf32>
    %34 = sdy.sharding_constraint %33 <@mesh, [{?}, {?}]> : tensor<8x8xf32>
    %35 = stablehlo.dot_general %30, %arg3, contracting_dims = [1] x [1], precision = [DEFAULT, DEFAULT] : (tensor<4x8xf32>, tensor<8x8xf32>) -> tensor<4x8xf32>
    %36 = sdy.sharding_constraint %35 <@mesh, [{?}, {?}]> : tensor<4x8xf32>
    %37 = stablehlo.broadcast_in_dim %34, dims = [1, 2] : (tensor<8x8xf32>) -> tensor<1x8x8xf32>
    %38 = sdy.sharding_constraint %37 <@mesh, [{?}, {?}, {?}]> : tensor<1x8x8xf32>
    %39 = stablehlo.add %arg5, %38 : tensor<1x8x8xf32>
    %40 = sdy.sharding_constraint %39 <@mesh, [{?}, {?}, {?}]> : tensor<1x8x8xf32>
    %41:2 = call @_where_12(%arg2, %36) : (tensor<i1>, tensor<4x8xf32>) -> (tensor<4x8xf32>, tensor<4x8xf32>)
    %42 = stablehlo.broadcast_in_dim %41#0, dims = [1, 2] : (tensor<4x8xf32>) -> tensor<1x4x8xf32>
    %43 = sdy.sharding_constraint %42 <@mesh, [{?}, {?}, {?}]> : tensor<1x4x8xf32>
    %cst_4 = stablehlo.constant dense<0.000000e+00> : tensor<f32>
    %44 = stablehlo.broadcast_in_dim %cst_4, dims = [] : (tensor<f32>) -> tensor<5x4x8xf32>
    %45 = sdy.sharding_constraint %44 <@mesh, [{?}, {?}, {?}]> : tensor<5x4x8xf32>
    %46 = stablehlo.dynamic_update_slice %45, %43, %arg8, %arg0, %arg1 : (tensor<5x4x8xf32>, tensor<1x4x8xf32>, tensor<i32>, tensor<i32>, tensor<i32>) -> tensor<5x4x8xf32>
    %47 = sdy.sharding_constraint %46 <@mesh, [{?}, {?}, {?}]> : tensor<5x4x8xf32>
    %48 = stablehlo.add %arg4, %47 : tensor<5x4x8xf32>
    %49 = sdy.sharding_constraint %48 <@mesh, [{?}, {?}, {?}]> : tensor<5x4x8xf32>
    return %49, %40, %41#1, %24 : tensor<5x4x8xf32>, tensor<1x8x8xf32>, tensor<4x8xf32>, tensor<5x4x8xf32>
  }
  func.func private @_where_11(%arg0: tensor<i1>, %arg1: tensor<5x4x8xf32>) -> (tensor<5x4x8xf32>, tensor<5x4x8xf32>) {
    %cst = stablehlo.constant dense<0.000000e+00> : tensor<f32>
    %0 = stablehlo.broadcast_in_dim %cst, dims = [] : (tensor<f32>) -> tensor<5x4x8xf32>
    %1 = sdy.sharding_constraint %0 <@mesh, [{?}, {?}, {?}]> : tensor<5x4x8xf32>
    %2 = stablehlo.select %arg0, %1, %arg1 : tensor<i1>, tensor<5x4x8xf32>
    %3 = sdy.sharding_constraint %2 <@mesh, [{?}, {?}, {?}]> : tensor<5x4x8xf32>
    %4 = stablehlo.select %arg0, %arg1, %1 : tensor<i1>, tensor<5x4x8xf32>
    %5 = sdy.sharding_constraint %4 <@mesh, [{?}, {?}, {?}]> : tensor<5x4x8xf32>
    return %5, %3 : tensor<5x4x8xf32>, tensor<5x4x8xf32>
  }
  func.func private @_where_12(%arg0: tensor<i1>, %arg1: tensor<4x8xf32>) -> (tensor<4x8xf32>, tensor<4x8xf32>) {
    %cst = stablehlo.constant dense<0.000000e+00> : tensor<f32>
    %0 = stablehlo.broadcast_in_dim %cst, dims = [] : (tensor<f32>) -> tensor<4x8xf32>
    %1 = sdy.sharding_constraint %0 <@mesh, [{?}, {?}]> : tensor<4x8xf32>
    %2 = stablehlo.select %arg0, %1, %arg1 : tensor<i1>, tensor<4x8xf32>
    %3 = sdy.sharding_constraint %2 <@mesh, [{?}, {?}]> : tensor<4x8xf32>
    %4 = stablehlo.select %arg0, %arg1, %1 : tensor<i1>, tensor<4x8xf32>
    %5 = sdy.sharding_constraint %4 <@mesh, [{?}, {?}]> : tensor<4x8xf32>
    return %5, %3 : tensor<4x8xf32>, tensor<4x8xf32>
  }
}
