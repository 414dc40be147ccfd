"""``--verify`` on the commands that transform: the result is executed against the input before anything is written."""

from __future__ import annotations

from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
MODEL = str(EXAMPLES / "decoder" / "forward.mlir")
RULES = str(EXAMPLES / "decoder" / "megatron.toml")

CASES = {
    "opt": (["--cse", "--dead-ops"], "executed on one device (XLA CPU), inputs normal seed 0: 1 of 1 results equal"),
    "shard": (["--rules", RULES], "partitioned by XLA and executed on 8 virtual devices (XLA CPU)"),
    "partition": (["--rules", RULES], "executed on 8 virtual devices (XLA CPU)"),
}


@pytest.mark.parametrize("command", CASES)
def test_a_right_result_is_proved_and_written(shlo, tmp_path: Path, command: str) -> None:  # type: ignore[no-untyped-def]
    options, words = CASES[command]
    out = tmp_path / "out.mlir"
    result = shlo(command, MODEL, *options, "--verify", "-o", str(out))
    assert result.code == 0
    assert words in result.err
    assert out.is_file()


def test_a_wrong_result_is_not_written(shlo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    from passes.optimize.cse import Cse

    source, out = tmp_path / "in.mlir", tmp_path / "out.mlir"
    source.write_text(
        "func.func @main(%a: tensor<4xf32>) -> tensor<4xf32> {\n"
        "  %0 = stablehlo.add %a, %a : tensor<4xf32>\n  return %0 : tensor<4xf32>\n}\n"
    )
    out.write_text("as it was")

    def careless(self: Cse, module: object, counters: object) -> None:
        block = module.regions[0].blocks[0].operations[0].regions[0].blocks[0]  # type: ignore[attr-defined]
        block.operations[0].operation.results[0].replace_all_uses_with(block.arguments[0])

    monkeypatch.setattr(Cse, "run", careless)
    result = shlo("opt", str(source), "--cse", "--verify", "-o", str(out))
    assert result.code == 2
    assert result.err.count("DIFFERS") == 1
    assert "Traceback" not in result.err
    assert out.read_text() == "as it was"
