// RUN: shlo-opt %s --import-shardings --split-input-file --mlir-print-local-scope | filecheck %s

// Shardy's strings: priorities, open dimensions, sub-axes, replicated and unreduced axes; other attributes stay.
// CHECK-LABEL: module @strings attributes {mhlo.frontend_attributes = {other = "stays"}}
// CHECK-NEXT: sdy.mesh @empty_mesh = <[]>
// CHECK-NEXT: sdy.mesh @mesh = <["a"=2, "b"=4]>
// CHECK-NEXT: sdy.mesh @one = <[], device_ids=[5]>
// CHECK-NEXT: sdy.mesh @other_order = <["a"=2, "b"=2], device_ids=[0, 2, 1, 3]>
module @strings attributes {mhlo.frontend_attributes = {other = "stays", xla.sdy.meshes =
    "{mesh = #sdy.mesh<[\22a\22=2, \22b\22=4]>, empty_mesh = #sdy.mesh<[]>, one = #sdy.mesh<[], device_ids=[5]>, other_order = #sdy.mesh<[\22a\22=2, \22b\22=2], device_ids=[0, 2, 1, 3]>}"}} {
  // CHECK: func.func @main(
  // CHECK-SAME: %arg0: tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"a"}p1, {"b":(1)2, ?}], replicated={"b":(2)2}>}
  // CHECK-SAME: %arg1: tensor<8x8xf32> {mhlo.frontend_attributes = {name = "w"}, sdy.sharding = #sdy.sharding<@mesh, [{}, {?}p2], unreduced={"b"}>}
  // CHECK-SAME: %arg2: tensor<f32> {sdy.sharding = #sdy.sharding<@empty_mesh, []>}
  // CHECK-SAME: %arg3: tensor<4xf32> {sdy.sharding = #sdy.sharding<@one, []>}
  // CHECK-SAME: %arg4: tensor<4xf32> {sdy.sharding = #sdy.sharding<@other_order, [{"b", "a"}]>}
  // CHECK-SAME: -> (tensor<8x8xf32> {jax.result_info = "r", sdy.sharding = #sdy.sharding<@mesh, [{"b"}, {}]>})
  func.func @main(
      %arg0: tensor<8x8xf32> {mhlo.frontend_attributes = {xla.sdy.sharding = "#sdy.sharding<@mesh, [{\22a\22}p1, {\22b\22:(1)2, ?}], replicated={\22b\22:(2)2}>"}},
      %arg1: tensor<8x8xf32> {mhlo.frontend_attributes = {name = "w", xla.sdy.sharding = "#sdy.sharding<@mesh, [{}, {?}p2], unreduced={\22b\22}>", xla.sdy.has_unreduced_axes = "true"}},
      %arg2: tensor<f32> {mhlo.frontend_attributes = {xla.sdy.sharding = "#sdy.sharding<@empty_mesh, []>"}},
      %arg3: tensor<4xf32> {mhlo.frontend_attributes = {xla.sdy.sharding = "#sdy.sharding<@one, []>"}},
      %arg4: tensor<4xf32> {mhlo.frontend_attributes = {xla.sdy.sharding = "#sdy.sharding<@other_order, [{\22b\22, \22a\22}]>"}})
      -> (tensor<8x8xf32> {jax.result_info = "r", mhlo.frontend_attributes = {xla.sdy.sharding = "#sdy.sharding<@mesh, [{\22b\22}, {}]>"}}) {
    // CHECK-NEXT: %0 = stablehlo.add %arg0, %arg1 {sdy.sharding = #sdy.sharding_per_value<[<@mesh, [{"a"}, {}]>]>}
    %0 = stablehlo.add %arg0, %arg1 {mhlo.frontend_attributes = {xla.sdy.sharding = "#sdy.sharding_per_value<[<@mesh, [{\22a\22}, {}]>]>"}} : tensor<8x8xf32>
    // A string that was escaped once more.
    // CHECK-NEXT: %1 = stablehlo.tanh %0 {sdy.sharding = #sdy.sharding_per_value<[<@mesh, [{"b"}, {}]>]>}
    %1 = stablehlo.tanh %0 {mhlo.frontend_attributes = {xla.sdy.sharding = "#sdy.sharding_per_value<[<@mesh, [{\\22b\\22}, {}]>]>"}} : tensor<8x8xf32>
    // CHECK-NEXT: stablehlo.custom_call @unknown(%1)
    // CHECK-SAME: sdy.sharding_rule = #sdy.op_sharding_rule<([i, j])->([i, j]) {i=8, j=8}, custom>
    %2 = stablehlo.custom_call @unknown(%1) {mhlo.frontend_attributes = {xla.sdy.sharding_rule = "#sdy.op_sharding_rule<([i, j])->([i, j]) {i=8, j=8}, custom>"}} : (tensor<8x8xf32>) -> tensor<8x8xf32>
    // Shardy's string overrules what the exporter derived from it.
    // CHECK-NEXT: %3 = sdy.sharding_constraint %2 <@mesh, [{"a"}, {?}]> : tensor<8x8xf32>
    %3 = stablehlo.custom_call @Sharding(%2) {mhlo.sharding = "{devices=[2,1,4]<=[8] last_tile_dim_replicate}", mhlo.frontend_attributes = {xla.sdy.sharding = "#sdy.sharding_per_value<[<@mesh, [{\22a\22}, {?}]>]>"}} : (tensor<8x8xf32>) -> tensor<8x8xf32>
    return %3 : tensor<8x8xf32>
  }
}

// -----

// What an exporter derived is not even looked at, here a tile assignment of another rank.
// CHECK: func.func @derived(%arg0: tensor<1x8x16xf32> {sdy.sharding = #sdy.sharding<@mesh, [{}, {"x"}, {}]>})
sdy.mesh @mesh = <["x"=2]>
func.func @derived(%arg0: tensor<1x8x16xf32> {mhlo.frontend_attributes = {xla.sdy.sharding = "#sdy.sharding<@mesh, [{}, {\22x\22}, {}]>"}, mhlo.sharding = "{devices=[1,2]<=[2]}"}) {
  return
}

// -----

// A mesh inside a sharding becomes one of the module; equal ones become one, and the devices' own order goes without ids.
// CHECK: sdy.mesh @mesh = <["x"=4]>
// CHECK-NEXT: sdy.mesh @maximal_mesh_3 = <[], device_ids=[3]>
// CHECK: func.func @inlined(
// CHECK-SAME: %arg0: tensor<8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}]>}
// CHECK-SAME: %arg1: tensor<8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{?}]>}
// CHECK-SAME: %arg2: tensor<8xf32> {sdy.sharding = #sdy.sharding<@maximal_mesh_3, []>}
func.func @inlined(
    %arg0: tensor<8xf32> {mhlo.frontend_attributes = {xla.sdy.sharding = "#sdy.sharding<mesh<[\22x\22=4]>, [{\22x\22}]>"}},
    %arg1: tensor<8xf32> {mhlo.frontend_attributes = {xla.sdy.sharding = "#sdy.sharding<mesh<[\22x\22=4], device_ids=[0, 1, 2, 3]>, [{?}]>"}},
    %arg2: tensor<8xf32> {mhlo.frontend_attributes = {xla.sdy.sharding = "#sdy.sharding<mesh<[], device_ids=[3]>, []>"}}) {
  return
}

// -----

// @xla.sdy.FuncResultSharding moves to every result that its value is; elsewhere it is an open constraint.
// CHECK: func.func @results(%arg0: tensor<8xf32>) ->
// CHECK-SAME: (tensor<8xf32> {sdy.sharding = #sdy.sharding<@m, [{"x"}p1]>},
// CHECK-SAME: tensor<8xf32> {sdy.sharding = #sdy.sharding<@m, [{"x"}p1]>},
// CHECK-SAME: tensor<8xf32> {sdy.sharding = #sdy.sharding<@m, [{}]>}, tensor<8xf32>) {
// CHECK-NEXT: %[[C:.*]] = sdy.sharding_constraint %arg0 <@m, [{?}]> : tensor<8xf32>
// CHECK-NEXT: %[[T:.*]] = stablehlo.tanh %[[C]]
// CHECK-NEXT: return %arg0, %arg0, %[[C]], %[[T]]
sdy.mesh @m = <["x"=2]>
func.func @results(%arg0: tensor<8xf32>) -> (tensor<8xf32>, tensor<8xf32> {mhlo.sharding = "{replicated}"}, tensor<8xf32>, tensor<8xf32>) {
  %0 = stablehlo.custom_call @xla.sdy.FuncResultSharding(%arg0) {has_side_effect = true, mhlo.frontend_attributes = {xla.sdy.sharding = "#sdy.sharding_per_value<[<@m, [{\22x\22}p1]>]>"}} : (tensor<8xf32>) -> tensor<8xf32>
  %1 = stablehlo.custom_call @xla.sdy.FuncResultSharding(%arg0) {mhlo.frontend_attributes = {xla.sdy.sharding = "#sdy.sharding_per_value<[<@m, [{}]>]>"}} : (tensor<8xf32>) -> tensor<8xf32>
  %2 = stablehlo.tanh %1 : tensor<8xf32>
  return %0, %0, %1, %2 : tensor<8xf32>, tensor<8xf32>, tensor<8xf32>, tensor<8xf32>
}

// -----

// Groups, barriers, and tt-xla's constraints, which count the axes of the mesh.
// CHECK: func.func @marks
// CHECK-NEXT: sdy.sharding_group %arg0 group_id=21 : tensor<8xf32>
// CHECK-NEXT: %[[B:.*]] = sdy.propagation_barrier %arg0 allowed_direction=BACKWARD : tensor<8xf32>
// CHECK-NEXT: %[[C:.*]] = sdy.sharding_constraint %[[B]] <@mesh, [{"k", "a"}]> : tensor<8xf32>
// CHECK-NEXT: return %[[C]]
module attributes {mhlo.frontend_attributes = {xla.sdy.meshes =
    "{mesh = #sdy.mesh<[\22a\22=2, \22b\22=1, \22c\22=1, \22d\22=1, \22e\22=1, \22f\22=1, \22g\22=1, \22h\22=1, \22i\22=1, \22j\22=1, \22k\22=2]>}"}} {
  func.func @marks(%arg0: tensor<8xf32>) -> tensor<8xf32> {
    %0 = stablehlo.custom_call @xla.sdy.ShardingGroup(%arg0) {has_side_effect = true, mhlo.frontend_attributes = {xla.sdy.sharding_group_id = "21 : i64"}} : (tensor<8xf32>) -> tuple<>
    %1 = stablehlo.custom_call @xla.sdy.PropagationBarrier(%arg0) {mhlo.frontend_attributes = {xla.sdy.allowed_direction = "2 : i32"}} : (tensor<8xf32>) -> tensor<8xf32>
    %2 = stablehlo.custom_call @tt.sharding_constraint(%1) {api_version = 0 : i32, mhlo.frontend_attributes = {xla.sdy.sharding = "#sdy.sharding_per_value<[<@mesh, [{\22mesh_idx_10\22, \22mesh_idx_0\22}]>]>"}} : (tensor<8xf32>) -> tensor<8xf32>
    return %2 : tensor<8xf32>
  }
}

// -----

// Manual code as Shardy exports it; here with two operands, two results and a body of its own, which goes into it.
// CHECK: func.func @manual
// CHECK-NEXT: %[[R:.*]]:2 = sdy.manual_computation(%arg0, %arg1)
// CHECK-SAME: in_shardings=[<@m, [{"a"}, {"b"}]>, <@m, [{}, {"b"}], replicated={"a"}>]
// CHECK-SAME: out_shardings=[<@m, [{"a"}, {}]>, <@m, [{}, {"b"}]>] manual_axes={"a", "b"}
// CHECK-SAME: (%arg2: tensor<4x2xf32>, %arg3: tensor<8x2xf32>) {
// CHECK-NEXT: %[[N:.*]] = stablehlo.negate %arg2
// CHECK-NEXT: %[[S:.*]] = stablehlo.slice %arg3
// CHECK-NEXT: %[[J:.*]] = stablehlo.concatenate
// CHECK-NEXT: sdy.return %[[J]], %arg3
// CHECK: return %[[R]]#0, %[[R]]#1
// CHECK-NOT: @xla.sdy
sdy.mesh @m = <["a"=2, "b"=4]>
func.func @manual(%arg0: tensor<8x8xf32>, %arg1: tensor<8x8xf32>) -> (tensor<8x4xf32>, tensor<8x8xf32>) {
  %0:2 = stablehlo.custom_call @xla.sdy.GlobalToLocalShape(%arg0, %arg1) {has_side_effect = true, mhlo.frontend_attributes = {xla.sdy.in_shardings = "#sdy.sharding_per_value<[<@m, [{\22a\22}, {\22b\22}]>, <@m, [{}, {\22b\22}], replicated={\22a\22}>]>", xla.sdy.manual_axes = "#sdy<manual_axes{\22a\22, \22b\22}>"}} : (tensor<8x8xf32>, tensor<8x8xf32>) -> (tensor<4x2xf32>, tensor<8x2xf32>)
  %1:2 = call @xla.sdy.manual_computation_body(%0#0, %0#1) : (tensor<4x2xf32>, tensor<8x2xf32>) -> (tensor<4x4xf32>, tensor<8x2xf32>)
  %2:2 = stablehlo.custom_call @xla.sdy.LocalToGlobalShape(%1#0, %1#1) {mhlo.frontend_attributes = {xla.sdy.out_shardings = "#sdy.sharding_per_value<[<@m, [{\22a\22}, {}]>, <@m, [{}, {\22b\22}]>]>", xla.sdy.manual_axes = "#sdy<manual_axes{\22a\22, \22b\22}>"}} : (tensor<4x4xf32>, tensor<8x2xf32>) -> (tensor<8x4xf32>, tensor<8x8xf32>)
  return %2#0, %2#1 : tensor<8x4xf32>, tensor<8x8xf32>
}
func.func @xla.sdy.manual_computation_body(%arg0: tensor<4x2xf32>, %arg1: tensor<8x2xf32>) -> (tensor<4x4xf32>, tensor<8x2xf32>) {
  %0 = stablehlo.negate %arg0 : tensor<4x2xf32>
  %1 = stablehlo.slice %arg1 [0:4, 0:2] : (tensor<8x2xf32>) -> tensor<4x2xf32>
  %2 = stablehlo.concatenate %0, %1, dim = 1 : (tensor<4x2xf32>, tensor<4x2xf32>) -> tensor<4x4xf32>
  return %2, %arg1 : tensor<4x4xf32>, tensor<8x2xf32>
}

// -----

// Older exports say all of it on the call. Without operands there is no entry, without results no exit.
// CHECK: func.func @older(%arg0: tensor<8xf32>)
// CHECK-NEXT: %[[A:.*]] = sdy.manual_computation(%arg0) in_shardings=[<@m, [{"a"}]>] out_shardings=[<@m, [{"a"}]>] manual_axes={"a"} (%arg1: tensor<4xf32>) {
// CHECK-NEXT: %[[N:.*]] = stablehlo.negate %arg1
// CHECK-NEXT: sdy.return %[[N]]
// CHECK: %[[B:.*]] = sdy.manual_computation() in_shardings=[] out_shardings=[<@m, [{"a"}]>] manual_axes={"a"} () {
// CHECK-NEXT: %[[C:.*]] = stablehlo.constant
// CHECK-NEXT: sdy.return %[[C]]
// CHECK: sdy.manual_computation(%[[A]]) in_shardings=[<@m, [{"a"}]>] out_shardings=[] manual_axes={"a"} (%arg1: tensor<4xf32>) {
// CHECK-NEXT: stablehlo.custom_call @io(%arg1)
// CHECK-NEXT: sdy.return
// CHECK: return %[[B]]
sdy.mesh @m = <["a"=2, "b"=4]>
func.func @older(%arg0: tensor<8xf32>) -> tensor<8xf32> {
  %0 = stablehlo.custom_call @xla.sdy.GlobalToLocalShape(%arg0) : (tensor<8xf32>) -> tensor<4xf32>
  %1 = call @xla.sdy.manual_computation_body(%0) {mhlo.frontend_attributes = {xla.sdy.in_shardings = "#sdy.sharding_per_value<[<@m, [{\22a\22}]>]>", xla.sdy.out_shardings = "#sdy.sharding_per_value<[<@m, [{\22a\22}]>]>", xla.sdy.manual_axes = "#sdy<manual_axes{\22a\22}>"}} : (tensor<4xf32>) -> tensor<4xf32>
  %2 = stablehlo.custom_call @xla.sdy.LocalToGlobalShape(%1) : (tensor<4xf32>) -> tensor<8xf32>
  %3 = call @xla.sdy.manual_computation_body_0() : () -> tensor<4xf32>
  %4 = stablehlo.custom_call @xla.sdy.LocalToGlobalShape(%3) {mhlo.frontend_attributes = {xla.sdy.out_shardings = "#sdy.sharding_per_value<[<@m, [{\22a\22}]>]>", xla.sdy.manual_axes = "#sdy<manual_axes{\22a\22}>"}} : (tensor<4xf32>) -> tensor<8xf32>
  %5 = stablehlo.custom_call @xla.sdy.GlobalToLocalShape(%2) {mhlo.frontend_attributes = {xla.sdy.in_shardings = "#sdy.sharding_per_value<[<@m, [{\22a\22}]>]>", xla.sdy.manual_axes = "#sdy<manual_axes{\22a\22}>"}} : (tensor<8xf32>) -> tensor<4xf32>
  call @xla.sdy.manual_computation_body_1(%5) : (tensor<4xf32>) -> ()
  return %4 : tensor<8xf32>
}
func.func private @xla.sdy.manual_computation_body(%arg0: tensor<4xf32>) -> tensor<4xf32> {
  %0 = stablehlo.negate %arg0 : tensor<4xf32>
  return %0 : tensor<4xf32>
}
func.func private @xla.sdy.manual_computation_body_0() -> tensor<4xf32> {
  %0 = stablehlo.constant dense<1.0> : tensor<4xf32>
  return %0 : tensor<4xf32>
}
func.func private @xla.sdy.manual_computation_body_1(%arg0: tensor<4xf32>) {
  stablehlo.custom_call @io(%arg0) {has_side_effect = true} : (tensor<4xf32>) -> ()
  return
}

// -----

// Manual code inside manual code.
// CHECK: func.func @nested
// CHECK-NEXT: %[[O:.*]] = sdy.manual_computation(%arg0) in_shardings=[<@m, [{"a"}, {}]>] out_shardings=[<@m, [{"a"}, {}]>] manual_axes={"a"} (%arg1: tensor<4x8xf32>) {
// CHECK-NEXT: %[[I:.*]] = sdy.manual_computation(%arg1) in_shardings=[<@m, [{}, {"b"}]>] out_shardings=[<@m, [{}, {"b"}]>] manual_axes={"b"} (%arg2: tensor<4x2xf32>) {
// CHECK-NEXT: stablehlo.negate %arg2
// CHECK: sdy.return %[[I]]
// CHECK-NOT: @xla.sdy
sdy.mesh @m = <["a"=2, "b"=4]>
func.func @nested(%arg0: tensor<8x8xf32>) -> tensor<8x8xf32> {
  %0 = stablehlo.custom_call @xla.sdy.GlobalToLocalShape(%arg0) {mhlo.frontend_attributes = {xla.sdy.in_shardings = "#sdy.sharding_per_value<[<@m, [{\22a\22}, {}]>]>", xla.sdy.manual_axes = "#sdy<manual_axes{\22a\22}>"}} : (tensor<8x8xf32>) -> tensor<4x8xf32>
  %1 = call @xla.sdy.manual_computation_body_1(%0) : (tensor<4x8xf32>) -> tensor<4x8xf32>
  %2 = stablehlo.custom_call @xla.sdy.LocalToGlobalShape(%1) {mhlo.frontend_attributes = {xla.sdy.out_shardings = "#sdy.sharding_per_value<[<@m, [{\22a\22}, {}]>]>", xla.sdy.manual_axes = "#sdy<manual_axes{\22a\22}>"}} : (tensor<4x8xf32>) -> tensor<8x8xf32>
  return %2 : tensor<8x8xf32>
}
func.func private @xla.sdy.manual_computation_body_1(%arg0: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %0 = stablehlo.custom_call @xla.sdy.GlobalToLocalShape(%arg0) {mhlo.frontend_attributes = {xla.sdy.in_shardings = "#sdy.sharding_per_value<[<@m, [{}, {\22b\22}]>]>", xla.sdy.manual_axes = "#sdy<manual_axes{\22b\22}>"}} : (tensor<4x8xf32>) -> tensor<4x2xf32>
  %1 = call @xla.sdy.manual_computation_body_0(%0) : (tensor<4x2xf32>) -> tensor<4x2xf32>
  %2 = stablehlo.custom_call @xla.sdy.LocalToGlobalShape(%1) {mhlo.frontend_attributes = {xla.sdy.out_shardings = "#sdy.sharding_per_value<[<@m, [{}, {\22b\22}]>]>", xla.sdy.manual_axes = "#sdy<manual_axes{\22b\22}>"}} : (tensor<4x2xf32>) -> tensor<4x8xf32>
  return %2 : tensor<4x8xf32>
}
func.func private @xla.sdy.manual_computation_body_0(%arg0: tensor<4x2xf32>) -> tensor<4x2xf32> {
  %0 = stablehlo.negate %arg0 : tensor<4x2xf32>
  return %0 : tensor<4x2xf32>
}

// -----

// GSPMD: one mesh from all tile assignments; the rest of the grammar.
// CHECK: sdy.mesh @mesh = <["_axis_0"=2, "_axis_1"=2, "_axis_2"=2]>
// CHECK-NEXT: sdy.mesh @maximal_mesh_3 = <[], device_ids=[3]>
// CHECK: func.func @gspmd(
// CHECK-SAME: %arg0: tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{}, {}]>}
// CHECK-SAME: %arg1: tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"_axis_0", "_axis_1"}, {"_axis_2"}]>}
// CHECK-SAME: %arg2: tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"_axis_2"}, {"_axis_0", "_axis_1"}]>}
// CHECK-SAME: %arg3: tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"_axis_0"}, {}]>}
// CHECK-SAME: %arg4: tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"_axis_0"}, {"_axis_2"}]>}
// CHECK-SAME: %arg5: tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"_axis_0"}, {}], unreduced={"_axis_1"}>}
// CHECK-SAME: %arg6: tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{?}, {?}]>}
// CHECK-SAME: %arg7: tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@maximal_mesh_3, []>}
// CHECK-SAME: %arg8: tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{}, {}], unreduced={"_axis_0", "_axis_1", "_axis_2"}>}
// CHECK-SAME: -> (tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"_axis_1"}, {}]>})
func.func @gspmd(
    %arg0: tensor<8x8xf32> {mhlo.sharding = "{replicated}"},
    %arg1: tensor<8x8xf32> {mhlo.sharding = "{devices=[4,2]<=[8]}"},
    %arg2: tensor<8x8xf32> {mhlo.sharding = "{devices=[2,4]<=[4,2]T(1,0) metadata={op_name=\22a } b\22}}"},
    %arg3: tensor<8x8xf32> {mhlo.sharding = "{devices=[2,1,4]<=[8] last_tile_dim_replicate}"},
    %arg4: tensor<8x8xf32> {mhlo.sharding = "{devices=[2,2,2]0,2,1,3,4,6,5,7 last_tile_dim_replicate}"},
    %arg5: tensor<8x8xf32> {mhlo.sharding = "{devices=[2,1,2,2]<=[8] last_tile_dims={unreduced, replicated}}"},
    %arg6: tensor<8x8xf32> {mhlo.sharding = "{unknown}"},
    %arg7: tensor<8x8xf32> {mhlo.sharding = "{maximal device=3}"},
    %arg8: tensor<8x8xf32> {mhlo.sharding = "{unreduced}"})
    -> (tensor<8x8xf32> {mhlo.sharding = "{devices=[2,1,4]<=[2,2,2]T(1,0,2) last_tile_dim_replicate}"}) {
  // A custom call leaves dimensions open.
  // CHECK-NEXT: %[[C:.*]] = sdy.sharding_constraint %arg0 <@mesh, [{"_axis_0"}, {?}]> : tensor<8x8xf32>
  %0 = stablehlo.custom_call @Sharding(%arg0) {backend_config = "unspecified_dims=[1]", mhlo.sharding = "{devices=[2,1,4]<=[8] last_tile_dim_replicate}"} : (tensor<8x8xf32>) -> tensor<8x8xf32>
  // One says that values are sharded alike, and nothing else; the other says how, too.
  // CHECK-NEXT: sdy.sharding_group %[[C]] group_id=7 : tensor<8x8xf32>
  // CHECK-NEXT: sdy.sharding_group %arg1 group_id=7 : tensor<8x8xf32>
  // CHECK-NEXT: %[[D:.*]] = sdy.sharding_constraint %arg1 <@mesh, [{}, {}]> : tensor<8x8xf32>
  %1 = stablehlo.custom_call @Sharding(%0) {mhlo.sharding = "{unknown shard_as 7}"} : (tensor<8x8xf32>) -> tensor<8x8xf32>
  %2 = stablehlo.custom_call @Sharding(%arg1) {mhlo.sharding = "{replicated shard_like 7}"} : (tensor<8x8xf32>) -> tensor<8x8xf32>
  // An op with several results has a tuple.
  // CHECK-NEXT: stablehlo.custom_call @two(%[[C]], %[[D]]) {sdy.sharding = #sdy.sharding_per_value<[<@mesh, [{"_axis_0"}]>, <@mesh, [{}, {}]>]>}
  %3:2 = stablehlo.custom_call @two(%1, %2) {mhlo.sharding = "{{devices=[2,4]<=[8] last_tile_dim_replicate}, {replicated}}"} : (tensor<8x8xf32>, tensor<8x8xf32>) -> (tensor<8xf32>, tensor<8x8xf32>)
  // An op without results says where it runs.
  // CHECK-NEXT: stablehlo.custom_call @none(%{{.*}}) {has_side_effect = true, sdy.sharding = #sdy.sharding_per_value<[<@maximal_mesh_3, []>]>}
  stablehlo.custom_call @none(%3#0) {has_side_effect = true, mhlo.sharding = "{maximal device=3}"} : (tensor<8xf32>) -> ()
  // CHECK-NEXT: %[[E:.*]] = stablehlo.add
  // CHECK-NEXT: sdy.sharding_group %[[E]] group_id=9
  %4 = stablehlo.add %arg0, %3#1 {mhlo.sharding = "{replicated shard_as 9}"} : tensor<8x8xf32>
  return %4 : tensor<8x8xf32>
}

// -----

// Cuts of the device number that do not nest (2 and 3 of 6) are inside one axis.
// CHECK: sdy.mesh @mesh = <["_axis_0"=6, "_axis_1"=4]>
// CHECK: func.func @sub_axes(
// CHECK-SAME: [{"_axis_0":(1)2}, {"_axis_0":(2)3}]
// CHECK-SAME: [{"_axis_0":(1)3}, {"_axis_0":(3)2}]
// CHECK-SAME: [{"_axis_1"}, {"_axis_0"}]
func.func @sub_axes(%arg0: tensor<24x24xf32> {mhlo.sharding = "{devices=[2,3,4]<=[24] last_tile_dim_replicate}"},
                    %arg1: tensor<24x24xf32> {mhlo.sharding = "{devices=[3,2,4]<=[24] last_tile_dim_replicate}"},
                    %arg2: tensor<24x24xf32> {mhlo.sharding = "{devices=[4,6]<=[6,4]T(1,0)}"}) {
  return
}

// -----

// Devices in an order of their own; and an assignment that no digits of the device number make.
// CHECK: sdy.mesh @mesh = <["_axis_0"=2, "_axis_1"=2], device_ids=[0, 1, 3, 2]>
// CHECK: func.func @device_order(
// CHECK-SAME: [{"_axis_0", "_axis_1"}]
// CHECK-SAME: [{"_axis_1", "_axis_0"}]
func.func @device_order(%arg0: tensor<8xf32> {mhlo.sharding = "{devices=[4]0,1,3,2}"},
                        %arg1: tensor<8xf32> {mhlo.sharding = "{devices=[4]0,3,1,2}"}) {
  return
}

// -----

// CHECK: sdy.mesh @mesh = <["_axis_0"=2, "_axis_1"=3], device_ids=[0, 3, 1, 4, 2, 5]>
// CHECK: func.func @no_digits(%arg0: tensor<6x6xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"_axis_0"}, {"_axis_1"}]>})
func.func @no_digits(%arg0: tensor<6x6xf32> {mhlo.sharding = "{devices=[2,3]<=[2,3]T(1,0)}"}) {
  return
}

// -----

// Different numbers of devices make different meshes. A mesh that is there already is used where it can be.
// CHECK: sdy.mesh @mesh_0 = <["_axis_0"=2]>
// CHECK-NEXT: sdy.mesh @mesh = <["data"=4, "model"=2]>
// CHECK: func.func @meshes(
// CHECK-SAME: %arg0: tensor<8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"data"}]>}
// CHECK-SAME: %arg1: tensor<8xf32> {sdy.sharding = #sdy.sharding<@mesh_0, [{"_axis_0"}]>}
// CHECK-SAME: %arg2: tensor<8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{}]>}
sdy.mesh @mesh = <["data"=4, "model"=2]>
func.func @meshes(%arg0: tensor<8xf32> {mhlo.sharding = "{devices=[4,2]<=[8] last_tile_dim_replicate}"},
                  %arg1: tensor<8xf32> {mhlo.sharding = "{devices=[2]<=[2]}"},
                  %arg2: tensor<8xf32> {mhlo.sharding = "{replicated}"}) {
  return
}

// -----

// Without a tile assignment the number of partitions makes a mesh.
// CHECK: sdy.mesh @mesh = <["_axis_0"=4]>
// CHECK: func.func @partitions(%arg0: tensor<8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{}]>})
module attributes {mhlo.num_partitions = 4 : i32} {
  func.func @partitions(%arg0: tensor<8xf32> {mhlo.sharding = "{replicated}"}) {
    return
  }
}

// -----

// CHECK: sdy.mesh @empty_mesh = <[]>
// CHECK: func.func @nothing(%arg0: tensor<8xf32> {sdy.sharding = #sdy.sharding<@empty_mesh, [{}]>})
func.func @nothing(%arg0: tensor<8xf32> {mhlo.sharding = "{replicated}"}) {
  return
}

// -----

// GSPMD by the names of axes, as XLA writes it of late; and the binary form of old ones.
// CHECK: sdy.mesh @mesh = <["a"=2, "b"=4]>
// CHECK-NEXT: sdy.mesh @mesh_0 = <["a"=2, "b"=4], device_ids=[0, 2, 4, 6, 1, 3, 5, 7]>
// CHECK-NEXT: sdy.mesh @maximal_mesh_5 = <[], device_ids=[5]>
// CHECK: func.func @named(
// CHECK-SAME: %arg0: tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"a", "b":(1)2}, {?}], replicated={"b":(2)2}>}
// CHECK-SAME: %arg1: tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@mesh_0, [{"b"}, {}], unreduced={"a"}>}
// CHECK-SAME: %arg2: tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{}, {}]>}
// CHECK-SAME: %arg3: tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@maximal_mesh_5, []>}
// CHECK-SAME: %arg4: tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"a", "b"}, {}]>}
// CHECK-SAME: %arg5: tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{}, {}]>}
func.func @named(
    %arg0: tensor<8x8xf32> {mhlo.sharding = "{mesh['a'=2,'b'=4], [{'a', 'b':(1)2}, {?}], replicated={'b':(2)2}}"},
    %arg1: tensor<8x8xf32> {mhlo.sharding = "{mesh[a=2,b=4], device_ids=([4,2]T(1,0)), [{b}, {}], unreduced={a}}"},
    %arg2: tensor<8x8xf32> {mhlo.sharding = "{mesh['a'=2,'b'=4], replicated}"},
    %arg3: tensor<8x8xf32> {mhlo.sharding = "{maximal_mesh[device_id=5]}"},
    %arg4: tensor<8x8xf32> {mhlo.sharding = "\08\03\1A\02\08\01\22\08\00\01\02\03\04\05\06\07"},
    %arg5: tensor<8x8xf32> {mhlo.sharding = ""}) {
  return
}

// -----

// Shardings of the signature that stand on the module; a value's own counts more.
// CHECK: module {
// CHECK: func.func @main(%arg0: tensor<8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"_axis_0"}]>}, %arg1: tensor<8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{}]>})
// CHECK-SAME: -> (tensor<8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"_axis_0"}]>}) {
module attributes {mhlo.spmd_parameters_shardings = ["{devices=[2]<=[2]}", "{devices=[2]<=[2]}"], mhlo.spmd_output_sharding = "{devices=[2]<=[2]}"} {
  func.func @main(%arg0: tensor<8xf32>, %arg1: tensor<8xf32> {mhlo.sharding = "{replicated}"}) -> tensor<8xf32> {
    return %arg0 : tensor<8xf32>
  }
}

// -----

// CHECK: func.func @main(%arg0: tensor<8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}]>})
// CHECK-SAME: -> (tensor<8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{?}]>}) {
module attributes {mhlo.frontend_attributes = {xla.sdy.meshes = "{mesh = #sdy.mesh<[\22x\22=2]>}", xla.sdy.tuple_args_shardings = "#sdy.sharding_per_value<[<@mesh, [{\22x\22}]>]>", xla.sdy.tuple_results_shardings = "#sdy.sharding_per_value<[<@mesh, [{?}]>]>"}} {
  func.func @main(%arg0: tensor<8xf32>) -> tensor<8xf32> {
    return %arg0 : tensor<8xf32>
  }
}

// -----

// Manual code as JAX writes it for GSPMD. An entry that two parts read becomes an operand of both; a result nobody uses
// is none; what only one device's part needs of constants goes inside; what is whole on all devices is passed.
// CHECK: func.func @shard_map
// CHECK-NEXT: %[[P:.*]] = sdy.manual_computation(%arg0, %arg1) in_shardings=[<@mesh, [{"_axis_0"}]>, <@mesh, []>] out_shardings=[<@mesh, [{"_axis_0"}]>] manual_axes={"_axis_0"} (%arg2: tensor<4xf32>, %arg3: tensor<f32>) {
// CHECK-NEXT: %[[ONE:.*]] = stablehlo.constant
// CHECK-NEXT: %[[ID:.*]] = stablehlo.partition_id
// CHECK-NEXT: %[[F:.*]] = stablehlo.convert %[[ID]]
// CHECK-NEXT: %[[T:.*]]:2 = func.call @twice(%arg2)
// CHECK-NEXT: stablehlo.add %[[T]]#0, %[[ONE]]
// CHECK-NEXT: stablehlo.add %[[F]], %arg3
// CHECK: sdy.return
// CHECK: %[[G:.*]] = stablehlo.negate %[[P]]
// CHECK-NEXT: %[[Q:.*]] = sdy.manual_computation(%arg0, %[[G]]) in_shardings=[<@mesh, [{"_axis_0"}]>, <@mesh, [{"_axis_0"}]>] out_shardings=[<@mesh, [{}]>] manual_axes={"_axis_0"} (%arg2: tensor<4xf32>, %arg3: tensor<4xf32>) {
// CHECK-NEXT: %{{.*}}:2 = func.call @twice(%arg2)
// CHECK: return %[[P]], %[[Q]]
// CHECK: func.func private @twice(%arg0: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
module attributes {mhlo.num_partitions = 2 : i32} {
  func.func @shard_map(%arg0: tensor<8xf32> {mhlo.sharding = "{devices=[2]<=[2]}"}, %arg1: tensor<f32>) -> (tensor<8xf32>, tensor<4xf32>) {
    %one = stablehlo.constant dense<1.0> : tensor<4xf32>
    %id = stablehlo.partition_id : tensor<ui32>
    %0 = stablehlo.custom_call @SPMDFullToShardShape(%arg0) {backend_config = "", mhlo.sharding = "{manual}"} : (tensor<8xf32>) -> tensor<4xf32>
    %1:2 = call @twice(%0) : (tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>)
    %2 = stablehlo.add %1#0, %one : tensor<4xf32>
    %3 = stablehlo.convert %id : (tensor<ui32>) -> tensor<f32>
    %4 = stablehlo.add %3, %arg1 : tensor<f32>
    %5 = stablehlo.broadcast_in_dim %4, dims = [] : (tensor<f32>) -> tensor<4xf32>
    %6 = stablehlo.add %2, %5 {mhlo.sharding = "{manual}"} : tensor<4xf32>
    %7 = stablehlo.custom_call @Sharding(%6) {backend_config = "", mhlo.sharding = "{manual}"} : (tensor<4xf32>) -> tensor<4xf32>
    %8 = stablehlo.custom_call @SPMDShardToFullShape(%7) {backend_config = "", mhlo.sharding = "{devices=[2]<=[2]}"} : (tensor<4xf32>) -> tensor<8xf32>
    %9 = stablehlo.negate %8 : tensor<8xf32>
    %10 = stablehlo.custom_call @Sharding(%9) {mhlo.sharding = "{devices=[2]<=[2]}"} : (tensor<8xf32>) -> tensor<8xf32>
    %11 = stablehlo.custom_call @SPMDFullToShardShape(%10) {mhlo.sharding = "{manual}"} : (tensor<8xf32>) -> tensor<4xf32>
    %12:2 = call @twice(%0) : (tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>)
    %13 = stablehlo.add %11, %12#1 : tensor<4xf32>
    %14 = stablehlo.custom_call @SPMDShardToFullShape(%13) {mhlo.sharding = "{replicated}"} : (tensor<4xf32>) -> tensor<4xf32>
    return %8, %14 : tensor<8xf32>, tensor<4xf32>
  }
  func.func private @twice(%arg0: tensor<4xf32> {mhlo.sharding = "{manual}"}) -> (tensor<4xf32>, tensor<4xf32>) {
    %0 = stablehlo.add %arg0, %arg0 : tensor<4xf32>
    return %0, %0 : tensor<4xf32>, tensor<4xf32>
  }
}

// -----

// Without operands only the call before the exit says that the code is manual.
// CHECK: func.func @no_operands
// CHECK-NEXT: sdy.manual_computation() in_shardings=[] out_shardings=[<@mesh, [{"_axis_0"}]>] manual_axes={"_axis_0", "_axis_1"} () {
// CHECK-NEXT: stablehlo.partition_id
func.func @no_operands() -> tensor<8xui32> {
  %0 = call @shmap_body() : () -> tensor<2xui32>
  %1 = stablehlo.custom_call @Sharding(%0) {mhlo.sharding = "{manual}"} : (tensor<2xui32>) -> tensor<2xui32>
  %2 = stablehlo.custom_call @SPMDShardToFullShape(%1) {mhlo.sharding = "{devices=[4,2]<=[8] last_tile_dim_replicate}"} : (tensor<2xui32>) -> tensor<8xui32>
  return %2 : tensor<8xui32>
}
func.func private @shmap_body() -> tensor<2xui32> {
  %0 = stablehlo.partition_id : tensor<ui32>
  %1 = stablehlo.broadcast_in_dim %0, dims = [] : (tensor<ui32>) -> tensor<2xui32>
  return %1 : tensor<2xui32>
}

// -----

// Manual over one axis only.
// CHECK: sdy.mesh @mesh = <["_axis_0"=2, "_axis_1"=4]>
// CHECK: sdy.manual_computation(%arg0) in_shardings=[<@mesh, [{"_axis_0"}, {?}]>] out_shardings=[<@mesh, [{"_axis_0"}, {?}]>] manual_axes={"_axis_0"} (%arg1: tensor<4x8xf32>) {
// CHECK-NEXT: stablehlo.negate %arg1 {sdy.sharding = #sdy.sharding_per_value<[<@mesh, [{}, {"_axis_1"}]>]>}
func.func @partly_manual(%arg0: tensor<8x8xf32>) -> tensor<8x8xf32> {
  %0 = stablehlo.custom_call @Sharding(%arg0) {backend_config = "unspecified_dims=[1]", mhlo.sharding = "{devices=[2,1,4]<=[8] last_tile_dim_replicate}"} : (tensor<8x8xf32>) -> tensor<8x8xf32>
  %1 = stablehlo.custom_call @SPMDFullToShardShape(%0) {backend_config = "unspecified_dims=[0,1]", mhlo.sharding = "{devices=[1,1,2,4]<=[8] last_tile_dims={manual, replicated}}"} : (tensor<8x8xf32>) -> tensor<4x8xf32>
  %2 = stablehlo.negate %1 {mhlo.sharding = "{devices=[1,4,2]<=[2,4]T(1,0) last_tile_dims={manual}}"} : tensor<4x8xf32>
  %3 = stablehlo.custom_call @Sharding(%2) {backend_config = "unspecified_dims=[0,1]", mhlo.sharding = "{devices=[1,1,2,4]<=[8] last_tile_dims={manual, replicated}}"} : (tensor<4x8xf32>) -> tensor<4x8xf32>
  %4 = stablehlo.custom_call @SPMDShardToFullShape(%3) {backend_config = "unspecified_dims=[1]", mhlo.sharding = "{devices=[2,1,4]<=[8] last_tile_dim_replicate}"} : (tensor<4x8xf32>) -> tensor<8x8xf32>
  return %4 : tensor<8x8xf32>
}

// -----

// Manual code in the body of a loop, and an op with a region that uses a local value.
// CHECK: stablehlo.while
// CHECK: do {
// CHECK: sdy.manual_computation(%iterArg_0) in_shardings=[<@mesh, [{"_axis_0"}]>]
// CHECK-NEXT: %[[Z:.*]] = stablehlo.constant dense<0.000000e+00>
// CHECK-NEXT: %[[K:.*]] = stablehlo.constant dense<0> : tensor<i32>
// CHECK-NEXT: "stablehlo.case"(%[[K]])
// CHECK-NEXT: stablehlo.broadcast_in_dim %[[Z]]
// CHECK: sdy.return
func.func @in_loop(%n: tensor<i32>, %arg0: tensor<8xf32>) -> tensor<8xf32> {
  %zero = stablehlo.constant dense<0> : tensor<i32>
  %0:2 = stablehlo.while(%i = %zero, %x = %arg0) : tensor<i32>, tensor<8xf32>
  cond {
    %1 = stablehlo.compare LT, %i, %n : (tensor<i32>, tensor<i32>) -> tensor<i1>
    stablehlo.return %1 : tensor<i1>
  } do {
    %one = stablehlo.constant dense<1> : tensor<i32>
    %z = stablehlo.constant dense<0.0> : tensor<f32>
    %c = stablehlo.custom_call @Sharding(%x) {mhlo.sharding = "{devices=[2]<=[2]}"} : (tensor<8xf32>) -> tensor<8xf32>
    %1 = stablehlo.custom_call @SPMDFullToShardShape(%c) {mhlo.sharding = "{manual}"} : (tensor<8xf32>) -> tensor<4xf32>
    %k = stablehlo.constant dense<0> : tensor<i32>
    %2 = "stablehlo.case"(%k) ({
      %5 = stablehlo.broadcast_in_dim %z, dims = [] : (tensor<f32>) -> tensor<4xf32>
      %6 = stablehlo.add %1, %5 : tensor<4xf32>
      stablehlo.return %6 : tensor<4xf32>
    }, {
      stablehlo.return %1 : tensor<4xf32>
    }) : (tensor<i32>) -> tensor<4xf32>
    %3 = stablehlo.custom_call @SPMDShardToFullShape(%2) {mhlo.sharding = "{devices=[2]<=[2]}"} : (tensor<4xf32>) -> tensor<8xf32>
    %4 = stablehlo.add %i, %one : tensor<i32>
    stablehlo.return %4, %3 : tensor<i32>, tensor<8xf32>
  }
  return %0#1 : tensor<8xf32>
}

// -----

// Plain sdy, other custom calls and other front-end attributes stay as they are.
// CHECK: func.func @untouched(%arg0: tensor<8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}]>}) -> (tensor<8xf32> {mhlo.frontend_attributes = {a = "b"}})
// CHECK-NEXT: %[[A:.*]] = stablehlo.custom_call @Sharding(%arg0) : (tensor<8xf32>) -> tensor<8xf32>
// CHECK-NEXT: %[[B:.*]] = stablehlo.tanh %[[A]] {mhlo.frontend_attributes = {a = "b"}}
// CHECK-NEXT: %[[C:.*]] = stablehlo.custom_call @other(%[[B]]) {mhlo.frontend_attributes = {num_batch_dims = "0"}}
// CHECK-NEXT: return %[[C]]
sdy.mesh @mesh = <["x"=2]>
func.func @untouched(%arg0: tensor<8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}]>, mhlo.sharding = "{replicated}"}) -> (tensor<8xf32> {mhlo.frontend_attributes = {a = "b"}}) {
  %0 = stablehlo.custom_call @Sharding(%arg0) : (tensor<8xf32>) -> tensor<8xf32>
  %1 = stablehlo.tanh %0 {mhlo.frontend_attributes = {a = "b"}} : tensor<8xf32>
  %2 = stablehlo.custom_call @other(%1) {mhlo.frontend_attributes = {num_batch_dims = "0"}} : (tensor<8xf32>) -> tensor<8xf32>
  return %2 : tensor<8xf32>
}
