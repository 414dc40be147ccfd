"""What the shipped examples promise: real modules for one device, named arguments, pages that state the truth."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from passes import _mlir
from passes.program.entry import arguments, find_entry, results
from passes.program.read import Program, read
from passes.sharding.annotate import annotate
from passes.sharding.rules_file import load

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
FOLDERS = sorted(path.parent for path in EXAMPLES.glob("*/generate.py"))
MODULES = sorted(path for folder in FOLDERS for path in folder.glob("*.mlir"))

# Rules files that are made for some programs of their example only, as its page says.
MADE_FOR = {
    "lm_head/hidden": {"forward", "train_step"},
    "lm_head/vocabulary": {"forward", "train_step"},
    "lm_head/tied": {"train_step_tied"},
}
RULES = [
    pytest.param(rules, module, id=f"{name}-{module.stem}")
    for folder in FOLDERS
    for rules in sorted(folder.glob("*.toml"))
    for module in sorted(folder.glob("*.mlir"))
    if module.stem in MADE_FOR.get(name := f"{folder.name}/{rules.stem}", {module.stem})
]

# The generators are the one part that needs jax, which the test environment need not have.
needs_jax = pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="needs the 'examples' extra")

# An argument of each module whose name rules files rely on.
NAMED = {
    "decoder": "params['attention']['wq']",
    "gpt": "params['attention']['qkv']['w']",
    "lm_head": "params['embedding']",
    "moe": "params['experts']['gate']",
    "resnet50": "params['resnet50/~/logits']['w']",
    "scan_layers": "params['q']",
}

# Ops that examples are there to provide; each is hard to partition in its own way.
PROVIDED = {
    "stablehlo.while", "stablehlo.gather", "stablehlo.scatter", "stablehlo.convolution", "stablehlo.reduce_window",
    "stablehlo.select_and_scatter", "stablehlo.reverse", "stablehlo.dynamic_slice", "stablehlo.dynamic_update_slice",
    "stablehlo.optimization_barrier", "stablehlo.concatenate", "stablehlo.pad", "stablehlo.iota", "chlo.top_k",
    "chlo.erfc", "chlo.square",
}


def name_of(path: Path) -> str:
    return str(path.relative_to(EXAMPLES).with_suffix(""))


@pytest.fixture(scope="module")
def programs() -> dict[Path, Program]:
    return {path: read(str(path)) for path in MODULES}


def op_counts(program: Program) -> Counter[str]:
    """How often each op kind occurs, without the module itself."""
    counts: Counter[str] = Counter()

    def count(op: object) -> object:
        counts[op.operation.name] += 1  # type: ignore[attr-defined]
        return _mlir.ir.WalkResult.ADVANCE

    program.module.operation.walk(count)
    del counts["builtin.module"]
    return counts


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_each_example_is_complete_and_listed(folder: Path) -> None:
    assert (folder / "README.md").is_file()
    assert list(folder.glob("*.mlir"))
    assert list(folder.glob("*.toml"))
    assert f"[{folder.name}]({folder.name}/README.md)" in (EXAMPLES / "README.md").read_text()


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_each_page_names_its_files(folder: Path) -> None:
    page = (folder / "README.md").read_text()
    for path in (*folder.glob("*.mlir"), *folder.glob("*.toml")):
        assert f"`{path.name}`" in page
    for mentioned in re.findall(r"`(\w+\.(?:mlir|toml))`", page):
        assert (folder / mentioned).is_file()


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_arguments_and_results_carry_names(path: Path, programs: dict[Path, Program]) -> None:
    entry = find_entry(programs[path])
    names = [argument.name for argument in arguments(entry)]
    assert len(set(names)) == len(names)
    assert not [name for name in names if re.fullmatch(r"arg\d+", name)]
    assert NAMED[path.parent.name] in names
    assert all(result.name == "result" or result.name.startswith("result[") for result in results(entry))


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_modules_are_unsharded_and_free_of_the_machine_that_made_them(path: Path) -> None:
    text = path.read_text()
    for foreign in ("sdy.", "mhlo.sharding", "custom_call", "/home", "/tmp", ".py", "site-packages"):
        assert foreign not in text


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_train_steps_give_back_what_they_take(folder: Path, programs: dict[Path, Program]) -> None:
    """Every donated argument has a result of its name, so a training loop can feed results back in."""
    for path in folder.glob("train_step*.mlir"):
        entry = find_entry(programs[path])
        types = {result.name: result.type for result in results(entry)}
        donated = [a for a in arguments(entry) if "tf.aliasing_output" in a.attributes]
        assert donated
        for argument in donated:
            root, _, rest = argument.name.partition("[")
            assert types[f"result['{root}'][{rest}"] == argument.type


@pytest.mark.parametrize(("rules", "module"), RULES)
def test_rules_fit_the_programs_they_are_made_for(rules: Path, module: Path) -> None:
    program = read(str(module))
    loaded = load(str(rules))
    report = annotate(program, loaded)
    sharded = [a.name for a in report.arguments if any(a.sharding.dims)]
    assert loaded.mesh.device_count == 8
    assert sharded
    assert program.module.operation.verify()


def test_the_index_counts_ops_and_arguments_right(programs: dict[Path, Program]) -> None:
    table = (EXAMPLES / "README.md").read_text()
    rows = dict(re.findall(r"^\| \[(\w+)\]\S+ \| (.*) \|$", table, flags=re.MULTILINE))
    assert rows.keys() == {folder.name for folder in FOLDERS}
    for folder in FOLDERS:
        names, ops, counts, _ = rows[folder.name].split(" | ")
        modules = [programs[folder / f"{name}.mlir"] for name in re.findall(r"`(\w+)`", names)]
        assert len(modules) == len(list(folder.glob("*.mlir")))
        assert [int(n) for n in ops.split(", ")] == [op_counts(m).total() for m in modules]
        assert [int(n) for n in counts.split(", ")] == [len(arguments(find_entry(m))) for m in modules]


def test_the_examples_together_hold_the_ops_that_are_hard_to_partition(programs: dict[Path, Program]) -> None:
    present = sum((op_counts(program) for program in programs.values()), Counter())
    assert not PROVIDED - present.keys()


@needs_jax
def test_full_sizes_lower_without_weights(tmp_path: Path) -> None:
    generator = EXAMPLES / "decoder" / "generate.py"
    command = [sys.executable, str(generator), "--size", "full", "-o", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
    program = read(str(tmp_path / "train_step.mlir"))
    types = {argument.name: str(argument.type) for argument in arguments(find_entry(program))}
    assert types["params['mlp']['gate']"] == "tensor<4096x14336xf32>"
    assert types["x"] == "tensor<8x8192x4096xf32>"


@needs_jax
def test_other_sizes_never_overwrite_the_shipped_files() -> None:
    generator = EXAMPLES / "decoder" / "generate.py"
    ran = subprocess.run([sys.executable, str(generator), "--size", "full"], capture_output=True, text=True)
    assert ran.returncode == 2
    assert "needs -o DIR" in ran.stderr
