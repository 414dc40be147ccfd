module @jit__lambda attributes {mhlo.num_partitions = 1 : i32, mhlo.num_replicas = 1 : i32} {
  func.func public @main(%arg0: tensor<4x8x8xf32>, %arg1: tensor<5x4x8xf32>) -> (tensor<4x8x8xf32> {jax.result_info = "result[0]"}, tensor<5x4x8xf32> {jax.result_info = "result[1]"}) {
    %0 = stablehlo.slice %arg0 [0:1, 0:8, 0:8] : (tensor<4x8x8xf32>) -> tensor<1x8x8xf32>
    %1 = stablehlo.reshape %0 : (tensor<1x8x8xf32>) -> tensor<8x8xf32>
    %2 = stablehlo.dot_general %arg1, %1, contracting_dims = [2] x [0], precision = [DEFAULT, DEFAULT] : (tensor<5x4x8xf32>, tensor<8x8xf32>) -> tensor<5x4x8xf32>
    %3 = call @relu(%2) : (tensor<5x4x8xf32>) -> tensor<5x4x8xf32>
    %cst = stablehlo.constant dense<0.000000e+00> : tensor<f32>
    %4 = stablehlo.broadcast_in_dim %cst, dims = [] : (tensor<f32>) -> tensor<5x4x8xf32>
    %5 = stablehlo.compare GT, %2, %4, FLOAT : (tensor<5x4x8xf32>, tensor<5x4x8xf32>) -> tensor<5x4x8xi1>
    %6 = stablehlo.slice %arg0 [1:2, 0:8, 0:8] : (tensor<4x8x8xf32>) -> tensor<1x8x8xf32>
    %7 = stablehlo.reshape %6 : (tensor<1x8x8xf32>) -> tensor<8x8xf32>
    %8 = stablehlo.dot_general %3, %7, contracting_dims = [2] x [0], precision = [DEFAULT, DEFAULT] : (tensor<5x4x8xf32>, tensor<8x8xf32>) -> tensor<5x4x8xf32>
    %9 = call @relu(%8) : (tensor<5x4x8xf32>) -> tensor<5x4x8xf32>
    %cst_0 = stablehlo.constant dense<0.000000e+00> : tensor<f32>
    %10 = stablehlo.broadcast_in_dim %cst_0, dims = [] : (tensor<f32>) -> tensor<5x4x8xf32>
    %11 = stablehlo.compare GT, %8, %10, FLOAT : (tensor<5x4x8xf32>, tensor<5x4x8xf32>) -> tensor<5x4x8xi1>
    %12 = stablehlo.slice %arg0 [2:3, 0:8, 0:8] : (tensor<4x8x8xf32>) -> tensor<1x8x8xf32>
    %13 = stablehlo.reshape %12 : (tensor<1x8x8xf32>) -> tensor<8x8xf32>
    %14 = stablehlo.dot_general %9, %13, contracting_dims = [2] x [0], precision = [DEFAULT, DEFAULT] : (tensor<5x4x8xf32>, tensor<8x8xf32>) -> tensor<5x4x8xf32>
    %15 = call @relu(%14) : (tensor<5x4x8xf32>) -> tensor<5x4x8xf32>
    %cst_1 = stablehlo.constant dense<0.000000e+00> : tensor<f32>
    %16 = stablehlo.broadcast_in_dim %cst_1, dims = [] : (tensor<f32>) -> tensor<5x4x8xf32>
    %17 = stablehlo.compare GT, %14, %16, FLOAT : (tensor<5x4x8xf32>, tensor<5x4x8xf32>) -> tensor<5x4x8xi1>
    %18 = stablehlo.slice %arg0 [3:4, 0:8, 0:8] : (tensor<4x8x8xf32>) -> tensor<1x8x8xf32>
    %19 = stablehlo.reshape %18 : (tensor<1x8x8xf32>) -> tensor<8x8xf32>
    %20 = stablehlo.dot_general %15, %19, contracting_dims = [2] x [0], precision = [DEFAULT, DEFAULT] : (tensor<5x4x8xf32>, tensor<8x8xf32>) -> tensor<5x4x8xf32>
    %cst_2 = stablehlo.constant dense<0.000000e+00> : tensor<f32>
    %21 = stablehlo.broadcast_in_dim %cst_2, dims = [] : (tensor<f32>) -> tensor<5x4x8xf32>
    %22 = stablehlo.compare GT, %20, %21, FLOAT : (tensor<5x4x8xf32>, tensor<5x4x8xf32>) -> tensor<5x4x8xi1>
    %cst_3 = stablehlo.constant dense<1.000000e+00> : tensor<f32>
    %23 = stablehlo.broadcast_in_dim %cst_3, dims = [] : (tensor<f32>) -> tensor<5x4x8xf32>
    %cst_4 = stablehlo.constant dense<0.000000e+00> : tensor<f32>
    %24 = stablehlo.broadcast_in_dim %cst_4, dims = [] : (tensor<f32>) -> tensor<5x4x8xf32>
    %25 = stablehlo.select %22, %23, %24 : tensor<5x4x8xi1>, tensor<5x4x8xf32>
    %26 = stablehlo.dot_general %25, %15, contracting_dims = [0, 1] x [0, 1], precision = [DEFAULT, DEFAULT] : (tensor<5x4x8xf32>, tensor<5x4x8xf32>) -> tensor<8x8xf32>
    %27 = stablehlo.transpose %26, dims = [1, 0] : (tensor<8x8xf32>) -> tensor<8x8xf32>
    %28 = stablehlo.dot_general %25, %19, contracting_dims = [2] x [1], precision = [DEFAULT, DEFAULT] : (tensor<5x4x8xf32>, tensor<8x8xf32>) -> tensor<5x4x8xf32>
    %29 = stablehlo.broadcast_in_dim %27, dims = [1, 2] : (tensor<8x8xf32>) -> tensor<1x8x8xf32>
    %cst_5 = stablehlo.constant dense<0.000000e+00> : tensor<f32>
    %30 = stablehlo.pad %29, %cst_5, low = [3, 0, 0], high = [0, 0, 0], interior = [0, 0, 0] : (tensor<1x8x8xf32>, tensor<f32>) -> tensor<4x8x8xf32>
    %cst_6 = stablehlo.constant dense<0.000000e+00> : tensor<f32>
    %31 = stablehlo.broadcast_in_dim %cst_6, dims = [] : (tensor<f32>) -> tensor<5x4x8xf32>
    %32 = stablehlo.select %17, %28, %31 : tensor<5x4x8xi1>, tensor<5x4x8xf32>
    %33 = stablehlo.dot_general %32, %9, contracting_dims = [0, 1] x [0, 1], precision = [DEFAULT, DEFAULT] : (tensor<5x4x8xf32>, tensor<5x4x8xf32>) -> tensor<8x8xf32>
    %34 = stablehlo.transpose %33, dims = [1, 0] : (tensor<8x8xf32>) -> tensor<8x8xf32>
    %35 = stablehlo.dot_general %32, %13, contracting_dims = [2] x [1], precision = [DEFAULT, DEFAULT] : (tensor<5x4x8xf32>, tensor<8x8xf32>) -> tensor<5x4x8xf32>
    %36 = stablehlo.broadcast_in_dim %34, dims = [1, 2] : (tensor<8x8xf32>) -> tensor<1x8x8xf32>
    %cst_7 = stablehlo.constant dense<0.000000e+00> : tensor<f32>
    %37 = stablehlo.pad %36, %cst_7, low = [2, 0, 0], high = [1, 0, 0], interior = [0, 0, 0] : (tensor<1x8x8xf32>, tensor<f32>) -> tensor<4x8x8xf32>
    %38 = stablehlo.add %30, %37 : tensor<4x8x8xf32>
    %cst_8 = stablehlo.constant dense<0.000000e+00> : tensor<f32>
    %39 = stablehlo.broadcast_in_dim %cst_8, dims = [] : (tensor<f32>) -> tensor<5x4x8xf32>
    %40 = stablehlo.select %11, %35, %39 : tensor<5x4x8xi1>, tensor<5x4x8xf32>
    %41 = stablehlo.dot_general %40, %3, contracting_dims = [0, 1] x [0, 1], precision = [DEFAULT, DEFAULT] : (tensor<5x4x8xf32>, tensor<5x4x8xf32>) -> tensor<8x8xf32>
    %42 = stablehlo.transpose %41, dims = [1, 0] : (tensor<8x8xf32>) -> tensor<8x8xf32>
    %43 = stablehlo.dot_general %40, %7, contracting_dims = [2] x [1], precision = [DEFAULT, DEFAULT] : (tensor<5x4x8xf32>, tensor<8x8xf32>) -> tensor<5x4x8xf32>
    %44 = stablehlo.broadcast_in_dim %42, dims = [1, 2] : (tensor<8x8xf32>) -> tensor<1x8x8xf32>
    %cst_9 = stablehlo.constant dense<0.000000e+00> : tensor<f32>
    %45 = stablehlo.pad %44, %cst_9, low = [1, 0, 0], high = [2, 0, 0], interior = [0, 0, 0] : (tensor<1x8x8xf32>, tensor<f32>) -> tensor<4x8x8xf32>
    %46 = stablehlo.add %38, %45 : tensor<4x8x8xf32>
    %cst_10 = stablehlo.constant dense<0.000000e+00> : tensor<f32>
    %47 = stablehlo.broadcast_in_dim %cst_10, dims = [] : (tensor<f32>) -> tensor<5x4x8xf32>
    %48 = stablehlo.select %5, %43, %47 : tensor<5x4x8xi1>, tensor<5x4x8xf32>
    %49 = stablehlo.dot_general %48, %arg1, contracting_dims = [0, 1] x [0, 1], precision = [DEFAULT, DEFAULT] : (tensor<5x4x8xf32>, tensor<5x4x8xf32>) -> tensor<8x8xf32>
    %50 = stablehlo.transpose %49, dims = [1, 0] : (tensor<8x8xf32>) -> tensor<8x8xf32>
    %51 = stablehlo.dot_general %48, %1, contracting_dims = [2] x [1], precision = [DEFAULT, DEFAULT] : (tensor<5x4x8xf32>, tensor<8x8xf32>) -> tensor<5x4x8xf32>
    %52 = stablehlo.broadcast_in_dim %50, dims = [1, 2] : (tensor<8x8xf32>) -> tensor<1x8x8xf32>
    %cst_11 = stablehlo.constant dense<0.000000e+00> : tensor<f32>
    %53 = stablehlo.pad %52, %cst_11, low = [0, 0, 0], high = [3, 0, 0], interior = [0, 0, 0] : (tensor<1x8x8xf32>, tensor<f32>) -> tensor<4x8x8xf32>
    %54 = stablehlo.add %46, %53 : tensor<4x8x8xf32>
    return %54, %51 : tensor<4x8x8xf32>, tensor<5x4x8xf32>
  }
  func.func private @relu(%arg0: tensor<5x4x8xf32>) -> tensor<5x4x8xf32> {
    %cst = stablehlo.constant dense<0.000000e+00> : tensor<f32>
    %0 = stablehlo.broadcast_in_dim %cst, dims = [] : (tensor<f32>) -> tensor<5x4x8xf32>
    %1 = stablehlo.maximum %arg0, %0 : tensor<5x4x8xf32>
    return %1 : tensor<5x4x8xf32>
  }
}
