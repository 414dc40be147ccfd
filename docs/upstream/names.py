"""Asks for the name of an attribute that is no UTF-8, which bytecode may hold."""

import io

from jaxlib.mlir import ir

with ir.Context() as context:
    context.allow_unregistered_dialects = True
    written = io.BytesIO()
    ir.Module.parse("module attributes {some.name = 1 : i32} {}").operation.write_bytecode(written)
    module = ir.Module.parse(written.getvalue().replace(b"some.name", b"some.nam\xff"))
    print(module.operation.attributes[0].name)
