module @jit__lambda attributes {mhlo.num_partitions = 1 : i32, mhlo.num_replicas = 1 : i32} {
  sdy.mesh @mesh = <["data"=2, "model"=4]>
  func.func public @main(%arg0: tensor<16x32xf32>, %arg1: tensor<32x32xf32> {sdy.sharding = #sdy.sharding<@mesh, [{?}, {"model", ?}]>}, %arg2: tensor<32xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"data", ?}]>}, %arg3: tensor<20x4x16xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"data", ?}, {?}, {?}]>}) -> (tensor<f32> {jax.result_info = "result[0]"}, tensor<16x32xf32> {jax.result_info = "result[1][0]"}, tensor<32x32xf32> {jax.result_info = "result[1][1]"}, tensor<32xf32> {jax.result_info = "result[1][2]"}) {
    %cst = stablehlo.constant dense<0.000000e+00> : tensor<f32>
    %0 = stablehlo.broadcast_in_dim %cst, dims = [] : (tensor<f32>) -> tensor<4x32xf32>
    %1 = stablehlo.broadcast_in_dim %arg2, dims = [1] : (tensor<32xf32>) -> tensor<1x32xf32>
    %2 = stablehlo.reshape %arg3 : (tensor<20x4x16xf32>) -> tensor<5x4x4x16xf32>
    %cst_0 = stablehlo.constant dense<0.000000e+00> : tensor<f32>
    %3 = stablehlo.broadcast_in_dim %cst_0, dims = [] : (tensor<f32>) -> tensor<5x4x4x32xf32>
    %cst_1 = stablehlo.constant dense<0.000000e+00> : tensor<f32>
    %4 = stablehlo.broadcast_in_dim %cst_1, dims = [] : (tensor<f32>) -> tensor<5x4x4x32xf32>
    %c = stablehlo.constant dense<0> : tensor<i32>
    %5:8 = stablehlo.while(%iterArg = %2, %iterArg_9 = %arg0, %iterArg_10 = %arg1, %iterArg_11 = %1, %iterArg_12 = %c, %iterArg_13 = %0, %iterArg_14 = %3, %iterArg_15 = %4) : tensor<5x4x4x16xf32>, tensor<16x32xf32>, tensor<32x32xf32>, tensor<1x32xf32>, tensor<i32>, tensor<4x32xf32>, tensor<5x4x4x32xf32>, tensor<5x4x4x32xf32>
    cond {
      %c_16 = stablehlo.constant dense<5> : tensor<i32>
      %18 = stablehlo.compare LT, %iterArg_12, %c_16, SIGNED : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %18 : tensor<i1>
    } do {
      %18 = func.call @dynamic_index_in_dim(%iterArg, %iterArg_12) : (tensor<5x4x4x16xf32>, tensor<i32>) -> tensor<4x4x16xf32>
      %19 = stablehlo.slice %18 [0:1, 0:4, 0:16] : (tensor<4x4x16xf32>) -> tensor<1x4x16xf32>
      %20 = stablehlo.reshape %19 : (tensor<1x4x16xf32>) -> tensor<4x16xf32>
      %21:3 = func.call @closed_call(%iterArg_9, %iterArg_10, %iterArg_11, %iterArg_13, %20) : (tensor<16x32xf32>, tensor<32x32xf32>, tensor<1x32xf32>, tensor<4x32xf32>, tensor<4x16xf32>) -> (tensor<4x32xf32>, tensor<4x32xf32>, tensor<4x32xf32>)
      %22 = stablehlo.slice %18 [1:2, 0:4, 0:16] : (tensor<4x4x16xf32>) -> tensor<1x4x16xf32>
      %23 = stablehlo.reshape %22 : (tensor<1x4x16xf32>) -> tensor<4x16xf32>
      %24:3 = func.call @closed_call(%iterArg_9, %iterArg_10, %iterArg_11, %21#0, %23) : (tensor<16x32xf32>, tensor<32x32xf32>, tensor<1x32xf32>, tensor<4x32xf32>, tensor<4x16xf32>) -> (tensor<4x32xf32>, tensor<4x32xf32>, tensor<4x32xf32>)
      %25 = stablehlo.slice %18 [2:3, 0:4, 0:16] : (tensor<4x4x16xf32>) -> tensor<1x4x16xf32>
      %26 = stablehlo.reshape %25 : (tensor<1x4x16xf32>) -> tensor<4x16xf32>
      %27:3 = func.call @closed_call(%iterArg_9, %iterArg_10, %iterArg_11, %24#0, %26) : (tensor<16x32xf32>, tensor<32x32xf32>, tensor<1x32xf32>, tensor<4x32xf32>, tensor<4x16xf32>) -> (tensor<4x32xf32>, tensor<4x32xf32>, tensor<4x32xf32>)
      %28 = stablehlo.slice %18 [3:4, 0:4, 0:16] : (tensor<4x4x16xf32>) -> tensor<1x4x16xf32>
      %29 = stablehlo.reshape %28 : (tensor<1x4x16xf32>) -> tensor<4x16xf32>
      %30:3 = func.call @closed_call(%iterArg_9, %iterArg_10, %iterArg_11, %27#0, %29) : (tensor<16x32xf32>, tensor<32x32xf32>, tensor<1x32xf32>, tensor<4x32xf32>, tensor<4x16xf32>) -> (tensor<4x32xf32>, tensor<4x32xf32>, tensor<4x32xf32>)
      %31 = stablehlo.broadcast_in_dim %21#1, dims = [1, 2] : (tensor<4x32xf32>) -> tensor<1x4x32xf32>
      %32 = stablehlo.broadcast_in_dim %24#1, dims = [1, 2] : (tensor<4x32xf32>) -> tensor<1x4x32xf32>
      %33 = stablehlo.broadcast_in_dim %27#1, dims = [1, 2] : (tensor<4x32xf32>) -> tensor<1x4x32xf32>
      %34 = stablehlo.broadcast_in_dim %30#1, dims = [1, 2] : (tensor<4x32xf32>) -> tensor<1x4x32xf32>
      %35 = stablehlo.concatenate %31, %32, %33, %34, dim = 0 : (tensor<1x4x32xf32>, tensor<1x4x32xf32>, tensor<1x4x32xf32>, tensor<1x4x32xf32>) -> tensor<4x4x32xf32>
      %36 = stablehlo.broadcast_in_dim %21#2, dims = [1, 2] : (tensor<4x32xf32>) -> tensor<1x4x32xf32>
      %37 = stablehlo.broadcast_in_dim %24#2, dims = [1, 2] : (tensor<4x32xf32>) -> tensor<1x4x32xf32>
      %38 = stablehlo.broadcast_in_dim %27#2, dims = [1, 2] : (tensor<4x32xf32>) -> tensor<1x4x32xf32>
      %39 = stablehlo.broadcast_in_dim %30#2, dims = [1, 2] : (tensor<4x32xf32>) -> tensor<1x4x32xf32>
      %40 = stablehlo.concatenate %36, %37, %38, %39, dim = 0 : (tensor<1x4x32xf32>, tensor<1x4x32xf32>, tensor<1x4x32xf32>, tensor<1x4x32xf32>) -> tensor<4x4x32xf32>
      %41 = func.call @dynamic_update_index_in_dim(%iterArg_14, %35, %iterArg_12) : (tensor<5x4x4x32xf32>, tensor<4x4x32xf32>, tensor<i32>) -> tensor<5x4x4x32xf32>
      %42 = func.call @dynamic_update_index_in_dim(%iterArg_15, %40, %iterArg_12) : (tensor<5x4x4x32xf32>, tensor<4x4x32xf32>, tensor<i32>) -> tensor<5x4x4x32xf32>
      %c_16 = stablehlo.constant dense<1> : tensor<i32>
      %43 = stablehlo.add %iterArg_12, %c_16 : tensor<i32>
      stablehlo.return %iterArg, %iterArg_9, %iterArg_10, %iterArg_11, %43, %30#0, %41, %42 : tensor<5x4x4x16xf32>, tensor<16x32xf32>, tensor<32x32xf32>, tensor<1x32xf32>, tensor<i32>, tensor<4x32xf32>, tensor<5x4x4x32xf32>, tensor<5x4x4x32xf32>
    }
    %6 = stablehlo.reshape %5#6 : (tensor<5x4x4x32xf32>) -> tensor<20x4x32xf32>
    %7 = stablehlo.reshape %5#7 : (tensor<5x4x4x32xf32>) -> tensor<20x4x32xf32>
    %cst_2 = stablehlo.constant dense<0.000000e+00> : tensor<f32>
    %8 = stablehlo.reduce(%6 init: %cst_2) applies stablehlo.add across dimensions = [0, 1, 2] : (tensor<20x4x32xf32>, tensor<f32>) -> tensor<f32>
    %cst_3 = stablehlo.constant dense<1.000000e+00> : tensor<f32>
    %9 = stablehlo.broadcast_in_dim %cst_3, dims = [] : (tensor<f32>) -> tensor<20x4x32xf32>
    %cst_4 = stablehlo.constant dense<0.000000e+00> : tensor<f32>
    %10 = stablehlo.broadcast_in_dim %cst_4, dims = [] : (tensor<f32>) -> tensor<4x32xf32>
    %cst_5 = stablehlo.constant dense<0.000000e+00> : tensor<f32>
    %11 = stablehlo.broadcast_in_dim %cst_5, dims = [] : (tensor<f32>) -> tensor<16x32xf32>
    %cst_6 = stablehlo.constant dense<0.000000e+00> : tensor<f32>
    %12 = stablehlo.broadcast_in_dim %cst_6, dims = [] : (tensor<f32>) -> tensor<32x32xf32>
    %cst_7 = stablehlo.constant dense<0.000000e+00> : tensor<f32>
    %13 = stablehlo.broadcast_in_dim %cst_7, dims = [] : (tensor<f32>) -> tensor<32xf32>
    %14 = stablehlo.reshape %9 : (tensor<20x4x32xf32>) -> tensor<5x4x4x32xf32>
    %15 = stablehlo.reshape %7 : (tensor<20x4x32xf32>) -> tensor<5x4x4x32xf32>
    %16 = stablehlo.reshape %arg3 : (tensor<20x4x16xf32>) -> tensor<5x4x4x16xf32>
    %c_8 = stablehlo.constant dense<0> : tensor<i32>
    %17:11 = stablehlo.while(%iterArg = %14, %iterArg_9 = %15, %iterArg_10 = %16, %iterArg_11 = %arg0, %iterArg_12 = %arg1, %iterArg_13 = %arg2, %iterArg_14 = %c_8, %iterArg_15 = %11, %iterArg_16 = %12, %iterArg_17 = %13, %iterArg_18 = %10) : tensor<5x4x4x32xf32>, tensor<5x4x4x32xf32>, tensor<5x4x4x16xf32>, tensor<16x32xf32>, tensor<32x32xf32>, tensor<32xf32>, tensor<i32>, tensor<16x32xf32>, tensor<32x32xf32>, tensor<32xf32>, tensor<4x32xf32>
    cond {
      %c_19 = stablehlo.constant dense<5> : tensor<i32>
      %18 = stablehlo.compare LT, %iterArg_14, %c_19, SIGNED : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %18 : tensor<i1>
    } do {
      %c_19 = stablehlo.constant dense<5> : tensor<i32>
      %18 = stablehlo.subtract %c_19, %iterArg_14 : tensor<i32>
      %c_20 = stablehlo.constant dense<1> : tensor<i32>
      %19 = stablehlo.subtract %18, %c_20 : tensor<i32>
      %20 = func.call @dynamic_index_in_dim_0(%iterArg, %19) : (tensor<5x4x4x32xf32>, tensor<i32>) -> tensor<4x4x32xf32>
      %21 = func.call @dynamic_index_in_dim_0(%iterArg_9, %19) : (tensor<5x4x4x32xf32>, tensor<i32>) -> tensor<4x4x32xf32>
      %22 = func.call @dynamic_index_in_dim(%iterArg_10, %19) : (tensor<5x4x4x16xf32>, tensor<i32>) -> tensor<4x4x16xf32>
      %23 = stablehlo.slice %20 [3:4, 0:4, 0:32] : (tensor<4x4x32xf32>) -> tensor<1x4x32xf32>
      %24 = stablehlo.reshape %23 : (tensor<1x4x32xf32>) -> tensor<4x32xf32>
      %25 = stablehlo.slice %21 [3:4, 0:4, 0:32] : (tensor<4x4x32xf32>) -> tensor<1x4x32xf32>
      %26 = stablehlo.reshape %25 : (tensor<1x4x32xf32>) -> tensor<4x32xf32>
      %27 = stablehlo.slice %22 [3:4, 0:4, 0:16] : (tensor<4x4x16xf32>) -> tensor<1x4x16xf32>
      %28 = stablehlo.reshape %27 : (tensor<1x4x16xf32>) -> tensor<4x16xf32>
      %29:4 = func.call @closed_call_1(%iterArg_11, %iterArg_12, %iterArg_13, %iterArg_15, %iterArg_16, %iterArg_17, %iterArg_18, %24, %26, %28) : (tensor<16x32xf32>, tensor<32x32xf32>, tensor<32xf32>, tensor<16x32xf32>, tensor<32x32xf32>, tensor<32xf32>, tensor<4x32xf32>, tensor<4x32xf32>, tensor<4x32xf32>, tensor<4x16xf32>) -> (tensor<16x32xf32>, tensor<32x32xf32>, tensor<32xf32>, tensor<4x32xf32>)
      %30 = stablehlo.slice %20 [2:3, 0:4, 0:32] : (tensor<4x4x32xf32>) -> tensor<1x4x32xf32>
      %31 = stablehlo.reshape %30 : (tensor<1x4x32xf32>) -> tensor<4x32xf32>
      %32 = stablehlo.slice %21 [2:3, 0:4, 0:32] : (tensor<4x4x32xf32>) -> tensor<1x4x32xf32>
      %33 = stablehlo.reshape %32 : (tensor<1x4x32xf32>) -> tensor<4x32xf32>
      %34 = stablehlo.slice %22 [2:3, 0:4, 0:16] : (tensor<4x4x16xf32>) -> tensor<1x4x16xf32>
      %35 = stablehlo.reshape %34 : (tensor<1x4x16xf32>) -> tensor<4x16xf32>
      %36:4 = func.call @closed_call_1(%iterArg_11, %iterArg_12, %iterArg_13, %29#0, %29#1, %29#2, %29#3, %31, %33, %35) : (tensor<16x32xf32>, tensor<32x32xf32>, tensor<32xf32>, tensor<16x32xf32>, tensor<32x32xf32>, tensor<32xf32>, tensor<4x32xf32>, tensor<4x32xf32>, tensor<4x32xf32>, tensor<4x16xf32>) -> (tensor<16x32xf32>, tensor<32x32xf32>, tensor<32xf32>, tensor<4x32xf32>)
      %37 = stablehlo.slice %20 [1:2, 0:4, 0:32] : (tensor<4x4x32xf32>) -> tensor<1x4x32xf32>
      %38 = stablehlo.reshape %37 : (tensor<1x4x32xf32>) -> tensor<4x32xf32>
      %39 = stablehlo.slice %21 [1:2, 0:4, 0:32] : (tensor<4x4x32xf32>) -> tensor<1x4x32xf32>
      %40 = stablehlo.reshape %39 : (tensor<1x4x32xf32>) -> tensor<4x32xf32>
      %41 = stablehlo.slice %22 [1:2, 0:4, 0:16] : (tensor<4x4x16xf32>) -> tensor<1x4x16xf32>
      %42 = stablehlo.reshape %41 : (tensor<1x4x16xf32>) -> tensor<4x16xf32>
      %43:4 = func.call @closed_call_1(%iterArg_11, %iterArg_12, %iterArg_13, %36#0, %36#1, %36#2, %36#3, %38, %40, %42) : (tensor<16x32xf32>, tensor<32x32xf32>, tensor<32xf32>, tensor<16x32xf32>, tensor<32x32xf32>, tensor<32xf32>, tensor<4x32xf32>, tensor<4x32xf32>, tensor<4x32xf32>, tensor<4x16xf32>) -> (tensor<16x32xf32>, tensor<32x32xf32>, tensor<32xf32>, tensor<4x32xf32>)
      %44 = stablehlo.slice %20 [0:1, 0:4, 0:32] : (tensor<4x4x32xf32>) -> tensor<1x4x32xf32>
      %45 = stablehlo.reshape %44 : (tensor<1x4x32xf32>) -> tensor<4x32xf32>
      %46 = stablehlo.slice %21 [0:1, 0:4, 0:32] : (tensor<4x4x32xf32>) -> tensor<1x4x32xf32>
      %47 = stablehlo.reshape %46 : (tensor<1x4x32xf32>) -> tensor<4x32xf32>
      %48 = stablehlo.slice %22 [0:1, 0:4, 0:16] : (tensor<4x4x16xf32>) -> tensor<1x4x16xf32>
      %49 = stablehlo.reshape %48 : (tensor<1x4x16xf32>) -> tensor<4x16xf32>
      %50:4 = func.call @closed_call_1(%iterArg_11, %iterArg_12, %iterArg_13, %43#0, %43#1, %43#2, %43#3, %45, %47, %49) : (tensor<16x32xf32>, tensor<32x32xf32>, tensor<32xf32>, tensor<16x32xf32>, tensor<32x32xf32>, tensor<32xf32>, tensor<4x32xf32>, tensor<4x32xf32>, tensor<4x32xf32>, tensor<4x16xf32>) -> (tensor<16x32xf32>, tensor<32x32xf32>, tensor<32xf32>, tensor<4x32xf32>)
      %c_21 = stablehlo.constant dense<1> : tensor<i32>
      %51 = stablehlo.add %iterArg_14, %c_21 : tensor<i32>
      stablehlo.return %iterArg, %iterArg_9, %iterArg_10, %iterArg_11, %iterArg_12, %iterArg_13, %51, %50#0, %50#1, %50#2, %50#3 : tensor<5x4x4x32xf32>, tensor<5x4x4x32xf32>, tensor<5x4x4x16xf32>, tensor<16x32xf32>, tensor<32x32xf32>, tensor<32xf32>, tensor<i32>, tensor<16x32xf32>, tensor<32x32xf32>, tensor<32xf32>, tensor<4x32xf32>
    }
    return %8, %17#7, %17#8, %17#9 : tensor<f32>, tensor<16x32xf32>, tensor<32x32xf32>, tensor<32xf32>
  }
  func.func private @dynamic_index_in_dim(%arg0: tensor<5x4x4x16xf32>, %arg1: tensor<i32>) -> tensor<4x4x16xf32> {
    %c = stablehlo.constant dense<0> : tensor<i32>
    %c_0 = stablehlo.constant dense<0> : tensor<i32>
    %c_1 = stablehlo.constant dense<0> : tensor<i32>
    %0 = stablehlo.dynamic_slice %arg0, %arg1, %c, %c_0, %c_1, sizes = [1, 4, 4, 16] : (tensor<5x4x4x16xf32>, tensor<i32>, tensor<i32>, tensor<i32>, tensor<i32>) -> tensor<1x4x4x16xf32>
    %1 = stablehlo.reshape %0 : (tensor<1x4x4x16xf32>) -> tensor<4x4x16xf32>
    return %1 : tensor<4x4x16xf32>
  }
  func.func private @closed_call(%arg0: tensor<16x32xf32>, %arg1: tensor<32x32xf32>, %arg2: tensor<1x32xf32>, %arg3: tensor<4x32xf32>, %arg4: tensor<4x16xf32>) -> (tensor<4x32xf32>, tensor<4x32xf32>, tensor<4x32xf32>) {
    %0 = stablehlo.dot_general %arg4, %arg0, contracting_dims = [1] x [0], precision = [DEFAULT, DEFAULT] : (tensor<4x16xf32>, tensor<16x32xf32>) -> tensor<4x32xf32>
    %1 = stablehlo.dot_general %arg3, %arg1, contracting_dims = [1] x [0], precision = [DEFAULT, DEFAULT] : (tensor<4x32xf32>, tensor<32x32xf32>) -> tensor<4x32xf32>
    %2 = stablehlo.add %0, %1 : tensor<4x32xf32>
    %3 = stablehlo.broadcast_in_dim %arg2, dims = [0, 1] : (tensor<1x32xf32>) -> tensor<4x32xf32>
    %4 = stablehlo.add %2, %3 : tensor<4x32xf32>
    %5 = stablehlo.tanh %4 : tensor<4x32xf32>
    return %5, %5, %arg3 : tensor<4x32xf32>, tensor<4x32xf32>, tensor<4x32xf32>
  }
  func.func private @dynamic_update_index_in_dim(%arg0: tensor<5x4x4x32xf32>, %arg1: tensor<4x4x32xf32>, %arg2: tensor<i32>) -> tensor<5x4x4x32xf32> {
    %0 = stablehlo.broadcast_in_dim %arg1, dims = [1, 2, 3] : (tensor<4x4x32xf32>) -> tensor<1x4x4x32xf32>
    %c = stablehlo.constant dense<0> : tensor<i32>
    %c_0 = stablehlo.constant dense<0> : tensor<i32>
    %c_1 = stablehlo.constant dense<0> : tensor<i32>
    %1 = stablehlo.dynamic_update_slice %arg0, %0, %arg2, %c, %c_0, %c_1 : (tensor<5x4x4x32xf32>, tensor<1x4x4x32xf32>, tensor<i32>, tensor<i32>, tensor<i32>, tensor<i32>) -> tensor<5x4x4x32xf32>
    return %1 : tensor<5x4x4x32xf32>
  }
  func.func private @dynamic_index_in_dim_0(%arg0: tensor<5x4x4x32xf32>, %arg1: tensor<i32>) -> tensor<4x4x32xf32> {
    %c = stablehlo.constant dense<0> : tensor<i32>
    %c_0 = stablehlo.constant dense<0> : tensor<i32>
    %c_1 = stablehlo.constant dense<0> : tensor<i32>
    %0 = stablehlo.dynamic_slice %arg0, %arg1, %c, %c_0, %c_1, sizes = [1, 4, 4, 32] : (tensor<5x4x4x32xf32>, tensor<i32>, tensor<i32>, tensor<i32>, tensor<i32>) -> tensor<1x4x4x32xf32>
    %1 = stablehlo.reshape %0 : (tensor<1x4x4x32xf32>) -> tensor<4x4x32xf32>
    return %1 : tensor<4x4x32xf32>
  }
  func.func private @closed_call_1(%arg0: tensor<16x32xf32>, %arg1: tensor<32x32xf32>, %arg2: tensor<32xf32>, %arg3: tensor<16x32xf32>, %arg4: tensor<32x32xf32>, %arg5: tensor<32xf32>, %arg6: tensor<4x32xf32>, %arg7: tensor<4x32xf32>, %arg8: tensor<4x32xf32>, %arg9: tensor<4x16xf32>) -> (tensor<16x32xf32>, tensor<32x32xf32>, tensor<32xf32>, tensor<4x32xf32>) {
    %0:7 = stablehlo.optimization_barrier %arg0, %arg1, %arg2, %arg8, %arg9, %arg6, %arg7 : tensor<16x32xf32>, tensor<32x32xf32>, tensor<32xf32>, tensor<4x32xf32>, tensor<4x16xf32>, tensor<4x32xf32>, tensor<4x32xf32>
    %1 = stablehlo.dot_general %0#4, %0#0, contracting_dims = [1] x [0], precision = [DEFAULT, DEFAULT] : (tensor<4x16xf32>, tensor<16x32xf32>) -> tensor<4x32xf32>
    %2 = stablehlo.dot_general %0#3, %0#1, contracting_dims = [1] x [0], precision = [DEFAULT, DEFAULT] : (tensor<4x32xf32>, tensor<32x32xf32>) -> tensor<4x32xf32>
    %3 = stablehlo.add %1, %2 : tensor<4x32xf32>
    %4 = stablehlo.broadcast_in_dim %0#2, dims = [1] : (tensor<32xf32>) -> tensor<1x32xf32>
    %5 = stablehlo.broadcast_in_dim %4, dims = [0, 1] : (tensor<1x32xf32>) -> tensor<4x32xf32>
    %6 = stablehlo.add %3, %5 : tensor<4x32xf32>
    %7 = stablehlo.tanh %6 : tensor<4x32xf32>
    %cst = stablehlo.constant dense<1.000000e+00> : tensor<f32>
    %8 = stablehlo.broadcast_in_dim %cst, dims = [] : (tensor<f32>) -> tensor<4x32xf32>
    %9 = stablehlo.subtract %8, %7 : tensor<4x32xf32>
    %10 = stablehlo.add %0#5, %0#6 : tensor<4x32xf32>
    %11 = stablehlo.multiply %10, %9 : tensor<4x32xf32>
    %12 = stablehlo.multiply %11, %7 : tensor<4x32xf32>
    %13 = stablehlo.add %11, %12 : tensor<4x32xf32>
    %cst_0 = stablehlo.constant dense<0.000000e+00> : tensor<f32>
    %14 = stablehlo.reduce(%13 init: %cst_0) applies stablehlo.add across dimensions = [0] : (tensor<4x32xf32>, tensor<f32>) -> tensor<32xf32>
    %15 = stablehlo.reshape %14 : (tensor<32xf32>) -> tensor<1x32xf32>
    %cst_1 = stablehlo.constant dense<0.000000e+00> : tensor<f32>
    %16 = stablehlo.reduce(%15 init: %cst_1) applies stablehlo.add across dimensions = [0] : (tensor<1x32xf32>, tensor<f32>) -> tensor<32xf32>
    %17 = stablehlo.dot_general %13, %0#3, contracting_dims = [0] x [0], precision = [DEFAULT, DEFAULT] : (tensor<4x32xf32>, tensor<4x32xf32>) -> tensor<32x32xf32>
    %18 = stablehlo.transpose %17, dims = [1, 0] : (tensor<32x32xf32>) -> tensor<32x32xf32>
    %19 = stablehlo.dot_general %13, %0#1, contracting_dims = [1] x [1], precision = [DEFAULT, DEFAULT] : (tensor<4x32xf32>, tensor<32x32xf32>) -> tensor<4x32xf32>
    %20 = stablehlo.dot_general %13, %0#4, contracting_dims = [0] x [0], precision = [DEFAULT, DEFAULT] : (tensor<4x32xf32>, tensor<4x16xf32>) -> tensor<32x16xf32>
    %21 = stablehlo.transpose %20, dims = [1, 0] : (tensor<32x16xf32>) -> tensor<16x32xf32>
    %22 = stablehlo.add %arg3, %21 : tensor<16x32xf32>
    %23 = stablehlo.add %arg4, %18 : tensor<32x32xf32>
    %24 = stablehlo.add %arg5, %16 : tensor<32xf32>
    return %22, %23, %24, %19 : tensor<16x32xf32>, tensor<32x32xf32>, tensor<32xf32>, tensor<4x32xf32>
  }
}
