// The passes run in the order of the command line, and passes on functions share a nest with their neighbours.
// RUN: shlo-opt %s --dump-pass-pipeline --dead-ops --cse -o %t 2>&1 | filecheck %s --check-prefix=TWO
// RUN: shlo-opt %s --dump-pass-pipeline --cse --dead-ops=keep-calls=true --cse -o %t 2>&1 | filecheck %s --check-prefix=THREE
// RUN: shlo-opt %s --dump-pass-pipeline --cse -canonicalize --sdy-reshard-to-collectives -native-cse -o %t 2>&1 \
// RUN:   | filecheck %s --check-prefix=MIXED
// RUN: shlo-opt %s --dump-pass-pipeline -p 'builtin.module( func.func(canonicalize) , cse)' -o %t 2>&1 \
// RUN:   | filecheck %s --check-prefix=TEXT
// RUN: shlo-opt %s --dump-pass-pipeline -o %t 2>&1 | filecheck %s --check-prefix=NONE

// TWO:   {{^}}builtin.module(dead-ops,cse){{$}}
// THREE: {{^}}builtin.module(cse,dead-ops{keep-calls=true},cse){{$}}
// MIXED: {{^}}builtin.module(cse,canonicalize,func.func(sdy-reshard-to-collectives),native-cse){{$}}
// TEXT:  {{^}}builtin.module(func.func(canonicalize),cse){{$}}
// NONE:  {{^}}builtin.module(){{$}}
func.func @main(%a: tensor<4xf32>) -> tensor<4xf32> {
  return %a : tensor<4xf32>
}
