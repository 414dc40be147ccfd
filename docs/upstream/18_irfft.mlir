// Five real numbers from the spectrum (1, 0, i).
func.func @main() -> tensor<5xf64> {
  %a = stablehlo.constant dense<[(1.0, 0.0), (0.0, 0.0), (0.0, 1.0)]> : tensor<3xcomplex<f64>>
  %0 = stablehlo.fft %a, type = IRFFT, length = [5] : (tensor<3xcomplex<f64>>) -> tensor<5xf64>
  return %0 : tensor<5xf64>
}
