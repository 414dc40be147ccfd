"""What the importer refuses and how it says so, what it counts, and the commands that run it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from passes.errors import UserError
from passes.pipeline import runner
from passes.pipeline.options import RunOptions
from passes.program.read import Program, parse
from passes.program.write import to_bytecode, to_text
from passes.sharding.import_shardings import import_shardings
from passes.sharding.importers.scan import is_foreign, needs_import_for_xla

T = "tensor<8x8xf32>"
L = "tensor<4x8xf32>"


def frontend(**texts: str) -> str:
    """Front-end attributes of Shardy's with these texts, quotes escaped as in a module."""
    pairs = ", ".join(f'xla.sdy.{key} = "{text.replace(chr(34), chr(92) + "22")}"' for key, text in texts.items())
    return f"mhlo.frontend_attributes = {{{pairs}}}"


def module(body: str = "", *, argument: str = "", result: str = "", attributes: str = "", returned: str = "%a") -> str:
    mesh = 'sdy.mesh @mesh = <["a"=2, "b"=4]>'
    return f"""module {f'attributes {{{attributes}}}' if attributes else ''} {{
{mesh}
func.func @main(%a: {T} {f'{{{argument}}}' if argument else ''}) -> ({T} {f'{{{result}}}' if result else ''}) {{
{body}
return {returned} : {T}
}} }}"""


def call(target: str, attributes: str, operand: str = "%a", types: str = f"({T}) -> {T}") -> str:
    return f"stablehlo.custom_call @{target}({operand}) {{{attributes}}} : {types}"


GOOD = '#sdy.sharding_per_value<[<@mesh, [{"a"}, {}]>]>'
PLACED = '#sdy.sharding_per_value<[<@mesh, [{"mesh_idx_2"}, {}]>]>'

REFUSED: dict[str, tuple[str, tuple[int, int], str]] = {
    "GSPMD on an argument": (
        module(argument='mhlo.sharding = "{devices=[2,x]<=[2]}"'), (3, 17),
        "argument 0 'arg0' of @main: cannot read mhlo.sharding = '{devices=[2,x]<=[2]}': expected a whole number at "
        "'x]<=[2]}'"),
    "GSPMD on a result": (
        module(result='mhlo.sharding = "{replicate}"'), (3, 1),
        "result 0 'result0' of @main: cannot read mhlo.sharding = '{replicate}': expected 'replicated', 'manual'"),
    "GSPMD on an op": (
        module(f'%0 = stablehlo.tanh %a {{mhlo.sharding = "{{maximal}}"}} : {T}'), (4, 6),
        "stablehlo.tanh: cannot read mhlo.sharding = '{maximal}': expected 'device=' at '}'"),
    "GSPMD on a call": (
        module(f'%0 = {call("Sharding", "mhlo.sharding = 3 : i32")}'), (4, 6),
        "@Sharding: cannot read mhlo.sharding = '3 : i32': expected a string"),
    "GSPMD of another rank": (
        module(argument='mhlo.sharding = "{devices=[2,4,1]<=[8]}"'), (3, 17),
        "'{devices=[2,4,1]<=[8]}': expected a sharding of 2 dimensions, as the tensor has, not of 3"),
    "a tuple for one tensor": (
        module(argument='mhlo.sharding = "{{replicated}, {replicated}}"'), (3, 17),
        "expected the sharding of one tensor, not a tuple of 2"),
    "a tuple of another length": (
        module(f'%0 = stablehlo.tanh %a {{mhlo.sharding = "{{{{replicated}}, {{replicated}}}}"}} : {T}'), (4, 6),
        "expected 1 shardings, as the op has results, not 2"),
    "neither text nor a message": (
        module(argument='mhlo.sharding = "\\01\\02"'), (3, 17), "neither text that starts with '{' nor a serialized"),
    "Shardy's string": (
        module(argument=frontend(sharding='#sdy.sharding<@mesh, [{"a"]>')), (3, 17),
        "argument 0 'arg0' of @main: cannot read xla.sdy.sharding = '#sdy.sharding<@mesh, [{\"a\"]>': unbalanced"),
    "Shardy's string, empty": (
        module(argument=frontend(sharding=" ")), (3, 17), 'expected something like #sdy.sharding<@mesh, [{"x"}, {}]>'),
    "Shardy's string, deep": (
        module(argument=frontend(sharding="[" * 100000)), (3, 17), "expected something like #sdy.sharding"),
    "something else": (
        module(argument=frontend(sharding="#sdy<manual_axes{}>")), (3, 17), "expected something like #sdy.sharding"),
    "an unknown mesh": (
        module(argument=frontend(sharding="#sdy.sharding<@mosh, [{}, {}]>")), (3, 17),
        "it is about mesh @mosh, which the module does not have; it has @mesh"),
    "an unknown axis": (
        module(argument=frontend(sharding='#sdy.sharding<@mesh, [{"c"}, {}]>')), (3, 17),
        "mesh @mesh has no axis 'c'; it has a, b"),
    "an unknown replicated axis": (
        module(argument=frontend(sharding='#sdy.sharding<@mesh, [{}, {}], replicated={"c"}>')), (3, 17), "no axis 'c'"),
    "Shardy's of another rank": (
        module(argument=frontend(sharding='#sdy.sharding<@mesh, [{"a"}]>')), (3, 17),
        "expected a sharding of 2 dimensions, as the tensor has, not of 1"),
    "as many as there are values": (
        module(f'%0 = stablehlo.tanh %a {{{frontend(sharding="#sdy.sharding_per_value<[]>")}}} : {T}'), (4, 6),
        "expected 1 shardings, as there are values, not 0"),
    "a rule": (
        module(f'%0 = stablehlo.tanh %a {{{frontend(sharding_rule="#sdy.rule")}}} : {T}'), (4, 6),
        "expected something like #sdy.op_sharding_rule<"),
    "meshes": (
        module(attributes=frontend(meshes='{m = #sdy.mesh<["a"=0]>}')), (1, 1),
        "the module: cannot read xla.sdy.meshes = '{m = #sdy.mesh<[\"a\"=0]>}': axis size must be at least 1, got: 0"),
    "no mesh among the meshes": (
        module(attributes=frontend(meshes="{m = 3 : i32}")), (1, 1),
        'something like {mesh = #sdy.mesh<["x"=2, "y"=4]>}'),
    "a mesh that is another one": (
        module(attributes=frontend(meshes='{mesh = #sdy.mesh<["a"=2]>}')), (1, 1),
        "@mesh is defined in the module already, as something else"),
    "the module's list": (
        module(attributes='mhlo.spmd_output_sharding = "{{replicated}, {replicated}}"'), (1, 1),
        "expected 1 shardings, as @main has"),
    "a placeholder beyond the mesh": (
        module(f'%0 = {call("tt.sharding_constraint", frontend(sharding=PLACED))}'), (4, 6),
        '"mesh_idx_2" is beyond the axes of its mesh, which are a, b'),
    "a group's number": (
        module(call("xla.sdy.ShardingGroup", frontend(sharding_group_id="x"), types=f"({T}) -> ()")), (4, 1),
        "@xla.sdy.ShardingGroup: cannot read xla.sdy.sharding_group_id = 'x': expected attribute value; expected "
        "something like 21 : i64"),
    "a group without a number": (
        module(call("xla.sdy.ShardingGroup", "has_side_effect = true", types=f"({T}) -> ()")), (4, 1), "21 : i64"),
    "a barrier's direction": (
        module(f'%0 = {call("xla.sdy.PropagationBarrier", frontend(allowed_direction="7 : i32"))}'), (4, 6),
        "expected 0 (none), 1 (forward), 2 (backward) or 3 (both)"),
    "a constraint of two values": (
        module(f'%0 = {call("Sharding", frontend(sharding=GOOD), "%a, %a", f"({T}, {T}) -> {T}")}'), (4, 6),
        f"expected @Sharding to return its only operand, not ({T}, {T}) -> ({T})"),
    "a result that is a tuple": (
        module(f"""%0 = {call("x", 'mhlo.sharding = "{replicated}"', types=f"({T}) -> tuple<{T}>")}"""), (4, 6),
        "expected results that are tensors; sdy shards no tuples"),
}

TILED = "{devices=[2,1,4]<=[8] last_tile_dim_replicate}"
CLOSED = f'mhlo.sharding = "{TILED}"'
SHARDED = f"%s = {call('Sharding', CLOSED)}\n"


def entering(result: str, manual: str = "{manual}", operand: str = "%s") -> str:
    entry = call("SPMDFullToShardShape", f'mhlo.sharding = "{manual}"', operand, f"({T}) -> {L}")
    return f"{result} = {entry}\n"


def leaving(operand: str, result: str, attributes: str = CLOSED) -> str:
    exit = call("SPMDShardToFullShape", attributes, operand, f"({L}) -> {T}")
    return f"{result} = {exit}\n"


REFUSED |= {
    "an entry of which nothing is known": (
        module(entering("%0", operand="%a") + leaving("%0", "%1")), (4, 6),
        "nothing says how the operand of @SPMDFullToShardShape is sharded; put it through @Sharding first"),
    "an exit of which nothing is known": (
        module(SHARDED + entering("%0") + leaving("%0", "%1", "has_side_effect = false")), (6, 6),
        "@SPMDShardToFullShape carries no mhlo.sharding and no xla.sdy.out_shardings"),
    "an exit that is manual": (
        module(SHARDED + entering("%0") + leaving("%0", "%1", 'mhlo.sharding = "{manual}"')), (6, 6),
        "expected how the whole tensor is sharded"),
    "manual over no axes": (
        module(SHARDED + entering("%0", "{replicated}") + leaving("%0", "%1")), (5, 6),
        "@SPMDFullToShardShape does not say over which axes its code is manual"),
    "manual over a part of an axis": (
        module(SHARDED + entering("%0", "{devices=[1,1,2,4]<=[4,2]T(1,0) last_tile_dims={manual, replicated}}")
               + leaving("%0", "%1")), (5, 6),
        "expected code that is manual over whole mesh axes, not over b:(2)2"),
    "two opinions": (
        module(SHARDED + entering("%0") + entering("%1", "{devices=[1,1,2,4]<=[8] last_tile_dims={manual, replicated}}")
               + f"%2 = stablehlo.add %0, %1 : {L}\n" + leaving("%2", "%3")), (5, 6),
        "the calls around this manual part disagree about the axes it is manual over"),
    "no way back": (
        module(f"{SHARDED}{entering('%0')}%1 = stablehlo.negate %0 : {L}", returned="%1").replace(
            f"-> ({T} )", f"-> {L}").replace(f"return %1 : {T}", f"return %1 : {L}"), (5, 6),
        "what is computed from this for each device is returned without a call that leads back to all"),
    "no region": (
        module(SHARDED + entering("%0") + f"%1 = stablehlo.negate %0 : {L}\n" + leaving("%1", "%2")
               + f"%3 = stablehlo.slice %2 [0:4, 0:8] : ({T}) -> {L}\n%4 = stablehlo.add %1, %3 : {L}\n"
               + leaving("%4", "%5")), (5, 6),
        "this manual part needs a value that is computed after its first result, so it is no region"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    text, place, message = REFUSED[name]
    program = parse(text)
    with pytest.raises(UserError) as error:
        import_shardings(program)
    assert message in error.value.message
    assert error.value.where is not None
    assert (error.value.where.line, error.value.where.column) == place
    assert "\n" not in error.value.message


def test_a_message_quotes_only_the_beginning_of_a_long_text() -> None:
    with pytest.raises(UserError) as error:
        import_shardings(parse(module(argument=f'mhlo.sharding = "{{devices=[2]{"0," * 500}1}}"')))
    assert len(error.value.message) < 500


FOREIGN = module(
    f"%0 = {call('Sharding', frontend(sharding=GOOD))}\n%1 = stablehlo.tanh %0 {{{frontend(sharding=GOOD)}}} : {T}",
    argument='mhlo.sharding = "{devices=[2,4]<=[8]}"', result='mhlo.sharding = "{replicated}"', returned="%1",
)
PLAIN = module(f"%0 = stablehlo.tanh %a : {T}", argument="sdy.sharding = #sdy.sharding<@mesh, [{}, {}]>", returned="%0")


def statistics(program: Program, pipeline: str = "builtin.module(import-shardings)") -> dict[str, int]:
    found = runner.run(program, pipeline, RunOptions())
    return {count.name: count.value for count in found.statistics[0].counts if count.value}


def test_counts() -> None:
    assert statistics(parse(FOREIGN)) == {"values": 2, "ops": 1, "constraints": 1}


def test_importing_again_changes_nothing() -> None:
    program = parse(FOREIGN)
    assert import_shardings(program)
    before = to_text(program.module)
    assert statistics(program) == {}
    assert to_text(program.module) == before


@pytest.mark.parametrize("text", [
    FOREIGN,
    module(f"%0 = {call('Sharding', frontend(sharding=GOOD))}"),
    module(f"%0 = {call('tt.sharding_constraint', frontend(sharding=GOOD))}"),
    module(f"%0 = stablehlo.tanh %a {{{frontend(sharding=GOOD)}}} : {T}"),
    module(f'%0 = stablehlo.tanh %a {{mhlo.sharding = "{{replicated}}"}} : {T}'),
    module(argument=frontend(sharding="#sdy.sharding<@mesh, [{}, {}]>")),
    module(result='mhlo.sharding = "{replicated}"'),
    module(attributes=frontend(meshes='{m = #sdy.mesh<["x"=2]>}')),
    module(attributes='mhlo.spmd_output_sharding = "{replicated}"'),
])
def test_foreign_spellings_are_noticed_in_text_and_in_bytecode(text: str) -> None:
    program = parse(text)
    binary = parse(to_bytecode(program.module))
    assert is_foreign(program) and is_foreign(binary)
    assert import_shardings(program) and import_shardings(binary)
    assert not is_foreign(parse(to_text(program.module))) and not is_foreign(parse(to_bytecode(binary.module)))


def test_plain_programs_are_left_alone() -> None:
    program = parse(PLAIN)
    module_before = program.module
    assert not is_foreign(program) and not is_foreign(parse(to_bytecode(program.module)))
    assert not import_shardings(program)
    assert program.module is module_before


def test_what_xla_reads_itself() -> None:
    constraint = module(f"%0 = {call('tt.sharding_constraint', frontend(sharding=GOOD))}")
    assert needs_import_for_xla(parse(constraint))
    assert needs_import_for_xla(parse(to_bytecode(parse(constraint).module)))
    assert not needs_import_for_xla(parse(FOREIGN))


# -- commands ----------------------------------------------------------------------------------------------------------


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "in.mlir"
    path.write_text(text)
    return path


def test_shard_propagates_what_it_imported(shlo: Callable[..., Any], tmp_path: Path) -> None:
    found = shlo("shard", write(tmp_path, FOREIGN), "--verify")
    assert found.code == 0, found.err
    assert "1 of 1 results equal" in found.err
    assert '%1 = stablehlo.tanh %0 {sdy.sharding = #sdy.sharding_per_value<[<@mesh, [{"a"}, {}]>]>}' in found.out


def test_partition(shlo: Callable[..., Any], tmp_path: Path) -> None:
    out = tmp_path / "out.mlir"
    found = shlo("partition", write(tmp_path, FOREIGN), "-o", out, "--verify")
    assert found.code == 0, found.err
    assert "mesh a=2 x b=4" in found.err and "1 of 1 results equal" in found.err


def test_an_error_shows_the_line(shlo: Callable[..., Any], tmp_path: Path) -> None:
    path = write(tmp_path, REFUSED["GSPMD on an op"][0])
    found = shlo("shard", path)
    assert found.code == 1
    assert found.err.startswith(f"{path}:4:6: error: stablehlo.tanh: cannot read mhlo.sharding = '{{maximal}}'")
    assert "\n%0 = stablehlo.tanh" in found.err and found.err.endswith("^\n")


def test_verify_and_run_read_what_xla_does_not_know(shlo: Callable[..., Any], tmp_path: Path) -> None:
    path = write(tmp_path, module(f"%0 = {call('tt.sharding_constraint', frontend(sharding=GOOD))}", returned="%0"))
    found = shlo("verify", path, path)
    assert found.code == 0 and "1 of 1 results equal" in found.out, found.err
    # No attribute of the module says how many devices there are.
    found = shlo("verify", path, path, "--xla-partition")
    assert found.code == 0 and "8 virtual devices" in found.out, found.err
    found = shlo("run", path)
    assert found.code == 0, found.err
