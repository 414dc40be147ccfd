"""Formats are told by content; what is wrong is said at its place, with the line and a caret."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from passes.errors import UserError
from passes.program.read import parse, read, sniff
from passes.program.write import to_bytecode, to_portable, to_text

TEXT = """\
func.func @main(%a: tensor<4xf32>) -> tensor<4xf32> {
  %0 = stablehlo.tanh %a : tensor<4xf32>
  return %0 : tensor<4xf32>
}
"""


def bytecode() -> bytes:
    return to_bytecode(parse(TEXT).module)


def portable() -> bytes:
    return to_portable(parse(TEXT).module)


def test_formats_are_told_by_content(tmp_path: Path) -> None:
    plain = to_text(parse(TEXT).module)
    for data, format in ((TEXT.encode(), "text"), (bytecode(), "bytecode"), (portable(), "portable")):
        assert sniff(data) == format
        path = tmp_path / "program.png"
        path.write_bytes(data)
        program = read(str(path))
        assert program.source == str(path)
        assert to_text(program.module) == plain


@pytest.mark.parametrize("data", [TEXT.encode(), bytecode(), portable()], ids=["text", "bytecode", "portable"])
def test_standard_input(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))
    program = read("-")
    assert program.source == "<stdin>"
    assert len(program.module.body.operations) == 1


def test_a_byte_order_mark_and_windows_line_ends_are_no_error() -> None:
    plain = to_text(parse(TEXT).module)
    assert to_text(parse(b"\xef\xbb\xbf" + TEXT.encode()).module) == plain
    assert to_text(parse(TEXT.replace("\n", "\r\n")).module) == plain


@pytest.mark.parametrize(
    ("text", "own"), [(TEXT, False), (TEXT.replace(">\n}", '> loc("x")\n}'), True)])
def test_whether_the_input_had_locations_of_its_own(text: str, own: bool) -> None:
    assert parse(text).has_debug_info is own


def failure(data: bytes | str, **options: int) -> str:
    with pytest.raises(UserError) as caught:
        parse(data, "model.mlir", **options)
    assert caught.value.exit_code == 1
    return caught.value.render()


PARSE_ERRORS = {
    "an unknown op": (
        TEXT.replace("tanh", "tanhh"),
        "model.mlir:2:8: error: custom op 'stablehlo.tanhh' is unknown\n"
        "  %0 = stablehlo.tanhh %a : tensor<4xf32>\n"
        "       ^"),
    "an unknown dialect": (
        TEXT.replace("stablehlo.tanh", "foo.tanh"),
        "model.mlir:2:8: error: Dialect `foo' not found for custom op 'foo.tanh'\n"
        "  %0 = foo.tanh %a : tensor<4xf32>\n"
        "       ^"),
    "a wrong type": (
        TEXT.replace("%0 : tensor<4xf32>", "%0 : tensor<5xf32>"),
        "model.mlir:3:10: error: use of value '%0' expects different type than prior uses: "
        "'tensor<5xf32>' vs 'tensor<4xf32>'\n"
        "  return %0 : tensor<5xf32>\n"
        "         ^\n"
        "model.mlir:2:3: note: prior use here"),
    "an op that does not verify": (
        TEXT.replace("tanh %a : tensor<4xf32>", "slice %a [0:9] : (tensor<4xf32>) -> tensor<4xf32>"),
        "model.mlir:2:8: error: limit index 9 is larger than dimension size 4 in dimension 0\n"
        "  %0 = stablehlo.slice %a [0:9] : (tensor<4xf32>) -> tensor<4xf32>\n"
        "       ^"),
    "two functions of one name": (
        TEXT + TEXT,
        "model.mlir:5:1: error: redefinition of symbol named 'main'\n"
        "func.func @main(%a: tensor<4xf32>) -> tensor<4xf32> {\n"
        "^\n"
        "model.mlir:1:1: note: see existing symbol definition here"),
    "an end in the middle": (
        TEXT[: TEXT.index("stablehlo")],
        "model.mlir:2:7: error: expected operation name in quotes\n"
        "  %0 = \n"
        "      ^"),
    "a tab before it": (
        TEXT.replace("  %0 =", "\t%0 =").replace("tanh", "tanhh"),
        "model.mlir:2:7: error: custom op 'stablehlo.tanhh' is unknown\n"
        "\t%0 = stablehlo.tanhh %a : tensor<4xf32>\n"
        "\t     ^"),
    "letters of two bytes before it": (
        TEXT.replace("%a :", '%a {s = "ää"} :').replace("} : tensor<4xf32>", "} : tensor<4xfoo>"),
        "model.mlir:2:48: error: expected non-function type\n"
        '  %0 = stablehlo.tanh %a {s = "ää"} : tensor<4xfoo>\n'
        "                                               ^"),
    "another language": (
        "import os\n",
        "model.mlir:1:1: error: custom op 'import' is unknown (tried 'builtin.import' as well)\nimport os\n^"),
}


@pytest.mark.parametrize("case", PARSE_ERRORS)
def test_parse_errors_point_at_the_place(case: str) -> None:
    text, expected = PARSE_ERRORS[case]
    assert failure(text) == expected


def test_a_part_of_a_split_file_counts_lines_from_the_start_of_the_file() -> None:
    said = failure(TEXT.replace("tanh", "tanhh"), first_line=11)
    assert said.startswith("model.mlir:12:8: error: custom op 'stablehlo.tanhh' is unknown\n  %0 = stablehlo.tanhh")


def test_of_a_long_line_only_the_part_around_the_error_is_shown() -> None:
    numbers = ", ".join(["1.0"] * 5000)
    said = failure(TEXT.replace("tanh %a", f"constant dense<[{numbers}, x]>"))
    _headline, shown, caret = said.split("\n")
    assert len(shown) <= 160
    assert shown[caret.index("^")] == "x"


BAD_INPUTS = {
    "nothing": (b"", "model.mlir: error: the input is empty"),
    "blanks": (b" \n\n\t", "model.mlir: error: the input is empty"),
    "binary junk": (bytes(range(256)), "model.mlir:2: error: the input is neither MLIR text (UTF-8) nor MLIR bytecode"),
    "zero bytes": (b"func\n\0\0", "model.mlir:2: error: the input contains NUL bytes"),
    "UTF-16": (TEXT.encode("utf-16"), "model.mlir:1: error: the input is neither MLIR text"),
    "the start of bytecode": (b"ML\xefR", "model.mlir: error: damaged or unsupported MLIR bytecode"),
    "half of a bytecode file": (bytecode()[:100], "model.mlir: error: damaged or unsupported MLIR bytecode"),
    "half of a portable artifact": (
        portable()[:100], "model.mlir: error: damaged or unsupported StableHLO portable artifact"),
    "regions without end": (
        "module {\n" * 6000, "model.mlir:201: error: regions are nested more than 200 deep"),
}


@pytest.mark.parametrize("case", BAD_INPUTS)
def test_bad_inputs(case: str) -> None:
    data, start = BAD_INPUTS[case]
    said = failure(data)
    assert said.startswith(start)
    assert "\n" not in said


def test_braces_in_strings_are_no_nesting() -> None:
    text = f'module attributes {{a.b = "{"{" * 1000}"}} {{}}'
    assert parse(text).module is not None


@pytest.mark.parametrize(("path", "reason"), [("missing.mlir", "No such file or directory"), (".", "Is a directory")])
def test_files_that_cannot_be_read(tmp_path: Path, path: str, reason: str) -> None:
    place = str(tmp_path / path)
    with pytest.raises(UserError) as caught:
        read(place)
    assert caught.value.render() == f"{place}: error: cannot read the file: {reason}"


def test_unregistered_dialects_are_allowed_per_read() -> None:
    text = TEXT.replace("stablehlo.tanh %a : tensor<4xf32>", '"foo.bar"(%a) : (tensor<4xf32>) -> tensor<4xf32>')
    assert '"foo.bar"' in to_text(parse(text, allow_unregistered=True).module)
    assert "foo" in failure(text)


def test_errors_about_an_op_show_its_line() -> None:
    program = parse(TEXT, "model.mlir")
    op = program.module.body.operations[0].regions[0].blocks[0].operations[0]
    assert program.error("too steep", op).render() == (
        "model.mlir:2:8: error: too steep\n  %0 = stablehlo.tanh %a : tensor<4xf32>\n       ^")


def test_errors_about_an_op_name_the_model_source_if_that_is_known() -> None:
    program = parse(TEXT.replace(
        "tanh %a : tensor<4xf32>", 'tanh %a : tensor<4xf32> loc("layer"("net.py":7:3))'), "model.mlir")
    op = program.module.body.operations[0].regions[0].blocks[0].operations[0]
    assert program.error("too steep", op).render() == "net.py:7:3: error: too steep"


def test_errors_about_the_program_name_its_file() -> None:
    assert parse(TEXT, "model.mlir").error("too long").render() == "model.mlir: error: too long"


@pytest.mark.parametrize("portable", [False, True])
def test_a_binary_module_whose_names_are_no_text(portable: bool) -> None:
    module = parse("func.func private @other() { return } func.func @main() { return }").module
    data = (to_portable if portable else to_bytecode)(module)
    assert b"other" in data
    with pytest.raises(UserError, match="the name of a function or mesh is not UTF-8"):
        parse(data.replace(b"other", b"\xff\xfeher"))
